/* SPDX-License-Identifier: MIT */
#include "daemon/config_endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "daemon/nearest.h"
#include "daemon/nicspec.h"
#include "daemon/schema.h"
#include "daemon/shown.h"

enum {
    KINDS_MAX = 32,
    OPTIONS_MAX = 64,
};

static int check_kind(const char *kind, const char *place, struct error *err)
{
    const char *known[KINDS_MAX + 1] = {NULL};
    struct vionic_endpoint_kind entry = {.size = sizeof(entry)};
    char hint[256], shown[SHOWN_LEN];

    for (unsigned i = 0; i < KINDS_MAX && vionic_endpoint_kind(i, &entry) == 0; i++) {
        if (strcmp(entry.kind, kind) == 0)
            return 0;
        known[i] = entry.kind;
    }
    nearest_hint(kind, known, hint, sizeof(hint));
    shown_text(kind, shown);
    return error_set(err, EINVAL, "%sendpoint: there is no kind \"%s\"%s", place, shown, hint);
}

/* The text of an option's value, kept alive by `kept`; NULL: not a plain value, or no memory. */
static const char *plain_text(json_t *kept, json_t *value)
{
    char number[32];
    json_t *text;

    if (json_is_string(value))
        return json_string_value(value);
    if (json_is_boolean(value)) /* the switches of endpoints are `on` and `off` */
        return json_is_true(value) ? "on" : "off";
    if (!json_is_integer(value))
        return NULL;
    snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    text = json_string(number);
    return json_array_append_new(kept, text) < 0 ? NULL : json_string_value(text);
}

static int add_option(struct config *config, struct config_nic *entry, const char *key,
                      json_t *value, struct error *err)
{
    const char *text = plain_text(config->kept, value);
    char what[SHOWN_LEN], shown[SHOWN_LEN];

    shown_text(key, shown);
    if (text == NULL) {
        shown_json(value, what);
        return error_set(
            err, EINVAL,
            "%sendpoint: %s: must be a string, a whole number, true, false or an array "
            "of those, not %s",
            entry->place, shown, what);
    }
    if (key[strcspn(key, ":=,")] != '\0' || key[0] == '\0')
        return error_set(err, EINVAL, "%sendpoint: \"%s\" is no option name; write a plain word",
                         entry->place, shown);
    if (entry->nic.endpoint_option_count >= OPTIONS_MAX)
        return error_set(err, EINVAL, "%sendpoint: %s: more than %d options; leave some out",
                         entry->place, shown, OPTIONS_MAX);
    entry->options[entry->nic.endpoint_option_count++] = (struct vionic_option){key, text};
    return 0;
}

static int add_options(struct config *config, struct config_nic *entry, json_t *object,
                       struct error *err)
{
    const char *key;
    json_t *value, *one;
    size_t i;
    int ret = 0;

    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "kind") == 0)
            continue;
        if (!json_is_array(value))
            ret = add_option(config, entry, key, value, err);
        json_array_foreach(value, i, one)
        {
            ret = add_option(config, entry, key, one, err);
            if (ret < 0)
                break;
        }
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int fill_from_object(struct config *config, struct config_nic *entry, json_t *object,
                            struct error *err)
{
    const char *kind = json_string_value(json_object_get(object, "kind"));
    int ret;

    if (kind == NULL)
        return error_set(err, EINVAL,
                         "%sendpoint: \"kind\" is missing or no string; write one such as \"user\"",
                         entry->place);
    ret = check_kind(kind, entry->place, err);
    if (ret < 0)
        return ret;
    entry->options = calloc(OPTIONS_MAX, sizeof(*entry->options));
    if (entry->options == NULL || json_array_append(config->kept, object) < 0)
        return error_set(err, ENOMEM, "out of memory");
    entry->nic.endpoint = kind;
    entry->nic.endpoint_options = entry->options;
    return add_options(config, entry, object, err);
}

int config_endpoint_fill(struct config *config, struct config_nic *entry, json_t *value,
                         struct error *err)
{
    json_t *object;
    int ret;

    if (json_is_object(value))
        return fill_from_object(config, entry, value, err);
    ret = nicspec_parse_endpoint(json_string_value(value), &object, err);
    if (ret < 0) {
        error_prefix(err, "%sendpoint", entry->place);
        return ret;
    }
    ret = fill_from_object(config, entry, object, err);
    json_decref(object);
    return ret;
}
