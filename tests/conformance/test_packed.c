/* SPDX-License-Identifier: MIT */
/* Packed rings and IN_ORDER over vhost-user: frames by every shape, ring size and feature, and
 * rings that are reset and come back with another size while frames are on their way. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

#define BASIC  (VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET)
#define MODERN (BASIC | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define PACKED (MODERN | VIRTIO_F_RING_PACKED)

enum {
    RX = 0,
    TX = 1,
    LATER_MS = 50,
};

/* Frames of many lengths, one at a time and then many at once. */
static void traffic(struct testbed_nic *nic)
{
    static const uint32_t len[] = {14, 60, 333, 1514};
    uint8_t frame[1514];
    uint8_t got[NET_FRAME_MAX];
    unsigned burst = nic->ring[RX]->size / 2 < 8 ? nic->ring[RX]->size / 2 : 8;

    for (unsigned i = 0; i < 12; i++)
        testbed_exchange(nic, 0, len[i % 4]);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < burst; i++) {
            net_frame_make(frame, len[i % 4], nic->mac, 100 * round + i);
            net_driver_queue(&nic->net[0], frame, len[i % 4]);
        }
        driver_ring_flush(nic->ring[TX]);
        for (unsigned i = 0; i < burst; i++) {
            int got_len = net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS);

            assert_int_equal(got_len, len[i % 4]);
            net_frame_make(frame, len[i % 4], nic->mac, 100 * round + i);
            assert_memory_equal(got, frame, len[i % 4]);
        }
        net_driver_drain(&nic->net[0]);
    }
}

static void check_format(struct testbed *bed, const char *wanted)
{
    json_t *ring = daemon_inspect(&bed->daemon, "nic0/queues/0/tx_ring");

    assert_string_equal(json_string_value(json_object_get(ring, "format")), wanted);
    json_decref(ring);
}

static void run(void **state, uint64_t features, enum chain_shape shape, int mergeable)
{
    struct testbed_options options = {
        .features = features, .shape = shape, .mergeable = mergeable, .queue_size = 40};
    struct testbed *bed;

    if (!(features & VIRTIO_F_RING_PACKED))
        options.queue_size = 64;
    options.rx_slots = options.queue_size / 2;
    bed = testbed_start(state, &options);
    assert_int_equal(bed->nic[VICTIM].fe.features & features, features);
    check_format(bed, features & VIRTIO_F_RING_PACKED ? "packed" : "split");
    traffic(&bed->nic[VICTIM]);
    testbed_finish(bed);
}

static void PKD_07_direct_lists(void **state)
{
    run(state, PACKED, CHAIN_DIRECT, 0);
}

static void PKD_08_indirect_lists(void **state)
{
    run(state, PACKED, CHAIN_INDIRECT, 0);
}

static void PKD_12_without_event_idx(void **state)
{
    run(state, BASIC | VIRTIO_F_RING_PACKED, CHAIN_DIRECT, 0);
}

static void PKD_10_in_order(void **state)
{
    run(state, PACKED | VIRTIO_F_IN_ORDER, CHAIN_DIRECT, 0);
}

static void PKD_10_in_order_and_mergeable(void **state)
{
    run(state, PACKED | VIRTIO_F_IN_ORDER, CHAIN_INDIRECT, 1);
}

static void SPL_14_in_order(void **state)
{
    run(state, MODERN | VIRTIO_F_IN_ORDER, CHAIN_DIRECT, 0);
}

static void SPL_14_in_order_and_mergeable(void **state)
{
    run(state, MODERN | VIRTIO_F_IN_ORDER, CHAIN_INDIRECT, 1);
}

/* Frames of 60 KB in buffers of 256 bytes: the driver looks for all of them when the first is
 * there.
 */
