/* SPDX-License-Identifier: MIT */
#include "endpoint/user/backlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int backlog_init(struct backlog *backlog)
{
    *backlog = (struct backlog){.wrap = BACKLOG_LEN};
    backlog->bytes = malloc(BACKLOG_LEN);
    return backlog->bytes == NULL ? -ENOMEM : 0;
}

void backlog_free(struct backlog *backlog)
{
    free(backlog->bytes);
    backlog->bytes = NULL;
}

void backlog_clear(struct backlog *backlog)
{
    backlog->head = 0;
    backlog->tail = 0;
    backlog->count = 0;
    backlog->wrap = BACKLOG_LEN;
}

/* Makes sure that `need` bytes in one piece begin at tail. */
static int backlog_make_room(struct backlog *backlog, uint32_t need)
{
    if (backlog->count == 0)
        backlog_clear(backlog);
    if (backlog->tail < backlog->head || (backlog->tail == backlog->head && backlog->count > 0))
        return backlog->head - backlog->tail >= need ? 0 : -ENOBUFS;
    if (BACKLOG_LEN - backlog->tail >= need)
        return 0;
    if (backlog->head < need)
        return -ENOBUFS;
    backlog->wrap = backlog->tail;
    backlog->tail = 0;
    return 0;
}

int backlog_push(struct backlog *backlog, const void *frame, uint32_t len)
{
    int rc = backlog_make_room(backlog, (uint32_t)sizeof(len) + len);

    if (rc < 0)
        return rc;
    memcpy(backlog->bytes + backlog->tail, &len, sizeof(len));
    memcpy(backlog->bytes + backlog->tail + sizeof(len), frame, len);
    backlog->tail += (uint32_t)sizeof(len) + len;
    backlog->count++;
    return 0;
}

const void *backlog_peek(const struct backlog *backlog, uint32_t *ret_len)
{
    if (backlog->count == 0)
        return NULL;
    memcpy(ret_len, backlog->bytes + backlog->head, sizeof(*ret_len));
    return backlog->bytes + backlog->head + sizeof(*ret_len);
}

void backlog_pop(struct backlog *backlog)
{
    uint32_t len;

    memcpy(&len, backlog->bytes + backlog->head, sizeof(len));
    backlog->head += (uint32_t)sizeof(len) + len;
    backlog->count--;
    if (backlog->head == backlog->wrap) {
        backlog->head = 0;
        backlog->wrap = BACKLOG_LEN;
    }
}
