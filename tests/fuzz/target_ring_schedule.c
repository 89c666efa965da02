/* SPDX-License-Identifier: MIT */
/* The property of tests/property (split, packed and a plain model agree), with libFuzzer choosing
 * the schedule. */
#include "fuzz.h"
#include "ring_schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FUZZ_CHECK(ring_schedule_run(data, size) == 0, "%s", ring_schedule_error());
    return 0;
}
