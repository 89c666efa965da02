/* SPDX-License-Identifier: MIT */
/*
 * Frames that an asynchronous endpoint holds: a line, in the order in which they left the ring. A
 * frame's token is its place in the line, so that nothing that a driver writes is ever used to find
 * it.
 *
 * Completions may come in any order. They are shown to the driver in the order of the line, drops
 * included, whether IN_ORDER (virtio 1.4, 2.7.9) was agreed or not: so what a ring has not
 * completed is what it holds from its used position on, and nothing else has to be known to take it
 * up again after a crash (ring/inflight.h).
 */
#pragma once

#include <stdint.h>

#include "ring/virtqueue.h"

struct tx_flight {
    uint32_t *token;   /* owned; the ring's, by place modulo capacity */
    uint8_t *done;     /* owned; 1: completed, waits for those before it */
    uint32_t capacity; /* a power of two; 0: the endpoint is synchronous */
    uint32_t head;     /* free-running: first place that is not free */
    uint32_t tail;     /* free-running: next place */
};

/* Room for at least `frames` at once. -ENOMEM. */
int tx_flight_init(struct tx_flight *flight, unsigned frames);
/* Nothing is in flight. */
void tx_flight_free(struct tx_flight *flight);

static inline uint32_t tx_flight_room(const struct tx_flight *flight)
{
    return flight->capacity - (flight->tail - flight->head);
}

/* Joins the line. */
void tx_flight_add(struct tx_flight *flight, uint32_t ring_token);
/* The same for a chain that is done already. */
void tx_flight_add_done(struct tx_flight *flight, struct virtqueue *queue, uint32_t ring_token);
/* A place as the endpoint's reap() gave it; one that is not in flight is ignored. */
void tx_flight_complete(struct tx_flight *flight, struct virtqueue *queue, uint32_t place);
