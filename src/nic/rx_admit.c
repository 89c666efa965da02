/* SPDX-License-Identifier: MIT */
/* What the driver asked of reception, frame by frame: filters first, then the hash, then the pair
 * that RSS names (virtio 1.4, 5.1.6.4). Looks at private copies of the frame's first bytes. */
#include "nic/pair.h"

#include <string.h>

#include "base/checked.h"
#include "nic/packet.h"

static unsigned rss_target(const struct rss *rss, struct frame_hash hash)
{
    return hash.report == HASH_REPORT_NONE ? rss->unclassified : rss->table[hash.value & rss->mask];
}

/* What travels with a frame to another pair. */
struct steered {
    struct frame_offload offload;
    struct frame_hash hash;
};

_Static_assert(sizeof(struct steered) <= INBOX_NOTE_LEN, "the inbox keeps it");

static void hand_over(struct pair *pair, unsigned target, const struct frame *frame,
                      struct frame_hash hash)
{
    const struct pair_steer *to = &pair->siblings[target];
    struct steered steered = {.offload = frame->offload, .hash = hash};
    struct inbox_note note = {{0}};

    memcpy(note.bytes, &steered, sizeof(steered));
    if (inbox_put(to->inbox, frame->iov, frame->len, &note) < 0) {
        pair_rx_count_drop(pair, PAIR_RX_DROP_STEERED);
        return;
    }
    to->waker->wake(to->waker);
    counter_add(&pair->stats.rx_steered, 1);
    pair->turn_rx++;
}

int pair_rx_admit(struct pair *pair, const struct iovec *iov, uint32_t len,
                  const struct frame_offload *offload, struct frame_hash *ret_hash)
{
    const struct rx_rules *rules = pair->rules.rx;
    uint8_t bytes[HASH_PEEK_LEN];
    uint32_t want = rules->hash.types != 0 ? HASH_PEEK_LEN : RX_FILTER_PEEK_LEN;
    uint32_t have = packet_peek(iov, UINT32_MAX, bytes, MIN(len, want)); /* len bounds it */
    const struct frame frame = {.iov = iov, .len = len, .offload = *offload};

    *ret_hash = (struct frame_hash){0};
    if (!rx_filter_passes(&rules->filter, bytes, have)) {
        pair_rx_count_drop(pair, PAIR_RX_DROP_FILTERED);
        return 0;
    }
    if (rules->hash.types != 0)
        *ret_hash = hash_compute(&rules->hash, bytes, have);
    if (rules->rss.active && rss_target(&rules->rss, *ret_hash) != pair->index) {
        hand_over(pair, rss_target(&rules->rss, *ret_hash), &frame, *ret_hash);
        return 0;
    }
    return 1;
}

unsigned pair_rx_inbox_turn(struct pair *pair, unsigned budget)
{
    struct inbox_view view;
    unsigned done = 0;

    for (; done < budget && inbox_peek(pair->inbox, NULL, &view); done++) {
        struct frame frame = {.iov = view.iov, .iov_count = view.iov_count, .len = view.len};
        struct steered steered;

        memcpy(&steered, view.note->bytes, sizeof(steered));
        frame.offload = steered.offload;
        if (!pair_rx_deliver_one(pair, &frame, steered.hash, &pair->inbox_resume))
            break;
        inbox_drop(pair->inbox, &view);
    }
    return done;
}
