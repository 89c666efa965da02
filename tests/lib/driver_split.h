/* SPDX-License-Identifier: MIT */
/*
 * The driver side of a split virtqueue (virtio 1.4, 2.7), written from the specification. Beside
 * the well behaved calls of driver_ring.h it has raw ones, with which a test breaks any rule it
 * likes.
 */
#pragma once

#include "driver_ring.h"

enum driver_desc_flags {
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    DESC_INDIRECT = 4,
};

enum {
    DRIVER_DESC_LEN = 16,
    DRIVER_RING_SIZE_MAX = 32768
};

struct driver_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

struct driver_split_options {
    unsigned size;
    uint16_t start_idx; /* both indices begin here, as after a restart */
    enum wire_order order;
    int event_idx;
    int in_order;
    unsigned region;      /* of guest RAM, for all that only the driver writes */
    unsigned used_region; /* of guest RAM, for the used ring */
};

struct driver_split {
    struct driver_ring ring; /* first: a driver_split is a driver_ring */
    uint64_t desc_gpa;
    uint64_t avail_gpa;
    uint64_t used_gpa;
    uint64_t table_gpa; /* a table of table_len entries for each head */
    unsigned table_len;
    unsigned region;
    uint16_t avail_idx; /* of the next chain */
    uint16_t published_idx;
    uint16_t used_idx; /* of the next used entry to look at */
    uint16_t free_head;
    unsigned free_count;
    uint16_t *chain_len; /* owned: descriptors of the chain at each head, 0: not in flight */
};

void driver_split_init(struct driver_split *split, struct guest_ram *ram,
                       const struct driver_split_options *options);
void driver_split_free(struct driver_split *split);
/* Forgets everything in flight, clears the used ring, and begins again at start_idx. */
void driver_split_restart(struct driver_split *split, uint16_t start_idx);

/* ---- raw ---- */

uint64_t driver_split_desc_at(const struct driver_split *split, unsigned index);
void driver_split_write_desc(struct driver_split *split, unsigned index,
                             const struct driver_desc *desc);
/* Writes a descriptor anywhere in guest memory: entries of an indirect table. */
void driver_split_write_desc_at(struct driver_split *split, uint64_t gpa,
                                const struct driver_desc *desc);
/* Takes a descriptor out of the free list so that add() will not use it. */
uint16_t driver_split_claim(struct driver_split *split);
/* Writes `head` into the next slot of the available ring, unpublished. */
void driver_split_offer(struct driver_split *split, uint16_t head);
void driver_split_store_avail_idx(struct driver_split *split, uint16_t idx);
void driver_split_store_used_event(struct driver_split *split, uint16_t event);
void driver_split_store_avail_flags(struct driver_split *split, uint16_t flags);
uint16_t driver_split_used_idx(const struct driver_split *split);
uint16_t driver_split_used_flags(const struct driver_split *split);
uint16_t driver_split_avail_event(const struct driver_split *split);
struct driver_used driver_split_used_entry(const struct driver_split *split, uint16_t idx);
unsigned driver_split_avail_len(const struct driver_split *split);
unsigned driver_split_used_len(const struct driver_split *split);
