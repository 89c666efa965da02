/* SPDX-License-Identifier: MIT */
/*
 * Traffic of which not one frame may be lost, doubled, changed or out of order: each pair of both
 * NICs of a testbed sends to itself, by its loopback.
 */
#pragma once

#include "testbed.h"

/* What one pair has sent and not yet got back; frames of a loopback come in order. */
struct counted {
    struct testbed_nic *nic;
    unsigned pair;
    uint32_t sent, received;
};

/* Every pair of both NICs; returns how many. */
unsigned counted_begin(struct testbed *bed, struct counted *ret_pairs);
/* Sends until enough frames of each pair are on the way. */
void counted_fill(struct counted *pairs, unsigned count);
/* The same, and takes what has come; fails the test if it is not what comes next. */
void counted_run(struct counted *pairs, unsigned count, unsigned rounds);
/* Waits for all that is on the way. */
void counted_drain(struct counted *pairs, unsigned count);
