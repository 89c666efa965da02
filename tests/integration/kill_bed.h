/* SPDX-License-Identifier: MIT */
/*
 * Cards of the real daemon with a front-end each that outlives it: guest memory, rings and
 * in-flight area stay when the daemon is killed, and nothing in them is ever made anew. Every frame
 * is checked byte by byte; every buffer has to come back once, in the order in which it was given.
 */
#pragma once

#include "daemon.h"
#include "driver_packed.h"
#include "driver_split.h"
#include "front_end.h"
#include "front_end_start.h"
#include "guest_ram.h"

enum {
    CARDS = 4,
    CARD_PAIRS = 2,
    CARD_RINGS = 2 * CARD_PAIRS,
    RING_SIZE = 64,
};

/* Buffers that are in a ring, oldest first. */
struct given {
    struct {
        uint32_t id;
        unsigned slot;
    } buffer[RING_SIZE];
    unsigned first;
    unsigned count;
};

/* One queue pair's traffic. */
struct flow {
    struct driver_ring *rx; /* borrowed */
    struct driver_ring *tx; /* borrowed */
    enum chain_shape shape;
    uint64_t rx_gpa[RING_SIZE];
    uint64_t tx_gpa[RING_SIZE];
    unsigned rx_slots, tx_slots; /* buffers of each kind: all that the ring takes */
    struct given rx_given, tx_given;
    unsigned rx_next, tx_next; /* the slot to use next: they come back in order */
    uint32_t seed;             /* of the next frame */
    uint64_t sent, received;   /* frames that came back so far */
};

struct card_options {
    const char *nic; /* the daemon's */
    uint64_t features;
    enum chain_shape shape;
    enum front_end_base base;
    int has_area;
    front_end_start_function *start;
};

struct card {
    uint8_t mac[6];
    char socket[DAEMON_PATH_LEN];
    struct card_options options;
    struct guest_ram ram;
    struct driver_split split[CARD_RINGS];
    struct driver_packed packed[CARD_RINGS];
    struct driver_ring *ring[CARD_RINGS]; /* back-pointers: those in use */
    struct vu_inflight area;
    struct front_end_setup setup;
    struct front_end fe;
    struct flow flow[CARD_PAIRS];
};

/* Adds a NIC to the daemon, and a front-end with empty rings for it. */
void card_init(struct card *card, struct daemon *daemon, const struct card_options *options);
void card_free(struct card *card);
/* A session with the daemon that runs now; the rings are as they are. */
void card_connect(struct card *card);

/* Sends up to `most` frames, takes back what is there, gives all receive buffers. */
void flow_pump(struct flow *flow, const struct card *card, unsigned most);
/* Waits until every frame that was sent is back. */
void flow_drain(struct flow *flow, const struct card *card);
