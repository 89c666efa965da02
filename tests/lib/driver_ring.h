/* SPDX-License-Identifier: MIT */
/*
 * What a driver does with a virtqueue, whatever its format: add chains, publish them, kick if the
 * device wants it, take used buffers back. driver_split.h and driver_packed.h are the formats.
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

/* IN_ORDER: buffers come back in the order in which they went out, and one used entry may stand for
 * all up to the one that it names (virtio 1.4, 2.7.9 and 2.8.6). */
struct driver_order {
    uint32_t
        *id; /* owned: a ring of `size`, oldest at `first`; NULL: IN_ORDER was not negotiated */
    unsigned size;
    unsigned first;
    unsigned count;
    int open; /* an entry was read, buffers up to last.id are still to be handed out */
    struct driver_used last; /* the entry */
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
    /* Where the device has to go on, in vhost-user's encoding, when nothing is in flight. */
    uint32_t (*base)(const struct driver_ring *ring);
    /* Forgets all that is in flight and makes the ring as new. */
    void (*restart)(struct driver_ring *ring);
};

/* How memory is named to a device that does not get guest addresses. */
struct driver_dma {
    /* The address of one buffer, or table, of the chain `id`, until that is unmapped as a whole. */
    uint64_t (*map)(struct driver_dma *dma, const struct driver_ring *ring, uint32_t id,
                    const struct driver_buffer *buffer);
    void (*unmap)(struct driver_dma *dma, const struct driver_ring *ring, uint32_t id);
    /* Of memory that stays the device's. */
    uint64_t (*fixed)(struct driver_dma *dma, uint64_t gpa, uint64_t len);
    /* Called again and again while something is waited for. */
    void (*wait)(struct driver_dma *dma);
};

struct driver_ring {
    const struct driver_ring_ops *ops;
    struct guest_ram *ram;  /* borrowed */
    struct driver_dma *dma; /* borrowed; NULL: the device gets guest addresses */
    unsigned size;
    enum wire_order order;
    int event_idx;               /* EVENT_IDX was negotiated */
    int kick_fd;                 /* borrowed from the front-end, -1: none */
    int call_fd;                 /* borrowed from the front-end, -1: none */
    void (*kick)(void *context); /* instead of kick_fd, when kick_count has grown; NULL: none */
    void *kick_context;          /* borrowed */
    unsigned kick_count;
    uint64_t desc_area, driver_area, device_area; /* gpa of the three parts */
    uint64_t desc_len, driver_len, device_len;
    struct driver_order in_order;
};

/* The address that the device is given for a buffer, or table, of the chain. */
uint64_t driver_ring_map(struct driver_ring *ring, uint32_t id, const struct driver_buffer *buffer);
/* The chain has come back. */
void driver_ring_unmap(struct driver_ring *ring, uint32_t id);

/* Writes the kick eventfd (or calls kick) whether the device wants it or not. */
void driver_ring_kick(struct driver_ring *ring);
/* Publishes, and kicks if the device asked for it. */
void driver_ring_flush(struct driver_ring *ring);

/* IN_ORDER from now on; the ring is empty. */
void driver_order_init(struct driver_order *order, unsigned size);
void driver_order_free(struct driver_order *order);
void driver_order_clear(struct driver_order *order);
/* A buffer went out. Does nothing without IN_ORDER, like all of these. */
void driver_order_add(struct driver_order *order, uint32_t id);
/* A used entry was read; fails the test if its id is not in flight. */
void driver_order_open(struct driver_order *order, const struct driver_used *used);
/* 1 and the next buffer that the open entry stands for, or 0. */
int driver_order_take(struct driver_order *order, struct driver_used *ret_used);

/* Waits for one used buffer by polling; 0 if none came within timeout_ms. */
int driver_ring_wait(struct driver_ring *ring, int timeout_ms, struct driver_used *ret_used);
