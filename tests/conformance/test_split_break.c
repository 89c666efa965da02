/* SPDX-License-Identifier: MIT */
/* Rings that can't be trusted any more, and rings that must not start (E-BREAK and refused enable).
 */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

enum {
    RX = 0,
    TX = 1,
};

/* Two pairs, so that the other pair of the same NIC has to go on too. */
static struct testbed *bed_of(void **state)
{
    struct testbed_options options = {.pairs = 2};

    return testbed_start(state, &options);
}

static void bed_end(struct testbed *bed)
{
    testbed_exchange(&bed->nic[VICTIM], 1, 200);
    testbed_finish(bed);
}

static void SPL_BAD_01_transmit_head_beyond_the_table(void **state)
{
    static const uint16_t head[] = {64, 0xffff};
    struct testbed *bed = bed_of(state);
    struct driver_split *tx = testbed_tx(&bed->nic[VICTIM], 0);

    for (unsigned i = 0; i < 2; i++) {
        driver_split_offer(tx, head[i]);
        tx->ring.ops->publish(&tx->ring);
        testbed_expect_break(bed, TX);
    }
    bed_end(bed);
}

static void SPL_BAD_01_receive_head_beyond_the_table(void **state)
{
    struct testbed_options options = {.pairs = 2, .rx_unposted = 1};
    struct testbed *bed = testbed_start(state, &options);
    struct driver_split *rx = testbed_rx(&bed->nic[VICTIM], 0);

    net_driver_post(&bed->nic[VICTIM].net[1], 16);
    driver_split_offer(rx, 64);
    rx->ring.ops->publish(&rx->ring);
    testbed_expect_break(bed, RX);
    bed_end(bed);
}

static void SPL_BAD_02_transmit_index_jumps(void **state)
{
    static const uint16_t jump[] = {65, 0x100, 0x8000};
    struct testbed *bed = bed_of(state);
    struct driver_split *tx = testbed_tx(&bed->nic[VICTIM], 0);

    for (unsigned i = 0; i < 3; i++) {
        driver_split_store_avail_idx(tx, (uint16_t)(tx->avail_idx + jump[i]));
        testbed_expect_break(bed, TX);
    }
    bed_end(bed);
}

static void SPL_BAD_02_receive_index_jumps(void **state)
{
    struct testbed_options options = {.pairs = 2, .rx_unposted = 1};
    struct testbed *bed = testbed_start(state, &options);
    struct driver_split *rx = testbed_rx(&bed->nic[VICTIM], 0);

    net_driver_post(&bed->nic[VICTIM].net[1], 16);
    driver_split_store_avail_idx(rx, 0x8000);
    testbed_expect_break(bed, RX);
    bed_end(bed);
}

static void SPL_BAD_03_transmit_index_goes_back(void **state)
{
    struct testbed *bed = bed_of(state);
    struct driver_split *tx = testbed_tx(&bed->nic[VICTIM], 0);

    for (unsigned i = 0; i < 3; i++)
        testbed_exchange(&bed->nic[VICTIM], 0, 100);
    driver_split_store_avail_idx(tx, (uint16_t)(tx->avail_idx - 1));
    testbed_expect_break(bed, TX);
    bed_end(bed);
}

static void GEN_ST_04_broken_ring_sets_needs_reset_until_the_reset(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t status;

    driver_split_offer(tx, 999);
    testbed_publish(tx);
    check(wait_eventfd(nic->fe.vring[TX].err_fd, WAIT_LONG_MS) > 0, "the err eventfd is silent");
    assert_int_equal(front_end_get_status(&nic->fe, &status), 0);
    assert_true(status & STATUS_NEEDS_RESET);
    assert_int_equal(front_end_set_status(&nic->fe, (uint8_t)(status & ~STATUS_NEEDS_RESET)), 0);
    assert_int_equal(front_end_get_status(&nic->fe, &status), 0);
    assert_true(status & STATUS_NEEDS_RESET); /* GEN-ST-05: not the driver's to clear */
    assert_int_equal(front_end_set_status(&nic->fe, 0), 0);
    assert_int_equal(front_end_get_status(&nic->fe, &status), 0);
    assert_int_equal(status, 0);
    testbed_disconnect(nic);
    testbed_connect(nic);
    testbed_exchange(nic, 0, 100);
    bed_end(bed);
}

