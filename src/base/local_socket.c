/* SPDX-License-Identifier: MIT */
#include "base/local_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int local_socket_free_name(const struct sockaddr_un *address)
{
    struct stat there;
    int fd, connected, code;

    if (lstat(address->sun_path, &there) < 0)
        return 0;
    if (!S_ISSOCK(there.st_mode)) /* a connect to it would be refused as well */
        return -EEXIST;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    connected = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    code = errno;
    close(fd);
    if (connected == 0 || code == EAGAIN)
        return -EADDRINUSE;
    if (code == ECONNREFUSED)
        unlink(address->sun_path);
    return 0;
}
