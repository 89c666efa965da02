/* SPDX-License-Identifier: MIT */
/*
 * Software receive merging: of consecutive TCP segments of one flow, one large frame that says how
 * it was cut, so that the guest's stack is entered once. What segment.c would cut it into is what
 * was merged, checksums included: those that came are checked first, and a segment that came
 * damaged stays as it is, for the guest to see. Knows no ring and no pair.
 */
#pragma once

#include "endpoint/endpoint.h"
#include "nic/packet.h"

/* The headers of one segment, copied once: nothing else is believed. */
struct merge_piece {
    uint8_t header[PACKET_HEADER_MAX];
    struct packet packet;
    uint32_t header_len;
    uint32_t payload_len;
};

/* Work space; owned by a worker's scratch. What merge_frames made is valid until its next call. */
struct merger {
    struct iovec iov[FRAME_SPANS_MAX];
    struct merge_piece first; /* becomes the header of the merged frame */
    struct merge_piece next;
    uint32_t iov_count;
    uint32_t payload_len;
    uint32_t count;     /* of segments in it */
    uint16_t id_step;   /* from one IPv4 identification to the next: 0 or 1 */
    uint8_t last_flags; /* TCP's, of the last one */
};

/*
 * How many of the first frames make one (1 … count), and that one; its spans point into theirs.
 * With 1, it is the first as it is. takes: ENDPOINT_… bits that the receiver of the frame can do.
 *
 * The rules are those of Linux (tcp_gro_receive): headers equal but for lengths, checksums,
 * sequence and identification; no IPv4 options; PSH, FIN or a shorter segment end it; CWR begins
 * it.
 */
unsigned merge_frames(struct merger *merger, const struct frame *frames, unsigned count,
                      uint32_t takes, struct frame *ret_frame);
