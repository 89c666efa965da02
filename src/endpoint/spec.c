/* SPDX-License-Identifier: MIT */
#include "endpoint/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int endpoint_spec_add(struct endpoint_spec *spec, const char *key, const char *value,
                      struct error *err)
{
    struct endpoint_option *option;

    if (spec->option_count == ENDPOINT_OPTIONS_MAX)
        return error_set(err, E2BIG, "endpoint %s: more than %d options; leave some out",
                         spec->kind, ENDPOINT_OPTIONS_MAX);
    option = &spec->option[spec->option_count];
    option->key = strdup(key);
    option->value = strdup(value);
    if (option->key == NULL || option->value == NULL) {
        free(option->key);
        free(option->value);
        *option = (struct endpoint_option){0};
        return error_set(err, ENOMEM, "endpoint %s: out of memory", spec->kind);
    }
    spec->option_count++;
    return 0;
}

/* `piece` is one `key=value`; the text is taken apart in place. */
static int spec_add_piece(struct endpoint_spec *spec, char *piece, struct error *err)
{
    char *equals = strchr(piece, '=');

    if (*piece == '\0')
        return error_set(err, EINVAL, "endpoint %s: an option is empty; take the extra comma out",
                         spec->kind);
    if (equals == NULL || equals == piece)
        return error_set(err, EINVAL, "endpoint %s: option '%s' must be written key=value",
                         spec->kind, piece);
    *equals = '\0';
    return endpoint_spec_add(spec, piece, equals + 1, err);
}

int endpoint_spec_parse(struct endpoint_spec *spec, const char *text, struct error *err)
{
    char *piece, *next;
    int rc = 0;

    *spec = (struct endpoint_spec){.queue_pairs = 1};
    spec->kind = strdup(text);
    if (spec->kind == NULL)
        return error_set(err, ENOMEM, "endpoint %s: out of memory", text);
    /* Only the first colon separates: values such as hostfwd's have colons of their own. */
    next = strchr(spec->kind, ':');
    if (next != NULL)
        *next++ = '\0';
    if (*spec->kind == '\0')
        rc = error_set(err, EINVAL, "endpoint '%s': the kind is missing; write KIND:key=value,...",
                       text);
    while (rc == 0 && next != NULL) {
        piece = next;
        next = strchr(piece, ',');
        if (next != NULL)
            *next++ = '\0';
        rc = spec_add_piece(spec, piece, err);
    }
    if (rc != 0)
        endpoint_spec_clear(spec);
    return rc;
}

int endpoint_spec_copy(const struct endpoint_spec *from, struct endpoint_spec *ret_copy)
{
    *ret_copy = (struct endpoint_spec){.queue_pairs = from->queue_pairs,
                                       .only_if_there = from->only_if_there};
    ret_copy->kind = strdup(from->kind);
    if (ret_copy->kind == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < from->option_count; i++) {
        if (endpoint_spec_add(ret_copy, from->option[i].key, from->option[i].value, NULL) < 0) {
            endpoint_spec_clear(ret_copy);
            return -ENOMEM;
        }
    }
    return 0;
}

void endpoint_spec_clear(struct endpoint_spec *spec)
{
    for (unsigned i = 0; i < spec->option_count; i++) {
        free(spec->option[i].key);
        free(spec->option[i].value);
    }
    free(spec->kind);
    *spec = (struct endpoint_spec){0};
}

const char *endpoint_spec_get(const struct endpoint_spec *spec, const char *key)
{
    for (unsigned i = spec->option_count; i > 0; i--) {
        if (strcmp(spec->option[i - 1].key, key) == 0)
            return spec->option[i - 1].value;
    }
    return NULL;
}

static int keys_include(const char *const *keys, const char *key)
{
    for (; *keys != NULL; keys++) {
        if (strcmp(*keys, key) == 0)
            return 1;
    }
    return 0;
}

static void keys_join(const char *const *keys, char *ret_text, size_t len)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (; *keys != NULL && used + strlen(*keys) + 3 < len; keys++) {
        if (used > 0)
            used += (size_t)(stpcpy(ret_text + used, ", ") - (ret_text + used));
        used += (size_t)(stpcpy(ret_text + used, *keys) - (ret_text + used));
    }
}

int endpoint_spec_allow(const struct endpoint_spec *spec, const char *const *keys,
                        struct error *err)
{
    char known[256];

    for (unsigned i = 0; i < spec->option_count; i++) {
        if (keys_include(keys, spec->option[i].key))
            continue;
        if (*keys == NULL)
            return error_set(err, EINVAL, "endpoint %s: unknown option '%s'; it has no options",
                             spec->kind, spec->option[i].key);
        keys_join(keys, known, sizeof(known));
        return error_set(err, EINVAL, "endpoint %s: unknown option '%s'; it has %s", spec->kind,
                         spec->option[i].key, known);
    }
    return 0;
}

int endpoint_spec_number(const struct endpoint_spec *spec, const char *key, uint64_t min,
                         uint64_t max, uint64_t *ret_value, struct error *err)
{
    const char *text = endpoint_spec_get(spec, key);
    unsigned long long value = 0;
    char *end = NULL;

    if (text == NULL)
        return 0;
    errno = 0;
    /* strtoull() would take a sign and leading spaces. */
    if (*text >= '0' && *text <= '9')
        value = strtoull(text, &end, 10);
    if (end == NULL || *end != '\0' || errno != 0 || value < min || value > max)
        return error_set(err, EINVAL,
                         "endpoint %s: %s=%s is not a whole number from %" PRIu64 " to %" PRIu64,
                         spec->kind, key, text, min, max);
    *ret_value = value;
    return 0;
}

int endpoint_spec_switch(const struct endpoint_spec *spec, const char *key, int *ret_value,
                         struct error *err)
{
    const char *text = endpoint_spec_get(spec, key);

    if (text == NULL)
        return 0;
    if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
        return error_set(err, EINVAL, "endpoint %s: %s=%s must be %s=on or %s=off", spec->kind, key,
                         text, key, key);
    *ret_value = strcmp(text, "on") == 0;
    return 0;
}
