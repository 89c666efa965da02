/* SPDX-License-Identifier: MIT */
/* One clear sentence for the person who has to mend it, beside the -errno for the program. */
#pragma once

enum {
    ERROR_TEXT_LEN = 512
};

struct error {
    char text[ERROR_TEXT_LEN];
};

/* Fills err (which may be NULL) and returns -code, so that `return error_set(err, EINVAL, …)` reads
 * well. */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of what err already says. */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
