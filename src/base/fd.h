/* SPDX-License-Identifier: MIT */
/* File descriptors as owned fields: -1 is "none". */
#pragma once

/* Closes *fd unless it is -1, and makes it -1. */
void fd_close(int *fd);
/* Takes the value out of *fd and leaves -1: ownership moves to the caller. */
int fd_take(int *fd);
int fd_set_nonblocking(int fd);
/* Adds 1 to an eventfd that a peer shares, and may fill or make blocking at any time: never waits.
 * A full one has been signalled already. -1 is fine. */
void fd_signal(int fd);
