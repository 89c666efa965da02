/* SPDX-License-Identifier: MIT */
/*
 * Received frames on their way from one pair of a card to another: RSS sent them to a queue that
 * the endpoint knows nothing of. Many pairs put, on their own threads; one takes. No locks: space
 * is claimed by compare-and-swap, and becomes visible when its frame is whole.
 *
 * A frame lies in whole blocks, in one or two pieces (it may run over the end of the store). What
 * says that a block begins a frame is kept apart from the frames' bytes, which are the guest's or
 * the network's.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "endpoint/endpoint.h"
#include "nic/hash.h"

enum {
    INBOX_BLOCK_LEN = 64,
    INBOX_BLOCKS = 4096, /* a power of two: 256 KiB, three frames of the longest kind */
};

struct inbox_frame {
    uint32_t len;
    struct frame_offload offload;
    struct frame_hash hash;
};

struct inbox {
    _Atomic uint64_t tail;              /* free-running block: next to be claimed, by any putter */
    _Alignas(64) _Atomic uint64_t head; /* free-running block: next to be taken, by the taker */
    /* 1: the taker sleeps and wants wake_fd to be written. Partner: inbox_arm. */
    _Alignas(64) atomic_int sleeping;
    int wake_fd; /* owned: an eventfd, watched for edges and never read */
    /* By block: the lap (from 1) in which a frame that begins here became whole. */
    _Atomic uint32_t whole[INBOX_BLOCKS];
    struct inbox_frame frame[INBOX_BLOCKS]; /* by first block */
    uint8_t store[(size_t)INBOX_BLOCKS * INBOX_BLOCK_LEN];
};

/* -ENOMEM, or -errno of eventfd(2). */
int inbox_create(struct inbox **ret_inbox);
void inbox_free(struct inbox *inbox);

/* Any thread: copies a frame in and wakes the taker. -ENOBUFS: no room. */
int inbox_put(struct inbox *inbox, const struct iovec *iov, const struct inbox_frame *frame);

/* The taker: 1 and the oldest frame, whose bytes stay until inbox_drop; or 0. */
int inbox_peek(struct inbox *inbox, struct iovec ret_iov[2], struct inbox_frame *ret_frame);
void inbox_drop(struct inbox *inbox);
/* The taker is about to sleep. 1: there is a frame after all. */
int inbox_arm(struct inbox *inbox);
