/* SPDX-License-Identifier: MIT */
/*
 * The back-end's own channel (BACKEND_REQ): what a NIC tells its front-end unasked. Included by
 * src/transport/vhost_user*.c only.
 *
 * What is to be said is bits, not a queue: a ring that interrupts twice before the first message is
 * out interrupts once. Nothing waits for the front-end (VU-BR-01); a channel that breaks, or whose
 * answers are wrong or late, is given up, and the NIC goes on without (VU-SEC-11).
 */
#pragma once

#include "base/error.h"
#include "base/event_bits.h"
#include "base/loop.h"
#include "base/records.h"
#include "transport/vhost_user_wire.h"

enum vhost_user_ring_notice {
    VHOST_USER_RING_CALL = 1,
    VHOST_USER_RING_ERR = 2,
    VHOST_USER_RING_MISS = 4, /* vhost_user_iommu.h */
};

struct vhost_user;
struct vhost_user_ring;

struct vhost_user_channel {
    struct loop_source source; /* its fd is owned: a socket, or UML's pipe; -1: none */
    uint32_t watched;          /* EPOLL… bits that source is registered with */
    uint8_t is_socket;         /* so it can carry answers */
    uint8_t config_due;        /* config space changed, and the front-end was not told */
    unsigned next_ring;        /* whose notices come next */

    struct event_bits due; /* raised by workers; its fd is -1 until rings may use it */
    struct loop_source due_source;

    uint32_t awaited; /* the request whose answer is under way; 0: none */
    struct loop_timer patience;
    uint8_t answer[sizeof(struct vhost_user_header) + sizeof(uint64_t)];
    size_t answered; /* bytes of it */

    uint64_t config_notices, ring_notices, lost; /* for inspect */
};

void vhost_user_channel_init(struct vhost_user *vhost_user);
/* Takes the fd in the place of the old one, -1 stays in *fd; or refuses it with a sentence. */
int vhost_user_channel_open(struct vhost_user *vhost_user, int *fd, struct error *err);
/* The session is over, its rings are stopped. */
void vhost_user_channel_close(struct vhost_user *vhost_user);
/* Before rings may use it (INBAND_NOTIFICATIONS, ACCESS_PLATFORM). */
int vhost_user_channel_prepare(struct vhost_user *vhost_user, struct error *err);

void vhost_user_channel_tell_config(struct vhost_user *vhost_user);
/* Says what is due, as far as it may and can be said now. */
void vhost_user_channel_look(struct vhost_user *vhost_user);
/* Any thread. */
void vhost_user_channel_tell_ring(struct vhost_user_ring *ring, enum vhost_user_ring_notice notice);
/* 1: it was due, and is not any more. */
int vhost_user_channel_take_notice(struct vhost_user_ring *ring,
                                   enum vhost_user_ring_notice notice);

/* The session goes on in another process. Taken when the rings are, and before anything is said:
 * what is due then is said by the next look. */
void vhost_user_channel_give(const struct vhost_user *vhost_user, struct records_writer *writer);
int vhost_user_channel_take(struct vhost_user *vhost_user, const struct records *records,
                            struct error *err);
