/* SPDX-License-Identifier: MIT */
/* What of a running card can be set by name. */
#pragma once

#include "run/coordinator.h"

/* -EINVAL and a sentence for an unknown key or a value that can't be; otherwise the coordinator's.
 */
int settings_apply(struct coordinator *coordinator, const char *key, const char *value,
                   struct error *err);
