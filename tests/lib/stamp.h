/* SPDX-License-Identifier: MIT */
/* Frames that say who sent them and when, and whose every byte follows from that: whoever gets one
 * knows that it is whole, and what is missing or came twice. */
#pragma once

#include <stdint.h>

enum {
    STAMP_LEN_MIN = 14 + 12, /* Ethernet, then source, number and length */
};

struct stamp {
    uint32_t source, number;
};

enum stamp_verdict {
    STAMP_WHOLE,
    STAMP_NONE,    /* of another ethertype */
    STAMP_DAMAGED, /* of ours, and not as it was made */
};

/* To `mac`, of the ethertype of local experiments. */
void stamp_make(void *ret_frame, uint32_t len, const uint8_t mac[6], struct stamp stamp);
enum stamp_verdict stamp_read(const void *frame, uint32_t len, struct stamp *ret_stamp);
