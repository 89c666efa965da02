/* SPDX-License-Identifier: MIT */
/* Frames that lie in memory, of the endpoint or of another guest: copied into the guest's buffers;
 * cut first if they are larger than what this guest agreed to, merged if it takes larger ones. */
#include "nic/pair.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/span_copy.h"

enum {
    MERGE_LEN_MIN = 512, /* bytes of a frame that is worth the look */
};

/* 0, or what pair_rx_reserve said. What the guest may not have is not written into its buffers. */
static int place(struct pair *pair, const struct frame *frame, struct frame_hash hash)
{
    struct reservation room;
    int result;

    if (__builtin_expect(frame->len > pair->rules.frame_max, 0) && pair_rx_oversize(pair, frame)) {
        pair_rx_count_drop(pair, PAIR_RX_DROP_OVERSIZE);
        return 0;
    }
    result = pair_rx_reserve(pair, frame->len, frame->len, &room);
    if (__builtin_expect(result < 0, 0))
        return result;
    if (room.iov[0].iov_len >= frame->len && frame->iov[0].iov_len >= frame->len)
        memmove(room.iov[0].iov_base, frame->iov[0].iov_base, frame->len);
    else
        span_copy_across(room.iov, frame->iov, frame->len);
    pair_rx_place(pair, frame->len, &frame->offload, hash);
    return 0;
}

/* 1: done, delivered or dropped. 0: no room yet. */
static int place_or_drop(struct pair *pair, const struct frame *frame, struct frame_hash hash)
{
    int result = place(pair, frame, hash);

    if (result < 0 && result != -EAGAIN)
        pair_rx_count_drop(pair,
                           result == -EMSGSIZE ? PAIR_RX_DROP_TOO_BIG : PAIR_RX_DROP_LINK_DOWN);
    return result != -EAGAIN;
}

/* Segment by segment; goes on where the guest's buffers ended the last time. */
static int place_segments(struct pair *pair, const struct frame *frame, struct frame_hash hash,
                          uint16_t *resume)
{
    struct segmenter *segmenter = &pair->scratch->rx_segmenter;
    unsigned count;

    if (segmenter_begin(segmenter, frame, pair->rules.rx_offloads & ENDPOINT_CSUM) < 0) {
        pair_rx_count_drop(pair, PAIR_RX_DROP_OFFLOAD);
        return 1;
    }
    segmenter_skip(segmenter, *resume);
    while ((count = segmenter_next(segmenter)) != 0) {
        for (unsigned i = 0; i < count; i++, (*resume)++) {
            if (!place_or_drop(pair, &segmenter->frame[i], hash))
                return 0;
        }
    }
    counter_add(&pair->stats.rx_segmented, 1);
    return 1;
}

/* A guest may take segmented frames and yet have a ring too small for this one. */
int pair_rx_deliver_one(struct pair *pair, const struct frame *frame, struct frame_hash hash,
                        uint16_t *resume)
{
    int done;

    if (__builtin_expect(frame->offload.gso_type == FRAME_GSO_NONE, 1))
        return place_or_drop(pair, frame, hash);
    if (*resume == 0 && (frame_needs(frame) & ~pair->rules.rx_offloads) == 0) {
        int result = place(pair, frame, hash);

        if (result != -EMSGSIZE)
            return result != -EAGAIN;
    }
    done = place_segments(pair, frame, hash, resume);
    if (done)
        *resume = 0;
    return done;
}

/* Two frames of a bulk transfer look like this, for a guest that would rather have one. */
static int worth_merging(const struct pair *pair, const struct frame *frames, unsigned count)
{
    return count > 1 && frames[0].len >= MERGE_LEN_MIN && frames[1].len <= frames[0].len &&
           (pair->rules.rx_offloads & (ENDPOINT_TSO4 | ENDPOINT_TSO6)) != 0 &&
           frames[0].offload.gso_type == FRAME_GSO_NONE && pair->endpoint_rx.resume == 0;
}

/* How many frames the guest got as one; 0: they have to go one by one. What is merged is of one
 * flow, so what was admitted with the first is right for all. */
static unsigned deliver_merged(struct pair *pair, const struct frame *frames, unsigned count,
                               struct frame_hash hash)
{
    struct frame whole;
    unsigned merged =
        merge_frames(&pair->scratch->merger, frames, count, pair->rules.rx_offloads, &whole);

    if (merged == 1 || place(pair, &whole, hash) < 0)
        return 0;
    counter_add(&pair->stats.rx_merged, merged);
    counter_add(&pair->stats.rx_merged_bytes, whole.len);
    return merged;
}

unsigned pair_rx_deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count)
{
    struct pair *pair = CONTAINER_OF(rx, struct pair, endpoint_rx);
    struct frame_hash hash = {0};
    unsigned done = 0;

    while (done < count) {
        const struct frame *frame = &frames[done];
        unsigned merged = 0;

        if (__builtin_expect(frame->len < FRAME_LEN_MIN || frame->len > FRAME_LEN_MAX, 0)) {
            pair_rx_count_drop(pair, frame->len < FRAME_LEN_MIN ? PAIR_RX_DROP_RUNT
                                                                : PAIR_RX_DROP_OVERSIZE);
            done++;
            continue;
        }
        if (__builtin_expect(pair->rules.rx != NULL, 0) &&
            !pair_rx_admit(pair, frame->iov, frame->len, &frame->offload, &hash)) {
            pair->endpoint_rx.resume = 0;
            done++;
            continue;
        }
        if (worth_merging(pair, frame, count - done))
            merged = deliver_merged(pair, frame, count - done, hash);
        if (merged == 0 && !pair_rx_deliver_one(pair, frame, hash, &pair->endpoint_rx.resume))
            break;
        done += MAX(merged, 1);
    }
    return done;
}
