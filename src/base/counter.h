/* SPDX-License-Identifier: MIT */
/*
 * Statistics with one writer and any number of readers. The writer is the worker that owns the
 * pair; the readers (inspect) never stop it. Relaxed load + store compile to plain moves: no lock
 * prefix.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

typedef struct {
    _Atomic uint64_t value;
} counter;

static inline void counter_add(counter *c, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&c->value, memory_order_relaxed);

    atomic_store_explicit(&c->value, old + n, memory_order_relaxed);
}

static inline uint64_t counter_get(const counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

static inline void counter_raise(counter *c, uint64_t at_least)
{
    if (atomic_load_explicit(&c->value, memory_order_relaxed) < at_least)
        atomic_store_explicit(&c->value, at_least, memory_order_relaxed);
}

/* From saved state; nobody else writes meanwhile. */
static inline void counter_set(counter *c, uint64_t value)
{
    atomic_store_explicit(&c->value, value, memory_order_relaxed);
}

enum {
    HISTOGRAM_BUCKETS = 12
};

/* Powers of two: bucket 0 holds the value 0, bucket n values 2^(n-1) … 2^n - 1, the last all above.
 */
struct histogram {
    counter bucket[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket_of(uint64_t value)
{
    unsigned bits = value == 0 ? 0 : 64u - (unsigned)__builtin_clzll(value);

    return bits < HISTOGRAM_BUCKETS ? bits : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
    counter_add(&h->bucket[histogram_bucket_of(value)], 1);
}
