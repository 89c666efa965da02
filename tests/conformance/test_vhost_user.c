/* SPDX-License-Identifier: MIT */
/* The vhost-user protocol as it should be spoken: wire, protocol features, the ring's states. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

enum {
    RX = 0,
    TX = 1,
};

static struct testbed *bed_connected(void **state)
{
    struct testbed *bed = testbed_start_daemon(state, NULL);

    testbed_connect(&bed->nic[BYSTANDER]);
    front_end_connect(&bed->nic[VICTIM].fe, bed->nic[VICTIM].socket);
    return bed;
}

static struct testbed *bed_acknowledging(void **state)
{
    struct testbed *bed = bed_connected(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(front_end_get_features(fe), 0);
    assert_int_equal(front_end_set_protocol_features(fe, VU_PF_REPLY_ACK | VU_PF_MQ), 0);
    return bed;
}

/* ---- the wire ---- */

static void VU_HDR_01_replies_have_version_and_reply_bit_alone(void **state)
{
    struct testbed *bed = bed_acknowledging(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    struct vu_message message = vu_message(VU_GET_FEATURES, NULL, 0);

    message.flags = VU_VERSION | VU_NEED_REPLY;
    assert_int_equal(front_end_send(fe, &message), 0);
    assert_int_equal(front_end_receive(fe, &message), 0);
    assert_int_equal(message.request, VU_GET_FEATURES);
    assert_int_equal(message.flags, VU_VERSION | VU_REPLY);
    assert_int_equal(message.size, 8);
    assert_int_equal(message.fd_count, 0);
    /* a message with a reply of its own gets only that one (VU-HDR-07) */
    assert_int_equal(front_end_get_features(fe), 0);
    testbed_finish(bed);
}

static void VU_HDR_02_messages_in_pieces_and_joined(void **state)
{
    struct testbed *bed = bed_connected(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    uint32_t bytes[8] = {VU_GET_FEATURES, VU_VERSION, 0, VU_GET_PROTOCOL_FEATURES,
                         VU_VERSION,      0,          0, 0};
    struct vu_message reply;

    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(front_end_send_bytes(fe, (uint8_t *)bytes + i, 1), 0);
        sleep_ms(1);
    }
    assert_int_equal(front_end_receive(fe, &reply), 0);
    assert_int_equal(reply.request, VU_GET_FEATURES);
    assert_int_equal(front_end_send_bytes(fe, bytes, 24), 0);
    assert_int_equal(front_end_receive(fe, &reply), 0);
    assert_int_equal(reply.request, VU_GET_FEATURES);
    assert_int_equal(front_end_receive(fe, &reply), 0);
    assert_int_equal(reply.request, VU_GET_PROTOCOL_FEATURES);
    testbed_finish(bed);
}

static void VU_HDR_03_wrong_version_and_reply_bit_close(void **state)
{
    static const uint32_t flags[] = {0, 2, 3, VU_VERSION | VU_REPLY};
    struct testbed *bed = bed_connected(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    for (unsigned i = 0; i < 4; i++) {
        struct vu_message message = vu_message(VU_GET_FEATURES, NULL, 0);

        message.flags = flags[i];
        assert_int_equal(front_end_send(fe, &message), 0);
        check(front_end_is_closed(fe, WAIT_LONG_MS), "flags 0x%x were accepted", flags[i]);
        front_end_connect(fe, bed->nic[VICTIM].socket);
    }
    testbed_finish(bed);
}

static void VU_HDR_03_unknown_flag_bits_are_ignored(void **state)
{
    struct testbed *bed = bed_connected(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    struct vu_message message = vu_message(VU_GET_FEATURES, NULL, 0);

    message.flags = VU_VERSION | 0xfffffff0;
    assert_int_equal(front_end_send(fe, &message), 0);
    assert_int_equal(front_end_receive(fe, &message), 0);
    assert_int_equal(message.flags, VU_VERSION | VU_REPLY);
    testbed_finish(bed);
}

static void VU_HDR_06_unknown_requests_do_not_desync(void **state)
{
    static const uint32_t request[] = {0, 26, 27, 33, 41, 44, 45, 100, 0x7fffffff, UINT32_MAX};
    struct testbed *bed = bed_acknowledging(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    uint8_t payload[100] = {0};

    for (unsigned i = 0; i < sizeof(request) / sizeof(request[0]); i++) {
        struct vu_message message = vu_message(request[i], payload, sizeof(payload));

        assert_int_equal(front_end_send(fe, &message), 0); /* wants no answer: skipped */
        assert_int_equal(front_end_get_features(fe), 0);
        check(front_end_request(fe, &message, 0) > 0, "request %u", request[i]);
    }
    testbed_finish(bed);
}

static void VU_HDR_07_need_reply_without_agreement_is_ignored(void **state)
{
    struct testbed *bed = bed_connected(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    struct vu_message message = vu_message(VU_SET_OWNER, NULL, 0);

    message.flags = VU_VERSION | VU_NEED_REPLY;
    assert_int_equal(front_end_send(fe, &message), 0);
    assert_int_equal(front_end_get_features(fe), 0); /* the next reply belongs to this */
    testbed_finish(bed);
}

static void VU_HDR_05_memory_table_may_be_longer_than_needed(void **state)
{
    struct testbed *bed = bed_acknowledging(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t table[1 + 8 * 4] = {1, nic->ram.region[0].gpa, nic->ram.region[0].size,
                                 nic->ram.region[0].uva, nic->ram.region[0].offset};
    struct vu_message message = vu_message(VU_SET_MEM_TABLE, table, sizeof(table));

    vu_message_add_fd(&message, nic->ram.region[0].fd);
    assert_int_equal(front_end_request(&nic->fe, &message, 0), 0);
    testbed_finish(bed);
}

/* ---- protocol features, queue count ---- */

static void VU_PF_01_offered_protocol_features(void **state)
{
    struct testbed *bed = bed_connected(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    const uint64_t always = VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_MTU | VU_PF_BACKEND_REQ |
                            VU_PF_CONFIG | VU_PF_RESET_DEVICE | VU_PF_CONFIGURE_MEM_SLOTS |
                            VU_PF_STATUS | VU_PF_CROSS_ENDIAN;
    const uint64_t never =
        VU_PF_INBAND | (3ull << 7) | (1ull << 11) | (1ull << 17) | (1ull << 18) | (~0ull << 20);

    assert_int_equal(front_end_get_protocol_features(fe), 0); /* before any SET_FEATURES */
    assert_true((always & ~fe->pf_offered) == 0);
    assert_true((never & fe->pf_offered) == 0);
    testbed_finish(bed);
}

static void VU_PF_02_unoffered_protocol_features_are_refused(void **state)
{
    struct testbed *bed = bed_acknowledging(state);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(front_end_get_protocol_features(fe), 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        if (!(fe->pf_offered & (1ull << bit)))
            check(front_end_set_protocol_features(fe, VU_PF_REPLY_ACK | (1ull << bit)) > 0,
                  "bit %u", bit);
    }
    assert_int_equal(front_end_get_features(fe), 0);
    testbed_finish(bed);
}

static void VU_MQ_01_queue_num_counts_rings_or_pairs(void **state)
{
    static const char *const nic[] = {"endpoint=loopback", "queues=2,endpoint=loopback",
                                      "queues=8,queue-unit=rings,endpoint=loopback",
                                      "queues=8,queue-unit=pairs,endpoint=loopback"};
    static const uint64_t units[] = {3, 5, 17, 8}; /* the control queue is a ring */

    for (unsigned i = 0; i < 4; i++) {
        struct testbed_options options = {.nic = nic[i]};
        struct testbed *bed = testbed_start_daemon(state, &options);
        uint64_t count = 0;

        front_end_connect(&bed->nic[VICTIM].fe, bed->nic[VICTIM].socket);
        assert_int_equal(front_end_get_u64(&bed->nic[VICTIM].fe, VU_GET_QUEUE_NUM, &count), 0);
        assert_int_equal(count, units[i]);
        testbed_connect(&bed->nic[BYSTANDER]);
        testbed_finish(bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

/* ---- the state of a ring ---- */

static void enable(struct testbed_nic *nic, uint32_t ring, uint32_t value)
{
    assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_ENABLE, ring, value), 0);
}

static void VU_ST_02_get_vring_base_finishes_and_lets_go(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint16_t used;

    for (unsigned i = 0; i < 7; i++)
        testbed_exchange(nic, 0, 100);
    assert_int_equal(front_end_stop_vring(&nic->fe, TX), 7);
    used = driver_split_used_idx(testbed_tx(nic, 0));
    assert_int_equal(used, 7);
    testbed_send(nic, 100); /* its kick goes nowhere */
    testbed_expect_silence(nic, 0);
    assert_int_equal(driver_split_used_idx(testbed_tx(nic, 0)), used);
    assert_int_equal(front_end_stop_vring(&nic->fe, TX), 7); /* VU-SEC-08: a second stop */
    assert_int_equal(front_end_stop_vring(&nic->fe, RX), 7);
    testbed_finish(bed);
}

/* A disabled ring is not touched: User Mode Linux frees it without ever stopping it. What was sent
 * before is sent, what is sent meanwhile waits. */
static void VU_ST_03_disabled_rings(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint16_t used, event;

    enable(nic, TX, 0);
    used = driver_split_used_idx(tx);
    event = driver_split_avail_event(tx);
    for (unsigned i = 0; i < 5; i++)
        testbed_send(nic, 100);
    testbed_expect_silence(nic, 0);
    assert_int_equal(driver_split_used_idx(tx), used);
    assert_int_equal(driver_split_avail_event(tx), event);
    enable(nic, TX, 1);
    net_driver_drain(&nic->net[0]);
    for (unsigned i = 0; i < 5; i++)
        testbed_receive(nic, 100);
    testbed_exchange(nic, 0, 100);
    enable(nic, RX, 0);
    testbed_send(nic, 100);
    net_driver_drain(&nic->net[0]);
    testbed_expect_silence(nic, 0);
    enable(nic, RX, 1);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void VU_ST_04_without_bit_30_rings_are_enabled_at_once(void **state)
{
    struct testbed_options options = {.features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX,
                                      .start = front_end_start_crosvm};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct front_end *fe = &nic->fe;

    front_end_connect(fe, nic->socket);
    assert_int_equal(front_end_get_features(fe), 0);
    assert_int_equal(front_end_simple(fe, VU_SET_OWNER), 0);
    fe->offered &= ~VHOST_F_PROTOCOL_FEATURES; /* this front-end does not know it */
    assert_int_equal(front_end_set_features(fe, nic->options.features), 0);
    assert_int_equal(front_end_set_mem_table(fe, &nic->ram), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_NUM, i, 64), 0);
        assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_BASE, i, 0), 0);
        assert_int_equal(front_end_set_vring_addr(fe, i, &nic->vring[i]), 0);
        assert_int_equal(front_end_set_vring_kick(fe, i), 0);
        assert_int_equal(front_end_set_vring_call(fe, i), 0);
    }
    front_end_bind(fe, &nic->setup);
    net_driver_post(&nic->net[0], 64);
    testbed_exchange(nic, 0, 100);
    testbed_connect(&bed->nic[BYSTANDER]);
    testbed_finish(bed);
}

static void VU_ST_06_frames_published_before_the_start_are_not_lost(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);

    testbed_exchange(nic, 0, 100);
    front_end_stop_vring(&nic->fe, TX);
    driver_split_restart(tx, 0);
    net_driver_forget(&nic->net[0]);
    nic->net[0].rx_free_count = 0;
    {
        uint8_t frame[100];

        net_frame_make(frame, sizeof(frame), nic->mac, 100);
        net_driver_queue(&nic->net[0], frame, sizeof(frame));
        tx->ring.ops->publish(&tx->ring);
    }
    front_end_start_vring(&nic->fe, TX, tx); /* no kick follows */
    testbed_receive(nic, 100);
    net_driver_drain(&nic->net[0]);
    testbed_finish(bed);
}

static void VU_ST_07_call_and_err_fds_change_on_a_live_ring(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 20; i++) {
        struct driver_split *rx = testbed_rx(nic, 0);

        assert_int_equal(front_end_set_vring_call(&nic->fe, RX), 0);
        assert_int_equal(front_end_set_vring_err(&nic->fe, RX), 0);
        rx->ring.call_fd = nic->fe.vring[RX].call_fd;
        wait_eventfd(rx->ring.call_fd, 0);
        rx->ring.ops->interrupts(&rx->ring, INTERRUPTS_ON);
        testbed_send(nic, 100);
        assert_true(wait_eventfd(rx->ring.call_fd, WAIT_LONG_MS) > 0);
        testbed_receive(nic, 100);
        net_driver_drain(&nic->net[0]);
    }
    testbed_finish(bed);
}

static void VU_ST_07_ring_without_a_call_fd(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct vu_message message = vu_message_u64(VU_SET_VRING_CALL, RX | VU_NO_FD);

    assert_int_equal(front_end_request(&nic->fe, &message, 0), 0);
    for (unsigned i = 0; i < 10; i++)
        testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void VU_ST_08_rings_stop_and_start_one_by_one(void **state)
{
    struct testbed_options options = {.pairs = 2};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 30; i++) {
        testbed_cycle_vring(nic, TX, (uint16_t)(i * 1000));
        testbed_exchange(nic, 0, 100);
        testbed_exchange(nic, 1, 100);
        testbed_cycle_vring(nic, RX, (uint16_t)(0xfff0 + i));
        nic->net[0].rx_free_count = 0;
        for (unsigned slot = 0; slot < nic->net[0].rx_slots; slot++)
            nic->net[0].rx_free[nic->net[0].rx_free_count++] = slot;
        net_driver_post(&nic->net[0], 64);
        testbed_exchange(nic, 0, 100);
        testbed_exchange(nic, 1, 100);
    }
    testbed_finish(bed);
}

/* The ring stops, keeps its memory, and goes on at the base that GET_VRING_BASE told. */
static void VU_ST_09_restart_from_the_base(void **state)
{
    struct testbed_options options = {.start_idx = 0xfffa};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned round = 0; round < 10; round++) {
        for (unsigned ring = 0; ring < 2; ring++) {
            struct driver_split *split = &nic->vring[ring];
            uint32_t base = front_end_stop_vring(&nic->fe, ring);

            assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_NUM, ring, 64), 0);
            assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, ring, base), 0);
            assert_int_equal(front_end_set_vring_addr(&nic->fe, ring, split), 0);
            assert_int_equal(front_end_set_vring_kick(&nic->fe, ring), 0);
            assert_int_equal(front_end_set_vring_call(&nic->fe, ring), 0);
            split->ring.kick_fd = nic->fe.vring[ring].kick_fd;
            split->ring.call_fd = nic->fe.vring[ring].call_fd;
        }
        testbed_exchange(nic, 0, 100 + round);
        testbed_exchange(nic, 0, 200 + round);
    }
    testbed_finish(bed);
}

