/* SPDX-License-Identifier: MIT */
/* Who may use the control socket: its owner, root, and a group if there is one for it. */
#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include "base/error.h"

enum {
    CONTROL_NO_GROUP = -1
};

/* A name or a number; NULL: no group, *ret_group becomes CONTROL_NO_GROUP. */
int control_access_find_group(const char *name, gid_t *ret_group, struct error *err);
/* Gives the socket file that was just made to the group, and the group the right to connect. */
int control_access_share(const struct sockaddr_un *address, gid_t group, struct error *err);
/* 1: the peer of a connected socket may use it, and *ret_uid is its user; else 0. */
int control_access_allows(int fd, gid_t group, uid_t *ret_uid);
