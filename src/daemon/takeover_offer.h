/* SPDX-License-Identifier: MIT */
/*
 * The old daemon's side of a takeover (takeover_wire.h). From ASK to RUNS it does nothing else: its
 * workers stand still, and the new daemon has some seconds. Its cards go on where they stand unless
 * the new daemon has taken them.
 */
#pragma once

#include "base/loop.h"
#include "daemon/control.h"
#include "vionic.h"

enum takeover_outcome {
    TAKEOVER_OVER, /* the cards are another process's, which runs */
    TAKEOVER_LOST, /* they were handed over to one that then died */
};

struct takeover_offer {
    struct loop *loop;       /* borrowed */
    struct vionic *vionic;   /* borrowed */
    struct control *control; /* borrowed; what its socket is, goes along */
    uint64_t watchdog_us;    /* the service manager's, for the new daemon */
    /* The end; not called while the old daemon goes on. */
    void (*ended)(struct takeover_offer *offer, enum takeover_outcome outcome);

    struct loop_source source; /* its fd is owned; -1: nobody has asked */
    struct loop_timer patience;
};

/* loop to ended are set. */
void takeover_offer_init(struct takeover_offer *offer);
/* Takes the fd of a client that wants to take over. A second one is refused. */
void takeover_offer_to(struct takeover_offer *offer, int fd);
void takeover_offer_close(struct takeover_offer *offer);