/* No kick fd: the ring is polled (VU-ST-01), and left alone once it is stopped. */
static void VU_ST_01_ring_without_a_kick_fd_is_polled(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    struct vu_message message = vu_message_u64(VU_SET_VRING_KICK, TX | VU_NO_FD);
    uint8_t frame[100];

    assert_int_equal(front_end_request(&nic->fe, &message, 0), 0);
    for (unsigned i = 0; i < 10; i++) {
        net_frame_make(frame, sizeof(frame), nic->mac, 100);
        net_driver_queue(&nic->net[0], frame, sizeof(frame));
        tx->ring.ops->publish(&tx->ring);
        testbed_receive(nic, 100);
        net_driver_drain(&nic->net[0]);
        sleep_ms(5 * i);
    }
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    front_end_stop_vring(&nic->fe, TX);
    testbed_finish(bed);
}

static void VU_ST_11_reset_device_keeps_connection_and_memory(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t status;

    testbed_exchange(nic, 0, 100);
    assert_int_equal(front_end_simple(&nic->fe, VU_RESET_DEVICE), 0);
    assert_int_equal(front_end_get_status(&nic->fe, &status), 0);
    assert_int_equal(status, 0);
    testbed_send(nic, 100);
    testbed_expect_silence(nic, 0);
    testbed_restart_rings(nic, 0);
    assert_int_equal(front_end_set_features(&nic->fe, nic->fe.features), 0);
    front_end_start_vring(&nic->fe, RX, testbed_rx(nic, 0));
    front_end_start_vring(&nic->fe, TX, testbed_tx(nic, 0));
    net_driver_post(&nic->net[0], 64);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* RESET_OWNER is sent by old front-ends for all kinds of reasons: the session goes on. */
static void VU_reset_owner_loses_nothing(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 100);
    assert_int_equal(front_end_simple(&nic->fe, VU_RESET_OWNER), 0);
    assert_int_equal(front_end_simple(&nic->fe, VU_SET_OWNER), 0);
    enable(nic, RX, 1);
    enable(nic, TX, 1);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_HDR_01_replies_have_version_and_reply_bit_alone),
        TESTBED_TEST(VU_HDR_02_messages_in_pieces_and_joined),
        TESTBED_TEST(VU_HDR_03_wrong_version_and_reply_bit_close),
        TESTBED_TEST(VU_HDR_03_unknown_flag_bits_are_ignored),
        TESTBED_TEST(VU_HDR_05_memory_table_may_be_longer_than_needed),
        TESTBED_TEST(VU_HDR_06_unknown_requests_do_not_desync),
        TESTBED_TEST(VU_HDR_07_need_reply_without_agreement_is_ignored),
        TESTBED_TEST(VU_PF_01_offered_protocol_features),
        TESTBED_TEST(VU_PF_02_unoffered_protocol_features_are_refused),
        TESTBED_TEST(VU_MQ_01_queue_num_counts_rings_or_pairs),
        TESTBED_TEST(VU_ST_01_ring_without_a_kick_fd_is_polled),
        TESTBED_TEST(VU_ST_02_get_vring_base_finishes_and_lets_go),
        TESTBED_TEST(VU_ST_03_disabled_rings),
        TESTBED_TEST(VU_ST_04_without_bit_30_rings_are_enabled_at_once),
        TESTBED_TEST(VU_ST_06_frames_published_before_the_start_are_not_lost),
        TESTBED_TEST(VU_ST_07_call_and_err_fds_change_on_a_live_ring),
        TESTBED_TEST(VU_ST_07_ring_without_a_call_fd),
        TESTBED_TEST(VU_ST_08_rings_stop_and_start_one_by_one),
        TESTBED_TEST(VU_ST_09_restart_from_the_base),
        TESTBED_TEST(VU_ST_11_reset_device_keeps_connection_and_memory),
        TESTBED_TEST(VU_reset_owner_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
