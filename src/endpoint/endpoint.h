/* SPDX-License-Identifier: MIT */
/*
 * The endpoint contract, and nothing else: what stands behind a NIC and moves its frames on.
 *
 *   open ─> queue_open (each pair) ─> send / receive … ─> quiesce ─> queue_close ─> close
 *
 * Threads: open, close, queue_open, queue_close, set_offloads, set_mac, quiesce, events and
 * inspect are
 * called by the control thread while the worker of the queue is paused (inspect: see there). send,
 * receive and reap are called by the one worker that owns the queue. An endpoint needs no lock of
 * its own.
 *
 * An endpoint sees frames as host iovecs (pointing straight into guest memory, which the guest may
 * still change: copy before you parse) and never sees a ring, a guest address or a virtio header.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/fd_list.h"
#include "base/inspect.h"
#include "base/records.h"

/* ---- what a frame carries beside its bytes ---------------------------------------------- */

/* The values are those of struct virtio_net_hdr (virtio 1.4, 5.1.6), in host byte order. */
enum frame_flags {
    FRAME_NEEDS_CSUM = 1,      /* the checksum at csum_start + csum_offset is only begun */
    FRAME_DATA_VALID = 2,      /* receive only: checksums were verified */
    FRAME_UDP_TUNNEL_CSUM = 8, /* the outer UDP header has a checksum, which is only begun too */
};

enum frame_gso {
    FRAME_GSO_NONE = 0,
    FRAME_GSO_TCPV4 = 1,
    FRAME_GSO_UDP = 3,
    FRAME_GSO_TCPV6 = 4,
    FRAME_GSO_UDP_L4 = 5,
    /* One of these or-ed to a type other than UDP: that type is of the packet inside a UDP tunnel
     * (VXLAN, Geneve), and so is the checksum. The bit is of the outer IP header, as Linux has it;
     * a driver may go by the inner one, as virtio 1.4 has it. */
    FRAME_GSO_UDP_TUNNEL_IPV4 = 0x20,
    FRAME_GSO_UDP_TUNNEL_IPV6 = 0x40,
    FRAME_GSO_UDP_TUNNEL = FRAME_GSO_UDP_TUNNEL_IPV4 | FRAME_GSO_UDP_TUNNEL_IPV6,
    FRAME_GSO_ECN = 0x80, /* or-ed to a TCP type */
};

struct frame_offload {
    uint8_t flags;    /* FRAME_… */
    uint8_t gso_type; /* FRAME_GSO_… */
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t outer_th_offset; /* of the tunnel's UDP header; these two with FRAME_GSO_UDP_TUNNEL */
    uint16_t inner_nh_offset; /* of the IP header inside */
};

enum {
    /* The NIC gathers a frame that the guest cut into more pieces than this. */
    FRAME_SPANS_MAX = 256,
    /* Longest frame ever: 14 bytes of Ethernet, two VLAN tags, and 65535 bytes of IP packet. */
    FRAME_LEN_MAX = 14 + 8 + 65535,
    FRAME_LEN_MIN = 14,
};

/* A frame from the guest. Its offload fields were checked by the NIC: they lie inside the frame and
 * agree with what the guest negotiated and with the endpoint's capabilities. */
struct frame {
    const struct iovec *iov; /* borrowed, valid until send() returns; what it points to is valid
                                until the frame is completed */
    uint32_t iov_count;      /* 1 … FRAME_SPANS_MAX */
    uint32_t len;            /* bytes, FRAME_LEN_MIN … FRAME_LEN_MAX */
    uint32_t token;          /* what an asynchronous endpoint hands back through reap() */
    struct frame_offload offload;
};

/* ---- receive: the endpoint's one way up ------------------------------------------------- */

enum {
    RESERVE_MAX_SPANS = 512 /* most spans that one reserve gives */
};

/* Room in the guest's own buffers, beginning where the frame's first byte goes. Valid until the
 * commit, until the next reserve, or until send()/receive() returns, whichever comes first. */
struct reservation {
    struct iovec *iov; /* borrowed; the endpoint must not change it */
    uint32_t iov_count;
    uint32_t room; /* bytes, at least the `min` that was asked for */
};

/* Implemented by the NIC; usable only inside send() and receive() of the queue it was given to, or
 * between enter() and leave(). */
struct endpoint_rx;

