/* SPDX-License-Identifier: MIT */
/* A build without libseccomp. */
#include <errno.h>

#include "daemon/sandbox_filter.h"

const char *sandbox_filter_missing(void)
{
    return "this build has no system call filter; install libseccomp-dev and build again";
}

int sandbox_filter_build(const struct sandbox_plan *plan, enum sandbox_role role,
                         enum sandbox_verdict verdict, struct sock_fprog *ret_program,
                         struct error *err)
{
    (void)plan;
    (void)role;
    (void)verdict;
    (void)ret_program;
    return error_set(err, ENOTSUP, "%s", sandbox_filter_missing());
}

int sandbox_filter_load(const struct sock_fprog *program, enum sandbox_verdict verdict)
{
    (void)program;
    (void)verdict;
    return -ENOTSUP;
}

const char *sandbox_filter_name(int call)
{
    (void)call;
    return "?";
}
