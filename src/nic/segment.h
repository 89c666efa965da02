/* SPDX-License-Identifier: MIT */
/*
 * Software checksum and segmentation: of a frame whose offloads somebody can't take, frames that he
 * can. Used both ways, towards endpoints and towards guests. Knows no ring and no pair.
 *
 *   begin ─> next* (until it returns 0)
 *
 * Headers are copied and written anew; payload is not copied: the spans of the frames made point
 * into the spans of the original.
 */
#pragma once

#include "endpoint/endpoint.h"
#include "nic/packet.h"

enum {
    SEGMENT_BATCH = 64, /* frames that one call of next makes */
    /* Bytes of headers of a frame that can be segmented, with what is put in between them. */
    SEGMENT_HEADER_MAX = PACKET_HEADER_MAX,
    SEGMENT_IOV_MAX = FRAME_SPANS_MAX + 4 * SEGMENT_BATCH,
};

enum segmenter_kind {
    SEGMENTER_WHOLE,    /* the frame as it is */
    SEGMENTER_COMPLETE, /* the frame with its checksum finished */
    SEGMENTER_TCP,
    SEGMENTER_UDP,      /* datagrams */
    SEGMENTER_FRAGMENT, /* IP fragments of a datagram */
};

/* Work space and state; owned by a worker's scratch. */
struct segmenter {
    /* What next() made; valid until the next call of begin or next. */
    struct frame frame[SEGMENT_BATCH];
    struct iovec iov[SEGMENT_IOV_MAX];
    uint8_t header[SEGMENT_BATCH][SEGMENT_HEADER_MAX];
    /* The rest is segment.c's. */
    struct frame original; /* its spans are borrowed until next() returned 0 */
    uint32_t takes;
    enum segmenter_kind kind;
    struct packet packet;
    uint8_t copy[SEGMENT_HEADER_MAX]; /* of the headers: nothing else is believed */
    uint16_t pseudo;                  /* sum of addresses and protocol */
    uint32_t header_len;              /* bytes of copy that the first frame begins with */
    uint32_t split;                   /* bytes of copy that each later one begins with */
    uint32_t payload_at;              /* in the original */
    uint32_t payload_len;
    uint32_t size;  /* bytes behind split of each frame but the last */
    uint32_t count; /* of frames */
    uint32_t at;    /* the next one */
    uint32_t iov_used;
    uint32_t span; /* the next byte of the original */
    uint32_t span_offset;
    /* The original's spans, where it has nearly as many as a frame may have: three neighbours were
     * joined, so that headers of ours fit in. The least of 85 triples is as long as this at most.
     */
    struct iovec spans[FRAME_SPANS_MAX - 2];
    uint8_t joined[FRAME_LEN_MAX / 85 + 1];
};

/*
 * takes: ENDPOINT_… bits that the receiver of the new frames can do; with ENDPOINT_CSUM a partial
 * checksum stays partial, without it every checksum is complete. A frame that he can take as it is
 * comes out as it is; one in a UDP tunnel that he can't take is refused. The frame has at most
 * FRAME_SPANS_MAX spans, and its offload fields were checked (offload_from_header). -EINVAL: its
 * headers do not make a frame that can be segmented; it must be dropped.
 *
 * The IP packet ends where the frame ends. A length of 0, which drivers leave for whoever
 * segments, says so too; and what follows the packet in a frame of Ethernet's least length is
 * padding, and left out.
 */
int segmenter_begin(struct segmenter *segmenter, const struct frame *frame, uint32_t takes);

/* Makes the next frames, in order, into segmenter->frame; returns how many, 0 at the end. */
unsigned segmenter_next(struct segmenter *segmenter);

/* Leaves out the next `count` frames, which were sent before. */
void segmenter_skip(struct segmenter *segmenter, unsigned count);
