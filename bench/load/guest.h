/* SPDX-License-Identifier: MIT */
/*
 * A guest without a guest: the driver side of tests/lib on one or several queue pairs, made to move
 * frames as fast as it can. Checks nothing of what it moves. Fails with a sentence when it can't go
 * on.
 */
#pragma once

#include <sys/uio.h>

#include "driver_split.h"
#include "front_end.h"
#include "front_end_start.h"
#include "guest_ram.h"

enum {
    LOAD_HEADER_LEN = 12,
    LOAD_RING_SIZE = 256,
    LOAD_BUFFER_LEN = 4096, /* of a receive buffer; frames span several (mergeable) */
    LOAD_FRAME_MAX = 65549,
    LOAD_TX_SLOTS = 64, /* frames in guest memory that are sent again and again */
    LOAD_RX = 0,
    LOAD_TX = 1,
    LOAD_PAIRS_MAX = 8,
};

struct load_pair {
    struct guest_ram *ram;        /* back-pointer */
    struct driver_split split[2]; /* LOAD_RX, LOAD_TX */
    struct driver_ring *ring[2];  /* back-pointers */
    uint64_t tx_gpa[LOAD_TX_SLOTS];
    uint64_t rx_gpa[LOAD_RING_SIZE];
    uint32_t rx_slot_of[LOAD_RING_SIZE]; /* by id in the ring */
    unsigned rx_taken[LOAD_RING_SIZE];   /* slots of the frame that was taken last */
    unsigned tx_next;                    /* slot */
    unsigned tx_in_flight;
    uint32_t frame_len;
};

struct load_guest {
    struct guest_ram ram;
    struct front_end fe;
    struct load_pair pair[LOAD_PAIRS_MAX];
    unsigned pair_count;
};

/* Connects `pairs` pairs to the back-end at `socket`; the frames that they send are `frame_len`
 * bytes long, and a flow a pair. */
void load_guest_attach(struct load_guest *guest, const char *socket, uint32_t frame_len,
                       unsigned pairs);
void load_guest_detach(struct load_guest *guest);
/* Of all pairs, one after the other, what the functions below do with one. */
unsigned load_guest_reap(struct load_guest *guest);
unsigned load_guest_send(struct load_guest *guest, unsigned most_in_flight);
unsigned load_guest_receive(struct load_guest *guest, uint64_t *bytes);
/* Waits until nothing is in flight. */
void load_guest_drain(struct load_guest *guest);

/* Takes back sent frames; returns how many. */
unsigned load_pair_reap(struct load_pair *pair);
/* Puts what lies at tx_gpa[tx_next], `len` bytes with the header, into the ring, unpublished. */
void load_pair_add(struct load_pair *pair, uint32_t len);
/* Fills the transmit ring; returns how many frames were done. */
unsigned load_pair_send(struct load_pair *pair, unsigned most_in_flight);

/* The next frame's spans, header first, up to LOAD_RING_SIZE of them; 0: there is none. */
unsigned load_pair_take_frame(struct load_pair *pair, struct iovec *ret_iov);
/* Puts its buffers back into the ring, unpublished. */
void load_pair_give_back(struct load_pair *pair, unsigned spans);
/* Takes what there is and gives it back. Returns how many frames; adds their bytes. */
unsigned load_pair_receive(struct load_pair *pair, uint64_t *bytes);

/* A frame of TCP over IPv4 that asks for checksum and segments of 1448 bytes if it is longer than
 * an Ethernet frame; `header` is a struct virtio_net_hdr. */
void load_frame_make(uint8_t header[LOAD_HEADER_LEN], uint8_t *frame, uint32_t len);
/* Makes it one of the flow `flow`. */
void load_frame_set_flow(uint8_t *frame, unsigned flow);
