/* SPDX-License-Identifier: MIT */
/*
 * A guest behind an IOMMU whose memory changes, which is reset, migrates, or goes on in another
 * daemon: what is known of its mappings goes with what it was about.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "dirty_shadow.h"
#include "iommu_bed.h"

enum {
    RX = 0,
    TX = 1,
};

/* A table that is shared anew lies elsewhere in this process: nothing of the old one is used, and
 * everything is asked for again. */
static void VU_MEM_07_memory_is_shared_anew(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 5; i++) {
        iommu_bed_exchange(nic, 400);
        assert_int_equal(front_end_set_mem_table(&nic->fe, &nic->ram), 0);
    }
    iommu_bed_exchange(nic, 400);
    assert_int_equal(iommu_bed_count(bed, "refused"), 0);
    testbed_finish(bed);
}

/* Regions that come and go beside the others take only what lay in them. */
static void VU_MEM_07_regions_come_and_go(void **state)
{
    struct testbed *bed = testbed_start(
        state, &(struct testbed_options){.features = IOMMU_USUAL, .iommu = 1, .pf = ~VU_PF_INBAND});
    struct testbed_nic *nic = &bed->nic[VICTIM];
    unsigned more = guest_ram_add(&nic->ram, 1ull << 40, 1 << 20, 0);
    struct iotlb_message message = {.iova = 1ull << 40,
                                    .size = 4096,
                                    .uva = nic->ram.region[more].uva,
                                    .perm = IOMMU_BOTH,
                                    .type = IOTLB_UPDATE};
    uint64_t entries;

    iommu_bed_exchange(nic, 400);
    iommu_bed_settle(bed);
    assert_int_equal(front_end_add_mem_reg(&nic->fe, &nic->ram.region[more]), 0);
    entries = iommu_bed_count(bed, "entries");
    assert_int_equal(driver_iommu_tell(&nic->iommu, &message), 0);
    assert_int_equal(iommu_bed_count(bed, "entries"), entries + 1);
    assert_int_equal(front_end_rem_mem_reg(&nic->fe, &nic->ram.region[more]), 0);
    assert_int_equal(iommu_bed_count(bed, "entries"), entries);
    assert_true(driver_iommu_tell(&nic->iommu, &message) > 0);
    iommu_bed_exchange(nic, 400);
    testbed_finish(bed);
}

/* A reset ends what the driver before had mapped. */
static void VU_MEM_07_reset_begins_with_nothing(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t told;

    iommu_bed_exchange(nic, 400);
    told = iommu_bed_count(bed, "invalidations");
    assert_int_equal(front_end_simple(&nic->fe, VU_RESET_DEVICE), 0);
    assert_int_equal(iommu_bed_count(bed, "entries"), 0);
    /* What the front-end said while that was on its way ends nothing. */
    assert_int_equal(driver_iommu_invalidate(&nic->iommu, 0, 0), 0);
    assert_int_equal(iommu_bed_count(bed, "invalidations"), told);
    testbed_finish_anew(bed);
}

/* While a device is stopped, nobody tells it what goes: it asks for everything anew. */
static void VU_MEM_07_stop_ends_what_was_mapped(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t misses;

    iommu_bed_exchange(nic, 400);
    iommu_bed_settle(bed);
    front_end_stop_vring(&nic->fe, RX);
    assert_true(iommu_bed_count(bed, "entries") != 0);
    front_end_stop_vring(&nic->fe, TX);
    assert_int_equal(iommu_bed_count(bed, "entries"), 0);
    misses = iommu_bed_count(bed, "misses");
    for (unsigned i = 0; i < 2; i++)
        front_end_start_vring(&nic->fe, i, &nic->vring[i]);
    iommu_bed_settle(bed);
    assert_true(iommu_bed_count(bed, "misses") >= misses + 2);
    iommu_bed_exchange(nic, 400);
    testbed_finish(bed);
}

/* A driver that left without a word (UML): the features of the next one end what it had mapped. */
static void VU_MEM_07_driver_that_left_had_mappings(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    iommu_bed_exchange(nic, 400);
    iommu_bed_settle(bed);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_ENABLE, i, 0), 0);
    assert_true(iommu_bed_count(bed, "entries") != 0);
    assert_int_equal(front_end_set_features(&nic->fe, nic->fe.features), 0);
    assert_int_equal(iommu_bed_count(bed, "entries"), 0);
    testbed_finish_anew(bed);
}

/* What a ring asked before it was stopped, and was never answered, is asked anew. */
static void VU_MEM_07_stop_ends_what_was_asked(void **state)
{
    struct testbed *bed = iommu_bed_start_silent(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 2; i++)
        front_end_stop_vring(&nic->fe, i);
    nic->iommu.silent = 0;
    for (unsigned i = 0; i < 2; i++)
        front_end_start_vring(&nic->fe, i, &nic->vring[i]);
    iommu_bed_exchange(nic, 400);
    testbed_finish(bed);
}

/* ---- the log of dirty pages ---------------------------------------------------------------- */

