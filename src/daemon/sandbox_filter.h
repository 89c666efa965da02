/* SPDX-License-Identifier: MIT */
/* Which system calls a thread may make from now on: seccomp, an allow-list a role. */
#pragma once

#include <linux/filter.h>

#include "base/error.h"
#include "daemon/sandbox_plan.h"

enum sandbox_verdict {
    SANDBOX_REFUSE, /* the call fails with EPERM and is counted */
    SANDBOX_NOTE,   /* the call is done and is counted */
};

/* NULL: this build can filter; else the sentence that says how it could. */
const char *sandbox_filter_missing(void);
/* The program of a role for the calls that are not on its list; ret_program->filter is for free(3).
 */
int sandbox_filter_build(const struct sandbox_plan *plan, enum sandbox_role role,
                         enum sandbox_verdict verdict, struct sock_fprog *ret_program,
                         struct error *err);
/* For the calling thread, which must have no_new_privs, for good. SANDBOX_NOTE: returns the fd that
 * tells of calls, owned by the caller. -errno. */
int sandbox_filter_load(const struct sock_fprog *program, enum sandbox_verdict verdict);
/* "execve", or its number; valid until the next call. */
const char *sandbox_filter_name(int call);
