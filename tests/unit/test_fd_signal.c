/* SPDX-License-Identifier: MIT */
/* Signalling an eventfd whose other holder does what it can to make us wait (VU-SEC-03). */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "check.h"

enum {
    ROUNDS = 150,
    SPINS = 300,
};

static const uint64_t most = 0xfffffffffffffffeull;

static int set_up(void **state)
{
    (void)state;
    fd_signal_begin();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fd_signal_end();
    return 0;
}

static void fd_signal_adds_one(void **state)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t count;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) /* more than a context has room for */
        fd_signal(fd);
    assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 1000);
    close(fd);
    fd_signal(-1);
}

static void fd_signal_writes_to_pipes_while_there_is_room(void **state)
{
    int ends[2];
    uint64_t word;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fd_is_bell(ends[1]));
    fd_signal(ends[1]);
    assert_int_equal(read(ends[0], &word, sizeof(word)), sizeof(word));
    assert_int_equal(word, 1);
    for (unsigned i = 0; i < 20000; i++) /* 160 kB: more than it holds */
        fd_signal(ends[1]);
    close(ends[0]);
    close(ends[1]);
}

static void fd_is_bell_knows_what_may_wait(void **state)
{
    int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int device = open("/dev/zero", O_RDWR | O_CLOEXEC);
    int event = eventfd(0, EFD_CLOEXEC);

    (void)state;
    assert_false(fd_is_bell(folder));
    assert_false(fd_is_bell(device));
    assert_false(fd_is_bell(-1));
    assert_true(fd_is_bell(event));
    close(folder);
    close(device);
    close(event);
}

struct filler {
    int fd;
    _Atomic int done;
};

/* Empty and full in turns, blocking but for the filler's own writes; and full it stays. */
static void *filler_run(void *context)
{
    struct filler *filler = context;
    uint64_t count;

    for (unsigned i = 0; i < SPINS; i++) {
        fcntl(filler->fd, F_SETFL, O_NONBLOCK);
        if (read(filler->fd, &count, sizeof(count)) < 0)
            count = 0;
        fcntl(filler->fd, F_SETFL, 0); /* writable and blocking: poll(2) finds no fault with it */
        fcntl(filler->fd, F_SETFL, O_NONBLOCK);
        while (write(filler->fd, &most, sizeof(most)) < 0 &&
               read(filler->fd, &count, sizeof(count)) > 0)
            continue;
        fcntl(filler->fd, F_SETFL, 0);
    }
    filler->done = 1;
    return NULL;
}

/* Whoever looks first and writes then waits for ever in one of these rounds. */
static void VU_SEC_03_eventfd_filled_behind_the_look(void **state)
{
    aio_context_t probe = 0;

    (void)state;
    if (syscall(SYS_io_setup, 1, &probe) < 0)
        skip(); /* an emulator: without the kernel's help there is no way */
    syscall(SYS_io_destroy, probe);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct filler filler = {.fd = eventfd(0, EFD_CLOEXEC)};
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, filler_run, &filler), 0);
        while (!filler.done)
            fd_signal(filler.fd);
        fd_signal(filler.fd);
        pthread_join(thread, NULL);
        close(filler.fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fd_signal_adds_one),
        cmocka_unit_test(fd_signal_writes_to_pipes_while_there_is_room),
        cmocka_unit_test(fd_is_bell_knows_what_may_wait),
        cmocka_unit_test(VU_SEC_03_eventfd_filled_behind_the_look),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
