/* SPDX-License-Identifier: MIT */
/*
 * The split format (virtio 1.4, 2.7). Each entry point is one body, inlined twice: for
 * little-endian words, and for a legacy big-endian guest's.
 *
 * Memory order: the driver's index is loaded with acquire before its entries are read; ours is
 * stored with release after the used entries.
 */
#include "ring/split.h"

#include "ring/chain.h"

enum {
    FLAGS = 0, /* ring_desc.word[] */
    NEXT = 1,
};

/* ---- set-up ----------------------------------------------------------------------------- */

void split_parts(const struct virtqueue *queue, struct ring_part ret_parts[RING_PARTS])
{
    const struct virtqueue_config *config = &queue->config;
    uint64_t size = queue->size;
    uint64_t event_len = queue->features & VIRTQUEUE_EVENT_IDX ? sizeof(le16) : 0;

    ret_parts[0] = (struct ring_part){"descriptor table", config->desc_gpa,
                                      size * sizeof(struct ring_desc), 16, MEMORY_READ};
    ret_parts[1] = (struct ring_part){"available ring", config->driver_gpa,
                                      sizeof(struct split_avail) + size * sizeof(le16) + event_len,
                                      2, MEMORY_READ};
    ret_parts[2] = (struct ring_part){"used ring", config->device_gpa,
                                      sizeof(struct split_used) +
                                          size * sizeof(struct split_used_elem) + event_len,
                                      4, MEMORY_WRITE};
}

int split_map(struct virtqueue *queue, const struct guest_memory *memory, struct error *err)
{
    struct ring_part parts[RING_PARTS];
    void *hva[RING_PARTS];
    int result;

    split_parts(queue, parts);
    result = ring_parts_map(memory, parts, hva, err);
    if (result < 0)
        return result;
    queue->split.desc = hva[0];
    queue->split.avail = hva[1];
    queue->split.used = hva[2];
    return 0;
}

/* The index in the used ring is where it stands: buffers are completed in order, so those behind it
 * are all that is not done. Bases of front-ends may be older (DPDK virtio-user connects again with
 * 0) or skip what was queued (Cloud Hypervisor, VU-RC-07).
 * virtio 1.4, 2.7.8: with EVENT_IDX the flags word stays 0. */
int split_start(struct virtqueue *queue, uint32_t base)
{
    uint16_t used_idx = word16_get(le16_load_relaxed(&queue->split.used->idx), queue->order);

    if (base > UINT16_MAX)
        return -EINVAL;
    if (queue->features & VIRTQUEUE_FROM_ZERO)
        base = used_idx = 0;
    if (base != used_idx)
        counter_add(&queue->taken_up, 1);
    queue->next_avail = used_idx;
    queue->seen_avail = queue->next_avail;
    queue->next_used = used_idx;
    queue->used_shown = used_idx;
    le16_store_relaxed(&queue->split.used->flags, word16_make(0, queue->order));
    return 0;
}

/* ---- chains ----------------------------------------------------------------------------- */

/* virtio 1.4, 2.7.5.3: within a table `next` indexes the table; it starts at entry 0. At most
 * `most` descriptors are looked at: chains have a longest length, tables and what stands before
 * them together. */
ALWAYS_INLINE enum chain_fault table_walk(struct virtqueue *queue, struct chain_batch *batch,
                                          const struct table *table, uint32_t most,
                                          enum byte_order order)
{
    struct desc_copy desc;
    uint32_t index = 0;

    for (uint32_t steps = 0; steps < MIN(most, table->count); steps++) {
        enum chain_fault fault;

        fault = table_read(queue, table, index, order, &desc);
        if (fault != CHAIN_FAULT_NONE)
            return fault;
        if (desc.word[FLAGS] & RING_DESC_INDIRECT)
            return CHAIN_FAULT_INDIRECT_FLAGS;
        fault = chain_add(queue, batch, desc.word[FLAGS], &desc);
        if (fault != CHAIN_FAULT_NONE || !(desc.word[FLAGS] & RING_DESC_NEXT))
            return fault;
        index = desc.word[NEXT];
        if (index >= table->count)
            return CHAIN_FAULT_NEXT_RANGE;
    }
    return CHAIN_FAULT_TOO_LONG;
}