static void PKD_09_frame_over_many_buffers(void **state)
{
    struct testbed_options options = {.features = PACKED,
                                      .mergeable = 1,
                                      .rx_buffer_len = 256,
                                      .queue_size = 100,
                                      .nic = "mtu=9000,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);

    for (unsigned i = 0; i < 200; i++)
        testbed_exchange(&bed->nic[VICTIM], 0, 14 + i * 44);
    testbed_finish(bed);
}

static void bring_up(void **state, front_end_start_function *start)
{
    struct testbed_options options = {.features = PACKED, .start = start};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    traffic(nic);
    for (unsigned i = 0; i < 3; i++) {
        testbed_disconnect(nic);
        testbed_connect(nic);
        testbed_exchange(nic, 0, 100);
    }
    testbed_finish(bed);
}

static void VU_packed_bring_up_like_dpdk(void **state)
{
    bring_up(state, front_end_start_dpdk);
}

static void VU_packed_bring_up_like_crosvm(void **state)
{
    bring_up(state, front_end_start_crosvm);
}

/* ---- stop, start, other sizes ---- */

/* What a driver does around RING_RESET, as vhost-user shows it: everything in flight is taken back,
 * the ring is made new with another size in the same memory. */
static void ring_start_anew(struct testbed_nic *nic, unsigned vring, unsigned size)
{
    struct driver_ring *ring = nic->ring[vring];

    ring->size = size;
    ring->ops->restart(ring);
    front_end_start_ring(&nic->fe, vring, ring);
}

static void ring_renew(struct testbed_nic *nic, unsigned vring, unsigned size)
{
    front_end_stop_vring(&nic->fe, vring);
    ring_start_anew(nic, vring, size);
}

/* Both rings of a pair, whose driver forgets what was in them. */
static void pair_renew(struct testbed_nic *nic, unsigned pair, unsigned size)
{
    ring_renew(nic, 2 * pair + RX, size);
    ring_renew(nic, 2 * pair + TX, size);
    nic->net[pair].rx_slots = size / 2;
    net_driver_forget(&nic->net[pair]);
    net_driver_post(&nic->net[pair], size / 2);
}

static void PKD_01_ring_sizes(void **state)
{
    static const unsigned size[] = {6, 7, 100, 255, 1000, 1024};
    struct testbed_options options = {
        .features = PACKED, .queue_size = 1024, .nic = "queue-size=1024,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);

    for (unsigned i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        pair_renew(&bed->nic[VICTIM], 0, size[i]);
        traffic(&bed->nic[VICTIM]);
    }
    testbed_finish(bed);
}

/* A ring goes on where it stopped, from every slot and in both laps. */
static void VU_ST_09_packed_ring_goes_on_where_it_stopped(void **state)
{
    struct testbed_options options = {.features = PACKED, .queue_size = 7, .rx_slots = 3};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 30; i++) {
        testbed_exchange(nic, 0, 100 + i);
        assert_int_equal(front_end_stop_vring(&nic->fe, TX),
                         nic->ring[TX]->ops->base(nic->ring[TX]));
        front_end_start_ring(&nic->fe, TX, nic->ring[TX]);
    }
    testbed_finish(bed);
}

/* Frames on their way in pair `pair`, which nobody waits for. */
static void frames_send(struct testbed_nic *nic, unsigned pair, unsigned count)
{
    uint8_t frame[300];

    for (unsigned i = 0; i < count; i++) {
        net_frame_make(frame, sizeof(frame), nic->mac, ++nic->seed);
        net_driver_queue(&nic->net[pair], frame, sizeof(frame));
    }
    driver_ring_flush(nic->ring[2 * pair + TX]);
}

static void frames_receive(struct testbed_nic *nic, unsigned pair, unsigned count)
{
    uint8_t got[NET_FRAME_MAX];

    while (count-- != 0)
        assert_int_equal(net_driver_receive(&nic->net[pair], got, sizeof(got), WAIT_LONG_MS), 300);
    net_driver_drain(&nic->net[pair]);
}

/* The receive ring alone, while frames are being sent: some are dropped while it is stopped, some
 * wait for the new ring's buffers. */
static void receive_ring_renew(struct testbed_nic *nic, unsigned size)
{
    struct net_driver *net = &nic->net[0];
    uint8_t got[NET_FRAME_MAX];

    ring_renew(nic, RX, size);
    for (net->rx_free_count = 0; net->rx_free_count < size; net->rx_free_count++)
        net->rx_free[net->rx_free_count] = net->rx_free_count;
    net_driver_post(net, size);
    net_driver_drain(net);
    /* A frame may be shown a little later than the completion of its sending. */
    while (net_driver_receive(net, got, sizeof(got), LATER_MS) >= 0)
        ;
}

/* 256 -> 64 -> 256 with frames in flight, in turn in the ring that is reset and in its sibling; the
 * other pair loses nothing meanwhile. */
static void resize_under_traffic(void **state, uint64_t features)
{
    struct testbed_options options = {.features = features, .pairs = 2, .queue_size = 256};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 60; i++) {
        unsigned size = i % 2 == 0 ? 64 : 256;

        frames_send(nic, 1, 10);
        frames_send(nic, 0, 1 + i % 20);
        if (i % 3 == 0)
            receive_ring_renew(nic, size);
        else
            pair_renew(nic, 0, size);
        frames_send(nic, 1, 10);
        testbed_exchange(nic, 0, 200 + i);
        frames_receive(nic, 1, 20);
    }
    testbed_finish(bed);
}

