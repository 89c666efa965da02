/* SPDX-License-Identifier: MIT */
/*
 * A driver (tests/lib) and a device (src/ring) on the same memory, in either ring format. What only
 * the driver may write (split: descriptors and available ring; packed: its event words; indirect
 * tables) is mapped read-only for the device: a store there is a crash.
 */
#pragma once

#include "driver_packed.h"
#include "driver_split.h"
#include "guest_ram.h"
#include "ring/virtqueue.h"

#define FORMAT_BED_DRIVER_GPA  0x100000ull
#define FORMAT_BED_DRIVER_SIZE (64ull << 20)
#define FORMAT_BED_DATA_GPA    0x10000000ull
#define FORMAT_BED_DATA_SIZE   0x200000ull
/* Follows the data region in guest addresses, but not on the host; a hole follows it. */
#define FORMAT_BED_NEXT_GPA (FORMAT_BED_DATA_GPA + FORMAT_BED_DATA_SIZE)
#define FORMAT_BED_END_GPA  (FORMAT_BED_NEXT_GPA + FORMAT_BED_DATA_SIZE)

enum {
    FORMAT_BED_DRIVER, /* regions of guest RAM */
    FORMAT_BED_DATA,
    FORMAT_BED_NEXT,
};

struct format_bed {
    struct guest_ram ram;
    uint8_t *driver_pages; /* owned: the device's read-only mapping of region 0; NULL: none */
    struct guest_memory *memory;
    struct driver_split split;
    struct driver_packed packed;
    struct driver_ring *ring; /* back-pointer: the one of the two that is in use; NULL: none is */
    uint32_t features;
    struct virtqueue queue;
    struct chain_batch batch;
    unsigned fires; /* interrupts */
    int call_fd;    /* written at an interrupt; owned, -1: none */
    int kick_fd;    /* owned, -1: none */
};

enum format_bed_mapping {
    FORMAT_BED_READ_ONLY, /* a second mapping of the driver's memory, without the right to write */
    FORMAT_BED_ONE_MAPPING, /* the driver's own, so that TSan knows a word on both sides as one */
};

int format_bed_setup(void **state);
int format_bed_teardown(void **state);
int format_bed_init(struct format_bed *bed, enum format_bed_mapping mapping);
void format_bed_free(struct format_bed *bed);

/* Both sides with new rings of this size; features: VIRTQUEUE_…, PACKED chooses the format.
 * Memory that an earlier ring had is used again. */
void format_bed_start(struct format_bed *bed, unsigned size, uint32_t features);
/* A packed ring whose last lap ended before `start` (a slot, and its wrap counter in bit 15). */
void format_bed_start_packed_at(struct format_bed *bed, unsigned size, uint16_t start,
                                uint32_t features);
/* The same rings, with eventfds for kicks and interrupts. */
void format_bed_wire(struct format_bed *bed);
struct virtqueue_config format_bed_config(struct format_bed *bed);
/* Stops the device and starts it where it stopped. */
void format_bed_cycle(struct format_bed *bed);

/* Adds and publishes one chain; returns its id. */
uint32_t format_bed_offer(struct format_bed *bed, const struct driver_buffer *buffer,
                          unsigned count, enum chain_shape shape);
/* Pops exactly one chain, which stays valid until the next pop. */
struct chain *format_bed_pop(struct format_bed *bed);
/* Pops up to max anew; returns how many came. */
unsigned format_bed_pop_many(struct format_bed *bed, unsigned max);
/* Completes a chain and flushes. */
void format_bed_complete(struct format_bed *bed, uint32_t token, uint32_t len);
/* The next used buffer is this one. */
void format_bed_expect_used(struct format_bed *bed, uint32_t id, uint32_t len);
/* The device has nothing more for the driver. */
void format_bed_expect_no_used(struct format_bed *bed);
/* A plain chain goes there and back: the ring is healthy. */
void format_bed_round_trip(struct format_bed *bed);

static inline struct driver_buffer device_reads(uint64_t gpa, uint32_t len)
{
    return (struct driver_buffer){gpa, len, DEVICE_READS};
}

static inline struct driver_buffer device_writes(uint64_t gpa, uint32_t len)
{
    return (struct driver_buffer){gpa, len, DEVICE_WRITES};
}

#define FORMAT_BED_TEST(name)                                                                      \
    cmocka_unit_test_setup_teardown(name, format_bed_setup, format_bed_teardown)
