/* SPDX-License-Identifier: MIT */
/*
 * The one schema of what an operator may write, for the JSON file and the --nic text alike: which
 * keys there are, of which type, in which range. It must not know what the values are for.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"

enum schema_type {
    SCHEMA_NUMBER,   /* a whole number in min … max */
    SCHEMA_WORKERS,  /* a whole number in min … max, or a string that is not empty */
    SCHEMA_POLL,     /* the same */
    SCHEMA_TEXT,     /* a string that is not empty */
    SCHEMA_PATH,     /* a string that fits into a unix socket's address */
    SCHEMA_ARRAY,    /* its items have a schema of their own */
    SCHEMA_ENDPOINT, /* the CLI form, or an object */
};

struct schema_key {
    const char *name;
    enum schema_type type;
    json_int_t min; /* of whole numbers */
    json_int_t max;
};

extern const struct schema_key schema_daemon[]; /* ends with a NULL name */
extern const struct schema_key schema_nic[];
extern const struct schema_key schema_switch[];

const struct schema_key *schema_find(const struct schema_key *schema, const char *name);

/* The words that SCHEMA_POLL takes instead of a number: 0 off, 1 adaptive, 2 always; -EINVAL. */
int schema_polling(const char *name);

/* Checks every key of an object and its value. `place` is what a sentence puts before the key:
 * where the operator wrote it, such as "vm.json: nics[0]." or "--". -EINVAL and a sentence. */
int schema_check(const struct schema_key *schema, json_t *object, const char *place,
                 struct error *err);
