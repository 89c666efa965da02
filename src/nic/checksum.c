/* SPDX-License-Identifier: MIT */
#include "nic/checksum.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"

/* Sum of the bytes as 16-bit words in memory order; an odd last byte counts as the first of its
 * word. */
static uint64_t sum_bytes(const uint8_t *data, size_t len)
{
    uint64_t sum = 0;
    uint32_t word;
    uint16_t half = 0;

    for (; len >= 4; len -= 4, data += 4) {
        memcpy(&word, data, 4);
        sum += word;
    }
    if (len >= 2) {
        memcpy(&half, data, 2);
        sum += half;
        data += 2;
        len -= 2;
    }
    if (len == 1) {
        half = 0;
        memcpy(&half, data, 1);
        sum += half;
    }
    return sum;
}

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

uint16_t checksum_sum(const struct iovec *iov, uint32_t iov_count, uint32_t skip, uint32_t len)
{
    uint64_t total = 0;
    uint32_t done = 0;

    for (uint32_t i = 0; i < iov_count && len != 0; i++) {
        uint32_t span = (uint32_t)iov[i].iov_len;
        uint32_t from = MIN(skip, span);
        uint32_t part = MIN(span - from, len);
        uint16_t sum = fold(sum_bytes((const uint8_t *)iov[i].iov_base + from, part));

        /* A span that starts at an odd byte has its words the other way round. */
        total += done % 2 != 0 ? (uint16_t)(sum << 8 | sum >> 8) : sum;
        skip -= from;
        len -= part;
        done += part;
    }
    return ntohs(fold(total));
}

/* The byte at offset, or NULL. */
static uint8_t *byte_at(const struct iovec *iov, uint32_t iov_count, uint32_t offset)
{
    for (uint32_t i = 0; i < iov_count; i++) {
        if (offset < iov[i].iov_len)
            return (uint8_t *)iov[i].iov_base + offset;
        offset -= (uint32_t)iov[i].iov_len;
    }
    return NULL;
}

int checksum_complete(const struct iovec *iov, uint32_t iov_count, uint32_t len,
                      uint32_t csum_start, uint32_t csum_offset)
{
    uint32_t field = csum_start + csum_offset;
    uint8_t *high, *low;
    uint16_t sum;

    if (csum_start >= len || !range_within(field, 2, len))
        return -EINVAL;
    high = byte_at(iov, iov_count, field);
    low = byte_at(iov, iov_count, field + 1);
    if (high == NULL || low == NULL)
        return -EINVAL;
    sum = (uint16_t)~checksum_sum(iov, iov_count, csum_start, len - csum_start);
    if (sum == 0)
        sum = 0xffff;
    *high = (uint8_t)(sum >> 8);
    *low = (uint8_t)sum;
    return 0;
}
