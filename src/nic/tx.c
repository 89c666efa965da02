/* SPDX-License-Identifier: MIT */
/* Guest to endpoint: pop a batch, parse each net header once, one send() for all, complete in
 * order. */
#include "nic/pair.h"

#include <string.h>

#include "base/checked.h"

/* A header spread over several spans. */
static void header_collect(const struct chain *chain, uint32_t header_len, struct frame *frame,
                           struct net_header *ret_header)
{
    struct iovec *iov = chain->iov;
    uint32_t done = 0;

    while (done < header_len) {
        uint32_t part = (uint32_t)MIN(iov->iov_len, header_len - done);

        memcpy((uint8_t *)ret_header + done, iov->iov_base, part);
        done += part;
        iov->iov_base = (uint8_t *)iov->iov_base + part;
        iov->iov_len -= part;
        if (iov->iov_len == 0) {
            iov++;
            frame->iov_count--;
        }
    }
    frame->iov = iov;
}

/* Moves the frame's spans behind the header, which was in one piece with it. */
static inline void header_skip(const struct chain *chain, struct frame *frame)
{
    struct iovec *iov = chain->iov;

    iov->iov_base = (uint8_t *)iov->iov_base + NET_HEADER_LEN;
    iov->iov_len -= NET_HEADER_LEN;
    frame->iov = iov;
}

/* Copies the header out of the chain and moves the frame's spans behind it. */
static void header_strip(const struct chain *chain, uint32_t header_len, struct frame *frame,
                         struct net_header *ret_header)
{
    frame->iov_count = chain->readable_count;
    if (__builtin_expect(header_len == NET_HEADER_LEN && chain->iov->iov_len > NET_HEADER_LEN, 1)) {
        memcpy(ret_header, chain->iov->iov_base, NET_HEADER_LEN);
        header_skip(chain, frame);
    } else {
        header_collect(chain, header_len, frame, ret_header);
    }
    __asm__ volatile("" ::: "memory"); /* only the copy is looked at from here on */
}

/* virtio 1.4, 5.1.6.2: without GSO a frame keeps to the MTU; VLAN tags come on top. */
static int oversize(const struct pair *pair, const struct frame *frame)
{
    return frame->offload.gso_type == FRAME_GSO_NONE &&
           __builtin_expect(frame->len > pair->rules.frame_max, 0) &&
           frame->len > pair->rules.frame_max + frame_vlan_len(frame->iov, frame->iov_count);
}

/* The verdict on one chain, and the frame in it. Counts nothing: the chain may yet go back to the
 * ring. */
static unsigned chain_parse(struct pair *pair, const struct chain *chain, struct frame *ret_frame)
{
    uint32_t header_len = pair->rules.header_len;
    struct net_header header;

    if (chain->fault != CHAIN_FAULT_NONE)
        return PAIR_TX_DROP_BAD_CHAIN;
    if (chain->readable_len < header_len + FRAME_LEN_MIN)
        return PAIR_TX_DROP_SHORT;
    if (chain->readable_len - header_len > FRAME_LEN_MAX)
        return PAIR_TX_DROP_OVERSIZE;
    if (!pair->rules.link_up || pair->endpoint_queue == NULL)
        return PAIR_TX_DROP_LINK_DOWN;
    header_strip(chain, header_len, ret_frame, &header);
    ret_frame->len = chain->readable_len - header_len;
    ret_frame->offload = (struct frame_offload){0};
    if (__builtin_expect(!pair->rules.tx_plain && !offload_is_plain(&header), 0) &&
        offload_from_header(&header, pair->rules.order, pair->rules.tx_offloads, ret_frame,
                            &ret_frame->offload) < 0)
        return PAIR_TX_DROP_BAD_HEADER;
    if (oversize(pair, ret_frame))
        return PAIR_TX_DROP_OVERSIZE;
    if (__builtin_expect(ret_frame->iov_count > FRAME_SPANS_MAX, 0))
        return pair->ops->reap != NULL ? PAIR_TX_DROP_SCATTERED : PAIR_TX_ALONE;
    if (__builtin_expect(ret_frame->offload.flags != 0, 0) &&
        (offload_needs(&ret_frame->offload) & ~pair->rules.tx_passed) != 0)
        return PAIR_TX_ALONE;
    return PAIR_TX_FRAME;
}

