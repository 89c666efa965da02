/* SPDX-License-Identifier: MIT */
/*
 * A part of a front-end's file, mapped whole pages at a time, watched by the guard (memory/guard.h)
 * and counted. What it holds is its user's business: guest memory, or a log of dirty pages.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

struct memory_mapping;

/* Where in a file. The fd is borrowed, and may be closed after the call that takes this. */
struct memory_part {
    int fd;
    uint64_t offset;
    uint64_t size;
};

/* -errno and a sentence about "it": the file is no memory file, is one whose pages may never come
 * (memory/backing.h), or ends before the part does. */
int memory_part_check(const struct memory_part *part, struct error *err);

/* Held once. *ret_first: the part's first byte, which need not begin a page. -errno. */
int memory_mapping_create(const struct memory_part *part, struct memory_mapping **ret_mapping,
                          uint8_t **ret_first);
/* From `first` on, which is in it: where in which file. The fd is borrowed; size is not told. */
struct memory_part memory_mapping_part(const struct memory_mapping *mapping, const uint8_t *first);
void memory_mapping_hold(struct memory_mapping *mapping);
/* Unmaps it when nobody holds it any more. NULL is fine. */
void memory_mapping_release(struct memory_mapping *mapping);
/* 1: the file was truncated, and empty pages stand in its place. */
int memory_mapping_lost(const struct memory_mapping *mapping);
