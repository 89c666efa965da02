/* SPDX-License-Identifier: MIT */
/*
 * How long a worker looks on at empty rings before it sleeps. To wake a sleeper costs the driver a
 * system call and an interrupt of another CPU (some 15 us), and the packet 25 to 60 us; to look
 * costs a CPU. So with POLL_ADAPTIVE a worker looks on only where that pays:
 *
 *   - when sleeps turn out to be short, it begins to look on, longer each time, up to 100 us; when
 *     they are long, it stops;
 *   - never for more than a share of the time (the budget), over a tenth of a second;
 *   - when it finds that something else ran on its CPU meanwhile, it leaves the CPU to that for a
 *     while, longer each time.
 *
 * Knows nothing of pairs. One worker's thread writes; the control thread reads the counters.
 */
#pragma once

#include <stdint.h>

#include "base/counter.h"
#include "base/inspect.h"

enum poll_mode {
    POLL_FIXED,    /* so many microseconds after the last packet; 0: not at all */
    POLL_ADAPTIVE, /* where it pays */
    POLL_ALWAYS,   /* it never sleeps while it has a running ring */
};

struct poll_config {
    enum poll_mode mode;
    unsigned us;             /* POLL_FIXED */
    unsigned budget_percent; /* POLL_ADAPTIVE: 1 … 100 of a CPU's time */
};

struct worker_poll {
    struct poll_config config; /* fixed */
    uint64_t span_ns;          /* POLL_ADAPTIVE: how long to look on now */
    int64_t credit_ns;         /* what may be spent on looks that find nothing */
    uint64_t credited_ns;      /* when that was brought up to date; 0: never */
    uint64_t looked_ns;        /* the last look, if it found nothing; else 0 */
    uint8_t looked_free;       /* … and it costs no budget */
    uint64_t barred_until_ns;  /* others had the CPU: no looks before */
    uint64_t barred_ns;        /* how long that was for */

    counter spent_ns;    /* on rounds in which nothing moved */
    counter hits;        /* times that looking on found packets: nobody had to be woken */
    counter sleeps;      /* times that the worker was woken instead */
    counter budget_hits; /* times that the budget ended the looking on */
    counter yields;      /* times that something else had the CPU meanwhile */
};

void worker_poll_init(struct worker_poll *poll, const struct poll_config *config);

/* Does the worker look on now? */
static inline int worker_poll_is_on(const struct worker_poll *poll)
{
    return poll->config.mode == POLL_ADAPTIVE ? poll->span_ns != 0
                                              : poll->config.mode == POLL_ALWAYS || poll->config.us;
}

/* How long after its last packet a pair is looked at before it may sleep. */
uint64_t worker_poll_span(struct worker_poll *poll, uint64_t now_ns);
/* A round began at now_ns, in which nothing moved, and whose pairs did not all go to sleep. */
void worker_poll_looked(struct worker_poll *poll, uint64_t now_ns);
/* The same, but drivers were left alone meanwhile that are adding frames: that is no looking on,
 * and costs none of its budget. */
void worker_poll_waited(struct worker_poll *poll, uint64_t now_ns);
/* Any other round did. */
void worker_poll_moved(struct worker_poll *poll, uint64_t now_ns);
/* The worker slept for so long, until there was something to do. */
void worker_poll_slept(struct worker_poll *poll, uint64_t slept_ns);

void worker_poll_inspect(struct worker_poll *poll, struct inspect *visitor);
