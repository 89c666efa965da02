/* SPDX-License-Identifier: MIT */
/* `vionic inspect` and `vionic endpoints`: what a daemon, or this build, has to show. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/client.h"
#include "daemon/exit_status.h"
#include "daemon/options.h"
#include "daemon/reports.h"

struct show_options {
    const char *path; /* borrowed from argv, or "" */
    struct client_options client;
};

static const struct argp_option inspect_options[] = {
    OPTIONS_JSON,
    OPTIONS_CONTROL,
    OPTIONS_HELP,
    {0},
};

static const struct argp_option endpoints_options[] = {
    OPTIONS_JSON,
    OPTIONS_HELP,
    {0},
};

static int inspect_take(int key, const char *value, void *input, struct error *err)
{
    struct show_options *show = input;

    (void)err;
    if (key != ARGP_KEY_ARG)
        return options_take_client(key, value, &show->client);
    if (show->path[0] != '\0')
        return ARGP_ERR_UNKNOWN;
    show->path = value;
    return 0;
}

static int endpoints_take(int key, const char *value, void *input, struct error *err)
{
    struct show_options *show = input;

    (void)err;
    return options_take_client(key, value, &show->client);
}

static int show_result(const json_t *result, const struct show_options *show,
                       void (*print)(FILE *out, const json_t *result))
{
    if (!show->client.json)
        print(stdout, result);
    else if (json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY) == 0)
        fputc('\n', stdout);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_STATUS_OK;
    log_error("standard output can't be written (%s)", strerror(errno));
    return EXIT_STATUS_FAILED;
}

static int inspect_execute(int argc, char **argv)
{
    struct show_options show = {.path = ""};
    struct error err = {{0}};
    enum options_outcome outcome = options_parse(&command_inspect, argc, argv, &show);
    json_t *request, *result = NULL;
    int ret, status;

    if (outcome != OPTIONS_PARSED)
        return outcome == OPTIONS_WRONG ? EXIT_STATUS_USAGE : EXIT_STATUS_OK;
    request = json_pack("{s: s, s: s}", "command", "inspect", "path", show.path);
    if (request == NULL) {
        log_error("the path is not valid UTF-8; `vionic inspect` without one shows what there is");
        return EXIT_STATUS_USAGE;
    }
    ret = client_ask(show.client.control, request, &result, &err);
    json_decref(request);
    if (ret < 0) {
        log_error("%s", err.text);
        return ret == -EINVAL ? EXIT_STATUS_USAGE : EXIT_STATUS_FAILED;
    }
    status = show_result(result, &show, reports_print_tree);
    json_decref(result);
    return status;
}

static int endpoints_execute(int argc, char **argv)
{
    struct show_options show = {.path = ""};
    enum options_outcome outcome = options_parse(&command_endpoints, argc, argv, &show);
    json_t *endpoints;
    int status;

    if (outcome != OPTIONS_PARSED)
        return outcome == OPTIONS_WRONG ? EXIT_STATUS_USAGE : EXIT_STATUS_OK;
    endpoints = reports_endpoints();
    if (endpoints == NULL) {
        log_error("out of memory");
        return EXIT_STATUS_FAILED;
    }
    status = show_result(endpoints, &show, reports_print_endpoints);
    json_decref(endpoints);
    return status;
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "show everything that a running daemon's NICs know, live",
    .arguments = "[PATH]",
    .doc = "Shows the state of a running daemon's NICs without stopping a packet: addresses, "
           "features, rings, counters. PATH cuts the tree down to one part.\v",
    .examples = "Histograms stand on one line: \"[2-3] 40\" means that the value was 2 or 3 forty "
                "times.\n"
                "\n"
                "Examples:\n"
                "  vionic inspect                       everything\n"
                "  vionic inspect nic0/queues/0         one queue pair\n"
                "  vionic inspect nic0/mac_address      one value\n"
                "  vionic inspect --json nic0 | jq .    for programs\n"
                "  vionic inspect --control /tmp/c.sock a daemon that was given --control\n",
    .options = inspect_options,
    .take = inspect_take,
    .execute = inspect_execute,
};

const struct command command_endpoints = {
    .name = "endpoints",
    .summary = "list the endpoint kinds of this build and their options",
    .doc =
        "Lists the endpoint kinds that this build has, each with its options as they are written "
        "after endpoint=KIND: in a NIC's SPEC.\v",
    .examples = "Examples:\n"
                "  vionic endpoints\n"
                "  vionic endpoints --json | jq -r '.[].kind'\n",
    .options = endpoints_options,
    .take = endpoints_take,
    .execute = endpoints_execute,
};
