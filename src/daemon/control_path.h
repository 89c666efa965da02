/* SPDX-License-Identifier: MIT */
/* Where the control socket is, for the daemon and its clients alike. */
#pragma once

#include <sys/un.h>

#include "base/error.h"

/* `given`, or if that is NULL: /run/vionic/control.sock for root,
 * $XDG_RUNTIME_DIR/vionic/control.sock for others. -EINVAL and a sentence if there is none. */
int control_path_address(const char *given, struct sockaddr_un *ret_address, struct error *err);

/* Makes the socket's own directory if it is missing (not the ones above it). */
int control_path_make_directory(const struct sockaddr_un *address, struct error *err);
