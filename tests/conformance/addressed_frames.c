/* SPDX-License-Identifier: MIT */
#include "addressed_frames.h"

#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "inet_words.h"

static uint8_t sent[NET_FRAME_MAX], got[NET_FRAME_MAX];

void frame_make(uint8_t *frame, uint32_t len, const uint8_t to[6], const uint8_t from[6],
                uint32_t seed)
{
    net_frame_make(frame, len, to, seed);
    memcpy(frame + 6, from, 6);
}

void frame_send(struct testbed_nic *nic, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                uint32_t seed)
{
    while (nic->net[0].tx_free_count < 2)
        net_driver_reap(&nic->net[0]);
    frame_make(sent, len, to, from, seed);
    net_driver_send(&nic->net[0], sent, len);
}

void frame_expect(struct testbed_nic *nic, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                  uint32_t seed)
{
    int got_len = net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS);

    check(got_len >= 0, "frame %u of %u bytes did not come to nic%u", seed, len, nic->index);
    assert_int_equal(got_len, len);
    frame_make(sent, len, to, from, seed);
    assert_memory_equal(got, sent, len);
}

void frame_expect_none(struct testbed_nic *nic)
{
    check(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_QUIET_MS) < 0,
          "nic%u got a frame that is not for it", nic->index);
}

const struct net_header frame_tcp_header = {.flags = FRAME_NEEDS_CSUM,
                                            .gso_type = FRAME_GSO_TCPV4,
                                            .hdr_len = FRAME_HEADERS_LEN,
                                            .gso_size = FRAME_SEGMENT_LEN,
                                            .csum_start = FRAME_TCP_AT,
                                            .csum_offset = 16};

static uint32_t pseudo_sum(const uint8_t *frame, uint32_t tcp_len)
{
    return inet_sum(frame + 26, 8, 6 + tcp_len);
}

void frame_make_tcp(uint8_t *frame, const uint8_t to[6], const uint8_t from[6],
                    uint32_t payload_len)
{
    uint8_t *ip = frame + 14, *tcp = frame + FRAME_TCP_AT;

    frame_make(frame, FRAME_HEADERS_LEN + payload_len, to, from, payload_len);
    memset(frame + 12, 0, FRAME_HEADERS_LEN - 12);
    put_be16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put_be16(ip + 2, 40 + payload_len);
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, "\x0a\0\0\1\x0a\0\0\2", 8);
    put_be16(ip + 10, ~inet_sum(ip, 20, 0));
    put_be16(tcp, 5001);
    put_be16(tcp + 2, 5002);
    tcp[12] = 0x50;
    tcp[13] = 0x10;
    put_be16(tcp + 16, pseudo_sum(frame, 20 + payload_len));
}

void frame_check_tcp(const uint8_t *frame, uint32_t payload_len)
{
    assert_int_equal(
        inet_sum(frame + FRAME_TCP_AT, 20 + payload_len, pseudo_sum(frame, 20 + payload_len)),
        0xffff);
}
