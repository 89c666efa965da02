/* SPDX-License-Identifier: MIT */
/*
 * One request being handled. A handler returns 0 or -errno with a sentence, and may set the size of
 * a reply of its own; a refused request changes nothing. Included by src/transport/vhost_user*.c
 * only.
 */
#pragma once

#include "transport/vhost_user_session.h"

struct vhost_user_call {
    struct vhost_user *vhost_user;     /* borrowed */
    union vhost_user_payload *payload; /* borrowed: of the request, and of the reply */
    uint32_t size;                     /* of the request's payload */
    uint32_t reply_size;
    int reply_fd;      /* owned: goes with the reply; -1: none */
    struct error *err; /* borrowed */
    uint8_t answers;   /* replies by itself, though the request is usually only acknowledged */
};

/* ---- vhost_user_requests.c: what handlers share ----------------------------------------- */

struct nic *vhost_user_call_nic(const struct vhost_user_call *call);
int vhost_user_reply_u64(struct vhost_user_call *call, uint64_t value);
/* NULL and a sentence: there is no such ring. */
struct vhost_user_ring *vhost_user_ring_find(const struct vhost_user_call *call, uint32_t index);
/* A session that holds its own other end never hears that its front-end has gone. */
int vhost_user_refuse_own_socket(const struct vhost_user_call *call, int fd);
int vhost_user_refuse_live(const struct vhost_user_call *call, const struct vhost_user_ring *ring);

/* ---- vhost_user_device.c ---------------------------------------------------------------- */

int vhost_user_get_features(struct vhost_user_call *call);
int vhost_user_set_features(struct vhost_user_call *call);
int vhost_user_get_protocol_features(struct vhost_user_call *call);
int vhost_user_set_protocol_features(struct vhost_user_call *call);
int vhost_user_get_queue_num(struct vhost_user_call *call);
int vhost_user_set_owner(struct vhost_user_call *call);
int vhost_user_reset_owner(struct vhost_user_call *call);
int vhost_user_reset_device(struct vhost_user_call *call);
int vhost_user_set_status(struct vhost_user_call *call);
int vhost_user_get_status(struct vhost_user_call *call);
int vhost_user_get_config(struct vhost_user_call *call);
int vhost_user_set_config(struct vhost_user_call *call);
int vhost_user_net_set_mtu(struct vhost_user_call *call);
int vhost_user_set_backend_req_fd(struct vhost_user_call *call);

/* ---- vhost_user_ring_requests.c --------------------------------------------------------- */

int vhost_user_set_vring_num(struct vhost_user_call *call);
int vhost_user_set_vring_addr(struct vhost_user_call *call);
int vhost_user_set_vring_base(struct vhost_user_call *call);
int vhost_user_get_vring_base(struct vhost_user_call *call);
int vhost_user_set_vring_enable(struct vhost_user_call *call);
int vhost_user_set_vring_kick(struct vhost_user_call *call);
int vhost_user_vring_kick(struct vhost_user_call *call);
int vhost_user_set_vring_call(struct vhost_user_call *call);
int vhost_user_set_vring_err(struct vhost_user_call *call);
int vhost_user_set_vring_endian(struct vhost_user_call *call);

/* ---- vhost_user_memory.c ---------------------------------------------------------------- */

int vhost_user_set_mem_table(struct vhost_user_call *call);
int vhost_user_get_max_mem_slots(struct vhost_user_call *call);
int vhost_user_add_mem_reg(struct vhost_user_call *call);
int vhost_user_rem_mem_reg(struct vhost_user_call *call);

/* ---- vhost_user_iommu.c ----------------------------------------------------------------- */

int vhost_user_iotlb_msg(struct vhost_user_call *call);

/* ---- vhost_user_log.c ------------------------------------------------------------------- */

int vhost_user_set_log_base(struct vhost_user_call *call);
int vhost_user_set_log_fd(struct vhost_user_call *call);

/* ---- vhost_user_announce.c -------------------------------------------------------------- */

int vhost_user_send_rarp(struct vhost_user_call *call);

/* ---- vhost_user_state.c ----------------------------------------------------------------- */

int vhost_user_set_device_state_fd(struct vhost_user_call *call);
int vhost_user_check_device_state(struct vhost_user_call *call);

/* ---- vhost_user_inflight.c -------------------------------------------------------------- */

int vhost_user_get_inflight_fd(struct vhost_user_call *call);
int vhost_user_set_inflight_fd(struct vhost_user_call *call);

/* ---- vhost_user_postcopy.c -------------------------------------------------------------- */

int vhost_user_postcopy_advise(struct vhost_user_call *call);
int vhost_user_postcopy_listen(struct vhost_user_call *call);
int vhost_user_postcopy_end(struct vhost_user_call *call);
int vhost_user_postcopy_listening(const struct vhost_user *vhost_user);
/* The reply is the request, with where `memory` is mapped here for addresses. */
void vhost_user_postcopy_locate(struct vhost_user_call *call, const struct guest_memory *memory,
                                struct vhost_user_region *region, unsigned count);
/* Takes what will be memory at the front-end's word. */
void vhost_user_postcopy_keep(struct vhost_user *vhost_user, struct guest_memory *next);
/* The front-end's word: *ret_next may be touched. NULL: it was said already. */
int vhost_user_postcopy_go(struct vhost_user_call *call, struct guest_memory **ret_next);
