/* SPDX-License-Identifier: MIT */
#include "postcopy_bed.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

struct testbed *postcopy_bed_start(void **state)
{
    struct testbed_options options = {.nic = "postcopy=on,endpoint=loopback"};
    struct testbed *bed;
    struct testbed_nic *nic;
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (fd < 0 && access("/dev/userfaultfd", R_OK | W_OK) < 0)
        skip(); /* the host gives it to nobody here */
    close(fd);
    bed = testbed_start_daemon(state, &options);
    nic = &bed->nic[VICTIM];
    testbed_connect(&bed->nic[BYSTANDER]);
    front_end_connect(&nic->fe, nic->socket);
    front_end_hello(&nic->fe, &nic->setup);
    assert_true(nic->fe.pf & POSTCOPY_PAGEFAULT);
    return bed;
}

int postcopy_bed_listen(struct front_end *fe)
{
    struct vu_message message = vu_message(VU_POSTCOPY_ADVISE, NULL, 0);

    assert_int_equal(front_end_ask(fe, &message), 0);
    assert_int_equal(message.size, 0);
    assert_int_equal(message.fd_count, 1);
    assert_int_equal(front_end_simple(fe, VU_POSTCOPY_LISTEN), 0);
    return message.fd[0];
}
