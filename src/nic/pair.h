/* SPDX-License-Identifier: MIT */
/*
 * A queue pair: the data plane of the card. One worker owns it while it runs (role `data`); the
 * control thread may touch it only while that worker is paused.
 *
 *   tx.c   guest -> endpoint: pop, parse, send, complete
 *   rx.c   endpoint -> guest: reserve, fill, commit
 *   pair.c one turn of both, and going to sleep
 */
#pragma once

#include <stdint.h>

#include "base/counter.h"
#include "base/inspect.h"
#include "base/roles.h"
#include "endpoint/endpoint.h"
#include "nic/offload.h"
#include "nic/tx_flight.h"
#include "ring/virtqueue.h"

enum {
    PAIR_TX_BATCH = 64,   /* chains a pop */
    PAIR_RX_WINDOW = 512, /* chains that may lie ready for one frame */
    PAIR_RX_POP = 32,     /* chains a pop while the window is filled */
    PAIR_RX_PUBLISH = 32, /* frames after which the driver is shown what it has */
};

/* What a worker lends to the pair whose turn it is. */
struct pair_scratch {
    struct chain_batch tx;
    struct chain_batch rx;
    struct frame frame[PAIR_TX_BATCH];
    uint16_t frame_chain[PAIR_TX_BATCH]; /* frame -> its chain in tx */
    uint8_t verdict[PAIR_TX_BATCH];      /* chain in tx -> PAIR_TX_FRAME or why it is dropped */
    uint32_t token[PAIR_TX_BATCH];
    uint8_t *gathered; /* owned, FRAME_LEN_MAX bytes: a frame in more than FRAME_SPANS_MAX pieces */
};

int pair_scratch_init(struct pair_scratch *scratch, unsigned queue_size_max);
void pair_scratch_free(struct pair_scratch *scratch);

/* The agreement with the driver, as the data plane sees it. Written while paused. */
struct pair_rules {
    enum byte_order order;
    uint8_t header_len; /* 10 or 12 */
    uint8_t mergeable;
    uint8_t in_order;
    uint8_t link_up;
    uint32_t tx_offloads; /* ENDPOINT_… the driver may ask for */
    uint32_t rx_offloads; /* ENDPOINT_… the driver takes */
    uint32_t frame_max;   /* bytes of a frame without GSO and VLAN tags */
};

enum pair_tx_drop {
    PAIR_TX_DROP_BAD_CHAIN,  /* see tx_bad_chains */
    PAIR_TX_DROP_SHORT,      /* no whole header, or less than an Ethernet header behind it */
    PAIR_TX_DROP_OVERSIZE,   /* longer than any frame, or than the agreed MTU without GSO */
    PAIR_TX_DROP_BAD_HEADER, /* offload fields that lie or were not agreed */
    PAIR_TX_DROP_SCATTERED,  /* too many pieces for an asynchronous endpoint */
    PAIR_TX_DROP_LINK_DOWN,
    PAIR_TX_DROP_COUNT,
    PAIR_TX_FRAME = PAIR_TX_DROP_COUNT, /* not a drop: goes to the endpoint */
};

enum pair_rx_drop {
    PAIR_RX_DROP_TOO_BIG,   /* for the driver's buffers */
    PAIR_RX_DROP_LINK_DOWN, /* or queue not enabled */
    PAIR_RX_DROP_RUNT,      /* less than an Ethernet header */
    PAIR_RX_DROP_OVERSIZE,  /* above the agreed MTU */
    PAIR_RX_DROP_OFFLOAD,   /* needs what the driver does not take */
    PAIR_RX_DROP_COUNT,
};

const char *pair_tx_drop_name(enum pair_tx_drop reason);
const char *pair_rx_drop_name(enum pair_rx_drop reason);

/* Written by the worker only. */
struct pair_stats {
    counter tx_packets, tx_bytes, tx_gso_packets, tx_largest; /* largest: bytes of a frame */
    counter rx_packets, rx_bytes, rx_gso_packets, rx_largest;
    counter tx_stalled;     /* times the endpoint did not take everything */
    counter rx_starved;     /* times a frame had to wait for the driver's buffers */
    counter spurious_wakes; /* wakes that found nothing to do */
    counter looked_on_ns;   /* time of turns that found nothing, before the worker slept */
    counter tx_drop[PAIR_TX_DROP_COUNT];
    counter rx_drop[PAIR_RX_DROP_COUNT];
    counter tx_bad_chain[CHAIN_FAULT_COUNT];
    counter rx_bad_chain[CHAIN_FAULT_COUNT];
    counter rx_bad_buffer; /* too small for a header */
    struct histogram tx_packets_per_wake;
    struct histogram rx_packets_per_wake;
};

/* Where the first header_len bytes of the window's first buffer are. */
struct rx_header {
    struct iovec iov[NET_HEADER_LEN];
    uint32_t count;
};

struct pair {
    struct endpoint_rx endpoint_rx; /* first member: what the endpoint calls */
    struct virtqueue rx, tx;
    const struct endpoint_ops *ops;        /* borrowed; NULL while there is no endpoint queue */
    struct endpoint_queue *endpoint_queue; /* borrowed from the coordinator */
    struct tx_flight flight;               /* for an asynchronous endpoint */
    struct pair_rules rules;
    uint8_t polled; /* a ring has no kick: it is looked at again and again */
    uint8_t parked; /* above the number of pairs that the driver chose: left alone */

    /* The worker's state of the pair. */
    struct pair_scratch *scratch; /* borrowed during a turn, else NULL */
    uint32_t window_first;        /* first chain of scratch->rx not yet consumed */
    uint32_t window_iov;          /* its first span behind the header */
    uint32_t window_room;         /* bytes behind the header in it; valid while stripped */
    uint32_t window_reserved;     /* bytes given by the last reserve */
    uint8_t window_stripped;
    uint8_t rx_ready;   /* the endpoint may have something for receive() */
    uint8_t rx_starved; /* a frame waits for the driver's buffers */
    uint8_t tx_blocked; /* the endpoint did not take everything */
    uint32_t turn_rx;   /* frames delivered or dropped in this turn */
    uint32_t turn_rx_packets, turn_rx_gso, turn_rx_largest; /* delivered; counted at its end */
    uint64_t turn_rx_bytes;
    struct rx_header header;

    struct pair_stats stats;
};

void pair_init(struct pair *pair);

/* One turn: moves up to `budget` frames each way. Returns how many frames, chains or completions
 * moved; 0: nothing to do. */
unsigned pair_turn(struct pair *pair, struct pair_scratch *scratch, unsigned budget) NEEDS_DATA;

/* The edge of sleep: asks both rings for kicks where a kick would help. 1: there is work after all.
 */
int pair_arm(struct pair *pair) NEEDS_DATA;

/* EPOLL… bits that the pair wants of the endpoint's wait_fd now. */
uint32_t pair_wants(const struct pair *pair);

/* Both rings given up by an endpoint that goes away: completes what it still held. */
void pair_reap_all(struct pair *pair, struct pair_scratch *scratch) NEEDS_DATA;

void pair_inspect(struct pair *pair, struct inspect *visitor);

/* ---- between pair.c, tx.c and rx.c ------------------------------------------------------ */

extern const struct endpoint_rx_ops pair_rx_ops;

unsigned pair_tx_turn(struct pair *pair, unsigned budget) NEEDS_DATA;
unsigned pair_tx_reap(struct pair *pair) NEEDS_DATA;
unsigned pair_rx_turn(struct pair *pair, unsigned budget) NEEDS_DATA;
/* Returns the window's unused buffers to the ring. */
void pair_rx_release(struct pair *pair);
