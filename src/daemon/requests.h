/* SPDX-License-Identifier: MIT */
/*
 * What a client of the control socket may ask, and the answers. One line in, one line out:
 *
 *   {"command": "inspect", "path": "nic0/queues/0"}     {"ok": true, "result": …}
 *   {"command": "endpoints"}                            {"ok": false, "error": "a sentence"}
 *   {"command": "ping"}
 *   {"command": "takeover"}                             the connection goes on as takeover_wire.h
 *   {"command": "set", "values": {"nic0.link": "down"}}
 */
#pragma once

#include <stddef.h>

#include "vionic.h"

/* The answer to a line of any content, ended by '\n', to be freed by the caller. NULL: no memory.
 */
char *requests_answer(struct vionic *vionic, const char *line, size_t len, size_t *ret_len);
/* The answer that says why not. */
char *requests_refuse(const char *sentence, size_t *ret_len);
/* Does the line ask for the connection, rather than for an answer alone? */
int requests_is_takeover(const char *line, size_t len);
