/* SPDX-License-Identifier: MIT */
#include "api/outside_endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/sized.h"
#include "base/checked.h"

struct outside {
    struct endpoint base;
    struct endpoint_ops ops;         /* what base.ops points to: those that the embedder has */
    const struct outside_kind *kind; /* borrowed */
    void *endpoint;                  /* what the embedder calls it */
};

struct outside_queue {
    struct endpoint_queue base;
    const struct vionic_endpoint_ops *ops; /* borrowed from the kind */
    void *queue;                           /* what the embedder calls it */
};

/* ---- the same bytes on both sides ------------------------------------------------------- */

#define SAME_MEMBER(inside, outside, member)                                                       \
    _Static_assert(offsetof(struct inside, member) == offsetof(struct outside, member) &&          \
                       sizeof(((struct inside *)0)->member) ==                                     \
                           sizeof(((struct outside *)0)->member),                                  \
                   #inside " and " #outside " differ in " #member)
#define SAME_SIZE(inside, outside)                                                                 \
    _Static_assert(sizeof(struct inside) == sizeof(struct outside),                                \
                   #inside " and " #outside " differ in size")

SAME_SIZE(frame_offload, vionic_offload);
SAME_MEMBER(frame_offload, vionic_offload, flags);
SAME_MEMBER(frame_offload, vionic_offload, gso_type);
SAME_MEMBER(frame_offload, vionic_offload, hdr_len);
SAME_MEMBER(frame_offload, vionic_offload, gso_size);
SAME_MEMBER(frame_offload, vionic_offload, csum_start);
SAME_MEMBER(frame_offload, vionic_offload, csum_offset);
SAME_MEMBER(frame_offload, vionic_offload, outer_th_offset);
SAME_MEMBER(frame_offload, vionic_offload, inner_nh_offset);
SAME_SIZE(frame, vionic_frame);
SAME_MEMBER(frame, vionic_frame, iov);
SAME_MEMBER(frame, vionic_frame, iov_count);
SAME_MEMBER(frame, vionic_frame, len);
SAME_MEMBER(frame, vionic_frame, token);
SAME_MEMBER(frame, vionic_frame, offload);
SAME_SIZE(reservation, vionic_reservation);
SAME_MEMBER(reservation, vionic_reservation, iov);
SAME_MEMBER(reservation, vionic_reservation, iov_count);
SAME_MEMBER(reservation, vionic_reservation, room);
_Static_assert((int)FRAME_NEEDS_CSUM == VIONIC_FRAME_NEEDS_CSUM &&
                   (int)FRAME_DATA_VALID == VIONIC_FRAME_DATA_VALID &&
                   (int)FRAME_UDP_TUNNEL_CSUM == VIONIC_FRAME_UDP_TUNNEL_CSUM &&
                   (int)FRAME_GSO_TCPV4 == VIONIC_FRAME_GSO_TCPV4 &&
                   (int)FRAME_GSO_UDP == VIONIC_FRAME_GSO_UDP &&
                   (int)FRAME_GSO_TCPV6 == VIONIC_FRAME_GSO_TCPV6 &&
                   (int)FRAME_GSO_UDP_L4 == VIONIC_FRAME_GSO_UDP_L4 &&
                   (int)FRAME_GSO_UDP_TUNNEL_IPV4 == VIONIC_FRAME_GSO_UDP_TUNNEL_IPV4 &&
                   (int)FRAME_GSO_UDP_TUNNEL_IPV6 == VIONIC_FRAME_GSO_UDP_TUNNEL_IPV6 &&
                   (int)FRAME_GSO_ECN == VIONIC_FRAME_GSO_ECN,
               "offload fields are passed on as they are");
_Static_assert((int)FRAME_SPANS_MAX == VIONIC_FRAME_SPANS_MAX &&
                   (int)FRAME_LEN_MAX == VIONIC_FRAME_LEN_MAX &&
                   (int)FRAME_LEN_MIN == VIONIC_FRAME_LEN_MIN &&
                   (int)RESERVE_MAX_SPANS == VIONIC_RESERVE_SPANS_MAX,
               "limits are promised");
_Static_assert((int)ENDPOINT_CSUM == VIONIC_ENDPOINT_CSUM &&
                   (int)ENDPOINT_TSO4 == VIONIC_ENDPOINT_TSO4 &&
                   (int)ENDPOINT_TSO6 == VIONIC_ENDPOINT_TSO6 &&
                   (int)ENDPOINT_ECN == VIONIC_ENDPOINT_ECN &&
                   (int)ENDPOINT_USO4 == VIONIC_ENDPOINT_USO4 &&
                   (int)ENDPOINT_USO6 == VIONIC_ENDPOINT_USO6 &&
                   (int)ENDPOINT_UFO == VIONIC_ENDPOINT_UFO &&
                   (int)ENDPOINT_UDP_TUNNEL == VIONIC_ENDPOINT_UDP_TUNNEL &&
                   (int)ENDPOINT_UDP_TUNNEL_CSUM == VIONIC_ENDPOINT_UDP_TUNNEL_CSUM,
               "capabilities are passed on as they are");
_Static_assert((int)ENDPOINT_EVENT_LINK == VIONIC_ENDPOINT_EVENT_LINK &&
                   (int)ENDPOINT_EVENT_RESTART == VIONIC_ENDPOINT_EVENT_RESTART &&
                   (int)ENDPOINT_EVENT_GONE == VIONIC_ENDPOINT_EVENT_GONE,
               "events are passed on as they are");

enum {
    OUTSIDE_OFFLOADS = VIONIC_ENDPOINT_CSUM | VIONIC_ENDPOINT_TSO4 | VIONIC_ENDPOINT_TSO6 |
                       VIONIC_ENDPOINT_ECN | VIONIC_ENDPOINT_USO4 | VIONIC_ENDPOINT_USO6 |
                       VIONIC_ENDPOINT_UFO | VIONIC_ENDPOINT_UDP_TUNNEL |
                       VIONIC_ENDPOINT_UDP_TUNNEL_CSUM,
    OUTSIDE_EVENTS =
        VIONIC_ENDPOINT_EVENT_LINK | VIONIC_ENDPOINT_EVENT_RESTART | VIONIC_ENDPOINT_EVENT_GONE,
};

static struct endpoint_rx *rx_inside(struct vionic_rx *rx)
{
    return (struct endpoint_rx *)rx;
}

int vionic_rx_reserve(struct vionic_rx *rx, uint32_t min, uint32_t max,
                      struct vionic_reservation *ret_reservation)
{
    return rx_inside(rx)->ops->reserve(rx_inside(rx), min, max,
                                       (struct reservation *)ret_reservation);
}

void vionic_rx_commit(struct vionic_rx *rx, uint32_t len, const struct vionic_offload *offload)
{
    rx_inside(rx)->ops->commit(rx_inside(rx), len, (const struct frame_offload *)offload);
}

void vionic_rx_drop(struct vionic_rx *rx, int error)
{
    rx_inside(rx)->ops->drop(rx_inside(rx), error);
}

unsigned vionic_rx_deliver(struct vionic_rx *rx, const struct vionic_frame *frames, unsigned count)
{
    return rx_inside(rx)->ops->deliver(rx_inside(rx), (const struct frame *)frames, count);
}

/* ---- queues ----------------------------------------------------------------------------- */

static int outside_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                              struct endpoint_queue **ret_queue, struct error *err)
{
    struct outside *outside = (struct outside *)endpoint;
    struct outside_queue *queue = calloc(1, sizeof(*queue));
    struct vionic_error reason = {"it can't be opened"};
    int result;

    if (queue == NULL)
        return error_set(err, ENOMEM, "endpoint %s: out of memory", outside->ops.kind);
    queue->base.endpoint = endpoint;
    queue->ops = &outside->kind->ops;
    result = queue->ops->queue_open(outside->endpoint, index, (struct vionic_rx *)rx, &queue->queue,
                                    &reason);
    if (result < 0) {
        free(queue);
        return error_set(err, -result, "endpoint %s: queue pair %u: %s", outside->ops.kind, index,
                         reason.text);
    }
    *ret_queue = &queue->base;
    return 0;
}

static void outside_queue_close(struct endpoint_queue *endpoint_queue)
{
    struct outside_queue *queue = (struct outside_queue *)endpoint_queue;

    if (queue->ops->queue_close != NULL)
        queue->ops->queue_close(queue->queue);
    free(queue);
}

static unsigned outside_send(struct endpoint_queue *endpoint_queue, const struct frame *frames,
                             unsigned count)
{
    struct outside_queue *queue = (struct outside_queue *)endpoint_queue;

    return queue->ops->send(queue->queue, (const struct vionic_frame *)frames, count);
}

static unsigned outside_reap(struct endpoint_queue *endpoint_queue, uint32_t *ret_tokens,
                             unsigned max)
{
    struct outside_queue *queue = (struct outside_queue *)endpoint_queue;

    return queue->ops->reap(queue->queue, ret_tokens, max);
}

static unsigned outside_receive(struct endpoint_queue *endpoint_queue, unsigned budget)
{
    struct outside_queue *queue = (struct outside_queue *)endpoint_queue;

    return queue->ops->receive(queue->queue, budget);
}

static int outside_wait_fd(struct endpoint_queue *endpoint_queue)
{
    struct outside_queue *queue = (struct outside_queue *)endpoint_queue;

    return queue->ops->wait_fd == NULL ? -1 : queue->ops->wait_fd(queue->queue);
}

static void outside_quiesce(struct endpoint_queue *endpoint_queue)
{
    struct outside_queue *queue = (struct outside_queue *)endpoint_queue;

    queue->ops->quiesce(queue->queue);
}

/* ---- the endpoint ----------------------------------------------------------------------- */

static void outside_close(struct endpoint *endpoint)
{
    struct outside *outside = (struct outside *)endpoint;

    if (outside == NULL)
        return;
    if (outside->kind->ops.close != NULL)
        outside->kind->ops.close(outside->endpoint);
    free(outside);
}

static void outside_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    struct outside *outside = (struct outside *)endpoint;
    struct vionic_endpoint_caps caps = {.size = sizeof(caps)};

    if (outside->kind->ops.capabilities != NULL)
        outside->kind->ops.capabilities(outside->endpoint, &caps);
    *ret_caps = (struct endpoint_caps){
        .tx_offloads = caps.tx_offloads & OUTSIDE_OFFLOADS,
        .rx_offloads = caps.rx_offloads & OUTSIDE_OFFLOADS,
        .queue_pairs_max = MAX(caps.queue_pairs_max, 1),
        .mtu = caps.mtu,
        .speed_mbps = caps.speed_mbps,
    };
}

