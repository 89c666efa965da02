/* SPDX-License-Identifier: MIT */
/*
 * What a service manager expects: signals as events, sd_notify(3) and its watchdog, without
 * libsystemd.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

/* Ignores SIGPIPE, blocks the signals that stop a daemon (before any thread is started, so that all
 * inherit it) and gives an fd that becomes readable when one arrives. */
int service_catch_signals(int *ret_fd, struct error *err);
/* Takes the signal off the fd; its name for the log. */
const char *service_take_signal(int fd);
/* From now on such a signal ends the process at once. */
void service_let_signals_end(void);

/* Tells the manager, if there is one; `state` as in sd_notify(3), such as "READY=1". */
void service_notify(const char *state);
/* Microseconds within which the manager wants a WATCHDOG=1 each; 0: it does not. */
uint64_t service_watchdog_us(void);
enum service_process {
    SERVICE_CHILD,  /* the daemon to be: writes a byte to *ret_ready_fd when it is ready */
    SERVICE_PARENT, /* the daemon is ready, or has failed, as *ret_status says */
};
/* Forks, before there are threads. The parent waits for the child's word. */
enum service_process service_background(int *ret_ready_fd, int *ret_status);

/* As many open files as the system allows: each queue pair takes some. */
void service_allow_files(void);
