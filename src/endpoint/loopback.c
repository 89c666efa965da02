/* SPDX-License-Identifier: MIT */
/*
 * What the guest sends on a queue comes back on the same queue: send() copies from the guest's
 * transmit buffers straight into its receive buffers. There is no store in between, so a guest that
 * gives no receive buffers is held back, and nothing is ever lost for want of memory.
 */
#include "endpoint/loopback.h"

#include <errno.h>
#include <stdlib.h>

#include "endpoint/spec.h"

enum {
    LOOPBACK_PAIRS_MAX = 32768, /* as many as virtio has (virtio 1.4, 5.1.4) */
};

struct loopback_queue {
    struct endpoint_queue base;
    struct endpoint_rx *rx; /* borrowed until queue_close */
};

struct loopback {
    struct endpoint base;
};

static int loopback_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                         struct error *err)
{
    static const char *const keys[] = {NULL};
    struct loopback *loopback;
    int rc = endpoint_spec_allow(spec, keys, err);

    if (rc < 0)
        return rc;
    loopback = calloc(1, sizeof(*loopback));
    if (loopback == NULL)
        return error_set(err, ENOMEM, "endpoint loopback: out of memory");
    loopback->base.ops = &loopback_endpoint_ops;
    *ret_endpoint = &loopback->base;
    return 0;
}

static void loopback_close(struct endpoint *endpoint)
{
    free(endpoint);
}

/* Frames are left as they are: the NIC cuts and completes what a guest sends and refuses to take.
 */
static void loopback_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    (void)endpoint;
    *ret_caps = (struct endpoint_caps){
        .tx_offloads = ENDPOINT_OFFLOADS_ALL,
        .rx_offloads = ENDPOINT_OFFLOADS_ALL,
        .queue_pairs_max = LOOPBACK_PAIRS_MAX,
    };
}

static int loopback_set_offloads(struct endpoint *endpoint, uint32_t rx_offloads)
{
    (void)endpoint;
    (void)rx_offloads;
    return 0;
}

static int loopback_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                               struct endpoint_queue **ret_queue, struct error *err)
{
    struct loopback_queue *queue = calloc(1, sizeof(*queue));

    if (queue == NULL)
        return error_set(err, ENOMEM, "endpoint loopback: out of memory for queue %u", index);
    queue->base.endpoint = endpoint;
    queue->rx = rx;
    *ret_queue = &queue->base;
    return 0;
}

static void loopback_queue_close(struct endpoint_queue *queue)
{
    free(queue);
}

static unsigned loopback_send(struct endpoint_queue *endpoint_queue, const struct frame *frames,
                              unsigned count)
{
    struct endpoint_rx *rx = ((struct loopback_queue *)endpoint_queue)->rx;

    return rx->ops->deliver(rx, frames, count);
}

static int loopback_wait_fd(struct endpoint_queue *queue)
{
    (void)queue;
    return -1;
}

const struct endpoint_ops loopback_endpoint_ops = {
    .kind = "loopback",
    .summary = "what the guest sends on a queue pair comes back on the same pair",
    .options_help = "",
    .open = loopback_open,
    .close = loopback_close,
    .capabilities = loopback_capabilities,
    .set_offloads = loopback_set_offloads,
    .queue_open = loopback_queue_open,
    .queue_close = loopback_queue_close,
    .send = loopback_send,
    .wait_fd = loopback_wait_fd,
};
