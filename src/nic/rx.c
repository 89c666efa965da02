/* SPDX-License-Identifier: MIT */
/*
 * Endpoint to guest: reserve, fill, commit. The window is a run of popped buffers, oldest first; a
 * reservation is the spans of as many as the frame may need, the commit consumes as many as it did,
 * and the end of the turn gives the rest back to the ring. No byte is copied here.
 */
#include "nic/pair.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "ring/ring_log.h"

static struct pair *pair_of(struct endpoint_rx *rx)
{
    return CONTAINER_OF(rx, struct pair, endpoint_rx);
}

static struct chain *window_chain(struct pair *pair, uint32_t index)
{
    return &pair->scratch->rx.chain[index];
}

static int usable(const struct pair *pair, const struct chain *chain)
{
    return chain->fault == CHAIN_FAULT_NONE && chain->writable_len >= pair->rules.header_len &&
           (pair->rules.mergeable || chain->writable_len > pair->rules.header_len);
}

void pair_rx_release(struct pair *pair)
{
    struct chain_batch *window = &pair->scratch->rx;

    virtqueue_unpop(&pair->rx, window, pair->window_first);
    chain_batch_reset(window);
    pair->window_first = 0;
    pair->window_stripped = 0;
}

/* Readable parts in front of writable ones are skipped: the writable spans of the window stay
 * adjacent. */
static void window_close_gaps(struct chain_batch *window, uint32_t first)
{
    struct iovec *to = window->chain[first].iov;

    for (uint32_t i = first; i < window->count; i++) {
        struct chain *chain = &window->chain[i];

        memmove(to, chain->iov + chain->readable_count,
                chain->writable_count * sizeof(struct iovec));
        chain->iov = to;
        chain->readable_count = 0;
        to += chain->writable_count;
    }
    window->iov_used = (uint32_t)(to - window->iov);
}

int pair_rx_window_grow(struct pair *pair)
{
    struct chain_batch *window = &pair->scratch->rx;
    uint32_t readable = 0;
    uint32_t before;

    if (pair->window_first == window->count)
        pair_rx_release(pair);
    before = window->count;
    if (virtqueue_pop(&pair->rx, window, PAIR_RX_POP) == 0)
        return 0;
    for (uint32_t i = before; i < window->count; i++)
        readable |= window->chain[i].readable_count;
    if (__builtin_expect(readable != 0, 0))
        window_close_gaps(window, before);
    return 1;
}

/* The window is full of consumed buffers at its front: start over from the first unused one. Not in
 * a ring that gives nothing (it latched, or waits for an IOMMU): what was popped of it is all there
 * is. */
static int window_restart(struct pair *pair)
{
    if (pair->window_first == 0 || pair->rx.resting || pair->rx.fault != QUEUE_FAULT_NONE)
        return 0;
    pair_rx_release(pair);
    return pair_rx_window_grow(pair);
}

static int window_more(struct pair *pair)
{
    const struct chain_batch *window = &pair->scratch->rx;

    if (pair_rx_window_grow(pair))
        return 1;
    return (window->count == window->capacity || 2 * window->iov_used > window->iov_capacity) &&
           window_restart(pair);
}

/* Completes the oldest buffer unused. */
static void window_discard(struct pair *pair)
{
    struct chain *chain = window_chain(pair, pair->window_first);

    if (chain->fault != CHAIN_FAULT_NONE)
        counter_add(&pair->stats.rx_bad_chain[chain->fault], 1);
    else
        counter_add(&pair->stats.rx_bad_buffer, 1);
    virtqueue_push(&pair->rx, chain->token, 0);
    pair->window_first++;
    pair->window_stripped = 0;
}

/* Bytes behind the header of a buffer; one in more pieces than a reservation gives ends where that
 * ends. */
