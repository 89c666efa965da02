/* SPDX-License-Identifier: MIT */
/* Frames that lie in memory, of the endpoint or of another guest: copied into the guest's buffers;
 * cut first if they are larger than what this guest agreed to, merged if it takes larger ones. */
#include "nic/pair.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/span_copy.h"
#include "ring/ring_log.h"

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
        copy_short(room.iov[0].iov_base, frame->iov[0].iov_base, frame->len);
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

/* ---- the common case ------------------------------------------------------------------------ */

/* Longest frame that simple_fits may take; 0: none. No rule looks at frames, there is nothing to be
 * said in their headers, nothing to merge, nobody is in the middle of a buffer, and no log wants to
 * know what was written. */
static uint32_t simple_len_max(const struct pair *pair)
{
    const struct pair_rules *rules = &pair->rules;

    if (rules->rx != NULL || rules->hash_report || !rules->link_up ||
        pair->endpoint_rx.resume != 0 || rules->header_len != NET_HEADER_LEN ||
        pair->window_stripped || !pair->rx.running || pair->rx.resting ||
        pair->rx.fault != QUEUE_FAULT_NONE || ring_log_on(&pair->rx))
        return 0;
    if (rules->rx_offloads & (ENDPOINT_TSO4 | ENDPOINT_TSO6))
        return MIN(rules->frame_max, (uint32_t)MERGE_LEN_MIN - 1);
    return MIN(rules->frame_max, (uint32_t)FRAME_LEN_MAX);
}

/* A frame in one piece that asks for nothing, and a buffer in one piece that has room for it.
 * Buffers with a fault have no spans. */
static inline int simple_fits(const struct frame *frame, const struct chain *chain,
                              uint32_t len_max)
{
    return frame->len <= len_max && frame->len >= FRAME_LEN_MIN && frame->iov_count == 1 &&
           frame->iov[0].iov_len >= frame->len &&
           (frame->offload.flags | frame->offload.gso_type) == 0 &&
           chain->kind == CHAIN_KIND_WRITABLE && chain->writable_len >= NET_HEADER_LEN + frame->len;
}

/* The frames at the front that go into a buffer each. */
struct filling {
    unsigned count;
    uint32_t largest; /* bytes of a frame */
    uint64_t bytes;
};

/* As far as the window's buffers and the frames are simple; not more than lie ready, nor than are
 * published at once. What is about to be written is noted in rx_len. */
static struct filling window_match(struct pair *pair, const struct frame *frames, unsigned count,
                                   uint32_t len_max)
{
    struct pair_scratch *scratch = pair->scratch;
    const struct chain *first = &scratch->rx.chain[pair->window_first];
    struct filling fill = {0};

    count = MIN(count, scratch->rx.count - pair->window_first);
    count = MIN(count, PAIR_RX_PUBLISH - pair->turn_rx_packets % PAIR_RX_PUBLISH);
    while (fill.count < count && simple_fits(&frames[fill.count], &first[fill.count], len_max)) {
        uint32_t len = frames[fill.count].len;

        scratch->rx_len[fill.count++] = NET_HEADER_LEN + len;
        fill.bytes += len;
        fill.largest = MAX(fill.largest, len);
    }
    return fill;
}

/* A loop of its own, and in it nothing else: the driver's CPU has these lines, and the fewer
 * instructions stand between the stores, the more lines are on their way at a time. */
static __attribute__((noinline)) void window_copy(const struct chain *chains,
                                                  const struct frame *frames, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        copy_short((uint8_t *)chains[i].iov[0].iov_base + NET_HEADER_LEN, frames[i].iov[0].iov_base,
                   frames[i].len);
}

/* A buffer a frame. Returns how many. */
static unsigned window_fill(struct pair *pair, const struct frame *frames, unsigned count,
                            uint32_t len_max)
{
    const struct chain *first = &pair->scratch->rx.chain[pair->window_first];
    struct filling fill = window_match(pair, frames, count, len_max);
    le16 one = word16_make(1, pair->rules.order);

    window_copy(first, frames, fill.count);
    for (unsigned i = 0; i < fill.count; i++)
        net_header_put_plain(first[i].iov[0].iov_base, one);
    virtqueue_push_each(&pair->rx, first, pair->scratch->rx_len, fill.count);
    pair->window_first += fill.count;
    pair->turn_rx += fill.count;
    pair->turn_rx_packets += fill.count;
    pair->turn_rx_bytes += fill.bytes;
    pair->turn_rx_largest = MAX(pair->turn_rx_largest, fill.largest);
    return fill.count;
}

/* The frames at the front that are simple; returns how many are delivered. */
static unsigned deliver_simple(struct pair *pair, const struct frame *frames, unsigned count)
{
    uint32_t len_max = simple_len_max(pair);
    unsigned done = 0;

    while (done < count && len_max != 0) {
        unsigned filled;

        if (pair->window_first == pair->scratch->rx.count && !pair_rx_window_grow(pair))
            break;
        filled = window_fill(pair, &frames[done], count - done, len_max);
        if (filled == 0)
            break;
        done += filled;
        if (pair->turn_rx_packets % PAIR_RX_PUBLISH == 0)
            virtqueue_flush(&pair->rx);
    }
    return done;
}

/* ---- any frame ------------------------------------------------------------------------------ */

/* How many of the frames are done with: as many as were merged, or one, or none for want of room.
 */
static unsigned deliver_any(struct pair *pair, const struct frame *frame, unsigned count)
{
    struct frame_hash hash = {0};
    unsigned merged = 0;

    if (frame->len < FRAME_LEN_MIN || frame->len > FRAME_LEN_MAX) {
        pair_rx_count_drop(pair,
                           frame->len < FRAME_LEN_MIN ? PAIR_RX_DROP_RUNT : PAIR_RX_DROP_OVERSIZE);
        return 1;
    }
    if (pair->rules.rx != NULL &&
        !pair_rx_admit(pair, frame->iov, frame->len, &frame->offload, &hash)) {
        pair->endpoint_rx.resume = 0;
        return 1;
    }
    if (worth_merging(pair, frame, count))
        merged = deliver_merged(pair, frame, count, hash);
    if (merged != 0)
        return merged;
    return (unsigned)pair_rx_deliver_one(pair, frame, hash, &pair->endpoint_rx.resume);
}

unsigned pair_rx_deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count)
{
    struct pair *pair = CONTAINER_OF(rx, struct pair, endpoint_rx);
    unsigned done = 0;

    while (done < count) {
        unsigned more = deliver_simple(pair, &frames[done], count - done);

        if (more == 0)
            more = deliver_any(pair, &frames[done], count - done);
        if (more == 0)
            break;
        done += more;
    }
    return done;
}
