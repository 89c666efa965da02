/* SPDX-License-Identifier: MIT */
/*
 * File descriptors that go along with records (base/records.h) from one process to another: a
 * record names each by its place in the list. Whoever gives borrows them to the list; whoever takes
 * owns what is in it until it was taken out.
 */
#pragma once

#include <stdint.h>

enum {
    FD_LIST_NONE = 0xffff, /* the place of an fd that is not there */
};

struct fd_list {
    int *fd; /* owned array; -1: taken */
    unsigned count, capacity;
    int failed; /* no memory: everything that follows is ignored */
};

/* The place of the fd; FD_LIST_NONE for -1. */
uint16_t fd_list_add(struct fd_list *list, int fd);
/* *ret_fd is the caller's from now on; -1 for FD_LIST_NONE. -EBADF: there is no such place, or it
 * was taken before. */
int fd_list_take(struct fd_list *list, uint16_t place, int *ret_fd);
/* Forgets the fds of one who gives. */
void fd_list_free(struct fd_list *list);
/* Closes what one who takes has not taken. */
void fd_list_close(struct fd_list *list);
