/* SPDX-License-Identifier: MIT */
#include "base/number_list.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* Moves *text behind the number. */
static int number_take(const char **text, unsigned max, unsigned *ret_number)
{
    unsigned long number;
    char *end;

    if (!isdigit((unsigned char)**text))
        return -EINVAL;
    number = strtoul(*text, &end, 10);
    *text = end;
    *ret_number = (unsigned)number;
    return number > max ? -ERANGE : 0;
}

int number_list_parse(const char *text, unsigned max, unsigned *ret_numbers, unsigned room)
{
    unsigned count = 0;

    for (;;) {
        unsigned first, last;
        int result = number_take(&text, max, &first);

        last = first;
        if (result == 0 && *text == '-') {
            text++;
            result = number_take(&text, max, &last);
        }
        if (result < 0)
            return result;
        if (last < first)
            return -EINVAL;
        if (last - first >= room - count)
            return -E2BIG;
        for (unsigned i = 0; i <= last - first; i++)
            ret_numbers[count++] = first + i;
        if (*text == '\0')
            return (int)count;
        if (*text != ',' && *text != '+')
            return -EINVAL;
        text++;
    }
}
