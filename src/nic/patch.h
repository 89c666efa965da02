/* SPDX-License-Identifier: MIT */
/*
 * A pair without a guest: what one endpoint delivers, another one is sent. So a switch gets an
 * uplink: its port on one side (`inner`), any endpoint on the other (`outer`).
 *
 * The worker has the outer pair and gives it turns. What goes out is cut and completed as a NIC
 * does it for its guest (tx_alone.c). What comes in waits in a store of four of the longest frames
 * until the inner endpoint takes it.
 */
#pragma once

#include "nic/pair.h"

enum {
    PATCH_FRAMES = 64,
    PATCH_STORE_LEN = 4 * FRAME_LEN_MAX,
};

struct patch {
    struct pair *outer;    /* back-pointer */
    struct pair inner;     /* no rings: what the inner endpoint delivers to, and its queue */
    uint8_t *store;        /* owned */
    uint32_t store_len;    /* bytes of it that frames have */
    uint32_t reserved;     /* bytes given by the last reserve */
    unsigned first, count; /* frames in the store: behind the first, up to count */
    int holding; /* something is being sent to the outer endpoint: what comes in is kept meanwhile
                  */
    struct iovec room;
    struct iovec iov[PATCH_FRAMES];
    struct frame frame[PATCH_FRAMES];
};

/* -ENOMEM. `outer` is zeroed but for its waker and worker. */
int patch_init(struct patch *patch, struct pair *outer);
void patch_free(struct patch *patch);
/* Both ends are there or go; the worker is paused. What was kept is forgotten. */
void patch_forget(struct patch *patch);

/* The turn of the outer pair, as pair_turn. */
unsigned patch_turn(struct patch *patch, struct pair_scratch *scratch, unsigned budget) NEEDS_DATA;
