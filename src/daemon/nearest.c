/* SPDX-License-Identifier: MIT */
#include "daemon/nearest.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

enum {
    NEAREST_WORD_LEN = 32 /* longer words are not ours, so nothing is near them */
};

/* How many letters are wrong, missing, too many or swapped with the next one. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][NEAREST_WORD_LEN + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = MIN(above[j - 1] + (a[i - 1] != b[j - 1]), MIN(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN(row[j], before[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
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
