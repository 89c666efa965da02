/* SPDX-License-Identifier: MIT */
/*
 * Two endpoints written against the public header alone: `echo` gives each frame back inside
 * send(); `mirror` keeps what it was given, delivers it from receive() and completes it by reap().
 */
#pragma once

#include <vionic_endpoint.h>

enum {
    ECHO_HELD_MAX = 32
};

struct echo_frame {
    struct iovec iov[VIONIC_FRAME_SPANS_MAX];
    unsigned iov_count;
    uint32_t len, token;
    struct vionic_offload offload;
};

struct echo {
    unsigned opened, closed, queues_opened, queues_closed, quiesced; /* calls so far */
    unsigned queue_pairs;                                            /* as open() was told */
    uint32_t rx_offloads; /* as set_offloads() was told */
    int open_error;       /* -errno that open() answers, with a sentence */
    int queue_error;      /* the same for queue_open() */
    uint32_t lacks;       /* VIONIC_ENDPOINT_… that it can't do, of those that it usually can */
    int link_down;
    uint32_t events; /* what events() will tell */
    int event_fd;    /* owned from echo_init to echo_free */

    /* mirror */
    struct vionic_rx *rx;
    int wait_fd;                           /* owned likewise */
    struct echo_frame held[ECHO_HELD_MAX]; /* taken and not delivered, oldest first */
    unsigned held_count;
    uint32_t done[2 * ECHO_HELD_MAX]; /* tokens for reap() */
    unsigned done_count;
    int asleep; /* receive() delivers nothing */
};

void echo_init(struct echo *echo);
void echo_free(struct echo *echo);
/* Raises VIONIC_ENDPOINT_EVENT_… bits. */
void echo_raise(struct echo *echo, uint32_t events);

extern const struct vionic_endpoint_ops echo_ops;   /* no operation that may be NULL */
extern const struct vionic_endpoint_ops mirror_ops; /* every operation */