static int outside_set_offloads(struct endpoint *endpoint, uint32_t rx_offloads)
{
    struct outside *outside = (struct outside *)endpoint;

    return outside->kind->ops.set_offloads(outside->endpoint, rx_offloads);
}

static int outside_link_up(struct endpoint *endpoint)
{
    struct outside *outside = (struct outside *)endpoint;

    return outside->kind->ops.link_up(outside->endpoint) != 0;
}

static int outside_event_fd(struct endpoint *endpoint)
{
    struct outside *outside = (struct outside *)endpoint;

    return outside->kind->ops.event_fd(outside->endpoint);
}

static uint32_t outside_events(struct endpoint *endpoint)
{
    struct outside *outside = (struct outside *)endpoint;

    return outside->kind->ops.events(outside->endpoint) & OUTSIDE_EVENTS;
}

/* ---- inspect: the embedder's visitor in front of ours ----------------------------------- */

static void show_enter(void *context, const char *name)
{
    inspect_enter(context, name);
}

static void show_leave(void *context)
{
    inspect_leave(context);
}

static void show_text(void *context, const char *name, const char *value)
{
    inspect_text(context, name, "%s", value);
}

static void show_number(void *context, const char *name, uint64_t value, int style)
{
    struct inspect *visitor = context;

    visitor->ops->number(visitor->context, name, value, (enum inspect_style)style);
}

