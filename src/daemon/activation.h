/* SPDX-License-Identifier: MIT */
/*
 * Sockets that a service manager opened before it started us, as in sd_listen_fds(3). Each is found
 * by the path that it listens at, or by its name (FileDescriptorName= of a socket unit).
 */
#pragma once

#include "base/error.h"

enum {
    ACTIVATION_MAX = 1025 /* a socket for each NIC and the control socket */
};

struct activation {
    int fd[ACTIVATION_MAX]; /* owned; -1: taken */
    unsigned count;
    char *names; /* owned: of all, with ':' between them; NULL: they have none */
};

/* Takes what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say is for this process, and these variables
 * out of the environment. */
void activation_read(struct activation *activation);
/* *ret_fd is the caller's; 0: there is none. -EINVAL and a sentence: the one of that name listens
 * elsewhere. */
int activation_take(struct activation *activation, const char *name, const char *path, int *ret_fd,
                    struct error *err);
/* A warning for each that nobody took. */
void activation_report(const struct activation *activation);
void activation_close(struct activation *activation);
