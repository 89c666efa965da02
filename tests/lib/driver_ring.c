/* SPDX-License-Identifier: MIT */
#include "driver_ring.h"

#include <unistd.h>

#include "check.h"
#include "clockwork.h"

void driver_ring_kick(struct driver_ring *ring)
{
    uint64_t one = 1;

    check(write(ring->kick_fd, &one, sizeof(one)) == sizeof(one), "the kick failed");
    ring->kick_count++;
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
        if (ring->call_fd >= 0 && ring->ops->interrupts != NULL)
            wait_readable(ring->call_fd, 1);
        else
            sleep_ms(1);
    }
    return 1;
}
