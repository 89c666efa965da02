/* SPDX-License-Identifier: MIT */
/* Specs: from the operator's text or from key/value pairs, and the readers that each kind's open()
 * uses. */
#pragma once

#include "endpoint/endpoint.h"

/* Parses `KIND` or `KIND:key=value,key=value`. A key may stand more than once. */
int endpoint_spec_parse(struct endpoint_spec *spec, const char *text, struct error *err);
int endpoint_spec_add(struct endpoint_spec *spec, const char *key, const char *value,
                      struct error *err);
int endpoint_spec_copy(const struct endpoint_spec *from, struct endpoint_spec *ret_copy);
/* Frees what the spec owns and zeroes it. */
void endpoint_spec_clear(struct endpoint_spec *spec);

/* The last value of key, or NULL. */
const char *endpoint_spec_get(const struct endpoint_spec *spec, const char *key);
/* Refuses, by name, any key that is not in the NULL-terminated list. */
int endpoint_spec_allow(const struct endpoint_spec *spec, const char *const *keys,
                        struct error *err);
/* *ret_value is unchanged if the key is absent. */
int endpoint_spec_number(const struct endpoint_spec *spec, const char *key, uint64_t min,
                         uint64_t max, uint64_t *ret_value, struct error *err);
/* `on`/`off`; *ret_value is unchanged if the key is absent. */
int endpoint_spec_switch(const struct endpoint_spec *spec, const char *key, int *ret_value,
                         struct error *err);
