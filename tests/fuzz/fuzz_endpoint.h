/* SPDX-License-Identifier: MIT */
/*
 * An endpoint inside the fuzzer, of which the input decides what it takes, keeps and delivers. It
 * holds the NIC to the contract of endpoint.h: every frame and every reservation is checked before
 * anything is done with it.
 */
#pragma once

#include "endpoint/endpoint.h"

enum {
    FUZZ_HELD_MAX = 256, /* frames that the asynchronous kind keeps */
};

/* How it completes what it took. */
enum fuzz_completion {
    FUZZ_SYNCHRONOUS,
    FUZZ_FIRST_IN_FIRST_OUT,
    FUZZ_LAST_IN_FIRST_OUT,
};

/* Is this range one that the guest gave, for this use? */
typedef int fuzz_span_check(const void *context, const struct iovec *span, int writable);
/* Is told of every frame that is sent. */
typedef void fuzz_frame_look(void *context, const struct frame *frame);

struct fuzz_endpoint {
    struct endpoint base;
    struct endpoint_queue queue;
    struct endpoint_rx *rx; /* borrowed */
    enum fuzz_completion completion;
    uint32_t tx_offloads;       /* what the driver agreed to */
    fuzz_span_check *owns_span; /* borrowed, with its context */
    const void *owns_context;
    fuzz_frame_look *look; /* borrowed, with its context; NULL: nobody looks */
    void *look_context;

    /* What the input wants next. */
    uint32_t accept;        /* frames that send() takes before it blocks */
    uint32_t reaps;         /* frames of which a reap() says that they are done */
    uint8_t loops;          /* frames come back through rx from inside send() */
    uint8_t delivers;       /* the same, as frames in memory */
    uint32_t pending;       /* frames that receive() has */
    uint32_t pending_len;   /* bytes of each */
    uint32_t pending_extra; /* bytes of room it asks for beyond that */
    struct frame_offload pending_offload;

    uint8_t *copy; /* borrowed, FRAME_LEN_MAX bytes: takes each frame sent; NULL: nothing does */
    struct frame_offload copy_offload;
    uint32_t copy_len;

    uint32_t held[FUZZ_HELD_MAX]; /* tokens */
    uint32_t held_count;
    uint64_t sent;
};

void fuzz_endpoint_init(struct fuzz_endpoint *endpoint, enum fuzz_completion completion);
