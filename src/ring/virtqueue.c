/* SPDX-License-Identifier: MIT */
#include "ring/virtqueue.h"

#include <inttypes.h>
#include <stdlib.h>

#include "ring/chain.h"
#include "ring/inflight.h"
#include "ring/packed.h"
#include "ring/ring_log.h"
#include "ring/ring_memory.h"
#include "ring/split.h"

static const char *const queue_fault_names[QUEUE_FAULT_COUNT] = {
    [QUEUE_FAULT_NONE] = "none",
    [QUEUE_FAULT_AVAIL_JUMP] = "available_index_jump",
    [QUEUE_FAULT_HEAD_RANGE] = "head_out_of_range",
    [QUEUE_FAULT_LIST_PARTIAL] = "list_partly_available",
    [QUEUE_FAULT_LIST_ENDLESS] = "list_endless",
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
    *batch =
        (struct chain_batch){.iov_capacity = 2 * chain_max_of(queue_size), .capacity = capacity};
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

static int is_packed(const struct virtqueue *queue)
{
    return (queue->features & VIRTQUEUE_PACKED) != 0;
}

static int size_check(const struct virtqueue_config *config, struct error *err)
{
    int any = (config->features & VIRTQUEUE_PACKED) != 0;

    if (config->size != 0 && config->size <= VIRTQUEUE_SIZE_MAX &&
        (any || is_power_of_two(config->size)))
        return 0;
    return error_set(err, EINVAL, "queue size %u is not %s up to %d", config->size,
                     any ? "a number" : "a power of two", VIRTQUEUE_SIZE_MAX);
}

int virtqueue_check(const struct virtqueue_config *config, const struct guest_memory *memory,
                    struct error *err)
{
    struct virtqueue queue = {
        .config = *config, .size = config->size, .features = (uint16_t)config->features};
    int result = size_check(config, err);

    return result == 0 ? ring_map(&queue, memory, err) : result;
}

/* Takes its position: a split ring says itself where it stands, a packed one by its record. */
static int ring_start(struct virtqueue *queue, const struct virtqueue_config *config)
{
    uint32_t base = config->base;
    int taken_up = config->record != NULL && inflight_take_up(queue, config->record, &base);
    int result = is_packed(queue) ? packed_start(queue, base) : split_start(queue, base);

    if (result < 0)
        return result;
    if (config->record != NULL && !taken_up)
        inflight_open(queue, config->record);
    if (is_packed(queue))
        queue->record = config->record;
    if (taken_up && base != config->base)
        counter_add(&queue->taken_up, 1);
    return 0;
}

static void counters_keep(struct virtqueue *next, const struct virtqueue *before)
{
    next->interrupts = before->interrupts;
    next->interrupts_suppressed = before->interrupts_suppressed;
    next->kicks = before->kicks;
    next->taken_up = before->taken_up;
    next->completed_late = before->completed_late;
    next->records_refused = before->records_refused;
}

int virtqueue_start(struct virtqueue *queue, const struct virtqueue_config *config,
                    const struct guest_memory *memory, struct error *err)
{
    struct virtqueue next = {.config = *config,
                             .size = config->size,
                             .features = (uint16_t)config->features,
                             .order = config->order,
                             .memory = memory,
                             .log = config->log.log,
                             .chain_max = chain_max_of(config->size),
                             .armed = 1,
                             .fresh = 1};
    int result = size_check(config, err);

    if (result == 0)
        result = ring_map(&next, memory, err);
    if (result < 0)
        return result;
    counters_keep(&next, queue);
    result = ring_start(&next, config);
    if (result < 0)
        return error_set(err, -result, "base 0x%x is not a position in a ring of %u", config->base,
                         config->size);
    next.running = 1;
    *queue = next;
    ring_log_locate(queue);
    if (ring_log_on(queue))
        ring_log_started(queue);
    return 0;
}

uint32_t virtqueue_settle(struct virtqueue *queue)
{
    virtqueue_flush(queue);
    virtqueue_decide(queue);
    return is_packed(queue) ? packed_base(queue) : queue->next_avail;
}

/* Buffers still in flight come again at the next start. */
uint32_t virtqueue_stop(struct virtqueue *queue)
{
    uint32_t base = virtqueue_settle(queue);

    queue->running = 0;
    queue->memory = NULL;
    queue->log = NULL;
    queue->record = NULL;
    return base;
}

void virtqueue_rest(struct virtqueue *queue)
{
    virtqueue_flush(queue);
    virtqueue_decide(queue);
    queue->resting |= VIRTQUEUE_DISABLED;
}

void virtqueue_rouse(struct virtqueue *queue)
{
    queue->resting &= (uint8_t)~VIRTQUEUE_DISABLED;
}

/* May the ring be looked at? */
static int is_live(const struct virtqueue *queue)
{
    return queue->running && !queue->resting && queue->fault == QUEUE_FAULT_NONE;
}

void virtqueue_set_log(struct virtqueue *queue, const struct virtqueue_log *log)
{
    queue->config.log = *log;
    queue->log = log->log;
    queue->log_cache = (struct memory_cache){0};
    ring_log_locate(queue);
}

unsigned virtqueue_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max)
{
    if (!is_live(queue))
        return 0;
    return is_packed(queue) ? packed_pop(queue, batch, max) : split_pop(queue, batch, max);
}

