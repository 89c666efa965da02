/* SPDX-License-Identifier: MIT */
#include "base/inbox.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

int inbox_create(struct inbox **ret_inbox)
{
    size_t size = (sizeof(struct inbox) + 63) / 64 * 64;
    struct inbox *inbox = aligned_alloc(64, size);

    if (inbox == NULL)
        return -ENOMEM;
    memset(inbox, 0, offsetof(struct inbox, entry)); /* the rest is written before it is read */
    *ret_inbox = inbox;
    return 0;
}

void inbox_free(struct inbox *inbox)
{
    free(inbox);
}

static uint32_t blocks_of(uint32_t len)
{
    return (len + INBOX_BLOCK_LEN - 1) / INBOX_BLOCK_LEN;
}

static uint32_t lap_of(uint64_t block)
{
    return (uint32_t)(block / INBOX_BLOCKS) + 1;
}

/* The bytes that begin at a block, in one or two pieces. */
static unsigned pieces_of(struct inbox *inbox, uint64_t block, uint32_t len, struct iovec piece[2])
{
    size_t at = block % INBOX_BLOCKS * INBOX_BLOCK_LEN;
    size_t first = MIN(len, sizeof(inbox->store) - at);

    piece[0] = (struct iovec){.iov_base = inbox->store + at, .iov_len = first};
    piece[1] = (struct iovec){.iov_base = inbox->store, .iov_len = len - first};
    return first == len ? 1 : 2;
}

/* Partner of the release in inbox_drop: the blocks' last reader is done. */
static int claim(struct inbox *inbox, uint32_t blocks, uint64_t *ret_block)
{
    uint64_t head, tail;

    do {
        head = atomic_load_explicit(&inbox->head, memory_order_acquire); /* never ahead of tail */
        tail = atomic_load_explicit(&inbox->tail, memory_order_relaxed);
        if (tail - head + blocks > INBOX_BLOCKS)
            return -ENOBUFS;
    } while (!atomic_compare_exchange_weak_explicit(&inbox->tail, &tail, tail + blocks,
                                                    memory_order_relaxed, memory_order_relaxed));
    *ret_block = tail;
    return 0;
}

int inbox_put(struct inbox *inbox, const struct iovec *iov, uint32_t len,
              const struct inbox_note *note)
{
    struct iovec piece[2];
    uint64_t block;
    size_t used = 0;
    unsigned to = 0;

    if (claim(inbox, blocks_of(len), &block) < 0)
        return -ENOBUFS;
    pieces_of(inbox, block, len, piece);
    for (uint32_t left = len; left != 0; iov++) {
        for (size_t from = 0; from < iov->iov_len && left != 0;) {
            size_t part = MIN(MIN(iov->iov_len - from, piece[to].iov_len - used), left);

            memcpy((uint8_t *)piece[to].iov_base + used, (const uint8_t *)iov->iov_base + from,
                   part);
            from += part;
            used += part;
            left -= (uint32_t)part;
            if (used == piece[to].iov_len) {
                to++;
                used = 0;
            }
        }
    }
    inbox->entry[block % INBOX_BLOCKS] = (struct inbox_entry){.len = len, .note = *note};
    atomic_store_explicit(&inbox->whole[block % INBOX_BLOCKS], lap_of(block),
                          memory_order_release); /* partner: inbox_peek */
    return 0;
}

int inbox_empty(const struct inbox *inbox)
{
    return atomic_load_explicit(&inbox->head, memory_order_acquire) ==
           atomic_load_explicit(&inbox->tail, memory_order_relaxed);
}

int inbox_peek(struct inbox *inbox, const struct inbox_view *before, struct inbox_view *ret_view)
{
    uint64_t block =
        before != NULL ? before->end : atomic_load_explicit(&inbox->head, memory_order_relaxed);
    const struct inbox_entry *entry = &inbox->entry[block % INBOX_BLOCKS];

    if (atomic_load_explicit(&inbox->whole[block % INBOX_BLOCKS], memory_order_acquire) !=
        lap_of(block))
        return 0;
    ret_view->len = entry->len;
    ret_view->note = &entry->note;
    ret_view->iov_count = pieces_of(inbox, block, entry->len, ret_view->iov);
    ret_view->end = block + blocks_of(entry->len);
    return 1;
}

void inbox_drop(struct inbox *inbox, const struct inbox_view *last)
{
    atomic_store_explicit(&inbox->head, last->end, memory_order_release); /* partner: claim */
}

unsigned inbox_count(struct inbox *inbox)
{
    struct inbox_view view;
    unsigned count = 0;

    for (int more = inbox_peek(inbox, NULL, &view); more; more = inbox_peek(inbox, &view, &view))
        count++;
    return count;
}
