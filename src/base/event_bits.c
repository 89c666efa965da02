/* SPDX-License-Identifier: MIT */
#include "base/event_bits.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

int event_bits_init(struct event_bits *events)
{
    atomic_init(&events->pending, 0);
    events->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return events->fd < 0 ? -errno : 0;
}

void event_bits_free(struct event_bits *events)
{
    fd_close(&events->fd);
}

void event_bits_raise(struct event_bits *events, uint32_t bits)
{
    uint64_t one = 1;

    atomic_fetch_or_explicit(&events->pending, bits, memory_order_release);
    /* EAGAIN means the counter is full, so the fd is readable already. */
    if (write(events->fd, &one, sizeof(one)) < 0)
        return;
}

uint32_t event_bits_take(struct event_bits *events)
{
    uint64_t count;

    /* The fd is emptied first: a raise in between leaves it readable, never pending and silent. */
    if (read(events->fd, &count, sizeof(count)) < 0)
        count = 0;
    return atomic_exchange_explicit(&events->pending, 0, memory_order_acquire);
}
