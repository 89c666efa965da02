/* SPDX-License-Identifier: MIT */
/*
 * Feature bits of a virtio network device as a 128-bit set, their names, and which bit needs which
 * (virtio 1.4, 5.1.3.1 and 6). Bits that the device does not implement are known by name all the
 * same, so that a refusal can say what was wrong.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/inspect.h"

enum feature_bit {
    NET_F_CSUM = 0,
    NET_F_GUEST_CSUM = 1,
    NET_F_CTRL_GUEST_OFFLOADS = 2,
    NET_F_MTU = 3,
    NET_F_MAC = 5,
    NET_F_GUEST_TSO4 = 7,
    NET_F_GUEST_TSO6 = 8,
    NET_F_GUEST_ECN = 9,
    NET_F_GUEST_UFO = 10,
    NET_F_HOST_TSO4 = 11,
    NET_F_HOST_TSO6 = 12,
    NET_F_HOST_ECN = 13,
    NET_F_HOST_UFO = 14,
    NET_F_MRG_RXBUF = 15,
    NET_F_STATUS = 16,
    NET_F_CTRL_VQ = 17,
    NET_F_CTRL_RX = 18,
    NET_F_CTRL_VLAN = 19,
    NET_F_CTRL_RX_EXTRA = 20,
    NET_F_GUEST_ANNOUNCE = 21,
    NET_F_MQ = 22,
    NET_F_CTRL_MAC_ADDR = 23,
    NET_F_DEVICE_STATS = 50,
    NET_F_HASH_TUNNEL = 51,
    NET_F_VQ_NOTF_COAL = 52,
    NET_F_NOTF_COAL = 53,
    NET_F_GUEST_USO4 = 54,
    NET_F_GUEST_USO6 = 55,
    NET_F_HOST_USO = 56,
    NET_F_HASH_REPORT = 57,
    NET_F_GUEST_HDRLEN = 59,
    NET_F_RSS = 60,
    NET_F_RSC_EXT = 61,
    NET_F_STANDBY = 62,
    NET_F_SPEED_DUPLEX = 63,
    NET_F_RSS_CONTEXT = 64,
    NET_F_GUEST_UDP_TUNNEL_GSO = 65,
    NET_F_GUEST_UDP_TUNNEL_GSO_CSUM = 66,
    NET_F_HOST_UDP_TUNNEL_GSO = 67,
    NET_F_HOST_UDP_TUNNEL_GSO_CSUM = 68,

    F_NOTIFY_ON_EMPTY = 24,
    F_ANY_LAYOUT = 27,
    F_INDIRECT_DESC = 28,
    F_EVENT_IDX = 29,
    F_VERSION_1 = 32,
    F_ACCESS_PLATFORM = 33,
    F_RING_PACKED = 34,
    F_IN_ORDER = 35,
    F_ORDER_PLATFORM = 36,
    F_NOTIFICATION_DATA = 38,
    F_RING_RESET = 40,
    F_SUSPEND = 43,
};

struct features {
    uint64_t word[2]; /* bits 0-63, 64-127 */
};

static inline int features_has(const struct features *set, enum feature_bit bit)
{
    return (set->word[bit / 64] >> (bit % 64)) & 1;
}

static inline void features_add(struct features *set, enum feature_bit bit)
{
    set->word[bit / 64] |= 1ull << (bit % 64);
}

static inline void features_remove(struct features *set, enum feature_bit bit)
{
    set->word[bit / 64] &= ~(1ull << (bit % 64));
}

static inline int features_equal(const struct features *a, const struct features *b)
{
    return a->word[0] == b->word[0] && a->word[1] == b->word[1];
}

/* NULL for a bit that has no name. */
const char *feature_name(enum feature_bit bit);

/* -EINVAL and a sentence if a bit of the set lacks another that it needs. */
int features_check_closed(const struct features *set, struct error *err);
/* Drops bits until every one left has what it needs. */
void features_close(struct features *set);
/* -EINVAL and a sentence unless `set` is inside `offered` and closed. */
int features_check_agreeable(const struct features *set, const struct features *offered,
                             struct error *err);

/* One text value: the names, separated by spaces. */
void features_inspect(const struct features *set, const char *name, struct inspect *visitor);
