/* SPDX-License-Identifier: MIT */
/* Long copies from guest to guest. What is read lies in the second or third level of the cache, as
 * the last card that had the frame left it, and what is written too. */
#include "base/span_copy.h"

#if defined(__x86_64__)

#define WIDE __attribute__((target("avx2")))

enum {
    LINE = 64,
    STEP = 128, /* bytes, of a round of the loop */
};

/* In a register; anywhere in memory. */
typedef uint8_t wide_piece __attribute__((vector_size(32), aligned(1), may_alias));

/* The begin and the end overlap with what the loop copies: that stores whole lines only, which the
 * C library's `rep movsb` for such lengths does not. */
WIDE static void copy_lines(char *to, const char *from, size_t len)
{
    const wide_piece *begin = (const wide_piece *)from;
    const wide_piece *end = (const wide_piece *)(from + len - STEP);
    const wide_piece begin0 = begin[0], begin1 = begin[1];
    const wide_piece end0 = end[0], end1 = end[1], end2 = end[2], end3 = end[3];
    wide_piece *out;

    for (size_t at = LINE - (uintptr_t)to % LINE; at + STEP <= len; at += STEP) {
        const wide_piece *in = (const wide_piece *)(from + at);
        const wide_piece piece0 = in[0], piece1 = in[1], piece2 = in[2], piece3 = in[3];

        out = (wide_piece *)(to + at);
        out[0] = piece0;
        out[1] = piece1;
        out[2] = piece2;
        out[3] = piece3;
    }
    out = (wide_piece *)to;
    out[0] = begin0;
    out[1] = begin1;
    out = (wide_piece *)(to + len - STEP);
    out[0] = end0;
    out[1] = end1;
    out[2] = end2;
    out[3] = end3;
}

void copy_long(void *dst, const void *src, size_t len)
{
    if (__builtin_cpu_supports("avx2"))
        copy_lines(dst, src, len);
    else
        memmove(dst, src, len);
}

#else

void copy_long(void *dst, const void *src, size_t len)
{
    memmove(dst, src, len);
}

#endif
