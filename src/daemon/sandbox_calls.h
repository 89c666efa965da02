/* SPDX-License-Identifier: MIT */
/*
 * The allow-lists: system calls by name, for whom, and under which condition on their arguments.
 * What is not here is refused. It knows no library: sandbox_filter.c turns it into a filter.
 */
#pragma once

#include <stdint.h>

#include "daemon/sandbox_plan.h"

enum {
    CALLS_CONDITIONS_MAX = 2,

    FOR_CONTROL = 1 << SANDBOX_CONTROL,
    FOR_WORKERS = 1 << SANDBOX_WORKER,
    FOR_ALL = FOR_CONTROL | FOR_WORKERS,
};

/* Holds if (argument & mask) == value. */
struct call_condition {
    unsigned argument;
    uint64_t mask; /* 0: no condition */
    uint64_t value;
};

struct allowed_call {
    const char *name;
    unsigned roles;                                        /* FOR_… */
    unsigned needs;                                        /* any of these NEED_…; 0: always */
    struct call_condition condition[CALLS_CONDITIONS_MAX]; /* all have to hold */
};

extern const struct allowed_call sandbox_calls[]; /* ends with a NULL name */
/* More of them, for the runtimes of sanitizers; empty in other builds. */
extern const struct allowed_call sandbox_calls_of_sanitizers[];
