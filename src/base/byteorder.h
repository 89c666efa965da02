/* SPDX-License-Identifier: MIT */
/*
 * Little-endian words as types of their own, so that mixing byte orders does not compile, and the
 * few atomic accesses that memory shared with a guest needs.
 *
 * Legacy guests (no VERSION_1) put ring and header words in their own byte order. The same types
 * serve: a word_*() access takes the order and swaps once more for a big-endian guest.
 */
#pragma once

#include <endian.h>
#include <stdint.h>

typedef struct {
    uint16_t raw;
} le16;
typedef struct {
    uint32_t raw;
} le32;
typedef struct {
    uint64_t raw;
} le64;

/* Byte order of the words that a guest shares with us. */
enum byte_order {
    BYTE_ORDER_LITTLE, /* every modern guest (VERSION_1), and legacy little-endian ones */
    BYTE_ORDER_BIG,    /* a legacy guest on a big-endian machine */
};

static inline uint16_t le16_get(le16 v)
{
    return le16toh(v.raw);
}
static inline uint32_t le32_get(le32 v)
{
    return le32toh(v.raw);
}
static inline uint64_t le64_get(le64 v)
{
    return le64toh(v.raw);
}
static inline le16 le16_make(uint16_t v)
{
    return (le16){htole16(v)};
}
static inline le32 le32_make(uint32_t v)
{
    return (le32){htole32(v)};
}
static inline le64 le64_make(uint64_t v)
{
    return (le64){htole64(v)};
}

static inline uint16_t word16_get(le16 v, enum byte_order order)
{
    return order == BYTE_ORDER_BIG ? be16toh(v.raw) : le16toh(v.raw);
}
static inline uint32_t word32_get(le32 v, enum byte_order order)
{
    return order == BYTE_ORDER_BIG ? be32toh(v.raw) : le32toh(v.raw);
}
static inline uint64_t word64_get(le64 v, enum byte_order order)
{
    return order == BYTE_ORDER_BIG ? be64toh(v.raw) : le64toh(v.raw);
}
static inline le16 word16_make(uint16_t v, enum byte_order order)
{
    return (le16){order == BYTE_ORDER_BIG ? htobe16(v) : htole16(v)};
}
static inline le32 word32_make(uint32_t v, enum byte_order order)
{
    return (le32){order == BYTE_ORDER_BIG ? htobe32(v) : htole32(v)};
}
static inline le64 word64_make(uint64_t v, enum byte_order order)
{
    return (le64){order == BYTE_ORDER_BIG ? htobe64(v) : htole64(v)};
}

/* Words that the other side writes while we look: read exactly once, with the named ordering. */
static inline le16 le16_load_relaxed(const le16 *p)
{
    return (le16){__atomic_load_n(&p->raw, __ATOMIC_RELAXED)};
}
static inline le16 le16_load_acquire(const le16 *p)
{
    return (le16){__atomic_load_n(&p->raw, __ATOMIC_ACQUIRE)};
}
static inline le64 le64_load_relaxed(const le64 *p)
{
    return (le64){__atomic_load_n(&p->raw, __ATOMIC_RELAXED)};
}
static inline le64 le64_load_acquire(const le64 *p)
{
    return (le64){__atomic_load_n(&p->raw, __ATOMIC_ACQUIRE)};
}
static inline void le64_store_relaxed(le64 *p, le64 v)
{
    __atomic_store_n(&p->raw, v.raw, __ATOMIC_RELAXED);
}
static inline void le64_store_release(le64 *p, le64 v)
{
    __atomic_store_n(&p->raw, v.raw, __ATOMIC_RELEASE);
}
static inline void le16_store_relaxed(le16 *p, le16 v)
{
    __atomic_store_n(&p->raw, v.raw, __ATOMIC_RELAXED);
}
static inline void le16_store_release(le16 *p, le16 v)
{
    __atomic_store_n(&p->raw, v.raw, __ATOMIC_RELEASE);
}

/* ---- big-endian fields in bytes of any alignment ---------------------------------------- */

static inline uint16_t be16_read(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void be16_write(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline uint32_t be32_read(const uint8_t *at)
{
    return (uint32_t)be16_read(at) << 16 | be16_read(at + 2);
}

static inline void be32_write(uint8_t *at, uint32_t value)
{
    be16_write(at, (uint16_t)(value >> 16));
    be16_write(at + 2, (uint16_t)value);
}
