/* SPDX-License-Identifier: MIT */
/*
 * The data path of a tap: one writev a frame from the guest's memory, one readv a frame into it.
 *
 * The length of a frame is known only after it was read, and the kernel cuts what does not fit. So
 * each read has a tail in `held`, behind the guest's room: a frame that runs over is put together
 * there, and is delivered as soon as the guest gives enough room. Nothing is lost or cut.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd_frames.h"
#include "base/span_copy.h"
#include "endpoint/tap/device.h"
#include "endpoint/tap/tap.h"
#include "endpoint/tap/vnet.h"

enum {
    QUEUE_HELD_LEN = FRAME_LEN_MAX + 1, /* one more: a frame that fills it may have been cut */
    QUEUE_LARGE_CREDIT = 64, /* this many frames after a large one get room for a large one */
    QUEUE_STALE_MAX = 4096,
    ETHERNET_OVERHEAD = 14 + 8, /* header and two VLAN tags */
};

struct tap_queue {
    struct endpoint_queue base;
    struct endpoint_rx *rx; /* borrowed until queue_close */
    struct tap *tap;        /* back-pointer */
    struct tap_port *port;  /* borrowed from tap */
    int gone;               /* the interface went away: drop everything until we are closed */

    uint32_t large_credit;
    uint32_t held_len; /* 0: nothing is held */
    struct frame_offload held_offload;
    struct iovec tx_iov[1 + FRAME_SPANS_MAX];
    struct iovec rx_iov[1 + RESERVE_MAX_SPANS + 1];
    uint8_t held[QUEUE_HELD_LEN];
};

int tap_queue_wait_fd(struct endpoint_queue *queue)
{
    return ((struct tap_queue *)queue)->port->fd;
}

/* Throws away what came while nobody listened, as a detached queue of a multi-queue tap does. */
static void queue_forget_stale(struct tap_queue *queue)
{
    for (unsigned i = 0; i < QUEUE_STALE_MAX; i++) {
        if (read(queue->port->fd, queue->held, sizeof(queue->held)) <= 0)
            return;
    }
}

void tap_queue_held(const struct tap_queue *queue, struct tap_frame *ret_frame)
{
    ret_frame->len = queue->held_len;
    ret_frame->offload = queue->held_offload;
    memcpy(ret_frame->bytes, queue->held, queue->held_len);
}

/* In another process the queue was open: its fd is attached, and what is in it is the guest's. */
static void queue_inherit(struct tap_queue *queue)
{
    struct tap_frame *frame = queue->port->inherited;

    queue->held_len = frame->len;
    queue->held_offload = frame->offload;
    memcpy(queue->held, frame->bytes, frame->len);
    free(frame);
    queue->port->inherited = NULL;
}

/* 0, or -errno of a queue of several that can't be attached. */
static int queue_begin(struct tap_queue *queue)
{
    if (queue->port->inherited != NULL) {
        queue_inherit(queue);
        return 0;
    }
    if (queue->tap->multi_queue)
        return device_attach(queue->port->fd);
    queue_forget_stale(queue);
    return 0;
}

int tap_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                   struct endpoint_queue **ret_queue, struct error *err)
{
    struct tap *tap = (struct tap *)endpoint;
    struct tap_queue *queue;
    int rc;

    if (index >= tap->port_count)
        return error_set(err, ERANGE, "endpoint tap: %s has %u queue pairs, not %u", tap->ifname,
                         tap->port_count, index + 1);
    queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return error_set(err, ENOMEM, "endpoint tap: out of memory for queue %u", index);
    queue->base.endpoint = endpoint;
    queue->rx = rx;
    queue->tap = tap;
    queue->port = &tap->port[index];
    rc = queue_begin(queue);
    if (rc < 0) {
        free(queue);
        return error_set(err, -rc, "endpoint tap: can't attach queue %u of %s: %s", index,
                         tap->ifname, strerror(-rc));
    }
    queue->port->queue = queue;
    *ret_queue = &queue->base;
    return 0;
}

void tap_queue_close(struct endpoint_queue *endpoint_queue)
{
    struct tap_queue *queue = (struct tap_queue *)endpoint_queue;

    if (queue == NULL)
        return;
    /* Fails only if the interface is gone, and then there is nothing to detach from. */
    if (queue->tap->multi_queue && !queue->gone && !queue->tap->given)
        device_detach(queue->port->fd);
    queue->port->queue = NULL;
    free(queue);
}

/* The fd of a deleted interface is "in error" for ever, and a worker that polls it would spin. Its
 * place is taken by an fd that is never ready. A passed fd may have duplicates that keep it in
 * epoll sets: it stays as it is. */
