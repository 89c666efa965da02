/* SPDX-License-Identifier: MIT */
#include "daemon/report_text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    REPORT_SHORT_LEN = 60
};

/* Smallest code point of 1, 2, 3 and 4 bytes: anything less is an overlong form. */
static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};

/* Bytes of the UTF-8 character that begins here; 0: none does. Stops at the terminating NUL. */
static size_t character_len(const unsigned char *at)
{
    size_t len = at[0] < 0x80   ? 1
                 : at[0] < 0xc2 ? 0
                 : at[0] < 0xe0 ? 2
                 : at[0] < 0xf0 ? 3
                 : at[0] < 0xf5 ? 4
                                : 0;
    uint32_t code = len > 1 ? at[0] & (0x7fu >> len) : at[0];

    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    if (len > 1 && (code < smallest[len] || code > 0x10ffff))
        return 0;
    return code >= 0xd800 && code <= 0xdfff ? 0 : len;
}

/* Cleans up to `room` bytes of text that ends at `end` or at its NUL; returns where it stopped. */
static const char *clean_into(const char *text, const char *end, size_t room, char *ret_clean)
{
    size_t used = 0;

    while (text < end && *text != '\0') {
        size_t len = character_len((const unsigned char *)text);
        int printable = len > 1 || (len == 1 && *text >= ' ' && *text != 0x7f);
        size_t kept = printable ? len : 1;

        if (used + kept > room)
            break;
        if (printable)
            memcpy(ret_clean + used, text, len);
        else
            ret_clean[used] = '?';
        used += kept;
        text += kept;
    }
    ret_clean[used] = '\0';
    return text;
}

void report_text_clean(const char *text, char ret_clean[REPORT_TEXT_LEN])
{
    clean_into(text, text + strlen(text), REPORT_TEXT_LEN - 1, ret_clean);
}

void report_text_shorten(const char *text, size_t len, char ret_short[REPORT_TEXT_LEN])
{
    const char *end = text + len;

    if (clean_into(text, end, REPORT_SHORT_LEN, ret_short) < end)
        strcat(ret_short, "…");
}
