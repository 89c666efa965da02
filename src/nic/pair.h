/* SPDX-License-Identifier: MIT */
/*
 * A queue pair: the data plane of the card. One worker owns it while it runs (role `data`); the
 * control thread may touch it only while that worker is paused.
 *
 *   tx.c          guest -> endpoint: pop, parse, send, complete
 *   tx_alone.c    of these, frames that are segmented or gathered first
 *   rx.c          endpoint -> guest: reserve, fill, commit
 *   rx_deliver.c  the same for frames that lie in memory, segmented where the guest wants that
 *   rx_admit.c    which frames the driver wants, and on which pair
 *   pair.c        one turn of both, and going to sleep
 */
#pragma once

#include <stdint.h>

#include "base/counter.h"
#include "base/inbox.h"
#include "base/inspect.h"
#include "base/roles.h"
#include "endpoint/endpoint.h"
#include "nic/hash.h"
#include "nic/merge.h"
#include "nic/offload.h"
#include "nic/rx_rules.h"
#include "nic/segment.h"
#include "nic/tx_flight.h"
#include "ring/virtqueue.h"

enum {
    PAIR_TX_BATCH = 64,      /* chains a pop */
    PAIR_TX_FEW = 8,         /* of a driver that sends as fast as it can, this much is few */
    PAIR_TX_SEGMENTS = 4096, /* made in one turn, before others have theirs */
    PAIR_RX_WINDOW = 512,    /* chains that may lie ready for one frame */
    PAIR_RX_POP = 32,        /* chains a pop while the window is filled */
    PAIR_RX_PUBLISH = 32,    /* frames after which the driver is shown what it has */
};

/* What a worker lends to the pair whose turn it is. */
struct pair_scratch {
    struct chain_batch tx;
    struct chain_batch rx;
    struct frame frame[PAIR_TX_BATCH];
    uint16_t frame_chain[PAIR_TX_BATCH]; /* frame -> its chain in tx */
    uint8_t verdict[PAIR_TX_BATCH];      /* chain in tx -> PAIR_TX_FRAME or why it is dropped */
    uint32_t token[PAIR_TX_BATCH];
    uint32_t rx_len[PAIR_RX_PUBLISH]; /* bytes of the buffers that are about to be pushed */
    struct segmenter tx_segmenter, rx_segmenter;
    struct merger merger;
    uint8_t *gathered; /* owned, FRAME_LEN_MAX bytes: a frame in more than FRAME_SPANS_MAX pieces */
    struct iovec gathered_iov;
};

int pair_scratch_init(struct pair_scratch *scratch, unsigned queue_size_max);
void pair_scratch_free(struct pair_scratch *scratch);

/* The agreement with the driver, as the data plane sees it. Written while paused. */
struct pair_rules {
    enum byte_order order;
    uint8_t header_len; /* NET_HEADER_LEN_… */
    uint8_t mergeable;
    uint8_t link_up;
    uint8_t hash_report;
    uint8_t tx_plain;          /* no offload was agreed: the driver's headers say nothing */
    uint8_t tx_unread;         /* the endpoint never looks at a frame */
    uint32_t tx_offloads;      /* ENDPOINT_… the driver may ask for */
    uint32_t tx_passed;        /* of these, what the endpoint does; the rest is done here */
    uint32_t rx_offloads;      /* ENDPOINT_… the driver takes */
    uint32_t frame_max;        /* bytes of a frame without GSO and VLAN tags */
    const struct rx_rules *rx; /* borrowed; NULL: every frame is taken, where it comes */
};

enum pair_tx_drop {
    PAIR_TX_DROP_BAD_CHAIN,     /* see tx_bad_chains */
    PAIR_TX_DROP_SHORT,         /* no whole header, or less than an Ethernet header behind it */
    PAIR_TX_DROP_OVERSIZE,      /* longer than any frame, or than the agreed MTU without GSO */
    PAIR_TX_DROP_BAD_HEADER,    /* offload fields that lie or were not agreed */
    PAIR_TX_DROP_UNSEGMENTABLE, /* headers that can't be cut */
    PAIR_TX_DROP_SCATTERED,     /* too many pieces for an asynchronous endpoint */
    PAIR_TX_DROP_LINK_DOWN,
    PAIR_TX_DROP_COUNT,
    PAIR_TX_FRAME = PAIR_TX_DROP_COUNT, /* not a drop: goes to the endpoint */
    PAIR_TX_ALONE,                      /* so does this, gathered or segmented */
};

