/* SPDX-License-Identifier: MIT */
/* Copies between frames in pieces (iovecs) and frames in one piece. Lengths were checked by the
 * caller. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* memmove, without the call for what small frames need. All is loaded before the first store. */
static inline void copy_short(void *dst, const void *src, size_t len)
{
    typedef struct {
        uint64_t word[4];
    } block;
    const char *from = src;
    char *to = dst;
    block first, second, last;

    if (len < sizeof(block) || len > 3 * sizeof(block)) {
        memmove(dst, src, len);
        return;
    }
    memcpy(&first, from, sizeof(block));
    memcpy(&last, from + len - sizeof(block), sizeof(block));
    if (len > 2 * sizeof(block)) {
        memcpy(&second, from + sizeof(block), sizeof(block));
        memcpy(to + sizeof(block), &second, sizeof(block));
    }
    memcpy(to, &first, sizeof(block));
    memcpy(to + len - sizeof(block), &last, sizeof(block));
}

/* Gathers the first len bytes of the spans into dst. */
static inline void span_copy_out(void *dst, const struct iovec *iov, size_t len)
{
    char *to = dst;

    for (; len > 0; iov++) {
        size_t n = iov->iov_len < len ? iov->iov_len : len;

        memcpy(to, iov->iov_base, n);
        to += n;
        len -= n;
    }
}

/* Scatters len bytes of src over the spans. */
static inline void span_copy_in(const struct iovec *iov, const void *src, size_t len)
{
    const char *from = src;

    for (; len > 0; iov++) {
        size_t n = iov->iov_len < len ? iov->iov_len : len;

        memcpy(iov->iov_base, from, n);
        from += n;
        len -= n;
    }
}

/* Copies len bytes from spans to spans. memmove: a guest may have put both over the same memory. */
static inline void span_copy_across(const struct iovec *to, const struct iovec *from, size_t len)
{
    size_t to_used = 0, from_used = 0;

    while (len > 0) {
        size_t to_left = to->iov_len - to_used;
        size_t from_left = from->iov_len - from_used;
        size_t n = to_left < from_left ? to_left : from_left;

        if (n > len)
            n = len;
        memmove((char *)to->iov_base + to_used, (const char *)from->iov_base + from_used, n);
        len -= n;
        to_used += n;
        from_used += n;
        if (to_used == to->iov_len) {
            to++;
            to_used = 0;
        }
        if (from_used == from->iov_len) {
            from++;
            from_used = 0;
        }
    }
}
