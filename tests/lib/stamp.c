/* SPDX-License-Identifier: MIT */
#include "stamp.h"

#include <string.h>

#include "net_driver.h"
#include "wire.h"

enum {
    STAMP_AT = 14,
    STAMP_ROOM = NET_FRAME_MAX,
};

void stamp_make(void *ret_frame, uint32_t len, const uint8_t mac[6], struct stamp stamp)
{
    uint8_t *bytes = ret_frame;

    net_frame_make(bytes, len, mac, stamp.source * 0x9e3779b1u + stamp.number);
    wire_put32(bytes + STAMP_AT, stamp.source, WIRE_BIG);
    wire_put32(bytes + STAMP_AT + 4, stamp.number, WIRE_BIG);
    wire_put32(bytes + STAMP_AT + 8, len, WIRE_BIG);
}

enum stamp_verdict stamp_read(const void *frame, uint32_t len, struct stamp *ret_stamp)
{
    static uint8_t made[STAMP_ROOM];
    const uint8_t *bytes = frame;

    if (len < 14 || bytes[12] != 0x88 || bytes[13] != 0xb5)
        return STAMP_NONE;
    if (len < STAMP_LEN_MIN || len > sizeof(made))
        return STAMP_DAMAGED;
    ret_stamp->source = wire_get32(bytes + STAMP_AT, WIRE_BIG);
    ret_stamp->number = wire_get32(bytes + STAMP_AT + 4, WIRE_BIG);
    if (wire_get32(bytes + STAMP_AT + 8, WIRE_BIG) > len)
        return STAMP_DAMAGED;
    len = wire_get32(bytes + STAMP_AT + 8, WIRE_BIG); /* the way may pad it */
    if (len < STAMP_LEN_MIN)
        return STAMP_DAMAGED;
    stamp_make(made, len, bytes, *ret_stamp);
    return memcmp(made, bytes, len) == 0 ? STAMP_WHOLE : STAMP_DAMAGED;
}
