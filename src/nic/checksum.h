/* SPDX-License-Identifier: MIT */
/* The Internet checksum (RFC 1071) over scattered bytes. */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

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
