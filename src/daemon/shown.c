/* SPDX-License-Identifier: MIT */
#include "daemon/shown.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    SHOWN_TEXT_LEN = SHOWN_LEN - (int)sizeof("\"…\"")
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

/* No ASCII control character, and none of U+0080 … U+009F, which some terminals obey as well. */
static int is_printable(const char *at, size_t len)
{
    if (len == 1)
        return *at >= ' ' && *at != 0x7f;
    return len > 1 && !((unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0);
}

/* Cleans up to `room` bytes of text that ends at `end` or at its NUL; returns where it stopped. */
static const char *clean_into(const char *text, const char *end, size_t room, char *ret_clean)
{
    size_t used = 0;

    while (text < end && *text != '\0') {
        size_t len = character_len((const unsigned char *)text);
        int printable = is_printable(text, len);
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

void shown_clean(const char *text, char *ret_clean, size_t clean_size)
{
    clean_into(text, text + strlen(text), clean_size - 1, ret_clean);
}

void shown_bytes(const char *text, size_t len, char ret_shown[SHOWN_LEN])
{
    const char *end = text + len;

    if (clean_into(text, end, SHOWN_TEXT_LEN, ret_shown) < end)
        memcpy(ret_shown + strlen(ret_shown), "…", sizeof("…"));
}

void shown_text(const char *text, char ret_shown[SHOWN_LEN])
{
    shown_bytes(text, strlen(text), ret_shown);
}

void shown_json(const json_t *value, char ret_shown[SHOWN_LEN])
{
    char text[SHOWN_LEN];

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        snprintf(ret_shown, SHOWN_LEN, "%s", "an object");
        return;
    case JSON_ARRAY:
        snprintf(ret_shown, SHOWN_LEN, "%s", "an array");
        return;
    case JSON_STRING:
        shown_text(json_string_value(value), text);
        snprintf(ret_shown, SHOWN_LEN, "\"%.*s\"", SHOWN_LEN - 3, text);
        return;
    case JSON_INTEGER:
        snprintf(ret_shown, SHOWN_LEN, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        snprintf(ret_shown, SHOWN_LEN, "%g", json_real_value(value));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        snprintf(ret_shown, SHOWN_LEN, "%s", json_is_true(value) ? "true" : "false");
        return;
    case JSON_NULL:
        snprintf(ret_shown, SHOWN_LEN, "%s", "null");
        return;
    }
}
