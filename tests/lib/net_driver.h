/* SPDX-License-Identifier: MIT */
/*
 * A small virtio-net driver for one queue pair, over any driver_ring: posts receive buffers, sends
 * and receives frames, and checks every header and num_buffers it gets.
 */
#pragma once

#include "driver_ring.h"

enum {
    NET_HEADER_TUNNEL = 24, /* either of the UDP tunnel features was */
    NET_HEADER_HASH = 20,   /* HASH_REPORT was negotiated */
    NET_HEADER_MODERN = 12,
    NET_HEADER_LEGACY = 10,
    NET_RX_SLOTS = 1024,
    NET_TX_SLOT_LEN = 66 * 1024,
    NET_TX_SLOTS = 32,
    NET_FRAME_MAX = 65550,
};

struct net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
    uint32_t hash_value;
    uint16_t hash_report;
    uint16_t outer_th_offset;
    uint16_t inner_nh_offset;
};

struct net_options {
    unsigned header_len;
    int mergeable;
    uint32_t rx_buffer_len; /* header included */
    unsigned rx_slots;      /* 0: as many as the ring takes, up to NET_RX_SLOTS */
    unsigned region;        /* of guest RAM, for the buffers */
    enum chain_shape shape; /* of the chains, both ways */
};

struct net_driver {
    struct driver_ring *rx; /* borrowed */
    struct driver_ring *tx; /* borrowed */
    struct net_options options;
    uint64_t rx_gpa[NET_RX_SLOTS];
    uint32_t rx_slot_of[32768]; /* by id in the ring */
    unsigned rx_slots;
    unsigned rx_free[NET_RX_SLOTS]; /* slots not posted */
    unsigned rx_free_count;
    uint64_t tx_gpa[NET_TX_SLOTS];
    uint64_t tx_slot_of[32768];
    unsigned tx_free[NET_TX_SLOTS];
    unsigned tx_free_count;
    struct net_header last_header; /* of the frame that was received last */
    unsigned last_buffers;         /* … and how many buffers it took */
};

void net_driver_init(struct net_driver *net, struct driver_ring *rx, struct driver_ring *tx,
                     const struct net_options *options);
/* Forgets all buffers that were in flight; the rings were restarted. */
void net_driver_forget(struct net_driver *net);

/* Posts up to count receive buffers, publishes, kicks if wanted; returns how many it posted. */
unsigned net_driver_post(struct net_driver *net, unsigned count);
/* Puts a frame with a zeroed header into the ring, unpublished: header and data in a buffer each.
 */
void net_driver_queue(struct net_driver *net, const void *frame, uint32_t len);
void net_driver_queue_with(struct net_driver *net, const struct net_header *header,
                           const void *frame, uint32_t len);
void net_driver_send(struct net_driver *net, const void *frame, uint32_t len);
/* Takes back sent frames; every one must be completed with length 0. Returns how many came. */
unsigned net_driver_reap(struct net_driver *net);
/* Waits until all sent frames are back; fails the test otherwise. */
void net_driver_drain(struct net_driver *net);
/* The next frame and its length, or -1 when none came in time. Buffers are posted again. */
int net_driver_receive(struct net_driver *net, void *ret_frame, uint32_t room, int timeout_ms);

/* A frame to `mac` whose bytes all follow from seed. */
void net_frame_make(void *ret_frame, uint32_t len, const uint8_t mac[6], uint32_t seed);
void net_header_put(void *at, const struct net_header *header, unsigned header_len,
                    enum wire_order order);
