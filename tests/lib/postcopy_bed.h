/* SPDX-License-Identifier: MIT */
/* A testbed whose victim's front-end is about to receive its guest by post-copy. */
#pragma once

#include "testbed.h"

#define POSTCOPY_PAGEFAULT (1ull << 8) /* the protocol feature */

/* The bystander runs, and the victim's front-end has said hello. Skips the test where the host has
 * no userfaultfd for it. */
struct testbed *postcopy_bed_start(void **state);
/* ADVISE and LISTEN; the fd by which pages are given, owned by the caller. */
int postcopy_bed_listen(struct front_end *fe);
