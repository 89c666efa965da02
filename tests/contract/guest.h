/* SPDX-License-Identifier: MIT */
/*
 * The guest's side of an endpoint queue, over plain buffers: a small and complete endpoint_rx. Each
 * piece of room is an allocation of its own, so that the address sanitizer sees a byte too far.
 */
#pragma once

#include "endpoint/endpoint.h"

enum {
    GUEST_FRAMES_MAX = 512,
    GUEST_NO_LIMIT = 1 << 30, /* as a number of buffers: more than a test can use */
};

enum guest_buffers {
    GUEST_MERGEABLE, /* a frame may take several buffers */
    GUEST_SINGLE,    /* a frame must fit into one */
};

struct guest_frame {
    uint8_t *bytes; /* owned */
    uint32_t len;
    struct frame_offload offload;
};

struct guest {
    struct endpoint_rx rx;
    struct endpoint_waker waker;
    int woken;                    /* since the last receive() */
    struct endpoint *endpoint;    /* owned from guest_open to guest_close */
    struct endpoint_queue *queue; /* owned likewise; NULL while it is closed */

    struct guest_frame frame[GUEST_FRAMES_MAX];
    unsigned frame_count;

    enum guest_buffers kind;
    uint32_t buffer_len;
    uint32_t buffer_count; /* what the endpoint may still use */
    int refusal;           /* -ENETDOWN or -EMSGSIZE for every reserve; 0: none */

    int reads_ahead; /* as the kind's trait says */
    int more;        /* … and receive() is to be called again without a wait */

    int in_call; /* inside send() or receive(): the only time when rx may be used */
    unsigned reserve_count;
    unsigned again_count; /* reserves that found too little room */
    unsigned drop_count;
    struct reservation room;
    struct iovec iov[RESERVE_MAX_SPANS];
};

/* Where the kind `switch` is opened. */
extern struct switches *guest_switches;
/* All guests are this worker's. */
extern const int guest_worker;

/* As endpoint_open, and switches. */
int guest_endpoint_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                        struct error *err);
/* Opens `text` as an endpoint and its queue 0, with unlimited mergeable buffers of 2 KiB; fails the
 * test if it can't. */
void guest_open(struct guest *guest, const char *text);
void guest_close(struct guest *guest);
void guest_init(struct guest *guest);
void guest_queue_open(struct guest *guest, unsigned index);
void guest_queue_close(struct guest *guest);
void guest_forget_frames(struct guest *guest);

unsigned guest_send(struct guest *guest, const struct frame *frames, unsigned count);
unsigned guest_receive(struct guest *guest, unsigned budget);

/* 1 if the queue's wait_fd becomes readable within the time, or (reads_ahead) receive() has stopped
 * at its budget or for want of buffers before. */
int guest_wait(struct guest *guest, int timeout_ms);
/* Receives until `count` frames are there or the time is over; returns how many there are. */
unsigned guest_receive_until(struct guest *guest, unsigned count, int timeout_ms);
/* The number of this name that the endpoint shows; fails the test if it shows none. */
uint64_t guest_counter(struct guest *guest, const char *name);

/* ---- frames of the tests ------------------------------------------------------------------------
 */

enum {
    TEST_ETHERTYPE = 0x88b5, /* IEEE 802: for local experiments */
};

/* A frame with its bytes in span_count allocations of their own. */
struct test_frame {
    struct frame frame;
    struct iovec iov[FRAME_SPANS_MAX];
};

void test_frame_fill(uint8_t *bytes, uint32_t len, unsigned seed);
void test_frame_make(struct test_frame *frame, uint32_t len, unsigned span_count, unsigned seed);
void test_frame_from(struct test_frame *frame, const void *bytes, uint32_t len,
                     unsigned span_count);
void test_frame_free(struct test_frame *frame);
/* Fails the test unless `bytes` are those of test_frame_fill(len, seed). */
void test_frame_check(const uint8_t *bytes, uint32_t len, unsigned seed);

/* How many fds the process has open. */
unsigned count_fds(void);
