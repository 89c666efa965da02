/* SPDX-License-Identifier: MIT */
/* The Internet checksum (RFC 1071) over scattered bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Ones'-complement sum, folded to 16 bits in host order, of bytes that lie in a row. */
uint16_t checksum_bytes(const void *data, size_t len);

/* The sum of bytes that follow `before` others: where that is odd, each stands in the other half of
 * its word. */
static inline uint16_t checksum_behind(uint32_t before, uint16_t sum)
{
    return before % 2 != 0 ? (uint16_t)(sum << 8 | sum >> 8) : sum;
}

static inline uint16_t checksum_fold(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Ones'-complement sum, folded to 16 bits in host order, of len bytes that start `skip` bytes into
 * iov. */
uint16_t checksum_sum(const struct iovec *iov, uint32_t iov_count, uint32_t skip, uint32_t len);

/*
 * Finishes a partial checksum in place (virtio 1.4, 5.1.6.2): sums from csum_start to the end of
 * the len bytes and stores the complement at csum_start + csum_offset; a result of 0 is stored as
 * 0xffff, which means the same and is right for UDP too. -EINVAL if the field does not lie inside
 * the frame.
 */
int checksum_complete(const struct iovec *iov, uint32_t iov_count, uint32_t len,
                      uint32_t csum_start, uint32_t csum_offset);
