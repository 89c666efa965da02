/* SPDX-License-Identifier: MIT */
/* The frame that tells a network where an address is now, for guests that can't say so themselves:
 * a RARP request for their own address, which switches learn from and hosts ignore (RFC 903). */
#pragma once

#include <stdint.h>

enum {
    RARP_FRAME_LEN = 60
};

void rarp_frame_make(uint8_t ret_frame[RARP_FRAME_LEN], const uint8_t mac[6]);
