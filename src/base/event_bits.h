/* SPDX-License-Identifier: MIT */
/*
 * A handful of event bits that any thread may raise and one thread waits for: an eventfd in front
 * of an atomic word. Raising never blocks and never fails; raising twice before a take is one
 * event.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct event_bits {
    _Atomic uint32_t pending; /* or-ed by raise (release), swapped out by take (acquire) */
    int fd;                   /* owned; readable while bits are pending */
};

int event_bits_init(struct event_bits *events);
void event_bits_free(struct event_bits *events);
void event_bits_raise(struct event_bits *events, uint32_t bits);
/* Returns and clears what is pending; fd is no longer readable then. */
uint32_t event_bits_take(struct event_bits *events);
