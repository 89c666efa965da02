/* SPDX-License-Identifier: MIT */
/* Queue pairs, the control queue, and drivers from before virtio 1.0. */
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "testbed.h"

/* ---- pairs ---- */

static void NET_Q_01_VU_MQ_02_pairs_with_the_control_queue_in_the_vmm(void **state)
{
    struct testbed_options options = {.pairs = 4};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned pair = 0; pair < 4; pair++)
            testbed_exchange(nic, pair, 100 + 10 * pair);
    }
    testbed_finish(bed);
}

/* Sends a command to the control queue and returns the answer. */
static unsigned command(struct testbed_nic *nic, const uint8_t *bytes, uint32_t len,
                        enum control_cut cut)
{
    struct control_driver driver;

    control_driver_init(&driver, nic->ring[2 * nic->options.pairs], 0);
    driver.cut = cut;
    return control_driver_ask(&driver, bytes, len);
}

static struct testbed *bed_control(void **state)
{
    struct testbed_options options = {.pairs = 2, .control = 1, .start = front_end_start_crosvm};

    return testbed_start(state, &options);
}

static void CTL_MQ_01_number_of_pairs(void **state)
{
    struct testbed *bed = bed_control(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[100];

    testbed_exchange(nic, 0, 100);
    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    net_driver_send(&nic->net[1], frame, sizeof(frame));
    testbed_expect_silence(nic, 1); /* NET-MQ-03, NET-Q-03: one pair until told otherwise */
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 0, 0}, 4, CONTROL_CUT_NONE), 1);
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 3, 0}, 4, CONTROL_CUT_NONE), 1);
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 0xff, 0xff}, 4, CONTROL_CUT_NONE), 1);
    testbed_expect_silence(nic, 1);
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 2, 0}, 4, CONTROL_CUT_NONE), 0);
    assert_int_equal(net_driver_receive(&nic->net[1], frame, sizeof(frame), WAIT_LONG_MS), 100);
    net_driver_drain(&nic->net[1]);
    testbed_exchange(nic, 1, 100);
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 1, 0}, 4, CONTROL_CUT_NONE), 0);
    net_driver_send(&nic->net[1], frame, sizeof(frame));
    testbed_expect_silence(nic, 1);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* Without MQ the control queue is number 2, however many pairs there could be. */
static void NET_Q_01_control_queue_is_the_third_without_mq(void **state)
{
    struct testbed_options options = {.nic = "queues=4,endpoint=loopback",
                                      .control = 1,
                                      .without = 1ull << 22,
                                      .start = front_end_start_crosvm};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    assert_int_equal(command(nic, (uint8_t[]){4, 0, 1, 0}, 4, CONTROL_CUT_NONE),
                     1); /* MQ was not agreed on */
    assert_int_equal(command(nic, (uint8_t[]){0, 0, 1}, 3, CONTROL_CUT_BYTES), 1);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void NET_CTL_01_framing_means_nothing(void **state)
{
    struct testbed *bed = bed_control(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    assert_int_equal(command(nic, (uint8_t[]){4, 0, 2, 0}, 4, CONTROL_CUT_BYTES), 0);
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 9, 0}, 4, CONTROL_CUT_BYTES), 1);
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 2, 0, 7, 7}, 6, CONTROL_CUT_BYTES),
                     0); /* more than needed */
    testbed_exchange(nic, 1, 100);
    testbed_finish(bed);
}

static void NET_CTL_06_unknown_and_short_commands(void **state)
{
    struct testbed *bed = bed_control(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned class = 0; class < 256; class += 17)
        assert_int_equal(command(nic, (uint8_t[]){(uint8_t) class, 77, 1, 0}, 4, CONTROL_CUT_NONE),
                         1);
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 2}, 3, CONTROL_CUT_NONE), 1);
    assert_int_equal(command(nic, (uint8_t[]){4, 0}, 2, CONTROL_CUT_NONE), 1);
    assert_int_equal(command(nic, (uint8_t[]){4}, 1, CONTROL_CUT_NONE), 1);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* NET-CTL-05: nowhere to answer, so nothing is done. SPL-BAD-13 and -09 hold here too. */
