/* SPDX-License-Identifier: MIT */
/* Where a ring stands when it stops, so that another back-end goes on with it. */
#include "check.h"
#include "clockwork.h"
#include "testbed.h"

#define USUAL (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

enum {
    RX = 0,
    TX = 1,
};

/* Frames that the device holds when the ring stops, because the guest gave no room for them, are
 * not counted as taken; they go out when it goes on. */
static void check_held(void **state, uint64_t features, uint32_t base_of_4)
{
    struct testbed_options options = {.features = features, .rx_unposted = 1};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[100];
    uint32_t base;

    net_driver_post(&nic->net[0], 4);
    for (unsigned i = 0; i < 10; i++) {
        net_frame_make(frame, sizeof(frame), nic->mac, i);
        net_driver_queue(&nic->net[0], frame, sizeof(frame));
    }
    driver_ring_flush(nic->ring[TX]);
    daemon_wait_number(&bed->daemon, "nic0/queues/0/rx_packets", 4);
    daemon_check_idle(&bed->daemon);
    base = front_end_stop_vring(&nic->fe, TX);
    check(base == base_of_4, "the base is 0x%x, not 0x%x", base, base_of_4);
    assert_int_equal(front_end_stop_vring(&nic->fe, TX), base);
    net_driver_post(&nic->net[0], 60);
    daemon_check_idle(&bed->daemon);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/rx_packets"), 4);

    assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, TX, base), 0);
    assert_int_equal(front_end_set_vring_kick(&nic->fe, TX), 0);
    assert_int_equal(front_end_set_vring_call(&nic->fe, TX), 0);
    nic->ring[TX]->kick_fd = nic->fe.vring[TX].kick_fd;
    nic->ring[TX]->call_fd = nic->fe.vring[TX].call_fd;
    for (unsigned i = 0; i < 10; i++) {
        uint8_t got[sizeof(frame)];

        net_frame_make(frame, sizeof(frame), nic->mac, i);
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS),
                         sizeof(frame));
        assert_memory_equal(got, frame, sizeof(frame));
    }
    net_driver_drain(&nic->net[0]);
    testbed_finish(bed);
}

static void VU_ST_02_base_with_frames_held(void **state)
{
    check_held(state, USUAL, 4);
}

/* Two slots a frame: header and data. */
static void VU_ST_02_base_with_frames_held_packed(void **state)
{
    check_held(state, USUAL | VIRTIO_F_RING_PACKED, 0x80088008);
}

/* QEMU 7.2 ends with status 0, and asks for the bases then. What is not asked begins anew. */
static void check_base_after_reset(void **state, uint64_t features, const uint32_t base[2])
{
    struct testbed_options options = {.features = features};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 5; i++)
        testbed_exchange(nic, 0, 100);
    assert_int_equal(front_end_set_status(&nic->fe, 0), 0);
    assert_int_equal(front_end_stop_vring(&nic->fe, RX), base[RX]);
    assert_int_equal(front_end_stop_vring(&nic->fe, TX), base[TX]);
    assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, TX, 3), 0);
    assert_int_equal(front_end_stop_vring(&nic->fe, TX), 3);
    testbed_finish_anew(bed);
}

static void VU_ST_02_base_after_status_0(void **state)
{
    check_base_after_reset(state, USUAL, (const uint32_t[]){5, 5});
}

static void VU_ST_02_base_after_status_0_packed(void **state)
{
    check_base_after_reset(state, USUAL | VIRTIO_F_RING_PACKED,
                           (const uint32_t[]){0x80058005, 0x800a800a});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_ST_02_base_with_frames_held),
        TESTBED_TEST(VU_ST_02_base_with_frames_held_packed),
        TESTBED_TEST(VU_ST_02_base_after_status_0),
        TESTBED_TEST(VU_ST_02_base_after_status_0_packed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