static void GEN_QR_02_resize_under_traffic_split(void **state)
{
    resize_under_traffic(state, MODERN);
}

static void GEN_QR_02_resize_under_traffic_split_in_order(void **state)
{
    resize_under_traffic(state, MODERN | VIRTIO_F_IN_ORDER);
}

static void GEN_QR_02_resize_under_traffic_packed(void **state)
{
    resize_under_traffic(state, PACKED);
}

static void GEN_QR_02_resize_under_traffic_packed_in_order(void **state)
{
    resize_under_traffic(state, PACKED | VIRTIO_F_IN_ORDER);
}

/* GET_VRING_BASE is the end: the ring's memory stays as it is, and the call eventfd is silent. */
static void GEN_QR_01_stopped_packed_ring_is_left_alone(void **state)
{
    struct testbed_options options = {.features = PACKED, .queue_size = 64};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t before[2][64 * PACKED_SLOT_LEN];

    for (unsigned i = 0; i < 10; i++)
        testbed_exchange(nic, 0, 100);
    for (unsigned vring = RX; vring <= TX; vring++) {
        front_end_stop_vring(&nic->fe, vring);
        memcpy(before[vring], guest_ram_at(&nic->ram, nic->ring[vring]->desc_area, 64 * 16),
               sizeof(before[vring]));
        wait_eventfd(nic->ring[vring]->call_fd, 0);
    }
    for (unsigned i = 0; i < 20; i++)
        driver_ring_kick(nic->ring[TX]);
    sleep_ms(WAIT_QUIET_MS);
    for (unsigned vring = RX; vring <= TX; vring++) {
        assert_memory_equal(guest_ram_at(&nic->ram, nic->ring[vring]->desc_area, 64 * 16),
                            before[vring], sizeof(before[vring]));
        assert_int_equal(wait_eventfd(nic->ring[vring]->call_fd, 0), 0);
    }
    daemon_check_idle(&bed->daemon);
    pair_renew(nic, 0, 64);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(PKD_07_direct_lists),
        TESTBED_TEST(PKD_08_indirect_lists),
        TESTBED_TEST(PKD_12_without_event_idx),
        TESTBED_TEST(PKD_10_in_order),
        TESTBED_TEST(PKD_10_in_order_and_mergeable),
        TESTBED_TEST(SPL_14_in_order),
        TESTBED_TEST(SPL_14_in_order_and_mergeable),
        TESTBED_TEST(PKD_09_frame_over_many_buffers),
        TESTBED_TEST(VU_packed_bring_up_like_dpdk),
        TESTBED_TEST(VU_packed_bring_up_like_crosvm),
        TESTBED_TEST(PKD_01_ring_sizes),
        TESTBED_TEST(VU_ST_09_packed_ring_goes_on_where_it_stopped),
        TESTBED_TEST(GEN_QR_02_resize_under_traffic_split),
        TESTBED_TEST(GEN_QR_02_resize_under_traffic_split_in_order),
        TESTBED_TEST(GEN_QR_02_resize_under_traffic_packed),
        TESTBED_TEST(GEN_QR_02_resize_under_traffic_packed_in_order),
        TESTBED_TEST(GEN_QR_01_stopped_packed_ring_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
