/* SPDX-License-Identifier: MIT */
#include "base/mac_text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum {
    MAC_BYTES = 6,
    MAC_DIGITS_LEN = sizeof("52:54:00:12:34:56") - 1,
};

static int hex_value(char digit)
{
    if (!isxdigit((unsigned char)digit))
        return -1;
    return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
}

int mac_text_parse(const char *text, uint8_t ret_mac[6])
{
    char separator = '\0';

    if (strlen(text) != MAC_DIGITS_LEN)
        return -EINVAL;
    for (int i = 0; i < MAC_BYTES; i++) {
        int high = hex_value(text[0]);
        int low = hex_value(text[1]);

        separator = i == 0 ? text[2] : separator;
        if (high < 0 || low < 0)
            return -EINVAL;
        if (i < MAC_BYTES - 1 && text[2] != separator)
            return -EINVAL;
        ret_mac[i] = (uint8_t)(high << 4 | low);
        text += 3;
    }
    return separator == ':' || separator == '-' ? 0 : -EINVAL;
}
