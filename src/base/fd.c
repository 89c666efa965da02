/* SPDX-License-Identifier: MIT */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int fd_take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

int fd_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

void fd_signal(int fd)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    uint64_t one = 1;

    if (fd < 0 || poll(&writable, 1, 0) != 1 || !(writable.revents & POLLOUT))
        return;
    if (write(fd, &one, sizeof(one)) < 0)
        return;
}
