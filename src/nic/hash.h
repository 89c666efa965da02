/* SPDX-License-Identifier: MIT */
/*
 * The receive hash (virtio 1.4, 5.1.6.4.3): Toeplitz over the addresses and ports of a frame. Knows
 * frames as bytes only; nic/hash_headers.h finds what is hashed.
 */
#pragma once

#include <stdint.h>

/* virtio 1.4, 5.1.6.4.3.1: hash types, as bits; the report of a type is its bit's number plus 1. */
enum hash_type {
    HASH_IPV4 = 1u << 0,
    HASH_TCPV4 = 1u << 1,
    HASH_UDPV4 = 1u << 2,
    HASH_IPV6 = 1u << 3,
    HASH_TCPV6 = 1u << 4,
    HASH_UDPV6 = 1u << 5,
    HASH_IPV6_EX = 1u << 6,
    HASH_TCPV6_EX = 1u << 7,
    HASH_UDPV6_EX = 1u << 8,
    HASH_TYPES_ALL = 0x1ff,
};

/* virtio 1.4, 5.1.6.4.4: encapsulations whose inner header may be hashed. */
enum hash_tunnel {
    HASH_TUNNEL_GRE_2784 = 1u << 0,
    HASH_TUNNEL_GRE_2890 = 1u << 1,
    HASH_TUNNEL_GRE_7676 = 1u << 2,
    HASH_TUNNEL_GRE_UDP = 1u << 3,
    HASH_TUNNEL_VXLAN = 1u << 4,
    HASH_TUNNEL_VXLAN_GPE = 1u << 5,
    HASH_TUNNEL_GENEVE = 1u << 6,
    HASH_TUNNEL_IPIP = 1u << 7,
    HASH_TUNNEL_NVGRE = 1u << 8,
    HASH_TUNNELS_ALL = 0x1ff,
};

enum {
    HASH_INPUT_MAX = 36, /* two IPv6 addresses and two ports */
    HASH_KEY_MAX = 40,
    HASH_REPORT_NONE = 0,
    HASH_PEEK_LEN = 384, /* first bytes of a frame that are ever looked at */
};

struct hash_config {
    uint32_t types;            /* HASH_…; 0: nothing is hashed */
    uint32_t tunnels;          /* HASH_TUNNEL_… whose inner header is hashed instead */
    uint8_t key[HASH_KEY_MAX]; /* set by hash_set_key only */
    /* What each half of each byte of input adds to the hash under this key; hash_set_key's. */
    uint32_t window[2 * HASH_INPUT_MAX][16];
};

struct frame_hash {
    uint32_t value;
    uint16_t report; /* HASH_REPORT_NONE, or number of the hash type's bit plus 1 */
};

/* A key shorter than HASH_KEY_MAX is continued with zeros. */
void hash_set_key(struct hash_config *config, const uint8_t *key, unsigned key_len);

/* bytes: a private copy of the first len bytes of the frame, Ethernet header first. Never reads
 * behind len: a frame that is cut short or malformed is hashed at the level that is whole. */
struct frame_hash hash_compute(const struct hash_config *config, const uint8_t *bytes,
                               uint32_t len);
