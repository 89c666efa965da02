/* SPDX-License-Identifier: MIT */
#include "odd_fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "check.h"

int odd_fd(unsigned kind)
{
    int pair[2];
    int fd;

    switch (kind) {
    case 0: /* a regular file */
        fd = memfd_create("odd", MFD_CLOEXEC);
        return ftruncate(fd, 4096) == 0 ? fd : -1;
    case 1: /* a socket whose peer is gone */
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no sockets");
        close(pair[1]);
        return pair[0];
    case 2: /* a pipe without a writer */
        check(pipe2(pair, O_CLOEXEC) == 0, "no pipe");
        close(pair[1]);
        return pair[0];
    case 3: /* a pipe without a reader: SIGPIPE */
        check(pipe2(pair, O_CLOEXEC) == 0, "no pipe");
        close(pair[0]);
        return pair[1];
    case 4: { /* a timer that has run out */
        struct itimerspec when = {.it_value.tv_nsec = 1, .it_interval.tv_nsec = 1000000};

        fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        timerfd_settime(fd, 0, &when, NULL);
        return fd;
    }
    case 5:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case 6:
        return open("/dev/zero", O_RDWR | O_CLOEXEC);
    default:
        return open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
}
