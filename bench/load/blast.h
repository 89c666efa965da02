/* SPDX-License-Identifier: MIT */
/* Frames into an interface from the host's side, as fast as a packet socket takes them. */
#pragma once

#include <stdint.h>

enum {
    BLAST_BATCH = 32,
    BLAST_WINDOW = 64, /* frames on their way: more would wait until they have left all caches */
};

struct blast {
    int fd; /* owned */
    uint32_t frame_len;
    uint64_t sent, arrived; /* frames */
    uint64_t arrived_ns;    /* when the last ones were noticed */
};

void blast_open(struct blast *blast, const char *ifname, uint32_t frame_len);
void blast_close(struct blast *blast);
/* Sends up to `count` frames; what the interface's queue has no room for is dropped there. */
void blast_send(struct blast *blast, unsigned count);
/* A batch, if `arrived` frames of all that went this way leave room for it. */
void blast_paced(struct blast *blast, uint64_t arrived);
