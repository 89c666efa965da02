/* SPDX-License-Identifier: MIT */
/*
 * Mapped files that shrink under us. A front-end may truncate the memory file that it shared; the
 * next touch would be a SIGBUS that ends the process and every NIC in it. The guard puts empty
 * pages in place of the whole mapping instead, remembers that it is lost, and tells whoever
 * subscribed.
 *
 * Signal handlers are a matter of the whole process, so this is the one file with state of its own.
 * A SIGBUS that belongs to no mapping here takes the way that it had before.
 */
#pragma once

#include <stddef.h>

/* Watches [base, base + len); returns a number for the other calls, or -ENOSPC. Installs the
 * handler at the first call. */
int memory_guard_add(void *base, size_t len);
/* Before the mapping goes away. */
void memory_guard_remove(int guard);
/* 1 if the mapping was replaced by empty pages. */
int memory_guard_lost(int guard);

/* The eventfd is written to whenever a mapping is lost. -ENOSPC: too many subscribers. */
int memory_guard_subscribe(int fd);
void memory_guard_unsubscribe(int fd);
