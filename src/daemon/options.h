/* SPDX-License-Identifier: MIT */
/* The commands of the program, and what their command lines share: parsing, help, one sentence for
 * a fault. */
#pragma once

#include <argp.h>
#include <stdio.h>

#include "base/error.h"

struct command {
    const char *name;
    const char *summary;               /* one line, for `vionic help` */
    const char *arguments;             /* such as "[PATH]"; NULL: none */
    const char *doc;                   /* what it does; lines are filled */
    const char *examples;              /* printed as they are */
    void (*print_more)(void);          /* printed before the examples; NULL: nothing */
    const struct argp_option *options; /* ends with OPTIONS_HELP and an empty one */
    /* Takes an option's key or ARGP_KEY_ARG. 0, ARGP_ERR_UNKNOWN, or -EINVAL and a sentence. */
    int (*take)(int key, const char *value, void *input, struct error *err);
    /* argv[0] is the command's name. Returns the exit status. */
    int (*execute)(int argc, char **argv);
};

/* Keys that mean the same in every command; a command's own begin at OPTION_OWN. */
enum {
    OPTION_HELP = 'h',
    OPTION_JSON = 900,
    OPTION_CONTROL,
    OPTION_OWN = 1000,
};

#define OPTIONS_JSON                                                                               \
    {                                                                                              \
        "json", OPTION_JSON, NULL, 0, "Print JSON"                                                 \
    }

#define OPTIONS_CONTROL                                                                            \
    {                                                                                              \
        "control", OPTION_CONTROL, "PATH", 0,                                                      \
            "Control socket of the daemon; default: /run/vionic/control.sock for root, "           \
            "$XDG_RUNTIME_DIR/vionic/control.sock for others"                                      \
    }

#define OPTIONS_HELP                                                                               \
    {                                                                                              \
        "help", OPTION_HELP, NULL, 0, "Print this help", -1                                        \
    }

extern const struct command command_run;
extern const struct command command_inspect;
extern const struct command command_endpoints;
extern const struct command command_set;
extern const struct command command_top;
extern const struct command command_doctor;

/* What every command that asks a daemon takes. */
struct client_options {
    const char *control; /* borrowed from argv, or NULL: the default */
    int json;
};

/* 0 for OPTION_JSON and OPTION_CONTROL, else ARGP_ERR_UNKNOWN. */
int options_take_client(int key, const char *value, struct client_options *client);

enum options_outcome {
    OPTIONS_PARSED,
    OPTIONS_HELPED, /* --help was there and is printed: nothing else to do */
    OPTIONS_WRONG,  /* the sentence is logged */
};

enum options_outcome options_parse(const struct command *command, int argc, char **argv,
                                   void *input);
void options_print_help(const struct command *command);
