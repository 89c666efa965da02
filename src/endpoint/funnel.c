/* SPDX-License-Identifier: MIT */
/*
 * An endpoint with more queue pairs than the one inside it has: what a card with several pairs gets
 * when it is moved to a NAT network or a stream. Pairs that the inner endpoint has are its own;
 * what the guest sends on the others is carried over to one of these (a lane each, endpoint/lane.h)
 * and sent by its worker. Frames for the guest come by the inner endpoint's pairs only.
 *
 * The inner endpoint is a synchronous one: a frame is done with when it is in the lane.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/counter.h"
#include "endpoint/catalog.h"
#include "endpoint/lane.h"

/* A pair that the inner endpoint has not. */
struct funnel_lane {
    struct lane lane;
    _Atomic(struct endpoint_waker *) waker; /* borrowed; rung when the writer waits for room */
    counter tx_carried;                     /* frames; written by the pair's worker, like these */
    counter tx_full;                        /* times there was no room */
    counter tx_dropped;                     /* the pair that sends for it was not open */
};

enum {
    NOBODY = -1u
};

/* A pair that it has, and what it carries for others. */
struct funnel_main {
    _Atomic(struct endpoint_waker *) waker; /* borrowed; rung when a lane gets frames */
    atomic_int open; /* written by the control thread; there is somebody to carry to */
    /* Who got nothing into the inner queue has the next place there, so that nobody always comes
     * too late. By pair; NOBODY: there is none. These three are the main pair's worker's. */
    unsigned first;
    int held;  /* the inner queue has refused frames since the last main_receive */
    int tried; /* the pair itself has sent since then */
};

struct funnel_queue {
    struct endpoint_queue base;
    unsigned index;
    struct endpoint_queue *inner; /* owned; NULL: a lane's */
    struct frame frame[LANE_BATCH];
    struct iovec iov[LANE_BATCH];
};

struct funnel {
    struct endpoint base;
    struct endpoint_ops ops; /* what base.ops points to: those that the inner endpoint has */
    struct endpoint *inner;  /* owned */
    unsigned pairs, inner_pairs;
    struct funnel_main *main;  /* owned, by pair: inner_pairs of them */
    struct funnel_lane **lane; /* owned, by pair; NULL for those of the inner endpoint */
};

static void ring(_Atomic(struct endpoint_waker *) *at)
{
    struct endpoint_waker *waker = atomic_load_explicit(at, memory_order_relaxed);

    waker->wake(waker);
}

static struct funnel *funnel_of(struct endpoint_queue *queue)
{
    return (struct funnel *)queue->endpoint;
}

/* Who sends for the pair. */
static struct funnel_main *main_of(struct funnel *funnel, unsigned index)
{
    return &funnel->main[index % funnel->inner_pairs];
}

/* ---- a pair of the inner endpoint --------------------------------------------------------- */

/* A full inner queue is waited for whoever was refused. */
static void main_note(struct funnel_queue *queue)
{
    const struct funnel_main *main = &funnel_of(&queue->base)->main[queue->index];

    queue->base.unfinished = queue->inner->unfinished || main->first != NOBODY || main->held;
}

static unsigned main_send(struct funnel_queue *queue, unsigned pair, const struct frame *frames,
                          unsigned count)
{
    struct funnel *funnel = funnel_of(&queue->base);
    struct funnel_main *main = &funnel->main[queue->index];
    unsigned taken;

    main->tried |= pair == queue->index;
    if (main->first != NOBODY && main->first != pair)
        return 0;
    taken = funnel->inner->ops->send(queue->inner, frames, count);
    main->first = taken == 0 ? pair : NOBODY; /* who got a part of the room has had its turn */
    main->held |= taken < count;
    main_note(queue);
    return taken;
}

