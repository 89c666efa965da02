/* SPDX-License-Identifier: MIT */
/* What a service manager expects: signals as events, and sd_notify(3) without libsystemd. */
#pragma once

#include "base/error.h"

/* Ignores SIGPIPE, blocks the signals that stop a daemon (before any thread is started, so that all
 * inherit it) and gives an fd that becomes readable when one arrives. */
int service_catch_signals(int *ret_fd, struct error *err);
/* Takes the signal off the fd; its name for the log. */
const char *service_take_signal(int fd);

/* Tells the manager, if there is one; `state` as in sd_notify(3), such as "READY=1". */
void service_notify(const char *state);
/* As many open files as the system allows: each queue pair takes some. */
void service_allow_files(void);
