/* SPDX-License-Identifier: MIT */
#include "echo_endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void echo_init(struct echo *echo)
{
    *echo = (struct echo){
        .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .wait_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    };
}

void echo_free(struct echo *echo)
{
    close(echo->event_fd);
    close(echo->wait_fd);
}

void echo_raise(struct echo *echo, uint32_t events)
{
    __atomic_or_fetch(&echo->events, events, __ATOMIC_RELEASE);
    eventfd_write(echo->event_fd, 1);
}

/* ---- echo ------------------------------------------------------------------------------- */

static int echo_queue_open(void *endpoint, unsigned index, struct vionic_rx *rx, void **ret_queue,
                           struct vionic_error *err)
{
    struct echo *echo = endpoint;

    (void)index;
    if (echo->queue_error != 0) {
        snprintf(err->text, sizeof(err->text), "the frame is bent; take another one");
        return echo->queue_error;
    }
    echo->queues_opened++;
    echo->rx = rx;
    *ret_queue = echo;
    return 0;
}

static unsigned echo_send(void *queue, const struct vionic_frame *frames, unsigned count)
{
    struct echo *echo = queue;

    return vionic_rx_deliver(echo->rx, frames, count);
}

const struct vionic_endpoint_ops echo_ops = {
    .size = sizeof(struct vionic_endpoint_ops),
    .kind = "echo",
    .queue_open = echo_queue_open,
    .send = echo_send,
};

/* ---- mirror ----------------------------------------------------------------------------- */

static int mirror_open(void *context, unsigned queue_pairs, void **ret_endpoint,
                       struct vionic_error *err)
{
    struct echo *echo = context;

    if (echo->open_error != 0) {
        snprintf(err->text, sizeof(err->text), "the glass is broken; take another one");
        return echo->open_error;
    }
    echo->opened++;
    echo->queue_pairs = queue_pairs;
    *ret_endpoint = echo;
    return 0;
}

static void mirror_close(void *endpoint)
{
    struct echo *echo = endpoint;

    echo->closed++;
}

static void mirror_capabilities(void *endpoint, struct vionic_endpoint_caps *ret_caps)
{
    const struct echo *echo = endpoint;

    ret_caps->tx_offloads = (VIONIC_ENDPOINT_CSUM | VIONIC_ENDPOINT_TSO4) & ~echo->lacks;
    ret_caps->rx_offloads = ret_caps->tx_offloads;
    ret_caps->queue_pairs_max = 2;
    ret_caps->mtu = 4000;
    ret_caps->speed_mbps = 12345;
}

static int mirror_set_offloads(void *endpoint, uint32_t rx_offloads)
{
    struct echo *echo = endpoint;

    echo->rx_offloads = rx_offloads;
    return 0;
}

static void mirror_queue_close(void *queue)
{
    struct echo *echo = queue;

    echo->queues_closed++;
    echo->held_count = 0;
    echo->done_count = 0;
}

static unsigned mirror_send(void *queue, const struct vionic_frame *frames, unsigned count)
{
    struct echo *echo = queue;
    unsigned taken;

    for (taken = 0; taken < count && echo->held_count < ECHO_HELD_MAX; taken++) {
        struct echo_frame *held = &echo->held[echo->held_count++];

        memcpy(held->iov, frames[taken].iov, frames[taken].iov_count * sizeof(held->iov[0]));
        held->iov_count = frames[taken].iov_count;
        held->len = frames[taken].len;
        held->token = frames[taken].token;
        held->offload = frames[taken].offload;
    }
    eventfd_write(echo->wait_fd, 1);
    return taken;
}

static unsigned mirror_reap(void *queue, uint32_t *ret_tokens, unsigned max)
{
    struct echo *echo = queue;
    unsigned count = echo->done_count < max ? echo->done_count : max;

    memcpy(ret_tokens, echo->done, count * sizeof(echo->done[0]));
    memmove(echo->done, echo->done + count, (echo->done_count - count) * sizeof(echo->done[0]));
    echo->done_count -= count;
    return count;
}

