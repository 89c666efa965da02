/* SPDX-License-Identifier: MIT */
/* `vionic doctor`: what is in the way of packets, and how to mend it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "daemon/doctor.h"
#include "daemon/exit_status.h"
#include "daemon/options.h"
#include "daemon/shown.h"

enum {
    FINDING_LEN = 640,
};

static const struct argp_option options[] = {
    OPTIONS_JSON,
    OPTIONS_CONTROL,
    OPTIONS_HELP,
    {0},
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

static int take(int key, const char *value, void *input, struct error *err)
{
    (void)err;
    return options_take_client(key, value, input);
}

static void print_findings(const json_t *findings)
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

static int is_anything_bad(const json_t *findings)
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

static int execute(int argc, char **argv)
{
    struct client_options doctor = {0};
    enum options_outcome outcome = options_parse(&command_doctor, argc, argv, &doctor);
    json_t *findings;
    int status;

    if (outcome != OPTIONS_PARSED)
        return outcome == OPTIONS_WRONG ? EXIT_STATUS_USAGE : EXIT_STATUS_OK;
    findings = json_array();
    doctor_check_host(findings);
    doctor_check_daemon(findings, doctor.control);
    if (!doctor.json)
        print_findings(findings);
    else if (json_dumpf(findings, stdout, JSON_INDENT(2)) == 0)
        putchar('\n');
    status = is_anything_bad(findings) ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
    json_decref(findings);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    log_error("standard output can't be written (%s)", strerror(errno));
    return EXIT_STATUS_FAILED;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "look for what is in the way of packets, and say how to mend it",
    .doc = "Looks at this build, the kernel, what this user may do, and a running daemon's NICs. "
           "Changes nothing.\v",
    .examples =
        "A line begins with ok, with note (something is limited) or with bad (packets can't "
        "move); what\n"
        "to do about it follows behind \"->\". Ends with status 1 if anything is bad.\n"
        "\n"
        "Examples:\n"
        "  vionic doctor\n"
        "  vionic doctor --json | jq '.[] | select(.level == \"bad\")'\n",
    .options = options,
    .take = take,
    .execute = execute,
};
