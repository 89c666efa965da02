/* SPDX-License-Identifier: MIT */
/*
 * The data path of the switch. A batch is taken apart into runs of frames that have the same way;
 * frames keep their order. Offloads are left as they are: what a receiver can't take, its own NIC
 * cuts and completes (nic/rx_deliver.c).
 */
#include "endpoint/switch/lan.h"

#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/span_copy.h"

enum {
    /* Verdicts on a frame: a port, or one of these. */
    TO_ALL = -1,
    DROPPED = -2, /* minus enum lan_drop */

    /* Types of Ethernet frames. */
    TYPE_ARP = 0x0806,
    TYPE_VLAN = 0x8100,
    TYPE_SERVICE_VLAN = 0x88a8,
};

#define MAC_RESERVED      0x0180c2000000ull
#define MAC_RESERVED_MASK 0xfffffffffff0ull

/* The first twelve bytes of a frame, destination and source, as they lie there. */
struct addresses {
    uint64_t first;
    uint64_t last; /* four bytes; ADDRESSES_NONE: no frame's */
};

#define ADDRESSES_NONE UINT64_MAX

/* What one call of send() knows. */
struct sender {
    struct lan_queue *queue;
    struct lan *lan;
    unsigned port;
    uint32_t flags;   /* of the port */
    uint64_t own_mac; /* guarded: the only source */
    uint32_t now_s;
    uint64_t learned; /* the last source that was learned; UINT64_MAX, no address: none */
    uint64_t found;   /* the last destination, and where it is; the same */
    int found_at;
    struct addresses same; /* of the last frame that was found its way, both of these */
};

/* What goes with a frame into an inbox. */
struct posted {
    struct frame_offload offload;
    uint16_t resume; /* segments that the guest has already */
    uint32_t generation;
};

_Static_assert(sizeof(struct posted) <= INBOX_NOTE_LEN, "the inbox keeps it");

static uint32_t seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint32_t)now.tv_sec;
}

static uint32_t flags_of(const struct lan_port *port)
{
    return atomic_load_explicit(&port->flags, memory_order_relaxed);
}

static struct lan_port *port_at(struct lan *lan, unsigned index)
{
    return atomic_load_explicit(&lan->port[index], memory_order_acquire);
}

/* ---- to one queue ----------------------------------------------------------------------- */

/* The same index where it is open, so that pairs of one worker stay together; else one by it. */
static struct lan_queue *queue_choose(struct lan_port *port, unsigned index)
{
    uint64_t open[LAN_PAIR_WORDS];
    unsigned count = 0;

    for (unsigned i = 0; i < LAN_PAIR_WORDS; i++) {
        open[i] = atomic_load_explicit(&port->open[i], memory_order_acquire);
        count += (unsigned)__builtin_popcountll(open[i]);
    }
    if (count == 0)
        return NULL;
    if (open[index / 64] >> index % 64 & 1)
        return atomic_load_explicit(&port->queue[index], memory_order_acquire);
    index %= count;
    for (unsigned i = 0; i < LAN_PAIR_WORDS; i++) {
        for (uint64_t left = open[i]; left != 0; left &= left - 1) {
            if (index-- == 0)
                return atomic_load_explicit(&port->queue[i * 64 + (unsigned)__builtin_ctzll(left)],
                                            memory_order_acquire);
        }
    }
    return NULL;
}

static void wake(struct lan_queue *queue)
{
    struct endpoint_waker *waker = atomic_load_explicit(&queue->waker, memory_order_acquire);

    waker->wake(waker);
}

static int put(struct lan_queue *to, const struct frame *frame, uint16_t resume)
{
    struct posted posted = {
        .offload = frame->offload,
        .resume = resume,
        .generation = atomic_load_explicit(&to->generation, memory_order_relaxed),
    };
    struct inbox_note note = {{0}};

    memcpy(note.bytes, &posted, sizeof(posted));
    return inbox_put(to->inbox, frame->iov, frame->len, &note) == 0;
}

/* Will the receiver take something soon? A guest that takes nothing holds nobody back, or (wait)
 * not for long; the other worker always gets to its inbox. */
