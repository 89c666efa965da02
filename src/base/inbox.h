/* SPDX-License-Identifier: MIT */
/*
 * Frames on their way from one worker to another. Many threads put, one takes. No locks: space is
 * claimed by compare-and-swap, and becomes visible when its frame is whole. Nobody is woken here:
 * who puts tells the taker.
 *
 * A frame lies in whole blocks, in one or two pieces (it may run over the end of the store). What
 * says that a block begins a frame is kept apart from the frames' bytes, which are the guest's or
 * the network's. Neither putting nor taking waits for anybody.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
    INBOX_BLOCK_LEN = 64,
    INBOX_BLOCKS = 4096, /* a power of two: 256 KiB, three frames of the longest kind */
    INBOX_NOTE_LEN = 28,
};

/* What travels beside a frame's bytes; its meaning is the users'. */
struct inbox_note {
    _Alignas(4) uint8_t bytes[INBOX_NOTE_LEN];
};

struct inbox_entry {
    uint32_t len;
    struct inbox_note note;
};

struct inbox {
    _Atomic uint64_t tail;              /* free-running block: next to be claimed, by any putter */
    _Alignas(64) _Atomic uint64_t head; /* free-running block: next to be taken, by the taker */
    /* By block: the lap (from 1) in which a frame that begins here became whole. */
    _Alignas(64) _Atomic uint32_t whole[INBOX_BLOCKS];
    struct inbox_entry entry[INBOX_BLOCKS]; /* by first block */
    uint8_t store[(size_t)INBOX_BLOCKS * INBOX_BLOCK_LEN];
};

/* A frame as the taker sees it; its bytes stay until inbox_drop. */
struct inbox_view {
    struct iovec iov[2];
    unsigned iov_count;
    uint32_t len;
    const struct inbox_note *note;
    uint64_t end; /* the block behind it */
};

/* -ENOMEM. Memory that no frame came to is never touched. */
int inbox_create(struct inbox **ret_inbox);
void inbox_free(struct inbox *inbox);

/* Any thread: copies a frame of len bytes in. -ENOBUFS: no room. */
int inbox_put(struct inbox *inbox, const struct iovec *iov, uint32_t len,
              const struct inbox_note *note);
/* Nothing is there, and nothing is on its way in. Any thread. */
int inbox_empty(const struct inbox *inbox);

/* The taker: 1 and the frame behind `before` (NULL: the oldest one); or 0. */
int inbox_peek(struct inbox *inbox, const struct inbox_view *before, struct inbox_view *ret_view);
/* The taker: frames that wait. */
unsigned inbox_count(struct inbox *inbox);
/* Takes all frames up to this one. */
void inbox_drop(struct inbox *inbox, const struct inbox_view *last);
