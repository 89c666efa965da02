/* SPDX-License-Identifier: MIT */
/* Monotonic time in nanoseconds. */
#pragma once

#include <stdint.h>
#include <time.h>

#define CLOCK_SECOND_NS      1000000000ull
#define CLOCK_MILLISECOND_NS 1000000ull

static inline uint64_t clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * CLOCK_SECOND_NS + (uint64_t)now.tv_nsec;
}
