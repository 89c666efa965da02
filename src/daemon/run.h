/* SPDX-License-Identifier: MIT */
/* `vionic run`: the daemon from its valid configuration to its clean end. */
#pragma once

#include "daemon/config.h"

enum run_start {
    RUN_FRESH,
    RUN_TAKEOVER, /* goes on with the cards of the daemon that runs */
};

/* ready_fd is closed once the daemon serves, behind a byte; -1: nobody waits for that.
 * Serves until a signal says stop, or another daemon has taken over. Exit status: 0, 1 (the
 * environment is in the way) or 2 (the operator's words are wrong); the sentence is logged. */
int run_daemon(const struct config *config, enum run_start start, int ready_fd);
