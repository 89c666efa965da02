/* SPDX-License-Identifier: MIT */
/* Names of unix sockets in the file system. */
#pragma once

#include <sys/un.h>

/* Removes a socket file that nobody listens at: a leftover of a process that was killed. 0: the
 * name is free as far as that goes (bind(2) tells the rest). -EADDRINUSE: somebody listens there.
 * -EEXIST: a file of another kind is there. -errno of socket(2). */
int local_socket_free_name(const struct sockaddr_un *address);
