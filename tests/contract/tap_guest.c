/* SPDX-License-Identifier: MIT */
#include "tap_guest.h"

#include <string.h>

#include "check.h"
#include "host.h"

static const char *no_namespace; /* why there is none, or NULL */

void tap_enter_namespace(void)
{
    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("skipping: %s\n", no_namespace);
}

void tap_need_namespace(void)
{
    if (no_namespace != NULL)
        skip();
}

void tap_begin(struct guest *guest, const char *spec)
{
    tap_need_namespace();
    guest_open(guest, spec);
}

void tap_send(struct guest *guest, const struct test_frame *frame)
{
    assert_int_equal(guest_send(guest, &frame->frame, 1), 1);
}

uint32_t make_tso_frame(uint8_t *bytes)
{
    static const uint8_t headers[TCP_HEADERS] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,  0, 0, 1, 0x08, 0x00, /* Ethernet */
        0x45, 0,    0,    0,    0,    1,    0x40, 0,    64, 6, 0, 0, 10,   0,    0, 1, /* IPv4 */
        10,   0,    0,    2,                                                           /* */
        0x30, 0x39, 0,    80,   0,    0,    0,    1,    0,  0, 0, 1, 0x50, 0x10, 1, 0, /* TCP */
    };
    uint32_t ip_len = 20 + 20 + BIG_LEN;
    uint16_t sum;

    memcpy(bytes, headers, sizeof(headers));
    for (uint32_t i = 0; i < BIG_LEN; i++)
        bytes[TCP_HEADERS + i] = (uint8_t)(i * 5 + i / 256);
    bytes[16] = (uint8_t)(ip_len >> 8);
    bytes[17] = (uint8_t)ip_len;
    sum = internet_checksum(bytes + 14, 20, 0);
    bytes[24] = (uint8_t)(sum >> 8);
    bytes[25] = (uint8_t)sum;
    /* The pseudo header's part of the checksum, not complemented: the rest is left to do. */
    sum = (uint16_t)~internet_checksum(bytes + 26, 8, 6 + 20 + BIG_LEN);
    bytes[50] = (uint8_t)(sum >> 8);
    bytes[51] = (uint8_t)sum;
    return TCP_HEADERS + BIG_LEN;
}