/* Up to `budget` frames of one lane; returns how many. */
static unsigned lane_carry(struct funnel_queue *queue, unsigned pair, unsigned budget)
{
    struct funnel_lane *lane = funnel_of(&queue->base)->lane[pair];
    unsigned done = 0;

    while (done < budget) {
        unsigned count = lane_peek(&lane->lane, queue->frame, queue->iov);
        unsigned sent = count == 0 ? 0 : main_send(queue, pair, queue->frame, count);

        if (lane_pop(&lane->lane, sent))
            ring(&lane->waker);
        done += sent;
        if (sent < LANE_BATCH)
            return done;
    }
    return done;
}

static unsigned lanes_carry(struct funnel_queue *queue, unsigned budget)
{
    struct funnel *funnel = funnel_of(&queue->base);
    unsigned done = 0;

    for (unsigned i = queue->index + funnel->inner_pairs; i < funnel->pairs;
         i += funnel->inner_pairs)
        done += lane_carry(queue, i, budget);
    return done;
}

static unsigned main_receive(struct funnel_queue *queue, unsigned budget)
{
    struct funnel *funnel = funnel_of(&queue->base);
    struct funnel_main *main = main_of(funnel, queue->index);
    const struct endpoint_ops *inner = funnel->inner->ops;
    unsigned carried, received = 0;
    int others_first, again;

    if (main->first == queue->index && !main->tried)
        main->first = NOBODY; /* its turn to send has been: the frame went with its ring */
    main->tried = 0;
    others_first = main->first != NOBODY && main->first != queue->index;
    carried = lanes_carry(queue, budget);
    if (inner->receive != NULL)
        received = inner->receive(queue->inner, budget);
    main_note(queue);
    main->held = 0;
    again = others_first && main->first == NOBODY; /* the pair itself was held back by that */
    return again || carried >= budget ? budget : received;
}

/* ---- the others --------------------------------------------------------------------------- */

static unsigned lane_send(struct funnel_queue *queue, const struct frame *frames, unsigned count)
{
    struct funnel *funnel = funnel_of(&queue->base);
    struct funnel_lane *lane = funnel->lane[queue->index];
    struct funnel_main *main = main_of(funnel, queue->index);
    unsigned taken = 0;

    if (!atomic_load_explicit(&main->open, memory_order_acquire)) {
        counter_add(&lane->tx_dropped, count);
        return count;
    }
    while (taken < count && lane_put(&lane->lane, &frames[taken]))
        taken++;
    counter_add(&lane->tx_carried, taken);
    counter_add(&lane->tx_full, taken < count);
    if (taken != 0)
        ring(&main->waker);
    return taken;
}

/* ---- the contract ------------------------------------------------------------------------- */

static unsigned funnel_send(struct endpoint_queue *endpoint_queue, const struct frame *frames,
                            unsigned count)
{
    struct funnel_queue *queue = (struct funnel_queue *)endpoint_queue;

    return queue->inner != NULL ? main_send(queue, queue->index, frames, count)
                                : lane_send(queue, frames, count);
}

static unsigned funnel_receive(struct endpoint_queue *endpoint_queue, unsigned budget)
{
    struct funnel_queue *queue = (struct funnel_queue *)endpoint_queue;

    return queue->inner != NULL ? main_receive(queue, budget) : 0;
}

static int funnel_wait_fd(struct endpoint_queue *endpoint_queue)
{
    struct funnel_queue *queue = (struct funnel_queue *)endpoint_queue;
    struct funnel *funnel = funnel_of(endpoint_queue);

    return queue->inner != NULL ? funnel->inner->ops->wait_fd(queue->inner) : -1;
}

/* What the others left while nobody sent for them is old. */
static void lanes_clear(struct funnel *funnel, unsigned index)
{
    for (unsigned i = index + funnel->inner_pairs; i < funnel->pairs; i += funnel->inner_pairs) {
        if (lane_clear(&funnel->lane[i]->lane))
            ring(&funnel->lane[i]->waker);
    }
}

