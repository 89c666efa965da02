/* SPDX-License-Identifier: MIT */
#include "nic/rarp.h"

#include <string.h>

enum {
    MAC_LEN = 6,
    SOURCE = 6,
    HEAD = 12, /* EtherType and the fixed part */
    SENDER = 22,
    TARGET = 32,
};

void rarp_frame_make(uint8_t ret_frame[RARP_FRAME_LEN], const uint8_t mac[6])
{
    static const uint8_t head[] = {
        0x80, 0x35,       /* RARP */
        0x00, 0x01,       /* Ethernet */
        0x08, 0x00, 6, 4, /* IPv4, lengths of both addresses */
        0x00, 0x03,       /* request reverse */
    };

    memset(ret_frame, 0, RARP_FRAME_LEN);
    memset(ret_frame, 0xff, MAC_LEN);
    memcpy(ret_frame + SOURCE, mac, MAC_LEN);
    memcpy(ret_frame + HEAD, head, sizeof(head));
    memcpy(ret_frame + SENDER, mac, MAC_LEN);
    memcpy(ret_frame + TARGET, mac, MAC_LEN);
}