/* What came of a run of a batch's chains. */
struct run {
    uint32_t from;   /* first chain */
    uint32_t parsed; /* chains looked at: to the end of the batch, or up to one that goes alone */
    uint32_t frames; /* of which the endpoint gets so many */
    int noted;       /* which those are, in the scratch; else they are all of them */
    int alone;       /* the frame behind these, of the chain behind the parsed ones, goes alone */
    uint64_t bytes;
    uint32_t largest;
    uint32_t gso, needs_csum;
    uint64_t gso_bytes;
};

static void run_add_offload(struct run *run, const struct frame *frame)
{
    run->needs_csum++; /* GSO needs it too */
    if (frame->offload.gso_type != FRAME_GSO_NONE) {
        run->gso++;
        run->gso_bytes += frame->len;
    }
}

static void run_add(struct run *run, const struct frame *frame)
{
    run->frames++;
    run->bytes += frame->len;
    run->largest = MAX(run->largest, frame->len);
    if (__builtin_expect(frame->offload.flags != 0, 0))
        run_add_offload(run, frame);
}

/* What chain_simple goes by. */
struct simple {
    uint32_t len_max; /* of a chain with its header; 0: there are no simple ones */
    int plain;        /* headers are not looked at */
    int fetch;        /* the endpoint looks at frames */
};

static struct simple simple_of(const struct pair *pair)
{
    struct simple simple = {.plain = pair->rules.tx_plain, .fetch = !pair->rules.tx_unread};

    if (pair->rules.link_up && pair->endpoint_queue != NULL &&
        pair->rules.header_len == NET_HEADER_LEN)
        simple.len_max = NET_HEADER_LEN + MIN(pair->rules.frame_max, (uint32_t)FRAME_LEN_MAX);
    return simple;
}

/* The common chain: one span that is neither too short nor too long, and a header that asks for
 * nothing: one that may not, as nothing was agreed, is not even fetched from the driver's CPU.
 * 1: it is in *ret_frame; 0: chain_parse has to look at it. */
static inline int chain_simple(const struct chain *chain, const struct simple *simple,
                               struct frame *ret_frame)
{
    if (chain->kind != CHAIN_KIND_READABLE || chain->readable_len > simple->len_max ||
        chain->readable_len < NET_HEADER_LEN + FRAME_LEN_MIN ||
        (!simple->plain && !offload_is_plain_at(chain->iov->iov_base)))
        return 0;
    header_skip(chain, ret_frame);
    ret_frame->iov_count = 1;
    ret_frame->len = chain->readable_len - NET_HEADER_LEN;
    ret_frame->offload = (struct frame_offload){0};
    if (simple->fetch)
        __builtin_prefetch(ret_frame->iov->iov_base);
    return 1;
}

/* Frames from number `from` on are of the chains at `at` and behind. */
static void frames_note(struct pair_scratch *scratch, uint32_t from, uint32_t count, uint32_t at)
{
    for (uint32_t i = 0; i < count; i++) {
        scratch->verdict[at + i] = PAIR_TX_FRAME;
        scratch->frame_chain[from + i] = (uint16_t)(at + i);
    }
}

/* The simple chains at the front of a run; they are added to it. */
static void run_parse_simple(struct pair *pair, struct run *run)
{
    struct pair_scratch *scratch = pair->scratch;
    const struct simple simple = simple_of(pair);
    const struct chain *begin = &scratch->tx.chain[run->from + run->parsed];
    const struct chain *end = &scratch->tx.chain[scratch->tx.count];
    const struct chain *chain = begin;
    struct frame *frame = &scratch->frame[run->frames];
    uint64_t bytes = 0;
    uint32_t largest = run->largest;
    uint32_t count;

    for (; chain < end && chain_simple(chain, &simple, frame); chain++, frame++) {
        bytes += frame->len;
        largest = MAX(largest, frame->len);
    }
    count = (uint32_t)(chain - begin);
    if (run->noted)
        frames_note(scratch, run->frames, count, run->from + run->parsed);
    run->parsed += count;
    run->frames += count;
    run->bytes += bytes;
    run->largest = largest;
}

