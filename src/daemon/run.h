/* SPDX-License-Identifier: MIT */
/* `vionic run`: the daemon from its valid configuration to its clean end. */
#pragma once

#include "daemon/config.h"

/* Serves until a signal says stop. Exit status: 0, 1 (the environment is in the way) or 2 (the
 * operator's words are wrong); the sentence is logged. */
int run_daemon(const struct config *config);
