/* SPDX-License-Identifier: MIT */
/* The packed format (virtio 1.4, 2.8) behind virtqueue.h. Included by src/ring only. */
#pragma once

#include "ring/ring_memory.h"

enum packed_desc_flags {
    PACKED_DESC_AVAIL = 1 << 7,
    PACKED_DESC_USED = 1 << 15,
};

enum packed_event_flags {
    PACKED_EVENT_ENABLE = 0,
    PACKED_EVENT_DISABLE = 1,
    PACKED_EVENT_DESC = 2,
};

struct packed_event {
    le16 off_wrap; /* slot, and the wrap counter in bit 15 */
    le16 flags;    /* PACKED_EVENT_… */
};

/* A base as vhost-user has it: available position in the low half, used in the high one. */
enum {
    PACKED_BASE_WRAP = 1 << 15, /* of a half */
    PACKED_BASE_FRESH = PACKED_BASE_WRAP,
};

enum {
    PACKED_TOKEN_SLOTS_SHIFT = 16
};

/* Slots that the list took which this token names. */
static inline uint16_t packed_token_slots(uint32_t token)
{
    return (uint16_t)(token >> PACKED_TOKEN_SLOTS_SHIFT);
}

/* A slot and the wrap counter of the lap that it is in. */
struct packed_place {
    uint16_t slot;
    uint8_t wrap;
};

void packed_parts(const struct virtqueue *queue, struct ring_part ret_parts[RING_PARTS]);
/* Finds and checks the three parts in guest memory; -EINVAL and a sentence otherwise. */
int packed_map(struct virtqueue *queue, const struct guest_memory *memory, struct error *err);
/* Takes both positions from the base. -EINVAL: a position is not in the ring. */
int packed_start(struct virtqueue *queue, uint32_t base);
uint32_t packed_base(const struct virtqueue *queue);

unsigned packed_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max);
void packed_unpop(struct virtqueue *queue, const struct chain *chains, unsigned count);
void packed_push(struct virtqueue *queue, uint32_t token, uint32_t len);
/* count is not 0; lens is NULL where all are 0. */
void packed_push_each(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                      unsigned count);
/* Shows what was pushed; returns how many ring entries that were. */
uint32_t packed_publish(struct virtqueue *queue);
/* Does the driver want to hear of the last `entries` that were shown? */
int packed_interrupt_wanted(const struct virtqueue *queue, uint32_t entries);
/* Nothing lies behind what pop has taken. */
int packed_is_empty(const struct virtqueue *queue);
int packed_arm(struct virtqueue *queue);
void packed_disarm(struct virtqueue *queue);

/* ---- for inflight.c, before the queue runs ----------------------------------------------- */

/* Its driver made it anew, and no device has started on it since. */
int packed_is_anew(const struct virtqueue *queue);
/* The driver has made it available in this lap, and the device has not used it. */
int packed_is_available(const struct virtqueue *queue, struct packed_place at);
/* What a slot holds beside its address, in one word; and back into it, its flags last. */
uint64_t packed_slot_save(const struct virtqueue *queue, uint16_t slot);
void packed_slot_restore(struct virtqueue *queue, uint16_t slot, uint64_t saved);
/* Writes a used entry, its flags last, with release. */
void packed_use(struct virtqueue *queue, struct packed_place at, uint16_t id, uint32_t len);
