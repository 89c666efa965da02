/* SPDX-License-Identifier: MIT */
/* One clear sentence for the person who has to mend it, beside the -errno for the program. */
#pragma once

enum {
    ERROR_TEXT_LEN = 512
};

struct error {
    char text[ERROR_TEXT_LEN];
};

/* Fills err, which may be NULL. */
void error_say(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Fills err and is -code, so that `return error_set(err, EINVAL, …)` reads well. A macro, so that
 * compilers and analyzers see the value. */
#define error_set(err, code, ...)                                                                  \
    ({                                                                                             \
        int error_code = (code);                                                                   \
        error_say(err, __VA_ARGS__);                                                               \
        -error_code;                                                                               \
    })

/* Puts "context: " in front of what err already says. */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
