/* SPDX-License-Identifier: MIT */
/* A number that an endpoint shows in inspect. */
#include <string.h>

#include "base/inspect.h"
#include "check.h"
#include "guest.h"

struct search {
    const char *name;
    uint64_t value;
    int found;
};

static void search_enter(void *context, const char *name)
{
    (void)context;
    (void)name;
}

static void search_leave(void *context)
{
    (void)context;
}

static void search_text(void *context, const char *name, const char *value)
{
    (void)context;
    (void)name;
    (void)value;
}

static void search_number(void *context, const char *name, uint64_t value, enum inspect_style style)
{
    struct search *search = context;

    (void)style;
    if (strcmp(name, search->name) != 0)
        return;
    search->value = value;
    search->found = 1;
}

static void search_flag(void *context, const char *name, int value)
{
    search_number(context, name, (uint64_t)value, INSPECT_DECIMAL);
}

uint64_t guest_counter(struct guest *guest, const char *name)
{
    static const struct inspect_ops ops = {search_enter, search_leave, search_text, search_number,
                                           search_flag};
    struct search search = {.name = name};
    struct inspect visitor = {&ops, &search};

    guest->endpoint->ops->inspect(guest->endpoint, &visitor);
    check(search.found, "inspect shows no %s", name);
    return search.value;
}
