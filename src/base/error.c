/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, int code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;

        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
    }
    return -code;
}

void error_prefix(struct error *err, const char *format, ...)
{
    char before[ERROR_TEXT_LEN];
    char joined[2 * ERROR_TEXT_LEN];
    va_list args;

    if (err == NULL)
        return;
    va_start(args, format);
    vsnprintf(before, sizeof(before), format, args);
    va_end(args);
    snprintf(joined, sizeof(joined), "%s: %s", before, err->text);
    joined[ERROR_TEXT_LEN - 1] = '\0';
    memcpy(err->text, joined, ERROR_TEXT_LEN);
}