struct endpoint_rx_ops {
    /*
     * 0: `ret` holds at least min bytes of room and, if the guest gave that much, max.
     * -EAGAIN: the guest has not given enough room yet. Keep the frame, leave receive(): it is
     * called again when the guest has added buffers. -EMSGSIZE: min bytes will never fit into this
     * guest's buffers: drop the frame. -ENETDOWN: the guest takes nothing now (link down, queue
     * disabled): drop the frame.
     */
    int (*reserve)(struct endpoint_rx *rx, uint32_t min, uint32_t max, struct reservation *ret);
    /* The first len bytes of the reservation are a frame. The NIC filters it, completes what the
     * guest can't take, writes its header and hands it over, or counts a drop; either way the frame
     * is done. */
    void (*commit)(struct endpoint_rx *rx, uint32_t len, const struct frame_offload *offload);
    /* Counts a frame that the endpoint had to drop after -EMSGSIZE or -ENETDOWN. */
    void (*drop)(struct endpoint_rx *rx, int error);
    /*
     * For frames that lie in memory: reserve, copy and commit in one, for up to `count` frames in
     * order, whatever their offloads: what this guest did not agree to is segmented and completed
     * on the way. Returns how many are done (delivered, or counted as dropped). Less than count:
     * the guest has no room for the next one now; keep it, and offer it again first, unchanged.
     */
    unsigned (*deliver)(struct endpoint_rx *rx, const struct frame *frames, unsigned count);
    /*
     * A visit: from enter() to leave(), deliver() may be called inside send() of another queue,
     * `from`, if the same worker has both (rx->worker). One visit at a time, and none to a queue
     * that is itself in send() or receive(). leave() shows the guest what it got.
     */
    void (*enter)(struct endpoint_rx *rx, struct endpoint_rx *from);
    void (*leave)(struct endpoint_rx *rx);
};

/* How other threads give the pair a turn, in which receive() is called. Any thread may call it, at
 * any time while some endpoint is open: a waker outlives the queue that it came with. */
struct endpoint_waker {
    void (*wake)(struct endpoint_waker *waker);
};

struct endpoint_rx {
    const struct endpoint_rx_ops *ops;
    struct endpoint_waker *waker; /* borrowed; the same from queue_open to queue_close */
    const void *worker; /* who calls the queue: never looked into; equal means the same thread */
    /* Of the frame that deliver() did not finish, how many segments the guest has: they are left
     * out when it is offered again. Who offers another one instead keeps this with the frame, and
     * puts 0 here. */
    uint16_t resume;
};

/* ---- the endpoint ----------------------------------------------------------------------- */

/* Bits of endpoint_caps.tx_offloads (what send() takes) and .rx_offloads (what receive() can
 * deliver). */
enum endpoint_offload {
    ENDPOINT_CSUM = 1u << 0, /* FRAME_NEEDS_CSUM; the others need it */
    ENDPOINT_TSO4 = 1u << 1,
    ENDPOINT_TSO6 = 1u << 2,
    ENDPOINT_ECN = 1u << 3,
    ENDPOINT_USO4 = 1u << 4,
    ENDPOINT_USO6 = 1u << 5,
    ENDPOINT_UFO = 1u << 6,
    /* FRAME_GSO_UDP_TUNNEL. No software stands in: what send() can't take so is not offered, and
     * it has to take all of the above but UFO inside a tunnel. */
    ENDPOINT_UDP_TUNNEL = 1u << 7,
    ENDPOINT_UDP_TUNNEL_CSUM = 1u << 8, /* FRAME_UDP_TUNNEL_CSUM */
    ENDPOINT_UDP_TUNNELS = ENDPOINT_UDP_TUNNEL | ENDPOINT_UDP_TUNNEL_CSUM,
    ENDPOINT_OFFLOADS_ALL = 0x1ff,
};

struct endpoint_caps {
    uint32_t tx_offloads;
    uint32_t rx_offloads;
    uint32_t queue_pairs_max;
    uint32_t mtu;        /* bytes of IP packet that the medium carries; 0: no opinion */
    uint32_t speed_mbps; /* 0: unknown */
    uint8_t tx_unread;   /* send() never looks at a frame's bytes: they need not be fetched */
};

/* Events, raised by any thread of the endpoint, taken by the coordinator. */
enum endpoint_event {
    ENDPOINT_EVENT_LINK = 1u << 0,    /* link_up() may answer differently now */
    ENDPOINT_EVENT_RESTART = 1u << 1, /* close and reopen my queues */
    ENDPOINT_EVENT_GONE = 1u << 2, /* the medium went away: close me, open me again with back-off */
};

struct endpoint_option {
    char *key;   /* owned by the spec */
    char *value; /* owned by the spec */
};

enum {
    ENDPOINT_OPTIONS_MAX = 64
};

/* What an operator wrote, such as `tap:ifname=tap0,mtu=9000`, and for whom. */
struct endpoint_spec {
    char *kind; /* owned */
    unsigned option_count;
    struct endpoint_option option[ENDPOINT_OPTIONS_MAX];
    unsigned queue_pairs; /* how many the NIC will open, at least 1 */
    const char *nic_name; /* borrowed while open() runs; NULL: no NIC */
    uint8_t mac[6];       /* the NIC's, by its configuration; zeroes: none */
    int only_if_there;    /* what it stands on is waited for, not made: see was_there */
};

/* What an endpoint's `give` wrote in another process. */
struct endpoint_gift {
    const uint8_t *block; /* borrowed: records (base/records.h) with tags of the kind's own */
    size_t len;
    struct fd_list *fds; /* borrowed; what is taken out of it is the endpoint's */
};

struct endpoint; /* each kind embeds this as its first member */
struct endpoint_queue;

