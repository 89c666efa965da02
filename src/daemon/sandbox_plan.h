/* SPDX-License-Identifier: MIT */
/* What a configuration needs of the system after its start, and so what the sandbox leaves open. */
#pragma once

#include "base/error.h"
#include "daemon/config.h"

enum sandbox_need {
    NEED_TAP = 1 << 0,      /* taps that may have to be opened again */
    NEED_TAP_FD = 1 << 1,   /* taps that were handed in */
    NEED_NETNS = 1 << 2,    /* … in other network namespaces */
    NEED_USER = 1 << 3,     /* sockets of the NAT network, in the workers */
    NEED_STREAM = 1 << 4,   /* sockets of stream, its data in the workers */
    NEED_CONNECT = 1 << 5,  /* to unix sockets, which may belong to others */
    NEED_LOW_PORT = 1 << 6, /* listens at addresses of this host, perhaps below 1024 */
};

/* Threads by what they do; each role has limits of its own. */
enum sandbox_role {
    SANDBOX_CONTROL, /* and the short-lived threads that it starts */
    SANDBOX_WORKER,
    SANDBOX_ROLES,
};

enum {
    PLAN_FOLDERS_MAX = 2048,
};

struct sandbox_plan {
    unsigned needs;   /* NEED_… */
    char **folder;    /* owned array of owned paths, where sockets come and go */
    unsigned folders; /* how many */
};

/* -EINVAL: config->sandbox_allow is wrong; -ENOMEM. plan_clear is needed in any case. */
int sandbox_plan_make(const struct config *config, const char *control_path,
                      struct sandbox_plan *ret_plan, struct error *err);
void sandbox_plan_clear(struct sandbox_plan *plan);

/* What an endpoint of this kind, with any options, needs. */
unsigned sandbox_plan_of_kind(const char *kind, size_t kind_len);
/* Whether what was planned is enough for this endpoint (`tap:ifname=tap1`); if not, -EPERM and how
 * it would be. */
int sandbox_plan_allows(const struct sandbox_plan *plan, const char *endpoint, struct error *err);
