/* SPDX-License-Identifier: MIT */
/*
 * The split format (virtio 1.4, 2.7). Each entry point is one body, inlined twice: for little-endian
 * words, and for a legacy big-endian guest's.
 *
 * Memory order: the driver's index is loaded with acquire before its entries are read; ours is stored
 * with release after the used entries. Between publishing our state and reading the driver's wish (or
 * the other way round) stands full_fence(), the only store-load barrier of this file.
 */
#include "ring/split.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* TSan does not model fences; it needs none to see the acquire/release pairs on the index words. What the
 * fence adds is that no kick or interrupt is lost, which the stress tests check instead. */
static inline void full_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* ---- set-up -------------------------------------------------------------------------------------- */

static int part_map(const struct guest_memory *memory, const char *name, uint64_t gpa, uint64_t len,
                    uint64_t align, enum memory_access access, uint8_t **ret_part,
                    struct error *err)
{
    if (gpa % align != 0)
        return error_set(err, EINVAL, "%s at 0x%" PRIx64 " is not aligned to %" PRIu64 " bytes",
                         name, gpa, align);
    *ret_part = guest_memory_pointer(memory, gpa, len, access);
    if (*ret_part == NULL)
        return error_set(err, EINVAL, "%s at 0x%" PRIx64 " is not inside guest memory", name, gpa);
    return 0;
}

int split_map(struct virtqueue *queue, const struct guest_memory *memory, struct error *err)
{
    uint64_t size = queue->size;
    uint64_t event_len = queue->features & VIRTQUEUE_EVENT_IDX ? sizeof(le16) : 0;
    uint8_t *desc, *avail, *used;
    int result;

    result = part_map(memory, "descriptor table", queue->config.desc_gpa,
                      size * sizeof(struct split_desc), 16, MEMORY_READ, &desc, err);
    if (result == 0)
        result = part_map(memory, "available ring", queue->config.driver_gpa,
                          sizeof(struct split_avail) + size * sizeof(le16) + event_len, 2,
                          MEMORY_READ, &avail, err);
    if (result == 0)
        result = part_map(memory, "used ring", queue->config.device_gpa,
                          sizeof(struct split_used) + size * sizeof(struct split_used_elem) +
                              event_len,
                          4, MEMORY_WRITE, &used, err);
    if (result < 0)
        return result;
    queue->desc = (const struct split_desc *)desc;
    queue->avail = (const struct split_avail *)avail;
    queue->used = (struct split_used *)used;
    return 0;
}

/* virtio 1.4, 2.7.8: with EVENT_IDX the flags word stays 0. */
void split_start(struct virtqueue *queue)
{
    uint16_t used_idx = word16_get(le16_load_relaxed(&queue->used->idx), queue->order);

    queue->next_used = used_idx;
    queue->used_shown = used_idx;
    queue->seen_avail = queue->next_avail;
    queue->armed = 1;
    le16_store_relaxed(&queue->used->flags, word16_make(0, queue->order));
}

/* ---- chains -------------------------------------------------------------------------------------- */

/* A descriptor, read once, in host order. */
struct desc_copy {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

ALWAYS_INLINE struct desc_copy desc_read(const struct split_desc *desc, enum byte_order order)
{
    le64 addr = {__atomic_load_n(&desc->addr.raw, __ATOMIC_RELAXED)};
    le32 len = {__atomic_load_n(&desc->len.raw, __ATOMIC_RELAXED)};
    le16 flags = le16_load_relaxed(&desc->flags);
    le16 next = le16_load_relaxed(&desc->next);

    return (struct desc_copy){.addr = word64_get(addr, order),
                              .len = word32_get(len, order),
                              .flags = word16_get(flags, order),
                              .next = word16_get(next, order)};
}

/* An indirect table: a host pointer where one region holds it aligned, else read bytewise. */
struct table {
    const struct split_desc *desc; /* borrowed; NULL: use gpa */
    uint64_t gpa;
    uint32_t count;
};

/* Entry of a table that crosses a region border or is not aligned. 0 or -EFAULT. */
static int table_read_bytes(struct virtqueue *queue, uint64_t gpa, struct split_desc *ret_desc)
{
    size_t done = 0;

    while (done < sizeof(*ret_desc)) {
        uint8_t *hva;
        size_t len = guest_memory_span(queue->memory, &queue->table_cache, gpa + done,
                                       sizeof(*ret_desc) - done, MEMORY_READ, &hva);

        if (len == 0)
            return -EFAULT;
        memcpy((uint8_t *)ret_desc + done, hva, len);
        done += len;
    }
    __asm__ volatile("" ::: "memory"); /* from here on only the copy is looked at */
    return 0;
}

ALWAYS_INLINE int table_read(struct virtqueue *queue, const struct table *table, uint32_t index,
                             enum byte_order order, struct desc_copy *ret_desc)
{
    struct split_desc bytes;

