/* SPDX-License-Identifier: MIT */
/*
 * Memory in which rings are recorded (ring/inflight.h) and which is still there when another daemon
 * takes over: the front-end's, from GET_INFLIGHT_FD and SET_INFLIGHT_FD, or a file beside the
 * socket for the packed rings of front-ends that bring none. Included by
 * src/transport/vhost_user*.c only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/inspect.h"
#include "memory/mapping.h"
#include "ring/inflight.h"

struct vhost_user;
struct vhost_user_ring;

/* A region for each of `queues` rings of up to queue_size entries. */
struct vhost_user_area {
    struct memory_mapping *mapping; /* counted reference; NULL: there is no such area */
    uint8_t *first;                 /* inside the mapping */
    uint64_t len;
    uint16_t queues;
    uint16_t queue_size;
};

enum {
    VHOST_USER_AREAS_MADE = 2, /* one that is in use, and the next one */
};

struct vhost_user_rings_file {
    int fd;         /* owned, locked; -1: it could not be opened */
    int error;      /* … because of that */
    uint8_t failed; /* it can't be had; said once */
    uint8_t holds;  /* something that another daemon may need */
    struct vhost_user_area area;
};

/* ---- vhost_user_inflight.c -------------------------------------------------------------- */

/* The region for a ring that is about to start with this; NULL: it is recorded nowhere. */
struct inflight_region *vhost_user_inflight_region(struct vhost_user_ring *ring,
                                                   const struct virtqueue_config *config);
/* The ring's driver knows where it stopped, or makes it anew: no daemon takes it up from here. */
void vhost_user_inflight_forget(struct vhost_user_ring *ring);
void vhost_user_inflight_forget_all(struct vhost_user *vhost_user);
/* The NIC goes: areas that it made are their front-end's alone. */
void vhost_user_inflight_close(struct vhost_user *vhost_user);
/* The session is over: its area goes, while its rings are stopped. Records stay as they are. */
void vhost_user_inflight_drop(struct vhost_user *vhost_user);
void vhost_user_inflight_inspect(const struct vhost_user *vhost_user, struct inspect *visitor);

/* The region of a ring in an area; NULL: it has none. */
struct inflight_region *vhost_user_area_region(const struct vhost_user_area *area,
                                               enum inflight_format format, unsigned index);

/* ---- vhost_user_rings_file.c ------------------------------------------------------------ */

/* The ring's region in the file, empty if it speaks of another ring; NULL: there is no file. */
struct inflight_region *vhost_user_rings_file_region(struct vhost_user_ring *ring,
                                                     const struct virtqueue_config *config);
/* Before the process is shut in: only what is needed with it then is done when it is needed. */
void vhost_user_rings_file_open(struct vhost_user *vhost_user);
/* The session is over. */
void vhost_user_rings_file_let_go(struct vhost_user *vhost_user);
/* What it holds stays for the next daemon, unless that is nothing. */
void vhost_user_rings_file_close(struct vhost_user *vhost_user);