static int worth_waiting(struct lan_queue *to)
{
    if (atomic_load_explicit(&to->worker, memory_order_acquire) == NULL)
        return 0;
    if (atomic_load_explicit(&to->full, memory_order_acquire) == 0)
        return 1;
    if (!(flags_of(to->port) & LAN_PORT_WAIT))
        return 0;
    return clock_now_ns() - atomic_load_explicit(&to->full_since_ns, memory_order_relaxed) <
           LAN_FULL_MS * CLOCK_MILLISECOND_NS;
}

static void drop_full(struct sender *sender, struct lan_queue *to)
{
    counter_add(&sender->queue->stats.drop[LAN_DROP_FULL], 1);
    atomic_fetch_add_explicit(&to->lost, 1, memory_order_relaxed);
}

/* From here on the receiver's worker wakes the sender when it has taken something. */
static void wait_announce(struct sender *sender, struct lan_queue *to)
{
    atomic_store_explicit(&sender->queue->blocked, 1, memory_order_relaxed);
    atomic_fetch_or_explicit(&to->waiters[sender->port / 64], 1ull << sender->port % 64,
                             memory_order_release);
    atomic_store_explicit(&to->wanted, 1, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst); /* partner: lan_wake_waiters */
}

/* 1: the frame is done with; 0: the sender waits. */
static int put_or_wait(struct sender *sender, struct lan_queue *to, const struct frame *frame)
{
    wait_announce(sender, to);
    if (!put(to, frame, 0)) {
        if (worth_waiting(to)) {
            counter_add(&sender->queue->stats.waited, 1);
            return 0;
        }
        drop_full(sender, to);
    }
    atomic_store_explicit(&sender->queue->blocked, 0, memory_order_relaxed);
    return 1;
}

enum patience {
    PATIENCE_NONE, /* one receiver of many */
    PATIENCE_SOME,
};

/* Into the inbox. `resume`: what the guest has of the first frame. Returns how many are done with;
 * fewer than count: the sender waits. */
static unsigned post(struct sender *sender, struct lan_queue *to, const struct frame *frames,
                     unsigned count, uint16_t resume, enum patience patience)
{
    unsigned done = 0;

    for (; done < count; done++, resume = 0) {
        if (__builtin_expect(put(to, &frames[done], resume), 1))
            continue;
        /* A frame that the guest has a part of can't be offered again. */
        if (patience == PATIENCE_NONE || resume != 0 || !worth_waiting(to))
            drop_full(sender, to);
        else if (!put_or_wait(sender, to, &frames[done]))
            break;
    }
    wake(to);
    return done;
}

/* Straight into the guest: the queue is this worker's. */
static unsigned visit(struct sender *sender, struct lan_queue *to, const struct frame *frames,
                      unsigned count, uint16_t *ret_resume)
{
    struct endpoint_rx *rx = to->rx;
    unsigned done;

    rx->ops->enter(rx, sender->queue->rx);
    done = rx->ops->deliver(rx, frames, count);
    rx->ops->leave(rx);
    *ret_resume = rx->resume;
    rx->resume = 0;
    counter_add(&sender->queue->stats.direct, done);
    return done;
}

static unsigned hand_over(struct sender *sender, struct lan_queue *to, const struct frame *frames,
                          unsigned count, enum patience patience)
{
    const void *worker = atomic_load_explicit(&to->worker, memory_order_acquire);
    uint16_t resume = 0;
    unsigned done = 0;

    if (worker == sender->queue->rx->worker && inbox_empty(to->inbox))
        done = visit(sender, to, frames, count, &resume);
    if (__builtin_expect(done < count, 0))
        done += post(sender, to, frames + done, count - done, resume, patience);
    return done;
}

/* ---- the way of a frame ----------------------------------------------------------------- */

static int may_talk(uint32_t from, uint32_t to)
{
    return !((from | to) & LAN_PORT_ISOLATED) || ((from | to) & LAN_PORT_UPLINK);
}

static int look_up(struct sender *sender, uint64_t mac)
{
    int at = mac_table_find(&sender->lan->table, mac, sender->now_s);

    if (at == MAC_TABLE_NONE)
        return TO_ALL;
    if (at == (int)sender->port)
        return DROPPED - LAN_DROP_SAME_PORT;
    if (!may_talk(sender->flags, flags_of(port_at(sender->lan, (unsigned)at))))
        return DROPPED - LAN_DROP_ISOLATED;
    return at;
}

