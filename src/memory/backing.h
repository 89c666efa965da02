/* SPDX-License-Identifier: MIT */
/*
 * What lies behind a file that another process shares as memory. A page of a file in a FUSE or
 * network file system comes from somebody else, who may never send it: whoever touches the page
 * stands still, and so would a worker with all its NICs.
 */
#pragma once

#include "base/error.h"

/* 0: a file of this host's own memory or disks. -EINVAL and a sentence about "it": none. Asks
 * nobody who may not answer. */
int memory_backing_check(int fd, struct error *err);
