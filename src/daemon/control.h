/* SPDX-License-Identifier: MIT */
/*
 * The control socket: a unix stream for the same user, root and perhaps a group, one JSON request a
 * line. Everything a client can take from the daemon is bounded: their number (in all, and of one
 * member of the group), a request's length, one unread answer each, one request a turn of the loop
 * and so many a second, and the time that a client may sit there without a word.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "vionic.h"

struct control;

struct control_settings {
    const char *path;  /* NULL: the default */
    const char *group; /* its members may connect too; NULL: only the owner and root */
    /* Taken, also on failure: listens at the path already, and its file is not ours. 0: make one.
     */
    int listen_fd;
    /* Takes the connection of a client that wants to take over; NULL: none can. */
    void (*takeover)(void *context, int fd);
    void *context; /* borrowed */
};

/* The socket itself, as it goes from one process to the next. */
struct control_socket {
    int listen_fd;          /* borrowed from the control */
    uint64_t device, inode; /* of its file, if we made it; 0: it is not ours to remove */
};

/* Replaces a stale socket file and refuses to take a live one away. loop
 * and vionic are borrowed until control_free. */
int control_create(struct loop *loop, struct vionic *vionic,
                   const struct control_settings *settings, struct control **ret_control,
                   struct error *err);
/* Closes all clients and removes the socket file that create made. NULL is fine. */
void control_free(struct control *control);

void control_give(const struct control *control, struct control_socket *ret_socket);
/* Who asks is answered by another process from now on, even if it was heard at the same moment, and
 * the file is that one's to remove; or both are ours. */
void control_disown(struct control *control);
void control_own(struct control *control, const struct control_socket *socket);

const char *control_path(const struct control *control);
