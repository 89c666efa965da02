/* SPDX-License-Identifier: MIT */
/*
 * The text forms of --nic and of an endpoint, turned into the JSON objects that a config file would
 * hold. It splits and names; whether a key or value is right is config.c's business.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "daemon/schema.h"

/* `socket=/run/vm0.sock,mtu=1500,endpoint=user:net=10.0.3.0/24`: endpoint= comes last and stays
 * text. The object is owned by the caller. */
int nicspec_parse(const char *text, json_t **ret_nic, struct error *err);
/* `name=lan0,ageing=300,uplink=tap:ifname=tap0`, with uplink= last, likewise. */
int nicspec_parse_switch(const char *text, json_t **ret_switch, struct error *err);

/* `user:net=10.0.3.0/24,hostfwd=…,hostfwd=…` to {"kind": …, "net": …, "hostfwd": […]}. */
int nicspec_parse_endpoint(const char *text, json_t **ret_endpoint, struct error *err);

/* The value of a key as JSON: digits become a number where the schema has one; anything else stays
 * text, for the validator to name. `key` may be NULL. NULL: not valid UTF-8, or no memory. */
json_t *nicspec_value(const struct schema_key *key, const char *value, size_t len);
