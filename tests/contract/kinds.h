/* SPDX-License-Identifier: MIT */
/* The endpoints that the contract is checked on, and how each is made to have frames for the guest.
 */
#pragma once

#include "guest.h"

enum kind_trait {
    KIND_ECHOES = 1 << 0,         /* what the guest sends comes back unchanged */
    KIND_ENDLESS = 1 << 1,        /* has frames all the time */
    KIND_SILENT = 1 << 2,         /* never has a frame */
    KIND_NEEDS_ETHERNET = 1 << 3, /* tap: needs the test's namespace */
    KIND_READS_AHEAD = 1 << 4,    /* what it has read is its own: wait_fd does not tell of that */
};

struct kind {
    const char *name;
    const char *spec;
    unsigned traits;
    uint32_t len_max; /* of a frame without offloads */
    /* Makes `count` frames come to the guest. They may come at once if the guest has room (inside
     * send()), or else wait until receive(). NULL for silent kinds. */
    void (*provoke)(struct guest *guest, unsigned count);
    /* What has to be there before it is opened; NULL: nothing. */
    void (*prepare)(void);
};

extern const struct kind kinds[];
extern const unsigned kind_count;
