/* SPDX-License-Identifier: MIT */
#include "transport/msix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADDRESS_LOW,
    ADDRESS_HIGH,
    DATA,
    CONTROL,
    ENTRY_WORDS,

    PENDING_BITS = 64,
};

static unsigned pending_words(const struct msix *msix)
{
    return (msix->vectors + PENDING_BITS - 1) / PENDING_BITS;
}

int msix_init(struct msix *msix, unsigned vectors)
{
    *msix = (struct msix){.vectors = vectors};
    msix->entry = calloc(vectors, sizeof(*msix->entry));
    msix->pending = calloc(pending_words(msix), sizeof(*msix->pending));
    if (msix->entry == NULL || msix->pending == NULL) {
        msix_free(msix);
        return -ENOMEM;
    }
    msix_reset(msix);
    return 0;
}

void msix_free(struct msix *msix)
{
    free(msix->entry);
    free(msix->pending);
    *msix = (struct msix){0};
}

void msix_forget_pending(struct msix *msix)
{
    for (unsigned i = 0; i < pending_words(msix); i++)
        atomic_store(&msix->pending[i], 0);
}

void msix_reset(struct msix *msix)
{
    memset(msix->entry, 0, msix->vectors * sizeof(*msix->entry));
    for (unsigned i = 0; i < msix->vectors; i++)
        msix->entry[i].word[CONTROL] = MSIX_ENTRY_MASKED;
    msix_forget_pending(msix);
    msix->state = 0;
}

/* ---- messages ----------------------------------------------------------------------------- */

static int may_send(const struct msix *msix, unsigned vector)
{
    return msix->state == (MSIX_ENABLED | MSIX_ALLOWED) &&
           !(msix->entry[vector].word[CONTROL] & MSIX_ENTRY_MASKED);
}

static void message_send(struct msix *msix, unsigned vector)
{
    const uint32_t *word = msix->entry[vector].word;

    msix->send(msix->context, word[ADDRESS_LOW] | (uint64_t)word[ADDRESS_HIGH] << 32, word[DATA]);
}

void msix_fire(struct msix *msix, unsigned vector)
{
    if (vector >= msix->vectors || !(msix->state & MSIX_ENABLED))
        return;
    if (may_send(msix, vector))
        message_send(msix, vector);
    else
        atomic_fetch_or(&msix->pending[vector / PENDING_BITS], 1ull << vector % PENDING_BITS);
}

static void pending_send(struct msix *msix, unsigned vector)
{
    uint64_t bit = 1ull << vector % PENDING_BITS;

    if (!may_send(msix, vector) || !(atomic_load(&msix->pending[vector / PENDING_BITS]) & bit))
        return;
    atomic_fetch_and(&msix->pending[vector / PENDING_BITS], ~bit);
    message_send(msix, vector);
}

void msix_set_state(struct msix *msix, unsigned state)
{
    msix->state = state;
    for (unsigned i = 0; i < msix->vectors; i++)
        pending_send(msix, i);
}

/* ---- table and pending bits --------------------------------------------------------------- */

/* The bytes at offset of an array of words, the first one lowest. */
static uint64_t words_read(const uint32_t *word, uint64_t len, uint64_t offset, unsigned width)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < width && offset + i < len; i++) {
        uint64_t at = offset + i;

        value |= (uint64_t)(word[at / 4] >> (at % 4 * 8) & 0xff) << (8 * i);
    }
    return value;
}

uint64_t msix_read_table(const struct msix *msix, uint64_t offset, unsigned width)
{
    return words_read(msix->entry[0].word, (uint64_t)msix->vectors * MSIX_ENTRY_LEN, offset, width);
}

uint64_t msix_read_pending(const struct msix *msix, uint64_t offset, unsigned width)
{
    uint64_t first, second;
    uint32_t word[4];
    uint64_t at = offset / 8;

    if (at >= pending_words(msix))
        return 0;
    first = atomic_load(&msix->pending[at]);
    second = at + 1 < pending_words(msix) ? atomic_load(&msix->pending[at + 1]) : 0;
    word[0] = (uint32_t)first;
    word[1] = (uint32_t)(first >> 32);
    word[2] = (uint32_t)second;
    word[3] = (uint32_t)(second >> 32);
    return words_read(word, sizeof(word), offset % 8, width);
}

void msix_write_table(struct msix *msix, uint64_t offset, unsigned width, uint64_t value)
{
    uint64_t vector = offset / MSIX_ENTRY_LEN;
    unsigned word = (unsigned)(offset % MSIX_ENTRY_LEN / 4);

    if ((width != 4 && width != 8) || offset % width != 0 || vector >= msix->vectors)
        return;
    for (unsigned i = 0; i < width / 4; i++) {
        uint32_t bits = (uint32_t)(value >> (32 * i));

        msix->entry[vector].word[word + i] = word + i == CONTROL ? bits & MSIX_ENTRY_MASKED : bits;
    }
    pending_send(msix, (unsigned)vector);
}
