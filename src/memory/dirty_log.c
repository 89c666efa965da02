/* SPDX-License-Identifier: MIT */
#include "memory/dirty_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"

int dirty_log_create(const struct memory_part *part, struct dirty_log **ret_log, struct error *err)
{
    struct dirty_log *log;
    int result;

    if (part->size == 0)
        return error_set(err, EINVAL, "the log of dirty pages is empty");
    if (part->size > DIRTY_LOG_LEN_MAX)
        return error_set(err, EINVAL, "the log of dirty pages is longer than any guest's memory");
    result = memory_part_check(part, err);
    if (result < 0) {
        error_prefix(err, "the log of dirty pages");
        return result;
    }
    log = calloc(1, sizeof(*log));
    if (log == NULL)
        return error_set(err, ENOMEM, "out of memory");
    result = memory_mapping_create(part, &log->mapping, &log->bits);
    if (result < 0) {
        free(log);
        return error_set(err, -result, "the log of dirty pages can't be mapped: %s",
                         strerror(-result));
    }
    log->page_count = part->size * DIRTY_LOG_PAGES_A_BYTE;
    log->tell_fd = -1;
    *ret_log = log;
    return 0;
}

int dirty_log_copy(const struct dirty_log *from, struct dirty_log **ret_copy)
{
    struct dirty_log *copy = calloc(1, sizeof(*copy));

    if (copy == NULL)
        return -ENOMEM;
    copy->mapping = from->mapping;
    copy->bits = from->bits;
    copy->page_count = from->page_count;
    copy->tell_fd = from->tell_fd;
    memory_mapping_hold(copy->mapping);
    *ret_copy = copy;
    return 0;
}

void dirty_log_free(struct dirty_log *log)
{
    if (log == NULL)
        return;
    memory_mapping_release(log->mapping);
    free(log);
}

int dirty_log_covers(const struct dirty_log *log, uint64_t gpa, uint64_t len)
{
    return len == 0 ||
           (!range_wraps(gpa, len) && (gpa + (len - 1)) >> DIRTY_LOG_PAGE_SHIFT < log->page_count);
}

int dirty_log_lost(const struct dirty_log *log)
{
    return memory_mapping_lost(log->mapping);
}

/* Release: who sees the bit and copies the page copies what was written before. Partner: the
 * front-end, which clears the bit before it reads the page. */
static void page_mark(struct dirty_log *log, uint64_t page)
{
    uint8_t bit = (uint8_t)(1u << (page % DIRTY_LOG_PAGES_A_BYTE));

    __atomic_fetch_or(&log->bits[page / DIRTY_LOG_PAGES_A_BYTE], bit, __ATOMIC_RELEASE);
}

void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
    uint64_t last;

    if (len == 0)
        return;
    if (!dirty_log_covers(log, gpa, len)) {
        uint64_t end = log->page_count << DIRTY_LOG_PAGE_SHIFT;

        atomic_fetch_add_explicit(&log->outside, 1, memory_order_relaxed);
        if (range_wraps(gpa, len) || gpa >= end)
            return;
        len = end - gpa;
    }
    last = (gpa + (len - 1)) >> DIRTY_LOG_PAGE_SHIFT;
    atomic_fetch_add_explicit(&log->marks, 1, memory_order_relaxed);
    for (uint64_t page = gpa >> DIRTY_LOG_PAGE_SHIFT; page <= last; page++)
        page_mark(log, page);
}

void dirty_log_tell(const struct dirty_log *log)
{
    if (log->tell_fd >= 0)
        fd_signal(log->tell_fd);
}
