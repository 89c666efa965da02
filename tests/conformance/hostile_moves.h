/* SPDX-License-Identifier: MIT */
/*
 * What a front-end that means harm does, move by move. Each begins with a connection of its own and
 * leaves any state behind; none waits for the back-end longer than it must, and nothing that the
 * back-end does to its own front-end fails a test here.
 */
#pragma once

#include "testbed.h"

typedef void hostile_move(struct testbed_nic *nic, uint32_t seed);

struct hostile_move_entry {
    const char *name;
    hostile_move *move;
};

/* Ends with an entry without a name. */
extern const struct hostile_move_entry hostile_moves[];