static void copy_spans(const struct iovec *to, const struct iovec *from, uint32_t len)
{
    size_t to_at = 0, from_at = 0;

    while (len != 0) {
        size_t part = len;

        if (part > to->iov_len - to_at)
            part = to->iov_len - to_at;
        if (part > from->iov_len - from_at)
            part = from->iov_len - from_at;
        memcpy((char *)to->iov_base + to_at, (const char *)from->iov_base + from_at, part);
        len -= (uint32_t)part;
        to_at += part;
        from_at += part;
        if (to_at == to->iov_len) {
            to++;
            to_at = 0;
        }
        if (from_at == from->iov_len) {
            from++;
            from_at = 0;
        }
    }
}

/* 1: the oldest frame is done; 0: the guest has no room. */
static int mirror_deliver(struct echo *echo)
{
    struct echo_frame *held = &echo->held[0];
    struct vionic_reservation room;
    int result = vionic_rx_reserve(echo->rx, held->len, held->len, &room);

    if (result == -EAGAIN)
        return 0;
    if (result < 0) {
        vionic_rx_drop(echo->rx, result);
    } else {
        copy_spans(room.iov, held->iov, held->len);
        vionic_rx_commit(echo->rx, held->len, &held->offload);
    }
    echo->done[echo->done_count++] = held->token;
    echo->held_count--;
    memmove(held, held + 1, echo->held_count * sizeof(*held));
    return 1;
}

static unsigned mirror_receive(void *queue, unsigned budget)
{
    struct echo *echo = queue;
    eventfd_t kicks;
    unsigned count = 0;

    eventfd_read(echo->wait_fd, &kicks);
    while (!__atomic_load_n(&echo->asleep, __ATOMIC_RELAXED) && count < budget &&
           echo->held_count != 0 && echo->done_count < ECHO_HELD_MAX && mirror_deliver(echo))
        count++;
    if (echo->done_count != 0 || (count == budget && echo->held_count != 0))
        eventfd_write(echo->wait_fd, 1);
    return count;
}

static int mirror_wait_fd(void *queue)
{
    struct echo *echo = queue;

    return echo->wait_fd;
}

static void mirror_quiesce(void *queue)
{
    struct echo *echo = queue;

    echo->quiesced++;
    for (unsigned i = 0; i < echo->held_count; i++)
        echo->done[echo->done_count++] = echo->held[i].token;
    echo->held_count = 0;
}

static int mirror_link_up(void *endpoint)
{
    struct echo *echo = endpoint;

    return !__atomic_load_n(&echo->link_down, __ATOMIC_RELAXED);
}

static int mirror_event_fd(void *endpoint)
{
    struct echo *echo = endpoint;

    return echo->event_fd;
}

static uint32_t mirror_events(void *endpoint)
{
    struct echo *echo = endpoint;
    eventfd_t raised;

    eventfd_read(echo->event_fd, &raised);
    return __atomic_exchange_n(&echo->events, 0, __ATOMIC_ACQUIRE);
}

static void mirror_inspect(void *endpoint, const struct vionic_visitor *visitor)
{
    struct echo *echo = endpoint;

    visitor->enter(visitor->context, "glass");
    visitor->text(visitor->context, "colour", "silver");
    visitor->number(visitor->context, "opened", echo->opened, VIONIC_NUMBER_COUNTER);
    visitor->flag(visitor->context, "clean", 1);
    visitor->leave(visitor->context);
}

const struct vionic_endpoint_ops mirror_ops = {
    .size = sizeof(struct vionic_endpoint_ops),
    .kind = "mirror",
    .open = mirror_open,
    .close = mirror_close,
    .capabilities = mirror_capabilities,
    .set_offloads = mirror_set_offloads,
    .queue_open = echo_queue_open,
    .queue_close = mirror_queue_close,
    .send = mirror_send,
    .reap = mirror_reap,
    .receive = mirror_receive,
    .wait_fd = mirror_wait_fd,
    .quiesce = mirror_quiesce,
    .link_up = mirror_link_up,
    .event_fd = mirror_event_fd,
    .events = mirror_events,
    .inspect = mirror_inspect,
};
