/* SPDX-License-Identifier: MIT */
/*
 * The log of dirty pages that a front-end shares while it copies guest memory to another machine:
 * a bit for each page of 4 KiB, which whoever writes to the page sets afterwards. The front-end
 * reads and clears bits at any time, so setting one is an atomic or.
 *
 * Knows guest addresses only. A log is immutable once data threads use it, but for its bits; it is
 * swapped like a memory table, between a pause and a resume.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "memory/mapping.h"

enum {
    DIRTY_LOG_PAGE_SHIFT = 12,
    DIRTY_LOG_PAGES_A_BYTE = 8,
};

/* Processors address 52 bits at most; more would only take address space from other cards. */
#define DIRTY_LOG_LEN_MAX ((1ull << 52 >> DIRTY_LOG_PAGE_SHIFT) / DIRTY_LOG_PAGES_A_BYTE)

struct dirty_log {
    struct memory_mapping *mapping; /* held */
    uint8_t *bits;                  /* inside the mapping */
    uint64_t page_count;
    int tell_fd;              /* borrowed; signalled after each batch of marks; -1: nobody is */
    _Atomic uint64_t marks;   /* ranges that were noted, by any thread */
    _Atomic uint64_t outside; /* of these, the ones that the log has no bits for */
};

/* -EINVAL and a sentence: the part of the file is empty, not in it, or too long. */
int dirty_log_create(const struct memory_part *part, struct dirty_log **ret_log, struct error *err);
/* The same pages, to be changed and swapped in. -ENOMEM. */
int dirty_log_copy(const struct dirty_log *from, struct dirty_log **ret_copy);
/* NULL is fine. */
void dirty_log_free(struct dirty_log *log);

/* 1: there is a bit for every page of [gpa, gpa + len). */
int dirty_log_covers(const struct dirty_log *log, uint64_t gpa, uint64_t len);
/* 1: its file was truncated; what is marked is read by nobody. */
int dirty_log_lost(const struct dirty_log *log);

/* The bytes [gpa, gpa + len) were written before this call. Pages that the log does not cover are
 * left out. */
void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len);
/* The end of a batch of marks. */
void dirty_log_tell(const struct dirty_log *log);
