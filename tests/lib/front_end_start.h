/* SPDX-License-Identifier: MIT */
/*
 * Bring-up and tear-down of a device, message by message in the order in which known front-ends do
 * it (front_end_start.c says where each order was read). All fail the test when the back-end
 * refuses.
 */
#pragma once

#include "front_end.h"

/* What SET_VRING_BASE says of a ring. */
enum front_end_base {
    BASE_RIGHT,  /* where the device has to go on, if it completed all that it took */
    BASE_FIRST,  /* where the ring once began, as DPDK says of any, and QEMU of a packed one */
    BASE_BEHIND, /* behind all that is queued, as Cloud Hypervisor says of a split one */
};

struct front_end_setup {
    struct guest_ram *ram;      /* borrowed */
    struct driver_ring **vring; /* borrowed: vring_count rings, in the order of their index */
    unsigned vring_count;
    uint64_t features; /* wanted; agreed are those that are offered too */
    uint64_t pf;       /* wanted protocol features */
    enum front_end_base base;
    /* Borrowed: where the rings are recorded; NULL: nowhere. Without an fd the back-end makes one,
     * which is the owner's of this from then on. */
    struct vu_inflight *inflight;
};

typedef void front_end_start_function(struct front_end *fe, const struct front_end_setup *setup);

/* The session alone: features and protocol features are agreed, rings untouched. */
void front_end_hello(struct front_end *fe, const struct front_end_setup *setup);

front_end_start_function front_end_start_qemu;
front_end_start_function front_end_start_qemu_7;
front_end_start_function front_end_start_dpdk;
front_end_start_function front_end_start_cloud_hypervisor;
front_end_start_function front_end_start_crosvm;
front_end_start_function front_end_start_uml;
/* Kicks and interrupts by message; the channel is given as the caller has it. Two rings at most, of
 * one front-end at a time. */
void front_end_start_in_band(struct front_end *fe, const struct front_end_setup *setup,
                             void (*give_channel)(struct front_end *fe));
/* What it needs to agree on. */
#define FRONT_END_IN_BAND                                                                          \
    (VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_CONFIG | VU_PF_INBAND | VU_PF_STATUS)

/* Sends the message with a pipe's writing end; the other one is kept in *keep_fd. */
int front_end_give_pipe(struct front_end *fe, struct vu_message *message, int *keep_fd);
/* Makes agreement known to the rings: EVENT_IDX, kick and call fds. Every start does it. */
void front_end_bind(struct front_end *fe, const struct front_end_setup *setup);
/* One ring from nothing: NUM, BASE, ADDR, KICK, CALL, ERR; enabled if the session has that message.
 */
void front_end_start_ring(struct front_end *fe, unsigned index, struct driver_ring *ring);
void front_end_start_vring(struct front_end *fe, unsigned index, struct driver_split *split);
/* Stops a ring and returns the base that the back-end answered. */
uint32_t front_end_stop_vring(struct front_end *fe, unsigned index);
