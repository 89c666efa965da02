/* SPDX-License-Identifier: MIT */
/*
 * Every kind of endpoint as a place that a card can be moved to, with the test at the other end of
 * it: what must pass there, both ways. And traffic that goes on while a card is moved.
 */
#pragma once

#include "stamp.h"
#include "testbed.h"

enum swap_source {
    SWAP_GUEST = 1, /* of stamps */
    SWAP_WORLD = 2,
};

/* In the table of places. */
enum swap_index {
    SWAP_NULL,
    SWAP_GENERATOR,
    SWAP_LOOPBACK,
    SWAP_STREAM,
    SWAP_TAP,
    SWAP_SWITCH,
    SWAP_USER,
};

struct swap_bed {
    struct testbed *bed;
    struct testbed_nic *nic;
    uint32_t sent, answered;  /* numbers of stamps, each way */
    uint32_t last_from_world; /* number of the last frame that came from there */
    uint32_t echoes;          /* of the guest's own frames */
    uint32_t last_echoed;     /* … of the last of the guest's own that came back */
    uint32_t arps;            /* answers of the NAT network's gateway */
    uint32_t generated;       /* frames that `null` made */
    int listener;             /* of the stream's path */
    int peer;                 /* what the stream has connected; -1: nothing */
    int packet_socket;        /* on the tap; -1: none */
};

struct swap_place {
    const char *name;
    const char *endpoint; /* its %s is the test's directory */
    int needs_namespace;
    /* The card is there: the test's end, if there is one. NULL: nothing to do. */
    void (*begin)(struct swap_bed *bed);
    /* Fails the test unless frames pass. */
    void (*probe)(struct swap_bed *bed);
    void (*end)(struct swap_bed *bed);
};

extern const struct swap_place swap_places[];
extern const unsigned swap_place_count;

/* Before the daemon starts: its sandbox has room for every place. */
void swap_allow_all(struct testbed *bed);
void swap_bed_init(struct swap_bed *swap, struct testbed *bed);
void swap_bed_free(struct swap_bed *swap);
void swap_place_text(const struct swap_bed *swap, const struct swap_place *place, char *ret_text,
                     size_t len);

/* Sends what there is room for, takes back what was sent, receives and checks what came. */
void swap_pump(struct swap_bed *swap);
/* Receives and checks only. */
void swap_receive(struct swap_bed *swap);
/* At the stream: bursts of another pair, more than the way holds at a time, come to the peer whole
 * and in order. */
void swap_stream_of_pair(struct swap_bed *swap, unsigned pair);
/* One stamped frame of the guest; returns its number. */
uint32_t swap_send(struct swap_bed *swap, uint32_t len);
/* `vionic set nic0.endpoint=…` under traffic: 1 if it was done. */
int swap_to(struct swap_bed *swap, const char *endpoint, char ret_refusal[512]);