static void queue_gone(struct tap_queue *queue)
{
    struct tap *tap = queue->tap;

    if (queue->gone)
        return;
    queue->gone = 1;
    if (tap->origin != TAP_PASSED)
        dup3(tap->idle_fd, queue->port->fd, O_CLOEXEC);
    event_bits_raise(&tap->events, ENDPOINT_EVENT_GONE);
}

/* At least one span; one is the common case: no call for it (base/fd_frames.h). */
static inline void iov_put(struct iovec *to, const struct iovec *from, unsigned count)
{
    to[0] = from[0];
    if (count > 1)
        memcpy(to + 1, from + 1, (count - 1) * sizeof(*to));
}

/* ---- transmit --------------------------------------------------------------------------- */

/* -EAGAIN, or 0: the frame is done. */
static int queue_write_failed(struct tap_queue *queue, int error)
{
    switch (error) {
    case EAGAIN:
        return -EAGAIN;
    case EBADFD:
    case ENODEV:
        queue_gone(queue);
        counter_add(&queue->port->tx_dropped_down, 1);
        return 0;
    case EIO: /* the interface is there, but an operator took it down */
        counter_add(&queue->port->tx_dropped_down, 1);
        return 0;
    default:
        /* ENOBUFS is here too: the fd stays writable, so to wait for it would be to spin. */
        counter_add(&queue->port->tx_dropped_refused, 1);
        return 0;
    }
}

static int queue_write(struct tap_queue *queue, const struct frame *frame)
{
    struct vnet_hdr hdr = vnet_hdr_from_offload(&frame->offload);
    ssize_t n;

    queue->tx_iov[0] = (struct iovec){&hdr, queue->tap->header_len};
    iov_put(queue->tx_iov + 1, frame->iov, frame->iov_count);
    do
        n = fd_frames_write(queue->port->fd, queue->tx_iov, (int)frame->iov_count + 1);
    while (n == -EINTR);
    return n < 0 ? queue_write_failed(queue, (int)-n) : 0;
}

unsigned tap_queue_send(struct endpoint_queue *endpoint_queue, const struct frame *frames,
                        unsigned count)
{
    struct tap_queue *queue = (struct tap_queue *)endpoint_queue;
    unsigned taken = 0;

    if (queue->gone) {
        counter_add(&queue->port->tx_dropped_down, count);
        return count;
    }
    while (taken < count && queue_write(queue, &frames[taken]) == 0)
        taken++;
    return taken;
}

/* ---- receive ---------------------------------------------------------------------------- */

static uint32_t offload_needed(const struct frame_offload *offload)
{
    uint32_t needed = (offload->gso_type & FRAME_GSO_ECN) != 0 ? ENDPOINT_ECN : 0;
    unsigned tunnel = offload->gso_type & FRAME_GSO_UDP_TUNNEL;

    if (tunnel != 0)
        needed |= (offload->flags & FRAME_UDP_TUNNEL_CSUM) != 0 ? ENDPOINT_UDP_TUNNELS
                                                                : ENDPOINT_UDP_TUNNEL;
    switch (offload->gso_type & ~(FRAME_GSO_ECN | FRAME_GSO_UDP_TUNNEL)) {
    case FRAME_GSO_NONE:
        return tunnel != 0 ? UINT32_MAX : needed;
    case FRAME_GSO_TCPV4:
        return needed | ENDPOINT_TSO4;
    case FRAME_GSO_TCPV6:
        return needed | ENDPOINT_TSO6;
    case FRAME_GSO_UDP_L4: /* both are agreed to, or neither was switched on */
        return needed | ENDPOINT_USO4 | ENDPOINT_USO6;
    case FRAME_GSO_UDP:
        return needed | ENDPOINT_UFO;
    default:
        return UINT32_MAX;
    }
}

/* Frames that were queued before the agreement changed, and nonsense from a strange fd=. */
static int offload_deliverable(const struct tap_queue *queue, const struct frame_offload *offload,
                               uint32_t len)
{
    uint32_t agreed = atomic_load_explicit(&queue->tap->rx_agreed, memory_order_relaxed);

    if ((offload->flags & FRAME_NEEDS_CSUM) != 0 &&
        (uint32_t)offload->csum_start + offload->csum_offset + 2 > len)
        return 0;
    return offload->gso_type == FRAME_GSO_NONE || (offload_needed(offload) & ~agreed) == 0;
}

/* How much room to ask for. Room for 64 KiB costs the NIC a look at dozens of buffers, so it is
 * asked for only while large frames come; the first one of them goes through `held`. */
