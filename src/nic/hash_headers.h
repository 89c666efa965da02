/* SPDX-License-Identifier: MIT */
/*
 * Which bytes of a frame the receive hash is made of: the addresses and ports of its IP packet, or
 * of the packet in its tunnel. Knows neither keys nor hash types.
 */
#pragma once

#include <stdint.h>

#include "nic/hash.h"
#include "nic/packet.h"

enum {
    IP_PROTOCOL_UNKNOWN = 255, /* a fragment, or cut short */
};

/* Pointers are borrowed from the frame's bytes. */
struct hash_headers {
    uint8_t version;        /* 4, 6, or 0: no whole IP header, and nothing below counts */
    uint8_t extended;       /* IPv6 extension headers, and all of them are there */
    uint8_t protocol;       /* of the transport header, which may still be cut short */
    uint32_t transport;     /* where it starts */
    uint32_t end;           /* of the packet, or of what is there of it */
    const uint8_t *address; /* source, and the destination behind it */
    const uint8_t *home;    /* source, or the home address option instead */
    const uint8_t *routed;  /* destination, or the address in a routing header of type 2 instead */
};

/* bytes: len bytes of a frame, Ethernet header first. */
void hash_headers_read(const uint8_t *bytes, uint32_t len, struct hash_headers *ret_headers);

/* If the outer packet is a tunnel of an enabled type (HASH_TUNNEL_…) and its inner packet's IP
 * header is whole: 1, and that packet. bytes: those that the outer one was read from. */
int hash_headers_read_inner(const uint8_t *bytes, const struct hash_headers *outer,
                            uint32_t tunnels, struct hash_headers *ret_inner);
