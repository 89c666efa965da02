/* SPDX-License-Identifier: MIT */
/* Text of any origin, made fit for JSON and for a terminal. */
#pragma once

#include <stddef.h>

enum {
    REPORT_TEXT_LEN = 600
};

/* Control characters become '?', and so do bytes that are not UTF-8. */
void report_text_clean(const char *text, char ret_clean[REPORT_TEXT_LEN]);
/* The same for the first len bytes, with "…" for what a sentence has no room for. */
void report_text_shorten(const char *text, size_t len, char ret_short[REPORT_TEXT_LEN]);
