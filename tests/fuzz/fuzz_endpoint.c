/* SPDX-License-Identifier: MIT */
#include "fuzz_endpoint.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/span_copy.h"
#include "fuzz.h"

static struct fuzz_endpoint *endpoint_of(struct endpoint_queue *queue)
{
    return CONTAINER_OF(queue, struct fuzz_endpoint, queue);
}

/* ---- what the contract promises about a frame ----------------------------------------------- */

/* Datagrams need the bit of their own family; here either will do. */
static uint32_t offloads_of(const struct frame_offload *offload, uint32_t agreed)
{
    uint32_t bits = offload->flags & FRAME_NEEDS_CSUM ? ENDPOINT_CSUM : 0;

    if (offload->gso_type & FRAME_GSO_ECN)
        bits |= ENDPOINT_ECN;
    if (offload->flags & FRAME_UDP_TUNNEL_CSUM)
        bits |= ENDPOINT_UDP_TUNNEL_CSUM;
    if (offload->gso_type & FRAME_GSO_UDP_TUNNEL)
        bits |= ENDPOINT_UDP_TUNNEL;
    switch (offload->gso_type & ~(FRAME_GSO_ECN | FRAME_GSO_UDP_TUNNEL)) {
    case FRAME_GSO_NONE:
        FUZZ_CHECK((bits & ENDPOINT_UDP_TUNNELS) == 0, "a tunnel without segments");
        return bits;
    case FRAME_GSO_TCPV4:
        return bits | ENDPOINT_TSO4;
    case FRAME_GSO_TCPV6:
        return bits | ENDPOINT_TSO6;
    case FRAME_GSO_UDP:
        return bits | ENDPOINT_UFO;
    case FRAME_GSO_UDP_L4:
        return bits | (agreed & ENDPOINT_USO6 ? ENDPOINT_USO6 : ENDPOINT_USO4);
    default:
        FUZZ_CHECK(0, "GSO type 0x%x does not exist", offload->gso_type);
    }
}

/* What Linux demands (virtio_net_hdr_tnl_to_skb). */
static void check_tunnel(const struct frame_offload *offload)
{
    unsigned outer = offload->gso_type & FRAME_GSO_UDP_TUNNEL;
    unsigned inner = offload->gso_type & ~(FRAME_GSO_ECN | FRAME_GSO_UDP_TUNNEL);
    unsigned outer_least = FRAME_LEN_MIN + (outer == FRAME_GSO_UDP_TUNNEL_IPV6 ? 40 : 20);

    FUZZ_CHECK(outer != FRAME_GSO_UDP_TUNNEL && inner != FRAME_GSO_UDP, "GSO type 0x%x",
               offload->gso_type);
    FUZZ_CHECK(offload->outer_th_offset >= outer_least, "outer UDP at %u",
               offload->outer_th_offset);
    FUZZ_CHECK(offload->inner_nh_offset >= offload->outer_th_offset + 8, "inner IP at %u",
               offload->inner_nh_offset);
    FUZZ_CHECK(offload->csum_start >=
                   offload->inner_nh_offset + (inner == FRAME_GSO_TCPV6 ? 40 : 20),
               "inner transport at %u", offload->csum_start);
}

static void check_offload(const struct fuzz_endpoint *endpoint, const struct frame *frame)
{
    const struct frame_offload *offload = &frame->offload;
    uint32_t field = (uint32_t)offload->csum_start + offload->csum_offset;

    FUZZ_CHECK((offload->flags & ~(FRAME_NEEDS_CSUM | FRAME_UDP_TUNNEL_CSUM)) == 0, "flags 0x%x",
               offload->flags);
    FUZZ_CHECK((offloads_of(offload, endpoint->tx_offloads) & ~endpoint->tx_offloads) == 0,
               "offload was not agreed");
    FUZZ_CHECK(offload->hdr_len <= frame->len, "hdr_len lies outside");
    if (offload->flags & FRAME_NEEDS_CSUM)
        FUZZ_CHECK(offload->csum_start >= FRAME_LEN_MIN && field + 2 <= frame->len,
                   "checksum at %u of %u bytes", field, frame->len);
    if (offload->gso_type == FRAME_GSO_NONE)
        return;
    FUZZ_CHECK(offload->flags & FRAME_NEEDS_CSUM && offload->gso_size != 0, "GSO without size");
    FUZZ_CHECK(frame->len / offload->gso_size < 1024, "GSO into a thousand segments");
    if (offload->gso_type & FRAME_GSO_UDP_TUNNEL)
        check_tunnel(offload);
    else
        FUZZ_CHECK(!(offload->flags & FRAME_UDP_TUNNEL_CSUM), "the checksum of no tunnel");
}

