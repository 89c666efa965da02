/* SPDX-License-Identifier: MIT */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
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

/* Eventfds, and pipes of kernels before 6.4, take no RWF_NOWAIT: they are asked first. */
ssize_t fd_write_now(int fd, const void *bytes, size_t len)
{
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    ssize_t written = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);

    if (written >= 0 || (errno != EOPNOTSUPP && errno != ESPIPE))
        return written;
    if (poll(&writable, 1, 0) != 1 || !(writable.revents & POLLOUT)) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, bytes, len);
}

int fd_type(int fd)
{
    struct statx status;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) < 0)
        return -errno;
    return status.stx_mode & S_IFMT;
}

int fd_is_bell(int fd)
{
    int type = fd_type(fd);

    return type == S_IFIFO || type == S_IFSOCK || type == 0; /* an eventfd has no type */
}

ssize_t fd_read_now(int fd, void *bytes, size_t len)
{
    struct iovec iov = {.iov_base = bytes, .iov_len = len};

    return preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
}