/* Any chain. 0: its frame goes alone. */
static int run_parse_one(struct pair *pair, struct run *run)
{
    struct pair_scratch *scratch = pair->scratch;
    uint32_t at = run->from + run->parsed;
    struct frame *frame = &scratch->frame[run->frames];
    unsigned verdict = chain_parse(pair, &scratch->tx.chain[at], frame);

    if (verdict == PAIR_TX_ALONE)
        return 0;
    if (verdict == PAIR_TX_FRAME) {
        if (run->noted)
            frames_note(scratch, run->frames, 1, at);
        run_add(run, frame);
    } else {
        if (!run->noted)
            frames_note(scratch, 0, run->frames, run->from);
        run->noted = 1;
        scratch->verdict[at] = (uint8_t)verdict;
    }
    run->parsed++;
    return 1;
}

static void run_parse(struct pair *pair, struct run *run)
{
    for (;;) {
        run_parse_simple(pair, run);
        if (run->from + run->parsed == pair->scratch->tx.count)
            return;
        if (!run_parse_one(pair, run)) {
            run->alone = 1;
            return;
        }
    }
}

/* The place among the run's chains of the one that frame number `index` is of. */
static uint32_t run_place(const struct pair_scratch *scratch, const struct run *run, uint32_t index)
{
    return run->noted ? scratch->frame_chain[index] - run->from : index;
}

/* The endpoint took only the first `sent` frames: the chains from the next one on are not done. */
static void run_cut(struct pair *pair, struct run *run, uint32_t sent)
{
    struct pair_scratch *scratch = pair->scratch;
    struct run cut = {
        .from = run->from, .parsed = run_place(scratch, run, sent), .noted = run->noted};

    for (uint32_t i = 0; i < sent; i++)
        run_add(&cut, &scratch->frame[i]);
    *run = cut;
    pair->tx_blocked = 1;
    counter_add(&pair->stats.tx_stalled, 1);
}

static void account(struct pair *pair, const struct run *run)
{
    struct pair_stats *stats = &pair->stats;

    counter_add(&stats->tx_packets, run->frames);
    counter_add(&stats->tx_bytes, run->bytes);
    counter_raise(&stats->tx_largest, run->largest);
    if (run->needs_csum == 0)
        return;
    counter_add(&stats->tx_needs_csum, run->needs_csum);
    counter_add(&stats->tx_gso_packets, run->gso);
    counter_add(&stats->tx_gso_bytes, run->gso_bytes);
}

static void drop_count(struct pair *pair, const struct chain *chain, unsigned verdict)
{
    counter_add(&pair->stats.tx_drop[verdict], 1);
    if (verdict == PAIR_TX_DROP_BAD_CHAIN)
        counter_add(&pair->stats.tx_bad_chain[chain->fault], 1);
}

/* Chain by chain: some were dropped, or an asynchronous endpoint keeps the frames. */
static void complete_each(struct pair *pair, const struct run *run)
{
    const struct pair_scratch *scratch = pair->scratch;
    int keeps = pair->flight.capacity != 0;

    for (uint32_t i = run->from; i < run->from + run->parsed; i++) {
        const struct chain *chain = &scratch->tx.chain[i];
        unsigned verdict = run->noted ? scratch->verdict[i] : PAIR_TX_FRAME;

        if (verdict != PAIR_TX_FRAME)
            drop_count(pair, chain, verdict);
        if (!keeps)
            virtqueue_push(&pair->tx, chain->token, 0);
        else if (verdict == PAIR_TX_FRAME)
            tx_flight_add(&pair->flight, chain->token);
        else
            tx_flight_add_done(&pair->flight, &pair->tx, chain->token);
    }
}

/* An asynchronous endpoint knows frames by the places in the line that they are about to take. */
static void tokens_assign(struct pair *pair, const struct run *run)
{
    struct pair_scratch *scratch = pair->scratch;
    const struct tx_flight *flight = &pair->flight;

    for (uint32_t i = 0; i < run->frames; i++)
        scratch->frame[i].token = flight->tail + run_place(scratch, run, i);
}

