/* SPDX-License-Identifier: MIT */
#include "counted.h"

#include <string.h>

#include "check.h"
#include "clockwork.h"

enum {
    FRAME_MIN = 60,
    FRAME_STEP = 37,
    FRAMES_ON_THE_WAY = 12, /* in each pair */
};

static uint32_t frame_of(const struct counted *pair, uint32_t number, uint8_t *ret_frame)
{
    uint32_t len = FRAME_MIN + number * FRAME_STEP % 1400;

    net_frame_make(ret_frame, len, pair->nic->mac, number * 8 + pair->pair);
    return len;
}

static void pair_fill(struct counted *pair)
{
    uint8_t frame[NET_FRAME_MAX];

    net_driver_reap(&pair->nic->net[pair->pair]);
    while (pair->sent - pair->received < FRAMES_ON_THE_WAY &&
           pair->nic->net[pair->pair].tx_free_count > 1) {
        uint32_t len = frame_of(pair, pair->sent++, frame);

        net_driver_send(&pair->nic->net[pair->pair], frame, len);
    }
}

/* Each frame that was sent comes back once, in its turn, byte for byte. */
static void pair_take(struct counted *pair, int timeout_ms)
{
    uint8_t expected[NET_FRAME_MAX], got[NET_FRAME_MAX];
    struct net_driver *net = &pair->nic->net[pair->pair];
    int len = net_driver_receive(net, got, sizeof(got), timeout_ms);

    if (len < 0) {
        check(timeout_ms == 0, "frame %u of pair %u is lost", pair->received, pair->pair);
        return;
    }
    check(pair->received < pair->sent, "a frame came that was not sent");
    assert_int_equal(len, frame_of(pair, pair->received++, expected));
    assert_memory_equal(got, expected, (size_t)len);
}

void counted_fill(struct counted *pairs, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pair_fill(&pairs[i]);
}

void counted_run(struct counted *pairs, unsigned count, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < count; i++) {
            pair_fill(&pairs[i]);
            pair_take(&pairs[i], 0);
        }
    }
}

void counted_drain(struct counted *pairs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        while (pairs[i].received < pairs[i].sent)
            pair_take(&pairs[i], WAIT_LONG_MS);
        net_driver_drain(&pairs[i].nic->net[pairs[i].pair]);
    }
}

unsigned counted_begin(struct testbed *bed, struct counted *pairs)
{
    unsigned count = 0;

    for (unsigned n = 0; n < 2; n++) {
        for (unsigned i = 0; i < bed->nic[n].options.pairs; i++)
            pairs[count++] = (struct counted){.nic = &bed->nic[n], .pair = i};
    }
    return count;
}
