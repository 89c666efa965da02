/* SPDX-License-Identifier: MIT */
/*
 * The uplink of a switch: an endpoint without a card, which is the network behind one of the
 * switch's ports (nic/patch.h). It is opened again with back-off when it goes away; the switch goes
 * on meanwhile. For the control thread.
 */
#pragma once

#include "base/loop.h"
#include "endpoint/endpoint.h"
#include "run/worker.h"

struct uplink;

struct uplink_config {
    const char *name;                 /* for the log; copied */
    const struct endpoint_spec *spec; /* copied; queue_pairs is how many it has */
    struct endpoint *port;            /* the switch's; the uplink's when that was opened */
    struct worker_pool *pool;         /* borrowed */
    struct loop *loop;                /* borrowed */
    /* Borrowed while opening; NULL: nothing. What another process gave of it (uplink_give). */
    struct record_reader *given;
    struct fd_list *fds; /* borrowed likewise */
};

int uplink_open(const struct uplink_config *config, struct uplink **ret_uplink,
                struct error *err) CONTROL_ONLY;
/* NULL is fine. */
void uplink_close(struct uplink *uplink) CONTROL_ONLY;
void uplink_inspect(struct uplink *uplink, struct inspect *visitor) CONTROL_ONLY;

/* ---- it goes on in another process, as an endpoint does (endpoint.h) --------------------- */

/* 1: there is something that goes over. */
int uplink_can_give(const struct uplink *uplink);
/* All workers stand still from before this until keep or close. */
void uplink_give(struct uplink *uplink, struct records_writer *writer,
                 struct fd_list *fds) CONTROL_ONLY;
/* After give, or after an open with what was given. */
void uplink_keep(struct uplink *uplink) CONTROL_ONLY;
