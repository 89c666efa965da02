/* SPDX-License-Identifier: MIT */
/* Receive rings of the real daemon: good buffers of every shape, and buffers that must come back
 * unused. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

enum {
    HEADER = NET_HEADER_MODERN
};

static struct testbed *bed_of(void **state)
{
    struct testbed_options options = {.rx_unposted = 1, .rx_slots = 16};

    return testbed_start(state, &options);
}

static uint64_t room(struct testbed *bed, uint32_t len)
{
    return guest_ram_alloc(&bed->nic[VICTIM].ram, 0, len, 64);
}

static void drop_chain(struct testbed *bed, const struct driver_desc *desc, unsigned count)
{
    testbed_expect_rx_drop(bed, testbed_write_chain(testbed_rx(&bed->nic[VICTIM], 0), desc, count));
    /* the ring is emptied, so that the next bad chain is its first again */
    testbed_cycle_vring(&bed->nic[VICTIM], 0, 0);
    net_driver_forget(&bed->nic[VICTIM].net[0]);
}

static void drop_one(struct testbed *bed, uint64_t addr, uint32_t len, uint16_t flags)
{
    struct driver_desc desc = {.addr = addr, .len = len, .flags = flags};

    drop_chain(bed, &desc, 1);
}

/* A frame arrives in a chain of these buffers, header first; checks every byte of it. */
static void receive_in(struct testbed *bed, struct driver_buffer *buffer, unsigned count,
                       enum chain_shape shape)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_ring *rx = &testbed_rx(nic, 0)->ring;
    struct driver_chain chain = {buffer, count, shape};
    uint8_t frame[300];
    uint8_t got[HEADER + 300];
    struct driver_used used;
    uint32_t at = 0;

    rx->ops->add(rx, &chain);
    driver_ring_flush(rx);
    net_frame_make(frame, sizeof(frame), nic->mac, ++nic->seed);
    net_driver_send(&nic->net[0], frame, sizeof(frame));
    assert_true(driver_ring_wait(rx, WAIT_LONG_MS, &used));
    assert_int_equal(used.len, sizeof(got));
    for (unsigned i = 0; i < count && at < sizeof(got); i++) {
        uint32_t part =
            buffer[i].len < sizeof(got) - at ? buffer[i].len : (uint32_t)sizeof(got) - at;

        memcpy(got + at, guest_ram_at(&nic->ram, buffer[i].gpa, part), part);
        at += part;
    }
    assert_memory_equal(got, "\0\0\0\0\0\0\0\0\0\0\1\0", HEADER);
    assert_memory_equal(got + HEADER, frame, sizeof(frame));
    net_driver_drain(&nic->net[0]);
}

static void SPL_03_receive_header_and_data_cut_at_every_byte(void **state)
{
    static const enum chain_shape shape[] = {CHAIN_DIRECT, CHAIN_INDIRECT, CHAIN_MIXED};
    struct testbed *bed = bed_of(state);
    uint64_t gpa = room(bed, 4096);
    struct driver_buffer buffer[64];

    for (unsigned i = 0; i < 3; i++) {
        for (uint32_t cut = 1; cut <= HEADER + 1; cut++) {
            memset(guest_ram_at(&bed->nic[VICTIM].ram, gpa, 4096), 0xaa, 4096);
            buffer[0] = (struct driver_buffer){gpa, cut, DEVICE_WRITES};
            buffer[1] = (struct driver_buffer){gpa + 64, 1500, DEVICE_WRITES};
            receive_in(bed, buffer, 2, shape[i]);
        }
        for (uint32_t byte = 0; byte < 40; byte++)
            buffer[byte] = (struct driver_buffer){gpa + 2 * byte, 1, DEVICE_WRITES};
        buffer[40] = (struct driver_buffer){gpa + 128, 1500, DEVICE_WRITES};
        receive_in(bed, buffer, 41, shape[i]);
    }
    testbed_finish(bed);
}

