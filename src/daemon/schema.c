/* SPDX-License-Identifier: MIT */
#include "daemon/schema.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/checked.h"
#include "daemon/nearest.h"
#include "daemon/shown.h"

enum {
    SCHEMA_KEYS_MAX = 24,
    SOCKET_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
};

const struct schema_key schema_daemon[] = {
    {"control", SCHEMA_PATH, 0, 0},
    {"control-group", SCHEMA_TEXT, 0, 0},
    {"sandbox", SCHEMA_TEXT, 0, 0},
    {"sandbox-allow", SCHEMA_TEXT, 0, 0},
    {"user", SCHEMA_TEXT, 0, 0},
    {"workers", SCHEMA_NUMBER, 1, 64},
    {"cpus", SCHEMA_TEXT, 0, 0},
    {"poll", SCHEMA_POLL, 0, 1000000},
    {"poll-budget", SCHEMA_NUMBER, 1, 100},
    {"nics", SCHEMA_ARRAY, 0, 0},
    {"switches", SCHEMA_ARRAY, 0, 0},
    {NULL, 0, 0, 0},
};

const struct schema_key schema_nic[] = {
    {"name", SCHEMA_TEXT, 0, 0},
    {"socket", SCHEMA_PATH, 0, 0},
    {"mode", SCHEMA_TEXT, 0, 0},
    {"in-band", SCHEMA_TEXT, 0, 0},
    {"postcopy", SCHEMA_TEXT, 0, 0},
    {"iommu", SCHEMA_TEXT, 0, 0},
    {"mac", SCHEMA_TEXT, 0, 0},
    {"mtu", SCHEMA_NUMBER, 68, 65535},
    {"queues", SCHEMA_NUMBER, 1, 128},
    {"queue-size", SCHEMA_NUMBER, 1, 32768},
    {"queue-unit", SCHEMA_TEXT, 0, 0},
    {"speed", SCHEMA_NUMBER, 1, INT32_MAX}, /* virtio 1.4, 5.1.4: 0 … 0x7fffffff Mbit/s */
    {"workers", SCHEMA_WORKERS, 1, 64},
    {"memory-max", SCHEMA_NUMBER, 1, INT32_MAX}, /* MiB */
    {"memory-regions", SCHEMA_NUMBER, 1, 512},
    {"control-share", SCHEMA_NUMBER, 1, 100}, /* percent */
    {"endpoint", SCHEMA_ENDPOINT, 0, 0},
    {NULL, 0, 0, 0},
};

const struct schema_key schema_switch[] = {
    {"name", SCHEMA_TEXT, 0, 0},
    {"ageing", SCHEMA_NUMBER, 1, 1000000},
    {"queues", SCHEMA_NUMBER, 1, 128},
    {"uplink", SCHEMA_ENDPOINT, 0, 0},
    {NULL, 0, 0, 0},
};

const struct schema_key *schema_find(const struct schema_key *schema, const char *name)
{
    for (; schema->name != NULL; schema++) {
        if (strcmp(schema->name, name) == 0)
            return schema;
    }
    return NULL;
}

static int refuse_key(const struct schema_key *schema, const char *name, const char *place,
                      struct error *err)
{
    const char *known[SCHEMA_KEYS_MAX + 1];
    char hint[192], shown[SHOWN_LEN];
    size_t count = 0;

    for (; schema[count].name != NULL && count < SCHEMA_KEYS_MAX; count++)
        known[count] = schema[count].name;
    known[count] = NULL;
    nearest_hint(name, known, hint, sizeof(hint));
    shown_text(name, shown);
    return error_set(err, EINVAL, "%s%s: unknown key%s", place, shown, hint);
}

static int refuse_value(const struct schema_key *key, const json_t *value, const char *place,
                        struct error *err)
{
    char shown[SHOWN_LEN];

    shown_json(value, shown);
    switch (key->type) {
    case SCHEMA_NUMBER:
        return error_set(err, EINVAL, "%s%s: must be a whole number from %lld to %lld, not %s",
                         place, key->name, (long long)key->min, (long long)key->max, shown);
    case SCHEMA_WORKERS:
        return error_set(
            err, EINVAL,
            "%s%s: must be a count from %lld to %lld or a list such as \"0-1\", not %s", place,
            key->name, (long long)key->min, (long long)key->max, shown);
    case SCHEMA_POLL:
        return error_set(
            err, EINVAL,
            "%s%s: must be \"off\", \"adaptive\", \"always\" or a whole number from %lld to "
            "%lld, in microseconds, not %s",
            place, key->name, (long long)key->min, (long long)key->max, shown);
    case SCHEMA_ARRAY:
        return error_set(err, EINVAL, "%s%s: must be an array of objects, not %s", place, key->name,
                         shown);
    case SCHEMA_ENDPOINT:
        return error_set(err, EINVAL,
                         "%s%s: must be a string such as \"user\" or an object with a \"kind\", "
                         "not %s",
                         place, key->name, shown);
    case SCHEMA_TEXT:
    case SCHEMA_PATH:
        break;
    }
    return error_set(
        err, EINVAL,
        "%s%s: must be a string that is not empty and has no control characters, not %s", place,
        key->name, shown);
}

static int is_plain_text(const json_t *value)
{
    const char *text = json_string_value(value);

    if (json_string_length(value) == 0)
        return 0;
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return 0;
    }
    return 1;
}

int schema_polling(const char *name)
{
    static const char *const names[] = {"off", "adaptive", "always"};

    for (int i = 0; i < (int)ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return i;
    }
    return -EINVAL;
}

static int number_fits(const struct schema_key *key, const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= key->min &&
           json_integer_value(value) <= key->max;
}

static int value_fits(const struct schema_key *key, const json_t *value)
{
    switch (key->type) {
    case SCHEMA_NUMBER:
        return number_fits(key, value);
    case SCHEMA_WORKERS:
        return json_is_string(value) ? is_plain_text(value) : number_fits(key, value);
    case SCHEMA_POLL:
        return json_is_string(value) ? schema_polling(json_string_value(value)) >= 0
                                     : number_fits(key, value);
    case SCHEMA_ARRAY:
        return json_is_array(value);
    case SCHEMA_ENDPOINT:
        return json_is_object(value) || json_string_length(value) > 0;
    case SCHEMA_TEXT:
    case SCHEMA_PATH:
        break;
    }
    return is_plain_text(value);
}

int schema_check(const struct schema_key *schema, json_t *object, const char *place,
                 struct error *err)
{
    const struct schema_key *key;
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        key = schema_find(schema, name);
        if (key == NULL)
            return refuse_key(schema, name, place, err);
        if (!value_fits(key, value))
            return refuse_value(key, value, place, err);
        if (key->type == SCHEMA_PATH && json_string_length(value) > SOCKET_PATH_MAX)
            return error_set(err, EINVAL,
                             "%s%s: the path has %zu bytes and a unix socket's path takes at most "
                             "%d; choose a shorter one",
                             place, key->name, json_string_length(value), SOCKET_PATH_MAX);
    }
    return 0;
}
