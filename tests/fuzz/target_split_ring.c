/* SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "ring_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return ring_input_run(RING_INPUT_SPLIT, data, size);
}