ALWAYS_INLINE enum chain_fault walk_indirect(struct virtqueue *queue, struct chain_batch *batch,
                                             const struct desc_copy *head, uint32_t most,
                                             enum byte_order order)
{
    struct table table;
    enum chain_fault fault;

    if (!(queue->features & VIRTQUEUE_INDIRECT))
        return CHAIN_FAULT_INDIRECT_UNAGREED;
    if (head->word[FLAGS] & RING_DESC_NEXT)
        return CHAIN_FAULT_INDIRECT_FLAGS;
    fault = table_open(queue, head, &table);
    return fault == CHAIN_FAULT_NONE ? table_walk(queue, batch, &table, most, order) : fault;
}

/* virtio 1.4, 2.7.5.3.2: plain descriptors may stand before the one that refers to a table. The
 * head was read already, and is not read again. */
ALWAYS_INLINE enum chain_fault chain_walk(struct virtqueue *queue, struct chain_batch *batch,
                                          const struct desc_copy *head, enum byte_order order)
{
    struct desc_copy desc = *head;

    for (uint32_t steps = 0;;) {
        enum chain_fault fault;

        if (__builtin_expect(desc.word[FLAGS] & RING_DESC_INDIRECT, 0))
            return walk_indirect(queue, batch, &desc, queue->chain_max - steps, order);
        fault = chain_add(queue, batch, desc.word[FLAGS], &desc);
        if (fault != CHAIN_FAULT_NONE || !(desc.word[FLAGS] & RING_DESC_NEXT))
            return fault;
        if (desc.word[NEXT] >= queue->size)
            return CHAIN_FAULT_NEXT_RANGE;
        if (++steps == queue->size)
            return CHAIN_FAULT_TOO_LONG;
        desc = desc_read(&queue->split.desc[desc.word[NEXT]], order);
    }
}

/* How many buffers wait, at most max; looks at the driver's index only when it has to. */
ALWAYS_INLINE unsigned avail_count(struct virtqueue *queue, unsigned max, enum byte_order order)
{
    uint16_t ready = (uint16_t)(queue->seen_avail - queue->next_avail);

    if (ready >= max)
        return max;
    queue->seen_avail = word16_get(le16_load_acquire(&queue->split.avail->idx), order);
    ready = (uint16_t)(queue->seen_avail - queue->next_avail);
    if ((uint32_t)ready + queue->in_flight > queue->size) {
        virtqueue_latch(queue, QUEUE_FAULT_AVAIL_JUMP);
        queue->seen_avail = queue->next_avail;
        return 0;
    }
    return MIN(ready, max);
}

ALWAYS_INLINE uint16_t avail_head(const struct virtqueue *queue, unsigned ahead,
                                  enum byte_order order)
{
    uint16_t slot = (uint16_t)(queue->next_avail + ahead) & (uint16_t)(queue->size - 1);

    return word16_get(le16_load_relaxed(&queue->split.avail->ring[slot]), order);
}

/* Descriptors are on cache lines that the driver wrote: their loads shall overlap. Drivers use them
 * in a row most of the time, four to a line. */
ALWAYS_INLINE void desc_prefetch(const struct virtqueue *queue, unsigned count,
                                 enum byte_order order)
{
    for (unsigned i = 0; i < count; i += 4) {
        uint16_t head = avail_head(queue, i, order) & (uint16_t)(queue->size - 1);

        __builtin_prefetch(&queue->split.desc[head]);
    }
}

/* Chains of one descriptor, all for reading or all for writing, at the front of what waits; returns
 * how many. Little-endian: the other order is not worth it. */
