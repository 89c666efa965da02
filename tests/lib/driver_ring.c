/* SPDX-License-Identifier: MIT */
#include "driver_ring.h"

#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"

uint64_t driver_ring_map(struct driver_ring *ring, uint32_t id, const struct driver_buffer *buffer)
{
    return ring->dma != NULL ? ring->dma->map(ring->dma, ring, id, buffer) : buffer->gpa;
}

void driver_ring_unmap(struct driver_ring *ring, uint32_t id)
{
    if (ring->dma != NULL)
        ring->dma->unmap(ring->dma, ring, id);
}

void driver_ring_kick(struct driver_ring *ring)
{
    uint64_t one = 1;

    ring->kick_count++;
    if (ring->kick != NULL)
        ring->kick(ring->kick_context);
    else
        check(write(ring->kick_fd, &one, sizeof(one)) == sizeof(one), "the kick failed");
}

void driver_ring_flush(struct driver_ring *ring)
{
    if (ring->ops->publish(ring))
        driver_ring_kick(ring);
}

int driver_ring_wait(struct driver_ring *ring, int timeout_ms, struct driver_used *ret_used)
{
    uint64_t end = now_ms() + (uint64_t)timeout_ms;

    while (!ring->ops->take(ring, ret_used)) {
        if (now_ms() >= end)
            return 0;
        if (ring->dma != NULL)
            ring->dma->wait(ring->dma);
        if (ring->call_fd >= 0 && ring->ops->interrupts != NULL)
            wait_readable(ring->call_fd, 1);
        else
            sleep_ms(1);
    }
    return 1;
}

void driver_order_init(struct driver_order *order, unsigned size)
{
    *order = (struct driver_order){.id = calloc(size, sizeof(order->id[0])), .size = size};
    check(order->id != NULL, "out of memory");
}

void driver_order_free(struct driver_order *order)
{
    free(order->id);
    *order = (struct driver_order){0};
}

void driver_order_clear(struct driver_order *order)
{
    order->first = 0;
    order->count = 0;
    order->open = 0;
}

void driver_order_add(struct driver_order *order, uint32_t id)
{
    if (order->id == NULL)
        return;
    check(order->count < order->size, "more buffers in flight than the ring has entries");
    order->id[(order->first + order->count++) % order->size] = id;
}

void driver_order_open(struct driver_order *order, const struct driver_used *used)
{
    unsigned at = 0;

    if (order->id == NULL)
        return;
    while (at < order->count && order->id[(order->first + at) % order->size] != used->id)
        at++;
    check(at < order->count, "used id %u was not in flight", used->id);
    order->last = *used;
    order->open = 1;
}

int driver_order_take(struct driver_order *order, struct driver_used *ret_used)
{
    uint32_t id;

    if (!order->open)
        return 0;
    id = order->id[order->first];
    order->first = (order->first + 1) % order->size;
    order->count--;
    order->open = id != order->last.id;
    *ret_used = (struct driver_used){.id = id, .len = order->open ? 0 : order->last.len};
    return 1;
}
