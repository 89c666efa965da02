/* SPDX-License-Identifier: MIT */
#include "daemon/set_request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "daemon/nearest.h"
#include "daemon/reports.h"
#include "daemon/sandbox.h"
#include "daemon/shown.h"

enum {
    SETTINGS_MAX = 32,
    NICS_NAMED_MAX = 64, /* in a sentence */
    NIC_NAME_SIZE = 64,
    VALUE_SIZE = 96,      /* more than any value that can be right, but for … */
    ENDPOINT_SIZE = 4096, /* … an endpoint with its options */
};

int set_name_check(const char *name, struct error *err)
{
    const char *known[SETTINGS_MAX + 1] = {NULL};
    const char *dot = strchr(name, '.');
    struct vionic_setting setting = {.size = sizeof(setting)};
    char hint[192], shown[SHOWN_LEN];

    shown_text(name, shown);
    if (dot == NULL || dot == name)
        return error_set(err, EINVAL, "\"%s\" names no setting of a NIC; write it as in nic0.link",
                         shown);
    for (unsigned i = 0; i < SETTINGS_MAX && vionic_setting(i, &setting) == 0; i++) {
        known[i] = setting.key;
        if (strcmp(setting.key, dot + 1) == 0)
            return 0;
    }
    nearest_hint(dot + 1, known, hint, sizeof(hint));
    return error_set(err, EINVAL, "%s: there is no such setting%s", shown, hint);
}

static int refuse_nic(struct vionic *vionic, const char *nic, struct error *err)
{
    const char *known[NICS_NAMED_MAX + 1] = {NULL};
    char hint[192], shown[SHOWN_LEN];
    json_t *tree = reports_inspect(vionic);
    json_t *child;
    const char *name;
    unsigned count = 0;

    json_object_foreach(tree, name, child)
    {
        if (count < NICS_NAMED_MAX)
            known[count++] = name;
    }
    nearest_hint(nic, known, hint, sizeof(hint));
    shown_text(nic, shown);
    error_set(err, ENOENT, "there is no NIC \"%s\"%s", shown, count == 0 ? "" : hint);
    json_decref(tree);
    return -ENOENT;
}

static int value_text(const char *key, const json_t *value, char ret_text[ENDPOINT_SIZE])
{
    int size = strcmp(key, "endpoint") == 0 ? ENDPOINT_SIZE : VALUE_SIZE;
    int len = -1;

    if (json_is_integer(value))
        len = snprintf(ret_text, (size_t)size, "%lld", (long long)json_integer_value(value));
    else if (json_is_string(value))
        len = snprintf(ret_text, (size_t)size, "%s", json_string_value(value));
    return len < 0 || len >= size ? -EINVAL : 0;
}

/* What the daemon was started with stays open across exec; its own files (sessions, the control
 * socket, other cards) do not, and are nobody's network. */
static int is_own_file(unsigned long fd)
{
    int flags = fd <= INT_MAX ? fcntl((int)fd, F_GETFD) : -1;

    return flags >= 0 && (flags & FD_CLOEXEC) != 0;
}

static int refuse_own_files(const char *endpoint, struct error *err)
{
    const char *at = strchr(endpoint, ':');

    for (; at != NULL; at = strchr(at, ',')) {
        unsigned long fd;

        at++;
        if (strncmp(at, "fd=", 3) != 0)
            continue;
        fd = strtoul(at + 3, NULL, 10);
        if (is_own_file(fd))
            return error_set(err, EPERM,
                             "fd=%lu is a file of the daemon's own; name one that it was started "
                             "with",
                             fd);
    }
    return 0;
}

static int set_one(struct vionic *vionic, const char *name, const json_t *value, struct error *err)
{
    const char *dot = strchr(name, '.');
    struct vionic_error reason = {{0}};
    char nic[NIC_NAME_SIZE], text[ENDPOINT_SIZE], shown[SHOWN_LEN], clean[sizeof(reason.text)];

    snprintf(nic, sizeof(nic), "%.*s", (int)MIN((size_t)(dot - name), sizeof(nic) - 1), name);
    if (value_text(dot + 1, value, text) < 0) {
        shown_json(value, shown);
        error_set(err, EINVAL, "must be a short string or a whole number, not %s", shown);
        goto refused;
    }
    if (vionic_find_nic(vionic, nic) == NULL)
        return refuse_nic(vionic, nic, err);
    if (strcmp(dot + 1, "endpoint") == 0 &&
        (refuse_own_files(text, err) < 0 || sandbox_allows_endpoint(text, err) < 0))
        goto refused;
    if (vionic_nic_set(vionic_find_nic(vionic, nic), dot + 1, text, &reason) == 0)
        return 0;
    shown_clean(reason.text, clean, sizeof(clean));
    error_set(err, EINVAL, "%s", clean);
refused:
    shown_text(name, shown);
    error_prefix(err, "%s", shown);
    return -EINVAL;
}

/* The sentence about what failed goes on with what did not. */
static void tell_done(const char *const *done, unsigned count, struct error *err)
{
    size_t used = strlen(err->text);

    for (unsigned i = 0; i < count && used < sizeof(err->text) - 1; i++) {
        used += (size_t)snprintf(err->text + used, sizeof(err->text) - used, "%s %s",
                                 i == 0 ? "; done before it:" : ",", done[i]);
    }
}

static int set_all(struct vionic *vionic, json_t *values, struct error *err)
{
    const char *done[SETTINGS_MAX];
    const char *name;
    json_t *value;
    unsigned count = 0;
    int ret;

    json_object_foreach(values, name, value)
    {
        ret = set_one(vionic, name, value, err);
        if (ret < 0) {
            tell_done(done, MIN(count, SETTINGS_MAX), err);
            return ret;
        }
        if (count < SETTINGS_MAX)
            done[count] = name;
        count++;
    }
    return 0;
}

int set_request_answer(struct vionic *vionic, json_t *request, json_t **ret_result,
                       struct error *err)
{
    json_t *values = json_object_get(request, "values");
    const char *name;
    json_t *value;
    int ret;

    if (!json_is_object(values) || json_object_size(values) == 0)
        return error_set(err, EINVAL,
                         "values: must be an object such as {\"nic0.link\": \"down\"}");
    /* A slip of the pen in the last one changes nothing at all. */
    json_object_foreach(values, name, value)
    {
        ret = set_name_check(name, err);
        if (ret < 0)
            return ret;
    }
    ret = set_all(vionic, values, err);
    if (ret == 0)
        *ret_result = json_incref(values);
    return ret;
}
