/* SPDX-License-Identifier: MIT */
/* Frames into an interface from the host's side, as fast as a packet socket takes them. */
#pragma once

#include <stdint.h>

enum {
    BLAST_BATCH = 32,
    BLAST_FLOWS = 64, /* for several pairs */
    /* Frames and bytes on their way to a pair: more would wait until they have left all caches. */
    BLAST_WINDOW = 64,
    BLAST_WINDOW_BYTES = 1 << 19,
};

struct blast {
    int fd; /* owned */
    uint32_t frame_len;
    unsigned flows, next;   /* frames of so many go out in turn */
    unsigned window, batch; /* frames on their way at most; sent at once */
    uint64_t sent, arrived; /* frames */
    uint64_t arrived_ns;    /* when the last ones were noticed */
};

/* For a card of so many pairs; the kernel spreads flows over them. */
void blast_open(struct blast *blast, const char *ifname, uint32_t frame_len, unsigned pairs);
void blast_close(struct blast *blast);
/* Sends up to `count` frames; what the interface's queue has no room for is dropped there. */
void blast_send(struct blast *blast, unsigned count);
/* A batch, if `arrived` frames of all that went this way leave room for it. */
void blast_paced(struct blast *blast, uint64_t arrived);
