/* SPDX-License-Identifier: MIT */
/* The split format (virtio 1.4, 2.7) behind virtqueue.h. Included by src/ring only. */
#pragma once

#include "ring/ring_memory.h"

enum split_ring_flags {
    SPLIT_AVAIL_NO_INTERRUPT = 1,
    SPLIT_USED_NO_NOTIFY = 1,
};

struct split_avail {
    le16 flags;
    le16 idx;
    le16 ring[]; /* size entries, then used_event */
};

struct split_used_elem {
    le32 id;
    le32 len;
};

struct split_used {
    le16 flags;
    le16 idx;
    struct split_used_elem ring[]; /* size entries, then le16 avail_event */
};

void split_parts(const struct virtqueue *queue, struct ring_part ret_parts[RING_PARTS]);
/* Finds and checks the three parts in guest memory; -EINVAL and a sentence otherwise. */
int split_map(struct virtqueue *queue, const struct guest_memory *memory, struct error *err);
/* Takes its position: available from the base, used from the ring itself. -EINVAL: no such base. */
int split_start(struct virtqueue *queue, uint32_t base);

unsigned split_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max);
void split_unpop(struct virtqueue *queue, const struct chain *chains, unsigned count);
void split_push(struct virtqueue *queue, uint32_t head, uint32_t len);
/* count is not 0; lens is NULL where all are 0. */
void split_push_each(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                     unsigned count);
/* Shows what was pushed; returns how many ring entries that were. */
uint32_t split_publish(struct virtqueue *queue);
/* Does the driver want to hear of the last `entries` that were shown? */
int split_interrupt_wanted(const struct virtqueue *queue, uint32_t entries);
/* Nothing lies behind what pop has taken. */
int split_is_empty(const struct virtqueue *queue);
int split_arm(struct virtqueue *queue);
void split_disarm(struct virtqueue *queue);
