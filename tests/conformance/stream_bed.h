/* SPDX-License-Identifier: MIT */
/* Two cards that are each other's network, by a stream, or one of them and the test at its other
 * end. */
#pragma once

#include "testbed.h"

enum {
    NEAR = VICTIM,
    FAR = BYSTANDER,
};

/* The far one listens, the near one connects; `how` is of both but for their endpoints; rings of
 * 256, mergeable buffers. */
struct testbed *stream_bed_start(void **state, const struct testbed_options *how);
void stream_bed_finish(struct testbed *bed);

/* A socket that listens where an endpoint is to connect. */
int stream_bed_listen(const char *path);
