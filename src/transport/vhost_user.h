/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user back-end of one NIC: a unix socket on which one front-end at a time configures the
 * rings. After a front-end has gone (or was closed for breaking the protocol) the next one is
 * waited for, for ever.
 */
#pragma once

#include "run/coordinator.h"
#include "transport/vhost_user_share.h"
#include "transport/vhost_user_wire.h"

enum vhost_user_mode {
    VHOST_USER_SERVER, /* listens at the path */
    VHOST_USER_CLIENT, /* connects to the path, again and again */
};

/* What GET_QUEUE_NUM counts: specifications and front-ends differ (VU-MQ-01). */
enum vhost_user_queue_unit {
    VHOST_USER_QUEUE_UNIT_RINGS,
    VHOST_USER_QUEUE_UNIT_PAIRS,
};

/* What a front-end may take of the host's address space; others go short of what one has. */
struct vhost_user_limits {
    uint64_t memory_max;      /* bytes shared at a time */
    unsigned regions_max;     /* 1 … GUEST_MEMORY_REGIONS_MAX */
    unsigned control_percent; /* of the control thread's time in the long run, 1 … 100 */
};

struct vhost_user_settings {
    const char *path; /* copied */
    enum vhost_user_mode mode;
    enum vhost_user_queue_unit queue_unit;
    int listen_fd; /* borrowed; server: listens at the path already; 0: make a socket */
    struct vhost_user_limits limits;
    uint64_t protocol_features;             /* offered beside the usual ones */
    struct coordinator *coordinator;        /* borrowed */
    struct loop *loop;                      /* borrowed */
    struct vhost_user_bucket *control_time; /* borrowed: of all front-ends of the loop */
    /* Borrowed while opening; NULL: nothing. What another process gave: socket, session, rings. */
    const struct coordinator_inheritance *inherited;
};

struct vhost_user;

int vhost_user_open(const struct vhost_user_settings *settings, struct vhost_user **ret_vhost_user,
                    struct error *err);
/* Ends the session (buffers go back to the guest) and removes the socket that open made. NULL is
 * fine. */
void vhost_user_close(struct vhost_user *vhost_user);
/* To be called when memory_guard_subscribe's fd was written to. */
void vhost_user_check_memory(struct vhost_user *vhost_user);
void vhost_user_inspect(struct vhost_user *vhost_user, struct inspect *visitor);

/* ---- vhost_user_give.c, vhost_user_take.c: the session goes on in another process
 * ------------------- */

/* After coordinator_give. From here until keep nothing is received, and close leaves socket,
 * session and rings alone. A front-end that can't go over is left behind: to the other process
 * none was connected. */
void vhost_user_give(struct vhost_user *vhost_user, struct records_writer *writer,
                     struct fd_list *fds);
/* After give, or after an open that inherited: the session is ours. */
void vhost_user_keep(struct vhost_user *vhost_user);
int vhost_user_is_connected(const struct vhost_user *vhost_user);
/* Was a front-end connected to the card that these records are of? */
int vhost_user_was_connected(const struct records *records);
