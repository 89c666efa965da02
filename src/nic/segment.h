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

enum {
    SEGMENT_BATCH = 64,       /* frames that one call of next makes */
    SEGMENT_HEADER_MAX = 256, /* bytes of headers of a frame that can be segmented */
    SEGMENT_IOV_MAX = FRAME_SPANS_MAX + 4 * SEGMENT_BATCH,
};

/* Work space and state; owned by a worker's scratch. */
struct segmenter {
    /* What next() made; valid until the next call of begin or next. */
    struct frame frame[SEGMENT_BATCH];
    struct iovec iov[SEGMENT_IOV_MAX];
    uint8_t header[SEGMENT_BATCH][SEGMENT_HEADER_MAX];
    /* The rest is segment.c's. */
    struct frame original; /* its spans are borrowed until next() returned 0 */
};

/*
 * takes: ENDPOINT_… bits that the receiver of the new frames can do; with ENDPOINT_CSUM a partial
 * checksum stays partial, without it every checksum is complete. The frame has at most
 * FRAME_SPANS_MAX spans, and its offload fields were checked (offload_from_header). -EINVAL: its
 * headers do not make a frame that can be segmented; it must be dropped.
 */
int segmenter_begin(struct segmenter *segmenter, const struct frame *frame, uint32_t takes);

/* Makes the next frames, in order, into segmenter->frame; returns how many, 0 at the end. */
unsigned segmenter_next(struct segmenter *segmenter);

/* Leaves out the next `count` frames, which were sent before. */
void segmenter_skip(struct segmenter *segmenter, unsigned count);
