/* SPDX-License-Identifier: MIT */
#include "ring/virtqueue.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "ring/split.h"

static const char *const queue_fault_names[QUEUE_FAULT_COUNT] = {
    [QUEUE_FAULT_NONE] = "none",
    [QUEUE_FAULT_AVAIL_JUMP] = "available_index_jump",
    [QUEUE_FAULT_HEAD_RANGE] = "head_out_of_range",
    [QUEUE_FAULT_MEMORY] = "ring_memory_removed",
};

static const char *const chain_fault_names[CHAIN_FAULT_COUNT] = {
    [CHAIN_FAULT_NONE] = "none",
    [CHAIN_FAULT_NEXT_RANGE] = "next_out_of_range",
    [CHAIN_FAULT_TOO_LONG] = "chain_too_long",
    [CHAIN_FAULT_TOO_LARGE] = "chain_too_large",
    [CHAIN_FAULT_ADDRESS] = "bad_address",
    [CHAIN_FAULT_ORDER] = "readable_after_writable",
    [CHAIN_FAULT_INDIRECT_UNAGREED] = "indirect_not_agreed",
    [CHAIN_FAULT_INDIRECT_FLAGS] = "indirect_bad_flags",
    [CHAIN_FAULT_INDIRECT_LEN] = "indirect_bad_length",
    [CHAIN_FAULT_INDIRECT_ADDRESS] = "indirect_bad_address",
};

const char *queue_fault_name(enum queue_fault fault)
{
    return queue_fault_names[fault];
}

const char *chain_fault_name(enum chain_fault fault)
{
    return chain_fault_names[fault];
}

static uint32_t chain_max_of(unsigned queue_size)
{
    return MAX(queue_size, VIRTQUEUE_CHAIN_MIN);
}

int chain_batch_init(struct chain_batch *batch, unsigned capacity, unsigned queue_size)
{
    /* A descriptor over adjacent regions becomes several spans, hence the factor. */
    *batch = (struct chain_batch){.iov_capacity = 2 * chain_max_of(queue_size),
                                  .capacity = capacity};
    batch->iov = calloc(batch->iov_capacity, sizeof(*batch->iov));
    batch->chain = calloc(capacity, sizeof(*batch->chain));
    if (batch->iov == NULL || batch->chain == NULL) {
        chain_batch_free(batch);
        return -ENOMEM;
    }
    return 0;
}

void chain_batch_free(struct chain_batch *batch)
{
    free(batch->iov);
    free(batch->chain);
    *batch = (struct chain_batch){0};
}

int virtqueue_start(struct virtqueue *queue, const struct virtqueue_config *config,
                    const struct guest_memory *memory, struct error *err)
{
    struct virtqueue next = {.config = *config,
                             .size = config->size,
                             .features = (uint16_t)config->features,
                             .order = config->order,
                             .memory = memory,
                             .chain_max = chain_max_of(config->size),
                             .next_avail = config->next_avail,
                             .fresh = 1};
    int result;

    if (!is_power_of_two(config->size) || config->size > VIRTQUEUE_SIZE_MAX)
        return error_set(err, EINVAL, "queue size %u is not a power of two up to %d", config->size,
                         VIRTQUEUE_SIZE_MAX);
    result = split_map(&next, memory, err);
    if (result < 0)
        return result;
    split_start(&next);
    next.running = 1;
    next.interrupts = queue->interrupts;
    next.interrupts_suppressed = queue->interrupts_suppressed;
    next.kicks = queue->kicks;
    *queue = next;
    return 0;
}

uint16_t virtqueue_stop(struct virtqueue *queue)
{
    if (queue->running && queue->fault != QUEUE_FAULT_MEMORY)
        split_flush(queue);
    queue->running = 0;
    queue->desc = NULL;
    queue->avail = NULL;
    queue->used = NULL;
    queue->memory = NULL;
    /* Buffers still in flight were never completed: whoever starts again gets them first. */
    return queue->next_avail;
}

void virtqueue_remap(struct virtqueue *queue, const struct guest_memory *memory)
{
    if (!queue->running || queue->fault == QUEUE_FAULT_MEMORY)
        return;
    queue->cache = (struct memory_cache){0};
    queue->table_cache = (struct memory_cache){0};
    queue->memory = memory;
    if (memory == NULL || split_map(queue, memory, NULL) < 0) {
        queue->fault = QUEUE_FAULT_MEMORY; /* stronger than an earlier fault: nothing may be written */
        queue->desc = NULL;
        queue->avail = NULL;
        queue->used = NULL;
    }
}

unsigned virtqueue_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max)
{
    if (!queue->running || queue->fault != QUEUE_FAULT_NONE)
        return 0;
    return split_pop(queue, batch, max);
}

void virtqueue_unpop(struct virtqueue *queue, unsigned count)
{
    queue->next_avail = (uint16_t)(queue->next_avail - count);
    queue->in_flight = (uint16_t)(queue->in_flight - count);
}

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t len)
{
    queue->in_flight--;
    if (queue->fault != QUEUE_FAULT_MEMORY)
        split_push(queue, head, len);
}

void virtqueue_flush(struct virtqueue *queue)
{
    if (queue->next_used != queue->used_shown && queue->fault != QUEUE_FAULT_MEMORY)
        split_flush(queue);
}

int virtqueue_arm(struct virtqueue *queue)
{
    if (!queue->running || queue->fault != QUEUE_FAULT_NONE)
        return 0;
    return split_arm(queue);
}

void virtqueue_disarm(struct virtqueue *queue)
{
    if (queue->armed && queue->running && queue->fault == QUEUE_FAULT_NONE)
        split_disarm(queue);
}

void virtqueue_latch(struct virtqueue *queue, enum queue_fault fault)
{
    if (queue->fault == QUEUE_FAULT_NONE)
        queue->fault = (uint8_t)fault;
}
