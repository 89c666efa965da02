/* SPDX-License-Identifier: MIT */
#include "kinds.h"

#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "check.h"
#include "host.h"

/* Offers one frame until it is taken, which may need the guest to receive in between. */
static void send_one(struct guest *guest, struct test_frame *frame)
{
    guest_send(guest, &frame->frame, 1);
    test_frame_free(frame);
}

static void provoke_by_sending(struct guest *guest, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct test_frame frame;

        test_frame_make(&frame, 300, 1, i);
        send_one(guest, &frame);
    }
}

static void provoke_nothing(struct guest *guest, unsigned count)
{
    (void)guest;
    (void)count;
}

static void provoke_from_host(struct guest *guest, unsigned count)
{
    int fd = host_socket("contract0", TEST_ETHERTYPE, HOST_PLAIN);
    uint8_t bytes[300];

    (void)guest;
    for (unsigned i = 0; i < count; i++) {
        test_frame_fill(bytes, sizeof(bytes), i);
        host_send(fd, bytes, sizeof(bytes));
    }
    close(fd);
}

#ifdef TEST_HAVE_USER
/* Who has 10.0.2.2? The gateway answers each time. */
static void provoke_by_arp(struct guest *guest, unsigned count)
{
    static const uint8_t request[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0,    0,  1, 0x08, 0x06,
        0,    1,    0x08, 0,    6,    4,    0,    1,    0x52, 0x54, 0,  0, 0,    1,
        10,   0,    2,    15,   0,    0,    0,    0,    0,    0,    10, 0, 2,    2,
    };

    for (unsigned i = 0; i < count; i++) {
        struct test_frame frame;

        test_frame_from(&frame, request, sizeof(request), 1);
        send_one(guest, &frame);
    }
}
#endif

const struct kind kinds[] = {
    {"null", "null", KIND_SILENT, FRAME_LEN_MAX, NULL},
    {"null-generate", "null:generate=300", KIND_ENDLESS, FRAME_LEN_MAX, provoke_nothing},
    {"null-rate", "null:generate=300,rate=2000", KIND_ENDLESS, FRAME_LEN_MAX, provoke_nothing},
    {"loopback", "loopback", KIND_ECHOES, FRAME_LEN_MAX, provoke_by_sending},
    {"tap", "tap:ifname=contract0", KIND_NEEDS_ETHERNET, 1514, provoke_from_host},
#ifdef TEST_HAVE_USER
    {"user", "user", 0, 1514, provoke_by_arp},
#endif
};

const unsigned kind_count = ARRAY_COUNT(kinds);
