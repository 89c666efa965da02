/* SPDX-License-Identifier: MIT */
#include "stream_bed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"

struct testbed *stream_bed_start(void **state, const struct testbed_options *how)
{
    struct testbed *bed = *state;
    struct testbed_options options = *how;
    char near[256], far[256];

    snprintf(near, sizeof(near), "endpoint=stream:path=%s/wire,reconnect=10",
             bed->daemon.directory);
    snprintf(far, sizeof(far), "endpoint=stream:path=%s/wire,mode=server", bed->daemon.directory);
    options.nic = near;
    options.bystander = far;
    options.queue_size = 256;
    options.mergeable = 1;
    testbed_start(state, &options);
    daemon_wait_number(&bed->daemon, "nic0/endpoint/connections", 1);
    daemon_wait_number(&bed->daemon, "nic1/endpoint/connections", 1);
    return bed;
}

void stream_bed_finish(struct testbed *bed)
{
    daemon_check_alive(&bed->daemon);
    daemon_check_idle(&bed->daemon);
    front_end_close(&bed->nic[NEAR].fe);
    front_end_close(&bed->nic[FAR].fe);
    daemon_stop(&bed->daemon);
}

int stream_bed_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    unlink(path);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(listen(fd, 1), errno);
    return fd;
}
