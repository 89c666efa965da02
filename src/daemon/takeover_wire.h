/* SPDX-License-Identifier: MIT */
/*
 * The conversation by which a new daemon takes over from a running one, on a connection of its own:
 * a client of the control socket says {"command": "takeover"}, and from the answer on the
 * connection carries these messages. All waiting has an end.
 *
 *   new                                    old
 *    ASK, the cards that it wants    ─>
 *                                    <─    DAEMON, CARD for each, END: its workers stand still
 *    READY: nothing can fail any more ─>
 *                                    <─    GO: nothing will be touched here
 *    (takes the token)
 *    TAKEN: the cards are the new one's ─>
 *    RUNS                            ─>    ends
 *
 * REFUSED, a sentence, takes the place of any of them, from either side.
 *
 * Whose the cards are says a token, an eventfd that both have from DAEMON on and that only one of
 * them can read. The old daemon touches nothing from END on unless it has taken the token back, and
 * the new one nothing before it has it: there is never more than one owner. Whoever is left alone
 * from END on takes it, at whatever point the other one was killed: the old daemon goes on as if
 * nothing had been, or the new one takes the cards without having heard GO. Only if the new one
 * dies when it has the token there is none: what it did nobody knows, and the old one ends.
 *
 * A new daemon of an older build takes no token: it has the cards when TAKEN is sent. For its sake
 * the old one, with the token in its hands, shuts its end for what comes and looks at what is in
 * it: by the kernel's lock of the socket, TAKEN is there or can't be sent any more.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/fd_list.h"

enum takeover_type {
    TAKEOVER_ASK = 1,
    TAKEOVER_DAEMON = 2,
    TAKEOVER_CARD = 3,
    TAKEOVER_END = 4,
    TAKEOVER_READY = 5,
    TAKEOVER_GO = 6,
    TAKEOVER_RUNS = 7,
    TAKEOVER_REFUSED = 8,
    TAKEOVER_TAKEN = 9,
};

enum {
    TAKEOVER_NAME_LEN = 32, /* of a card's name, filled up with zeroes */
    TAKEOVER_CARDS_MAX = 1024,
};

/* Tags of DAEMON, a block of records (base/records.h). */
enum takeover_tag {
    TAKEOVER_CONTROL = 1,  /* place of the control socket, device and inode of its file */
    TAKEOVER_WATCHDOG = 2, /* microseconds */
    TAKEOVER_STILL = 3,    /* since when the workers stand still, CLOCK_MONOTONIC in ns */
    TAKEOVER_UPLINKS = 4,  /* of switches: how many, and for each its name and what it gave */
    TAKEOVER_WAITS = 5,    /* nothing: the old daemon waits for TAKEN; older builds did not */
    TAKEOVER_TOKEN = 6,    /* place of the token; older builds have none */
};

#define TAKEOVER_TAGS_KNOWN                                                                        \
    (1ull << TAKEOVER_CONTROL | 1ull << TAKEOVER_WATCHDOG | 1ull << TAKEOVER_STILL |               \
     1ull << TAKEOVER_UPLINKS | 1ull << TAKEOVER_WAITS | 1ull << TAKEOVER_TOKEN)

struct takeover_message {
    enum takeover_type type;
    uint8_t *bytes; /* sending: borrowed; received: owned, NULL if there are none */
    size_t len;
    struct fd_list fds; /* likewise */
};

/* -ETIMEDOUT, -EPROTO, -ECONNRESET and the like. */
int takeover_send(int fd, const struct takeover_message *message, uint64_t deadline_ns);
int takeover_receive(int fd, struct takeover_message *ret_message, uint64_t deadline_ns);
/* The same, where one type is due. -ECONNABORTED and the other side's sentence if it refuses. */
int takeover_expect(int fd, enum takeover_type type, uint64_t deadline_ns,
                    struct takeover_message *ret_message, struct error *err);
/* Of a message that was received: closes and frees what nobody took. */
void takeover_message_clear(struct takeover_message *message);
/* The sentence of a REFUSED, fit for a terminal. */
void takeover_sentence(const struct takeover_message *message, char ret_shown[ERROR_TEXT_LEN]);
/* The token: its fd, or -1 and errno. */
int takeover_token_create(void);
/* 1: it is the caller's; 0: it was taken before. */
int takeover_token_take(int token_fd);
/* A message that is nothing but its type, and one that is a sentence. */
int takeover_say(int fd, enum takeover_type type, uint64_t deadline_ns);
void takeover_refuse(int fd, const char *sentence);