    if (table->desc != NULL) {
        *ret_desc = desc_read(&table->desc[index], order);
        return 0;
    }
    if (table_read_bytes(queue, table->gpa + (uint64_t)index * sizeof(bytes), &bytes) < 0)
        return -EFAULT;
    *ret_desc = desc_read(&bytes, order);
    return 0;
}

static enum chain_fault table_open(struct virtqueue *queue, const struct desc_copy *desc,
                                   struct table *ret_table)
{
    uint8_t *hva;
    size_t len;

    if (desc->len == 0 || desc->len % sizeof(struct split_desc) != 0 ||
        desc->len / sizeof(struct split_desc) > queue->chain_max)
        return CHAIN_FAULT_INDIRECT_LEN;
    *ret_table = (struct table){.gpa = desc->addr, .count = desc->len / sizeof(struct split_desc)};
    len = guest_memory_span(queue->memory, &queue->table_cache, desc->addr, desc->len, MEMORY_READ,
                            &hva);
    if (len == 0)
        return CHAIN_FAULT_INDIRECT_ADDRESS;
    if (len == desc->len && (uintptr_t)hva % _Alignof(struct split_desc) == 0)
        ret_table->desc = (const struct split_desc *)hva;
    return CHAIN_FAULT_NONE;
}

/* The batch has no room for the chain's spans, but would have if it were empty. Never leaves this file. */
#define CHAIN_NO_ROOM CHAIN_FAULT_COUNT

/* Appends the spans of one descriptor. */
ALWAYS_INLINE enum chain_fault chain_add(struct virtqueue *queue, struct chain_batch *batch,
                                         struct chain *chain, const struct desc_copy *desc)
{
    int writable = (desc->flags & SPLIT_DESC_WRITE) != 0;
    uint32_t *total = writable ? &chain->writable_len : &chain->readable_len;
    uint32_t *count = writable ? &chain->writable_count : &chain->readable_count;
    uint64_t addr = desc->addr;
    uint32_t left = desc->len;

    if (!writable && chain->writable_count != 0)
        return CHAIN_FAULT_ORDER;
    if (__builtin_add_overflow(*total, left, total) ||
        (uint64_t)chain->readable_len + chain->writable_len > UINT32_MAX)
        return CHAIN_FAULT_TOO_LARGE;
    while (left != 0) {
        uint8_t *hva;
        size_t len = guest_memory_span(queue->memory, &queue->cache, addr, left,
                                       writable ? MEMORY_WRITE : MEMORY_READ, &hva);

        if (len == 0)
            return CHAIN_FAULT_ADDRESS;
        if (batch->iov_used == batch->iov_capacity)
            return batch->count == 0 ? CHAIN_FAULT_TOO_LONG : CHAIN_NO_ROOM;
        batch->iov[batch->iov_used++] = (struct iovec){.iov_base = hva, .iov_len = len};
        (*count)++;
        addr += len;
        left -= (uint32_t)len;
    }
    return CHAIN_FAULT_NONE;
}

/* virtio 1.4, 2.7.5.3: within a table `next` indexes the table; it starts at entry 0. At most `most`
 * descriptors are looked at: chains have a longest length, tables and what stands before them together. */
ALWAYS_INLINE enum chain_fault table_walk(struct virtqueue *queue, struct chain_batch *batch,
                                          const struct table *table, uint32_t most,
                                          enum byte_order order)
{
    struct chain *chain = &batch->chain[batch->count];
    struct desc_copy desc;
    uint32_t index = 0;