/* What is noted is where it lies in the guest's memory; the front-end names the ring by an iova,
 * as QEMU does. */
static void check_log(void **state, uint64_t features)
{
    struct testbed *bed =
        testbed_start(state, &(struct testbed_options){.features = features, .iommu = 1});
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct dirty_shadow shadow;
    uint64_t received;

    dirty_shadow_init(&shadow, &nic->ram, TESTBED_END_GPA);
    iommu_bed_exchange(nic, 300);
    iommu_bed_settle(bed);
    assert_int_equal(front_end_set_log_base(&nic->fe, shadow.fd, shadow.len, 0), 0);
    assert_int_equal(front_end_set_features(&nic->fe, nic->fe.features | VHOST_F_LOG_ALL), 0);
    for (unsigned i = 0; i < 2; i++) {
        const struct driver_ring *ring = nic->ring[i];
        uint64_t at = driver_iommu_fixed(&nic->iommu, ring->device_area, ring->device_len);

        assert_int_equal(front_end_set_ring_log(&nic->fe, i, ring, at), 0);
        dirty_shadow_add_same(&shadow, ring->device_area);
        if (!(features & VIRTIO_F_RING_PACKED))
            dirty_shadow_add_same(&shadow, ring->device_area + 4 + ring->size * 8);
    }
    for (unsigned turn = 0; turn < 4; turn++) {
        static uint8_t frame[1500];

        if (turn == 2) /* a ring that was mapped anew is noted as before */
            assert_int_equal(driver_iommu_invalidate(&nic->iommu, 0, 0), 0);
        iommu_bed_settle(bed); /* what is answered later would wake the card too early */
        for (unsigned i = 0; i < IOMMU_FRAMES; i++) {
            net_frame_make(frame, sizeof(frame), nic->mac, ++nic->seed);
            net_driver_queue(&nic->net[0], frame, sizeof(frame));
        }
        nic->ring[TX]->ops->publish(nic->ring[TX]);
        dirty_shadow_begin(&shadow);
        received = daemon_number(&bed->daemon, "nic0/queues/0/rx_packets") + IOMMU_FRAMES;
        driver_ring_kick(nic->ring[TX]);
        iommu_bed_settle(bed);
        assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/rx_packets"), received);
        dirty_shadow_check(&shadow);
        for (unsigned i = 0; i < IOMMU_FRAMES; i++)
            assert_int_equal(net_driver_receive(&nic->net[0], frame, sizeof(frame), WAIT_LONG_MS),
                             1500);
        net_driver_drain(&nic->net[0]);
    }
    dirty_shadow_free(&shadow);
    testbed_finish(bed);
}

static void VU_LOG_04_guest_addresses_are_noted(void **state)
{
    check_log(state, IOMMU_USUAL);
}

static void VU_LOG_04_guest_addresses_are_noted_packed(void **state)
{
    check_log(state, IOMMU_PACKED);
}

/* ---- another daemon ------------------------------------------------------------------------ */

/* What was mapped is known to the next one; what it lacks it asks for, rings too. */
static void iommu_goes_on_in_the_next_daemon(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t entries, updates;

    iommu_bed_exchange(nic, 400);
    for (unsigned i = 0; i < 3; i++) {
        if (i == 1)
            assert_int_equal(driver_iommu_invalidate(&nic->iommu, 0, 0), 0);
        else
            iommu_bed_settle(bed);
        entries = iommu_bed_count(bed, "entries");
        updates = iommu_bed_count(bed, "updates");
        daemon_take_over(&bed->daemon, getenv("VIONIC"));
        assert_int_equal(iommu_bed_count(bed, "entries"), entries);
        assert_int_equal(iommu_bed_count(bed, "updates"), updates);
        iommu_bed_exchange(nic, 400);
    }
    testbed_finish(bed);
}

/* A ring that waited to start waits in the next one too, and asks there. */
static void iommu_ring_that_waits_goes_on_in_the_next_daemon(void **state)
{
    struct testbed *bed = iommu_bed_start_silent(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    daemon_take_over(&bed->daemon, getenv("VIONIC"));
    nic->iommu.silent = 0;
    iommu_bed_exchange(nic, 400);
    testbed_finish(bed);
}

static const struct CMUnitTest tests[] = {
    TESTBED_TEST(VU_MEM_07_memory_is_shared_anew),
    TESTBED_TEST(VU_MEM_07_regions_come_and_go),
    TESTBED_TEST(VU_MEM_07_reset_begins_with_nothing),
    TESTBED_TEST(VU_MEM_07_stop_ends_what_was_mapped),
    TESTBED_TEST(VU_MEM_07_driver_that_left_had_mappings),
    TESTBED_TEST(VU_MEM_07_stop_ends_what_was_asked),
    TESTBED_TEST(VU_LOG_04_guest_addresses_are_noted),
    TESTBED_TEST(VU_LOG_04_guest_addresses_are_noted_packed),
    TESTBED_TEST(iommu_goes_on_in_the_next_daemon),
    TESTBED_TEST(iommu_ring_that_waits_goes_on_in_the_next_daemon),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