static void SPL_BAD_09_receive_address_outside_memory(void **state)
{
    struct testbed *bed = bed_of(state);

    drop_one(bed, 0, 2000, DESC_WRITE);
    drop_one(bed, 1ull << 63, 2000, DESC_WRITE);
    drop_one(bed, UINT64_MAX - 100, 2000, DESC_WRITE);
    drop_one(bed, TESTBED_END_GPA - 100, 2000, DESC_WRITE);
    testbed_finish(bed);
}

static void SPL_BAD_11_receive_buffer_over_the_border(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *rx = testbed_rx(nic, 0);
    struct driver_desc desc = {.addr = TESTBED_BORDER_GPA - 100, .len = 2000, .flags = DESC_WRITE};
    uint8_t frame[300];

    driver_split_offer(rx, testbed_write_chain(rx, &desc, 1));
    testbed_publish(rx);
    net_frame_make(frame, sizeof(frame), nic->mac, 3);
    net_driver_send(&nic->net[0], frame, sizeof(frame));
    net_driver_drain(&nic->net[0]);
    assert_int_equal(driver_split_used_entry(rx, 0).len, HEADER + 300);
    assert_memory_equal(guest_ram_at(&nic->ram, TESTBED_BORDER_GPA - 100 + HEADER, 100 - HEADER),
                        frame, 100 - HEADER);
    assert_memory_equal(guest_ram_at(&nic->ram, TESTBED_BORDER_GPA, 200 + HEADER),
                        frame + 100 - HEADER, 200 + HEADER);
    testbed_finish(bed);
}

static void SPL_BAD_13_receive_readable_behind_writable(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = room(bed, 4096);
    struct driver_desc desc[2] = {
        {.addr = gpa, .len = 2000, .flags = DESC_WRITE | DESC_NEXT},
        {.addr = gpa, .len = 100},
    };

    drop_chain(bed, desc, 2);
    testbed_finish(bed);
}

static void SPL_BAD_14_readable_part_before_writable_bytes_is_skipped(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = room(bed, 4096);
    struct driver_buffer buffer[2] = {{gpa + 2048, 100, DEVICE_READS}, {gpa, 2000, DEVICE_WRITES}};
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *rx = testbed_rx(nic, 0);
    struct driver_chain chain = {buffer, 2, CHAIN_DIRECT};
    struct driver_used used;
    uint8_t frame[300];

    rx->ring.ops->add(&rx->ring, &chain);
    driver_ring_flush(&rx->ring);
    net_frame_make(frame, sizeof(frame), nic->mac, 4);
    net_driver_send(&nic->net[0], frame, sizeof(frame));
    assert_true(driver_ring_wait(&rx->ring, WAIT_LONG_MS, &used));
    assert_int_equal(used.len, HEADER + 300);
    assert_memory_equal(guest_ram_at(&nic->ram, gpa + HEADER, 300), frame, 300);
    testbed_finish(bed);
}

static void SPL_BAD_14_receive_chain_without_writable_bytes(void **state)
{
    struct testbed *bed = bed_of(state);

    drop_one(bed, room(bed, 4096), 2000, 0);
    testbed_finish(bed);
}

/* Runt buffers (R05, CVE-2026-86566): every size up to the header. */
static void SPL_BAD_15_receive_buffer_not_larger_than_the_header(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = room(bed, 4096);

    for (uint32_t len = 0; len <= HEADER; len++)
        drop_one(bed, gpa, len, DESC_WRITE);
    testbed_finish(bed);
}

static void SPL_BAD_15_mergeable_buffer_smaller_than_the_header(void **state)
{
    struct testbed_options options = {.rx_unposted = 1, .rx_slots = 16, .mergeable = 1};
    struct testbed *bed = testbed_start(state, &options);
    uint64_t gpa = room(bed, 4096);

    for (uint32_t len = 0; len < HEADER; len++)
        drop_one(bed, gpa, len, DESC_WRITE);
    testbed_finish(bed);
}