static uint32_t room_behind(const struct pair *pair, const struct chain *chain,
                            const struct iovec *iov)
{
    const struct iovec *end = chain->iov + chain->writable_count;
    uint32_t room = 0;

    if (__builtin_expect(end - iov <= RESERVE_MAX_SPANS, 1))
        return chain->writable_len - pair->rules.header_len;
    for (unsigned i = 0; i < RESERVE_MAX_SPANS; i++)
        room += (uint32_t)iov[i].iov_len;
    return room;
}

/* Notes where the header of the oldest buffer goes, and what is behind it. */
static void window_strip(struct pair *pair)
{
    const struct chain *chain = window_chain(pair, pair->window_first);
    struct iovec *iov = chain->iov;
    uint32_t left = pair->rules.header_len;

    pair->header.count = 0;
    if (__builtin_expect(iov->iov_len > left, 1)) {
        pair->header.count = 1;
        pair->header.iov[0] = (struct iovec){.iov_base = iov->iov_base, .iov_len = left};
        iov->iov_base = (uint8_t *)iov->iov_base + left;
        iov->iov_len -= left;
        left = 0;
    }
    while (left != 0) {
        uint32_t part = (uint32_t)MIN(iov->iov_len, left);

        pair->header.iov[pair->header.count++] =
            (struct iovec){.iov_base = iov->iov_base, .iov_len = part};
        iov->iov_base = (uint8_t *)iov->iov_base + part;
        iov->iov_len -= part;
        left -= part;
        if (iov->iov_len == 0)
            iov++;
    }
    pair->window_iov = (uint32_t)(iov - pair->scratch->rx.iov);
    pair->window_room = room_behind(pair, chain, iov);
    pair->window_stripped = 1;
}

/* Makes the oldest buffer of the window one that can hold a header. 0 if the driver has none there,
 * or only bad ones for a whole ring's length: other pairs want their turn too. */
static int window_open(struct pair *pair)
{
    if (pair->window_stripped)
        return 1;
    for (unsigned i = 0; i <= pair->rx.size; i++) {
        if (pair->window_first == pair->scratch->rx.count && !pair_rx_window_grow(pair))
            return 0;
        if (usable(pair, window_chain(pair, pair->window_first))) {
            window_strip(pair);
            return 1;
        }
        window_discard(pair);
    }
    return 0;
}

/* A driver that waits for a frame to be dropped would wait for ever: buffers that can't get more
 * company, because all the ring holds is here or a bad one stands behind them, are too small for
 * good. */
static int window_stuck(const struct pair *pair, uint32_t end)
{
    const struct chain_batch *window = &pair->scratch->rx;

    return end < window->count || window->count - pair->window_first == pair->rx.size ||
           window->count == window->capacity;
}

/* Spans from where the frame begins to the end of a buffer. */
static uint32_t spans_up_to(const struct pair *pair, const struct chain *chain)
{
    const struct iovec *begin = &pair->scratch->rx.iov[pair->window_iov];

    return (uint32_t)(chain->iov + chain->writable_count - begin);
}

/* Gathers up to max bytes; -EAGAIN or -EMSGSIZE if there are fewer than min. */
static int window_gather(struct pair *pair, uint32_t min, uint32_t max, struct reservation *ret)
{
    struct chain_batch *window = &pair->scratch->rx;
    uint32_t end = pair->window_first + 1;
    uint32_t room = pair->window_room;

    while (pair->rules.mergeable && room < max) {
        uint32_t first = pair->window_first;

        if (end == window->count) {
            int more = window_more(pair);

            if (pair->window_first != first) /* the window was moved: it is to be gathered anew */
                return -EINTR;
            if (!more)
                break;
        }
        if (!usable(pair, &window->chain[end]) ||
            spans_up_to(pair, &window->chain[end]) > RESERVE_MAX_SPANS)
            break;
        room += window->chain[end++].writable_len;
    }
    *ret = (struct reservation){
        .iov = &window->iov[pair->window_iov],
        .iov_count = MIN(spans_up_to(pair, &window->chain[end - 1]), RESERVE_MAX_SPANS),
        .room = room};
    pair->window_reserved = room;
    if (room >= min)
        return 0;
    return !pair->rules.mergeable || window_stuck(pair, end) ? -EMSGSIZE : -EAGAIN;
}

