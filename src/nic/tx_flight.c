/* SPDX-License-Identifier: MIT */
#include "nic/tx_flight.h"

#include <errno.h>
#include <stdlib.h>

int tx_flight_init(struct tx_flight *flight, unsigned frames)
{
    uint32_t capacity = 1;

    while (capacity < frames)
        capacity *= 2;
    *flight = (struct tx_flight){.capacity = capacity};
    flight->token = calloc(capacity, sizeof(*flight->token));
    flight->done = calloc(capacity, sizeof(*flight->done));
    if (flight->token == NULL || flight->done == NULL) {
        tx_flight_free(flight);
        return -ENOMEM;
    }
    return 0;
}

void tx_flight_free(struct tx_flight *flight)
{
    free(flight->token);
    free(flight->done);
    *flight = (struct tx_flight){0};
}

static uint32_t slot_of(const struct tx_flight *flight, uint32_t place)
{
    return place & (flight->capacity - 1);
}

void tx_flight_add(struct tx_flight *flight, uint32_t ring_token)
{
    uint32_t slot = slot_of(flight, flight->tail++);

    flight->token[slot] = ring_token;
    flight->done[slot] = 0;
}

/* Frees the front of the line: this is when the driver gets to see it. */
static void line_advance(struct tx_flight *flight, struct virtqueue *queue)
{
    while (flight->head != flight->tail && flight->done[slot_of(flight, flight->head)]) {
        virtqueue_push(queue, flight->token[slot_of(flight, flight->head)], 0);
        flight->head++;
    }
}

void tx_flight_add_done(struct tx_flight *flight, struct virtqueue *queue, uint32_t ring_token)
{
    tx_flight_add(flight, ring_token);
    flight->done[slot_of(flight, flight->tail - 1)] = 1;
    line_advance(flight, queue);
}

void tx_flight_complete(struct tx_flight *flight, struct virtqueue *queue, uint32_t place)
{
    uint32_t slot = slot_of(flight, place);

    if (place - flight->head >= flight->tail - flight->head || flight->done[slot])
        return;
    flight->done[slot] = 1;
    line_advance(flight, queue);
}
