/* SPDX-License-Identifier: MIT */
/*
 * Workers: the data plane's threads. A pair belongs to one worker from attach to detach; its kicks
 * and its endpoint wake that worker directly.
 *
 * worker_pause is the only primitive between the planes: when it returns, the worker is outside
 * every pair and stays there until worker_resume; whatever the control thread writes in between is
 * visible to the worker afterwards. Pauses nest. All functions here are for the control thread.
 */
#pragma once

#include <stdint.h>

#include "base/event_bits.h"
#include "base/loop.h"
#include "nic/pair.h"
#include "run/worker_poll.h"

enum {
    WORKERS_MAX = 64, /* sets of workers are words of 64 bits, by index */
    WORKER_CPU_ANY = -1,
};

enum worker_fault {
    WORKER_FAULT_RX = 1,
    WORKER_FAULT_TX = 2,
};

struct worker;
struct worker_pool;

struct worker_pair;
struct worker_bell;

/* One fd in a worker's wait set. */
struct worker_source {
    struct worker_pair *owner; /* back-pointer */
    counter *kicks;            /* borrowed; NULL for the endpoint's fd */
    int fd;                    /* borrowed; -1: none */
    uint32_t wanted;           /* EPOLL… bits it is registered with; 0: not registered */
    uint8_t drain;             /* a pipe or socket: has to be read empty */
};

struct worker_pair {
    _Alignas(64) struct pair pair; /* the next one may be another worker's: no line is of both */
    struct worker *worker;         /* borrowed: the pool's */
    struct worker_bell *bell;      /* borrowed from the worker: how other threads wake the pair */
    struct worker_source rx_kick, tx_kick, endpoint;
    struct event_bits *events;           /* borrowed: told when a queue latches */
    uint64_t ripe_ns;                    /* no turn before, unless something wakes the pair */
    uint64_t idle_since_ns;              /* 0: moved something in its last turn */
    uint64_t idle_until_ns;              /* of that, counted up to here */
    uint32_t rx_hold_us, tx_hold_us;     /* longest that an interrupt is held back */
    uint64_t rx_decide_ns, tx_decide_ns; /* when that ends; 0: none is held */
    uint8_t holding;                     /* in the worker's list of pairs that hold one */
    uint8_t runnable;
    uint8_t filling;       /* its driver was adding frames in its last turn */
    uint8_t woken;         /* since its last turn that moved something */
    uint8_t faults_raised; /* WORKER_FAULT_… that `events` was told of */
    uint8_t faults_told;   /* of those, what the coordinator has passed on */
};

struct worker_pool_config {
    unsigned workers;        /* threads; 0: one worker without a thread, which runs inside `loop` */
    struct poll_config poll; /* of a worker with a thread */
    unsigned queue_size_max;
    struct loop *loop;    /* borrowed; the control plane's */
    const unsigned *cpus; /* worker i is pinned to the i-th, modulo; borrowed while creating */
    unsigned cpu_count;   /* 0: not pinned */
    int (*started)(void *context, unsigned worker); /* in each thread first; NULL: nothing */
    void *context;                                  /* borrowed while creating */
};

/* Which workers may serve a NIC's pairs. */
struct worker_wish {
    uint64_t among; /* 0: all */
    unsigned most;  /* of those, the ones with the fewest pairs; 0: no limit */
};

/* -errno of the system or of config->started. */
int worker_pool_create(const struct worker_pool_config *config,
                       struct worker_pool **ret_pool) CONTROL_ONLY;
/* All pairs are detached. NULL is fine. */
void worker_pool_free(struct worker_pool *pool) CONTROL_ONLY;
unsigned worker_pool_count(const struct worker_pool *pool);
/* The set that the wish means now; not empty if one of its workers is there. */
uint64_t worker_pool_choose(struct worker_pool *pool, const struct worker_wish *wish) CONTROL_ONLY;
/* The worker for one more pair: the one of the set with the fewest, among equals the next in turn.
 */
struct worker *worker_pool_place(struct worker_pool *pool, uint64_t set) CONTROL_ONLY;
void worker_inspect(struct worker *worker, struct inspect *visitor) CONTROL_ONLY;

/* All workers stand still from the first to the second, and what the control plane does meanwhile
 * takes effect with it; pauses nest. */
void worker_pool_hold(struct worker_pool *pool) CONTROL_ONLY;
void worker_pool_release(struct worker_pool *pool) CONTROL_ONLY;

void worker_pause(struct worker *worker) TAKES_DATA;
void worker_resume(struct worker *worker) DROPS_DATA;

/* ---- while paused ----------------------------------------------------------------------- */

/* -ENOMEM */
int worker_attach(struct worker *worker, struct worker_pair *pair,
                  struct event_bits *events) NEEDS_DATA;
void worker_detach(struct worker_pair *pair) NEEDS_DATA;
/* -errno of epoll_ctl(2): EPERM for a file that can't be waited for. */
int worker_watch_kick(struct worker_pair *pair, struct worker_source *source, int fd,
                      counter *kicks) NEEDS_DATA;
int worker_watch_endpoint(struct worker_pair *pair, int fd) NEEDS_DATA;
void worker_unwatch(struct worker_source *source) NEEDS_DATA;
/* Gives the pair a turn: rings that were filled before anybody watched are found this way. */
void worker_wake(struct worker_pair *pair) NEEDS_DATA;
/* Interrupts wait until a count of buffers or a time has come; 0 for either: they don't. */
struct worker_hold {
    uint32_t buffers;
    uint32_t usecs;
};
void worker_hold_rx(struct worker_pair *pair, struct worker_hold hold) NEEDS_DATA;
void worker_hold_tx(struct worker_pair *pair, struct worker_hold hold) NEEDS_DATA;
struct pair_scratch *worker_scratch(struct worker *worker) NEEDS_DATA;
