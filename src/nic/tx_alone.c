/* SPDX-License-Identifier: MIT */
/* Frames that can't go to the endpoint as they lie in the guest's memory: in more pieces than it
 * takes, or asking for what it can't do. */
#include "nic/pair.h"

#include <string.h>

#include "base/span_copy.h"

/* All pieces become one, in the scratch's buffer. */
static void gather(struct pair_scratch *scratch, struct frame *frame)
{
    span_copy_out(scratch->gathered, frame->iov, frame->len);
    scratch->gathered_iov = (struct iovec){.iov_base = scratch->gathered, .iov_len = frame->len};
    frame->iov = &scratch->gathered_iov;
    frame->iov_count = 1;
}

/* The endpoint may stop anywhere: the next attempt begins behind the segments that it took. */
static unsigned send_segments(struct pair *pair, const struct frame *frame)
{
    struct segmenter *segmenter = &pair->scratch->tx_segmenter;
    unsigned count;

    if (segmenter_begin(segmenter, frame, pair->rules.tx_passed) < 0)
        return PAIR_TX_DROP_UNSEGMENTABLE;
    segmenter_skip(segmenter, pair->tx_resume);
    while ((count = segmenter_next(segmenter)) != 0) {
        unsigned sent = pair->ops->send(pair->endpoint_queue, segmenter->frame, count);

        for (unsigned i = 0; i < sent; i++)
            counter_add(&pair->stats.tx_segment_bytes, segmenter->frame[i].len);
        counter_add(&pair->stats.tx_segments, sent);
        pair->turn_tx_segments += sent;
        pair->tx_resume = (uint16_t)(pair->tx_resume + sent);
        if (sent < count)
            return PAIR_TX_BLOCKED;
    }
    counter_add(&pair->stats.tx_segmented, 1);
    counter_add(&pair->stats.tx_segmented_bytes, frame->len);
    return PAIR_TX_FRAME;
}

static unsigned send_whole(struct pair *pair, const struct frame *frame)
{
    pair->tx_resume = 0;
    return pair->ops->send(pair->endpoint_queue, frame, 1) == 1 ? PAIR_TX_FRAME : PAIR_TX_BLOCKED;
}

unsigned pair_tx_alone(struct pair *pair, struct frame *frame)
{
    unsigned verdict;

    if (frame->iov_count > FRAME_SPANS_MAX)
        gather(pair->scratch, frame);
    if ((offload_needs(&frame->offload) & ~pair->rules.tx_passed) == 0)
        return send_whole(pair, frame);
    verdict = send_segments(pair, frame);
    if (verdict != PAIR_TX_BLOCKED)
        pair->tx_resume = 0;
    return verdict;
}
