/* SPDX-License-Identifier: MIT */
#include "daemon/reports.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/inspect.h"
#include "daemon/nearest.h"
#include "daemon/shown.h"

enum {
    REPORT_DEPTH_MAX = 32,
    REPORT_TEXT_LEN = 600, /* base/inspect.c gives up to 511 bytes */
    HINT_LEN = 320,
    NAMES_MAX = 64,
};

/* The visitor's context: the path of objects from the root to where it stands. */
struct builder {
    json_t *stack[REPORT_DEPTH_MAX]; /* borrowed from stack[0], which is owned */
    unsigned depth;                  /* of the visit; more than the stack holds is left out */
    int failed;                      /* no memory */
};

static void builder_set(struct builder *builder, const char *name, json_t *value)
{
    if (builder->depth >= REPORT_DEPTH_MAX) {
        json_decref(value);
        return;
    }
    if (json_object_set_new(builder->stack[builder->depth], name, value) < 0)
        builder->failed = 1;
}

static void builder_enter(void *context, const char *name)
{
    struct builder *builder = context;
    json_t *object;

    if (builder->depth + 1 < REPORT_DEPTH_MAX) {
        object = json_object();
        builder_set(builder, name, object);
        /* After a failure the parent stands in, so that the stack never holds NULL. */
        builder->stack[builder->depth + 1] =
            builder->failed ? builder->stack[builder->depth] : object;
    }
    builder->depth++;
}

static void builder_leave(void *context)
{
    struct builder *builder = context;

    builder->depth--;
}

static void builder_text(void *context, const char *name, const char *value)
{
    char clean[REPORT_TEXT_LEN];

    shown_clean(value, clean, sizeof(clean));
    builder_set(context, name, json_string(clean));
}

static void builder_number(void *context, const char *name, uint64_t value, int style)
{
    char text[32];

    if (style == INSPECT_HEX)
        snprintf(text, sizeof(text), "0x%" PRIx64, value);
    else
        snprintf(text, sizeof(text), "%" PRIu64, value);
    if (style == INSPECT_HEX || value > INT64_MAX)
        builder_set(context, name, json_string(text));
    else
        builder_set(context, name, json_integer((json_int_t)value));
}

static void builder_flag(void *context, const char *name, int value)
{
    builder_set(context, name, json_boolean(value));
}

json_t *reports_inspect(struct vionic *vionic)
{
    struct builder builder = {.stack[0] = json_object()};
    const struct vionic_visitor visitor = {
        .size = sizeof(visitor),
        .context = &builder,
        .enter = builder_enter,
        .leave = builder_leave,
        .text = builder_text,
        .number = builder_number,
        .flag = builder_flag,
    };

    if (builder.stack[0] == NULL)
        return NULL;
    vionic_inspect(vionic, &visitor);
    if (builder.failed) {
        json_decref(builder.stack[0]);
        return NULL;
    }
    return builder.stack[0];
}

json_t *reports_endpoints(void)
{
    json_t *list = json_array();
    struct vionic_endpoint_kind kind = {.size = sizeof(kind)};

    for (unsigned i = 0; list != NULL && vionic_endpoint_kind(i, &kind) == 0; i++) {
        json_t *entry = json_pack("{s: s, s: s, s: s}", "kind", kind.kind, "summary", kind.summary,
                                  "options", kind.options_help != NULL ? kind.options_help : "");

        if (json_array_append_new(list, entry) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* "there is A, B, C" of an object; 0 if they do not all fit. */
static int list_names(json_t *node, char ret_list[HINT_LEN])
{
    const char *name;
    json_t *value;
    size_t used = 0;
    const char *separator = "";

    if (!json_is_object(node)) {
        snprintf(ret_list, HINT_LEN, "it is a value, not a group");
        return 1;
    }
    snprintf(ret_list, HINT_LEN, "%s",
             json_object_size(node) == 0 ? "there is nothing" : "there is ");
    json_object_foreach(node, name, value)
    {
        used = strlen(ret_list);
        if (used + strlen(name) + sizeof(", …") > HINT_LEN) {
            snprintf(ret_list + used, HINT_LEN - used, "…");
            return 0;
        }
        snprintf(ret_list + used, HINT_LEN - used, "%s%s", separator, name);
        separator = ", ";
    }
    return 1;
}

/* All the names there are, or, if they are too many, the one that was meant. */
static void hint_names(json_t *node, const char *wrong, char ret_hint[HINT_LEN])
{
    const char *names[NAMES_MAX + 1] = {NULL};
    const char *name, *near;
    unsigned count = 0;
    json_t *value;

    if (list_names(node, ret_hint))
        return;
    json_object_foreach(node, name, value)
    {
        if (count < NAMES_MAX)
            names[count++] = name;
    }
    near = nearest_word(wrong, names);
    if (near != NULL)
        snprintf(ret_hint, HINT_LEN, "did you mean %s?", near);
}

static int refuse_path(const char *path, size_t good_len, json_t *node, struct error *err)
{
    char name[SHOWN_LEN], within[SHOWN_LEN], there[HINT_LEN];
    const char *wrong = path + good_len;

    while (*wrong == '/')
        wrong++;
    shown_bytes(wrong, strcspn(wrong, "/"), name);
    shown_bytes(path, good_len, within);
    hint_names(node, name, there);
    if (good_len == 0)
        return error_set(err, ENOENT, "\"%s\" is not in the tree; %s", name, there);
    return error_set(err, ENOENT, "\"%s\" is not in %s; %s", name, within, there);
}

static json_t *find_child(json_t *node, const char *name, size_t len)
{
    const char *key;
    json_t *value;

    json_object_foreach(node, key, value)
    {
        if (strncmp(key, name, len) == 0 && key[len] == '\0')
            return value;
    }
    return NULL;
}

int reports_find(json_t *tree, const char *path, json_t **ret_node, struct error *err)
{
    const char *at = path;
    json_t *node = tree;

    while (*at != '\0') {
        size_t len = strcspn(at, "/");
        size_t good_len = (size_t)(at - path);
        json_t *next;

        if (len == 0) {
            at++;
            continue;
        }
        next = find_child(node, at, len);
        while (good_len > 0 && path[good_len - 1] == '/')
            good_len--;
        if (next == NULL)
            return refuse_path(path, good_len, node, err);
        node = next;
        at += len;
    }
    *ret_node = node;
    return 0;
}