    for (uint32_t steps = 0; steps < MIN(most, table->count); steps++) {
        enum chain_fault fault;

        if (table_read(queue, table, index, order, &desc) < 0)
            return CHAIN_FAULT_INDIRECT_ADDRESS;
        if (desc.flags & SPLIT_DESC_INDIRECT)
            return CHAIN_FAULT_INDIRECT_FLAGS;
        fault = chain_add(queue, batch, chain, &desc);
        if (fault != CHAIN_FAULT_NONE || !(desc.flags & SPLIT_DESC_NEXT))
            return fault;
        index = desc.next;
        if (index >= table->count)
            return CHAIN_FAULT_NEXT_RANGE;
    }
    return CHAIN_FAULT_TOO_LONG;
}

ALWAYS_INLINE enum chain_fault chain_walk_table(struct virtqueue *queue, struct chain_batch *batch,
                                         const struct desc_copy *head, uint32_t most,
                                         enum byte_order order)
{
    struct table table;
    enum chain_fault fault = table_open(queue, head, &table);

    return fault == CHAIN_FAULT_NONE ? table_walk(queue, batch, &table, most, order) : fault;
}

/* virtio 1.4, 2.7.5.3.2: plain descriptors may stand before the one that refers to a table. */
ALWAYS_INLINE enum chain_fault chain_walk(struct virtqueue *queue, struct chain_batch *batch,
                                          struct chain *chain, enum byte_order order)
{
    uint16_t index = chain->head;

    for (uint32_t steps = 0; steps < queue->size; steps++) {
        struct desc_copy desc = desc_read(&queue->desc[index], order);
        enum chain_fault fault;

        if (__builtin_expect(desc.flags & SPLIT_DESC_INDIRECT, 0)) {
            if (!(queue->features & VIRTQUEUE_INDIRECT))
                return CHAIN_FAULT_INDIRECT_UNAGREED;
            if (desc.flags & SPLIT_DESC_NEXT)
                return CHAIN_FAULT_INDIRECT_FLAGS;
            return chain_walk_table(queue, batch, &desc, queue->chain_max - steps, order);
        }
        fault = chain_add(queue, batch, chain, &desc);
        if (fault != CHAIN_FAULT_NONE || !(desc.flags & SPLIT_DESC_NEXT))
            return fault;
        index = desc.next;
        if (index >= queue->size)
            return CHAIN_FAULT_NEXT_RANGE;
    }
    return CHAIN_FAULT_TOO_LONG;
}

/* 1 if the batch took the chain (a faulty one too), 0 if it has no room for it. */
ALWAYS_INLINE int chain_take(struct virtqueue *queue, struct chain_batch *batch, uint16_t head,
                             enum byte_order order)
{
    struct chain *chain = &batch->chain[batch->count];
    uint32_t iov_start = batch->iov_used;
    enum chain_fault fault;

    *chain = (struct chain){.head = head, .iov = &batch->iov[iov_start]};
    fault = chain_walk(queue, batch, chain, order);
    if (__builtin_expect(fault != CHAIN_FAULT_NONE, 0)) {
        batch->iov_used = iov_start;
        if (fault == CHAIN_NO_ROOM)
            return 0;
        *chain = (struct chain){.head = head, .iov = chain->iov, .fault = (uint16_t)fault};
    }
    batch->count++;
    return 1;
}

/* How many buffers wait, at most max; looks at the driver's index only when it has to. */
ALWAYS_INLINE unsigned avail_count(struct virtqueue *queue, unsigned max, enum byte_order order)
{
    uint16_t ready = (uint16_t)(queue->seen_avail - queue->next_avail);

    if (ready >= max)
        return max;
    queue->seen_avail = word16_get(le16_load_acquire(&queue->avail->idx), order);
    ready = (uint16_t)(queue->seen_avail - queue->next_avail);
    if ((uint32_t)ready + queue->in_flight > queue->size) {
        virtqueue_latch(queue, QUEUE_FAULT_AVAIL_JUMP);
        queue->seen_avail = queue->next_avail;
        return 0;
    }
    return MIN(ready, max);
}

ALWAYS_INLINE unsigned pop_body(struct virtqueue *queue, struct chain_batch *batch, unsigned max,
                                enum byte_order order)
{
    uint16_t mask = (uint16_t)(queue->size - 1);
    unsigned count = avail_count(queue, MIN(max, batch->capacity - batch->count), order);
    unsigned taken;

