/* SPDX-License-Identifier: MIT */
/* Frames into an interface from the host's side, as fast as a packet socket takes them. */
#pragma once

#include <stdint.h>

enum {
    BLAST_BATCH = 32
};

struct blast {
    int fd; /* owned */
    uint32_t frame_len;
};

void blast_open(struct blast *blast, const char *ifname, uint32_t frame_len);
void blast_close(struct blast *blast);
/* Sends up to `count` frames; what the interface's queue has no room for is dropped there. */
void blast_send(struct blast *blast, unsigned count);
