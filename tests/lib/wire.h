/* SPDX-License-Identifier: MIT */
/*
 * Words as they lie in guest memory, for the driver side of the tests. Written anew on purpose: the
 * code under test must not be checked with its own helpers.
 */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

enum wire_order {
    WIRE_LITTLE, /* every modern driver */
    WIRE_BIG,    /* a legacy driver on a big-endian machine */
};

static inline uint16_t wire_get16(const void *at, enum wire_order order)
{
    uint16_t raw;

    memcpy(&raw, at, sizeof(raw));
    return order == WIRE_BIG ? be16toh(raw) : le16toh(raw);
}
static inline uint32_t wire_get32(const void *at, enum wire_order order)
{
    uint32_t raw;

    memcpy(&raw, at, sizeof(raw));
    return order == WIRE_BIG ? be32toh(raw) : le32toh(raw);
}
static inline uint64_t wire_get64(const void *at, enum wire_order order)
{
    uint64_t raw;

    memcpy(&raw, at, sizeof(raw));
    return order == WIRE_BIG ? be64toh(raw) : le64toh(raw);
}
static inline void wire_put16(void *at, uint16_t value, enum wire_order order)
{
    uint16_t raw = order == WIRE_BIG ? htobe16(value) : htole16(value);

    memcpy(at, &raw, sizeof(raw));
}
static inline void wire_put32(void *at, uint32_t value, enum wire_order order)
{
    uint32_t raw = order == WIRE_BIG ? htobe32(value) : htole32(value);

    memcpy(at, &raw, sizeof(raw));
}
static inline void wire_put64(void *at, uint64_t value, enum wire_order order)
{
    uint64_t raw = order == WIRE_BIG ? htobe64(value) : htole64(value);

    memcpy(at, &raw, sizeof(raw));
}

/* Words that the device writes or reads at the same time. */
static inline uint16_t wire_load16(const void *at, enum wire_order order)
{
    uint16_t raw = __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE);

    return order == WIRE_BIG ? be16toh(raw) : le16toh(raw);
}
static inline void wire_store16(void *at, uint16_t value, enum wire_order order)
{
    uint16_t raw = order == WIRE_BIG ? htobe16(value) : htole16(value);

    __atomic_store_n((uint16_t *)at, raw, __ATOMIC_RELEASE);
}
