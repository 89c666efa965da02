/* SPDX-License-Identifier: MIT */
/* Users and capabilities: libcap-ng. */
#pragma once

#include "base/error.h"
#include "daemon/sandbox_plan.h"

enum {
    PRIVILEGES_TEXT_LEN = 256
};

/* NULL: this build can drop capabilities; else the sentence that says how it could. */
const char *sandbox_privileges_missing(void);
/* The whole process becomes this user, with the capabilities that it has now. Before there are
 * other threads. -EINVAL: there is no such user; -EPERM. */
int sandbox_privileges_become(const char *user, struct error *err);
/* The calling thread keeps no capability but what the plan needs in its role, and as root not even
 * the way to one. -errno. */
int sandbox_privileges_drop(const struct sandbox_plan *plan, enum sandbox_role role);
/* What the calling thread has: "none", "net_admin". */
void sandbox_privileges_show(char ret_text[PRIVILEGES_TEXT_LEN]);
