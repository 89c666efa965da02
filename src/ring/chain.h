/* SPDX-License-Identifier: MIT */
/*
 * What both formats share: descriptors of 16 bytes read once, their spans appended to a batch,
 * indirect tables, and the one fence. Included by split.c and packed.c only, and inlined there for
 * each byte order.
 */
#pragma once

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "ring/virtqueue.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The same in both formats (virtio 1.4, 2.7.5 and 2.8.13). */
enum ring_desc_flags {
    RING_DESC_NEXT = 1,
    RING_DESC_WRITE = 2,
    RING_DESC_INDIRECT = 4,
};

/* Split: word[0] is flags, word[1] is next. Packed: word[0] is the buffer id, word[1] is flags. */
struct ring_desc {
    le64 addr;
    le32 len;
    le16 word[2];
};

/* A descriptor, read once, in host order. */
struct desc_copy {
    uint64_t addr;
    uint32_t len;
    uint16_t word[2];
};

/* Where a part of a ring has to be. */
struct ring_part {
    const char *name;
    uint64_t gpa;
    uint64_t len;
    uint64_t align;
    enum memory_access access;
};

/* Host pointer of the part; NULL and a sentence if it is misaligned or not inside guest memory. */
void *ring_part_map(const struct guest_memory *memory, const struct ring_part *part,
                    struct error *err);

/*
 * The only store-load barrier of the ring layer: between publishing our state and reading the
 * driver's wish, or the other way round. TSan does not model fences; it needs none to see the
 * acquire/release pairs on the index and flags words. What the fence adds is that no kick or
 * interrupt is lost: stress tests check that.
 */
static inline void ring_full_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

ALWAYS_INLINE struct desc_copy desc_read(const struct ring_desc *desc, enum byte_order order)
{
    le64 addr = {__atomic_load_n(&desc->addr.raw, __ATOMIC_RELAXED)};
    le32 len = {__atomic_load_n(&desc->len.raw, __ATOMIC_RELAXED)};
    le16 first = le16_load_relaxed(&desc->word[0]);
    le16 second = le16_load_relaxed(&desc->word[1]);

    return (struct desc_copy){.addr = word64_get(addr, order),
                              .len = word32_get(len, order),
                              .word = {word16_get(first, order), word16_get(second, order)}};
}

/* An indirect table: a host pointer where one region holds it aligned, else read bytewise. */
struct table {
    const struct ring_desc *desc; /* borrowed; NULL: use gpa */
    uint64_t gpa;
    uint32_t count;
};

/* Entry of a table that crosses a region border or is not aligned. 0 or -EFAULT. */
static inline int table_read_bytes(struct virtqueue *queue, uint64_t gpa,
                                   struct ring_desc *ret_desc)
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
    struct ring_desc bytes;

    if (table->desc != NULL) {
        *ret_desc = desc_read(&table->desc[index], order);
        return 0;
    }
    if (table_read_bytes(queue, table->gpa + (uint64_t)index * sizeof(bytes), &bytes) < 0)
        return -EFAULT;
    *ret_desc = desc_read(&bytes, order);
    return 0;
}

static inline enum chain_fault table_open(struct virtqueue *queue, const struct desc_copy *desc,
                                          struct table *ret_table)
{
    uint8_t *hva;
    size_t len;

    if (desc->len == 0 || desc->len % sizeof(struct ring_desc) != 0 ||
        desc->len / sizeof(struct ring_desc) > queue->chain_max)
        return CHAIN_FAULT_INDIRECT_LEN;
    *ret_table = (struct table){.gpa = desc->addr, .count = desc->len / sizeof(struct ring_desc)};
    len = guest_memory_span(queue->memory, &queue->table_cache, desc->addr, desc->len, MEMORY_READ,
                            &hva);
    if (len == 0)
        return CHAIN_FAULT_INDIRECT_ADDRESS;
    if (len == desc->len && (uintptr_t)hva % _Alignof(struct ring_desc) == 0)
        ret_table->desc = (const struct ring_desc *)hva;
    return CHAIN_FAULT_NONE;
}

/* The batch has no room for the chain's spans, but would have if it were empty. Never leaves this
 * layer. */
#define CHAIN_NO_ROOM CHAIN_FAULT_COUNT

/* Appends the spans of one descriptor to the batch's open chain. */
ALWAYS_INLINE enum chain_fault chain_add(struct virtqueue *queue, struct chain_batch *batch,
                                         uint16_t flags, const struct desc_copy *desc)
{
    struct chain *chain = &batch->chain[batch->count];
    int writable = (flags & RING_DESC_WRITE) != 0;
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

/* Opens the next chain of the batch. */
ALWAYS_INLINE void chain_begin(struct chain_batch *batch)
{
    batch->chain[batch->count] = (struct chain){.iov = &batch->iov[batch->iov_used]};
}

enum {
    PREFETCH_AHEAD = 16
};

/* The common chain, one descriptor inside the region that was hit last, in a few stores. 0: it is
 * not one. */
ALWAYS_INLINE int chain_single(struct virtqueue *queue, struct chain_batch *batch, uint32_t token,
                               uint16_t flags, const struct desc_copy *desc)
{
    const struct memory_cache *cache = &queue->cache;
    uint64_t offset = desc->addr - cache->gpa;
    uint32_t writable = (flags & RING_DESC_WRITE) != 0;
    struct iovec *iov = &batch->iov[batch->iov_used];

    if (flags & (RING_DESC_NEXT | RING_DESC_INDIRECT) || desc->len == 0 || cache->flags != 0 ||
        offset >= cache->size || desc->len > cache->size - offset ||
        batch->iov_used == batch->iov_capacity)
        return 0;
    *iov = (struct iovec){.iov_base = cache->hva + offset, .iov_len = desc->len};
    batch->iov_used++;
    /* Where the net header is, and where the frame begins, if that is the next line. */
    __builtin_prefetch(iov->iov_base);
    __builtin_prefetch((uint8_t *)iov->iov_base + PREFETCH_AHEAD);
    batch->chain[batch->count++] = (struct chain){
        .iov = iov,
        .readable_count = !writable,
        .writable_count = writable,
        .readable_len = writable ? 0 : desc->len,
        .writable_len = writable ? desc->len : 0,
        .token = token,
    };
    return 1;
}

/* Closes it: usable, or with its fault and no spans. 0: the batch has no room for it, nothing was
 * taken. */
ALWAYS_INLINE int chain_end(struct chain_batch *batch, uint32_t token, enum chain_fault fault)
{
    struct chain *chain = &batch->chain[batch->count];
    struct iovec *iov = chain->iov;

    if (__builtin_expect(fault != CHAIN_FAULT_NONE, 0)) {
        batch->iov_used = (uint32_t)(iov - batch->iov);
        if (fault == CHAIN_NO_ROOM)
            return 0;
        *chain = (struct chain){.iov = iov, .fault = (uint16_t)fault};
    }
    chain->token = token;
    batch->count++;
    return 1;
}