/* INV-05: what is wrong is told once; a thousand kicks do not repeat it, nor does the daemon spin.
 */
static void INV_05_broken_ring_stays_silent(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);

    driver_split_offer(tx, 999);
    testbed_publish(tx);
    check(wait_eventfd(nic->fe.vring[TX].err_fd, WAIT_LONG_MS) == 1, "the err eventfd");
    for (unsigned i = 0; i < 1000; i++)
        driver_ring_kick(&tx->ring);
    assert_int_equal(front_end_sync(&nic->fe), 0);
    assert_int_equal(wait_eventfd(nic->fe.vring[TX].err_fd, WAIT_QUIET_MS), 0);
    daemon_check_idle(&bed->daemon);
    bed_end(bed);
}

/* One ring of a pair breaks, then the other: each is told, each once. */
static void INV_05_both_rings_of_a_pair_break(void **state)
{
    static const uint8_t frame[100];
    struct testbed_options options = {.pairs = 2, .rx_unposted = 1};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    struct driver_split *rx = testbed_rx(nic, 0);

    net_driver_post(&nic->net[1], 16);
    driver_split_store_avail_idx(rx, 0x8000);
    net_driver_send(&nic->net[0], frame, sizeof(frame)); /* it comes back: the ring is looked at */
    check(wait_eventfd(nic->fe.vring[RX].err_fd, WAIT_LONG_MS) == 1, "the err eventfd of RX");
    driver_split_offer(tx, 999);
    testbed_publish(tx);
    check(wait_eventfd(nic->fe.vring[TX].err_fd, WAIT_LONG_MS) == 1, "the err eventfd of TX");
    assert_int_equal(wait_eventfd(nic->fe.vring[RX].err_fd, WAIT_QUIET_MS), 0);
    daemon_check_idle(&bed->daemon);
    bed_end(bed);
}

/* ---- rings that must not start ---- */

/* Starts ring TX with these addresses; answers whether the back-end took all of it and serves it.
 */
static int starts(struct testbed *bed, uint64_t desc, uint64_t avail, uint64_t used)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    struct {
        uint32_t index;
        uint32_t flags;
        uint64_t desc;
        uint64_t used;
        uint64_t avail;
        uint64_t log;
    } payload = {TX, 0, desc, used, avail, 0};
    struct vu_message message = vu_message(VU_SET_VRING_ADDR, &payload, sizeof(payload));
    int refused;

    front_end_stop_vring(&nic->fe, TX);
    driver_split_restart(tx, 0);
    assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, TX, 0), 0);
    refused = front_end_request(&nic->fe, &message, 0);
    assert_true(refused >= 0);
    refused |= front_end_set_vring_kick(&nic->fe, TX);
    assert_true(refused >= 0);
    tx->ring.kick_fd = nic->fe.vring[TX].kick_fd;
    return !refused;
}

