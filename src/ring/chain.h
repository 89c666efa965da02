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
#include "base/prefetch.h"
#include "memory/iotlb.h"
#include "ring/ring_memory.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* Keeps what is rare out of the loops that are not: of their code and of their registers. */
#define NEVER_INLINE static __attribute__((noinline))

/* The same in both formats (virtio 1.4, 2.7.5 and 2.8.13). */
enum ring_desc_flags {
    RING_DESC_NEXT = 1,
    RING_DESC_WRITE = 2,
    RING_DESC_INDIRECT = 4,
};

/* Split: word[0] is flags, word[1] is next. Packed: word[0] is the buffer id, word[1] is flags. */
struct ring_desc {
    le64 addr;
    le64 rest; /* len, word[0], word[1]: one load or store for all three */
};

/* A descriptor, read once, in host order. */
struct desc_copy {
    uint64_t addr;
    uint32_t len;
    uint16_t word[2];
};

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

ALWAYS_INLINE struct desc_copy desc_make(uint64_t addr, uint64_t rest, enum byte_order order)
{
    if (order == BYTE_ORDER_BIG)
        return (struct desc_copy){.addr = addr,
                                  .len = (uint32_t)(rest >> 32),
                                  .word = {(uint16_t)(rest >> 16), (uint16_t)rest}};
    return (struct desc_copy){.addr = addr,
                              .len = (uint32_t)rest,
                              .word = {(uint16_t)(rest >> 32), (uint16_t)(rest >> 48)}};
}

ALWAYS_INLINE struct desc_copy desc_read(const struct ring_desc *desc, enum byte_order order)
{
    uint64_t addr = word64_get(le64_load_relaxed(&desc->addr), order);
    uint64_t rest = word64_get(le64_load_relaxed(&desc->rest), order);

    return desc_make(addr, rest, order);
}

/* An indirect table: a host pointer where one region holds it aligned, else read bytewise. */
struct table {
    const struct ring_desc *desc; /* borrowed; NULL: use gpa */
    uint64_t gpa;
    uint32_t count;
};

/* Entry of a table that crosses a region border or is not aligned. */
static inline enum chain_fault table_read_bytes(struct virtqueue *queue, uint64_t gpa,
                                                struct ring_desc *ret_desc)
{
    size_t done = 0;

    while (done < sizeof(*ret_desc)) {
        uint8_t *hva;
        size_t len = guest_memory_span(queue->memory, &queue->table_cache, gpa + done,
                                       sizeof(*ret_desc) - done, MEMORY_READ, &hva);

        if (len == 0)
            return ring_unreachable(queue, gpa + done, sizeof(*ret_desc) - done, MEMORY_READ,
                                    CHAIN_FAULT_INDIRECT_ADDRESS);
        memcpy((uint8_t *)ret_desc + done, hva, len);
        done += len;
    }
    __asm__ volatile("" ::: "memory"); /* from here on only the copy is looked at */
    return CHAIN_FAULT_NONE;
}

ALWAYS_INLINE enum chain_fault table_read(struct virtqueue *queue, const struct table *table,
                                          uint32_t index, enum byte_order order,
                                          struct desc_copy *ret_desc)
{
    struct ring_desc bytes = {0};
    enum chain_fault fault;

    if (table->desc != NULL) {
        *ret_desc = desc_read(&table->desc[index], order);
        return CHAIN_FAULT_NONE;
    }
    fault = table_read_bytes(queue, table->gpa + (uint64_t)index * sizeof(bytes), &bytes);
    *ret_desc = desc_read(&bytes, order);
    return fault;
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
        return ring_unreachable(queue, desc->addr, desc->len, MEMORY_READ,
                                CHAIN_FAULT_INDIRECT_ADDRESS);
    if (len == desc->len && (uintptr_t)hva % _Alignof(struct ring_desc) == 0)
        ret_table->desc = (const struct ring_desc *)hva;
    return CHAIN_FAULT_NONE;
}

/* Outcomes of a chain that stays on the ring; they never leave this layer. The batch has no room
 * for its spans, but would have if it were empty; or an IOMMU has to map something first. */
#define CHAIN_NO_ROOM CHAIN_FAULT_COUNT
#define CHAIN_AWAITS  ((enum chain_fault)(CHAIN_FAULT_COUNT + 1))

