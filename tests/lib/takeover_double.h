/* SPDX-License-Identifier: MIT */
/*
 * A daemon that wants to take over, as far as the test wants it: it speaks the protocol by hand and
 * may break off, be silent or talk nonsense at any point.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum takeover_word {
    WORD_ASK = 1,
    WORD_DAEMON,
    WORD_CARD,
    WORD_END,
    WORD_READY,
    WORD_GO,
    WORD_RUNS,
    WORD_REFUSED,
    WORD_TAKEN,
};

/* A client of the control socket that has sent this line. */
int takeover_double_request(const char *control_path, const char *line);
/* Connects to the control socket and gets the connection: its fd. */
int takeover_double_connect(const char *control_path);
void takeover_double_say(int fd, uint32_t word, const void *bytes, uint32_t len);
/* A word alone; 0: nobody hears it any more. */
int takeover_double_try(int fd, uint32_t word);
/* ASK for one card. */
void takeover_double_ask(int fd, const char *name);
/* The next word, or -1 at the end. Its fds are closed; the first bytes of what it carries are in
 * ret_text. */
int takeover_double_hear(int fd, char ret_text[256]);
/* Hears up to and with END; returns how many cards came. */
unsigned takeover_double_hear_cards(int fd);
