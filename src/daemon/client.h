/* SPDX-License-Identifier: MIT */
/* The asking side of the control socket. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* Asks the daemon at `control_path` (NULL: the default) and waits for the answer's result, which
 * the caller owns. -errno and the sentence, the daemon's own if it refused. -EINVAL: the path is
 * wrong. */
int client_ask(const char *control_path, json_t *request, json_t **ret_result, struct error *err);
/* The same, and *ret_fd is the connection, which goes on by rules of the request's own. */
int client_open(const char *control_path, json_t *request, int *ret_fd, json_t **ret_result,
                struct error *err);
