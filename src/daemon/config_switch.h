/* SPDX-License-Identifier: MIT */
/* Switches that are configured: name, ageing, uplink. Those that only NICs name need none of this.
 */
#pragma once

#include "daemon/config.h"

/* One of the file's or of --switch. */
int config_apply_switch(struct config *config, json_t *object, const char *place,
                        struct error *err);
void config_clear_switches(struct config *config);
