/* SPDX-License-Identifier: MIT */
#include "base/inspect.h"

#include <stdarg.h>
#include <stdio.h>

void inspect_enter(struct inspect *visitor, const char *name)
{
    visitor->ops->enter(visitor->context, name);
}

void inspect_enter_index(struct inspect *visitor, unsigned index)
{
    char name[16];

    snprintf(name, sizeof(name), "%u", index);
    inspect_enter(visitor, name);
}

void inspect_leave(struct inspect *visitor)
{
    visitor->ops->leave(visitor->context);
}

void inspect_text(struct inspect *visitor, const char *name, const char *format, ...)
{
    char value[512];
    va_list args;

    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    visitor->ops->text(visitor->context, name, value);
}

void inspect_number(struct inspect *visitor, const char *name, uint64_t value)
{
    visitor->ops->number(visitor->context, name, value, INSPECT_DECIMAL);
}

void inspect_hex(struct inspect *visitor, const char *name, uint64_t value)
{
    visitor->ops->number(visitor->context, name, value, INSPECT_HEX);
}

void inspect_flag(struct inspect *visitor, const char *name, int value)
{
    visitor->ops->flag(visitor->context, name, value);
}

void inspect_counter(struct inspect *visitor, const char *name, const counter *c)
{
    visitor->ops->number(visitor->context, name, counter_get(c), INSPECT_COUNTER);
}

static void bucket_name(unsigned bucket, char *ret_name, size_t name_len)
{
    unsigned long long low = bucket == 0 ? 0 : 1ull << (bucket - 1);

    if (bucket < 2)
        snprintf(ret_name, name_len, "%llu", low);
    else if (bucket == HISTOGRAM_BUCKETS - 1)
        snprintf(ret_name, name_len, "%llu-", low);
    else
        snprintf(ret_name, name_len, "%llu-%llu", low, 2 * low - 1);
}

void inspect_histogram(struct inspect *visitor, const char *name, const struct histogram *h)
{
    char range[32];

    inspect_enter(visitor, name);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        bucket_name(i, range, sizeof(range));
        inspect_counter(visitor, range, &h->bucket[i]);
    }
    inspect_leave(visitor);
}
