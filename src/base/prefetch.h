/* SPDX-License-Identifier: MIT */
/* Hints to the processor about memory that another one wrote last. Any address is fine. */
#pragma once

/* The line is about to be written: it is fetched for that at once, instead of once to look. */
static inline void prefetch_for_write(const void *at)
{
#if defined(__x86_64__)
    /* What compilers make of __builtin_prefetch fetches for reading, unless told of the CPU. */
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)at));
#else
    __builtin_prefetch(at, 1);
#endif
}