static uint32_t queue_room_wanted(const struct tap_queue *queue)
{
    uint32_t mtu = atomic_load_explicit(&queue->tap->mtu, memory_order_relaxed);

    return queue->large_credit > 0 || mtu == 0 ? FRAME_LEN_MAX : mtu + ETHERNET_OVERHEAD;
}

static void queue_note_len(struct tap_queue *queue, uint32_t len)
{
    uint32_t mtu = atomic_load_explicit(&queue->tap->mtu, memory_order_relaxed);

    if (len > mtu + ETHERNET_OVERHEAD)
        queue->large_credit = QUEUE_LARGE_CREDIT;
    else if (queue->large_credit > 0)
        queue->large_credit--;
}

/* Reads one frame: into the room and, behind it, into `held`. Its length, or -errno. */
static int queue_read(struct tap_queue *queue, const struct reservation *room,
                      struct frame_offload *ret_offload)
{
    uint32_t in_guest = MIN(room->room, (uint32_t)FRAME_LEN_MAX);
    struct iovec *iov = queue->rx_iov;
    struct vnet_hdr hdr = {0};
    ssize_t n;

    iov[0] = (struct iovec){&hdr, queue->tap->header_len};
    if (room->iov_count > 0)
        iov_put(iov + 1, room->iov, room->iov_count);
    iov[1 + room->iov_count] =
        (struct iovec){queue->held + in_guest, sizeof(queue->held) - in_guest};
    do
        n = fd_frames_read(queue->port->fd, iov, (int)room->iov_count + 2);
    while (n == -EINTR);
    if (n < 0)
        return (int)n;
    if (n < (ssize_t)queue->tap->header_len)
        return -EIO;
    *ret_offload = vnet_hdr_to_offload(&hdr);
    return (int)(n - (ssize_t)queue->tap->header_len);
}

/* -EAGAIN, or 0: what was held is done. */
static int queue_deliver_held(struct tap_queue *queue)
{
    struct endpoint_rx *rx = queue->rx;
    struct reservation room;
    int rc = rx->ops->reserve(rx, queue->held_len, queue->held_len, &room);

    if (rc == -EAGAIN)
        return rc;
    if (rc < 0) {
        rx->ops->drop(rx, rc);
    } else {
        span_copy_in(room.iov, queue->held, queue->held_len);
        rx->ops->commit(rx, queue->held_len, &queue->held_offload);
    }
    queue->held_len = 0;
    return 0;
}

/* Decides what becomes of a frame that was read. */
static int queue_finish(struct tap_queue *queue, const struct reservation *room, uint32_t len,
                        const struct frame_offload *offload)
{
    queue_note_len(queue, len);
    if (len > FRAME_LEN_MAX || len < FRAME_LEN_MIN || !offload_deliverable(queue, offload, len)) {
        counter_add(&queue->port->rx_dropped_offload, 1);
        return 0;
    }
    if (len <= room->room) {
        queue->rx->ops->commit(queue->rx, len, offload);
        return 0;
    }
    counter_add(&queue->port->rx_held, 1);
    span_copy_out(queue->held, room->iov, room->room);
    queue->held_len = len;
    queue->held_offload = *offload;
    return queue_deliver_held(queue);
}

/* One frame from the device. 0: delivered or dropped. -EAGAIN: none, or no room for it. */
static int queue_receive_one(struct tap_queue *queue)
{
    struct endpoint_rx *rx = queue->rx;
    struct reservation room = {0};
    struct frame_offload offload = {0};
    int refusal = rx->ops->reserve(rx, FRAME_LEN_MIN, queue_room_wanted(queue), &room);
    int len;

    if (refusal == -EAGAIN)
        return refusal;
    if (refusal < 0)
        room = (struct reservation){0}; /* nothing fits: read the frame to be rid of it */
    len = queue_read(queue, &room, &offload);
    if (len == -EBADFD || len == -ENODEV)
        queue_gone(queue);
    if (len < 0)
        return -EAGAIN;
    if (refusal < 0) {
        rx->ops->drop(rx, refusal);
        return 0;
    }
    return queue_finish(queue, &room, (uint32_t)len, &offload);
}

unsigned tap_queue_receive(struct endpoint_queue *endpoint_queue, unsigned budget)
{
    struct tap_queue *queue = (struct tap_queue *)endpoint_queue;
    unsigned done = 0;

    if (queue->gone)
        return 0;
    if (budget > 0 && queue->held_len > 0) {
        if (queue_deliver_held(queue) < 0)
            return 0;
        done++;
    }
    while (done < budget && queue_receive_one(queue) == 0)
        done++;
    return done;
}
