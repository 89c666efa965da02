/* SPDX-License-Identifier: MIT */
#include "daemon/control_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/schema.h"
#include "daemon/shown.h"

enum {
    DIRECTORY_MODE = 0755
};

static int too_long(const char *path, struct error *err)
{
    char shown[SHOWN_LEN];

    shown_text(path, shown);
    return error_set(err, EINVAL,
                     "the control socket's path %s is longer than the %zu bytes of a unix socket; "
                     "choose a shorter one with --control PATH",
                     shown, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
}

int control_path_address(const char *given, struct sockaddr_un *ret_address, struct error *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    size_t room = sizeof(ret_address->sun_path);
    int len;

    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (given != NULL && given[0] == '\0')
        return error_set(err, EINVAL,
                         "--control: the path is empty; give one such as "
                         "--control /run/vionic/control.sock");
    if (given != NULL)
        len = snprintf(ret_address->sun_path, room, "%s", given);
    else if (geteuid() == 0)
        len = snprintf(ret_address->sun_path, room, "/run/vionic/control.sock");
    else if (runtime != NULL && runtime[0] == '/')
        len = snprintf(ret_address->sun_path, room, "%s/vionic/control.sock", runtime);
    else
        return error_set(err, EINVAL,
                         "XDG_RUNTIME_DIR is not set, so the control socket has no default place; "
                         "give one with --control PATH");
    if (len < 0 || (size_t)len >= room)
        return too_long(given != NULL ? given : runtime, err);
    return 0;
}

int control_path_make_directory(const struct sockaddr_un *address, struct error *err)
{
    char directory[sizeof(address->sun_path)];
    char *slash;
    int code;

    memcpy(directory, address->sun_path, sizeof(directory));
    slash = strrchr(directory, '/');
    if (slash == NULL || slash == directory)
        return 0;
    *slash = '\0';
    if (mkdir(directory, DIRECTORY_MODE) == 0 || errno == EEXIST)
        return 0;
    code = errno;
    return error_set(err, code,
                     "the control socket's directory %s can't be made (%s); make it, or choose "
                     "another place with --control PATH",
                     directory, strerror(code));
}
