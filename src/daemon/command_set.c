/* SPDX-License-Identifier: MIT */
/* `vionic set`: changes NICs of a running daemon. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/client.h"
#include "daemon/exit_status.h"
#include "daemon/options.h"
#include "daemon/set_request.h"
#include "daemon/shown.h"
#include "vionic.h"

struct set_options {
    json_t *values; /* owned */
    struct client_options client;
};

static const struct argp_option options[] = {
    {"json", OPTION_JSON, NULL, 0, "Print what was set as JSON"},
    OPTIONS_CONTROL,
    OPTIONS_HELP,
    {0},
};

static int add_assignment(struct set_options *set, const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');
    char shown[SHOWN_LEN];
    char *name;
    int ret;

    shown_text(text, shown);
    if (equals == NULL)
        return error_set(err, EINVAL,
                         "\"%s\" is not NIC.SETTING=VALUE; write it as in "
                         "nic0.link=down",
                         shown);
    name = strndup(text, (size_t)(equals - text));
    if (name == NULL)
        return error_set(err, ENOMEM, "out of memory");
    ret = set_name_check(name, err);
    if (ret == 0 && json_object_get(set->values, name) != NULL)
        ret = error_set(err, EINVAL, "%s: given twice; leave one of them out", name);
    else if (ret == 0 && json_object_set_new(set->values, name, json_string(equals + 1)) < 0)
        ret =
            error_set(err, EINVAL, "\"%s\" is not valid UTF-8; write it without such bytes", shown);
    free(name);
    return ret;
}

static int take(int key, const char *value, void *input, struct error *err)
{
    struct set_options *set = input;

    return key == ARGP_KEY_ARG ? add_assignment(set, value, err)
                               : options_take_client(key, value, &set->client);
}

static int show_result(const json_t *result)
{
    if (json_dumpf(result, stdout, JSON_INDENT(2)) == 0)
        fputc('\n', stdout);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_STATUS_OK;
    log_error("standard output can't be written (%s)", strerror(errno));
    return EXIT_STATUS_FAILED;
}

static int ask(const struct set_options *set)
{
    struct error err = {{0}};
    json_t *request = json_pack("{s: s, s: O}", "command", "set", "values", set->values);
    json_t *result = NULL;
    int ret = client_ask(set->client.control, request, &result, &err);
    int status = EXIT_STATUS_OK;

    json_decref(request);
    if (ret < 0) {
        log_error("%s", err.text);
        return ret == -EINVAL ? EXIT_STATUS_USAGE : EXIT_STATUS_FAILED;
    }
    if (set->client.json)
        status = show_result(result);
    json_decref(result);
    return status;
}

static int execute(int argc, char **argv)
{
    struct set_options set = {.values = json_object()};
    enum options_outcome outcome = options_parse(&command_set, argc, argv, &set);
    int status = EXIT_STATUS_OK;

    if (outcome == OPTIONS_WRONG) {
        status = EXIT_STATUS_USAGE;
    } else if (outcome == OPTIONS_PARSED && json_object_size(set.values) == 0) {
        log_error("what to set is missing; write it as in nic0.link=down (`vionic help set` lists "
                  "what there is)");
        status = EXIT_STATUS_USAGE;
    } else if (outcome == OPTIONS_PARSED) {
        status = ask(&set);
    }
    json_decref(set.values);
    return status;
}

static void print_settings(void)
{
    struct vionic_setting setting = {.size = sizeof(setting)};
    char form[48];

    printf("\nSettings:\n");
    for (unsigned i = 0; vionic_setting(i, &setting) == 0; i++) {
        snprintf(form, sizeof(form), "%s=%s", setting.key, setting.values);
        printf("  %-20s %s\n", form, setting.summary);
    }
}

const struct command command_set = {
    .name = "set",
    .summary = "change NICs of a running daemon: link, speed, MTU, address, endpoint",
    .arguments = "NIC.SETTING=VALUE...",
    .doc = "Changes NICs of a running daemon, in the order given; it ends with status 1 at the "
           "first that is refused. Nothing is printed when all is done.\v",
    .examples = "A new speed or duplex takes the link down for a moment (200 ms at most), because "
                "drivers read\n"
                "both only when the link comes up. The MTU can't change under a driver that goes "
                "by it: that is\n"
                "refused until the driver is reset or re-plugged. Another endpoint is opened "
                "before the old one is\n"
                "left; if it can't be, nothing changes.\n"
                "\n"
                "Examples:\n"
                "  vionic set nic0.link=down                      pull the cable\n"
                "  vionic set nic0.speed=10000 nic0.duplex=full\n"
                "  vionic set nic0.mac=52:54:00:00:00:07 nic0.mtu=9000\n"
                "  vionic set nic0.announce=now\n"
                "  vionic set nic0.endpoint=tap:ifname=tap1       move the card to another "
                "network\n",
    .print_more = print_settings,
    .options = options,
    .take = take,
    .execute = execute,
};
