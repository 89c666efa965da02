/* SPDX-License-Identifier: MIT */
/* Where a guest is: the frame that a front-end has sent for it, and the announcement that a driver
 * is asked for after it has arrived. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "stream_bed.h"

#define USUAL          (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define NET_STATUS     (1ull << 16)
#define GUEST_ANNOUNCE (1ull << 21)

enum {
    RX = 0,
    TX = 1,
    CONTROL_RING = 2,
    RARP_LEN = 60,
    AT_ONCE = 8,
    STATUS_OFFSET = 6, /* virtio 1.4, 5.1.4 */
    ANNOUNCE = 2,
    WAIT_REFILL_MS = 150,
};

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};

static int send_rarp(struct testbed_nic *nic, const uint8_t mac[6])
{
    uint64_t word = 0;

    memcpy(&word, mac, 6);
    return front_end_set_u64(&nic->fe, VU_SEND_RARP, word);
}

/* RFC 903, as switches know it from QEMU. */
static void expect_rarp(struct testbed_nic *nic, const uint8_t mac[6])
{
    static const uint8_t middle[10] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
    uint8_t expected[RARP_LEN] = {0}, got[NET_FRAME_MAX];

    memset(expected, 0xff, 6);
    memcpy(expected + 6, mac, 6);
    memcpy(expected + 12, middle, sizeof(middle));
    memcpy(expected + 22, mac, 6);
    memcpy(expected + 32, mac, 6);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), RARP_LEN);
    assert_memory_equal(got, expected, RARP_LEN);
}

static void VU_RARP_01_frame_goes_out_of_running_and_stopped_rings(void **state)
{
    struct testbed *bed = stream_bed_start(state, &(struct testbed_options){.pf = 0});
    struct testbed_nic *near = &bed->nic[NEAR];

    assert_int_equal(send_rarp(near, guest_mac), 0);
    expect_rarp(&bed->nic[FAR], guest_mac);
    front_end_stop_vring(&near->fe, RX);
    assert_int_equal(send_rarp(near, near->mac), 0);
    expect_rarp(&bed->nic[FAR], near->mac);
    front_end_stop_vring(&near->fe, TX);
    assert_int_equal(send_rarp(near, guest_mac), 0);
    expect_rarp(&bed->nic[FAR], guest_mac);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/rarp/sent"), 3);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_packets"), 0);
    stream_bed_finish(bed);
}

