/* SPDX-License-Identifier: MIT */
#include "api/sized.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/checked.h"

enum {
    SIZED_MAX = 4096, /* no struct of ours ever grows to this: it was not filled in */
};

static int size_check(size_t size)
{
    return size < sizeof(size_t) || size > SIZED_MAX ? -EINVAL : 0;
}

int sized_read(const void *given, const char *name, void *ret_known, size_t known_len,
               struct error *err)
{
    const uint8_t *bytes = given;
    size_t size;

    memcpy(&size, given, sizeof(size));
    if (size_check(size) < 0)
        return error_set(err, EINVAL, "%s.size is %zu; set it to sizeof(struct %s)", name, size,
                         name);
    for (size_t i = known_len; i < size; i++) {
        if (bytes[i] != 0)
            return error_set(err, E2BIG,
                             "%s has members that this build of vionic does not know; update the "
                             "library, or leave them 0",
                             name);
    }
    memset(ret_known, 0, known_len);
    memcpy(ret_known, given, MIN(size, known_len));
    memcpy(ret_known, &known_len, sizeof(known_len));
    return 0;
}

int sized_write(void *given, const void *known, size_t known_len)
{
    size_t size;

    memcpy(&size, given, sizeof(size));
    if (size_check(size) < 0)
        return -EINVAL;
    memset(given, 0, size);
    memcpy(given, known, MIN(size, known_len));
    memcpy(given, &size, sizeof(size));
    return 0;
}
