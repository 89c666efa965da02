/* SPDX-License-Identifier: MIT */
/* Text and values of any origin, made fit to stand in a sentence, in JSON and on a terminal. */
#pragma once

#include <jansson.h>
#include <stddef.h>

enum {
    SHOWN_LEN = 72
};

/* Control characters become '?', and so do bytes that are not UTF-8; what doesn't fit is left out.
 */
void shown_clean(const char *text, char *ret_clean, size_t clean_size);
/* The same, short enough for a sentence: "…" stands for the rest. */
void shown_text(const char *text, char ret_shown[SHOWN_LEN]);
void shown_bytes(const char *text, size_t len, char ret_shown[SHOWN_LEN]);
/* Strings in quotes; "an object", "an array". */
void shown_json(const json_t *value, char ret_shown[SHOWN_LEN]);
