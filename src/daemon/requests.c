/* SPDX-License-Identifier: MIT */
#include "daemon/requests.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/handover.h"
#include "base/checked.h"
#include "daemon/nearest.h"
#include "daemon/reports.h"
#include "daemon/sandbox.h"
#include "daemon/schema.h"
#include "daemon/set_request.h"
#include "daemon/shown.h"

struct request_command {
    const char *name;
    const char *argument; /* the key it takes beside "command"; NULL: none */
    int (*answer)(struct vionic *vionic, json_t *request, json_t **ret_result, struct error *err);
};

/* Dumps the answer and frees it. */
static char *answer_text(json_t *answer, size_t *ret_len)
{
    char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
    char *line = NULL;
    size_t len;

    json_decref(answer);
    if (text == NULL)
        return NULL;
    len = strlen(text);
    line = realloc(text, len + 2);
    if (line == NULL) {
        free(text);
        return NULL;
    }
    memcpy(line + len, "\n", 2);
    *ret_len = len + 1;
    return line;
}

char *requests_refuse(const char *sentence, size_t *ret_len)
{
    return answer_text(json_pack("{s: b, s: s}", "ok", 0, "error", sentence), ret_len);
}

static int is_about_daemon(const json_t *path)
{
    const char *text = path == NULL ? "" : json_string_value(path);
    size_t len = strcspn(text, "/");

    return len == strlen(CONFIG_NAME_DAEMON) && strncmp(text, CONFIG_NAME_DAEMON, len) == 0;
}

static json_t *report_daemon(void)
{
    return json_pack("{s: {s: o}}", CONFIG_NAME_DAEMON, "sandbox", sandbox_report());
}

static int answer_inspect(struct vionic *vionic, json_t *request, json_t **ret_result,
                          struct error *err)
{
    json_t *path = json_object_get(request, "path");
    json_t *tree, *node;
    int ret;

    if (path != NULL && !json_is_string(path))
        return error_set(err, EINVAL, "path: must be a string such as \"nic0/queues/0\"");
    tree = is_about_daemon(path) ? report_daemon() : reports_inspect(vionic);
    if (tree == NULL)
        return error_set(err, ENOMEM, "out of memory");
    ret = reports_find(tree, path != NULL ? json_string_value(path) : "", &node, err);
    if (ret == 0)
        *ret_result = json_incref(node);
    json_decref(tree);
    return ret;
}

static int answer_endpoints(struct vionic *vionic, json_t *request, json_t **ret_result,
                            struct error *err)
{
    (void)vionic;
    (void)request;
    *ret_result = reports_endpoints();
    return *ret_result == NULL ? error_set(err, ENOMEM, "out of memory") : 0;
}

static int answer_ping(struct vionic *vionic, json_t *request, json_t **ret_result,
                       struct error *err)
{
    (void)vionic;
    (void)request;
    *ret_result =
        json_pack("{s: s, s: I}", "version", vionic_version(), "pid", (json_int_t)getpid());
    return *ret_result == NULL ? error_set(err, ENOMEM, "out of memory") : 0;
}

/* What the new daemon has to know before it asks for the cards. */
static int answer_takeover(struct vionic *vionic, json_t *request, json_t **ret_result,
                           struct error *err)
{
    json_t *nics = json_array();
    json_t *uplinks = json_array();

    (void)request;
    for (struct vionic_nic *nic = handover_next(vionic, NULL); nic != NULL;
         nic = handover_next(vionic, nic)) {
        if (json_array_append_new(nics, json_string(vionic_nic_name(nic))) < 0)
            break;
    }
    for (const char *name = handover_next_uplink(vionic, NULL); name != NULL;
         name = handover_next_uplink(vionic, name)) {
        if (json_array_append_new(uplinks, json_string(name)) < 0)
            break;
    }
    *ret_result = json_pack("{s: s, s: I, s: o, s: o}", "version", vionic_version(), "pid",
                            (json_int_t)getpid(), "nics", nics, "uplinks", uplinks);
    return *ret_result == NULL ? error_set(err, ENOMEM, "out of memory") : 0;
}

static const struct request_command commands[] = {
    {"inspect", "path", answer_inspect}, {"endpoints", NULL, answer_endpoints},
    {"ping", NULL, answer_ping},         {"set", "values", set_request_answer},
    {"takeover", NULL, answer_takeover},
};

static const struct request_command *find_command(json_t *request, struct error *err)
{
    const char *known[ARRAY_COUNT(commands) + 1] = {NULL};
    const char *name = json_string_value(json_object_get(request, "command"));
    char hint[128], shown[SHOWN_LEN];

    if (name == NULL) {
        error_set(err, EINVAL,
                  "the request has no \"command\"; write one such as {\"command\":\"ping\"}");
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        known[i] = commands[i].name;
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    nearest_hint(name, known, hint, sizeof(hint));
    shown_text(name, shown);
    error_set(err, EINVAL, "there is no command \"%s\"%s", shown, hint);
    return NULL;
}

static int check_keys(const struct request_command *command, json_t *request, struct error *err)
{
    const char *known[] = {"command", command->argument, NULL};
    char hint[128], shown[SHOWN_LEN];
    const char *key;
    json_t *value;

    json_object_foreach(request, key, value)
    {
        if (strcmp(key, known[0]) == 0 || (known[1] != NULL && strcmp(key, known[1]) == 0))
            continue;
        nearest_hint(key, known, hint, sizeof(hint));
        shown_text(key, shown);
        return error_set(err, EINVAL, "%s: unknown key%s", shown, hint);
    }
    return 0;
}

static int answer_request(struct vionic *vionic, json_t *request, json_t **ret_result,
                          struct error *err)
{
    const struct request_command *command = find_command(request, err);
    int ret = command == NULL ? -EINVAL : check_keys(command, request, err);

    return ret < 0 ? ret : command->answer(vionic, request, ret_result, err);
}

char *requests_answer(struct vionic *vionic, const char *line, size_t len, size_t *ret_len)
{
    struct error err;
    json_error_t where;
    json_t *result = NULL;
    json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
    char shown[SHOWN_LEN];
    int ret;

    if (json_is_object(request)) {
        ret = answer_request(vionic, request, &result, &err);
    } else {
        shown_text(request == NULL ? where.text : "it is another JSON value", shown);
        ret = error_set(&err, EINVAL, "a request is one JSON object on a line: %s", shown);
    }
    json_decref(request);
    if (ret < 0)
        return requests_refuse(err.text, ret_len);
    return answer_text(json_pack("{s: b, s: o}", "ok", 1, "result", result), ret_len);
}

int requests_is_takeover(const char *line, size_t len)
{
    json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    const char *command = json_string_value(json_object_get(request, "command"));
    int is = json_object_size(request) == 1 && command != NULL && strcmp(command, "takeover") == 0;

    json_decref(request);
    return is;
}
