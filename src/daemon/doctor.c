/* SPDX-License-Identifier: MIT */
#include "daemon/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/shown.h"

enum {
    FINDING_LEN = 640,
};

static const char *const levels[] = {
    [FINDING_OK] = "ok",
    [FINDING_NOTE] = "note",
    [FINDING_BAD] = "bad",
};

void doctor_add(json_t *findings, enum finding_level level, const char *mend, const char *format,
                ...)
{
    char text[FINDING_LEN], clean[FINDING_LEN];
    json_t *finding;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    shown_clean(text, clean, sizeof(clean));
    finding = json_pack("{s: s, s: s}", "level", levels[level], "what", clean);
    if (finding != NULL && mend != NULL)
        json_object_set_new(finding, "mend", json_string(mend));
    json_array_append_new(findings, finding);
}

void doctor_print(const json_t *findings)
{
    json_t *finding;
    size_t i;

    json_array_foreach(findings, i, finding)
    {
        const char *mend = json_string_value(json_object_get(finding, "mend"));

        printf("%-5s %s\n", json_string_value(json_object_get(finding, "level")),
               json_string_value(json_object_get(finding, "what")));
        if (mend != NULL)
            printf("      -> %s\n", mend);
    }
}

int doctor_is_bad(const json_t *findings)
{
    json_t *finding;
    size_t i;

    json_array_foreach(findings, i, finding)
    {
        if (strcmp(json_string_value(json_object_get(finding, "level")), levels[FINDING_BAD]) == 0)
            return 1;
    }
    return 0;
}
