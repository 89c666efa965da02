/* SPDX-License-Identifier: MIT */
/*
 * How any thread gives a pair a turn: its bell. The worker hears it without a system call while it
 * runs, and by an eventfd while it sleeps.
 *
 * A bell lives as long as the worker, not the pair: a thread that rings too late rings for nobody,
 * or for the pair that has the bell now, which finds nothing to do.
 */
#pragma once

#include <stdatomic.h>

#include "endpoint/endpoint.h"

struct worker;
struct worker_pair;

struct worker_bell {
    struct endpoint_waker waker;             /* first member: what others ring */
    struct worker *worker;                   /* back-pointer */
    struct worker_pair *pair;                /* borrowed; NULL: free. Written while paused */
    atomic_int rung;                         /* 1: in the list, or about to be */
    _Atomic(struct worker_bell *) next_rung; /* in the worker's list, while rung */
    struct worker_bell *next;                /* owned: of all bells of the worker */
};

/* Bells of one worker. */
struct worker_bells {
    _Atomic(struct worker_bell *) rung; /* the last one first; pushed by any thread */
    /* 1: the worker sleeps, or is about to, and wants the fd written. Partner: bell_ring. */
    atomic_int sleeping;
    int fd;                  /* owned: an eventfd, watched for edges and never read */
    struct worker_bell *all; /* owned */
};

int worker_bells_init(struct worker_bells *bells);
void worker_bells_free(struct worker_bells *bells);

/* While the worker is paused. NULL: no memory. */
struct worker_bell *worker_bell_take(struct worker *worker, struct worker_pair *pair);
/* NULL is fine. */
void worker_bell_give_back(struct worker_bell *bell);

/* The worker, awake: the bells that were rung, linked by what worker_bell_answer returns; or NULL.
 */
struct worker_bell *worker_bells_heard(struct worker_bells *bells);
/* It may be rung again from here on. The next one that was heard, or NULL. */
struct worker_bell *worker_bell_answer(struct worker_bell *bell);
/* The worker is about to sleep. 1: a bell was rung after all. */
int worker_bells_arm(struct worker_bells *bells);
