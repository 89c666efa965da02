/* SPDX-License-Identifier: MIT */
/* Which endpoint a caller wants: one of the catalog, with its options, or one of its own. */
#pragma once

#include "api/outside_endpoint.h"
#include "run/coordinator.h"
#include "vionic.h"

struct switches;

struct endpoint_choice {
    struct endpoint_spec spec;    /* owned */
    struct outside_kind *outside; /* owned; NULL: one of the catalog */
};

/* `config` is of this build's size. -EINVAL, -E2BIG and a sentence; then there is nothing to clear.
 */
int endpoint_choice_make(struct endpoint_choice *choice,
                         const struct vionic_endpoint_config *config, struct error *err);
/* The same from a text such as `tap:ifname=tap0`. */
int endpoint_choice_parse(struct endpoint_choice *choice, const char *text, struct error *err);
/* As the coordinator takes it; borrows from the choice, and the switches as long as the NIC. */
struct coordinator_endpoint endpoint_choice_coordinator(const struct endpoint_choice *choice,
                                                        struct switches *switches);
/* The coordinator has it: the caller owns the kind now. */
struct outside_kind *endpoint_choice_keep(struct endpoint_choice *choice);
void endpoint_choice_clear(struct endpoint_choice *choice);

struct vionic_nic;
/* It takes the place of the endpoint that the NIC has; clears the choice either way. */
int nic_swap_endpoint(struct vionic_nic *nic, struct endpoint_choice *choice, struct error *err);
