/* SPDX-License-Identifier: MIT */
/*
 * The endpoint `stream`: frames over a stream socket, each behind its length in four bytes
 * (big-endian). QEMU's `-netdev stream`, passt and gvproxy speak it.
 *
 *   stream.c   options, open, close, queue, inspect      (control thread)
 *   link.c     connecting, accepting, and again          (control thread)
 *   flow.c     frames to bytes and back                  (worker of the queue)
 *   state.c    going on in another process               (control thread)
 *
 * A connection is made by the control thread, waits in `fresh_fd`, and becomes the flow's when the
 * queue opens: ENDPOINT_EVENT_RESTART sees to that. It outlives the queue (half a frame may be on
 * its way in either direction) and ends when the worker finds it lost.
 */
#pragma once

#include <netdb.h>
#include <stdatomic.h>
#include <sys/un.h>

#include "base/counter.h"
#include "base/event_bits.h"
#include "endpoint/endpoint.h"

extern const struct endpoint_ops stream_endpoint_ops;

enum {
    STREAM_PREFIX_LEN = 4,
    STREAM_BATCH = 32,        /* frames that one call of the kernel or one deliver moves */
    STREAM_SPANS_MAX = 1024,  /* the kernel's own limit for one sendmsg */
    STREAM_ROOM = 256 * 1024, /* for what was read ahead */
    STREAM_RECONNECT_MS = 100,
    STREAM_RECONNECT_MAX_MS = 3600 * 1000,
};

enum stream_mode {
    STREAM_CLIENT,
    STREAM_SERVER,
    STREAM_PASSED, /* fd= of a connection: there is no second one */
};

/* One connection's frames. Written by the worker while the queue is open, else by the control
 * thread. */
struct stream_flow {
    int fd;   /* owned; -1: no connection */
    int lost; /* the connection is over; it was told */

    /* A frame that the kernel took only a part of: the rest of it goes out before anything else. */
    uint32_t rest_at, rest_len;

    uint32_t have_at, have_len; /* bytes of `have` that are no delivered frame yet */

    counter tx_dropped_down;    /* there was no connection */
    counter tx_dropped_refused; /* the kernel had no memory for it */
    counter tx_full;            /* sends that ended at a full socket */
    counter tx_cut;             /* … in the middle of a frame */
    counter rx_reads;
    counter rx_bad_length; /* the peer's length can't be one: the connection was closed */
    counter rx_cut;        /* the connection ended in the middle of a frame */

    uint8_t prefix[STREAM_BATCH][STREAM_PREFIX_LEN];
    struct iovec tx_iov[STREAM_SPANS_MAX];
    struct iovec rx_iov[STREAM_BATCH];
    struct frame rx_frame[STREAM_BATCH];
    uint8_t rest[STREAM_PREFIX_LEN + FRAME_LEN_MAX]; /* the frame that was begun */
    uint8_t have[STREAM_ROOM];
};

/* Why a connection ended, beside the errnos. */
enum stream_loss {
    STREAM_LOSS_CLOSED = -1, /* by the peer */
    STREAM_LOSS_CUT = -2,    /* likewise, in the middle of a frame */
    STREAM_LOSS_LENGTH = -3, /* the peer's length of a frame can't be one */
};

struct stream_queue {
    struct endpoint_queue base;
    struct endpoint_rx *rx; /* borrowed until queue_close */
    int is_open;
};

struct stream {
    struct endpoint base;

    /* Fixed by open. */
    enum stream_mode mode;
    char peer[128];              /* what the operator wrote: path, address or fd */
    struct sockaddr_un path;     /* sun_path is "": not a unix socket */
    struct addrinfo *addresses;  /* owned; NULL: not TCP */
    const struct addrinfo *next; /* borrowed: the one to try next */
    uint32_t reconnect_ms;
    int event_fd; /* owned; an epoll over the fds below and an idle connection */
    int timer_fd; /* owned */

    /* Written by the control thread. */
    int listen_fd;         /* owned; -1: not a server */
    int owns_path;         /* the socket file is ours */
    int connecting_fd;     /* owned */
    int fresh_fd;          /* owned; connected, for the next queue_open */
    int up;                /* what the guest sees as its link */
    int given;             /* sockets and the path belong to another process */
    uint32_t wait_ms;      /* before the next attempt */
    uint64_t connected_ns; /* when the connection was made */
    counter connections;
    counter connections_lost;
    counter attempts_failed;
    int last_error; /* errno of the last attempt that failed; 0: none */

    /* Written by who finds it: an errno or STREAM_LOSS_…; 0: none was lost. */
    _Atomic int last_loss;

    /* Written by the control thread, read by the worker: a fresh connection is about to become the
     * flow's, frames had better wait for it. */
    _Atomic int coming;

    struct event_bits events; /* STREAM_EVENT_…, raised by the worker too */
    struct stream_queue queue;
    struct stream_flow flow;
};

enum {
    STREAM_EVENT_LOST = 1 << 0,
    STREAM_EVENT_FRESH = 1 << 1,
};

/* ---- link.c ------------------------------------------------------------------------------ */

/* Listens, connects, or takes what was passed. Only a server can fail. */
int stream_link_open(struct stream *stream, int passed_fd, struct error *err);
void stream_link_close(struct stream *stream);
uint32_t stream_link_events(struct stream *stream);
/* Behind queue_close: nobody reads the connection, so its end is watched for here. */
void stream_link_watch_idle(struct stream *stream);
/* What another process had, which state.c has put in place; else as open. */
int stream_link_resume(struct stream *stream, struct error *err);
/* In front of queue_open: a fresh connection becomes the flow's. */
void stream_link_adopt(struct stream *stream);

/* ---- state.c ----------------------------------------------------------------------------- */

void stream_state_write(const struct stream *stream, struct records_writer *writer,
                        struct fd_list *fds);
/* Into a stream whose options were read. -ENOENT: the gift is another one. */
int stream_state_read(struct stream *stream, const struct endpoint_gift *gift, struct error *err);

/* ---- flow.c ------------------------------------------------------------------------------ */

/* Takes the fd. */
void stream_flow_begin(struct stream_flow *flow, int fd);
/* Closes the connection and forgets what was on its way. */
void stream_flow_end(struct stream_flow *flow);
unsigned stream_flow_send(struct endpoint_queue *queue, const struct frame *frames, unsigned count);
unsigned stream_flow_receive(struct endpoint_queue *queue, unsigned budget);
