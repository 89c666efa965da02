/* SPDX-License-Identifier: MIT */
/* `vionic top`: what the NICs of a running daemon move, again and again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/client.h"
#include "daemon/exit_status.h"
#include "daemon/options.h"
#include "daemon/shown.h"
#include "daemon/top_table.h"

enum {
    OPTION_INTERVAL = OPTION_OWN,
    OPTION_COUNT,

    INTERVAL_MAX = 3600,
    COUNT_MAX = 1000000,
    OTHER_LINES = 8, /* of a screen: headings, some workers, the prompt */
};

#define INTERVAL_MIN 0.1

struct top_options {
    struct client_options client;
    double interval;
    unsigned long count; /* 0: without end */
};

static const struct argp_option options[] = {
    {"interval", OPTION_INTERVAL, "SECONDS", 0, "Time between two tables, 0.1 to 3600; default: 1"},
    {"count", OPTION_COUNT, "N", 0, "End after so many tables; default: go on"},
    OPTIONS_CONTROL,
    OPTIONS_HELP,
    {0},
};

static int set_interval(struct top_options *top, const char *value, struct error *err)
{
    char shown[SHOWN_LEN];
    char *end;

    top->interval = strtod(value, &end);
    if (end != value && *end == '\0' && top->interval >= INTERVAL_MIN &&
        top->interval <= INTERVAL_MAX)
        return 0;
    shown_text(value, shown);
    return error_set(err, EINVAL, "--interval: must be 0.1 to %d seconds, not \"%s\"", INTERVAL_MAX,
                     shown);
}

static int set_count(struct top_options *top, const char *value, struct error *err)
{
    char shown[SHOWN_LEN];
    char *end;

    top->count = strtoul(value, &end, 10);
    if (value[0] >= '0' && value[0] <= '9' && *end == '\0' && top->count >= 1 &&
        top->count <= COUNT_MAX)
        return 0;
    shown_text(value, shown);
    return error_set(err, EINVAL, "--count: must be 1 to %d, not \"%s\"", COUNT_MAX, shown);
}

static int take(int key, const char *value, void *input, struct error *err)
{
    struct top_options *top = input;

    switch (key) {
    case OPTION_INTERVAL:
        return set_interval(top, value, err);
    case OPTION_COUNT:
        return set_count(top, value, err);
    default:
        return options_take_client(key, value, &top->client);
    }
}

static int take_sample(const struct top_options *top, json_t **ret_tree, uint64_t *ret_ns,
                       struct error *err)
{
    json_t *request = json_pack("{s: s}", "command", "inspect");
    int ret = client_ask(top->client.control, request, ret_tree, err);

    *ret_ns = clock_now_ns();
    json_decref(request);
    return ret;
}

static void wait_until(uint64_t end_ns)
{
    struct timespec end = {.tv_sec = (time_t)(end_ns / CLOCK_SECOND_NS),
                           .tv_nsec = (long)(end_ns % CLOCK_SECOND_NS)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        continue;
}

static unsigned screen_rows(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
        return 0;
    return size.ws_row > OTHER_LINES ? size.ws_row - OTHER_LINES : 1;
}

/* On a terminal each table takes the place of the one before; elsewhere it follows it. */
static int show(struct top_span *span, int is_first)
{
    int is_screen = isatty(STDOUT_FILENO);

    span->rows = is_screen ? screen_rows() : 0;
    if (is_screen)
        fputs("\033[H\033[J", stdout);
    else if (!is_first)
        fputc('\n', stdout);
    top_table_print(stdout, span);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_STATUS_OK;
    log_error("standard output can't be written (%s)", strerror(errno));
    return EXIT_STATUS_FAILED;
}

static int refuse(int ret, const struct error *err)
{
    log_error("%s", err->text);
    return ret == -EINVAL ? EXIT_STATUS_USAGE : EXIT_STATUS_FAILED;
}

static int watch(const struct top_options *top)
{
    struct error err = {{0}};
    json_t *before = NULL, *after = NULL;
    uint64_t before_ns, after_ns;
    int status = EXIT_STATUS_OK;
    int ret = take_sample(top, &before, &before_ns, &err);

    if (ret < 0)
        return refuse(ret, &err);
    for (unsigned long i = 0; status == EXIT_STATUS_OK && (top->count == 0 || i < top->count);
         i++) {
        struct top_span span;

        wait_until(before_ns + (uint64_t)(top->interval * CLOCK_SECOND_NS));
        ret = take_sample(top, &after, &after_ns, &err);
        if (ret < 0) {
            status = refuse(ret, &err);
            break;
        }
        span =
            (struct top_span){before, after, (double)(after_ns - before_ns) / CLOCK_SECOND_NS, 0};
        status = show(&span, i == 0);
        json_decref(before);
        before = after;
        before_ns = after_ns;
    }
    json_decref(before);
    return status;
}

static int execute(int argc, char **argv)
{
    struct top_options top = {.interval = 1};
    enum options_outcome outcome = options_parse(&command_top, argc, argv, &top);

    if (outcome != OPTIONS_PARSED)
        return outcome == OPTIONS_WRONG ? EXIT_STATUS_USAGE : EXIT_STATUS_OK;
    return watch(&top);
}

const struct command command_top = {
    .name = "top",
    .summary = "watch what the NICs of a running daemon move, live",
    .doc = "Shows packets, bits and drops a second of each NIC, the busiest first, and how much of "
           "a CPU each worker uses. TX is what the guest sends.\v",
    .examples =
        "STATE is up or down as the link is; \"no guest\": no front-end is connected; gone: "
        "the endpoint\n"
        "went away and is tried again; broken: a ring rests until its driver resets it.\n"
        "\n"
        "Examples:\n"
        "  vionic top\n"
        "  vionic top --interval 10 --count 6 >> /var/log/vionic-top.txt\n",
    .options = options,
    .take = take,
    .execute = execute,
};
