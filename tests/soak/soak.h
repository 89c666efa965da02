/* SPDX-License-Identifier: MIT */
/*
 * A long day of the daemon: four cards with a driver double each, a world at the other end of their
 * endpoints, and things that happen to all of them, by chance from a seed. Everything runs in one
 * thread, so that a seed says what happens in which order.
 *
 *   soak_card.c    a card's driver, its world, and whether frames move
 *   soak_events.c  what happens
 *   soak_checks.c  what must hold whatever happens
 *   test_soak.c    the day
 */
#pragma once

#include "stamp.h"
#include "testbed.h"

enum {
    SOAK_CARDS = 4,
    SOAK_PAIRS_MAX = 2,
    SOAK_SOURCES = SOAK_CARDS * SOAK_PAIRS_MAX, /* of stamps: by card, then by pair */
    SOAK_PATIENCE_MS = 30000, /* for a card to move frames again; busy machines are slow */
    SOAK_ECHO_LEN = 1 << 18,
};

/* What a card is connected to. */
enum soak_place {
    PLACE_LOOPBACK,
    PLACE_NULL,
    PLACE_GENERATOR,
    PLACE_TAP,
    PLACE_SWITCH, /* with whoever else is there */
    PLACE_STREAM, /* it and the next have one pair: the others send by that */
    PLACE_USER,
    PLACE_COUNT,
};

struct soak_pair {
    uint32_t sent;                  /* number of the last stamp */
    uint64_t completed, received;   /* frames, as long as this daemon runs */
    uint32_t last_of[SOAK_SOURCES]; /* number of the last stamp that came, by its source */
};

struct soak_card {
    struct testbed_nic *nic;
    unsigned index;
    enum soak_place place;
    struct soak_pair pair[SOAK_PAIRS_MAX];
    uint64_t echoed, generated, answered; /* frames that came, by kind */

    /* The world. */
    int listener;      /* of the stream's path */
    int peer;          /* what has connected there; -1: nothing */
    int packet_socket; /* on the tap; -1: none */
    unsigned ifindex;  /* of the tap that it is bound to */
    uint64_t look_ms;  /* when the world is looked at again */
    uint64_t ask_ms;   /* when the gateway is asked again */
    uint32_t echo_at, echo_len;
    uint32_t echo_prefix, echo_prefix_len; /* of the length in front of the frame that goes back */
    uint32_t echo_left;                    /* bytes of that frame */
    uint8_t echo[SOAK_ECHO_LEN];           /* bytes of the stream that go back */
};

struct soak {
    struct testbed *bed;
    struct soak_card card[SOAK_CARDS];
    uint64_t random;
    uint64_t frames_out, frames_in; /* of daemons that are gone */
    int switched;                   /* some card has been on the switch */
    uint64_t switched_in;           /* frames that came from another card */
    uint64_t longest_ms;            /* that a card took to move frames again */
    uint64_t refusals;              /* of settings that are refused by rights */
    unsigned daemons;
    unsigned checks;
    unsigned fds, maps; /* at the first check */
    uint64_t rss_kib, rss_most_kib;
};

/* 0 … below-1 */
uint32_t soak_random(struct soak *soak, uint32_t below);

/* ---- soak_card.c -------------------------------------------------------------------------- */

void soak_card_init(struct soak *soak, unsigned index, const struct testbed_options *options);
void soak_card_free(struct soak_card *card);
/* A front-end connects, with fresh rings. */
void soak_card_plug(struct soak_card *card);
/* The front-end is gone at once. What the driver gets to see afterwards is counted; the daemon is
 * there (or not) to let go of the rings first. */
void soak_card_unplug(struct soak *soak, struct soak_card *card);
/* Takes back everything that was sent. */
void soak_card_drain(struct soak *soak, struct soak_card *card);
/* Of a device that has stopped, or is gone: what it had done, and the rest is forgotten. */
void soak_card_take_back(struct soak *soak, struct soak_card *card);
/* Receives and checks what there is. */
void soak_card_receive(struct soak *soak, struct soak_card *card);
/* Some frames each way; the world has its turn. */
void soak_card_turn(struct soak *soak, struct soak_card *card);
void soak_turn(struct soak *soak);
void soak_run_for(struct soak *soak, unsigned ms);
/* Fails the test unless frames that are sent from now on come back (or what the place has instead),
 * in SOAK_PATIENCE_MS. */
void soak_expect_moving(struct soak *soak, struct soak_card *card);
/* The endpoint's text; its world is made by soak_card_arrive. */
void soak_place_text(const struct soak *soak, const struct soak_card *card, enum soak_place place,
                     char *ret_text, size_t len);
void soak_card_arrive(struct soak_card *card, enum soak_place place);
/* 1: what went back over the stream ends with a whole frame. */
int soak_card_between_frames(const struct soak_card *card);
/* `vionic set NIC.NAME=VALUE` while frames move on all cards: 1 if it was done. */
int soak_set(struct soak *soak, struct soak_card *card, const char *name, const char *value,
             char ret_refusal[512]);
/* … which must be done. */
void soak_must_set(struct soak *soak, struct soak_card *card, const char *name, const char *value);
void soak_move(struct soak *soak, struct soak_card *card, enum soak_place place);

/* ---- soak_events.c ------------------------------------------------------------------------ */

/* Something happens; afterwards every card moves frames again. */
void soak_event(struct soak *soak);
void soak_events_tell(void);

/* ---- soak_checks.c ------------------------------------------------------------------------ */

void soak_check(struct soak *soak);
/* The same for what a daemon has counted, before it ends. */
void soak_check_counters(struct soak *soak);
/* The daemon's counters begin at 0. */
void soak_forget_counters(struct soak *soak);
void soak_check_log(struct soak *soak);
