/* SPDX-License-Identifier: MIT */
/*
 * The endpoint `tap`: a Linux tap device that is created, attached to by name, or handed over as
 * open fds.
 *
 *   tap.c      options, open, close, events        (control thread)
 *   device.c   the ioctls of a tap                 (control thread)
 *   queue.c    the data path                       (worker of the queue)
 *   link.c     what rtnetlink says of it           (control thread)
 *   netns.c    opening things in another namespace (control thread)
 *   state.c    going on in another process         (control thread)
 */
#pragma once

#include <net/if.h>
#include <stdatomic.h>

#include "base/counter.h"
#include "base/event_bits.h"
#include "endpoint/endpoint.h"
#include "endpoint/tap/link.h"

extern const struct endpoint_ops tap_endpoint_ops;

enum tap_origin {
    TAP_CREATED,  /* the interface lives as long as we hold it */
    TAP_ATTACHED, /* it was there before us and stays */
    TAP_PASSED,   /* fd=: whoever opened it may still hold it */
};

enum {
    TAP_PAIRS_MAX = 256, /* MAX_TAP_QUEUES of the kernel */
    TAP_MTU_MIN = 68,
    TAP_MTU_MAX = 65521, /* the kernel's own limit for a tap */
};

struct tap_queue;

/* A frame that was read and did not fit into the guest's buffers yet. */
struct tap_frame {
    uint32_t len; /* 0: none */
    struct frame_offload offload;
    uint8_t bytes[FRAME_LEN_MAX];
};

/* One queue pair of the device, open as long as the endpoint is; a struct tap_queue comes and goes.
 */
struct tap_port {
    int fd; /* owned */
    /* Written by the worker of the queue. */
    counter tx_dropped_down; /* the interface was down or gone */
    counter
        tx_dropped_refused; /* the kernel took the frame for malformed, or had no memory for it */
    counter rx_dropped_offload; /* needed what the guest did not agree to */
    counter rx_held;            /* larger than the room at first sight: copied once more */
    /* Written by the control thread. */
    struct tap_queue *queue; /* borrowed; NULL: not open */
    /* What another process's queue had, for the next queue_open; its fd is attached. */
    struct tap_frame *inherited; /* owned; NULL: nothing was taken over */
} __attribute__((aligned(64)));

struct tap {
    struct endpoint base;

    /* Fixed by open. */
    enum tap_origin origin;
    char ifname[IFNAMSIZ];
    char netns[108]; /* "": where the process is */
    uint32_t tx_offloads;
    uint32_t rx_offloads;
    unsigned header_len; /* VNET_HDR_LEN… */
    int multi_queue;
    unsigned port_count;
    struct tap_port *port; /* owned, port_count of them */
    int idle_fd;  /* owned; never ready: takes the place of a tap fd whose interface is gone */
    int event_fd; /* owned; an epoll over events.fd and link.fd */

    /* Written by the control thread, read by the workers. */
    _Atomic uint32_t mtu;       /* 0: not known */
    _Atomic uint32_t rx_agreed; /* ENDPOINT_… that may be delivered */

    struct link link;         /* control thread only */
    int given;                /* what is behind it belongs to another process */
    struct event_bits events; /* raised by workers too */
};

/* state.c */
void tap_state_write(const struct tap *tap, struct records_writer *writer, struct fd_list *fds);
/* Into a tap that has its names and nothing else; `passed`: the spec has fd=. -ENOENT: the gift is
 * another tap. */
int tap_state_read(struct tap *tap, const struct endpoint_gift *gift, int passed,
                   struct error *err);

/* queue.c */
/* The frame that the queue holds; 0 bytes: none. */
void tap_queue_held(const struct tap_queue *queue, struct tap_frame *ret_frame);
int tap_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                   struct endpoint_queue **ret_queue, struct error *err);
void tap_queue_close(struct endpoint_queue *queue);
unsigned tap_queue_send(struct endpoint_queue *queue, const struct frame *frames, unsigned count);
unsigned tap_queue_receive(struct endpoint_queue *queue, unsigned budget);
int tap_queue_wait_fd(struct endpoint_queue *queue);
