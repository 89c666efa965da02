/* SPDX-License-Identifier: MIT */
/* One turn of a pair: both directions once, one flush each; and the way to sleep and back. */
#include "nic/pair.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/checked.h"
#include "nic/patch.h"

int pair_scratch_init(struct pair_scratch *scratch, unsigned queue_size_max)
{
    *scratch = (struct pair_scratch){0};
    scratch->gathered = malloc(FRAME_LEN_MAX);
    if (scratch->gathered == NULL ||
        chain_batch_init(&scratch->tx, PAIR_TX_BATCH, queue_size_max) < 0 ||
        chain_batch_init(&scratch->rx, PAIR_RX_WINDOW, queue_size_max) < 0) {
        pair_scratch_free(scratch);
        return -ENOMEM;
    }
    return 0;
}

void pair_scratch_free(struct pair_scratch *scratch)
{
    chain_batch_free(&scratch->tx);
    chain_batch_free(&scratch->rx);
    free(scratch->gathered);
    scratch->gathered = NULL;
}

void pair_init(struct pair *pair, unsigned index)
{
    *pair = (struct pair){.endpoint_rx.ops = &pair_rx_ops, .index = (uint16_t)index};
}

static void turn_begin(struct pair *pair, struct pair_scratch *scratch)
{
    pair->scratch = scratch;
    if (__builtin_expect(!pair->rules.link_up, 0))
        pair->endpoint_rx.resume =
            0; /* a frame that loops back is dropped on its way out, and never done */
    pair->turn_tx_segments = 0;
    pair->turn_rx = 0;
    pair->turn_rx_packets = 0;
    pair->turn_rx_bytes = 0;
    pair->turn_rx_largest = 0;
    pair->window_first = 0;
    pair->window_stripped = 0;
    chain_batch_reset(&scratch->rx);
}

static void turn_end(struct pair *pair)
{
    pair_rx_release(pair);
    virtqueue_flush(&pair->rx);
    counter_add(&pair->stats.rx_packets, pair->turn_rx_packets);
    counter_add(&pair->stats.rx_bytes, pair->turn_rx_bytes);
    counter_raise(&pair->stats.rx_largest, pair->turn_rx_largest);
    pair->scratch = NULL;
}

/* The window of `from` is given back first: there is one for all. */
void pair_rx_enter(struct endpoint_rx *rx, struct endpoint_rx *from)
{
    struct pair *pair = CONTAINER_OF(rx, struct pair, endpoint_rx);
    struct pair *visitor = CONTAINER_OF(from, struct pair, endpoint_rx);

    pair_rx_release(visitor);
    turn_begin(pair, visitor->scratch);
    pair->visit_fault = pair->rx.fault;
}

/* What only a turn of its own does: to tell of a ring that broke, to time an interrupt that is held
 * back. */
void pair_rx_leave(struct endpoint_rx *rx)
{
    struct pair *pair = CONTAINER_OF(rx, struct pair, endpoint_rx);

    turn_end(pair);
    if (__builtin_expect(pair->rx.fault != pair->visit_fault || virtqueue_holding(&pair->rx), 0))
        rx->waker->wake(rx->waker);
}

unsigned pair_turn(struct pair *pair, struct pair_scratch *scratch, unsigned budget)
{
    unsigned other, rx;

    if (pair->parked)
        return 0;
    if (__builtin_expect(pair->patch != NULL, 0))
        return patch_turn(pair->patch, scratch, budget);
    virtqueue_disarm(&pair->tx);
    virtqueue_disarm(&pair->rx);
    pair->rx_ready |= pair->rx_starved;
    pair->rx_starved = 0;
    turn_begin(pair, scratch);
    other = pair_tx_reap(pair);
    pair->turn_tx = pair_tx_turn(pair, budget);
    if (__builtin_expect(pair->inbox != NULL, 0))
        other += pair_rx_inbox_turn(pair, budget);
    other += pair_rx_turn(pair, budget);
    rx = pair->turn_rx; /* endpoints may deliver from inside send() too */
    turn_end(pair);
    if (pair->turn_tx != 0)
        histogram_add(&pair->stats.tx_packets_per_wake, pair->turn_tx);
    if (rx != 0)
        histogram_add(&pair->stats.rx_packets_per_wake, rx);
    return pair->turn_tx + rx + other;
}

/* What has no word of the driver's to look at has a turn. */
int pair_is_still(const struct pair *pair)
{
    return pair->patch == NULL && pair->inbox == NULL && pair->flight.capacity == 0 &&
           !(pair->rx_ready | pair->rx_starved | pair->tx_blocked) && virtqueue_is_empty(&pair->tx);
}

void pair_reap_all(struct pair *pair, struct pair_scratch *scratch)
{
    if (pair->ops == NULL || pair->ops->quiesce == NULL)
        return;
    pair->ops->quiesce(pair->endpoint_queue);
    turn_begin(pair, scratch);
    pair_tx_reap(pair);
    turn_end(pair);
}

/* Its token is a place that the line has left behind, so that its completion means nothing. */
int pair_send_own(struct pair *pair, struct pair_scratch *scratch, struct frame *frame)
{
    unsigned sent;

    frame->token = pair->flight.head - 1;
    turn_begin(pair, scratch);
    sent = pair->ops->send(pair->endpoint_queue, frame, 1);
    turn_end(pair);
    return sent == 1 ? 0 : -EAGAIN;
}

/* Buffers that have no place in the line wait for a completion, not for a kick. */
static int line_full(const struct tx_flight *flight)
{
    return flight->capacity != 0 && tx_flight_room(flight) == 0;
}

/* A blocked sender waits for the endpoint, or (when that waits for room) for receive buffers: a
 * kick for more to send would not help it. The receive ring is armed only while a frame waits for
 * buffers. */
int pair_arm(struct pair *pair)
{
    int more = 0;

    if (pair->parked)
        return 0;
    if (!pair->tx_blocked && !line_full(&pair->flight))
        more |= virtqueue_arm(&pair->tx);
    if (pair->rx_starved)
        more |= virtqueue_arm(&pair->rx);
    return more;
}

static int is_unfinished(const struct pair *pair)
{
    return pair->endpoint_queue != NULL && pair->endpoint_queue->unfinished;
}

uint32_t pair_wants_awake(const struct pair *pair)
{
    return (pair->rx_starved ? 0u : (uint32_t)EPOLLIN) |
           (is_unfinished(pair) ? (uint32_t)EPOLLOUT : 0u);
}

uint32_t pair_wants(const struct pair *pair)
{
    return pair_wants_awake(pair) | (pair->tx_blocked ? (uint32_t)EPOLLOUT : 0u);
}

void pair_endpoint_ready(struct pair *pair, uint32_t events)
{
    if ((events & ~(uint32_t)EPOLLOUT) != 0 || is_unfinished(pair))
        pair->rx_ready = 1;
}
