/* SPDX-License-Identifier: MIT */
/* What the operator probably meant: the known word that a wrong one is closest to. */
#pragma once

#include <stddef.h>

/* The word of the NULL-terminated list that differs from `wrong` by a slip or two; NULL: none does.
 */
const char *nearest_word(const char *wrong, const char *const *words);

/* Writes ", did you mean WORD?" if a word is near, else "; known are A, B, C". */
void nearest_hint(const char *wrong, const char *const *words, char *ret_hint, size_t hint_len);