/* The rest of a chain would push what was mapped for its beginning out of the IOMMU's cache. */
static inline int chain_overflows(const struct virtqueue *queue, const struct chain_batch *batch)
{
    return queue->memory->iotlb != NULL &&
           &batch->iov[batch->iov_used] - batch->chain[batch->count].iov >= IOTLB_ENTRIES_MAX / 2;
}

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

        if (len == 0 && chain_overflows(queue, batch))
            return CHAIN_FAULT_TOO_LONG;
        if (len == 0)
            return ring_unreachable(queue, addr, left, writable ? MEMORY_WRITE : MEMORY_READ,
                                    CHAIN_FAULT_ADDRESS);
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

/* Where the batch goes on, and the region that was hit last, in registers. */
struct singles {
    uint64_t gpa;
    uint64_t size; /* 0: none, or one that can't be written */
    uint8_t *hva;
    struct iovec *iov;
    struct chain *chain;
    int peek;
};

ALWAYS_INLINE struct singles singles_begin(const struct virtqueue *queue,
                                           const struct chain_batch *batch)
{
    const struct memory_cache *cache = &queue->cache;

    return (struct singles){.gpa = cache->gpa,
                            .size = cache->flags == 0 ? cache->size : 0,
                            .hva = cache->hva,
                            .iov = &batch->iov[batch->iov_used],
                            .chain = &batch->chain[batch->count],
                            .peek = batch->peek};
}

ALWAYS_INLINE void singles_end(const struct singles *singles, struct chain_batch *batch)
{
    batch->iov_used = (uint32_t)(singles->iov - batch->iov);
    batch->count = (uint32_t)(singles->chain - batch->chain);
}

/* How many chains of one span the batch has room for. */
ALWAYS_INLINE unsigned singles_room(const struct chain_batch *batch, unsigned max)
{
    return MIN(max, MIN(batch->capacity - batch->count, batch->iov_capacity - batch->iov_used));
}

/* The flags of a descriptor that is a chain by itself, of the kind that the loop is for. */
#define SINGLES_MASK (RING_DESC_NEXT | RING_DESC_INDIRECT | RING_DESC_WRITE)

ALWAYS_INLINE uint16_t singles_flags(int writable)
{
    return writable ? RING_DESC_WRITE : 0;
}

enum {
    PREFETCH_AHEAD = 16
};

/* Where the frame begins, if that is another line than its header's, is fetched for writing at
 * once; a header is most often only looked at. What is read is fetched if somebody will. */
ALWAYS_INLINE void buffer_prefetch(const uint8_t *begin, int writable, int peek)
{
    if (writable)
        prefetch_for_write(begin + PREFETCH_AHEAD);
    if (writable || peek)
        __builtin_prefetch(begin);
}

/* The common chain: one descriptor with the flags of singles_flags, not empty, inside the region
 * that was hit last. 0: it is not inside, and nothing was taken. */
ALWAYS_INLINE int singles_add(struct singles *singles, uint32_t token, uint64_t addr, uint32_t len,
                              int writable)
{
    uint64_t offset = addr - singles->gpa;
    uint64_t end = offset + len;
    struct chain *chain = singles->chain;
    uint8_t *begin;

    /* The end is not behind the beginning when it wrapped, and when there is nothing. */
    if (__builtin_expect(end > singles->size || end <= offset, 0))
        return 0;
    begin = singles->hva + offset;
    singles->iov->iov_base = begin;
    singles->iov->iov_len = len;
    chain->iov = singles->iov++;
    chain->readable_count = !writable;
    chain->writable_count = !!writable;
    chain->readable_len = writable ? 0 : len;
    chain->writable_len = writable ? len : 0;
    chain->token = token;
    chain->fault = CHAIN_FAULT_NONE;
    chain->kind = writable ? CHAIN_KIND_WRITABLE : CHAIN_KIND_READABLE;
    buffer_prefetch(begin, writable, singles->peek);
    singles->chain++;
    return 1;
}

/* A chain that was not like those before it: those behind it may be. */
ALWAYS_INLINE void singles_turn(struct virtqueue *queue, const struct chain_batch *batch)
{
    queue->writable = batch->chain[batch->count - 1].writable_count != 0;
}

/* Closes it: usable, or with its fault and no spans. 0: it stays on the ring, nothing was taken. */
ALWAYS_INLINE int chain_end(struct chain_batch *batch, uint32_t token, enum chain_fault fault)
{
    struct chain *chain = &batch->chain[batch->count];
    struct iovec *iov = chain->iov;

    if (__builtin_expect(fault != CHAIN_FAULT_NONE, 0)) {
        batch->iov_used = (uint32_t)(iov - batch->iov);
        if (fault >= CHAIN_NO_ROOM)
            return 0;
        *chain = (struct chain){.iov = iov, .fault = (uint16_t)fault};
    }
    chain->token = token;
    batch->count++;
    return 1;
}
