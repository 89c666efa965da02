/* SPDX-License-Identifier: MIT */
/*
 * Drops what the guest sends. With generate=LEN it also makes frames of LEN bytes for the guest,
 * all alike, as fast as the guest takes them or at rate=N a second.
 */
#include "endpoint/null.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/span_copy.h"
#include "endpoint/spec.h"

enum {
    NULL_PAIRS_MAX = 32768, /* as many as virtio has (virtio 1.4, 5.1.4) */
    NULL_RATE_MAX = 100000000,
    NULL_TICKS_A_SECOND = 1000, /* at higher rates each tick makes several frames */
    NULL_RETRY_NS = 10000000,   /* after a guest refused a frame */
    NULL_BATCH = 32,            /* frames handed over at once */
};

struct null_endpoint {
    struct endpoint base;
    uint32_t generate_len; /* 0: none */
    uint32_t rate;         /* frames a second and queue; 0: as fast as the guest takes them */
    struct frame frame[NULL_BATCH]; /* all of them the template */
    struct iovec whole;
    uint8_t template[]; /* generate_len bytes; nothing here changes after open */
};

struct null_queue {
    struct endpoint_queue base;
    struct endpoint_rx *rx; /* borrowed until queue_close */
    int timer_fd;           /* owned; -1: generates nothing. Left expired while frames are due */
    uint64_t paid_until_ns; /* the rate is paid up to here */
};

static const struct frame_offload null_no_offload;

static void null_template_fill(struct null_endpoint *null)
{
    /* To everyone, from a locally administered address, of an experimental type (IEEE 802 0x88b5).
     */
    static const uint8_t header[FRAME_LEN_MIN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
                                                  0,    0,    0,    0,    1,    0x88, 0xb5};

    memcpy(null->template, header, sizeof(header));
    for (uint32_t i = sizeof(header); i < null->generate_len; i++)
        null->template[i] = (uint8_t)i;
    null->whole = (struct iovec){.iov_base = null->template, .iov_len = null->generate_len};
    for (unsigned i = 0; i < NULL_BATCH; i++)
        null->frame[i] =
            (struct frame){.iov = &null->whole, .iov_count = 1, .len = null->generate_len};
}

static int null_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                     struct error *err)
{
    static const char *const keys[] = {"generate", "rate", NULL};
    struct null_endpoint *null;
    uint64_t len = 0, rate = 0;
    int rc = endpoint_spec_allow(spec, keys, err);

    if (rc == 0)
        rc = endpoint_spec_number(spec, "generate", FRAME_LEN_MIN, FRAME_LEN_MAX, &len, err);
    if (rc == 0)
        rc = endpoint_spec_number(spec, "rate", 1, NULL_RATE_MAX, &rate, err);
    if (rc < 0)
        return rc;
    if (rate != 0 && len == 0)
        return error_set(err, EINVAL,
                         "endpoint null: rate= needs generate=LEN, the frames' length");
    null = calloc(1, sizeof(*null) + len);
    if (null == NULL)
        return error_set(err, ENOMEM, "endpoint null: out of memory");
    null->base.ops = &null_endpoint_ops;
    null->generate_len = (uint32_t)len;
    null->rate = (uint32_t)rate;
    if (len != 0)
        null_template_fill(null);
    *ret_endpoint = &null->base;
    return 0;
}

static void null_close(struct endpoint *endpoint)
{
    free(endpoint);
}

static void null_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    (void)endpoint;
    *ret_caps = (struct endpoint_caps){
        .tx_offloads = ENDPOINT_OFFLOADS_ALL,
        .tx_unread = 1,
        .queue_pairs_max = NULL_PAIRS_MAX,
    };
}

static int null_set_offloads(struct endpoint *endpoint, uint32_t rx_offloads)
{
    (void)endpoint;
    (void)rx_offloads;
    return 0;
}

/* The next expiry after delay_ns, then (with a rate) on every tick. */
static int null_timer_set(struct null_queue *queue, uint64_t delay_ns)
{
    const struct null_endpoint *null = (struct null_endpoint *)queue->base.endpoint;
    struct itimerspec when = {0};

    when.it_value.tv_nsec = (long)delay_ns;
    if (null->rate != 0) {
        uint64_t tick_ns = CLOCK_SECOND_NS / MIN(null->rate, (uint32_t)NULL_TICKS_A_SECOND);

        when.it_interval.tv_sec = (time_t)(tick_ns / CLOCK_SECOND_NS);
        when.it_interval.tv_nsec = (long)(tick_ns % CLOCK_SECOND_NS);
    }
    return timerfd_settime(queue->timer_fd, 0, &when, NULL) < 0 ? -errno : 0;
}

