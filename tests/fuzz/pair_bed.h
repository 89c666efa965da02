/* SPDX-License-Identifier: MIT */
/*
 * A whole queue pair on a few kilobytes of guest memory, for the fuzz targets: no thread, no file,
 * no time. The caller is the driver (it writes memory as it likes) and the worker (it gives turns).
 *
 * Regions, so that bounds are near: one for rings and buffers, one that follows it in guest
 * addresses but not in the host's, one that may only be read, and one that ends with the address
 * space.
 */
#pragma once

#include "fuzz.h"
#include "fuzz_endpoint.h"
#include "nic/pair.h"

enum {
    BED_REGIONS = 4,
    BED_MAIN_LEN = 0x8000,
    BED_NEXT_GPA = BED_MAIN_LEN,
    BED_NEXT_LEN = 0x1000,
    BED_ROM_GPA = 0xa000,
    BED_ROM_LEN = 0x100,
    BED_LAST_LEN = 0x100,

    /* The rings' places in the main region; buffers and tables go behind them. */
    BED_RING_STRIDE = 0x2000,
    BED_DRIVER_OFFSET = 0x1000,
    BED_DEVICE_OFFSET = 0x1400,
    BED_DATA_GPA = 0x4000,
    BED_RING_SIZE_MAX = 256,
};

enum bed_queue {
    BED_RX,
    BED_TX,
    BED_QUEUES,
};

/* What the driver half remembers of a ring. */
struct bed_ring {
    uint16_t next; /* split: descriptor to use next; packed: slot */
    uint16_t id;
    uint8_t wrap;
};

struct bed_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags; /* NEXT = 1, WRITE = 2, INDIRECT = 4 */
};

struct pair_bed {
    uint8_t *bytes[BED_REGIONS]; /* owned, each in a block of its own */
    struct guest_memory *memory; /* owned; what the pair sees now */
    struct pair pair;
    struct fuzz_endpoint endpoint;
    struct virtqueue_config config[BED_QUEUES];
    struct bed_ring ring[BED_QUEUES];
    uint16_t size_max[BED_QUEUES];
    uint64_t interrupts;

    /* At the last start of the transmit queue. */
    uint64_t completed_before;
    uint16_t used_before;
};

struct bed_options {
    uint16_t size[BED_QUEUES];
    uint32_t base[BED_QUEUES];
    uint32_t features; /* VIRTQUEUE_…; BATCH_USED is for the transmit queue alone */
    enum byte_order order;
    enum fuzz_completion completion;
    int mergeable;
    int legacy; /* a header of 10 bytes if not mergeable */
    uint32_t tx_offloads, rx_offloads;
    uint32_t frame_max;
};

void pair_bed_init(struct pair_bed *bed, const struct bed_options *options);
void pair_bed_free(struct pair_bed *bed);

/* Where the guest's bytes at gpa are, at most *len of them; NULL: nowhere. Writing to the ROM is
 * fine for the guest's firmware, but not here: it answers NULL. */
uint8_t *pair_bed_at(const struct pair_bed *bed, uint64_t gpa, size_t *len);
void pair_bed_write(struct pair_bed *bed, uint64_t gpa, const void *bytes, size_t len);

/* The memory table anew, with only the regions of the mask. */
void pair_bed_remap(struct pair_bed *bed, unsigned mask);

/* As the coordinator does it: completes what the endpoint holds, stops; starts with config[queue].
 */
uint32_t pair_bed_stop(struct pair_bed *bed, enum bed_queue queue);
void pair_bed_start(struct pair_bed *bed, enum bed_queue queue);

/* The driver offers a list of buffers, by the rules of the format. */
void pair_bed_offer(struct pair_bed *bed, enum bed_queue queue, const struct bed_desc *desc,
                    unsigned count);

/* One turn, and everything that has to hold after it. */
unsigned pair_bed_turn(struct pair_bed *bed, unsigned budget);
/* As a worker does it: turns until nothing moves, then the rings are armed. That is a promise which
 * the next turn is checked to keep: it finds nothing. And it must come to that: no spin. */
void pair_bed_sleep(struct pair_bed *bed);
