/* SPDX-License-Identifier: MIT */
/* Which files a thread may reach from now on: Landlock, by its system calls. */
#pragma once

#include "base/error.h"
#include "daemon/sandbox_plan.h"

/* 1: this kernel can. */
int sandbox_files_possible(void);
/* Limits the calling thread, which must have no_new_privs, for good. A folder that is not there is
 * left out: nothing can be opened in it. -errno of the system. */
int sandbox_files_limit(const struct sandbox_plan *plan, enum sandbox_role role);
