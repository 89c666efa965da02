/* SPDX-License-Identifier: MIT */
/*
 * Frames from one worker to another, in order: a ring of bytes with one writer and one reader,
 * without locks. Frames are copied in, so that whoever sent them has their buffers back. Unlike
 * base/inbox.h it holds its writer back instead of losing frames, and gives them out by the batch,
 * each in one piece.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "endpoint/endpoint.h"

enum {
    LANE_LEN = 1 << 18, /* three frames of the longest kind; a power of two */
    LANE_BATCH = 32,    /* frames that the reader sees at a time */
};

struct lane {
    _Alignas(64) _Atomic uint32_t tail; /* free-running byte; the writer's */
    _Alignas(64) _Atomic uint32_t head; /* free-running byte; the reader's */
    /* The writer found no room. Partner: lane_pop, which then says so. */
    _Alignas(64) atomic_int wants_room;
    uint32_t peeked[LANE_BATCH]; /* where each of these ends; the reader's */
    uint8_t bytes[LANE_LEN];
};

/* The writer: copies a frame in. 0: no room; lane_pop will say when there is some. */
int lane_put(struct lane *lane, const struct frame *frame);
/* The reader: up to LANE_BATCH of the oldest frames, each in one span of `iov`, which stay until
 * lane_pop; returns how many. */
unsigned lane_peek(struct lane *lane, struct frame frame[LANE_BATCH], struct iovec iov[LANE_BATCH]);
/* The reader is done with the first `count` of these. 1: the writer waits for room. */
int lane_pop(struct lane *lane, unsigned count);
/* The reader, or nobody reads: forgets what is in it. 1: the writer waits for room. */
int lane_clear(struct lane *lane);
