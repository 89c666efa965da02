/* SPDX-License-Identifier: MIT */
/* Frames between cards that have addresses: the seed names the bytes, `from` and `to` whom they are
 * of and for. */
#pragma once

#include "testbed.h"

void frame_make(uint8_t *frame, uint32_t len, const uint8_t to[6], const uint8_t from[6],
                uint32_t seed);
/* Waits for a free place in the ring. */
void frame_send(struct testbed_nic *nic, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                uint32_t seed);
/* The next frame of the NIC is this one. */
void frame_expect(struct testbed_nic *nic, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                  uint32_t seed);
void frame_expect_none(struct testbed_nic *nic);
