/* SPDX-License-Identifier: MIT */
/* Guest memory under queues that run: another table, or other translations of an IOMMU. */
#include "run/coordinator_parts.h"

/* What an asynchronous endpoint holds is completed while its ring is still there. */
NEEDS_DATA static void endpoint_let_go(struct coordinator *coordinator, unsigned index)
{
    struct pair *pair = &coordinator->pairs[index].pair;

    if (pair->flight.capacity == 0 || tx_flight_room(&pair->flight) == pair->flight.capacity)
        return;
    coordinator_disconnect_pair(&coordinator->pairs[index]);
    coordinator->let_go = 1;
}

/* Pairs that were disconnected for it have an endpoint again. */
NEEDS_DATA static void endpoints_take_up(struct coordinator *coordinator)
{
    for (unsigned i = 0; coordinator->let_go && i < coordinator->nic.config.queue_pairs; i++) {
        if (coordinator->pairs[i].pair.endpoint_queue == NULL)
            coordinator_update_pair(coordinator, i);
    }
    coordinator->let_go = 0;
}

void coordinator_set_memory(struct coordinator *coordinator,
                            const struct guest_memory *memory) ROLE_UNCHECKED
{
    coordinator_pause_all(coordinator);
    coordinator->memory = memory;
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        endpoint_let_go(coordinator, i);
        virtqueue_remap(&coordinator->pairs[i].pair.rx, memory);
        virtqueue_remap(&coordinator->pairs[i].pair.tx, memory);
        worker_wake(&coordinator->pairs[i]);
    }
    virtqueue_remap(&coordinator->control.queue, memory);
    endpoints_take_up(coordinator);
    coordinator_resume_all(coordinator);
}

/* ---- translations ------------------------------------------------------------------------ */

static void ring_let_go(struct virtqueue *queue, uint64_t first, uint64_t last)
{
    if (virtqueue_lies_in(queue, first, last))
        virtqueue_unmap(queue);
}

void coordinator_hold_translations(struct coordinator *coordinator, uint64_t first,
                                   uint64_t last) ROLE_UNCHECKED
{
    coordinator_pause_all(coordinator);
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        struct worker_pair *worker_pair = &coordinator->pairs[i];

        endpoint_let_go(coordinator, i);
        ring_let_go(&worker_pair->pair.rx, first, last);
        ring_let_go(&worker_pair->pair.tx, first, last);
    }
    ring_let_go(&coordinator->control.queue, first, last);
}

/* 1: it waited, and may go on. */
static int queue_look(struct virtqueue *queue, const struct guest_memory *memory)
{
    int waited = queue->resting & (VIRTQUEUE_UNMAPPED | VIRTQUEUE_AWAITS);

    virtqueue_remap(queue, memory);
    return waited && !(queue->resting & VIRTQUEUE_UNMAPPED);
}

NEEDS_DATA static void pair_look(struct coordinator *coordinator, unsigned index)
{
    struct worker_pair *worker_pair = &coordinator->pairs[index];
    struct pair *pair = &worker_pair->pair;
    int goes_on = queue_look(&pair->rx, coordinator->memory);

    goes_on |= queue_look(&pair->tx, coordinator->memory);
    if (goes_on)
        worker_wake(worker_pair);
}

void coordinator_release_translations(struct coordinator *coordinator) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        pair_look(coordinator, i);
    endpoints_take_up(coordinator);
    if (queue_look(&coordinator->control.queue, coordinator->memory))
        loop_timer_start(coordinator->loop, &coordinator->control_again, 0);
    coordinator_resume_all(coordinator);
}

int coordinator_queue_missing(struct coordinator *coordinator, unsigned queue,
                              const struct virtqueue_config *config, uint64_t *ret_gpa,
                              enum memory_access *ret_access)
{
    const struct virtqueue *virtqueue = coordinator_queue(coordinator, queue);
    struct virtqueue_config complete = *config;

    if (coordinator->memory == NULL ||
        (virtqueue->running && !(virtqueue->resting & VIRTQUEUE_UNMAPPED)))
        return 0;
    coordinator_ring_config(coordinator, queue, &complete);
    return virtqueue_missing(&complete, coordinator->memory, ret_gpa, ret_access);
}