static unsigned type_at(const uint8_t *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* An ARP packet in which the sender has another address than the card (RFC 826, ar$sha), or whose
 * beginning does not tell. The guard has copied it. */
static int arp_lies(const struct sender *sender, const struct frame *frame)
{
    const uint8_t *bytes = frame->iov[0].iov_base;
    size_t len = frame->iov[0].iov_len, at = LAN_ADDRESSES_LEN;

    for (unsigned i = 0; i < LAN_TAGS_MAX && at + 6 <= len; i++) {
        if (type_at(bytes + at) != TYPE_VLAN && type_at(bytes + at) != TYPE_SERVICE_VLAN)
            break;
        at += 4;
    }
    if (type_at(bytes + at) != TYPE_ARP)
        return 0;
    return at + 2 + 8 + 6 > len || mac_from_bytes(bytes + at + 2 + 8) != sender->own_mac;
}

/* Read once: the guest may change them at any time. */
static inline struct addresses addresses_read(const struct frame *frame)
{
    uint8_t bytes[LAN_ADDRESSES_LEN];
    const uint8_t *at = frame->iov[0].iov_base;
    uint64_t first;
    uint32_t last;

    if (__builtin_expect(frame->iov[0].iov_len < sizeof(bytes), 0)) {
        span_copy_out(bytes, frame->iov, sizeof(bytes));
        at = bytes;
    }
    memcpy(&first, at, sizeof(first));
    memcpy(&last, at + sizeof(first), sizeof(last));
    return (struct addresses){first, last};
}

/* A frame that has not the addresses of the one before. */
static __attribute__((noinline)) int judge_anew(struct sender *sender,
                                                const struct addresses *addresses)
{
    const uint32_t last = (uint32_t)addresses->last;
    uint8_t bytes[LAN_ADDRESSES_LEN];
    uint64_t to, from;

    memcpy(bytes, &addresses->first, sizeof(addresses->first));
    memcpy(bytes + sizeof(addresses->first), &last, sizeof(last));
    to = mac_from_bytes(bytes);
    from = mac_from_bytes(bytes + 6);
    if (from != sender->learned) {
        if (sender->flags & LAN_PORT_GUARDED && from != sender->own_mac)
            return DROPPED - LAN_DROP_SPOOFED;
        if (from & MAC_MULTICAST || from == 0)
            return DROPPED - LAN_DROP_BAD_SOURCE;
        mac_table_learn(&sender->lan->table, from, sender->port, sender->now_s);
        sender->learned = from;
    }
    if (to != sender->found) {
        if ((to & MAC_RESERVED_MASK) == MAC_RESERVED)
            return DROPPED - LAN_DROP_RESERVED;
        sender->found_at = to & MAC_MULTICAST ? TO_ALL : look_up(sender, to);
        sender->found = to;
    }
    sender->same = *addresses;
    return sender->found_at;
}

static inline int judge(struct sender *sender, const struct frame *frame)
{
    struct addresses addresses = addresses_read(frame);

    if (__builtin_expect(sender->flags & LAN_PORT_GUARDED, 0) && arp_lies(sender, frame))
        return DROPPED - LAN_DROP_SPOOFED;
    if (__builtin_expect(addresses.first == sender->same.first, 1) &&
        addresses.last == sender->same.last)
        return sender->found_at;
    return judge_anew(sender, &addresses);
}

static unsigned forward(struct sender *sender, unsigned at, const struct frame *frames,
                        unsigned count)
{
    struct lan_queue *to = queue_choose(port_at(sender->lan, at), sender->queue->index);
    unsigned done;

    if (__builtin_expect(to == NULL, 0)) {
        counter_add(&sender->queue->stats.drop[LAN_DROP_DOWN], count);
        return count;
    }
    done = hand_over(sender, to, frames, count, PATIENCE_SOME);
    counter_add(&sender->queue->stats.forwarded, done);
    return done;
}

static void flood_port(struct sender *sender, unsigned at, const struct frame *frames,
                       unsigned count)
{
    struct lan_port *port = port_at(sender->lan, at);
    struct lan_queue *to;

    if (at == sender->port || !may_talk(sender->flags, flags_of(port)))
        return;
    to = queue_choose(port, sender->queue->index);
    if (to == NULL)
        return;
    counter_add(&sender->queue->stats.flood_copies,
                hand_over(sender, to, frames, count, PATIENCE_NONE));
}

/* A guest that sends to everybody does not keep the worker from the others: what is above the
 * bound comes in the next turn. */
static unsigned flood(struct sender *sender, const struct frame *frames, unsigned count)
{
    struct lan_queue *queue = sender->queue;
    uint64_t active[LAN_PORT_WORDS];
    unsigned ports = 0;

    for (unsigned i = 0; i < LAN_PORT_WORDS; i++) {
        active[i] = atomic_load_explicit(&sender->lan->active[i], memory_order_acquire);
        ports += (unsigned)__builtin_popcountll(active[i]);
    }
    count = MIN(count, queue->flood_left / MAX(ports, 1));
    for (unsigned i = 0; i < LAN_PORT_WORDS && count != 0; i++) {
        for (uint64_t left = active[i]; left != 0; left &= left - 1)
            flood_port(sender, i * 64 + (unsigned)__builtin_ctzll(left), frames, count);
    }
    queue->flood_left -= count * ports;
    counter_add(&queue->stats.flooded, count);
    return count;
}

static unsigned run_send(struct sender *sender, int verdict, const struct frame *frames,
                         unsigned count)
{
    unsigned done;

    if (__builtin_expect(verdict >= 0, 1))
        return forward(sender, (unsigned)verdict, frames, count);
    if (verdict != TO_ALL) {
        counter_add(&sender->queue->stats.drop[DROPPED - verdict], count);
        return count;
    }
    done = flood(sender, frames, count);
    if (done < count)
        wake(sender->queue);
    return done;
}

static unsigned send_runs(struct sender *sender, const struct frame *frames, unsigned count)
{
    unsigned done = 0;

    while (done < count) {
        int verdict = judge(sender, &frames[done]);
        unsigned run = 1;
        unsigned sent;

        while (done + run < count && judge(sender, &frames[done + run]) == verdict)
            run++;
        sent = run_send(sender, verdict, &frames[done], run);
        done += sent;
        if (__builtin_expect(sent < run, 0))
            break;
    }
    return done;
}

/* ---- guarded ports ---------------------------------------------------------------------- */

/* The same frame behind a copy of its beginning. Returns how many spans it took; 0: too many are
 * taken already. */
static unsigned guard_frame(const struct frame *frame, uint8_t *begin, struct iovec *iov,
                            unsigned room, struct frame *ret_frame)
{
    uint32_t skip = MIN(frame->len, (uint32_t)LAN_GUARDED_LEN);
    unsigned used = 1;

    if (frame->iov_count + 1 > room)
        return 0;
    span_copy_out(begin, frame->iov, skip);
    iov[0] = (struct iovec){.iov_base = begin, .iov_len = skip};
    for (unsigned i = 0; i < frame->iov_count; i++) {
        const struct iovec *span = &frame->iov[i];
        size_t part = MIN(span->iov_len, skip);

        skip -= (uint32_t)part;
        if (span->iov_len != part)
            iov[used++] = (struct iovec){.iov_base = (uint8_t *)span->iov_base + part,
                                         .iov_len = span->iov_len - part};
    }
    *ret_frame = *frame;
    ret_frame->iov = iov;
    ret_frame->iov_count = used;
    return used;
}

static unsigned send_guarded(struct sender *sender, const struct frame *frames, unsigned count)
{
    struct lan_guard *guard = sender->queue->guard;
    unsigned done = 0;

    while (done < count) {
        unsigned batch = 0, spans = 0, used = 1, sent;

        while (batch < MIN(count - done, LAN_GUARD_BATCH) && used != 0) {
            used = guard_frame(&frames[done + batch], guard->begin[batch], guard->iov + spans,
                               LAN_GUARD_SPANS - spans, &guard->frame[batch]);
            spans += used;
            batch += used != 0;
        }
        sent = send_runs(sender, guard->frame, batch);
        done += sent;
        if (sent < batch)
            break;
    }
    return done;
}

unsigned lan_send(struct endpoint_queue *endpoint_queue, const struct frame *frames, unsigned count)
{
    struct lan_queue *queue = (struct lan_queue *)endpoint_queue;
    struct lan_port *port = queue->port;
    struct sender sender = {
        .queue = queue,
        .lan = port->lan,
        .port = port->index,
        .flags = flags_of(port),
        .own_mac = atomic_load_explicit(&port->mac, memory_order_relaxed),
        .now_s = seconds_now(),
        .learned = UINT64_MAX,
        .found = UINT64_MAX,
        .same.last = ADDRESSES_NONE,
    };

    queue->flood_left = LAN_FLOOD_MAX;
    if (__builtin_expect(sender.flags & LAN_PORT_GUARDED, 0))
        return send_guarded(&sender, frames, count);
    return send_runs(&sender, frames, count);
}

/* ---- receiving -------------------------------------------------------------------------- */

void lan_wake_waiters(struct lan_queue *queue)
{
    struct lan *lan = queue->port->lan;

    atomic_thread_fence(memory_order_seq_cst); /* partner: wait_announce */
    if (atomic_load_explicit(&queue->wanted, memory_order_relaxed) == 0)
        return;
    atomic_exchange_explicit(&queue->wanted, 0, memory_order_acq_rel);
    for (unsigned i = 0; i < LAN_PORT_WORDS; i++) {
        uint64_t left = atomic_exchange_explicit(&queue->waiters[i], 0, memory_order_acq_rel);

        for (; left != 0; left &= left - 1) {
            struct lan_port *port = port_at(lan, i * 64 + (unsigned)__builtin_ctzll(left));

            for (unsigned at = 0; at < LAN_PAIRS_MAX; at++) {
                struct lan_queue *waiting =
                    atomic_load_explicit(&port->queue[at], memory_order_acquire);

                if (waiting != NULL &&
                    atomic_exchange_explicit(&waiting->blocked, 0, memory_order_relaxed) != 0)
                    wake(waiting);
            }
        }
    }
}

void lan_inbox_clear(struct lan_queue *queue)
{
    struct inbox_view view;

    while (inbox_peek(queue->inbox, NULL, &view)) {
        counter_add(&queue->stats.late, 1);
        inbox_drop(queue->inbox, &view);
    }
    queue->begun = 0;
}

/* What the inbox holds, up to a frame that has to be offered by itself. */
static unsigned inbox_look(struct lan_queue *queue, struct inbox_view *views, struct frame *frames,
                           unsigned max)
{
    unsigned generation = atomic_load_explicit(&queue->generation, memory_order_relaxed);
    unsigned count = 0;

    while (count < max &&
           inbox_peek(queue->inbox, count == 0 ? NULL : &views[count - 1], &views[count])) {
        struct inbox_view *view = &views[count];
        struct posted posted;

        memcpy(&posted, view->note->bytes, sizeof(posted));
        if (count != 0 && (posted.resume != 0 || posted.generation != generation))
            break;
        if (posted.generation != generation) {
            counter_add(&queue->stats.late, 1);
            inbox_drop(queue->inbox, view);
            continue;
        }
        if (count == 0 && !queue->begun)
            queue->rx->resume = posted.resume;
        frames[count++] = (struct frame){.iov = view->iov,
                                         .iov_count = view->iov_count,
                                         .len = view->len,
                                         .offload = posted.offload};
    }
    return count;
}

static void full_begin(struct lan_queue *queue)
{
    if (atomic_load_explicit(&queue->full, memory_order_relaxed) != 0)
        return;
    atomic_store_explicit(&queue->full_since_ns, clock_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&queue->full, 1, memory_order_release);
    lan_port_time_full(queue->port);
}

unsigned lan_receive(struct endpoint_queue *endpoint_queue, unsigned budget)
{
    struct lan_queue *queue = (struct lan_queue *)endpoint_queue;
    struct inbox_view views[LAN_TAKE_BATCH];
    struct frame frames[LAN_TAKE_BATCH];
    unsigned done = 0, count, taken;

    do {
        count = inbox_look(queue, views, frames, MIN(budget - done, LAN_TAKE_BATCH));
        taken = count == 0 ? 0 : queue->rx->ops->deliver(queue->rx, frames, count);
        if (taken != 0)
            inbox_drop(queue->inbox, &views[taken - 1]);
        queue->begun = taken < count;
        done += taken;
        if (taken != 0 && atomic_load_explicit(&queue->full, memory_order_relaxed) != 0)
            atomic_store_explicit(&queue->full, 0, memory_order_release);
    } while (taken == count && count != 0 && done < budget);
    if (taken < count)
        full_begin(queue);
    counter_add(&queue->stats.taken, done);
    lan_wake_waiters(queue);
    return done;
}