enum pair_rx_drop {
    PAIR_RX_DROP_TOO_BIG,   /* for the driver's buffers */
    PAIR_RX_DROP_LINK_DOWN, /* or queue not enabled */
    PAIR_RX_DROP_RUNT,      /* less than an Ethernet header */
    PAIR_RX_DROP_OVERSIZE,  /* above the agreed MTU */
    PAIR_RX_DROP_OFFLOAD,   /* needs what the driver does not take */
    PAIR_RX_DROP_FILTERED,  /* not for this driver, by its own filters */
    PAIR_RX_DROP_STEERED,   /* meant for another pair, which is behind */
    PAIR_RX_DROP_COUNT,
};

const char *pair_tx_drop_name(enum pair_tx_drop reason);
const char *pair_rx_drop_name(enum pair_rx_drop reason);

/* Written by the worker only. */
struct pair_stats {
    counter tx_packets, tx_bytes, tx_largest; /* largest: bytes of a frame */
    counter tx_gso_packets, tx_gso_bytes, tx_needs_csum;
    counter tx_segmented, tx_segmented_bytes; /* frames cut here */
    counter tx_segments, tx_segment_bytes;    /* what they became */
    counter rx_packets, rx_bytes, rx_largest;
    counter rx_gso_packets, rx_gso_bytes, rx_needs_csum, rx_data_valid;
    counter rx_csum_completed;          /* here, for a driver that takes no partial checksums */
    counter rx_segmented;               /* frames cut here for such a driver */
    counter rx_merged, rx_merged_bytes; /* segments that became larger frames here */
    counter rx_steered;                 /* handed to another pair */
    counter tx_stalled;                 /* times the endpoint did not take everything */
    counter rx_starved;                 /* times a frame had to wait for the driver's buffers */
    counter spurious_wakes;             /* wakes that found nothing to do */
    counter looked_on_ns; /* time of turns that found nothing, before the worker slept */
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
    struct iovec iov[NET_HEADER_LEN_MAX];
    uint32_t count;
};

struct patch;

/* Where RSS puts frames for a pair, and how it is told. */
struct pair_steer {
    struct inbox *inbox;          /* owned by the coordinator */
    struct endpoint_waker *waker; /* borrowed from the pair */
};

struct pair {
    struct endpoint_rx endpoint_rx; /* first member: what the endpoint calls */
    struct virtqueue rx, tx;
    const struct endpoint_ops *ops;        /* borrowed; NULL while there is no endpoint queue */
    struct endpoint_queue *endpoint_queue; /* borrowed from the coordinator */
    struct tx_flight flight;               /* for an asynchronous endpoint */
    struct pair_rules rules;
    struct inbox *inbox;               /* borrowed: frames from other pairs; NULL without RSS */
    const struct pair_steer *siblings; /* borrowed: all pairs, by index; NULL without RSS */
    struct patch *patch;               /* back-pointer; NULL: a card's pair, with rings */
    uint16_t index;                    /* of this pair */
    uint16_t tx_resume;                /* segments of the next chain that were sent already */
    uint16_t inbox_resume;             /* as endpoint_rx.resume, for the inbox */
    uint8_t polled;                    /* a ring has no kick: it is looked at again and again */
    uint8_t parked; /* above the number of pairs that the driver chose: left alone */

    /* The worker's state of the pair. */
    struct pair_scratch *scratch; /* borrowed during a turn, else NULL */
    uint32_t window_first;        /* first chain of scratch->rx not yet consumed */
    uint32_t window_iov;          /* its first span behind the header */
    uint32_t window_room;         /* bytes behind the header in it; valid while stripped */
    uint32_t window_reserved;     /* bytes given by the last reserve */
    uint8_t window_stripped;
    uint8_t rx_by_bell;                        /* … when the bell rings, too */
    uint8_t rx_aside;                          /* the last reserve gave no buffer of the guest */
    uint8_t rx_ready;                          /* the endpoint may have something for receive() */
    uint8_t rx_starved;                        /* a frame waits for the driver's buffers */
    uint8_t tx_blocked;                        /* the endpoint did not take everything */
    uint32_t turn_tx_segments;                 /* sent in this turn */
    uint32_t turn_tx;                          /* chains taken in this turn, or the last */
    uint32_t turn_rx;                          /* frames delivered or dropped in this turn */
    uint32_t turn_rx_packets, turn_rx_largest; /* delivered; counted at its end */
    uint64_t turn_rx_bytes;
    uint8_t visit_fault; /* enum queue_fault of rx when a visit began */
    struct rx_header header;

