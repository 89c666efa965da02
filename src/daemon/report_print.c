/* SPDX-License-Identifier: MIT */
/* The text form of a report, for people: one `name: value` a line, a histogram on one line. */
#include <ctype.h>
#include <string.h>

#include "daemon/reports.h"

enum {
    INDENT = 2
};

static void print_value(FILE *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        fputs(json_string_length(value) > 0 ? json_string_value(value) : "-", out);
        break;
    case JSON_INTEGER:
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        fprintf(out, "%g", json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        fputs(json_is_true(value) ? "yes" : "no", out);
        break;
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_NULL:
        fputs("-", out);
        break;
    }
}

/* inspect_histogram() names its buckets "0", "1", "2-3", … and the last, open one "1024-". */
static int is_histogram(const json_t *node)
{
    const char *name, *last = "";
    json_t *value;

    if (json_object_get(node, "0") == NULL)
        return 0;
    json_object_foreach((json_t *)node, name, value)
    {
        if (!isdigit((unsigned char)name[0]) || !json_is_integer(value))
            return 0;
        last = name;
    }
    return strchr(last, '-') != NULL && strchr(last, '-')[1] == '\0';
}

static void print_histogram(FILE *out, const json_t *node)
{
    const char *name, *separator = "";
    json_t *value;

    json_object_foreach((json_t *)node, name, value)
    {
        int open = name[strlen(name) - 1] == '-';

        if (json_integer_value(value) == 0)
            continue;
        fprintf(out, "%s[%.*s%s] %" JSON_INTEGER_FORMAT, separator, (int)strlen(name) - open, name,
                open ? "+" : "", json_integer_value(value));
        separator = "  ";
    }
    if (separator[0] == '\0')
        fputs("-", out);
}

static void print_children(FILE *out, const json_t *node, int indent)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)node, name, value)
    {
        fprintf(out, "%*s%s:", indent, "", name);
        if (json_object_size(value) > 0 && !is_histogram(value)) {
            fputc('\n', out);
            print_children(out, value, indent + INDENT);
            continue;
        }
        fputc(' ', out);
        if (is_histogram(value))
            print_histogram(out, value);
        else
            print_value(out, value);
        fputc('\n', out);
    }
}

void reports_print_tree(FILE *out, const json_t *node)
{
    if (json_object_size(node) > 0 && !is_histogram(node)) {
        print_children(out, node, 0);
        return;
    }
    if (is_histogram(node))
        print_histogram(out, node);
    else
        print_value(out, node);
    fputc('\n', out);
}

/* Each line of the options under the summary, however the endpoint wrote its own indentation. */
static void print_options(FILE *out, const char *options)
{
    while (*options != '\0') {
        size_t len = strcspn(options, "\n");

        if (len > 0)
            fprintf(out, "    %.*s\n", (int)len, options);
        options += len + (options[len] == '\n');
    }
}

void reports_print_endpoints(FILE *out, const json_t *endpoints)
{
    json_t *entry;
    size_t i;

    json_array_foreach((json_t *)endpoints, i, entry)
    {
        fprintf(out, "%s%s: %s\n", i > 0 ? "\n" : "",
                json_string_value(json_object_get(entry, "kind")),
                json_string_value(json_object_get(entry, "summary")));
        print_options(out, json_string_value(json_object_get(entry, "options")));
    }
}