static void check_frame(const struct fuzz_endpoint *endpoint, const struct frame *frame)
{
    uint64_t len = 0;

    FUZZ_CHECK(frame->len >= FRAME_LEN_MIN && frame->len <= FRAME_LEN_MAX, "%u bytes", frame->len);
    FUZZ_CHECK(frame->iov_count >= 1 && frame->iov_count <= FRAME_SPANS_MAX, "%u spans",
               frame->iov_count);
    for (uint32_t i = 0; i < frame->iov_count; i++) {
        FUZZ_CHECK(endpoint->owns_span(endpoint->owns_context, &frame->iov[i], 0),
                   "span %u is not the guest's", i);
        len += frame->iov[i].iov_len;
    }
    FUZZ_CHECK(len == frame->len, "spans of %llu bytes for a frame of %u", (unsigned long long)len,
               frame->len);
    check_offload(endpoint, frame);
}

static void check_reservation(const struct fuzz_endpoint *endpoint, const struct reservation *room,
                              uint32_t min)
{
    uint64_t len = 0;

    FUZZ_CHECK(room->room >= min, "room for %u of %u bytes", room->room, min);
    FUZZ_CHECK(room->iov_count <= RESERVE_MAX_SPANS, "%u spans reserved", room->iov_count);
    for (uint32_t i = 0; i < room->iov_count; i++) {
        FUZZ_CHECK(room->iov[i].iov_len == 0 ||
                       endpoint->owns_span(endpoint->owns_context, &room->iov[i], 1),
                   "reserved span %u is not the guest's", i);
        len += room->iov[i].iov_len;
    }
    FUZZ_CHECK(len >= room->room, "spans of %llu bytes for room of %u", (unsigned long long)len,
               room->room);
}

/* ---- receive -------------------------------------------------------------------------------- */

static void room_fill(const struct reservation *room, uint32_t len)
{
    for (uint32_t i = 0; len != 0; i++) {
        uint32_t part = (uint32_t)MIN(room->iov[i].iov_len, len);

        memset(room->iov[i].iov_base, 0xa5, part);
        len -= part;
    }
}

/* 0: delivered or dropped; -EAGAIN: keep it. */
static int deliver(struct fuzz_endpoint *endpoint, uint32_t len, uint32_t max,
                   const struct frame_offload *offload)
{
    struct endpoint_rx *rx = endpoint->rx;
    struct reservation room = {0};
    int result = rx->ops->reserve(rx, len, max, &room);

    FUZZ_CHECK(result == 0 || result == -EAGAIN || result == -EMSGSIZE || result == -ENETDOWN,
               "reserve said %d", result);
    if (result == -EAGAIN)
        return result;
    if (result < 0) {
        rx->ops->drop(rx, result);
        return 0;
    }
    check_reservation(endpoint, &room, len);
    room_fill(&room, len);
    rx->ops->commit(rx, len, offload);
    return 0;
}

static unsigned fuzz_receive(struct endpoint_queue *queue, unsigned budget)
{
    struct fuzz_endpoint *endpoint = endpoint_of(queue);
    unsigned done = 0;

    while (done < budget && endpoint->pending != 0) {
        if (deliver(endpoint, endpoint->pending_len,
                    endpoint->pending_len + endpoint->pending_extra,
                    &endpoint->pending_offload) < 0)
            break;
        endpoint->pending--;
        done++;
    }
    return done;
}

/* ---- send ----------------------------------------------------------------------------------- */

static void frame_copy(struct fuzz_endpoint *endpoint, const struct frame *frame)
{
    if (endpoint->copy == NULL)
        return;
    endpoint->copy_len = 0;
    for (uint32_t i = 0; i < frame->iov_count; i++) {
        memcpy(endpoint->copy + endpoint->copy_len, frame->iov[i].iov_base, frame->iov[i].iov_len);
        endpoint->copy_len += (uint32_t)frame->iov[i].iov_len;
    }
    endpoint->copy_offload = frame->offload;
}

