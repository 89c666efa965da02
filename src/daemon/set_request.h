/* SPDX-License-Identifier: MIT */
/*
 * The request that changes running NICs, and the names in it, NIC.SETTING:
 *
 *   {"command": "set", "values": {"nic0.link": "down", "nic0.mtu": 9000}}
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "vionic.h"

/* -EINVAL and a sentence unless it is something, a dot and a setting of this build. */
int set_name_check(const char *name, struct error *err);
/* Does all that the request asks for, in its order, up to the first refusal. The result is the
 * request's values. */
int set_request_answer(struct vionic *vionic, json_t *request, json_t **ret_result,
                       struct error *err);
