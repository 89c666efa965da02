/* SPDX-License-Identifier: MIT */
/*
 * The parts of the endpoint `user` that know libslirp.
 *
 *   user.c     open, close, queue, inspect             (control thread)
 *   network.c  libslirp's callbacks, the ways in and out (worker, or control thread in open/close)
 *   config.c, forward.c, pollset.c, backlog.c, segments.c know nothing of it
 *
 * libslirp is not thread-safe: one thread at a time uses it, the worker of the queue while it runs.
 */
#pragma once

#include "base/counter.h"
#include "endpoint/endpoint.h"
#include "endpoint/user/backlog.h"
#include "endpoint/user/config.h"
#include "endpoint/user/pollset.h"
#include "endpoint/user/segments.h"
#include "endpoint/user/slirp.h"

struct user_timer {
    void *cookie; /* borrowed from libslirp */
    int64_t expire_ms;
    int armed;
};

struct user_queue {
    struct endpoint_queue base;
    struct endpoint_rx *rx; /* borrowed until queue_close */
};

struct user {
    struct endpoint base;
    struct user_config config; /* fixed by open */
    Slirp *slirp;              /* owned */
    struct user_queue queue;   /* the one there is */
    int queue_is_open;
    int no_ping; /* the host keeps sockets for it from this process */
    int given;   /* to another process: forwards are its own now */

    /* Written by whoever runs libslirp. */
    struct pollset pollset;
    unsigned idle_polls;    /* in a row, that found sockets ready and came to nothing */
    uint64_t rest_until_ns; /* sockets that can't be served rest; 0: none do */
    struct backlog backlog; /* while it is not empty the sockets are not looked at */
    struct segments segments;
    struct user_timer timer[SLIRP_TIMER_NUM];
    struct endpoint_rx *rx; /* borrowed; NULL outside send() and receive() */
    unsigned budget;        /* frames that may still be delivered; the rest goes to the backlog */
    unsigned delivered;
    uint8_t frame[FRAME_LEN_MAX]; /* the guest's frame, out of the guest's reach */
    uint8_t fragment[FRAME_LEN_MAX];

    counter rx_backlogged;      /* had to wait for room */
    counter rx_dropped_backlog; /* the backlog was full, or no queue was open */
    counter out_of_files;       /* times sockets had to rest for want of a file */
    counter over_sockets_max;   /* frames that would have opened one socket too many */
    counter turned_away;        /* connections from outside that would have been one too many */
    counter guest_errors;       /* libslirp found the guest's packet malformed */
};

/* -errno and a sentence on failure. user->config, ->segments and ->pollset are ready; forwards come
 * later. */
int network_open(struct user *user, struct error *err);
int network_add_forwards(struct user *user, struct error *err);
/* The host's ports are free for others. */
void network_remove_forwards(struct user *user);
/* What the guest knows of its network, into a record that is open. */
void network_save(struct user *user, struct records_writer *writer);
/* -EINVAL: it is none. */
int network_load(struct user *user, const struct record_reader *reader);
void network_close(struct user *user);

unsigned network_send(struct user *user, const struct frame *frames, unsigned count);
unsigned network_receive(struct user *user, unsigned budget);
