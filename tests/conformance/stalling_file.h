/* SPDX-License-Identifier: MIT */
/*
 * A file whose pages never come: of a FUSE file system whose server, a process of this test, opens
 * it and then answers nothing but that it may be closed.
 */
#pragma once

#include <sys/types.h>

struct stalling_file {
    int fd;     /* owned */
    int end_fd; /* owned: the server ends when it is closed */
    pid_t server;
};

/* 0: this host lets nobody mount FUSE here. */
int stalling_file_open(struct stalling_file *ret_file);
void stalling_file_close(struct stalling_file *file);
