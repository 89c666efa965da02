/* SPDX-License-Identifier: MIT */
/*
 * Where a ring and its buffers lie: the parts of a ring in a memory table, and what is not in
 * there, for good or because an IOMMU was not asked yet. Included by src/ring only.
 */
#pragma once

#include "ring/virtqueue.h"

enum {
    RING_PARTS = 3
};

/* Where a part of a ring has to be. */
struct ring_part {
    const char *name;
    uint64_t gpa;
    uint64_t len;
    uint64_t align;
    enum memory_access access;
};

/* Host pointers of all parts; -EINVAL and a sentence if one is misaligned or not inside guest
 * memory, in one piece. */
int ring_parts_map(const struct guest_memory *memory, const struct ring_part parts[RING_PARTS],
                   void *ret_hva[RING_PARTS], struct error *err);

/* Finds and checks the parts of the queue's format in guest memory; -EINVAL and a sentence
 * otherwise. */
int ring_map(struct virtqueue *queue, const struct guest_memory *memory, struct error *err);

/* The format's parts of this queue. */
void ring_parts_of(const struct virtqueue *queue, struct ring_part ret_parts[RING_PARTS]);

/* Nothing at the address allows this access to what begins there. Returns the fault that it is; or,
 * if an IOMMU may yet allow it, CHAIN_AWAITS: its front-end is to be asked, and the queue waits. */
enum chain_fault ring_unreachable(struct virtqueue *queue, uint64_t gpa, uint64_t len,
                                  enum memory_access access, enum chain_fault fault);
