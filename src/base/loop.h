/* SPDX-License-Identifier: MIT */
/*
 * The control plane's event loop: epoll, sources and one-shot timers, single-threaded. A loop has
 * one pollable fd, so it nests in another loop or in an embedder's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct loop;

struct loop_source {
    int fd; /* borrowed */
    /* Called with the EPOLL… bits that are set. May remove any source, this one included. */
    void (*ready)(struct loop_source *source, uint32_t events);
};

struct loop_timer {
    void (*fire)(struct loop_timer *timer);
    uint64_t deadline_ns;    /* written by the loop */
    struct loop_timer *next; /* borrowed: the loop's list, ordered by deadline */
    int armed;
};

int loop_create(struct loop **ret_loop);
void loop_free(struct loop *loop);

/* Level-triggered, or by edges with EPOLLET. -errno of epoll_ctl(2): EPERM for a file that can't be
 * waited for. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events);
int loop_modify(struct loop *loop, struct loop_source *source, uint32_t events);
/* After this no call of source->ready comes, not even one already collected. */
void loop_remove(struct loop *loop, struct loop_source *source);

/* Starts (or restarts) a one-shot timer. Never fails. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns);
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);

/* Readable when loop_dispatch has something to do. */
int loop_fd(const struct loop *loop);
/* Handles what is ready; waits for up to timeout_ms (-1: for ever) if nothing is. 0 or -errno. */
int loop_dispatch(struct loop *loop, int timeout_ms);
