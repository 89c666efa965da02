/* SPDX-License-Identifier: MIT */
#include "nic/patch.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/span_copy.h"

static struct patch *patch_of_outer(struct endpoint_rx *rx)
{
    return CONTAINER_OF(rx, struct pair, endpoint_rx)->patch;
}

static struct patch *patch_of_inner(struct endpoint_rx *rx)
{
    return CONTAINER_OF(CONTAINER_OF(rx, struct pair, endpoint_rx), struct patch, inner);
}

/* ---- from the outside in ---------------------------------------------------------------- */

/* Offers what is in the store. 1: it is empty. */
static int store_flush(struct patch *patch)
{
    struct pair *inner = &patch->inner;

    if (patch->holding)
        return patch->count == 0;
    if (patch->first < patch->count)
        patch->first += inner->ops->send(inner->endpoint_queue, &patch->frame[patch->first],
                                         patch->count - patch->first);
    if (patch->first < patch->count)
        return 0;
    patch->first = patch->count = 0;
    patch->store_len = 0;
    return 1;
}

static int has_room(const struct patch *patch, uint32_t len)
{
    return patch->count < PATCH_FRAMES && PATCH_STORE_LEN - patch->store_len >= len;
}

static int outer_reserve(struct endpoint_rx *rx, uint32_t min, uint32_t max,
                         struct reservation *ret)
{
    struct patch *patch = patch_of_outer(rx);

    (void)min;
    if (!has_room(patch, max) && !(store_flush(patch) && has_room(patch, max))) {
        patch->outer->rx_starved = 1;
        counter_add(&patch->outer->stats.rx_starved, 1);
        return -EAGAIN;
    }
    patch->reserved = PATCH_STORE_LEN - patch->store_len;
    patch->room =
        (struct iovec){.iov_base = patch->store + patch->store_len, .iov_len = patch->reserved};
    *ret = (struct reservation){.iov = &patch->room, .iov_count = 1, .room = patch->reserved};
    return 0;
}

static void store_add(struct patch *patch, uint32_t len, const struct frame_offload *offload)
{
    struct pair_stats *stats = &patch->outer->stats;

    patch->iov[patch->count] =
        (struct iovec){.iov_base = patch->store + patch->store_len, .iov_len = len};
    patch->frame[patch->count] = (struct frame){
        .iov = &patch->iov[patch->count], .iov_count = 1, .len = len, .offload = *offload};
    patch->count++;
    patch->store_len += len;
    counter_add(&stats->rx_packets, 1);
    counter_add(&stats->rx_bytes, len);
}

static void outer_commit(struct endpoint_rx *rx, uint32_t len, const struct frame_offload *offload)
{
    struct patch *patch = patch_of_outer(rx);

    if (len < FRAME_LEN_MIN || len > MIN(patch->reserved, FRAME_LEN_MAX)) {
        pair_rx_count_drop(patch->outer,
                           len < FRAME_LEN_MIN ? PAIR_RX_DROP_RUNT : PAIR_RX_DROP_OVERSIZE);
        return;
    }
    store_add(patch, len, offload);
}

static void outer_drop(struct endpoint_rx *rx, int error)
{
    pair_rx_count_drop(patch_of_outer(rx)->outer,
                       error == -EMSGSIZE ? PAIR_RX_DROP_TOO_BIG : PAIR_RX_DROP_LINK_DOWN);
}

/* By the store too: the endpoint may be inside its send(), where nothing can go in. */
static unsigned outer_deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count)
{
    struct patch *patch = patch_of_outer(rx);
    struct reservation room;

    for (unsigned i = 0; i < count; i++) {
        uint32_t len = frames[i].len;

        if (len > FRAME_LEN_MAX) {
            pair_rx_count_drop(patch->outer, PAIR_RX_DROP_OVERSIZE);
            continue;
        }
        if (outer_reserve(rx, len, len, &room) < 0)
            return i;
        span_copy_out(room.iov[0].iov_base, frames[i].iov, len);
        outer_commit(rx, len, &frames[i].offload);
    }
    return count;
}

static const struct endpoint_rx_ops outer_rx_ops = {
    .reserve = outer_reserve,
    .commit = outer_commit,
    .drop = outer_drop,
    .deliver = outer_deliver,
};

/* ---- from the inside out ---------------------------------------------------------------- */

static int goes_as_it_is(const struct pair *outer, const struct frame *frame)
{
    return frame->iov_count <= FRAME_SPANS_MAX &&
           (frame_needs(frame) & ~outer->rules.tx_passed) == 0;
}