ALWAYS_INLINE unsigned kind_take(const struct virtqueue *queue, struct chain_batch *batch,
                                 unsigned from, unsigned count, int writable)
{
    const struct ring_desc *table = queue->split.desc;
    const le16 *avail = queue->split.avail->ring;
    struct singles singles = singles_begin(queue, batch);
    uint32_t end = from + singles_room(batch, count - from);
    uint32_t size = queue->size;
    uint32_t next = queue->next_avail;
    uint32_t at;

    for (at = from; at < end; at++) {
        uint16_t head = le16_get(le16_load_relaxed(&avail[(next + at) & (size - 1)]));
        struct desc_copy desc;

        if (__builtin_expect(head >= size, 0))
            break;
        desc = desc_read(&table[head], BYTE_ORDER_LITTLE);
        if ((desc.word[FLAGS] & SINGLES_MASK) != singles_flags(writable) ||
            !singles_add(&singles, head, desc.addr, desc.len, writable))
            break;
    }
    singles_end(&singles, batch);
    return at - from;
}

ALWAYS_INLINE unsigned singles_take(const struct virtqueue *queue, struct chain_batch *batch,
                                    unsigned from, unsigned count)
{
    return queue->writable ? kind_take(queue, batch, from, count, 1)
                           : kind_take(queue, batch, from, count, 0);
}

/* Any chain. 0: nothing was taken. */
ALWAYS_INLINE int chain_take_body(struct virtqueue *queue, struct chain_batch *batch,
                                  unsigned ahead, enum byte_order order)
{
    uint16_t head = avail_head(queue, ahead, order);
    struct desc_copy desc;

    if (head >= queue->size) {
        virtqueue_latch(queue, QUEUE_FAULT_HEAD_RANGE);
        return 0;
    }
    desc = desc_read(&queue->split.desc[head], order);
    chain_begin(batch);
    return chain_end(batch, head, chain_walk(queue, batch, &desc, order));
}

NEVER_INLINE int chain_take(struct virtqueue *queue, struct chain_batch *batch, unsigned ahead,
                            enum byte_order order)
{
    return order == BYTE_ORDER_BIG ? chain_take_body(queue, batch, ahead, BYTE_ORDER_BIG)
                                   : chain_take_body(queue, batch, ahead, BYTE_ORDER_LITTLE);
}

ALWAYS_INLINE unsigned pop_body(struct virtqueue *queue, struct chain_batch *batch, unsigned max,
                                enum byte_order order)
{
    unsigned count = avail_count(queue, MIN(max, batch->capacity - batch->count), order);
    unsigned taken = 0;

    desc_prefetch(queue, count, order);
    for (;;) {
        if (order == BYTE_ORDER_LITTLE)
            taken += singles_take(queue, batch, taken, count);
        if (taken == count || !chain_take(queue, batch, taken, order))
            break;
        singles_turn(queue, batch);
        taken++;
    }
    queue->next_avail = (uint16_t)(queue->next_avail + taken);
    queue->in_flight = (uint16_t)(queue->in_flight + taken);
    return taken;
}

NEVER_INLINE unsigned pop_big(struct virtqueue *queue, struct chain_batch *batch, unsigned max)
{
    return pop_body(queue, batch, max, BYTE_ORDER_BIG);
}

unsigned split_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max)
{
    return __builtin_expect(queue->order == BYTE_ORDER_BIG, 0)
               ? pop_big(queue, batch, max)
               : pop_body(queue, batch, max, BYTE_ORDER_LITTLE);
}

void split_unpop(struct virtqueue *queue, const struct chain *chains, unsigned count)
{
    (void)chains;
    queue->next_avail = (uint16_t)(queue->next_avail - count);
    queue->in_flight = (uint16_t)(queue->in_flight - count);
}

/* ---- used entries ----------------------------------------------------------------------- */

/* Both words in one store; elements lie at any multiple of four. */
ALWAYS_INLINE void elem_write(struct split_used *used, uint16_t slot, uint32_t head, uint32_t len,
                              enum byte_order order)
{
    struct split_used_elem elem = {word32_make(head, order), word32_make(len, order)};

    memcpy(&used->ring[slot], &elem, sizeof(elem));
}

