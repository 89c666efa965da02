/* SPDX-License-Identifier: MIT */
/* Copies between frames in pieces (iovecs) and frames in one piece. Lengths were checked by the
 * caller. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* 16 bytes in a register. A struct of as many would be copied by way of the stack. */
typedef uint8_t span_piece __attribute__((vector_size(16)));

static inline span_piece piece_load(const char *from)
{
    span_piece piece;

    memcpy(&piece, from, sizeof(piece));
    return piece;
}

static inline void piece_store(char *to, span_piece piece)
{
    memcpy(to, &piece, sizeof(piece));
}

enum {
    COPY_LONG_MIN = 1024,
};

/* At least COPY_LONG_MIN bytes. Where both overlap, because a guest has put them so, what comes of
 * it is any of their bytes. */
void copy_long(void *dst, const void *src, size_t len);

static inline void copy_any(void *dst, const void *src, size_t len)
{
    if (len < COPY_LONG_MIN)
        memmove(dst, src, len);
    else
        copy_long(dst, src, len);
}

/* The same, without a call for what small frames need: 32 … 96 bytes are two pieces from each end,
 * and two behind the first. All is loaded before the first store. */
static inline void copy_short(void *dst, const void *src, size_t len)
{
    const char *from = src;
    char *to = dst;
    span_piece first, second, third, fourth, before_last, last;

    if (len < 32 || len > 96) {
        copy_any(dst, src, len);
        return;
    }
    first = piece_load(from);
    second = piece_load(from + 16);
    before_last = piece_load(from + len - 32);
    last = piece_load(from + len - 16);
    if (len > 64) {
        third = piece_load(from + 32);
        fourth = piece_load(from + 48);
        piece_store(to + 32, third);
        piece_store(to + 48, fourth);
    }
    piece_store(to, first);
    piece_store(to + 16, second);
    piece_store(to + len - 32, before_last);
    piece_store(to + len - 16, last);
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

/* Copies len bytes from spans to spans; a guest may have put both over the same memory. */
static inline void span_copy_across(const struct iovec *to, const struct iovec *from, size_t len)
{
    size_t to_used = 0, from_used = 0;

    while (len > 0) {
        size_t to_left = to->iov_len - to_used;
        size_t from_left = from->iov_len - from_used;
        size_t n = to_left < from_left ? to_left : from_left;

        if (n > len)
            n = len;
        copy_any((char *)to->iov_base + to_used, (const char *)from->iov_base + from_used, n);
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
