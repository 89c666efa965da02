/* SPDX-License-Identifier: MIT */
/*
 * The data path of a stream: a batch of frames is one sendmsg from the guest's memory; what comes
 * is read ahead in one large piece, and the frames in it are delivered together.
 *
 * A full socket may take a part of a frame. The rest of it is copied, because the guest may change
 * or take away what it offered, and the framing must hold whatever the guest does; so the frame is
 * taken, and goes on when the socket does (`unfinished`).
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/span_copy.h"
#include "endpoint/stream/stream.h"

void stream_flow_begin(struct stream_flow *flow, int fd)
{
    stream_flow_end(flow);
    flow->fd = fd;
}

void stream_flow_end(struct stream_flow *flow)
{
    fd_close(&flow->fd);
    flow->lost = 0;
    flow->rest_at = flow->rest_len = 0;
    flow->have_at = flow->have_len = 0;
}

/* The control thread closes the fd: until then the worker may have it in its wait set. */
static void flow_lost(struct stream *stream, int why)
{
    stream->flow.lost = 1;
    stream->queue.base.unfinished = 0;
    atomic_store_explicit(&stream->last_loss, why, memory_order_relaxed);
    shutdown(stream->flow.fd, SHUT_RDWR);
    event_bits_raise(&stream->events, STREAM_EVENT_LOST);
}

/* ---- transmit --------------------------------------------------------------------------- */

