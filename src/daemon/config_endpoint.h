/* SPDX-License-Identifier: MIT */
/* The endpoint of a configured NIC: a kind that this build has, and its options as key/value pairs.
 */
#pragma once

#include "daemon/config.h"

/* Fills nic.endpoint and nic.endpoint_options from the CLI text or the object. What an option
 * means, the endpoint itself says when it is opened. */
int config_endpoint_fill(struct config *config, struct config_nic *entry, json_t *value,
                         struct error *err);
