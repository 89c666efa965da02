/* SPDX-License-Identifier: MIT */
/* File descriptors as owned fields: -1 is "none". */
#pragma once

/* Closes *fd unless it is -1, and makes it -1. */
void fd_close(int *fd);
/* Takes the value out of *fd and leaves -1: ownership moves to the caller. */
int fd_take(int *fd);
int fd_set_nonblocking(int fd);