static ssize_t flow_write(struct stream_flow *flow, struct iovec *iov, size_t iov_count)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = iov_count};
    ssize_t n;

    do
        n = sendmsg(flow->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int no_memory(ssize_t n)
{
    return n == -ENOBUFS || n == -ENOMEM;
}

/* 0: it is all out. -EAGAIN: the socket is full. Else the connection is lost. */
static int flow_write_rest(struct stream *stream)
{
    struct stream_flow *flow = &stream->flow;

    while (flow->rest_len != 0) {
        struct iovec iov = {flow->rest + flow->rest_at, flow->rest_len};
        ssize_t n = flow_write(flow, &iov, 1);

        if (n == -EAGAIN)
            return -EAGAIN;
        if (n < 0) { /* want of memory too: to wait for it would be to spin */
            flow_lost(stream, (int)-n);
            return (int)n;
        }
        flow->rest_at += (uint32_t)n;
        flow->rest_len -= (uint32_t)n;
    }
    stream->queue.base.unfinished = 0;
    return 0;
}

static void prefix_put(uint8_t *at, uint32_t len)
{
    at[0] = (uint8_t)(len >> 24);
    at[1] = (uint8_t)(len >> 16);
    at[2] = (uint8_t)(len >> 8);
    at[3] = (uint8_t)len;
}

static uint32_t prefix_get(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* As many frames as one sendmsg takes, at least one; returns how many. */
static unsigned flow_gather(struct stream_flow *flow, const struct frame *frames, unsigned count,
                            size_t *ret_iov_count)
{
    unsigned taken = 0;
    size_t used = 0;

    while (taken < MIN(count, (unsigned)STREAM_BATCH) &&
           used + 1 + frames[taken].iov_count <= STREAM_SPANS_MAX) {
        const struct frame *frame = &frames[taken];

        prefix_put(flow->prefix[taken], frame->len);
        flow->tx_iov[used++] = (struct iovec){flow->prefix[taken], STREAM_PREFIX_LEN};
        memcpy(&flow->tx_iov[used], frame->iov, frame->iov_count * sizeof(*frame->iov));
        used += frame->iov_count;
        taken++;
    }
    *ret_iov_count = used;
    return taken;
}

/* Copies a frame of which `done` bytes (length included) are out: the kernel did not take the rest.
 */
static void flow_keep_rest(struct stream *stream, const struct frame *frame, size_t done)
{
    struct stream_flow *flow = &stream->flow;

    prefix_put(flow->rest, frame->len);
    span_copy_out(flow->rest + STREAM_PREFIX_LEN, frame->iov, frame->len);
    flow->rest_at = (uint32_t)done;
    flow->rest_len = STREAM_PREFIX_LEN + frame->len - (uint32_t)done;
    stream->queue.base.unfinished = 1;
}

/* The kernel took n bytes of these frames: how many frames are done. Of the last the rest is kept.
 */
static unsigned flow_split(struct stream *stream, const struct frame *frames, size_t n)
{
    unsigned done = 0;

    for (; n >= STREAM_PREFIX_LEN + frames[done].len; done++)
        n -= STREAM_PREFIX_LEN + frames[done].len;
    if (n == 0)
        return done;
    counter_add(&stream->flow.tx_cut, 1);
    flow_keep_rest(stream, &frames[done], n);
    return done + 1;
}

/* One sendmsg. -EAGAIN: nothing more goes now. */
static int flow_send_batch(struct stream *stream, const struct frame *frames, unsigned count,
                           unsigned *ret_done)
{
    struct stream_flow *flow = &stream->flow;
    size_t iov_count, total = 0;
    unsigned batch = flow_gather(flow, frames, count, &iov_count);
    ssize_t n = flow_write(flow, flow->tx_iov, iov_count);

    *ret_done = 0;
    for (unsigned i = 0; i < batch; i++)
        total += STREAM_PREFIX_LEN + frames[i].len;
    if (n == (ssize_t)total) {
        *ret_done = batch;
    } else if (n >= 0 || n == -EAGAIN) {
        counter_add(&flow->tx_full, 1);
        *ret_done = n > 0 ? flow_split(stream, frames, (size_t)n) : 0;
        return -EAGAIN;
    } else if (n == -EFAULT) {
        /* The front-end cut its memory off: our own reads of it find zeroes, the kernel's fail. */
        flow_keep_rest(stream, frames, 0);
        *ret_done = 1;
    } else if (no_memory(n)) {
        /* The socket stays writable, so to wait for it would be to spin. */
        counter_add(&flow->tx_dropped_refused, 1);
        *ret_done = 1;
    } else {
        flow_lost(stream, (int)-n);
    }
    return 0;
}

unsigned stream_flow_send(struct endpoint_queue *queue, const struct frame *frames, unsigned count)
{
    struct stream *stream = (struct stream *)queue->endpoint;
    struct stream_flow *flow = &stream->flow;
    unsigned done = 0;

    if (flow->fd < 0 && atomic_load_explicit(&stream->coming, memory_order_relaxed))
        return 0; /* the queue is about to be opened anew */
    while (done < count && flow->fd >= 0 && !flow->lost) {
        unsigned some = 0;
        int rc = flow_write_rest(stream);

        if (rc == 0)
            rc = flow_send_batch(stream, frames + done, count - done, &some);
        done += some;
        if (rc == -EAGAIN)
            return done;
    }
    counter_add(&flow->tx_dropped_down, count - done);
    return count;
}

/* ---- receive ---------------------------------------------------------------------------- */

static int length_is_possible(uint32_t len)
{
    return len >= FRAME_LEN_MIN && len <= FRAME_LEN_MAX;
}

/* Whole frames at the front of what was read ahead, up to `max` of them. */
static unsigned flow_parse(struct stream_flow *flow, unsigned max)
{
    uint32_t at = flow->have_at, left = flow->have_len;
    unsigned count = 0;

    while (count < max && left >= STREAM_PREFIX_LEN) {
        uint32_t len = prefix_get(flow->have + at);

        if (!length_is_possible(len) || left - STREAM_PREFIX_LEN < len)
            break;
        flow->rx_iov[count] = (struct iovec){flow->have + at + STREAM_PREFIX_LEN, len};
        flow->rx_frame[count] =
            (struct frame){.iov = &flow->rx_iov[count], .iov_count = 1, .len = len};
        count++;
        at += STREAM_PREFIX_LEN + len;
        left -= STREAM_PREFIX_LEN + len;
    }
    return count;
}

static void flow_consume(struct stream_flow *flow, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        flow->have_at += STREAM_PREFIX_LEN + flow->rx_frame[i].len;
        flow->have_len -= STREAM_PREFIX_LEN + flow->rx_frame[i].len;
    }
}

/* Behind a length that can't be one, nothing tells where frames begin. */
static int flow_is_broken(const struct stream_flow *flow)
{
    return flow->have_len >= STREAM_PREFIX_LEN &&
           !length_is_possible(prefix_get(flow->have + flow->have_at));
}

/* Reads ahead, behind the part of a frame that is there. 1: there may be more in the socket. */
static int flow_read(struct stream *stream)
{
    struct stream_flow *flow = &stream->flow;
    size_t room = sizeof(flow->have) - flow->have_len;
    ssize_t n;

    memmove(flow->have, flow->have + flow->have_at, flow->have_len);
    flow->have_at = 0;
    do
        n = recv(flow->fd, flow->have + flow->have_len, room, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == ENOMEM))
        return 0;
    if (n <= 0) {
        counter_add(&flow->rx_cut, flow->have_len != 0);
        flow_lost(stream, n < 0                 ? errno
                          : flow->have_len != 0 ? STREAM_LOSS_CUT
                                                : STREAM_LOSS_CLOSED);
        return 0;
    }
    counter_add(&flow->rx_reads, 1);
    flow->have_len += (uint32_t)n;
    return (size_t)n == room;
}

unsigned stream_flow_receive(struct endpoint_queue *queue, unsigned budget)
{
    struct stream *stream = (struct stream *)queue->endpoint;
    struct endpoint_rx *rx = stream->queue.rx;
    struct stream_flow *flow = &stream->flow;
    unsigned done = 0;
    int more = 1;

    if (queue->unfinished && flow->fd >= 0 && !flow->lost)
        flow_write_rest(stream);
    while (done < budget && flow->fd >= 0 && !flow->lost) {
        unsigned count = flow_parse(flow, MIN(budget - done, (unsigned)STREAM_BATCH));
        unsigned delivered = count != 0 ? rx->ops->deliver(rx, flow->rx_frame, count) : 0;

        done += delivered;
        flow_consume(flow, delivered);
        if (delivered < count)
            return done;
        if (count != 0)
            continue;
        if (flow_is_broken(flow)) {
            counter_add(&flow->rx_bad_length, 1);
            flow_lost(stream, STREAM_LOSS_LENGTH);
        } else if (more) {
            more = flow_read(stream);
        } else {
            return done;
        }
    }
    return done;
}