/* The rest of the oldest buffer is all that is wanted, or all there can be. */
static int reserve_one(struct pair *pair, uint32_t min, uint32_t max, struct reservation *ret)
{
    if (pair->window_room < max && (pair->rules.mergeable || pair->window_room < min))
        return 0;
    *ret =
        (struct reservation){.iov = &pair->scratch->rx.iov[pair->window_iov],
                             .iov_count = spans_up_to(pair, window_chain(pair, pair->window_first)),
                             .room = pair->window_room};
    pair->window_reserved = pair->window_room;
    return ret->iov_count <= RESERVE_MAX_SPANS;
}

int pair_rx_reserve(struct pair *pair, uint32_t min, uint32_t max, struct reservation *ret)
{
    int result;

    if (!pair->rules.link_up || !pair->rx.running || pair->rx.resting & VIRTQUEUE_DISABLED ||
        pair->rx.fault != QUEUE_FAULT_NONE)
        return -ENETDOWN;
    do {
        result = -EAGAIN;
        if (!window_open(pair))
            break;
        if (__builtin_expect(reserve_one(pair, min, max, ret), 1))
            return 0;
        result = window_gather(pair, MAX(min, 1), MAX(min, max), ret);
    } while (result == -EINTR);
    if (result == -EAGAIN) {
        /* The ring may have latched just now: then there is nobody to wait for. */
        if (pair->rx.fault != QUEUE_FAULT_NONE)
            return -ENETDOWN;
        pair->rx_starved = 1;
        counter_add(&pair->stats.rx_starved, 1);
    }
    return result;
}

/* A frame that comes by a pair whose own ring can't take any may still be for another pair: RSS
 * looks at it in memory of ours. Endpoints with several pairs do not deliver inside send(), which
 * uses the same memory. */
static int rx_reserve(struct endpoint_rx *rx, uint32_t min, uint32_t max, struct reservation *ret)
{
    struct pair *pair = pair_of(rx);
    struct iovec *aside = &pair->scratch->gathered_iov;
    int result = pair_rx_reserve(pair, min, max, ret);

    pair->rx_aside = result == -ENETDOWN && pair->rules.link_up && pair->rules.rx != NULL &&
                     pair->rules.rx->rss.active;
    if (!pair->rx_aside)
        return result;
    *aside = (struct iovec){.iov_base = pair->scratch->gathered, .iov_len = FRAME_LEN_MAX};
    *ret = (struct reservation){.iov = aside, .iov_count = 1, .room = FRAME_LEN_MAX};
    pair->window_reserved = FRAME_LEN_MAX;
    return 0;
}

void pair_rx_count_drop(struct pair *pair, enum pair_rx_drop reason)
{
    counter_add(&pair->stats.rx_drop[reason], 1);
    pair->turn_rx++;
}

static void rx_drop(struct endpoint_rx *rx, int error)
{
    pair_rx_count_drop(pair_of(rx),
                       error == -EMSGSIZE ? PAIR_RX_DROP_TOO_BIG : PAIR_RX_DROP_LINK_DOWN);
}

static void count_offload(struct pair *pair, uint32_t len, const struct frame_offload *offload)
{
    struct pair_stats *stats = &pair->stats;

    if (offload->flags & FRAME_NEEDS_CSUM)
        counter_add(&stats->rx_needs_csum, 1);
    else if (offload->flags & FRAME_DATA_VALID)
        counter_add(&stats->rx_data_valid, 1);
    if (offload->gso_type != FRAME_GSO_NONE) {
        counter_add(&stats->rx_gso_packets, 1);
        counter_add(&stats->rx_gso_bytes, len);
    }
}