static int main_open(struct funnel_queue *queue, struct endpoint_rx *rx, struct error *err)
{
    struct funnel *funnel = funnel_of(&queue->base);
    struct funnel_main *main = &funnel->main[queue->index];
    int result =
        funnel->inner->ops->queue_open(funnel->inner, queue->index, rx, &queue->inner, err);

    if (result < 0)
        return result;
    main->first = NOBODY;
    main_note(queue);
    lanes_clear(funnel, queue->index);
    atomic_store_explicit(&main->waker, rx->waker, memory_order_relaxed);
    atomic_store_explicit(&main->open, 1, memory_order_release);
    return 0;
}

static int funnel_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                             struct endpoint_queue **ret_queue, struct error *err)
{
    struct funnel *funnel = (struct funnel *)endpoint;
    struct funnel_queue *queue = calloc(1, sizeof(*queue));
    int result = 0;

    if (queue == NULL)
        return error_set(err, ENOMEM, "endpoint %s: out of memory for queue %u",
                         endpoint->ops->kind, index);
    queue->base.endpoint = endpoint;
    queue->base.rings = 1;
    queue->index = index;
    if (index < funnel->inner_pairs)
        result = main_open(queue, rx, err);
    else
        atomic_store_explicit(&funnel->lane[index]->waker, rx->waker, memory_order_relaxed);
    if (result < 0) {
        free(queue);
        return result;
    }
    *ret_queue = &queue->base;
    return 0;
}

static void main_close(struct funnel_queue *queue)
{
    struct funnel *funnel = funnel_of(&queue->base);
    struct funnel_main *main = &funnel->main[queue->index];

    atomic_store_explicit(&main->open, 0, memory_order_release);
    funnel->inner->ops->queue_close(queue->inner);
    lanes_clear(funnel, queue->index);
}

static void funnel_queue_close(struct endpoint_queue *endpoint_queue)
{
    struct funnel_queue *queue = (struct funnel_queue *)endpoint_queue;

    if (queue->inner != NULL)
        main_close(queue);
    free(queue);
}

static void funnel_close(struct endpoint *endpoint)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    if (funnel == NULL)
        return;
    endpoint_close(funnel->inner);
    for (unsigned i = funnel->inner_pairs; funnel->lane != NULL && i < funnel->pairs; i++)
        free(funnel->lane[i]);
    free(funnel->main);
    free(funnel->lane);
    free(funnel);
}

static void funnel_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    funnel->inner->ops->capabilities(funnel->inner, ret_caps);
    ret_caps->queue_pairs_max = funnel->pairs;
}

static int funnel_set_offloads(struct endpoint *endpoint, uint32_t rx_offloads)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    return funnel->inner->ops->set_offloads(funnel->inner, rx_offloads);
}

static void funnel_set_mac(struct endpoint *endpoint, const uint8_t mac[6])
{
    struct funnel *funnel = (struct funnel *)endpoint;

    funnel->inner->ops->set_mac(funnel->inner, mac);
}

static int funnel_link_up(struct endpoint *endpoint)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    return funnel->inner->ops->link_up(funnel->inner);
}

static int funnel_event_fd(struct endpoint *endpoint)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    return funnel->inner->ops->event_fd(funnel->inner);
}

static uint32_t funnel_events(struct endpoint *endpoint)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    return funnel->inner->ops->events(funnel->inner);
}

static int funnel_was_there(struct endpoint *endpoint)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    return funnel->inner->ops->was_there(funnel->inner);
}

static int funnel_stands_in_the_way(struct endpoint *endpoint, const struct endpoint_spec *spec)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    return funnel->inner->ops->stands_in_the_way(funnel->inner, spec);
}

/* What goes over is the endpoint inside, which is widened there as it was here (endpoint_take by
 * its kind, endpoint_widen). Frames in the lanes stay behind. */
static void funnel_give(struct endpoint *endpoint, struct records_writer *writer,
                        struct fd_list *fds)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    funnel->inner->ops->give(funnel->inner, writer, fds);
}

static void funnel_keep(struct endpoint *endpoint)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    funnel->inner->ops->keep(funnel->inner);
}

