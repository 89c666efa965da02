/* SPDX-License-Identifier: MIT */
/* Public structs that begin with `size_t size`: how callers of older and newer headers meet this
 * build's. */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* Fills *ret_known (known_len bytes, this build's) from a struct that is as long as its own first
 * member says: what is missing is 0, and its `size` is this build's then. -EINVAL: no sane size;
 * -E2BIG: it uses members that this build does not know. `name` is for the sentence. */
int sized_read(const void *given, const char *name, void *ret_known, size_t known_len,
               struct error *err);
/* Fills a struct of the caller's, as far as its `size` goes. -EINVAL: no sane size. */
int sized_write(void *given, const void *known, size_t known_len);
