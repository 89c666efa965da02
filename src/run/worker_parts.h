/* SPDX-License-Identifier: MIT */
/*
 * What the files of the workers share. Included by src/run/worker*.c only.
 *
 *   worker.c       the thread: looks, turns, what is done to it while paused
 *   worker_bell.c  how other threads wake it for a pair
 *   worker_poll.c  how long it looks on before it sleeps
 *   worker_pool.c  making and ending workers, which pair goes to which
 */
#pragma once

#include <pthread.h>

#include "base/loop.h"
#include "run/worker.h"
#include "run/worker_bell.h"

enum {
    WORKER_ATTENTION = 1, /* event bit: look at pause_requests and stopping */
};

struct worker {
    pthread_t thread;
    int started;
    unsigned index;              /* in the pool */
    int cpu;                     /* it is pinned to; WORKER_CPU_ANY */
    int epoll_fd;                /* owned */
    int hold_fd;                 /* owned: a timer, for interrupts that are held back */
    struct event_bits attention; /* raised by the control thread */
    struct worker_bells bells;   /* rung by any thread */
    struct pair_scratch scratch; /* owned; the thread's, or the control thread's while paused */
    struct worker_poll poll;
    uint64_t now_ns;    /* at the start of the round */
    uint64_t looked_ns; /* when the fds were looked at */

    struct worker_pair **runnable; /* owned array of borrowed pairs */
    unsigned runnable_count;
    int moved;   /* something did, in this round */
    int resting; /* every runnable pair is polled and had nothing: a look may take a while */
    unsigned pair_count; /* attached; both arrays have room for as many */

    struct worker_pair **holders; /* owned array of borrowed pairs that hold an interrupt back */
    unsigned holder_count;
    uint64_t hold_until_ns; /* what the timer is set to; 0: not set */

    struct loop *loop;              /* borrowed; NULL: the worker has a thread */
    struct loop_source loop_source; /* its epoll_fd, in the loop */
    struct loop_timer again;        /* its next round, in the loop */

    pthread_mutex_t lock; /* of what follows; never taken while the worker moves packets */
    pthread_cond_t changed;
    unsigned pause_requests;
    int paused;
    int stopping;
    int ready; /* the thread has begun, with `begun` as the outcome */
    int begun; /* 0, or the -errno of config->started: the thread has ended then */
};

struct worker_pool {
    unsigned count;
    unsigned next; /* whose turn it is among those that have the fewest pairs */
    struct worker worker[];
};

/* What the thread does until it is stopped. */
void worker_run(struct worker *worker);
/* Instead of a thread. */
int worker_launch_inline(struct worker *worker, struct loop *loop);
