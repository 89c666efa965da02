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

/* 1: it waited, and may go on. Whether its ring is there is kept for the control plane, which does
 * not look at a queue that runs. */
NEEDS_DATA static int queue_look(struct coordinator *coordinator, unsigned index,
                                 struct virtqueue *queue)
{
    int waited = queue->resting & (VIRTQUEUE_UNMAPPED | VIRTQUEUE_AWAITS);

    virtqueue_remap(queue, coordinator->memory);
    coordinator->unmapped[index] = (queue->resting & VIRTQUEUE_UNMAPPED) != 0;
    return waited && !coordinator->unmapped[index];
}

NEEDS_DATA static void pair_look(struct coordinator *coordinator, unsigned index)
{
    struct worker_pair *worker_pair = &coordinator->pairs[index];
    struct pair *pair = &worker_pair->pair;
    int goes_on = queue_look(coordinator, 2 * index, &pair->rx);

    goes_on |= queue_look(coordinator, 2 * index + 1, &pair->tx);
    if (goes_on)
        worker_wake(worker_pair);
}

NEEDS_DATA static void control_look(struct coordinator *coordinator)
{
    if (coordinator->control.queue.running &&
        queue_look(coordinator, coordinator->control_index, &coordinator->control.queue))
        loop_timer_start(coordinator->loop, &coordinator->control_again, 0);
}

void coordinator_set_memory(struct coordinator *coordinator,
                            const struct guest_memory *memory) ROLE_UNCHECKED
{
    coordinator_pause_all(coordinator);
    coordinator->memory = memory;
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        endpoint_let_go(coordinator, i);
        pair_look(coordinator, i);
        worker_wake(&coordinator->pairs[i]);
    }
    control_look(coordinator);
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

void coordinator_release_translations(struct coordinator *coordinator) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        pair_look(coordinator, i);
    endpoints_take_up(coordinator);
    control_look(coordinator);
    coordinator_resume_all(coordinator);
}

int coordinator_queue_unmapped(struct coordinator *coordinator, unsigned queue)
{
    return coordinator_queue(coordinator, queue)->running && coordinator->unmapped[queue];
}

int coordinator_queue_missing(struct coordinator *coordinator, unsigned queue,
                              const struct virtqueue_config *config, uint64_t *ret_gpa,
                              enum memory_access *ret_access)
{
    struct virtqueue_config complete = *config;

    if (coordinator->memory == NULL || !coordinator_queue_is_used(coordinator, queue) ||
        (coordinator_queue(coordinator, queue)->running && !coordinator->unmapped[queue]))
        return 0;
    coordinator_ring_config(coordinator, queue, &complete);
    return virtqueue_missing(&complete, coordinator->memory, ret_gpa, ret_access);
}
