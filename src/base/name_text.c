/* SPDX-License-Identifier: MIT */
#include "base/name_text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int name_text_check(const char *what, const char *name, unsigned most, struct error *err)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
            return error_set(err, EINVAL,
                             "%s name \"%s\": only letters, digits, - and _ may be in it", what,
                             name);
    }
    if (len == 0 || len > most)
        return error_set(err, EINVAL, "%s name \"%s\": choose one of 1 to %u characters", what,
                         name, most);
    return 0;
}
