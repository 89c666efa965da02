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

enum {
    OPTION_HELP = 'h'
};

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

enum options_outcome {
    OPTIONS_PARSED,
    OPTIONS_HELPED, /* --help was there and is printed: nothing else to do */
    OPTIONS_WRONG,  /* the sentence is logged */
};

enum options_outcome options_parse(const struct command *command, int argc, char **argv,
                                   void *input);
void options_print_help(const struct command *command);
