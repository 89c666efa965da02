/* SPDX-License-Identifier: MIT */
/*
 * Trees for people and programs: the inspect tree and the list of endpoint kinds as JSON, cut down
 * to a path, and printed as indented text. Key order is visit order. Numbers whose style is
 * hexadecimal are strings such as "0x1f" (JSON readers lose the low bits of 64-bit numbers anyway).
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"
#include "vionic.h"

/* Owned by the caller; NULL: out of memory. */
json_t *reports_inspect(struct vionic *vionic);
json_t *reports_endpoints(void);

/* The node at `nic0/queues/0`; "" and "/" are the whole tree. Borrowed from the tree. -ENOENT and a
 * sentence that lists what is there instead. */
int reports_find(json_t *tree, const char *path, json_t **ret_node, struct error *err);

/* A tree under no name of its own, or a lone value. */
void reports_print_tree(FILE *out, const json_t *node);
void reports_print_endpoints(FILE *out, const json_t *endpoints);
