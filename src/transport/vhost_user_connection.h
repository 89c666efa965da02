/* SPDX-License-Identifier: MIT */
/* Framing: one connected socket, messages in and out with their file descriptors. Knows no request.
 */
#pragma once

#include <stddef.h>

#include "transport/vhost_user_wire.h"

struct vhost_user_message {
    struct vhost_user_header header;
    union vhost_user_payload payload;
    int fd[VHOST_USER_FDS_MAX]; /* owned; a handler that keeps one puts -1 in its place */
    unsigned fd_count;
};

struct vhost_user_connection {
    int fd;                            /* owned, non-blocking */
    struct vhost_user_message message; /* being received */
    size_t received;                   /* bytes of it */
};

void vhost_user_connection_init(struct vhost_user_connection *connection, int fd);
void vhost_user_connection_close(struct vhost_user_connection *connection);

/* 1: connection->message is whole; 0: more has to come; -errno: the peer is gone (-ENOTCONN) or
 * does not keep the protocol, and the connection must be closed. Never blocks, never reads past one
 * message. */
int vhost_user_connection_receive(struct vhost_user_connection *connection);
/* Can the header that was received be one? -EPROTO */
int vhost_user_connection_check(const struct vhost_user_connection *connection);
/* Some of a message is there, and not all. */
int vhost_user_connection_begun(const struct vhost_user_connection *connection);
/* Forgets the message, closes fds that nobody kept. */
void vhost_user_connection_done(struct vhost_user_connection *connection);
/* Answers the message with len bytes of its own payload field. -EAGAIN: the peer does not read. */
int vhost_user_connection_reply(struct vhost_user_connection *connection, uint32_t len);
/* The same with an fd, which is closed here and leaves -1; -1: without. */
int vhost_user_connection_reply_with(struct vhost_user_connection *connection, uint32_t len,
                                     int *fd);