static void SPL_BAD_19_to_22_receive_tables(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = room(bed, 4096);
    struct driver_desc both[2] = {
        {.addr = gpa, .len = 16, .flags = DESC_INDIRECT | DESC_NEXT},
        {.addr = gpa, .len = 2000, .flags = DESC_WRITE},
    };

    drop_chain(bed, both, 2);
    drop_one(bed, gpa, 0, DESC_INDIRECT);
    drop_one(bed, gpa, 17, DESC_INDIRECT);
    drop_one(bed, gpa, 0xfffffff0, DESC_INDIRECT);
    drop_one(bed, 0, 16, DESC_INDIRECT);
    drop_one(bed, TESTBED_END_GPA - 8, 16, DESC_INDIRECT);
    testbed_finish(bed);
}

/* iPXE lets all its receive chains share one header buffer; another driver may overlap even more.
 */
static void SPL_BAD_26_buffers_share_memory(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_ring *rx = &testbed_rx(nic, 0)->ring;
    uint64_t gpa = room(bed, 4096);
    uint8_t frame[200];

    for (unsigned i = 0; i < 8; i++) {
        struct driver_buffer buffer[2] = {{gpa, HEADER, DEVICE_WRITES},
                                          {gpa + 64 + 8 * i, 1600, DEVICE_WRITES}};
        struct driver_chain chain = {buffer, 2, CHAIN_DIRECT};

        rx->ops->add(rx, &chain);
    }
    driver_ring_flush(rx);
    for (unsigned i = 0; i < 8; i++) {
        struct driver_used used;

        net_frame_make(frame, sizeof(frame), nic->mac, i);
        net_driver_send(&nic->net[0], frame, sizeof(frame));
        assert_true(driver_ring_wait(rx, WAIT_LONG_MS, &used));
        assert_int_equal(used.len, HEADER + 200);
        assert_memory_equal(guest_ram_at(&nic->ram, gpa + 64 + 8 * i, 200), frame, 200);
        net_driver_drain(&nic->net[0]);
    }
    testbed_finish(bed);
}

/* A receive buffer that lies over the rings themselves: the driver's own loss. */
static void SPL_BAD_26_receive_buffer_over_the_rings(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *rx = testbed_rx(nic, 0);
    struct driver_desc desc = {.addr = rx->desc_gpa, .len = 3 * 4096, .flags = DESC_WRITE};
    uint8_t frame[1500];

    for (unsigned i = 0; i < 8; i++) {
        driver_split_write_desc(rx, i, &desc);
        driver_split_offer(rx, (uint16_t)i);
    }
    testbed_publish(rx);
    net_frame_make(frame, sizeof(frame), nic->mac, 3);
    for (unsigned i = 0; i < 8; i++)
        net_driver_send(&nic->net[0], frame, sizeof(frame));
    sleep_ms(WAIT_QUIET_MS);
    daemon_check_alive(&bed->daemon);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(SPL_03_receive_header_and_data_cut_at_every_byte),
        TESTBED_TEST(SPL_BAD_09_receive_address_outside_memory),
        TESTBED_TEST(SPL_BAD_11_receive_buffer_over_the_border),
        TESTBED_TEST(SPL_BAD_13_receive_readable_behind_writable),
        TESTBED_TEST(SPL_BAD_14_readable_part_before_writable_bytes_is_skipped),
        TESTBED_TEST(SPL_BAD_14_receive_chain_without_writable_bytes),
        TESTBED_TEST(SPL_BAD_15_receive_buffer_not_larger_than_the_header),
        TESTBED_TEST(SPL_BAD_15_mergeable_buffer_smaller_than_the_header),
        TESTBED_TEST(SPL_BAD_19_to_22_receive_tables),
        TESTBED_TEST(SPL_BAD_26_buffers_share_memory),
        TESTBED_TEST(SPL_BAD_26_receive_buffer_over_the_rings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
