/* SPDX-License-Identifier: MIT */
/* Runs a function inside another network namespace, without moving the calling thread there. */
#pragma once

#include "base/error.h"

/* name: of `ip netns`, or a path. Returns an fd or -errno and a sentence. */
int netns_open(const char *name, struct error *err);
/* 1 if netns_fd is the namespace that the calling thread is in. */
int netns_is_current(int netns_fd);
/* Returns what run returned, or -errno if the namespace can't be entered. netns_fd -1: right here.
 */
int netns_run(int netns_fd, int (*run)(void *context), void *context);
