/* SPDX-License-Identifier: MIT */
#include "daemon/nearest.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

enum {
    NEAREST_WORD_LEN = 32 /* longer words are not ours, so nothing is near them */
};

/* Levenshtein's distance, one row at a time. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NEAREST_WORD_LEN + 1];
    size_t b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);

            row[j] = MIN(replaced, MIN(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[b_len];
}

const char *nearest_word(const char *wrong, const char *const *words)
{
    const char *best = NULL;
    size_t best_distance = 0;
    size_t wrong_len = strlen(wrong);

    if (wrong_len == 0 || wrong_len > NEAREST_WORD_LEN)
        return NULL;
    for (; *words != NULL; words++) {
        size_t distance;

        if (strlen(*words) > NEAREST_WORD_LEN)
            continue;
        distance = edit_distance(wrong, *words);
        if (distance > 1 + wrong_len / 4 || distance >= wrong_len)
            continue;
        if (best == NULL || distance < best_distance) {
            best = *words;
            best_distance = distance;
        }
    }
    return best;
}

void nearest_hint(const char *wrong, const char *const *words, char *ret_hint, size_t hint_len)
{
    const char *near = nearest_word(wrong, words);
    size_t used;

    if (near != NULL) {
        snprintf(ret_hint, hint_len, ", did you mean %s?", near);
        return;
    }
    snprintf(ret_hint, hint_len, "; known are");
    for (; *words != NULL; words++) {
        used = strlen(ret_hint);
        snprintf(ret_hint + used, hint_len - used, " %s%s", *words, words[1] != NULL ? "," : "");
    }
}
