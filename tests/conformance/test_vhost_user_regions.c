/* SPDX-License-Identifier: MIT */
/* Guest memory as a front-end should share it: whole tables and slots, also while rings run. */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

static void VU_MEM_04_whole_table_replaced_under_traffic(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    unsigned fds = 0;

    for (unsigned i = 0; i < 100; i++) {
        testbed_send(nic, 100);
        assert_int_equal(front_end_set_mem_table(&nic->fe, &nic->ram), 0);
        testbed_receive(nic, 100);
        net_driver_drain(&nic->net[0]);
        if (i == 10)
            fds = daemon_fd_count(&bed->daemon);
    }
    daemon_check_fds(&bed->daemon, fds);
    testbed_finish(bed);
}

static void VU_MEM_05_regions_come_and_go(void **state)
{
    struct testbed_options options = {.pf = ~VU_PF_INBAND};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct guest_ram_region wrong = nic->ram.region[1];
    uint64_t slots = 0;

    assert_int_equal(front_end_get_u64(&nic->fe, VU_GET_MAX_MEM_SLOTS, &slots), 0);
    assert_true(slots >= 8);
    for (unsigned i = 0; i < 20; i++) {
        /* QEMU adds each region once a queue pair: it stays until all holders have let go. */
        assert_int_equal(front_end_add_mem_reg(&nic->fe, &nic->ram.region[1]), 0);
        assert_int_equal(front_end_rem_mem_reg(&nic->fe, &nic->ram.region[1]), 0);
        testbed_exchange(nic, 0, 100);
        assert_int_equal(front_end_rem_mem_reg(&nic->fe, &nic->ram.region[1]), 0);
        assert_true(front_end_rem_mem_reg(&nic->fe, &nic->ram.region[1]) > 0);
        testbed_exchange(nic, 0, 100);
        assert_int_equal(front_end_add_mem_reg(&nic->fe, &nic->ram.region[1]), 0);
    }
    wrong.size -= 4096;
    assert_true(front_end_rem_mem_reg(&nic->fe, &wrong) > 0);
    wrong = nic->ram.region[1];
    wrong.uva += 4096;
    assert_true(front_end_rem_mem_reg(&nic->fe, &wrong) > 0);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

struct traffic {
    struct testbed_nic *nic;
    _Atomic int ends;
    unsigned frames;
};

/* Frames without a break, every one checked. */
static void *traffic_run(void *context)
{
    struct traffic *traffic = context;

    while (!traffic->ends) {
        testbed_exchange(traffic->nic, 0, 64 + traffic->frames % 1400);
        traffic->frames++;
    }
    return NULL;
}

/* A hot-plug while frames move: none is lost, and none stands still. */
static void VU_MEM_05_slots_come_and_go_under_running_traffic(void **state)
{
    struct testbed_options options = {.pf = ~VU_PF_INBAND};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct traffic traffic = {.nic = nic};
    struct guest_ram_region slot[8];
    pthread_t thread;

    for (unsigned i = 0; i < 8; i++)
        slot[i] = (struct guest_ram_region){.fd = nic->ram.region[0].fd,
                                            .gpa = (1ull << 40) + i * (1 << 20),
                                            .uva = (1ull << 41) + i * (1 << 20),
                                            .size = 1 << 20};
    assert_int_equal(pthread_create(&thread, NULL, traffic_run, &traffic), 0);
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(front_end_add_mem_reg(&nic->fe, &slot[i]), 0);
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(front_end_rem_mem_reg(&nic->fe, &slot[(i * 3 + round) % 8]), 0);
    }
    traffic.ends = 1;
    pthread_join(thread, NULL);
    assert_true(traffic.frames > 20);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_packets"), traffic.frames);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/rx_packets"), traffic.frames);
    testbed_finish(bed);
}

static void VU_MEM_05_as_many_regions_as_there_are_slots(void **state)
{
    struct testbed_options options = {.pf = ~VU_PF_INBAND};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct guest_ram_region region = {.gpa = 1ull << 40, .uva = 1ull << 41, .size = 4096};
    uint64_t slots = 0;

    region.fd = nic->ram.region[0].fd;
    assert_int_equal(front_end_get_u64(&nic->fe, VU_GET_MAX_MEM_SLOTS, &slots), 0);
    for (uint64_t i = nic->ram.region_count; i < slots; i++) {
        assert_int_equal(front_end_add_mem_reg(&nic->fe, &region), 0);
        region.gpa += 8192;
        region.uva += 8192;
    }
    assert_true(front_end_add_mem_reg(&nic->fe, &region) > 0);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* A region that begins in the middle of a page of its file; the guest's rings lie in it. */
static void VU_MEM_02_offset_that_is_no_page_border(void **state)
{
    static const uint64_t offset[] = {0x200, 0x1010, 0x2ff0};
    struct testbed *bed = testbed_start_daemon(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_connect(&bed->nic[BYSTANDER]);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t used = nic->ram.region[0].used;
        uint64_t size = nic->ram.region[0].size;

        guest_ram_free(&nic->ram);
        guest_ram_add(&nic->ram, TESTBED_RAM_GPA, size, offset[i]);
        guest_ram_add(&nic->ram, TESTBED_BORDER_GPA, 1 << 20, 0);
        nic->ram.region[0].used = used;
        testbed_restart_rings(nic, 0);
        testbed_connect(nic);
        testbed_exchange(nic, 0, 1000);
        testbed_disconnect(nic);
    }
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_MEM_02_offset_that_is_no_page_border),
        TESTBED_TEST(VU_MEM_04_whole_table_replaced_under_traffic),
        TESTBED_TEST(VU_MEM_05_regions_come_and_go),
        TESTBED_TEST(VU_MEM_05_slots_come_and_go_under_running_traffic),
        TESTBED_TEST(VU_MEM_05_as_many_regions_as_there_are_slots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
