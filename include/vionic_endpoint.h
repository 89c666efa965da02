/* SPDX-License-Identifier: MIT */
/*
 * Endpoints of your own: what stands behind a NIC and moves its frames on. Fill in a struct
 * vionic_endpoint_ops, hand it to vionic_add_nic() in vionic_nic_config.endpoint_ops, and the
 * card's packets are yours.
 *
 *   open ─> queue_open (each pair) ─> send / receive … ─> quiesce ─> queue_close ─> close
 *
 * Threads: send, receive and reap are called by the one worker that owns the queue pair (without
 * threads: inside vionic_dispatch() and vionic_poll()). All other operations are called by the
 * thread that dispatches, while that worker stands still, but for inspect, which may run beside it.
 * An endpoint needs no lock of its own. Operations must not block and must not call functions of
 * vionic.h.
 *
 * Frames are host iovecs that point straight into guest memory. The guest may still change what
 * they hold: copy before you parse.
 */
#ifndef VIONIC_ENDPOINT_H
#define VIONIC_ENDPOINT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vionic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- frames ----------------------------------------------------------------------------- */

/* The values are those of struct virtio_net_hdr (virtio 1.4, 5.1.6), in host byte order. */
enum vionic_frame_flags {
    VIONIC_FRAME_NEEDS_CSUM = 1, /* the checksum at csum_start + csum_offset is only begun: the sum
                                    of the pseudo header stands there */
    VIONIC_FRAME_DATA_VALID = 2, /* receive only: checksums were verified */
    VIONIC_FRAME_UDP_TUNNEL_CSUM = 8, /* the outer UDP header of a tunnel has a checksum, which is
                                         only begun too */
};

enum vionic_frame_gso {
    VIONIC_FRAME_GSO_NONE = 0,
    VIONIC_FRAME_GSO_TCPV4 = 1,
    VIONIC_FRAME_GSO_UDP = 3, /* to be cut into IP fragments */
    VIONIC_FRAME_GSO_TCPV6 = 4,
    VIONIC_FRAME_GSO_UDP_L4 = 5, /* to be cut into datagrams */
    /* One of these or-ed to a type other than UDP: that type is of the packet inside a UDP tunnel
     * (VXLAN, Geneve), and so is the checksum. The bit tells the outer IP header. */
    VIONIC_FRAME_GSO_UDP_TUNNEL_IPV4 = 0x20,
    VIONIC_FRAME_GSO_UDP_TUNNEL_IPV6 = 0x40,
    VIONIC_FRAME_GSO_ECN = 0x80, /* or-ed to a TCP type */
};

struct vionic_offload {
    uint8_t flags;        /* VIONIC_FRAME_NEEDS_CSUM, … */
    uint8_t gso_type;     /* VIONIC_FRAME_GSO_… */
    uint16_t hdr_len;     /* bytes of headers, with GSO */
    uint16_t gso_size;    /* bytes of payload of each piece, with GSO */
    uint16_t csum_start;  /* where the sum begins, in bytes from the frame's start */
    uint16_t csum_offset; /* where it is stored, in bytes from csum_start */
    /* Of a tunnel, in bytes from the frame's start: its UDP header, and the IP header inside. */
    uint16_t outer_th_offset;
    uint16_t inner_nh_offset;
};

enum {
    VIONIC_FRAME_SPANS_MAX = 256,
    /* 14 bytes of Ethernet, two VLAN tags, and 65535 bytes of IP packet. */
    VIONIC_FRAME_LEN_MAX = 14 + 8 + 65535,
    VIONIC_FRAME_LEN_MIN = 14,
    VIONIC_RESERVE_SPANS_MAX = 512,
};

/* An Ethernet frame. In send() its offload fields lie inside the frame and agree with the
 * endpoint's capabilities. */
struct vionic_frame {
    const struct iovec *iov; /* borrowed, valid until send() returns; what it points to is valid
                                until the frame is completed */
    uint32_t iov_count;      /* 1 … VIONIC_FRAME_SPANS_MAX */
    uint32_t len;            /* bytes, VIONIC_FRAME_LEN_MIN … VIONIC_FRAME_LEN_MAX */
    uint32_t token;          /* what an endpoint with reap() hands back */
    struct vionic_offload offload;
};

