/* SPDX-License-Identifier: MIT */
#include "daemon/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "daemon/nearest.h"
#include "daemon/schema.h"
#include "daemon/shown.h"

enum {
    OPTIONS_MAX = 24
};

/* argp's input while a command line is parsed. */
struct parse {
    const struct command *command; /* borrowed */
    void *input;                   /* borrowed; the command's own */
    struct error err;              /* empty: no fault that was explained */
    int helped;
};

static const struct argp_option *find_option(const struct command *command, const char *name,
                                             size_t len)
{
    for (const struct argp_option *at = command->options; at->name != NULL; at++) {
        if (strncmp(at->name, name, len) == 0 && at->name[len] == '\0')
            return at;
    }
    return NULL;
}

static void explain_unknown(struct parse *parse, const char *word, const char *name, size_t len)
{
    const struct command *command = parse->command;
    const char *names[OPTIONS_MAX] = {NULL};
    char shown[SHOWN_LEN], wrong[SHOWN_LEN];
    const char *near;

    for (size_t i = 0; command->options[i].name != NULL && i + 1 < OPTIONS_MAX; i++)
        names[i] = command->options[i].name;
    snprintf(wrong, sizeof(wrong), "%.*s", (int)MIN(len, sizeof(wrong) - 1), name);
    near = nearest_word(wrong, names);
    shown_text(word, shown);
    if (near != NULL)
        error_set(&parse->err, EINVAL, "%s: unknown option, did you mean --%s?", shown, near);
    else
        error_set(&parse->err, EINVAL, "%s: unknown option; `vionic help %s` lists what there is",
                  shown, command->name);
}

/* getopt(3) stumbled and was told to be silent: find out over what. */
static void explain(struct parse *parse, const struct argp_state *state)
{
    const char *word = state->argv[state->next - 1];
    const char *name;
    const struct argp_option *option;
    size_t len;

    /* In the middle of a cluster of short options getopt hasn't moved on yet. */
    if (state->next < state->argc && state->argv[state->next][0] == '-' &&
        state->argv[state->next][1] != '-' && strlen(state->argv[state->next]) > 2)
        word = state->argv[state->next];
    name = word + strspn(word, "-");
    len = strcspn(name, "=");
    option = find_option(parse->command, name, len);
    if (option == NULL)
        explain_unknown(parse, word, name, len);
    else if (option->arg != NULL)
        error_set(&parse->err, EINVAL, "--%s: the value is missing; write --%s %s", option->name,
                  option->name, option->arg);
    else
        error_set(&parse->err, EINVAL, "--%s: takes no value; leave \"%s\" out", option->name,
                  name + len);
}

static error_t parse_key(int key, char *value, struct argp_state *state)
{
    struct parse *parse = state->input;
    char shown[SHOWN_LEN];
    int ret;

    if (key == OPTION_HELP) {
        parse->helped = 1;
        state->next = state->argc;
        return 0;
    }
    if (key == ARGP_KEY_ERROR && parse->err.text[0] == '\0')
        explain(parse, state);
    if (key >= ARGP_KEY_END)
        return ARGP_ERR_UNKNOWN;
    ret = parse->command->take(key, value, parse->input, &parse->err);
    if (ret != ARGP_ERR_UNKNOWN || key != ARGP_KEY_ARG)
        return ret < 0 ? -ret : ret;
    shown_text(value, shown);
    error_set(&parse->err, EINVAL, "\"%s\": one argument too many; `vionic help %s` shows the form",
              shown, parse->command->name);
    return EINVAL;
}

static struct argp make_argp(const struct command *command)
{
    return (struct argp){
        .options = command->options,
        .parser = parse_key,
        .args_doc = command->arguments,
        .doc = command->doc,
    };
}

enum options_outcome options_parse(const struct command *command, int argc, char **argv,
                                   void *input)
{
    struct parse parse = {.command = command, .input = input};
    struct argp argp = make_argp(command);
    error_t ret =
        argp_parse(&argp, argc, argv, ARGP_NO_HELP | ARGP_NO_ERRS | ARGP_NO_EXIT, NULL, &parse);

    if (parse.helped) {
        options_print_help(command);
        return OPTIONS_HELPED;
    }
    if (ret == 0)
        return OPTIONS_PARSED;
    log_error("%s", parse.err.text[0] != '\0' ? parse.err.text : strerror(ret));
    return OPTIONS_WRONG;
}

void options_print_help(const struct command *command)
{
    struct argp argp = make_argp(command);
    char name[64];

    snprintf(name, sizeof(name), "vionic %s", command->name);
    argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_PRE_DOC | ARGP_HELP_LONG, name);
    if (command->print_more != NULL)
        command->print_more();
    if (command->examples != NULL)
        printf("\n%s", command->examples);
}

int options_take_client(int key, const char *value, struct client_options *client)
{
    switch (key) {
    case OPTION_JSON:
        client->json = 1;
        return 0;
    case OPTION_CONTROL:
        client->control = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}