/* The frame comes back as it went out. 0, or -EAGAIN. */
static int loop_back(struct fuzz_endpoint *endpoint, const struct frame *frame)
{
    struct endpoint_rx *rx = endpoint->rx;
    struct reservation room = {0};
    int result = rx->ops->reserve(rx, frame->len, frame->len, &room);

    if (result == -EAGAIN)
        return result;
    if (result < 0) {
        rx->ops->drop(rx, result);
        return 0;
    }
    check_reservation(endpoint, &room, frame->len);
    span_copy_across(room.iov, frame->iov, frame->len);
    rx->ops->commit(rx, frame->len, &frame->offload);
    return 0;
}

/* All at once, so that they can be merged; the NIC says how many the guest had room for. */
static unsigned send_delivers(struct fuzz_endpoint *endpoint, const struct frame *frames,
                              unsigned count)
{
    unsigned wanted = MIN(count, endpoint->accept);
    unsigned done;

    for (unsigned i = 0; i < wanted; i++)
        check_frame(endpoint, &frames[i]);
    done = endpoint->rx->ops->deliver(endpoint->rx, frames, wanted);
    FUZZ_CHECK(done <= wanted, "%u of %u frames delivered", done, wanted);
    endpoint->accept -= done;
    endpoint->sent += done;
    return done;
}

static unsigned fuzz_send(struct endpoint_queue *queue, const struct frame *frames, unsigned count)
{
    struct fuzz_endpoint *endpoint = endpoint_of(queue);
    int keeps = endpoint->completion != FUZZ_SYNCHRONOUS;
    unsigned i;

    FUZZ_CHECK(count != 0, "send of nothing");
    if (endpoint->delivers)
        return send_delivers(endpoint, frames, count);
    for (i = 0; i < count && endpoint->accept != 0; i++) {
        check_frame(endpoint, &frames[i]);
        if (keeps && endpoint->held_count == FUZZ_HELD_MAX)
            break;
        frame_copy(endpoint, &frames[i]);
        if (endpoint->loops && loop_back(endpoint, &frames[i]) < 0)
            break;
        if (endpoint->look != NULL)
            endpoint->look(endpoint->look_context, &frames[i]);
        if (keeps)
            endpoint->held[endpoint->held_count++] = frames[i].token;
        endpoint->accept--;
        endpoint->sent++;
    }
    return i;
}

static unsigned fuzz_reap(struct endpoint_queue *queue, uint32_t *ret_tokens, unsigned max)
{
    struct fuzz_endpoint *endpoint = endpoint_of(queue);
    unsigned count = MIN(MIN(max, endpoint->reaps), endpoint->held_count);

    for (unsigned i = 0; i < count; i++)
        ret_tokens[i] = endpoint->completion == FUZZ_LAST_IN_FIRST_OUT
                            ? endpoint->held[endpoint->held_count - 1 - i]
                            : endpoint->held[i];
    endpoint->held_count -= count;
    if (endpoint->completion == FUZZ_FIRST_IN_FIRST_OUT)
        memmove(endpoint->held, endpoint->held + count,
                endpoint->held_count * sizeof(endpoint->held[0]));
    return count;
}

static void fuzz_quiesce(struct endpoint_queue *queue)
{
    endpoint_of(queue)->reaps = UINT32_MAX; /* all are done: nothing looks at them after send() */
}

static int fuzz_wait_fd(struct endpoint_queue *queue)
{
    (void)queue;
    return -1;
}

static const struct endpoint_ops synchronous_ops = {
    .kind = "fuzz", .send = fuzz_send, .receive = fuzz_receive, .wait_fd = fuzz_wait_fd};

static const struct endpoint_ops asynchronous_ops = {.kind = "fuzz",
                                                     .send = fuzz_send,
                                                     .reap = fuzz_reap,
                                                     .receive = fuzz_receive,
                                                     .wait_fd = fuzz_wait_fd,
                                                     .quiesce = fuzz_quiesce};

void fuzz_endpoint_init(struct fuzz_endpoint *endpoint, enum fuzz_completion completion)
{
    *endpoint =
        (struct fuzz_endpoint){.completion = completion, .accept = UINT32_MAX, .reaps = UINT32_MAX};
    endpoint->base.ops = completion == FUZZ_SYNCHRONOUS ? &synchronous_ops : &asynchronous_ops;
    endpoint->queue.endpoint = &endpoint->base;
}