static void funnel_inspect(struct endpoint *endpoint, struct inspect *visitor)
{
    struct funnel *funnel = (struct funnel *)endpoint;

    if (funnel->inner->ops->inspect != NULL)
        funnel->inner->ops->inspect(funnel->inner, visitor);
    inspect_enter(visitor, "carried");
    for (unsigned i = funnel->inner_pairs; i < funnel->pairs; i++) {
        inspect_enter_index(visitor, i);
        inspect_number(visitor, "to_pair", i % funnel->inner_pairs);
        inspect_counter(visitor, "tx_carried", &funnel->lane[i]->tx_carried);
        inspect_counter(visitor, "tx_full", &funnel->lane[i]->tx_full);
        inspect_counter(visitor, "tx_dropped", &funnel->lane[i]->tx_dropped);
        inspect_leave(visitor);
    }
    inspect_leave(visitor);
}

/* ---- open --------------------------------------------------------------------------------- */

/* Callers tell by a NULL what an endpoint does not have. */
static void ops_fill(struct endpoint_ops *ops, const struct endpoint_ops *inner)
{
    *ops = (struct endpoint_ops){
        .kind = inner->kind,
        .close = funnel_close,
        .capabilities = funnel_capabilities,
        .set_offloads = inner->set_offloads == NULL ? NULL : funnel_set_offloads,
        .set_mac = inner->set_mac == NULL ? NULL : funnel_set_mac,
        .queue_open = funnel_queue_open,
        .queue_close = funnel_queue_close,
        .send = funnel_send,
        .receive = funnel_receive,
        .wait_fd = funnel_wait_fd,
        .link_up = inner->link_up == NULL ? NULL : funnel_link_up,
        .event_fd = inner->event_fd == NULL ? NULL : funnel_event_fd,
        .events = inner->events == NULL ? NULL : funnel_events,
        .was_there = inner->was_there == NULL ? NULL : funnel_was_there,
        .stands_in_the_way = inner->stands_in_the_way == NULL ? NULL : funnel_stands_in_the_way,
        .give = inner->give == NULL ? NULL : funnel_give,
        .keep = inner->keep == NULL ? NULL : funnel_keep,
        .inspect = funnel_inspect,
    };
}

static struct funnel_lane *lane_new(void)
{
    struct funnel_lane *lane = aligned_alloc(_Alignof(struct funnel_lane), sizeof(*lane));

    if (lane != NULL)
        memset(lane, 0, sizeof(*lane));
    return lane;
}

static int funnel_init(struct funnel *funnel)
{
    funnel->main = calloc(funnel->inner_pairs, sizeof(*funnel->main));
    funnel->lane = calloc(funnel->pairs, sizeof(*funnel->lane));
    if (funnel->main == NULL || funnel->lane == NULL)
        return -ENOMEM;
    for (unsigned i = funnel->inner_pairs; i < funnel->pairs; i++) {
        funnel->lane[i] = lane_new();
        if (funnel->lane[i] == NULL)
            return -ENOMEM;
    }
    return 0;
}

int endpoint_widen(struct endpoint *inner, unsigned pairs, struct endpoint **ret_endpoint,
                   struct error *err)
{
    struct funnel *funnel = calloc(1, sizeof(*funnel));
    struct endpoint_caps caps = {0};
    int result = -ENOMEM;

    if (funnel != NULL) {
        inner->ops->capabilities(inner, &caps);
        ops_fill(&funnel->ops, inner->ops);
        funnel->base.ops = &funnel->ops;
        funnel->pairs = pairs;
        funnel->inner_pairs = caps.queue_pairs_max;
        result = funnel_init(funnel);
    }
    if (result < 0) {
        funnel_close((struct endpoint *)funnel);
        return error_set(err, -result, "endpoint %s: no queue pairs beyond its %u: %s",
                         inner->ops->kind, caps.queue_pairs_max, strerror(-result));
    }
    funnel->inner = inner;
    *ret_endpoint = &funnel->base;
    return 0;
}
