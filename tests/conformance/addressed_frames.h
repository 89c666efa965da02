/* SPDX-License-Identifier: MIT */
/* Frames between cards that have addresses: the seed names the bytes, `from` and `to` whom they are
 * of and for. */
#pragma once

#include "testbed.h"

enum { /* of a large TCP segment over IPv4 */
    FRAME_NEEDS_CSUM = 1,
    FRAME_GSO_TCPV4 = 1,
    FRAME_SEGMENT_LEN = 1448,
    FRAME_TCP_AT = 34,
    FRAME_HEADERS_LEN = 54,
};

void frame_make(uint8_t *frame, uint32_t len, const uint8_t to[6], const uint8_t from[6],
                uint32_t seed);
/* Waits for a free place in the ring. */
void frame_send(struct testbed_nic *nic, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                uint32_t seed);
/* The next frame of the NIC is this one. */
void frame_expect(struct testbed_nic *nic, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                  uint32_t seed);
void frame_expect_none(struct testbed_nic *nic);

/* A TCP segment whose checksum is only begun, and the header that has it cut. */
void frame_make_tcp(uint8_t *frame, const uint8_t to[6], const uint8_t from[6],
                    uint32_t payload_len);
extern const struct net_header frame_tcp_header;
/* The checksum of a TCP segment is right, whatever else is in it. */
void frame_check_tcp(const uint8_t *frame, uint32_t payload_len);
