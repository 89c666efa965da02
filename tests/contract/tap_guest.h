/* SPDX-License-Identifier: MIT */
/* What the tests of the tap share. */
#pragma once

#include "guest.h"

enum {
    BIG_LEN = 64000,
    MSS = 1448,
    TCP_HEADERS = 14 + 20 + 20,
};

/* Moves the process into a namespace; without the right to, every test skips itself. */
void tap_enter_namespace(void);
/* Skips the running test if there is no namespace. */
void tap_need_namespace(void);
/* Opens a tap for the running test. */
void tap_begin(struct guest *guest, const char *spec);
/* Sends a frame that must be taken at once. */
void tap_send(struct guest *guest, const struct test_frame *frame);
/* Ethernet, IPv4 and TCP in front of BIG_LEN bytes, as a guest with TSO makes it. Returns its
 * length. */
uint32_t make_tso_frame(uint8_t *bytes);