/* 1: done with. */
NEEDS_DATA static int send_alone(struct pair *outer, const struct frame *frame)
{
    struct frame copy = *frame;
    unsigned verdict = pair_tx_alone(outer, &copy);

    if (verdict == PAIR_TX_BLOCKED)
        return 0;
    if (verdict != PAIR_TX_FRAME)
        counter_add(&outer->stats.tx_drop[verdict], 1);
    return 1;
}

ROLE_UNCHECKED static unsigned send_some(struct pair *outer, const struct frame *frames,
                                         unsigned count)
{
    unsigned run = 0;

    while (run < count && goes_as_it_is(outer, &frames[run]))
        run++;
    if (run == 0)
        return (unsigned)send_alone(outer, frames);
    outer->tx_resume = 0;
    return outer->ops->send(outer->endpoint_queue, frames, run);
}

/* Less than count: the outer endpoint is full. */
static unsigned inner_deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count)
{
    struct patch *patch = patch_of_inner(rx);
    struct pair *outer = patch->outer;
    unsigned done = 0, sent;
    uint64_t bytes = 0;

    outer->tx_resume = rx->resume;
    patch->holding++;
    do {
        sent = send_some(outer, frames + done, count - done);
        for (unsigned i = 0; i < sent; i++)
            bytes += frames[done + i].len;
        done += sent;
    } while (sent != 0 && done < count);
    patch->holding--;
    rx->resume = done < count ? outer->tx_resume : 0;
    counter_add(&outer->stats.tx_packets, done);
    counter_add(&outer->stats.tx_bytes, bytes);
    if (done < count) {
        outer->tx_blocked = 1;
        counter_add(&outer->stats.tx_stalled, 1);
    }
    return done;
}

/* A visit uses the visitor's scratch. */
static void inner_enter(struct endpoint_rx *rx, struct endpoint_rx *from)
{
    struct patch *patch = patch_of_inner(rx);

    patch->outer->scratch = CONTAINER_OF(from, struct pair, endpoint_rx)->scratch;
    patch->holding++;
}

/* What came in meanwhile, or did not go out whole, goes on in a turn of its own. */
static void inner_leave(struct endpoint_rx *rx)
{
    struct patch *patch = patch_of_inner(rx);

    patch->holding--;
    patch->outer->scratch = NULL;
    if (patch->count != 0 || patch->outer->endpoint_queue->unfinished)
        rx->waker->wake(rx->waker);
}

static const struct endpoint_rx_ops inner_rx_ops = {
    .deliver = inner_deliver,
    .enter = inner_enter,
    .leave = inner_leave,
};

/* ---- turns and life --------------------------------------------------------------------- */

unsigned patch_turn(struct patch *patch, struct pair_scratch *scratch, unsigned budget)
{
    struct pair *outer = patch->outer, *inner = &patch->inner;
    unsigned done = 0, kept;

    if (outer->ops == NULL || inner->ops == NULL)
        return 0;
    outer->scratch = inner->scratch = scratch;
    chain_batch_reset(&scratch->rx);
    outer->rx_ready |= outer->rx_starved;
    outer->rx_starved = 0;
    outer->tx_blocked = 0;
    outer->turn_tx_segments = 0;
    kept = patch->count - patch->first;
    done += inner->ops->receive(inner->endpoint_queue, budget);
    if (store_flush(patch) || outer->endpoint_queue->unfinished)
        done += pair_rx_turn(outer, budget);
    if (!store_flush(patch))
        outer->rx_starved = 1;
    done += kept - MIN(kept, patch->count - patch->first);
    outer->scratch = inner->scratch = NULL;
    return done;
}

int patch_init(struct patch *patch, struct pair *outer)
{
    *patch = (struct patch){.outer = outer};
    pair_init(&patch->inner, outer->index);
    patch->inner.endpoint_rx = outer->endpoint_rx;
    patch->inner.endpoint_rx.ops = &inner_rx_ops;
    outer->endpoint_rx.ops = &outer_rx_ops;
    outer->patch = patch;
    patch->store = malloc(PATCH_STORE_LEN);
    return patch->store == NULL ? -ENOMEM : 0;
}

void patch_free(struct patch *patch)
{
    free(patch->store);
    patch->store = NULL;
}

void patch_forget(struct patch *patch)
{
    patch->first = patch->count = 0;
    patch->store_len = 0;
    patch->inner.endpoint_rx.resume = 0;
}