/* ---- towards the guest ------------------------------------------------------------------ */

/* Where a queue pair delivers frames to. Usable only inside send() and receive() of the queue that
 * it was given to; borrowed until queue_close(). */
struct vionic_rx;

/* Room in the guest's own buffers, beginning where the frame's first byte goes. Valid until the
 * commit, until the next reserve, or until send() or receive() returns, whichever comes first. */
struct vionic_reservation {
    struct iovec *iov;  /* borrowed; not to be changed */
    uint32_t iov_count; /* up to VIONIC_RESERVE_SPANS_MAX */
    uint32_t room;      /* bytes, at least the `min` that was asked for */
};

/*
 * 0: at least min bytes of room and, if the guest gave that much, max. -EAGAIN: the guest has not
 * given enough room yet; keep the frame and leave receive(), which is called again when the guest
 * has added buffers. -EMSGSIZE: min bytes will never fit into this guest's buffers; drop the frame.
 * -ENETDOWN: the guest takes nothing now (link down, queue disabled); drop the frame.
 */
VIONIC_API int vionic_rx_reserve(struct vionic_rx *rx, uint32_t min, uint32_t max,
                                 struct vionic_reservation *ret_reservation);
/* The first len bytes of the reservation are a frame now. The NIC filters it, completes what the
 * guest can't take, and hands it over or counts a drop; either way the frame is done. */
VIONIC_API void vionic_rx_commit(struct vionic_rx *rx, uint32_t len,
                                 const struct vionic_offload *offload);
/* Counts a frame that had to be dropped; error: the -EMSGSIZE or -ENETDOWN that reserve said. */
VIONIC_API void vionic_rx_drop(struct vionic_rx *rx, int error);
/*
 * For frames that lie in memory: reserve, copy and commit in one, for up to `count` frames in
 * order, whatever their offloads: what this guest did not agree to is segmented and completed on
 * the way. Returns how many are done (delivered, or counted as dropped). Less than count: the guest
 * has no room for the next one now; keep it, and offer it again first, unchanged.
 */
VIONIC_API unsigned vionic_rx_deliver(struct vionic_rx *rx, const struct vionic_frame *frames,
                                      unsigned count);

/* ---- the endpoint ----------------------------------------------------------------------- */

/* Bits of vionic_endpoint_caps.tx_offloads (what send() takes; the NIC does the rest in software)
 * and .rx_offloads (what frames for the guest may need). */
enum vionic_endpoint_offload {
    VIONIC_ENDPOINT_CSUM = 1 << 0, /* VIONIC_FRAME_NEEDS_CSUM; the others need it */
    VIONIC_ENDPOINT_TSO4 = 1 << 1,
    VIONIC_ENDPOINT_TSO6 = 1 << 2,
    VIONIC_ENDPOINT_ECN = 1 << 3,
    VIONIC_ENDPOINT_USO4 = 1 << 4,
    VIONIC_ENDPOINT_USO6 = 1 << 5,
    VIONIC_ENDPOINT_UFO = 1 << 6,
    /* VIONIC_FRAME_GSO_UDP_TUNNEL_…. No software stands in for these two. send() has to take all
     * of the above but UFO inside a tunnel, or the driver is offered no tunnels. */
    VIONIC_ENDPOINT_UDP_TUNNEL = 1 << 7,
    VIONIC_ENDPOINT_UDP_TUNNEL_CSUM = 1 << 8, /* VIONIC_FRAME_UDP_TUNNEL_CSUM */
};

struct vionic_endpoint_caps {
    size_t size;              /* set by the library; members behind it are not read */
    uint32_t tx_offloads;     /* VIONIC_ENDPOINT_… */
    uint32_t rx_offloads;     /* VIONIC_ENDPOINT_… */
    uint32_t queue_pairs_max; /* 0: one */
    uint32_t mtu;             /* bytes of IP packet that the medium carries; 0: no opinion */
    uint32_t speed_mbps;      /* 0: unknown */
};