static void show_flag(void *context, const char *name, int value)
{
    inspect_flag(context, name, value);
}

static void outside_inspect(struct endpoint *endpoint, struct inspect *visitor)
{
    struct outside *outside = (struct outside *)endpoint;
    const struct vionic_visitor shown = {
        .size = sizeof(shown),
        .context = visitor,
        .enter = show_enter,
        .leave = show_leave,
        .text = show_text,
        .number = show_number,
        .flag = show_flag,
    };

    outside->kind->ops.inspect(outside->endpoint, &shown);
}

/* ---- open ------------------------------------------------------------------------------- */

/* Callers tell by a NULL what an endpoint does not have. */
static void ops_fill(struct endpoint_ops *ops, const struct vionic_endpoint_ops *given)
{
    *ops = (struct endpoint_ops){
        .kind = given->kind,
        .close = outside_close,
        .capabilities = outside_capabilities,
        .set_offloads = given->set_offloads == NULL ? NULL : outside_set_offloads,
        .queue_open = outside_queue_open,
        .queue_close = outside_queue_close,
        .send = outside_send,
        .reap = given->reap == NULL ? NULL : outside_reap,
        .receive = given->receive == NULL ? NULL : outside_receive,
        .wait_fd = outside_wait_fd,
        .quiesce = given->quiesce == NULL ? NULL : outside_quiesce,
        .link_up = given->link_up == NULL ? NULL : outside_link_up,
        .event_fd = given->event_fd == NULL ? NULL : outside_event_fd,
        .events = given->events == NULL ? NULL : outside_events,
        .inspect = given->inspect == NULL ? NULL : outside_inspect,
    };
}