void virtqueue_unpop(struct virtqueue *queue, const struct chain_batch *batch, unsigned keep)
{
    const struct chain *chains = &batch->chain[keep];

    if (is_packed(queue))
        packed_unpop(queue, chains, batch->count - keep);
    else
        split_unpop(queue, chains, batch->count - keep);
}

/* Apart, so that the usual push ends in a jump. */
static __attribute__((noinline)) void push_noted(struct virtqueue *queue, uint32_t token,
                                                 uint32_t len)
{
    if (is_packed(queue))
        packed_push(queue, token, len);
    else
        split_push(queue, token, len);
    ring_log_pushed(queue, token);
}

static inline void push(struct virtqueue *queue, uint32_t token, uint32_t len)
{
    queue->pushed++;
    if (ring_log_on(queue))
        push_noted(queue, token, len);
    else if (is_packed(queue))
        packed_push(queue, token, len);
    else
        split_push(queue, token, len);
}

void virtqueue_push(struct virtqueue *queue, uint32_t token, uint32_t len)
{
    if (queue->fault == QUEUE_FAULT_MEMORY)
        return;
    if (__builtin_expect(queue->record != NULL, 0))
        inflight_pushed(queue, token, len);
    push(queue, token, len);
}

void virtqueue_push_part(struct virtqueue *queue, uint32_t token, uint32_t len)
{
    if (queue->fault == QUEUE_FAULT_MEMORY)
        return;
    if (__builtin_expect(queue->record != NULL, 0))
        inflight_pushed_part(queue, token, len);
    push(queue, token, len);
}

void virtqueue_push_each(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                         unsigned count)
{
    if (queue->fault == QUEUE_FAULT_MEMORY || count == 0)
        return;
    queue->pushed += count;
    if (__builtin_expect(queue->record != NULL, 0))
        inflight_pushed_each(queue, chains, lens, count);
    if (is_packed(queue))
        packed_push_each(queue, chains, lens, count);
    else
        split_push_each(queue, chains, lens, count);
    if (ring_log_on(queue))
        ring_log_pushed_each(queue, chains, count);
}

static int interrupt_wanted(const struct virtqueue *queue)
{
    return is_packed(queue) ? packed_interrupt_wanted(queue, queue->undecided)
                            : split_interrupt_wanted(queue, queue->undecided);
}

static void decide(struct virtqueue *queue)
{
    if (interrupt_wanted(queue) || queue->fresh) {
        counter_add(&queue->interrupts, 1);
        queue->config.notifier.fire(queue->config.notifier.context);
    } else {
        counter_add(&queue->interrupts_suppressed, 1);
    }
    queue->fresh = 0;
    queue->pushed = 0;
    queue->undecided = 0;
}

/* A ring's worth of entries is never held: the driver would have nothing left to give. */
static int may_hold(const struct virtqueue *queue)
{
    return queue->pushed < queue->hold_buffers && queue->undecided < queue->size && !queue->fresh;
}

void virtqueue_flush(struct virtqueue *queue)
{
    uint32_t shown;

    if (!queue->running || queue->fault == QUEUE_FAULT_MEMORY)
        return;
    shown = is_packed(queue) ? packed_publish(queue) : split_publish(queue);
    if (shown == 0)
        return;
    if (__builtin_expect(queue->record != NULL, 0))
        inflight_published(queue);
    if (ring_log_on(queue))
        ring_log_published(queue, shown);
    queue->undecided += shown;
    if (__builtin_expect(!may_hold(queue), 1))
        decide(queue);
}

void virtqueue_decide(struct virtqueue *queue)
{
    if (queue->running && queue->fault != QUEUE_FAULT_MEMORY && queue->undecided != 0)
        decide(queue);
}

void virtqueue_hold(struct virtqueue *queue, uint32_t buffers)
{
    queue->hold_buffers = buffers;
    if (!may_hold(queue))
        virtqueue_decide(queue);
}

int virtqueue_is_empty(const struct virtqueue *queue)
{
    if (!is_live(queue))
        return 1;
    return is_packed(queue) ? packed_is_empty(queue) : split_is_empty(queue);
}

int virtqueue_arm(struct virtqueue *queue)
{
    int more;

    if (!is_live(queue))
        return 0;
    queue->armed = 1;
    more = is_packed(queue) ? packed_arm(queue) : split_arm(queue);
    if (ring_log_on(queue))
        ring_log_armed(queue);
    return more;
}

void virtqueue_disarm(struct virtqueue *queue)
{
    if (!queue->armed || !is_live(queue))
        return;
    queue->armed = 0;
    if (is_packed(queue))
        packed_disarm(queue);
    else
        split_disarm(queue);
    if (ring_log_on(queue))
        ring_log_disarmed(queue);
}

void virtqueue_latch(struct virtqueue *queue, enum queue_fault fault)
{
    if (queue->fault == QUEUE_FAULT_NONE)
        queue->fault = (uint8_t)fault;
}
