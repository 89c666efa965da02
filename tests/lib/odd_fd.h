/* SPDX-License-Identifier: MIT */
/* File descriptors of kinds that nobody should hand over as an eventfd or as memory. */
#pragma once

enum {
    ODD_FD_FILE = 0,  /* a small memfd, read and written like any regular file */
    ODD_FD_TIMER = 4, /* expires every millisecond */
    ODD_FD_KINDS = 8,
};

/* A fresh fd of that kind; the caller closes it. */
int odd_fd(unsigned kind);
