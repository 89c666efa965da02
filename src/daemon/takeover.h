/* SPDX-License-Identifier: MIT */
/*
 * The new daemon's side of a takeover (takeover_wire.h):
 *
 *   connect ─> (open what is new) ─> ask ─> (take each card) ─> ready ─> (keep them) ─> runs ─>
 * close
 *
 * Up to ready everything may fail, and the old daemon goes on. When ready has succeeded, the cards
 * are this process's and it has touched nothing of them yet. An old daemon that died or hangs when
 * it had given everything does not make it fail.
 */
#pragma once

#include <jansson.h>

#include "api/handover.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/takeover_wire.h"

struct takeover {
    int fd;                         /* owned */
    json_t *there;                  /* owned: names of the old daemon's cards */
    json_t *uplinks;                /* owned: names of its switches whose uplink it gives */
    struct takeover_message daemon; /* owned: what the old daemon gave of itself */
    struct handover_card *cards;    /* owned, card_count of them */
    unsigned card_count;
    struct control_socket control; /* its fd is owned until it was taken */
    int token_fd;                  /* owned; -1: the old daemon is of a build that has none */
    int is_waited_for;             /* the old daemon hears that the cards were taken */
    uint64_t watchdog_us;
    uint64_t still_ns; /* since when the old daemon's workers stand still */
};

/* Finds the daemon at control_path (NULL: the default) and says what it is about to do. */
int takeover_connect(struct takeover *takeover, const char *control_path, struct error *err);
/* Has the old daemon a card of this name? */
int takeover_has(const struct takeover *takeover, const char *name);
/* Gives the old daemon the uplink of the switch of this name? */
int takeover_has_uplink(const struct takeover *takeover, const char *name);
/* All cards of the configuration that the old daemon has; from here on its workers stand still. */
int takeover_ask(struct takeover *takeover, const struct config *config, struct error *err);
/* Borrowed; NULL: it was not given. */
struct handover_card *takeover_card(struct takeover *takeover, const char *name);
/* What was given of the uplinks (handover_give_uplinks); its fds are in takeover->daemon. */
void takeover_uplinks(const struct takeover *takeover, struct record_reader *ret_reader);
/* Everything is in place. 0: the cards are this process's. */
int takeover_ready(struct takeover *takeover, struct error *err);
/* The old daemon may end. */
void takeover_runs(struct takeover *takeover);
/* It goes on. */
void takeover_fail(struct takeover *takeover, const char *sentence);
/* Fine for one that was only zeroed, with fd -1. */
void takeover_close(struct takeover *takeover);
