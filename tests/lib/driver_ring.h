/* SPDX-License-Identifier: MIT */
/*
 * What a driver does with a virtqueue, whatever its format: add chains, publish them, kick if the
 * device wants it, take used buffers back. driver_split.h is the split format.
 */
#pragma once

#include <stdint.h>

#include "guest_ram.h"
#include "wire.h"

enum driver_access {
    DEVICE_READS,
    DEVICE_WRITES,
};

struct driver_buffer {
    uint64_t gpa;
    uint32_t len;
    enum driver_access access;
};

enum chain_shape {
    CHAIN_DIRECT,
    CHAIN_INDIRECT, /* one descriptor, all buffers in a table */
    CHAIN_MIXED,    /* the first buffer in the ring, the rest in a table behind it */
};

struct driver_chain {
    const struct driver_buffer *buffer;
    unsigned count;
    enum chain_shape shape;
};

struct driver_used {
    uint32_t id;
    uint32_t len;
};

enum driver_interrupts {
    INTERRUPTS_OFF,
    INTERRUPTS_ON, /* at the next used buffer */
};

struct driver_ring;

struct driver_ring_ops {
    /* Puts a chain into the ring, unpublished; fails the test if there is no room. Returns its id.
     */
    uint32_t (*add)(struct driver_ring *ring, const struct driver_chain *chain);
    /* Shows all added chains to the device; returns 1 if the device wants a kick for them. */
    int (*publish)(struct driver_ring *ring);
    /* 1 and the next used buffer, or 0. */
    int (*take)(struct driver_ring *ring, struct driver_used *ret_used);
    void (*interrupts)(struct driver_ring *ring, enum driver_interrupts wanted);
};

struct driver_ring {
    const struct driver_ring_ops *ops;
    struct guest_ram *ram; /* borrowed */
    unsigned size;
    enum wire_order order;
    int event_idx; /* EVENT_IDX was negotiated */
    int kick_fd;   /* borrowed from the front-end, -1: none */
    int call_fd;   /* borrowed from the front-end, -1: none */
    unsigned kick_count;
};

/* Writes the kick eventfd whether the device wants it or not. */
void driver_ring_kick(struct driver_ring *ring);
/* Publishes, and kicks if the device asked for it. */
void driver_ring_flush(struct driver_ring *ring);
/* Waits for one used buffer by polling; 0 if none came within timeout_ms. */
int driver_ring_wait(struct driver_ring *ring, int timeout_ms, struct driver_used *ret_used);
