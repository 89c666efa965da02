/* SPDX-License-Identifier: MIT */
/* Arithmetic on sizes that a peer controls: every sum is checked, in 64 bits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* True if [offset, offset + len) lies inside [0, total); false also when the sum wraps. */
static inline bool range_within(uint64_t offset, uint64_t len, uint64_t total)
{
    return offset <= total && len <= total - offset;
}

/* True if start + len does not fit in 64 bits (start + len == 2^64 exactly is allowed to fit). */
static inline bool range_wraps(uint64_t start, uint64_t len)
{
    return len != 0 && start + (len - 1) < start;
}

/* True if two ranges that do not wrap share a byte. */
static inline bool range_overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    if (a_len == 0 || b_len == 0)
        return false;
    return a <= b + (b_len - 1) && b <= a + (a_len - 1);
}

static inline bool is_power_of_two(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

#define MIN(a, b)             ((a) < (b) ? (a) : (b))
#define MAX(a, b)             ((a) > (b) ? (a) : (b))
#define ARRAY_COUNT(a)        (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))