/* Straight into the ring: the driver does not look beyond the index. lens: NULL for all 0. */
ALWAYS_INLINE void elems_write(struct virtqueue *queue, const struct chain *chains,
                               const uint32_t *lens, unsigned count, enum byte_order order)
{
    struct split_used *used = queue->split.used;
    uint16_t mask = (uint16_t)(queue->size - 1);
    uint16_t next = queue->next_used;

    for (unsigned i = 0; i < count; i++)
        elem_write(used, (uint16_t)(next + i) & mask, chains[i].token, lens == NULL ? 0 : lens[i],
                   order);
}

void split_push(struct virtqueue *queue, uint32_t head, uint32_t len)
{
    queue->in_flight--;
    if (queue->features & VIRTQUEUE_BATCH_USED)
        queue->last_token = head;
    else
        elem_write(queue->split.used, queue->next_used & (uint16_t)(queue->size - 1), head, len,
                   queue->order);
    queue->next_used++;
}

void split_push_each(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                     unsigned count)
{
    if (queue->features & VIRTQUEUE_BATCH_USED)
        queue->last_token = chains[count - 1].token;
    else if (__builtin_expect(queue->order == BYTE_ORDER_BIG, 0))
        elems_write(queue, chains, lens, count, BYTE_ORDER_BIG);
    else if (lens == NULL)
        elems_write(queue, chains, NULL, count, BYTE_ORDER_LITTLE);
    else
        elems_write(queue, chains, lens, count, BYTE_ORDER_LITTLE);
    queue->in_flight = (uint16_t)(queue->in_flight - count);
    queue->next_used = (uint16_t)(queue->next_used + count);
}

/* virtio 1.4, 2.7.7.2 and 2.7.10: did the batch cross the driver's event index, or is the flag
 * clear? */
int split_interrupt_wanted(const struct virtqueue *queue, uint32_t entries)
{
    const struct split_avail *avail = queue->split.avail;
    uint16_t word;

    if (!(queue->features & VIRTQUEUE_EVENT_IDX)) {
        word = word16_get(le16_load_relaxed(&avail->flags), queue->order);
        return !(word & SPLIT_AVAIL_NO_INTERRUPT);
    }
    word = word16_get(le16_load_relaxed(&avail->ring[queue->size]), queue->order);
    return (uint16_t)(queue->used_shown - word - 1) < entries;
}

/* virtio 1.4, 2.7.9: in order, one element with the last id stands for the batch, in the slot of
 * its first. */
uint32_t split_publish(struct virtqueue *queue)
{
    uint16_t old = queue->used_shown;
    uint16_t new = queue->next_used;

    if (old == new)
        return 0;
    if (queue->features & VIRTQUEUE_BATCH_USED)
        elem_write(queue->split.used, old & (uint16_t)(queue->size - 1), queue->last_token, 0,
                   queue->order);
    le16_store_release(&queue->split.used->idx, word16_make(new, queue->order));
    queue->used_shown = new;
    ring_full_fence();
    return (uint16_t)(new - old);
}

/* ---- asking for kicks ------------------------------------------------------------------- */

int split_is_empty(const struct virtqueue *queue)
{
    return word16_get(le16_load_relaxed(&queue->split.avail->idx), queue->order) ==
           queue->next_avail;
}

int split_arm(struct virtqueue *queue)
{
    struct split_used *used = queue->split.used;

    if (queue->features & VIRTQUEUE_EVENT_IDX)
        le16_store_relaxed((le16 *)&used->ring[queue->size],
                           word16_make(queue->seen_avail, queue->order));
    else
        le16_store_relaxed(&used->flags, word16_make(0, queue->order));
    ring_full_fence();
    return word16_get(le16_load_relaxed(&queue->split.avail->idx), queue->order) !=
           queue->seen_avail;
}

/* With EVENT_IDX there is nothing to write: the driver kicks only when it crosses the armed index.
 */
void split_disarm(struct virtqueue *queue)
{
    if (!(queue->features & VIRTQUEUE_EVENT_IDX))
        le16_store_relaxed(&queue->split.used->flags,
                           word16_make(SPLIT_USED_NO_NOTIFY, queue->order));
}
