/* SPDX-License-Identifier: MIT */
/* How every command ends. */
#pragma once

enum exit_status {
    EXIT_STATUS_OK = 0,
    EXIT_STATUS_FAILED = 1, /* something outside is in the way */
    EXIT_STATUS_USAGE = 2,  /* what the operator wrote is wrong; the sentence says how to mend it */
};
