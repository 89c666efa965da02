/* SPDX-License-Identifier: MIT */
/* A build without libcap-ng. */
#include <errno.h>
#include <string.h>

#include "daemon/sandbox_privileges.h"

const char *sandbox_privileges_missing(void)
{
    return "this build drops no capabilities; install libcap-ng-dev and build again";
}

int sandbox_privileges_become(const char *user, struct error *err)
{
    (void)user;
    return error_set(err, EINVAL,
                     "--user: this build can't change the user; install libcap-ng-dev and build "
                     "again, or leave --user out");
}

int sandbox_privileges_drop(const struct sandbox_plan *plan, enum sandbox_role role)
{
    (void)plan;
    (void)role;
    return -ENOTSUP;
}

void sandbox_privileges_show(char ret_text[PRIVILEGES_TEXT_LEN])
{
    strcpy(ret_text, "kept");
}
