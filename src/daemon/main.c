/* SPDX-License-Identifier: MIT */
/* The program: finds the command and lets it run. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "daemon/exit_status.h"
#include "daemon/nearest.h"
#include "daemon/options.h"
#include "daemon/schema.h"
#include "daemon/shown.h"
#include "vionic.h"

static const struct command *const commands[] = {
    &command_run, &command_inspect, &command_endpoints, &command_set, &command_top, &command_doctor,
};

static void print_help(void)
{
    printf("vionic: virtio network cards outside the virtual machine monitor, over vhost-user\n\n"
           "Usage: vionic COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
        printf("  %-14s %s\n", commands[i]->name, commands[i]->summary);
    printf("  help [COMMAND] this text, or all about one command\n"
           "  --version      the version\n\n"
           "Examples:\n"
           "  vionic run --nic socket=/tmp/vm0.sock,endpoint=user\n"
           "  vionic inspect nic0\n"
           "  vionic set nic0.link=down\n"
           "  vionic help run\n\n"
           "Exit status: 0 done, 1 something outside is in the way, 2 the command line or the\n"
           "configuration is wrong.\n");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static int refuse_command(const char *name)
{
    const char *known[ARRAY_COUNT(commands) + 2] = {"help"};
    char hint[128], shown[SHOWN_LEN];

    for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
        known[i + 1] = commands[i]->name;
    nearest_hint(name, known, hint, sizeof(hint));
    shown_text(name, shown);
    log_error("there is no command \"%s\"%s", shown, hint);
    return EXIT_STATUS_USAGE;
}

static int help(int argc, char **argv)
{
    const struct command *command;

    if (argc < 2) {
        print_help();
        return EXIT_STATUS_OK;
    }
    command = find_command(argv[1]);
    if (command == NULL)
        return refuse_command(argv[1]);
    options_print_help(command);
    return EXIT_STATUS_OK;
}

/* QEMU's docs/interop/vhost-user.rst, "Backend program conventions": all else is ignored then. */
static int wants_capabilities(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--print-capabilities") == 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct command *command;
    const char *name = argc > 1 ? argv[1] : NULL;

    if (wants_capabilities(argc, argv)) {
        puts("{\"type\": \"net\"}");
        return EXIT_STATUS_OK;
    }
    if (name == NULL) {
        log_error("the command is missing; `vionic help` lists what there is");
        return EXIT_STATUS_USAGE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(name, "--version") == 0) {
        printf("vionic %s\n", vionic_version());
        return EXIT_STATUS_OK;
    }
    command = find_command(name);
    if (command == NULL)
        return refuse_command(name);
    return command->execute(argc - 1, argv + 1);
}
