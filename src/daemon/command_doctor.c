/* SPDX-License-Identifier: MIT */
/* `vionic doctor`: what is in the way of packets, and how to mend it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "daemon/doctor.h"
#include "daemon/exit_status.h"
#include "daemon/options.h"

static const struct argp_option options[] = {
    OPTIONS_JSON,
    OPTIONS_CONTROL,
    OPTIONS_HELP,
    {0},
};

static int take(int key, const char *value, void *input, struct error *err)
{
    (void)err;
    return options_take_client(key, value, input);
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
        doctor_print(findings);
    else if (json_dumpf(findings, stdout, JSON_INDENT(2)) == 0)
        putchar('\n');
    status = doctor_is_bad(findings) ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
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