static void SPL_BAD_28_ring_parts_misaligned_or_outside_memory(void **state)
{
    struct testbed_options options = {.queue_size = 64};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    const struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t uva = guest_ram_uva(&nic->ram, TESTBED_RAM_GPA) - TESTBED_RAM_GPA;
    uint64_t desc = uva + tx->desc_gpa;
    uint64_t avail = uva + tx->avail_gpa;
    uint64_t used = uva + tx->used_gpa;
    uint64_t end = uva + TESTBED_END_GPA;

    assert_true(starts(bed, desc, avail, used));
    assert_false(starts(bed, desc + 8, avail, used));
    assert_false(starts(bed, desc, avail + 1, used));
    assert_false(starts(bed, desc, avail, used + 2));
    assert_false(starts(bed, end - 16 * 64 + 16, avail, used));
    assert_false(starts(bed, desc, end - 6 - 2 * 64 + 2, used));
    assert_false(starts(bed, desc, avail, end - 8 - 8 * 64 + 4));
    assert_false(starts(bed, 0, avail, used));
    assert_false(starts(bed, UINT64_MAX - 15, avail, used));
    assert_false(starts(bed, desc, UINT64_MAX - 1, used));
    assert_false(starts(bed, desc, avail, UINT64_MAX - 3));
    assert_false(starts(bed, tx->desc_gpa, tx->avail_gpa, tx->used_gpa)); /* gpa is not uva */
    assert_true(starts(bed, desc, avail, used));
    net_driver_forget(&nic->net[0]);
    nic->net[0].rx_free_count = 0;
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void SPL_BAD_27_sizes_are_refused(void **state)
{
    static const uint32_t size[] = {0, 3, 63, 65, 32768, 65536, 0x10040, UINT32_MAX};
    struct testbed_options options = {.nic = "queue-size=256,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    front_end_stop_vring(&nic->fe, TX);
    for (unsigned i = 0; i < sizeof(size) / sizeof(size[0]); i++)
        assert_true(front_end_vring_state(&nic->fe, VU_SET_VRING_NUM, TX, size[i]) > 0);
    driver_split_restart(testbed_tx(nic, 0), 0);
    front_end_start_vring(&nic->fe, TX, testbed_tx(nic, 0));
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* All three parts in the same bytes: nonsense, but memory-safe. */
static void SPL_BAD_29_ring_parts_overlap(void **state)
{
    struct testbed_options options = {.queue_size = 64};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t desc = guest_ram_uva(&nic->ram, tx->desc_gpa);

    starts(bed, desc, desc, desc);
    memset(guest_ram_at(&nic->ram, tx->desc_gpa, 1024), 0x01, 1024);
    for (unsigned i = 0; i < 20; i++)
        driver_ring_kick(&tx->ring);
    sleep_ms(WAIT_QUIET_MS);
    daemon_check_alive(&bed->daemon);
    front_end_stop_vring(&nic->fe, TX);
    testbed_finish(bed);
}

/* A driver that takes its size and addresses elsewhere while the ring lives (R28). */
static void SPL_BAD_30_live_ring_is_not_reconfigured(void **state)
{
    struct testbed_options options = {.queue_size = 64};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 100);
    assert_true(front_end_vring_state(&nic->fe, VU_SET_VRING_NUM, TX, 16) > 0);
    assert_true(front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, TX, 7) > 0);
    assert_true(front_end_set_vring_addr(&nic->fe, TX, testbed_rx(nic, 0)) > 0);
    for (unsigned i = 0; i < 80; i++)
        testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* Memory goes away under a live ring and comes back: nothing is touched in between, and it goes on.
 */
static void SPL_BAD_31_memory_removed_and_returned_under_traffic(void **state)
{
    struct testbed_options options = {.queue_size = 64, .pf = ~VU_PF_INBAND};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[200];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned i = 0; i < 10; i++) {
        uint8_t got[NET_FRAME_MAX];

        net_driver_send(&nic->net[0], frame, sizeof(frame));
        assert_int_equal(front_end_rem_mem_reg(&nic->fe, &nic->ram.region[0]), 0);
        driver_ring_kick(&testbed_tx(nic, 0)->ring);
        assert_int_equal(front_end_add_mem_reg(&nic->fe, &nic->ram.region[0]), 0);
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 200);
        net_driver_drain(&nic->net[0]);
    }
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(SPL_BAD_01_transmit_head_beyond_the_table),
        TESTBED_TEST(SPL_BAD_01_receive_head_beyond_the_table),
        TESTBED_TEST(SPL_BAD_02_transmit_index_jumps),
        TESTBED_TEST(SPL_BAD_02_receive_index_jumps),
        TESTBED_TEST(SPL_BAD_03_transmit_index_goes_back),
        TESTBED_TEST(GEN_ST_04_broken_ring_sets_needs_reset_until_the_reset),
        TESTBED_TEST(INV_05_broken_ring_stays_silent),
        TESTBED_TEST(INV_05_both_rings_of_a_pair_break),
        TESTBED_TEST(SPL_BAD_28_ring_parts_misaligned_or_outside_memory),
        TESTBED_TEST(SPL_BAD_27_sizes_are_refused),
        TESTBED_TEST(SPL_BAD_29_ring_parts_overlap),
        TESTBED_TEST(SPL_BAD_30_live_ring_is_not_reconfigured),
        TESTBED_TEST(SPL_BAD_31_memory_removed_and_returned_under_traffic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
