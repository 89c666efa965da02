/* SPDX-License-Identifier: MIT */
/* A bounded queue of frames that the guest has no room for yet. One owner, no locks, no malloc
 * after init. */
#pragma once

#include <stdint.h>

enum {
    BACKLOG_LEN = 1 << 20,
};

struct backlog {
    uint8_t
        *bytes; /* owned, BACKLOG_LEN of them; each frame is a length and its bytes, in one piece */
    uint32_t head; /* of the oldest frame */
    uint32_t tail; /* where the next one goes */
    uint32_t wrap; /* where the frames end if tail < head */
    uint32_t count;
};

int backlog_init(struct backlog *backlog);
void backlog_free(struct backlog *backlog);
/* -ENOBUFS: it is full. */
int backlog_push(struct backlog *backlog, const void *frame, uint32_t len);
/* The oldest frame, or NULL. */
const void *backlog_peek(const struct backlog *backlog, uint32_t *ret_len);
void backlog_pop(struct backlog *backlog);
void backlog_clear(struct backlog *backlog);
