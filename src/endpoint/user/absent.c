/* SPDX-License-Identifier: MIT */
/* Stands in for the endpoint `user` in a build without libslirp. */
#include <errno.h>

#include "endpoint/user/user.h"

static int user_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                     struct error *err)
{
    (void)spec;
    (void)ret_endpoint;
    return error_set(
        err, ENOTSUP,
        "endpoint user: this build has no libslirp; install libslirp-dev and build again "
        "with -Duser=enabled");
}

const struct endpoint_ops user_endpoint_ops = {
    .kind = "user",
    .summary = "a private network with DHCP, DNS and NAT (not in this build: needs libslirp)",
    .options_help = "",
    .open = user_open,
};