struct endpoint_ops {
    /* What `vionic endpoints` prints: name, one line, and a line for each option. */
    const char *kind;
    const char *summary;
    const char *options_help;

    /* Unknown options are refused by name. -errno and a sentence on failure. */
    int (*open)(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                struct error *err);
    /* All queues are closed. NULL is fine. */
    void (*close)(struct endpoint *endpoint);
    void (*capabilities)(struct endpoint *endpoint, struct endpoint_caps *ret_caps);

    /* Which rx_offloads the guest agreed to: frames that need others must not be delivered. Called
     * before queue_open and again whenever the agreement changes. A refusal is a fault of the
     * environment. */
    int (*set_offloads)(struct endpoint *endpoint, uint32_t rx_offloads);

    /* The NIC's own address changed, by the operator's word. NULL: nobody wants to know. */
    void (*set_mac)(struct endpoint *endpoint, const uint8_t mac[6]);

    /* `rx` is borrowed until queue_close. */
    int (*queue_open)(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                      struct endpoint_queue **ret_queue, struct error *err);
    void (*queue_close)(struct endpoint_queue *queue);

    /*
     * Takes frames in order, returns how many it took (0 … count). A frame is taken whole or not at
     * all: one that was not is offered again later, perhaps behind others. The endpoint promises
     * that wait_fd becomes writable, or that receive() delivers something, or that the guest's new
     * receive buffers are what it waits for. A frame that can't be sent (the medium refuses it) is
     * taken and counted by the endpoint as a drop, never refused for ever. Without reap(), a frame
     * that was taken is done when send() returns.
     */
    unsigned (*send)(struct endpoint_queue *queue, const struct frame *frames, unsigned count);
    /* NULL for synchronous endpoints. Tokens of frames that are done, each exactly once. */
    unsigned (*reap)(struct endpoint_queue *queue, uint32_t *ret_tokens, unsigned max);
    /* NULL if the endpoint only ever delivers from inside send(). Delivers up to budget frames
     * through rx; returns how many it delivered or dropped. Less than budget means: nothing more
     * now, wait_fd will become readable (or the waker will be called, where there is no fd); or
     * the guest is out of room. */
    unsigned (*receive)(struct endpoint_queue *queue, unsigned budget);
    /* The fd that becomes readable when receive() or reap() has something; -1: none. Stable from
     * queue_open to queue_close. The worker polls it level-triggered and never reads it. After
     * ENDPOINT_EVENT_GONE it may report EPOLLERR, or be another file. */
    int (*wait_fd)(struct endpoint_queue *queue);
    /* After this the queue holds no guest memory; frames not yet done are done, reap() still tells
     * which. Only reap() and queue_close() may follow. NULL for synchronous endpoints. */
    void (*quiesce)(struct endpoint_queue *queue);

    /* NULL: always up. */
    int (*link_up)(struct endpoint *endpoint);
    /* An fd that is readable when events() has something; -1 or NULL: never. */
    int (*event_fd)(struct endpoint *endpoint);
    /* ENDPOINT_EVENT_… bits, cleared by the call. NULL with event_fd. */
    uint32_t (*events)(struct endpoint *endpoint);

    /* 1 if what the endpoint stands on was there before it was opened: when that has gone, it is
     * for others to bring back. NULL: no. */
    int (*was_there)(struct endpoint *endpoint);
    /* -EBUSY or -EADDRINUSE was what open() said to this spec of the same kind: 1 if this endpoint
     * holds what it needs, so that it has to be closed first. NULL: never. */
    int (*stands_in_the_way)(struct endpoint *endpoint, const struct endpoint_spec *spec);
    /*
     * Upgrade in place, all three or none: the endpoint goes on in another process, with what is in
     * it and behind it. All workers stand still meanwhile.
     *
     * give: writes what `take` needs, and lends fds to the list. It lets go of what only one
     * process can have. From then until keep everything behind the endpoint is the other process's:
     * close, queue_close and set_offloads leave it alone, and no other call but keep comes. take:
     * open, with what give wrote. Until keep nothing is ours yet, as above; queue_open comes before
     * it. -ENOENT: that is not what the spec names, which has to be opened. keep: after take it is
     * ours now; after give ours again, as if nothing had been.
     */
    void (*give)(struct endpoint *endpoint, struct records_writer *writer, struct fd_list *fds);
    int (*take)(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                struct endpoint **ret_endpoint, struct error *err);
    void (*keep)(struct endpoint *endpoint);

    /* May run beside the workers: show counters and what open() fixed, nothing else. NULL: nothing.
     */
    void (*inspect)(struct endpoint *endpoint, struct inspect *visitor);
};

struct endpoint {
    const struct endpoint_ops *ops;
};

struct endpoint_queue {
    struct endpoint *endpoint; /* back-pointer */
    int rings; /* fixed by queue_open: its waker is called for receive() beside its wait_fd */
    /* Something that it took waits for wait_fd to be writable: receive() is called then, whatever
     * the guest sends and has room for. Written by the queue's worker, in its own calls. */
    int unfinished;
};