static void run_send(struct pair *pair, struct run *run)
{
    struct pair_scratch *scratch = pair->scratch;
    uint32_t sent = 0;

    pair->tx_resume = 0; /* if it was of the first of these, that does not go in segments now */
    if (pair->flight.capacity != 0)
        tokens_assign(pair, run);
    if (run->frames != 0)
        sent = pair->ops->send(pair->endpoint_queue, scratch->frame, run->frames);
    if (__builtin_expect(sent < run->frames, 0))
        run_cut(pair, run, sent);
    if (run->frames == run->parsed && pair->flight.capacity == 0)
        virtqueue_push_each(&pair->tx, &scratch->tx.chain[run->from], NULL, run->parsed);
    else
        complete_each(pair, run);
    account(pair, run);
}

/* The chain behind a run, whose frame was parsed with it. 1: done with. */
NEEDS_DATA static int alone_send(struct pair *pair, uint32_t at, struct frame *frame)
{
    struct run run = {.from = at, .parsed = 1, .noted = 1};
    unsigned verdict;

    run_add(&run, frame); /* as the guest sent it */
    verdict = pair_tx_alone(pair, frame);
    if (verdict == PAIR_TX_BLOCKED) {
        pair->tx_blocked = 1;
        counter_add(&pair->stats.tx_stalled, 1);
        return 0;
    }
    pair->scratch->verdict[at] = (uint8_t)verdict;
    complete_each(pair, &run);
    if (verdict == PAIR_TX_FRAME)
        account(pair, &run);
    return 1;
}

/* A driver can ask for a thousand segments a frame: a turn is not counted in frames alone. */
static int turn_is_full(const struct pair *pair)
{
    return pair->tx_blocked || pair->turn_tx_segments >= PAIR_TX_SEGMENTS;
}

/* One batch of popped chains; returns how many of them it finished with. */
NEEDS_DATA static uint32_t batch_send(struct pair *pair)
{
    struct pair_scratch *scratch = pair->scratch;
    uint32_t done = 0;

    while (done < scratch->tx.count && !turn_is_full(pair)) {
        struct run run = {.from = done};
        struct frame alone = {0};

        run_parse(pair, &run);
        if (run.alone)
            alone = scratch->frame[run.frames];
        if (run.parsed != 0)
            run_send(pair, &run);
        done += run.parsed;
        if (run.alone && !pair->tx_blocked)
            done += (uint32_t)alone_send(pair, done, &alone);
    }
    if (done != scratch->tx.count)
        virtqueue_unpop(&pair->tx, &scratch->tx, done);
    return done;
}

/* A line that is full moves on with the next completion. */
static unsigned batch_limit(struct pair *pair, unsigned wanted)
{
    wanted = MIN(wanted, (unsigned)PAIR_TX_BATCH);
    if (pair->flight.capacity == 0)
        return wanted;
    return MIN(wanted, tx_flight_room(&pair->flight));
}

unsigned pair_tx_turn(struct pair *pair, unsigned budget)
{
    struct chain_batch *batch = &pair->scratch->tx;
    unsigned done = 0;
    unsigned wanted, popped;

    pair->tx_blocked = 0;
    batch->peek = !pair->rules.tx_plain;
    do {
        wanted = batch_limit(pair, budget - done);
        chain_batch_reset(batch);
        popped = virtqueue_pop(&pair->tx, batch, wanted);
        if (popped == 0)
            break;
        done += batch_send(pair);
        /* Batch by batch: a driver with a small ring goes on while the next one is worked on. */
        virtqueue_flush(&pair->tx);
        /* With fewer than there was room for the ring was empty: the driver may add some before the
         * next turn looks at the lines that it writes. */
    } while (popped == wanted && done < budget && !turn_is_full(pair));
    return done;
}

/* Completions of an asynchronous endpoint. */
unsigned pair_tx_reap(struct pair *pair)
{
    struct pair_scratch *scratch = pair->scratch;
    unsigned done = 0;
    unsigned count;

    if (pair->flight.capacity == 0)
        return 0;
    do {
        count = pair->ops->reap(pair->endpoint_queue, scratch->token, PAIR_TX_BATCH);
        for (unsigned i = 0; i < count; i++)
            tx_flight_complete(&pair->flight, &pair->tx, scratch->token[i]);
        done += count;
    } while (count == PAIR_TX_BATCH);
    if (done != 0)
        virtqueue_flush(&pair->tx);
    return done;
}
