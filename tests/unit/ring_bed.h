/* SPDX-License-Identifier: MIT */
/*
 * A driver (tests/lib) and a device (src/ring) on the same memory. What only the driver may write
 * (descriptors, available ring, indirect tables) is mapped read-only for the device: a store there
 * is a crash.
 */
#pragma once

#include "driver_split.h"
#include "guest_ram.h"
#include "ring/virtqueue.h"

#define RING_BED_DATA_GPA  0x10000000ull
#define RING_BED_DATA_SIZE 0x100000ull
/* Follows the data region in guest addresses, but not on the host; a hole follows it. */
#define RING_BED_NEXT_GPA (RING_BED_DATA_GPA + RING_BED_DATA_SIZE)
#define RING_BED_END_GPA  (RING_BED_NEXT_GPA + RING_BED_DATA_SIZE)

enum {
    RING_BED_DRIVER, /* regions of guest RAM */
    RING_BED_DATA,
    RING_BED_NEXT,
};

struct ring_bed {
    struct guest_ram ram;
    uint8_t *driver_pages; /* owned: the device's read-only mapping of region 0 */
    struct guest_memory *memory;
    struct driver_split split;
    struct virtqueue queue;
    struct chain_batch batch;
    unsigned fires; /* interrupts */
};

int ring_bed_setup(void **state);
int ring_bed_teardown(void **state);
/* Both sides with a ring of this size, indices at start_idx; features: VIRTQUEUE_…. */
void ring_bed_start(struct ring_bed *bed, unsigned size, uint16_t start_idx, uint32_t features);
void ring_bed_start_order(struct ring_bed *bed, unsigned size, enum wire_order order);
struct virtqueue_config ring_bed_config(struct ring_bed *bed, uint32_t features);

/* Adds and publishes one chain; returns its head. */
uint16_t ring_bed_offer(struct ring_bed *bed, const struct driver_buffer *buffer, unsigned count,
                        enum chain_shape shape);
/* Offers and publishes the head of a chain that was written raw. */
void ring_bed_offer_raw(struct ring_bed *bed, uint16_t head);
/* Pops exactly one chain, which stays valid until the next pop. */
struct chain *ring_bed_pop(struct ring_bed *bed);
/* Completes a chain and flushes. */
void ring_bed_complete(struct ring_bed *bed, uint16_t head, uint32_t len);
/* A plain chain goes there and back: the ring is healthy. */
void ring_bed_round_trip(struct ring_bed *bed);

#define RING_BED_TEST(name) cmocka_unit_test_setup_teardown(name, ring_bed_setup, ring_bed_teardown)