/* Finishes a partial checksum in the driver's own buffers. */
static int complete(struct pair *pair, uint32_t len, const struct frame_offload *offload)
{
    const struct chain_batch *window = &pair->scratch->rx;

    if (checksum_complete(&window->iov[pair->window_iov], window->iov_used - pair->window_iov, len,
                          offload->csum_start, offload->csum_offset) < 0)
        return -EINVAL;
    counter_add(&pair->stats.rx_csum_completed, 1);
    return 0;
}

/* Makes the frame one that this driver agreed to take, with the header for it. */
static int adapt(struct pair *pair, uint32_t len, const struct frame_offload *offload,
                 struct net_header *ret_header)
{
    const struct chain_batch *window = &pair->scratch->rx;
    const struct frame frame = {.iov = &window->iov[pair->window_iov],
                                .iov_count = window->iov_used - pair->window_iov,
                                .len = len,
                                .offload = *offload};
    uint32_t allowed = pair->rules.rx_offloads;

    if (offload->gso_type != FRAME_GSO_NONE && (frame_needs(&frame) & ~allowed) != 0)
        return -EINVAL;
    if (!(allowed & ENDPOINT_CSUM))
        return offload->flags & FRAME_NEEDS_CSUM ? complete(pair, len, offload) : 0;
    offload_to_header(offload, pair->rules.order, ret_header);
    count_offload(pair, len, offload);
    return 0;
}

/* Copies the header to where window_strip found room for it. */
static void header_write(const struct pair *pair, const struct net_header *header)
{
    const struct rx_header *at = &pair->header;
    uint32_t done = 0;

    for (uint32_t i = 0; i < at->count; i++) {
        memcpy(at->iov[i].iov_base, (const uint8_t *)header + done, at->iov[i].iov_len);
        done += (uint32_t)at->iov[i].iov_len;
    }
}

static int header_is_plain(const struct pair *pair, const struct frame_offload *offload)
{
    return (offload->flags | offload->gso_type | pair->rules.hash_report) == 0 &&
           pair->header.count == 1 && pair->rules.header_len == NET_HEADER_LEN;
}

/* How many buffers the frame filled. */
static uint16_t buffers_filled(struct pair *pair, uint32_t len)
{
    uint32_t at = pair->window_first;
    uint32_t room = pair->window_room;

    while (room < len)
        room += window_chain(pair, ++at)->writable_len;
    return (uint16_t)(at - pair->window_first + 1);
}

/* Pushes them: the first counts its header (virtio 1.4, 5.1.6.4). */
static void buffers_push(struct pair *pair, uint32_t len)
{
    uint32_t before = pair->rules.header_len;
    uint32_t room = pair->window_room;

    pair->window_stripped = 0;
    while (__builtin_expect(room < len, 0)) {
        virtqueue_push_part(&pair->rx, window_chain(pair, pair->window_first++)->token,
                            before + room);
        before = 0;
        len -= room;
        room = window_chain(pair, pair->window_first)->writable_len;
    }
    virtqueue_push(&pair->rx, window_chain(pair, pair->window_first++)->token, before + len);
}

/* virtio 1.4, 5.1.4.1: nothing above the agreed MTU; VLAN tags come on top. */
int pair_rx_oversize(const struct pair *pair, const struct frame *frame)
{
    return frame->offload.gso_type == FRAME_GSO_NONE && frame->len > pair->rules.frame_max &&
           frame->len > pair->rules.frame_max + frame_vlan_len(frame->iov, frame->iov_count);
}

/* The same for what lies at the front of the window. */
static int oversize(const struct pair *pair, uint32_t len, const struct frame_offload *offload)
{
    const struct chain_batch *window = &pair->scratch->rx;
    const struct frame frame = {.iov = &window->iov[pair->window_iov],
                                .iov_count = window->iov_used - pair->window_iov,
                                .len = len,
                                .offload = *offload};

    return pair_rx_oversize(pair, &frame);
}

static void hash_to_header(struct frame_hash hash, enum byte_order order, struct net_header *header)
{
    header->hash_value_low = word16_make((uint16_t)hash.value, order);
    header->hash_value_high = word16_make((uint16_t)(hash.value >> 16), order);
    header->hash_report = word16_make(hash.report, order);
}

