/* SPDX-License-Identifier: MIT */
/*
 * Which calls the filters refused (or, with SANDBOX_NOTE, let pass), counted by role. A refused
 * call arrives as a signal in the thread that made it: that thread counts, wakes the control
 * thread, and goes on with EPERM. The control thread logs each call once.
 */
#pragma once

#include <jansson.h>

#include "base/loop.h"
#include "daemon/sandbox_filter.h"

/* 1: on this processor a handler can make a refused call fail; 0: the filter has to do so, and
 * nothing is counted. */
int sandbox_refusals_catch(void);
/* Installs the handler (or starts the thread that answers notices). loop is borrowed until
 * sandbox_refusals_end. */
int sandbox_refusals_begin(struct loop *loop, enum sandbox_verdict verdict, struct error *err);
/* The calling thread is of this role, and takes the signal. */
void sandbox_refusals_join(enum sandbox_role role);
/* Takes the fd of sandbox_filter_load() over. */
int sandbox_refusals_listen(int fd, enum sandbox_role role);
/* Logs what is new, and no more afterwards. */
void sandbox_refusals_end(void);

/* {"control": {"execve": 1}, "worker": {}} */
json_t *sandbox_refusals_report(void);
