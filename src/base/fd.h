/* SPDX-License-Identifier: MIT */
/* File descriptors as owned fields: -1 is "none". */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Closes *fd unless it is -1, and makes it -1. */
void fd_close(int *fd);
/* Takes the value out of *fd and leaves -1: ownership moves to the caller. */
int fd_take(int *fd);
int fd_set_nonblocking(int fd);
/* S_IF…, or -errno. Unlike fstat it asks no server of a FUSE or network file system, who may never
 * answer. */
int fd_type(int fd);
/* 1 if fd_signal can be used on it: eventfds, pipes and sockets. A write to anything else may wait
 * for whoever keeps the file. */
int fd_is_bell(int fd);
/* Adds 1 to an eventfd (or writes as much into a pipe or socket) that a peer shares, and may fill
 * or make blocking at any time: never waits. A full one has been signalled already. -1 is fine. */
void fd_signal(int fd);
/* A thread that calls fd_signal does it between these two; they nest. Outside it may wait for a
 * peer that fills the eventfd at just the wrong moment. */
void fd_signal_begin(void);
void fd_signal_end(void);
/* read(2) that does not wait: see fd_write_now. */
ssize_t fd_read_now(int fd, void *bytes, size_t len);
/* write(2) that does not wait, whatever the flags of the open file are and become: a peer may share
 * it. -1 and EAGAIN: there is no room. */
ssize_t fd_write_now(int fd, const void *bytes, size_t len);
