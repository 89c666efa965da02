/* SPDX-License-Identifier: MIT */
/*
 * One connection to the control socket: read a line, answer it, write the answer, read the next. It
 * is never in two of these states, so one slow reader holds one answer and nobody else up.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/loop.h"
#include "vionic.h"

enum {
    CONTROL_REQUEST_MAX = 64 * 1024 /* bytes, with the newline */
};

enum control_skip {
    CONTROL_SKIP_NOTHING,
    CONTROL_SKIP_LINE, /* the rest of a line that was too long and is answered already */
};

struct control_client {
    struct loop *loop;     /* borrowed */
    struct vionic *vionic; /* borrowed */
    struct loop_source source;
    struct loop_timer idle;
    struct loop_timer rest; /* runs while it asked too much: its socket is not looked at */
    uint64_t paid_until_ns; /* up to here its requests have used up what a client may ask */
    uid_t uid;              /* of the peer when it connected; the owner's */
    /* Called when the client is to be freed; nothing touches it afterwards. */
    void (*closed)(struct control_client *client);
    /* Called when the client has its answer and wants the connection; it takes the fd out of
     * `source` and then calls closed(). */
    void (*left)(struct control_client *client);
    void *owner;                 /* borrowed; for closed() and left() */
    struct control_client *next; /* borrowed; the owner's list */
    char *out;                   /* owned; the answer being written, or NULL */
    size_t out_len, out_sent;
    size_t in_len;
    enum control_skip skip;
    int ended;  /* the peer sends no more */
    int leaves; /* behind this answer the connection is not ours: see left() */
    char in[CONTROL_REQUEST_MAX];
};

/* Takes the connected socket over, also on failure. */
int control_client_create(struct loop *loop, struct vionic *vionic, int fd,
                          struct control_client **ret_client);
void control_client_free(struct control_client *client);