/* What an endpoint says of itself: bits of events(). */
enum vionic_endpoint_event {
    VIONIC_ENDPOINT_EVENT_LINK = 1 << 0,    /* link_up() may answer differently now */
    VIONIC_ENDPOINT_EVENT_RESTART = 1 << 1, /* close and open my queues */
    VIONIC_ENDPOINT_EVENT_GONE = 1 << 2,    /* the medium went away: close me, open me again, later
                                               and later until that works; the link is down */
};

/*
 * `context` is vionic_nic_config.endpoint_context, `endpoint` what open() returned, `queue` what
 * queue_open() returned; the library does not look into them. Every call may be NULL where that is
 * said. -errno on failure, with a sentence in `err`, which is never NULL here.
 */
struct vionic_endpoint_ops {
    size_t size;      /* sizeof(struct vionic_endpoint_ops) */
    const char *kind; /* what inspect and error messages call it; copied */

    /* NULL: `endpoint` is `context`. queue_pairs: how many will be opened. */
    int (*open)(void *context, unsigned queue_pairs, void **ret_endpoint, struct vionic_error *err);
    /* All queues are closed. NULL: nothing to free. */
    void (*close)(void *endpoint);
    /* Asked after each open(). *ret_caps is 0 but for its size. NULL: one queue pair, no offloads,
     * no opinions. */
    void (*capabilities)(void *endpoint, struct vionic_endpoint_caps *ret_caps);

    /* Which of rx_offloads the guest agreed to: frames that need others may only be given to
     * vionic_rx_deliver(). Called before queue_open() and again whenever the agreement changes.
     * A refusal is logged. NULL: nobody wants to know. */
    int (*set_offloads)(void *endpoint, uint32_t rx_offloads);

    /* Pair `index` begins. `rx` is borrowed until queue_close(). */
    int (*queue_open)(void *endpoint, unsigned index, struct vionic_rx *rx, void **ret_queue,
                      struct vionic_error *err);
    /* NULL: nothing to free. */
    void (*queue_close)(void *queue);

    /*
     * Takes frames from the guest in order, returns how many it took (0 … count). A frame not taken
     * is offered again later: the endpoint promises that wait_fd() becomes writable, or that
     * receive() delivers something, or that the guest's new receive buffers are what it waits for.
     * A frame that can't be sent is taken and counted by the endpoint as a drop, never refused for
     * ever. Without reap(), a frame that was taken is done when send() returns.
     */
    unsigned (*send)(void *queue, const struct vionic_frame *frames, unsigned count);
    /* Tokens of frames that are done, each exactly once; returns how many. NULL: see send. */
    unsigned (*reap)(void *queue, uint32_t *ret_tokens, unsigned max);
    /* Delivers up to budget frames through rx; returns how many it delivered or dropped. Less than
     * budget means: nothing more now, wait_fd will become readable; or the guest is out of room.
     * NULL: the endpoint only ever delivers from inside send(). */
    unsigned (*receive)(void *queue, unsigned budget);
    /* The fd that is readable while receive() or reap() has something; -1: none. Owned by the
     * endpoint and the same from queue_open() to queue_close(). It is polled level-triggered and
     * never read: receive() has to empty it. NULL: none. */
    int (*wait_fd)(void *queue);
    /* After this the queue holds no guest memory: frames not yet done are done, and reap() still
     * tells which. Only reap() and queue_close() may follow. Needed with reap(). */
    void (*quiesce)(void *queue);

    /* 1 or 0. NULL: always up. */
    int (*link_up)(void *endpoint);
    /* An fd that is readable while events() has something; -1 or NULL: never. */
    int (*event_fd)(void *endpoint);
    /* VIONIC_ENDPOINT_EVENT_… bits, cleared by the call. Needed with event_fd. */
    uint32_t (*events)(void *endpoint);

    /* May run beside the workers: show counters and what open() fixed, nothing else. All calls of
     * the visitor are there. NULL: nothing to show. */
    void (*inspect)(void *endpoint, const struct vionic_visitor *visitor);
};

#ifdef __cplusplus
}
#endif

#endif