int outside_endpoint_open(void *context, const struct endpoint_spec *spec,
                          struct endpoint **ret_endpoint, struct error *err)
{
    const struct outside_kind *kind = context;
    struct outside *outside = calloc(1, sizeof(*outside));
    struct vionic_error reason = {"it can't be opened"};
    int result = 0;

    if (outside == NULL)
        return error_set(err, ENOMEM, "endpoint %s: out of memory", kind->ops.kind);
    outside->kind = kind;
    outside->base.ops = &outside->ops;
    outside->endpoint = kind->context;
    ops_fill(&outside->ops, &kind->ops);
    if (kind->ops.open != NULL)
        result = kind->ops.open(kind->context, spec->queue_pairs, &outside->endpoint, &reason);
    if (result < 0) {
        free(outside);
        return error_set(err, -result, "endpoint %s: %s", kind->ops.kind, reason.text);
    }
    *ret_endpoint = &outside->base;
    return 0;
}

static int ops_check(const struct vionic_endpoint_ops *ops, struct error *err)
{
    if (ops->kind == NULL || ops->kind[0] == '\0' || strpbrk(ops->kind, ":,=") != NULL)
        return error_set(err, EINVAL, "vionic_endpoint_ops.kind has to be a plain name");
    if (ops->queue_open == NULL || ops->send == NULL)
        return error_set(err, EINVAL, "endpoint %s: it needs queue_open() and send()", ops->kind);
    if (ops->reap != NULL && ops->quiesce == NULL)
        return error_set(err, EINVAL, "endpoint %s: with reap() it needs quiesce()", ops->kind);
    if (ops->event_fd != NULL && ops->events == NULL)
        return error_set(err, EINVAL, "endpoint %s: with event_fd() it needs events()", ops->kind);
    return 0;
}

int outside_kind_create(const struct vionic_endpoint_ops *given, void *context,
                        struct outside_kind **ret_kind, struct error *err)
{
    struct vionic_endpoint_ops ops;
    struct outside_kind *kind;
    int result = sized_read(given, "vionic_endpoint_ops", &ops, sizeof(ops), err);

    if (result == 0)
        result = ops_check(&ops, err);
    if (result < 0)
        return result;
    kind = calloc(1, sizeof(*kind));
    ops.kind = strdup(ops.kind);
    if (kind == NULL || ops.kind == NULL) {
        free((char *)ops.kind);
        free(kind);
        return error_set(err, ENOMEM, "out of memory");
    }
    *kind = (struct outside_kind){.ops = ops, .context = context};
    *ret_kind = kind;
    return 0;
}

void outside_kind_free(struct outside_kind *kind)
{
    if (kind == NULL)
        return;
    free((char *)kind->ops.kind);
    free(kind);
}