static void NET_CTL_05_command_without_room_for_the_answer(void **state)
{
    struct testbed *bed = bed_control(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *ring = &nic->vring[4];
    uint64_t gpa = guest_ram_alloc(&nic->ram, 0, 16, 16);
    struct driver_desc only = {.addr = gpa, .len = 4};
    struct driver_desc twisted[2] = {
        {.addr = gpa + 8, .len = 1, .flags = DESC_WRITE | DESC_NEXT},
        {.addr = gpa, .len = 4},
    };
    struct driver_desc outside[2] = {
        {.addr = 0, .len = 4, .flags = DESC_NEXT},
        {.addr = gpa + 8, .len = 1, .flags = DESC_WRITE},
    };
    uint64_t end = now_ms() + WAIT_LONG_MS;

    memcpy(guest_ram_at(&nic->ram, gpa, 4), "\x04\0\x02\0", 4);
    driver_split_offer(ring, testbed_write_chain(ring, &only, 1));
    driver_split_offer(ring, testbed_write_chain(ring, twisted, 2));
    driver_split_offer(ring, testbed_write_chain(ring, outside, 2));
    testbed_publish(ring);
    while (driver_split_used_idx(ring) != 3)
        assert_true(now_ms() < end);
    for (uint16_t i = 0; i < 3; i++)
        assert_int_equal(driver_split_used_entry(ring, i).len, 0);
    ring->used_idx = 3;
    assert_int_equal(daemon_number(&bed->daemon, "nic0/active_queues"), 1);
    assert_int_equal(command(nic, (uint8_t[]){4, 0, 2, 0}, 4, CONTROL_CUT_NONE), 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/active_queues"), 2);
    testbed_exchange(nic, 1, 100);
    testbed_finish(bed);
}

static void NET_CTL_07_many_commands_at_once_are_answered_in_order(void **state)
{
    struct testbed *bed = bed_control(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_ring *ring = &nic->vring[4].ring;
    uint64_t gpa = guest_ram_alloc(&nic->ram, 0, 64, 16);
    struct driver_buffer buffer[2] = {{gpa, 4, DEVICE_READS}, {gpa + 16, 1, DEVICE_WRITES}};
    struct driver_chain chain = {buffer, 2, CHAIN_DIRECT};
    uint32_t id[32];

    memcpy(guest_ram_at(&nic->ram, gpa, 4), "\x04\0\x02\0", 4);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 32; i++)
            id[i] = ring->ops->add(ring, &chain);
        driver_ring_flush(ring);
        for (unsigned i = 0; i < 32; i++) {
            struct driver_used used;

            assert_true(driver_ring_wait(ring, WAIT_LONG_MS, &used));
            assert_int_equal(used.id, id[i]);
            assert_int_equal(used.len, 1);
        }
    }
    testbed_finish(bed);
}

/* ---- legacy drivers ---- */

static void NET_HDR_04_SPL_15_big_endian_legacy_driver(void **state)
{
    struct testbed_options options = {.features = VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
                                      .order = WIRE_BIG,
                                      .shape = CHAIN_INDIRECT};
    struct testbed *bed = testbed_start(state, &options);

    for (uint32_t len = 14; len < 1500; len += 111)
        testbed_exchange(&bed->nic[VICTIM], 0, len);
    testbed_finish(bed);
}

static void NET_HDR_04_big_endian_mergeable_num_buffers(void **state)
{
    struct testbed_options options = {
        .features = VIRTIO_F_EVENT_IDX, .order = WIRE_BIG, .mergeable = 1, .rx_buffer_len = 128};
    struct testbed *bed = testbed_start(state, &options);

    testbed_exchange(&bed->nic[VICTIM], 0, 600);
    assert_int_equal(bed->nic[VICTIM].net[0].last_header.num_buffers, 5);
    testbed_finish(bed);
}

/* The eventfd's value stands for the word of a notification: whatever it says, the ring alone
 * counts. */
static void GEN_NT_02_notification_data_is_only_a_hint(void **state)
{
    static const uint64_t word[] = {1, 0xffff, 0x8000ffff, 0x7fff0000, 1ull << 40, 3};
    struct testbed_options options = {.features = VIRTIO_F_VERSION_1 | VIRTIO_F_NOTIFICATION_DATA};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(write(testbed_tx(nic, 0)->ring.kick_fd, &word[i], 8), 8);
            assert_int_equal(write(testbed_rx(nic, 0)->ring.kick_fd, &word[i], 8), 8);
        }
        testbed_exchange(nic, 0, 100);
    }
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_Q_01_VU_MQ_02_pairs_with_the_control_queue_in_the_vmm),
        TESTBED_TEST(CTL_MQ_01_number_of_pairs),
        TESTBED_TEST(NET_Q_01_control_queue_is_the_third_without_mq),
        TESTBED_TEST(NET_CTL_01_framing_means_nothing),
        TESTBED_TEST(NET_CTL_06_unknown_and_short_commands),
        TESTBED_TEST(NET_CTL_05_command_without_room_for_the_answer),
        TESTBED_TEST(NET_CTL_07_many_commands_at_once_are_answered_in_order),
        TESTBED_TEST(NET_HDR_04_SPL_15_big_endian_legacy_driver),
        TESTBED_TEST(NET_HDR_04_big_endian_mergeable_num_buffers),
        TESTBED_TEST(GEN_NT_02_notification_data_is_only_a_hint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
