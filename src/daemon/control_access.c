/* SPDX-License-Identifier: MIT */
#include "daemon/control_access.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/shown.h"

enum {
    GROUP_MODE = 0660,
    PEER_GROUPS_MAX = 65536, /* NGROUPS_MAX of Linux */
};

int control_access_find_group(const char *name, gid_t *ret_group, struct error *err)
{
    const struct group *group;
    char shown[SHOWN_LEN];

    *ret_group = (gid_t)CONTROL_NO_GROUP;
    if (name == NULL)
        return 0;
    if (name[strspn(name, "0123456789")] == '\0' && strlen(name) < 10) {
        *ret_group = (gid_t)strtoul(name, NULL, 10);
        return 0;
    }
    group = getgrnam(name);
    if (group != NULL) {
        *ret_group = group->gr_gid;
        return 0;
    }
    shown_text(name, shown);
    return error_set(err, EINVAL,
                     "--control-group: there is no group \"%s\"; make it (groupadd) or name one "
                     "that `getent group` shows",
                     shown);
}

/* By an fd of the file itself, so that nobody can put another in its place in between. */
static int share_file(int file_fd, gid_t group)
{
    char own[64];
    struct stat made;

    if (fstat(file_fd, &made) < 0)
        return -errno;
    if (!S_ISSOCK(made.st_mode))
        return -ENOTSOCK;
    if (fchownat(file_fd, "", (uid_t)-1, group, AT_EMPTY_PATH) < 0)
        return -errno;
    snprintf(own, sizeof(own), "/proc/self/fd/%d", file_fd);
    return chmod(own, GROUP_MODE) < 0 ? -errno : 0;
}

int control_access_share(const struct sockaddr_un *address, gid_t group, struct error *err)
{
    int fd, ret;

    if (group == (gid_t)CONTROL_NO_GROUP)
        return 0;
    fd = open(address->sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    ret = fd < 0 ? -errno : share_file(fd, group);
    fd_close(&fd);
    if (ret == 0)
        return 0;
    return error_set(err, -ret,
                     "--control-group: %s can't be given to group %u (%s); run the daemon as root "
                     "or as a member of that group",
                     address->sun_path, (unsigned)group, strerror(-ret));
}

static int is_member(int fd, gid_t primary, gid_t group)
{
    gid_t *groups;
    socklen_t len = PEER_GROUPS_MAX * sizeof(*groups);
    int found = primary == group;

    if (found)
        return 1;
    groups = malloc(len);
    if (groups != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0) {
        for (size_t i = 0; i < len / sizeof(*groups); i++)
            found |= groups[i] == group;
    }
    free(groups);
    return found;
}

int control_access_allows(int fd, gid_t group, uid_t *ret_uid)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return 0;
    *ret_uid = peer.uid;
    if (peer.uid == 0 || peer.uid == geteuid())
        return 1;
    return group != (gid_t)CONTROL_NO_GROUP && is_member(fd, peer.gid, group);
}
