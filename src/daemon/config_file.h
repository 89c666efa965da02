/* SPDX-License-Identifier: MIT */
/* Reads a JSON file that may be anything: huge, binary, deeply nested, no file at all. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* The file's object, owned by the caller. All sentences begin with the path. */
int config_file_read(const char *path, json_t **ret_root, struct error *err);
