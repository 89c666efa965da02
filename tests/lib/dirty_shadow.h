/* SPDX-License-Identifier: MIT */
/*
 * A log of dirty pages as a front-end shares it, and what it should hold: guest memory is copied at
 * one moment and compared at a later one. Between the two only the device writes, so that the pages
 * which differ are those that it wrote to.
 */
#pragma once

#include <stdint.h>

#include "guest_ram.h"

enum {
    DIRTY_SHADOW_PAGE = 4096,
    DIRTY_SHADOW_SAME_MAX = 16,
};

struct dirty_shadow {
    const struct guest_ram *ram;            /* borrowed */
    int fd;                                 /* owned: the log's file */
    uint8_t *bits;                          /* owned */
    uint64_t len;                           /* bytes of the log */
    uint8_t *before[GUEST_RAM_REGIONS_MAX]; /* owned: copies of what the allocator gave out */
    uint64_t before_len[GUEST_RAM_REGIONS_MAX];
    uint64_t same[DIRTY_SHADOW_SAME_MAX]; /* gpa of words that may be written with what they held */
    unsigned same_count;
};

/* The log has a bit for every page below `end`. */
void dirty_shadow_init(struct dirty_shadow *shadow, const struct guest_ram *ram, uint64_t end);
void dirty_shadow_free(struct dirty_shadow *shadow);

/* Clears the log, bit by bit as a front-end does, and copies memory. */
void dirty_shadow_begin(struct dirty_shadow *shadow);
/* The device may write to this word what stands there. */
void dirty_shadow_add_same(struct dirty_shadow *shadow, uint64_t gpa);
/* The log must have exactly the pages that differ from the copy, and there must be some; pages of
 * words that were added above may be there too. */
void dirty_shadow_check(const struct dirty_shadow *shadow);

int dirty_shadow_has(const struct dirty_shadow *shadow, uint64_t gpa);
unsigned dirty_shadow_count(const struct dirty_shadow *shadow);