    struct pair_stats stats;
};

void pair_init(struct pair *pair, unsigned index);

/* One turn: moves up to `budget` frames each way. Returns how many frames, chains or completions
 * moved; 0: nothing to do. */
unsigned pair_turn(struct pair *pair, struct pair_scratch *scratch, unsigned budget) NEEDS_DATA;

/* 1: a turn would find nothing, as the last one did; at most one word of the driver's is looked at.
 * Only for a pair that nothing has woken since then. */
int pair_is_still(const struct pair *pair) NEEDS_DATA;

/* 1: the driver is adding frames right now: the last turn found some, and not a batch of them. */
static inline int pair_is_filling(const struct pair *pair)
{
    return pair->turn_tx >= PAIR_TX_FEW && pair->turn_tx < PAIR_TX_BATCH;
}

/* The edge of sleep: asks both rings for kicks where a kick would help. 1: there is work after all.
 */
int pair_arm(struct pair *pair) NEEDS_DATA;

/* Visits of the endpoint (endpoint_rx_ops). */
void pair_rx_enter(struct endpoint_rx *rx, struct endpoint_rx *from);
void pair_rx_leave(struct endpoint_rx *rx);

/* EPOLL… bits that the pair wants of the endpoint's wait_fd now. */
uint32_t pair_wants(const struct pair *pair);
/* The same while the pair gets turns, in which it tries to send anyway. */
uint32_t pair_wants_awake(const struct pair *pair);
/* It has these. */
void pair_endpoint_ready(struct pair *pair, uint32_t events);

/* Both rings given up by an endpoint that goes away: completes what it still held. */
void pair_reap_all(struct pair *pair, struct pair_scratch *scratch) NEEDS_DATA;

/* Sends a frame that is not the guest's; an asynchronous endpoint may hold its memory afterwards.
 * -EAGAIN: the endpoint did not take it. */
int pair_send_own(struct pair *pair, struct pair_scratch *scratch, struct frame *frame) NEEDS_DATA;

void pair_inspect(struct pair *pair, struct inspect *visitor);

/* ---- between pair.c, tx.c and rx.c ------------------------------------------------------ */

extern const struct endpoint_rx_ops pair_rx_ops;

/* A frame that goes out by itself: gathered first if it is in too many pieces, segmented if the
 * endpoint can't do what it asks for. PAIR_TX_FRAME, a drop, or PAIR_TX_BLOCKED: not done yet. */
enum {
    PAIR_TX_BLOCKED = PAIR_TX_ALONE + 1
};
unsigned pair_tx_alone(struct pair *pair, struct frame *frame) NEEDS_DATA;
unsigned pair_tx_turn(struct pair *pair, unsigned budget) NEEDS_DATA;
unsigned pair_tx_reap(struct pair *pair) NEEDS_DATA;
unsigned pair_rx_turn(struct pair *pair, unsigned budget) NEEDS_DATA;
/* Returns the window's unused buffers to the ring. */
void pair_rx_release(struct pair *pair);

/* endpoint_rx_ops of rx.c, without the rules: room, and a frame of len bytes in it. */
int pair_rx_reserve(struct pair *pair, uint32_t min, uint32_t max, struct reservation *ret);
void pair_rx_place(struct pair *pair, uint32_t len, const struct frame_offload *offload,
                   struct frame_hash hash);
int pair_rx_oversize(const struct pair *pair, const struct frame *frame);
/* Pops buffers into the window, the used up ones go first. 1: there are more than before. */
int pair_rx_window_grow(struct pair *pair);
void pair_rx_count_drop(struct pair *pair, enum pair_rx_drop reason);

/* Applies the rules to a frame whose first bytes are iov. 1: it is for this pair, with this hash;
 * 0: it is done with: filtered, or given to another pair. */
int pair_rx_admit(struct pair *pair, const struct iovec *iov, uint32_t len,
                  const struct frame_offload *offload, struct frame_hash *ret_hash);
/* Frames from other pairs; returns how many. */
unsigned pair_rx_inbox_turn(struct pair *pair, unsigned budget) NEEDS_DATA;
/* A frame in memory that is for this pair. 0: no room for (all of) it yet; `resume` keeps how many
 * of its segments the guest has. */
int pair_rx_deliver_one(struct pair *pair, const struct frame *frame, struct frame_hash hash,
                        uint16_t *resume);
unsigned pair_rx_deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count);
