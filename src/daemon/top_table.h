/* SPDX-License-Identifier: MIT */
/* What `vionic top` shows: the difference of two inspect trees, as a table. */
#pragma once

#include <jansson.h>
#include <stdio.h>

struct top_span {
    const json_t *before; /* borrowed: trees of the whole daemon */
    const json_t *after;
    double seconds; /* between them */
    unsigned rows;  /* most NICs to print, the busiest first; 0: all */
};

void top_table_print(FILE *out, const struct top_span *span);
