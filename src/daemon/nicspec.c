/* SPDX-License-Identifier: MIT */
#include "daemon/nicspec.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/shown.h"

enum {
    NICSPEC_DIGITS_MAX = 18 /* fits into json_int_t whatever the digits */
};

/* One `key=value` of the text. */
struct item {
    const char *text; /* borrowed */
    size_t len;
    size_t key_len; /* up to the '=' */
};

static int item_split(const char *text, size_t len, struct item *ret_item, struct error *err)
{
    const char *equals = memchr(text, '=', len);
    char shown[SHOWN_LEN];

    if (equals != NULL && equals != text) {
        *ret_item = (struct item){text, len, (size_t)(equals - text)};
        return 0;
    }
    shown_bytes(text, len, shown);
    return error_set(err, EINVAL, "\"%s\" is not key=value; write it as in mtu=1500", shown);
}

json_t *nicspec_value(const struct schema_key *key, const char *value, size_t len)
{
    json_int_t number = 0;

    if (key == NULL || (key->type != SCHEMA_NUMBER && key->type != SCHEMA_POLL) || len == 0 ||
        len > NICSPEC_DIGITS_MAX)
        return json_stringn(value, len);
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)value[i]))
            return json_stringn(value, len);
        number = number * 10 + (value[i] - '0');
    }
    return json_integer(number);
}

static json_t *item_value(const struct item *item, const struct schema_key *key)
{
    size_t before = item->key_len + 1;

    return nicspec_value(key, item->text + before, item->len - before);
}

/* jansson takes strings of valid UTF-8 only. */
static int refuse_encoding(struct error *err)
{
    return error_set(err, EINVAL, "the text is not valid UTF-8; write it without such bytes");
}

static int nic_set(json_t *nic, const struct schema_key *schema, const struct item *item,
                   struct error *err)
{
    char *key = strndup(item->text, item->key_len);
    json_t *value = NULL;
    char shown[SHOWN_LEN];
    int ret = 0;

    if (key == NULL)
        return error_set(err, ENOMEM, "out of memory");
    value = item_value(item, schema_find(schema, key));
    shown_text(key, shown);
    if (json_object_get(nic, key) != NULL)
        ret = error_set(err, EINVAL, "%s: given twice; leave one of them out", shown);
    else if (json_object_set(nic, key, value) < 0)
        ret = refuse_encoding(err);
    json_decref(value);
    free(key);
    return ret;
}

/* `last_key` has its `=`, and takes the rest of the text. */
static int parse(const char *text, const struct schema_key *schema, const char *last_key,
                 json_t **ret_nic, struct error *err)
{
    json_t *nic = json_object();
    const char *at = text;
    struct item item = {"", 0, 0};
    int ret = 0;

    if (nic == NULL)
        return error_set(err, ENOMEM, "out of memory");
    while (ret == 0 && at != NULL) {
        int last = strncmp(at, last_key, strlen(last_key)) == 0;
        size_t len = last ? strlen(at) : strcspn(at, ",");

        ret = item_split(at, len, &item, err);
        if (ret == 0)
            ret = nic_set(nic, schema, &item, err);
        at = at[len] == ',' ? at + len + 1 : NULL;
    }
    if (ret < 0)
        json_decref(nic);
    else
        *ret_nic = nic;
    return ret;
}

int nicspec_parse(const char *text, json_t **ret_nic, struct error *err)
{
    return parse(text, schema_nic, "endpoint=", ret_nic, err);
}

int nicspec_parse_switch(const char *text, json_t **ret_switch, struct error *err)
{
    return parse(text, schema_switch, "uplink=", ret_switch, err);
}

/* A key that stands again makes an array. */
static int endpoint_add(json_t *endpoint, const char *key, json_t *value)
{
    json_t *before = json_object_get(endpoint, key);
    json_t *both;

    if (before == NULL)
        return json_object_set(endpoint, key, value);
    if (json_is_array(before))
        return json_array_append(before, value);
    both = json_pack("[O, O]", before, value);
    return json_object_set_new(endpoint, key, both);
}

static int endpoint_set(json_t *endpoint, const struct item *item, struct error *err)
{
    char *key = strndup(item->text, item->key_len);
    json_t *value = item_value(item, NULL);
    int ret = 0;

    if (key == NULL)
        ret = error_set(err, ENOMEM, "out of memory");
    else if (strcmp(key, "kind") == 0)
        ret =
            error_set(err, EINVAL, "kind: is no option; the kind is what stands before the colon");
    else if (value == NULL || endpoint_add(endpoint, key, value) < 0)
        ret = refuse_encoding(err);
    json_decref(value);
    free(key);
    return ret;
}

static int endpoint_set_kind(json_t *endpoint, const char *text, size_t len, struct error *err)
{
    const char *comma = memchr(text, ',', len);
    char shown[SHOWN_LEN];

    if (comma != NULL) {
        shown_text(comma + 1, shown);
        return error_set(err, EINVAL,
                         "nothing but its own options may follow the endpoint: write \"%s\" before "
                         "endpoint=, or after the kind and a colon",
                         shown);
    }
    if (len == 0)
        return error_set(err, EINVAL, "the kind is missing; write one such as endpoint=user");
    if (json_object_set_new(endpoint, "kind", json_stringn(text, len)) < 0)
        return refuse_encoding(err);
    return 0;
}

int nicspec_parse_endpoint(const char *text, json_t **ret_endpoint, struct error *err)
{
    json_t *endpoint = json_object();
    size_t kind_len = strcspn(text, ":");
    const char *at = text[kind_len] == ':' ? text + kind_len + 1 : NULL;
    struct item item = {"", 0, 0};
    int ret;

    if (endpoint == NULL)
        return error_set(err, ENOMEM, "out of memory");
    ret = endpoint_set_kind(endpoint, text, kind_len, err);
    while (ret == 0 && at != NULL) {
        size_t len = strcspn(at, ",");

        ret = item_split(at, len, &item, err);
        if (ret == 0)
            ret = endpoint_set(endpoint, &item, err);
        at = at[len] == ',' ? at + len + 1 : NULL;
    }
    if (ret < 0)
        json_decref(endpoint);
    else
        *ret_endpoint = endpoint;
    return ret;
}
