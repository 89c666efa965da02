/* SPDX-License-Identifier: MIT */
#include "daemon/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/schema.h"
#include "daemon/shown.h"

enum {
    CONFIG_FILE_MAX = 1 << 20
};

/* -EFBIG: there is more than `room`. */
static ssize_t read_whole(int fd, char *data, size_t room)
{
    size_t len = 0;

    while (len < room) {
        ssize_t got = read(fd, data + len, room - len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return (ssize_t)len;
        len += (size_t)got;
    }
    return -EFBIG;
}

static int parse(const char *data, size_t len, const char *shown, json_t **ret_root,
                 struct error *err)
{
    json_error_t where;
    char what[SHOWN_LEN];
    json_t *root = json_loadb(data, len, JSON_REJECT_DUPLICATES, &where);

    if (root == NULL) {
        shown_text(where.text, what);
        return error_set(err, EINVAL,
                         "%s: line %d, column %d: %s; mend the JSON there or before it", shown,
                         where.line, where.column, what);
    }
    if (!json_is_object(root)) {
        shown_json(root, what);
        json_decref(root);
        return error_set(err, EINVAL, "%s: must hold an object such as {\"nics\": [...]}, not %s",
                         shown, what);
    }
    *ret_root = root;
    return 0;
}

int config_file_read(const char *path, json_t **ret_root, struct error *err)
{
    char shown[SHOWN_LEN];
    char *data = NULL;
    ssize_t len;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int ret;

    shown_text(path, shown);
    if (fd < 0)
        return error_set(err, EINVAL, "%s: can't be read (%s); name a JSON file that you may read",
                         shown, strerror(errno));
    data = malloc(CONFIG_FILE_MAX + 1);
    len = data == NULL ? -ENOMEM : read_whole(fd, data, CONFIG_FILE_MAX + 1);
    if (len == -EFBIG)
        ret = error_set(err, EINVAL, "%s: is larger than %d bytes; it can't be a configuration",
                        shown, CONFIG_FILE_MAX);
    else if (len < 0)
        ret = error_set(err, EINVAL, "%s: can't be read (%s); name a JSON file that you may read",
                        shown, strerror((int)-len));
    else
        ret = parse(data, (size_t)len, shown, ret_root, err);
    free(data);
    fd_close(&fd);
    return ret;
}