    for (taken = 0; taken < count; taken++) {
        uint16_t slot = (uint16_t)(queue->next_avail + taken) & mask;
        uint16_t head = word16_get(le16_load_relaxed(&queue->avail->ring[slot]), order);

        if (__builtin_expect(head >= queue->size, 0)) {
            virtqueue_latch(queue, QUEUE_FAULT_HEAD_RANGE);
            break;
        }
        if (!chain_take(queue, batch, head, order))
            break;
    }
    queue->next_avail = (uint16_t)(queue->next_avail + taken);
    queue->in_flight = (uint16_t)(queue->in_flight + taken);
    return taken;
}

unsigned split_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max)
{
    if (__builtin_expect(queue->order == BYTE_ORDER_BIG, 0))
        return pop_body(queue, batch, max, BYTE_ORDER_BIG);
    return pop_body(queue, batch, max, BYTE_ORDER_LITTLE);
}

/* ---- used entries -------------------------------------------------------------------------------- */

/* Straight into the ring: the driver does not look beyond the index. */
void split_push(struct virtqueue *queue, uint16_t head, uint32_t len)
{
    uint16_t slot = queue->next_used & (uint16_t)(queue->size - 1);
    struct split_used_elem *elem = &queue->used->ring[slot];

    elem->id = word32_make(head, queue->order);
    elem->len = word32_make(len, queue->order);
    queue->next_used++;
}

/* virtio 1.4, 2.7.7.2 and 2.7.10: did the batch cross the driver's event index, or is the flag clear? */
static int interrupt_wanted(const struct virtqueue *queue, uint16_t old, uint16_t new)
{
    uint16_t word;

    if (!(queue->features & VIRTQUEUE_EVENT_IDX)) {
        word = word16_get(le16_load_relaxed(&queue->avail->flags), queue->order);
        return !(word & SPLIT_AVAIL_NO_INTERRUPT);
    }
    word = word16_get(le16_load_relaxed(&queue->avail->ring[queue->size]), queue->order);
    return (uint16_t)(new - word - 1) < (uint16_t)(new - old);
}

void split_flush(struct virtqueue *queue)
{
    uint16_t old = queue->used_shown;
    uint16_t new = queue->next_used;

    if (old == new)
        return;
    le16_store_release(&queue->used->idx, word16_make(new, queue->order));
    queue->used_shown = new;
    full_fence();
    if (queue->fresh || interrupt_wanted(queue, old, new)) {
        counter_add(&queue->interrupts, 1);
        queue->config.notifier.fire(queue->config.notifier.context);
    } else {
        counter_add(&queue->interrupts_suppressed, 1);
    }
    queue->fresh = 0;
}

/* ---- asking for kicks ---------------------------------------------------------------------------- */

int split_arm(struct virtqueue *queue)
{
    if (queue->features & VIRTQUEUE_EVENT_IDX) {
        le16 *avail_event = (le16 *)&queue->used->ring[queue->size];

        le16_store_relaxed(avail_event, word16_make(queue->seen_avail, queue->order));
    } else {
        le16_store_relaxed(&queue->used->flags, word16_make(0, queue->order));
    }
    queue->armed = 1;
    full_fence();
    return word16_get(le16_load_relaxed(&queue->avail->idx), queue->order) != queue->seen_avail;
}

/* With EVENT_IDX there is nothing to write: the driver kicks only when it crosses the armed index. */
void split_disarm(struct virtqueue *queue)
{
    queue->armed = 0;
    if (!(queue->features & VIRTQUEUE_EVENT_IDX))
        le16_store_relaxed(&queue->used->flags, word16_make(SPLIT_USED_NO_NOTIFY, queue->order));
}
