/* SPDX-License-Identifier: MIT */
/* What callers write about CPUs and workers. */
#pragma once

#include "base/error.h"
#include "run/worker.h"

enum {
    PLACEMENT_CPUS_MAX = 1024
};

/* A list such as "0-1,4" of CPUs that this thread may run on. Returns how many, -EINVAL and a
 * sentence. */
int placement_cpus(const char *text, unsigned ret_cpus[PLACEMENT_CPUS_MAX], struct error *err);
/* "2": any two; "0-1,3", "3-3": these. `workers`: how many there are. */
int placement_workers(const char *text, unsigned workers, struct worker_wish *ret_wish,
                      struct error *err);
