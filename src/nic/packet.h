/* SPDX-License-Identifier: MIT */
/*
 * Where the headers of an IP packet lie in a frame: Ethernet, up to two VLAN tags, IPv4 with
 * options or IPv6 with extension headers. Parses a private copy of the bytes, never guest memory.
 */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include "base/byteorder.h"

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,
    IP_PROTOCOL_TCP = 6,
    IP_PROTOCOL_UDP = 17,
    IPV4_HEADER_MIN = 20,
    IPV6_HEADER_LEN = 40,
    TCP_HEADER_MIN = 20,
    UDP_HEADER_LEN = 8,
    TCP_CSUM_OFFSET = 16,
    UDP_CSUM_OFFSET = 6,
    PACKET_HEADER_MAX = 256, /* bytes of headers that are looked at */
    PACKET_TUNNEL_MAX = 512, /* the same where they stand twice, with a tunnel's own in between */
};

/* Offsets count from the frame's first byte. */
struct packet {
    uint16_t ethertype;  /* IPv4 or IPv6 */
    uint8_t protocol;    /* of what stands at transport */
    uint8_t readdressed; /* its ends have other addresses than the IPv6 header names */
    uint16_t network;
    uint16_t fragmentable; /* the part that fragments may cut begins here (RFC 8200, 4.5) */
    uint16_t next_header;  /* the byte that tells what stands at fragmentable */
    uint16_t transport;
};

/* Copies up to max bytes from the front of the spans; returns how many there were. */
uint32_t packet_peek(const struct iovec *iov, uint32_t iov_count, uint8_t *ret_bytes, uint32_t max);

/* Ethertype behind up to two VLAN tags, and where the network header starts; 0 if it is cut short
 * or has more tags. */
uint16_t packet_ethertype(const uint8_t *bytes, uint32_t len, uint32_t *ret_network);

/* -EINVAL: not an IP packet whose headers, up to the transport header, lie within the bytes; or a
 * fragment; or extension headers that are not hop-by-hop, routing or destination options. */
int packet_parse(const uint8_t *bytes, uint32_t len, struct packet *ret_packet);
/* The same for an IP packet that begins at `network`, such as one inside a tunnel. */
int packet_parse_at(const uint8_t *bytes, uint32_t len, uint32_t network,
                    struct packet *ret_packet);
