/* SPDX-License-Identifier: MIT */
/*
 * Large TCP segments between libslirp and the guest. libslirp works a segment at a time, so it is
 * told that the guest takes more at once: the MSS in the guest's SYN is raised on its way in, and
 * what comes out in answer is marked for segmentation to the MSS that the guest asked for. All else
 * that comes out larger than the guest's MTU is fragmented (RFC 791).
 *
 * At most half of libslirp's window at once, which is 64 KB less what is no whole segment of the
 * guest's: the fewer the better, because each one wakes the guest and is acknowledged, but with one
 * alone guest and host would take turns.
 */
#pragma once

#include "endpoint/endpoint.h"

struct segments {
    uint32_t mtu;       /* bytes of IP packet that the guest takes */
    uint32_t large_mtu; /* … that libslirp is to believe it takes */
    uint16_t mss[2];    /* what the guest asked for last, with IPv4 and IPv6; else what fits */
};

/* A frame from libslirp as the guest is to get it. */
struct segments_frame {
    struct frame frame;
    struct iovec iov[3];
    uint8_t checksum[2]; /* a partial one, in place of the frame's */
};

void segments_init(struct segments *segments, uint32_t mtu);
/* The guest's frame, in one piece and with its checksum complete, on its way in. */
void segments_take(struct segments *segments, uint8_t *bytes, uint32_t len);

/* Has a frame of libslirp's to be fragmented for this guest? */
int segments_too_large(const struct segments *segments, const uint8_t *bytes, uint32_t len);
/* Describes one that has not; borrows the bytes. */
void segments_give(const struct segments *segments, const uint8_t *bytes, uint32_t len,
                   struct segments_frame *ret);

/* Bytes of fragment number `index`, written to `ret_bytes` (as large as the frame); 0: there is no
 * such fragment. */
uint32_t segments_fragment(const struct segments *segments, const uint8_t *bytes, uint32_t len,
                           unsigned index, uint8_t *ret_bytes);
