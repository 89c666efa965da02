/* SPDX-License-Identifier: MIT */
#include "nic/inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"

int inbox_create(struct inbox **ret_inbox)
{
    size_t size = (sizeof(struct inbox) + 63) / 64 * 64;
    struct inbox *inbox = aligned_alloc(64, size);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (inbox == NULL || fd < 0) {
        int result = inbox == NULL ? -ENOMEM : -errno;

        if (fd >= 0)
            close(fd);
        free(inbox);
        return result;
    }
    memset(inbox, 0, offsetof(struct inbox, frame)); /* the rest is written before it is read */
    inbox->wake_fd = fd;
    *ret_inbox = inbox;
    return 0;
}

void inbox_free(struct inbox *inbox)
{
    if (inbox == NULL)
        return;
    close(inbox->wake_fd);
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

static void wake(struct inbox *inbox)
{
    uint64_t one = 1;

    atomic_thread_fence(memory_order_seq_cst); /* partner: inbox_arm */
    if (atomic_load_explicit(&inbox->sleeping, memory_order_relaxed) == 0 ||
        atomic_exchange_explicit(&inbox->sleeping, 0, memory_order_relaxed) == 0)
        return;
    if (write(inbox->wake_fd, &one, sizeof(one)) < 0)
        return; /* an eventfd of our own refuses only at 2^64 - 1 */
}

int inbox_put(struct inbox *inbox, const struct iovec *iov, const struct inbox_frame *frame)
{
    struct iovec piece[2];
    uint64_t block;
    size_t used = 0;
    unsigned to = 0;

    if (claim(inbox, blocks_of(frame->len), &block) < 0)
        return -ENOBUFS;
    pieces_of(inbox, block, frame->len, piece);
    for (uint32_t left = frame->len; left != 0; iov++) {
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
    inbox->frame[block % INBOX_BLOCKS] = *frame;
    atomic_store_explicit(&inbox->whole[block % INBOX_BLOCKS], lap_of(block),
                          memory_order_release); /* partner: inbox_peek */
    wake(inbox);
    return 0;
}

int inbox_peek(struct inbox *inbox, struct iovec ret_iov[2], struct inbox_frame *ret_frame)
{
    uint64_t head = atomic_load_explicit(&inbox->head, memory_order_relaxed);

    if (atomic_load_explicit(&inbox->whole[head % INBOX_BLOCKS], memory_order_acquire) !=
        lap_of(head))
        return 0;
    *ret_frame = inbox->frame[head % INBOX_BLOCKS];
    pieces_of(inbox, head, ret_frame->len, ret_iov);
    return 1;
}

void inbox_drop(struct inbox *inbox)
{
    uint64_t head = atomic_load_explicit(&inbox->head, memory_order_relaxed);
    uint32_t blocks = blocks_of(inbox->frame[head % INBOX_BLOCKS].len);

    atomic_store_explicit(&inbox->head, head + blocks, memory_order_release); /* partner: claim */
}

int inbox_arm(struct inbox *inbox)
{
    uint64_t head = atomic_load_explicit(&inbox->head, memory_order_relaxed);

    atomic_store_explicit(&inbox->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* partner: wake */
    return atomic_load_explicit(&inbox->whole[head % INBOX_BLOCKS], memory_order_acquire) ==
           lap_of(head);
}
