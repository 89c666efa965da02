/* SPDX-License-Identifier: MIT */
#include "addressed_frames.h"

#include <string.h>

#include "check.h"
#include "clockwork.h"

static uint8_t sent[NET_FRAME_MAX], got[NET_FRAME_MAX];

void frame_make(uint8_t *frame, uint32_t len, const uint8_t to[6], const uint8_t from[6],
                uint32_t seed)
{
    net_frame_make(frame, len, to, seed);
    memcpy(frame + 6, from, 6);
}

void frame_send(struct testbed_nic *nic, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                uint32_t seed)
{
    while (nic->net[0].tx_free_count < 2)
        net_driver_reap(&nic->net[0]);
    frame_make(sent, len, to, from, seed);
    net_driver_send(&nic->net[0], sent, len);
}

void frame_expect(struct testbed_nic *nic, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                  uint32_t seed)
{
    int got_len = net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS);

    check(got_len >= 0, "frame %u of %u bytes did not come to nic%u", seed, len, nic->index);
    assert_int_equal(got_len, len);
    frame_make(sent, len, to, from, seed);
    assert_memory_equal(got, sent, len);
}

void frame_expect_none(struct testbed_nic *nic)
{
    check(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_QUIET_MS) < 0,
          "nic%u got a frame that is not for it", nic->index);
}
