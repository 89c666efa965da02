/* SPDX-License-Identifier: MIT */
/*
 * The inspect visitor: every object that has something to show walks itself with these calls, and
 * knows nothing of who listens (JSON, text, a test). Names are lower_case, stable and documented.
 */
#pragma once

#include <stdint.h>

#include "base/counter.h"

enum inspect_style {
    INSPECT_DECIMAL,
    INSPECT_HEX,
    INSPECT_COUNTER, /* only ever grows; a client may show its rate */
};

struct inspect_ops {
    void (*enter)(void *context, const char *name);
    void (*leave)(void *context);
    void (*text)(void *context, const char *name, const char *value);
    void (*number)(void *context, const char *name, uint64_t value, enum inspect_style style);
    void (*flag)(void *context, const char *name, int value);
};

struct inspect {
    const struct inspect_ops *ops; /* borrowed */
    void *context;                 /* borrowed; passed to every call */
};

void inspect_enter(struct inspect *visitor, const char *name);
void inspect_enter_index(struct inspect *visitor, unsigned index);
void inspect_leave(struct inspect *visitor);
void inspect_text(struct inspect *visitor, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void inspect_number(struct inspect *visitor, const char *name, uint64_t value);
void inspect_hex(struct inspect *visitor, const char *name, uint64_t value);
void inspect_flag(struct inspect *visitor, const char *name, int value);
void inspect_counter(struct inspect *visitor, const char *name, const counter *c);
/* A node with one counter a bucket, named by its range: "0", "1", "2-3", … */
void inspect_histogram(struct inspect *visitor, const char *name, const struct histogram *h);