/* A buffer that goes back unused is not noted, whatever lies in it: the driver has not got it. */
static void written_note(struct pair *pair, uint32_t len)
{
    ring_log_spans(&pair->rx, pair->header.iov, pair->rules.header_len);
    ring_log_spans(&pair->rx, &pair->scratch->rx.iov[pair->window_iov], len);
}

/* With offloads or a hash, or with its header in an odd place. 0, or it has to be dropped. */
static int place_whole(struct pair *pair, uint32_t len, const struct frame_offload *offload,
                       struct frame_hash hash)
{
    struct net_header header = {0};

    if ((offload->flags | offload->gso_type) != 0 && adapt(pair, len, offload, &header) < 0)
        return -EINVAL;
    header.num_buffers = word16_make(buffers_filled(pair, len), pair->rules.order);
    if (pair->rules.hash_report)
        hash_to_header(hash, pair->rules.order, &header);
    header_write(pair, &header);
    return 0;
}

void pair_rx_place(struct pair *pair, uint32_t len, const struct frame_offload *offload,
                   struct frame_hash hash)
{
    if (__builtin_expect(header_is_plain(pair, offload), 1)) {
        net_header_put_plain(pair->header.iov[0].iov_base,
                             word16_make(buffers_filled(pair, len), pair->rules.order));
    } else if (place_whole(pair, len, offload, hash) < 0) {
        pair_rx_count_drop(pair, PAIR_RX_DROP_OFFLOAD);
        return;
    }
    buffers_push(pair, len); /* with its header, the frame is whole (ring/inflight.h) */
    if (ring_log_on(&pair->rx))
        written_note(pair, len);
    pair->turn_rx++;
    if (++pair->turn_rx_packets % PAIR_RX_PUBLISH == 0)
        virtqueue_flush(&pair->rx);
    pair->turn_rx_bytes += len;
    pair->turn_rx_largest = MAX(pair->turn_rx_largest, len);
}

static void rx_commit(struct endpoint_rx *rx, uint32_t len, const struct frame_offload *offload)
{
    struct pair *pair = pair_of(rx);
    struct frame_hash hash = {0};

    assert(len <= pair->window_reserved); /* the endpoint's bug, never the peer's */
    if (len < FRAME_LEN_MIN) {
        pair_rx_count_drop(pair, PAIR_RX_DROP_RUNT);
        return;
    }
    if (__builtin_expect(pair->rx_aside, 0)) {
        if (pair_rx_admit(pair, &pair->scratch->gathered_iov, len, offload, &hash))
            pair_rx_count_drop(pair, PAIR_RX_DROP_LINK_DOWN);
        return;
    }
    if (__builtin_expect(pair->rules.rx != NULL, 0) &&
        !pair_rx_admit(pair, &pair->scratch->rx.iov[pair->window_iov], len, offload, &hash))
        return;
    if (__builtin_expect(len > pair->rules.frame_max, 0) && oversize(pair, len, offload))
        pair_rx_count_drop(pair, PAIR_RX_DROP_OVERSIZE);
    else
        pair_rx_place(pair, len, offload, hash);
}

const struct endpoint_rx_ops pair_rx_ops = {
    .reserve = rx_reserve,
    .commit = rx_commit,
    .drop = rx_drop,
    .deliver = pair_rx_deliver,
    .enter = pair_rx_enter,
    .leave = pair_rx_leave,
};

/* Less than the budget means that the endpoint has nothing more, or that the guest has no room. */
unsigned pair_rx_turn(struct pair *pair, unsigned budget)
{
    unsigned done;

    if (!pair->rx_ready)
        return 0;
    if (pair->ops == NULL || pair->ops->receive == NULL) {
        pair->rx_ready = 0;
        return 0;
    }
    done = pair->ops->receive(pair->endpoint_queue, budget);
    pair->rx_ready = done >= budget || pair->rx_starved;
    return done;
}
