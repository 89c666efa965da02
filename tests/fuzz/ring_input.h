/* SPDX-License-Identifier: MIT */
/* The body of the targets split_ring and packed_ring: the input is guest memory and the schedule.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum ring_input_format {
    RING_INPUT_SPLIT,
    RING_INPUT_PACKED,
};

int ring_input_run(enum ring_input_format format, const uint8_t *data, size_t size);