static void VU_RARP_01_addresses_of_no_card_are_refused(void **state)
{
    static const uint8_t bad[][6] = {
        {0}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {1, 0, 0x5e, 0, 0, 1}};
    struct testbed *bed = stream_bed_start(state, &(struct testbed_options){.pf = 0});

    for (unsigned i = 0; i < 3; i++)
        assert_true(send_rarp(&bed->nic[NEAR], bad[i]) > 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/rarp/sent"), 0);
    stream_bed_finish(bed);
}

static void VU_RARP_01_only_where_it_was_agreed_on(void **state)
{
    struct testbed *bed =
        stream_bed_start(state, &(struct testbed_options){.pf = ~(VU_PF_INBAND | VU_PF_RARP)});

    assert_true(send_rarp(&bed->nic[NEAR], guest_mac) > 0);
    stream_bed_finish(bed);
}

static void VU_RARP_01_flood_is_limited(void **state)
{
    struct testbed *bed = stream_bed_start(state, &(struct testbed_options){.pf = 0});
    uint64_t sent, begin = now_ms();

    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(send_rarp(&bed->nic[NEAR], guest_mac), 0);
    sent = daemon_number(&bed->daemon, "nic0/vhost_user/rarp/sent");
    assert_in_range(sent, AT_ONCE, AT_ONCE + (now_ms() - begin) / 100 + 1);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/rarp/limited"), 1000 - sent);
    for (unsigned i = 0; i < sent; i++)
        expect_rarp(&bed->nic[FAR], guest_mac);
    sleep_ms(WAIT_REFILL_MS);
    assert_int_equal(send_rarp(&bed->nic[NEAR], guest_mac), 0);
    expect_rarp(&bed->nic[FAR], guest_mac);
    stream_bed_finish(bed);
}

/* An endpoint that delivers while it sends. */
static void VU_RARP_01_frame_that_comes_back(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    assert_int_equal(send_rarp(nic, guest_mac), 0);
    expect_rarp(nic, guest_mac);
    front_end_stop_vring(&nic->fe, RX);
    assert_int_equal(send_rarp(nic, guest_mac), 0);
    testbed_finish(bed);
}

static void VU_RARP_01_link_that_is_down_carries_none(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    char refusal[512];

    assert_true(daemon_set(&bed->daemon, "nic0.link", "down", refusal));
    assert_int_equal(send_rarp(&bed->nic[VICTIM], guest_mac), 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/rarp/unsent"), 1);
    testbed_finish(bed);
}

/* ---- the guest's own word ------------------------------------------------------------------ */

static unsigned config_status(struct testbed_nic *nic)
{
    uint8_t config[12];

    assert_int_equal(front_end_get_config(&nic->fe, 0, sizeof(config), config), sizeof(config));
    return config[STATUS_OFFSET];
}

static struct testbed *start_commanding(void **state, uint64_t features, uint16_t start_idx)
{
    struct testbed_options options = {.nic = "queues=1,endpoint=loopback",
                                      .features = USUAL | features,
                                      .control = 1,
                                      .start_idx = start_idx,
                                      .start = front_end_start_crosvm};

    return testbed_start(state, &options);
}

/* Rings that go on where they were left elsewhere: the driver is asked, once, and answers. */
static void CTL_ANN_01_driver_that_arrives_is_asked(void **state)
{
    static const uint8_t ack[] = {3, 0};
    struct testbed *bed = start_commanding(state, NET_STATUS | GUEST_ANNOUNCE, 100);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct control_driver control;

    assert_true(config_status(nic) & ANNOUNCE);
    control_driver_init(&control, nic->ring[CONTROL_RING], 0);
    assert_int_equal(control_driver_ask(&control, ack, sizeof(ack)), CONTROL_ACK_OK);
    assert_false(config_status(nic) & ANNOUNCE);
    testbed_cycle_vring(nic, TX, 200); /* stop and go is no arrival */
    assert_false(config_status(nic) & ANNOUNCE);
    testbed_finish(bed);
}

static void CTL_ANN_01_new_driver_is_not_asked(void **state)
{
    struct testbed *bed = start_commanding(state, NET_STATUS | GUEST_ANNOUNCE, 0);

    testbed_exchange(&bed->nic[VICTIM], 0, 100);
    assert_false(config_status(&bed->nic[VICTIM]) & ANNOUNCE);
    testbed_finish(bed);
}

static void CTL_ANN_01_driver_that_does_not_know_how_is_not_asked(void **state)
{
    struct testbed *bed = start_commanding(state, NET_STATUS, 100);

    assert_false(config_status(&bed->nic[VICTIM]) & ANNOUNCE);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_RARP_01_frame_goes_out_of_running_and_stopped_rings),
        TESTBED_TEST(VU_RARP_01_addresses_of_no_card_are_refused),
        TESTBED_TEST(VU_RARP_01_only_where_it_was_agreed_on),
        TESTBED_TEST(VU_RARP_01_flood_is_limited),
        TESTBED_TEST(VU_RARP_01_frame_that_comes_back),
        TESTBED_TEST(VU_RARP_01_link_that_is_down_carries_none),
        TESTBED_TEST(CTL_ANN_01_driver_that_arrives_is_asked),
        TESTBED_TEST(CTL_ANN_01_new_driver_is_not_asked),
        TESTBED_TEST(CTL_ANN_01_driver_that_does_not_know_how_is_not_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
