/* SPDX-License-Identifier: MIT */
/* The visible table of endpoint kinds: a new endpoint is one file plus one line in catalog.c. */
#pragma once

#include "endpoint/endpoint.h"

/* Kinds in the order that `vionic endpoints` prints; ends with NULL. */
extern const struct endpoint_ops *const endpoint_catalog[];

/* Opens what the spec names. An unknown kind gets a sentence that lists the known ones. */
int endpoint_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                  struct error *err);
/* An endpoint with `pairs` queue pairs over a synchronous one that has fewer, which it owns from
 * now on (funnel.c). */
int endpoint_widen(struct endpoint *inner, unsigned pairs, struct endpoint **ret_endpoint,
                   struct error *err);
/* The same, of what another process gave; -ENOENT: it has to be opened. */
int endpoint_take(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                  struct endpoint **ret_endpoint, struct error *err);
/* NULL is fine. */
void endpoint_close(struct endpoint *endpoint);
