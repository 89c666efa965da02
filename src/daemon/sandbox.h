/* SPDX-License-Identifier: MIT */
/*
 * The daemon's sandbox: what its threads can do once everything is set up. It knows the
 * configuration and the system, nothing of virtio. A process has one, so its state is static.
 *
 *   sandbox_prepare ─> threads start, each calls sandbox_worker_started ─> sandbox_enter ─> serve
 * ─> sandbox_leave
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/loop.h"
#include "daemon/config.h"

/* Becomes config->user, if there is one, and builds the filters. -errno: the daemon must not start.
 * loop is borrowed until sandbox_leave. */
int sandbox_prepare(const struct config *config, const char *control_path, struct loop *loop,
                    struct error *err);
/* vionic_config.worker_started: the worker gives up what it does not need, for good. */
int sandbox_worker_started(void *context, unsigned worker);
/* The control thread does the same. Everything it needs of the system for its start is there. */
int sandbox_enter(struct error *err);
/* Logs what is still to be said about refused calls. Fine without sandbox_prepare. */
void sandbox_leave(void);

/* For `vionic inspect daemon`; NULL: no memory. */
json_t *sandbox_report(void);
/* Whether this endpoint (`tap:ifname=tap1`) can be opened now; if not, -EPERM and how it could. */
int sandbox_allows_endpoint(const char *endpoint, struct error *err);