static int null_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                           struct endpoint_queue **ret_queue, struct error *err)
{
    const struct null_endpoint *null = (struct null_endpoint *)endpoint;
    struct null_queue *queue = calloc(1, sizeof(*queue));
    int rc;

    if (queue == NULL)
        return error_set(err, ENOMEM, "endpoint null: out of memory for queue %u", index);
    queue->base.endpoint = endpoint;
    queue->rx = rx;
    queue->timer_fd = -1;
    queue->paid_until_ns = clock_now_ns();
    *ret_queue = &queue->base;
    if (null->generate_len == 0)
        return 0;
    queue->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    rc = queue->timer_fd < 0 ? -errno : null_timer_set(queue, 1);
    if (rc == 0)
        return 0;
    fd_close(&queue->timer_fd);
    free(queue);
    *ret_queue = NULL;
    return error_set(err, -rc, "endpoint null: no timer for queue %u: %s", index, strerror(-rc));
}

static void null_queue_close(struct endpoint_queue *endpoint_queue)
{
    struct null_queue *queue = (struct null_queue *)endpoint_queue;

    if (queue == NULL)
        return;
    fd_close(&queue->timer_fd);
    free(queue);
}

static unsigned null_send(struct endpoint_queue *queue, const struct frame *frames, unsigned count)
{
    (void)queue;
    (void)frames;
    return count;
}

/* The frames that are due now. What a slow guest did not take for a second is forgotten. */
static unsigned null_due(struct null_queue *queue, uint32_t rate, unsigned budget)
{
    uint64_t now, due;

    if (rate == 0)
        return budget;
    now = clock_now_ns();
    if (now - queue->paid_until_ns > CLOCK_SECOND_NS)
        queue->paid_until_ns = now - CLOCK_SECOND_NS;
    due = (now - queue->paid_until_ns) * rate / CLOCK_SECOND_NS;
    return (unsigned)MIN(due, (uint64_t)budget);
}

/* One frame, to hear whether the guest takes any. 0: the frame is done. */
static int null_deliver_first(struct null_queue *queue, const struct null_endpoint *null)
{
    struct endpoint_rx *rx = queue->rx;
    struct reservation room;
    int rc = rx->ops->reserve(rx, null->generate_len, null->generate_len, &room);

    if (rc == -EAGAIN)
        return rc;
    if (rc < 0) {
        rx->ops->drop(rx, rc);
        return rc;
    }
    span_copy_in(room.iov, null->template, null->generate_len);
    rx->ops->commit(rx, null->generate_len, &null_no_offload);
    return 0;
}

/* -EAGAIN: the guest has no more room; the frames that are done are counted. */
static int null_deliver(struct null_queue *queue, const struct null_endpoint *null, unsigned due,
                        unsigned *ret_done)
{
    int rc = due == 0 ? 0 : null_deliver_first(queue, null);

    *ret_done = due != 0 && rc != -EAGAIN;
    while (rc == 0 && *ret_done < due) {
        unsigned wanted = MIN(due - *ret_done, (unsigned)NULL_BATCH);
        unsigned done = queue->rx->ops->deliver(queue->rx, null->frame, wanted);

        *ret_done += done;
        rc = done < wanted ? -EAGAIN : 0;
    }
    return rc;
}

static unsigned null_receive(struct endpoint_queue *endpoint_queue, unsigned budget)
{
    struct null_queue *queue = (struct null_queue *)endpoint_queue;
    const struct null_endpoint *null = (struct null_endpoint *)endpoint_queue->endpoint;
    uint64_t expiries;
    unsigned done;
    int rc;

    if (queue->timer_fd < 0)
        return 0;
    rc = null_deliver(queue, null, null_due(queue, null->rate, budget), &done);
    if (null->rate != 0)
        queue->paid_until_ns += done * CLOCK_SECOND_NS / null->rate;
    if (rc == -EAGAIN || done == budget)
        return done;
    /* Nothing more is due, or the guest refuses: sleep until the next tick. */
    if (read(queue->timer_fd, &expiries, sizeof(expiries)) < 0 && rc == 0)
        return done;
    if (rc != 0)
        null_timer_set(queue, NULL_RETRY_NS);
    return done;
}

static int null_wait_fd(struct endpoint_queue *queue)
{
    return ((struct null_queue *)queue)->timer_fd;
}

static void null_inspect(struct endpoint *endpoint, struct inspect *visitor)
{
    const struct null_endpoint *null = (struct null_endpoint *)endpoint;

    inspect_number(visitor, "generate_len", null->generate_len);
    inspect_number(visitor, "rate", null->rate);
}

const struct endpoint_ops null_endpoint_ops = {
    .kind = "null",
    .summary = "drops what the guest sends; can make frames for it",
    .options_help = "generate=LEN  make frames of LEN bytes for the guest on every queue pair\n"
                    "rate=N        at most N of them a second and pair (default: no limit)\n",
    .open = null_open,
    .close = null_close,
    .capabilities = null_capabilities,
    .set_offloads = null_set_offloads,
    .queue_open = null_queue_open,
    .queue_close = null_queue_close,
    .send = null_send,
    .receive = null_receive,
    .wait_fd = null_wait_fd,
    .inspect = null_inspect,
};
