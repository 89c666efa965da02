/* SPDX-License-Identifier: MIT */
/* Transmit rings of the real daemon: every shape of a good chain, and every chain that must be
 * dropped. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

enum {
    HEADER = NET_HEADER_MODERN,
    PIECES_MAX = 64
};

/* Sends a frame cut into pieces: `first` bytes, then `piece` bytes each; it must come back whole.
 */
static void send_cut(struct testbed *bed, uint32_t len, uint32_t first, uint32_t piece,
                     enum chain_shape shape)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_ring *tx = &testbed_tx(nic, 0)->ring;
    uint64_t gpa = testbed_put_frame(nic, len);
    struct driver_buffer buffer[PIECES_MAX];
    struct driver_chain chain = {buffer, 0, shape};
    uint8_t got[NET_FRAME_MAX];
    struct driver_used used;
    uint32_t at = 0;

    while (at < HEADER + len) {
        uint32_t part = at == 0 ? first : piece;

        if (part > HEADER + len - at)
            part = HEADER + len - at;
        buffer[chain.count++] = (struct driver_buffer){gpa + at, part, DEVICE_READS};
        at += part;
    }
    tx->ops->add(tx, &chain);
    driver_ring_flush(tx);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), len);
    assert_memory_equal(got, guest_ram_at(&nic->ram, gpa + HEADER, len), len);
    assert_true(driver_ring_wait(tx, WAIT_LONG_MS, &used));
    assert_int_equal(used.len, 0);
}

static void SPL_03_header_and_data_cut_at_every_byte(void **state)
{
    static const enum chain_shape shape[] = {CHAIN_DIRECT, CHAIN_INDIRECT, CHAIN_MIXED};
    struct testbed *bed = testbed_start(state, NULL);

    for (unsigned i = 0; i < 3; i++) {
        send_cut(bed, 300, HEADER + 300, 1, shape[i]); /* all in one */
        send_cut(bed, 38, 1, 1, shape[i]);             /* every byte in a descriptor of its own */
        for (uint32_t cut = 1; cut <= HEADER + 1; cut++)
            send_cut(bed, 100, cut, HEADER + 100, shape[i]);
    }
    testbed_finish(bed);
}

static void SPL_06_direct_descriptor_before_an_indirect_one(void **state)
{
    struct testbed_options options = {.shape = CHAIN_MIXED};
    struct testbed *bed = testbed_start(state, &options);

    for (uint32_t len = 14; len < 1500; len += 111)
        testbed_exchange(&bed->nic[VICTIM], 0, len);
    testbed_finish(bed);
}

static void SPL_02_SPL_05_device_writes_only_what_is_its_to_write(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t gpa = testbed_put_frame(nic, 500);
    struct driver_desc desc = {.addr = gpa, .len = HEADER + 500};
    uint8_t table[64 * 16];
    uint8_t avail[6 + 2 * 64];
    uint8_t data[HEADER + 500];
    uint8_t got[NET_FRAME_MAX];
    uint16_t head = testbed_write_chain(tx, &desc, 1);

    driver_split_offer(tx, head);
    tx->ring.ops->publish(&tx->ring);
    memcpy(table, guest_ram_at(&nic->ram, tx->desc_gpa, sizeof(table)), sizeof(table));
    memcpy(avail, guest_ram_at(&nic->ram, tx->avail_gpa, sizeof(avail)), sizeof(avail));
    memcpy(data, guest_ram_at(&nic->ram, gpa, sizeof(data)), sizeof(data));
    driver_ring_kick(&tx->ring);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 500);
    assert_memory_equal(guest_ram_at(&nic->ram, tx->desc_gpa, sizeof(table)), table, sizeof(table));
    assert_memory_equal(guest_ram_at(&nic->ram, tx->avail_gpa, sizeof(avail)), avail,
                        sizeof(avail));
    assert_memory_equal(guest_ram_at(&nic->ram, gpa, sizeof(data)), data, sizeof(data));
    /* net_driver_receive checks the canary behind the used length (SPL-05) */
    testbed_finish(bed);
}

static void SPL_01_ring_sizes(void **state)
{
    static const unsigned size[] = {2, 16, 256, 1024};
    struct testbed_options options = {.queue_size = 1024,
                                      .nic = "queue-size=1024,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 100);
    for (unsigned i = 0; i < 4; i++) { /* the same memory, used by smaller rings */
        front_end_stop_vring(&nic->fe, 0);
        front_end_stop_vring(&nic->fe, 1);
        nic->vring[0].ring.size = nic->vring[1].ring.size = size[i];
        testbed_restart_rings(nic, 0);
        front_end_start_vring(&nic->fe, 0, &nic->vring[0]);
        front_end_start_vring(&nic->fe, 1, &nic->vring[1]);
        net_driver_post(&nic->net[0], size[i]);
        for (unsigned frame = 0; frame < 5; frame++)
            testbed_exchange(nic, 0, 60 + frame);
    }
    testbed_finish(bed);
}

static void SPL_11_indices_wrap_at_16_bits_under_traffic(void **state)
{
    struct testbed_options options = {.start_idx = 0xfff0, .queue_size = 16};
    struct testbed *bed = testbed_start(state, &options);

    for (unsigned i = 0; i < 60; i++)
        testbed_exchange(&bed->nic[VICTIM], 0, 60 + i);
    testbed_finish(bed);
}

/* ---- dropped chains ---- */

static struct testbed *bed_of(void **state)
{
    return testbed_start(state, NULL);
}

/* One chain of one descriptor. */
static void drop_one(struct testbed *bed, uint64_t addr, uint32_t len, uint16_t flags)
{
    struct driver_desc desc = {.addr = addr, .len = len, .flags = flags};

    testbed_expect_tx_drop(bed, testbed_write_chain(testbed_tx(&bed->nic[VICTIM], 0), &desc, 1));
}

static void drop_chain(struct testbed *bed, const struct driver_desc *desc, unsigned count)
{
    testbed_expect_tx_drop(bed, testbed_write_chain(testbed_tx(&bed->nic[VICTIM], 0), desc, count));
}

/* A table with these entries, referred to by one descriptor. */
static void drop_table(struct testbed *bed, const struct driver_desc *entry, unsigned count)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t table = guest_ram_alloc(&nic->ram, 0, 16 * count, 16);

    for (unsigned i = 0; i < count; i++)
        driver_split_write_desc_at(testbed_tx(nic, 0), table + 16 * i, &entry[i]);
    drop_one(bed, table, 16 * count, DESC_INDIRECT);
}

static void SPL_BAD_04_next_beyond_the_table(void **state)
{
    struct testbed *bed = bed_of(state);
    struct driver_desc desc = {.addr = testbed_put_frame(&bed->nic[VICTIM], 100),
                               .len = 60,
                               .flags = DESC_NEXT,
                               .next = 64};

    drop_chain(bed, &desc, 1);
    desc.next = 0xffff;
    drop_chain(bed, &desc, 1);
    testbed_finish(bed);
}

static void SPL_BAD_05_loops_end(void **state)
{
    struct testbed *bed = bed_of(state);
    struct driver_split *tx = testbed_tx(&bed->nic[VICTIM], 0);
    struct driver_desc desc = {.addr = TESTBED_RAM_GPA, .len = 1, .flags = DESC_NEXT};
    uint16_t first = driver_split_claim(tx);
    uint16_t second = driver_split_claim(tx);

    desc.next = first; /* to itself */
    driver_split_write_desc(tx, first, &desc);
    testbed_expect_tx_drop(bed, first);
    desc.next = second; /* to another and back */
    driver_split_write_desc(tx, first, &desc);
    desc.next = first;
    driver_split_write_desc(tx, second, &desc);
    testbed_expect_tx_drop(bed, first);
    testbed_finish(bed);
}

static void SPL_BAD_06_loops_and_next_in_a_table(void **state)
{
    struct testbed *bed = bed_of(state);
    struct driver_desc entry[2] = {
        {.addr = TESTBED_RAM_GPA, .len = 60, .flags = DESC_NEXT, .next = 1},
        {.addr = TESTBED_RAM_GPA, .len = 60, .flags = DESC_NEXT, .next = 0},
    };

    drop_table(bed, entry, 2);
    entry[1].next = 2;
    drop_table(bed, entry, 2);
    entry[1].next = 0xffff;
    drop_table(bed, entry, 2);
    testbed_finish(bed);
}

static void SPL_BAD_07_direct_and_table_above_the_cap(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t table = guest_ram_alloc(&nic->ram, 0, 1024 * 16, 16);
    struct driver_desc desc[2] = {
        {.addr = testbed_put_frame(nic, 100), .len = HEADER + 100, .flags = DESC_NEXT},
        {.addr = table, .len = 1024 * 16, .flags = DESC_INDIRECT},
    };

    for (unsigned i = 0; i < 1024; i++) {
        struct driver_desc entry = {.addr = TESTBED_RAM_GPA,
                                    .len = 1,
                                    .flags = i < 1023 ? DESC_NEXT : 0,
                                    .next = (uint16_t)(i + 1)};

        driver_split_write_desc_at(testbed_tx(nic, 0), table + 16 * i, &entry);
    }
    drop_chain(bed, desc, 2);
    testbed_finish(bed);
}

static void SPL_BAD_08_chain_above_4_gib_and_frame_above_64_kib(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 1000);
    struct driver_desc desc[3] = {
        {.addr = gpa, .len = 1000, .flags = DESC_NEXT},
        {.addr = gpa, .len = UINT32_MAX, .flags = DESC_NEXT},
        {.addr = gpa, .len = 100},
    };

    drop_chain(bed, desc, 3);
    drop_one(bed, gpa, HEADER + 65536 + 22, 0);
    drop_one(bed, gpa, 8 << 20, 0);
    testbed_finish(bed);
}

static void SPL_BAD_09_address_outside_memory(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 100);
    struct driver_desc desc[2] = {
        {.addr = gpa, .len = HEADER + 50, .flags = DESC_NEXT},
        {.addr = 1ull << 40, .len = 50},
    };

    drop_one(bed, 0, 100, 0);
    drop_one(bed, 1ull << 63, 100, 0);
    drop_one(bed, TESTBED_RAM_GPA - 1, 100, 0);
    drop_one(bed, TESTBED_END_GPA, 100, 0);
    drop_chain(bed, desc, 2); /* only the tail is bad */
    testbed_finish(bed);
}

static void SPL_BAD_10_address_plus_length_wraps(void **state)
{
    struct testbed *bed = bed_of(state);

    drop_one(bed, UINT64_MAX, 2, 0);
    drop_one(bed, UINT64_MAX - 63, 128, 0);
    drop_one(bed, UINT64_MAX - 63, UINT32_MAX, 0);
    testbed_finish(bed);
}

static void SPL_BAD_11_hole_is_refused_and_border_is_crossed(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t gpa = TESTBED_BORDER_GPA - 200;
    struct driver_desc desc = {.addr = gpa, .len = HEADER + 600};
    uint8_t frame[600];
    uint8_t got[NET_FRAME_MAX];

    drop_one(bed, TESTBED_END_GPA - 60, 61, 0);
    net_frame_make(frame, sizeof(frame), nic->mac, 77);
    memset(guest_ram_at(&nic->ram, gpa, HEADER), 0, HEADER);
    memcpy(guest_ram_at(&nic->ram, gpa + HEADER, 200 - HEADER), frame, 200 - HEADER);
    memcpy(guest_ram_at(&nic->ram, TESTBED_BORDER_GPA, 400 + HEADER), frame + 200 - HEADER,
           400 + HEADER);
    driver_split_offer(tx, testbed_write_chain(tx, &desc, 1));
    testbed_publish(tx);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 600);
    assert_memory_equal(got, frame, 600);
    testbed_finish(bed);
}

static void SPL_BAD_13_readable_behind_writable(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 200);
    struct driver_desc desc[2] = {
        {.addr = gpa, .len = 100, .flags = DESC_NEXT | DESC_WRITE},
        {.addr = gpa, .len = 100},
    };

    drop_chain(bed, desc, 2);
    testbed_finish(bed);
}

static void SPL_BAD_14_writable_part_of_a_tx_chain_is_left_alone(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t gpa = testbed_put_frame(nic, 100);
    uint64_t untouched = guest_ram_alloc(&nic->ram, 0, 64, 64);
    struct driver_desc desc[2] = {
        {.addr = gpa, .len = HEADER + 100, .flags = DESC_NEXT},
        {.addr = untouched, .len = 64, .flags = DESC_WRITE},
    };
    uint8_t pattern[64];
    uint8_t got[NET_FRAME_MAX];

    memset(pattern, 0x5a, sizeof(pattern));
    memcpy(guest_ram_at(&nic->ram, untouched, 64), pattern, 64);
    driver_split_offer(tx, testbed_write_chain(tx, desc, 2));
    testbed_publish(tx);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 100);
    assert_memory_equal(guest_ram_at(&nic->ram, untouched, 64), pattern, 64);
    assert_int_equal(driver_split_used_entry(tx, 0).len, 0);
    testbed_finish(bed);
}

/* Every length from one byte up to a header and 13 bytes is too short (R04, R30, H08). */
static void SPL_BAD_16_less_than_a_header_and_an_ethernet_header(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 100);

    for (uint32_t len = 1; len < HEADER + 14; len++)
        drop_one(bed, gpa, len, 0);
    testbed_finish(bed);
}

static void SPL_BAD_16_header_split_over_descriptors_without_data(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 100);
    struct driver_desc desc[3] = {
        {.addr = gpa, .len = 4, .flags = DESC_NEXT},
        {.addr = gpa, .len = 4, .flags = DESC_NEXT},
        {.addr = gpa, .len = 4},
    };

    drop_chain(bed, desc, 3);
    desc[2].len = 3;
    drop_chain(bed, desc, 3);
    testbed_finish(bed);
}

static void SPL_BAD_17_empty_descriptors(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t gpa = testbed_put_frame(nic, 100);
    struct driver_desc desc[5] = {
        {.addr = 0, .len = 0, .flags = DESC_NEXT},
        {.addr = gpa, .len = HEADER, .flags = DESC_NEXT},
        {.addr = UINT64_MAX, .len = 0, .flags = DESC_NEXT},
        {.addr = gpa + HEADER, .len = 100, .flags = DESC_NEXT},
        {.addr = 0, .len = 0},
    };
    struct driver_desc empty[2] = {{.flags = DESC_NEXT}, {.len = 0}};
    uint8_t got[NET_FRAME_MAX];

    drop_one(bed, gpa, 0, 0);
    drop_chain(bed, empty, 2);
    driver_split_offer(tx, testbed_write_chain(tx, desc, 5));
    testbed_publish(tx);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 100);
    testbed_finish(bed);
}

static void SPL_BAD_18_indirect_without_agreement(void **state)
{
    struct testbed_options options = {.without = VIRTIO_F_INDIRECT_DESC};
    struct testbed *bed = testbed_start(state, &options);
    struct driver_desc entry = {.addr = testbed_put_frame(&bed->nic[VICTIM], 100),
                                .len = HEADER + 100};

    drop_table(bed, &entry, 1);
    testbed_finish(bed);
}

static void SPL_BAD_19_indirect_with_next(void **state)
{
    struct testbed *bed = bed_of(state);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 100);
    struct driver_desc desc[2] = {
        {.addr = gpa, .len = 16, .flags = DESC_INDIRECT | DESC_NEXT},
        {.addr = gpa, .len = HEADER + 100},
    };

    drop_chain(bed, desc, 2);
    testbed_finish(bed);
}

static void SPL_BAD_20_indirect_inside_a_table(void **state)
{
    struct testbed *bed = bed_of(state);
    struct driver_desc entry = {
        .addr = testbed_put_frame(&bed->nic[VICTIM], 100), .len = 16, .flags = DESC_INDIRECT};

    drop_table(bed, &entry, 1);
    testbed_finish(bed);
}

static void SPL_BAD_21_indirect_length(void **state)
{
    static const uint32_t len[] = {0, 8, 17, 16 * 1025, 0xfffffff0, UINT32_MAX};
    struct testbed *bed = bed_of(state);
    uint64_t rss = daemon_rss_kib(&bed->daemon);

    for (unsigned i = 0; i < 6; i++)
        drop_one(bed, TESTBED_RAM_GPA, len[i], DESC_INDIRECT);
    assert_true(daemon_rss_kib(&bed->daemon) < rss + 16 * 1024);
    testbed_finish(bed);
}

static void SPL_BAD_22_table_outside_memory(void **state)
{
    struct testbed *bed = bed_of(state);

    drop_one(bed, 0, 32, DESC_INDIRECT);
    drop_one(bed, UINT64_MAX - 7, 32, DESC_INDIRECT);
    drop_one(bed, TESTBED_END_GPA - 8, 32, DESC_INDIRECT);
    testbed_finish(bed);
}

static void SPL_BAD_22_table_over_the_border_and_unaligned(void **state)
{
    static const uint64_t table[] = {TESTBED_BORDER_GPA - 24, TESTBED_BORDER_GPA + 0x4001};
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint8_t got[NET_FRAME_MAX];

    for (unsigned i = 0; i < 2; i++) {
        uint64_t gpa = testbed_put_frame(nic, 100);
        struct driver_desc desc = {.addr = table[i], .len = 32, .flags = DESC_INDIRECT};
        uint8_t bytes[32] = {0};

        wire_put64(bytes, gpa, WIRE_LITTLE);
        wire_put32(bytes + 8, HEADER + 30, WIRE_LITTLE);
        wire_put16(bytes + 12, DESC_NEXT, WIRE_LITTLE);
        wire_put16(bytes + 14, 1, WIRE_LITTLE);
        wire_put64(bytes + 16, gpa + HEADER + 30, WIRE_LITTLE);
        wire_put32(bytes + 24, 70, WIRE_LITTLE);
        for (unsigned byte = 0; byte < sizeof(bytes); byte++)
            *(uint8_t *)guest_ram_at(&nic->ram, table[i] + byte, 1) = bytes[byte];
        driver_split_offer(tx, testbed_write_chain(tx, &desc, 1));
        testbed_publish(tx);
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 100);
        assert_memory_equal(got, guest_ram_at(&nic->ram, gpa + HEADER, 100), 100);
    }
    testbed_finish(bed);
}

/* The same head again and again while the first is still unread: each is completed, nothing breaks.
 */
static void SPL_BAD_24_same_head_offered_many_times(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    struct driver_desc desc = {.addr = testbed_put_frame(nic, 60), .len = HEADER + 60};
    uint16_t head = testbed_write_chain(tx, &desc, 1);
    uint8_t got[NET_FRAME_MAX];
    uint64_t end = now_ms() + WAIT_LONG_MS;

    for (unsigned i = 0; i < 64; i++)
        driver_split_offer(tx, head);
    testbed_publish(tx);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 60);
    while (driver_split_used_idx(tx) != 64)
        assert_true(now_ms() < end);
    tx->used_idx = 64;
    testbed_exchange(nic, 0, 300);
    testbed_finish(bed);
}

static void SPL_BAD_25_unknown_flags_are_ignored(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    struct driver_desc desc = {
        .addr = testbed_put_frame(nic, 60), .len = HEADER + 60, .flags = 0xfff8};
    uint8_t got[NET_FRAME_MAX];

    driver_split_offer(tx, testbed_write_chain(tx, &desc, 1));
    testbed_publish(tx);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 60);
    testbed_finish(bed);
}

/* A full ring of chains of 1000 one-byte descriptors each, twice: bounded, and the bystander goes
 * on. */
static void SPL_BAD_32_many_tiny_descriptors_do_not_starve_others(void **state)
{
    struct testbed_options options = {.nic = "endpoint=null"};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t table = guest_ram_alloc(&nic->ram, 0, 1000 * 16, 16);
    struct driver_desc desc = {.addr = table, .len = 1000 * 16, .flags = DESC_INDIRECT};
    uint64_t end = now_ms() + WAIT_LONG_MS;

    for (unsigned i = 0; i < 1000; i++) {
        struct driver_desc entry = {.addr = TESTBED_RAM_GPA,
                                    .len = 1,
                                    .flags = i < 999 ? DESC_NEXT : 0,
                                    .next = (uint16_t)(i + 1)};

        driver_split_write_desc_at(tx, table + 16 * i, &entry);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 64; i++) {
            driver_split_write_desc(tx, i, &desc);
            driver_split_offer(tx, (uint16_t)i);
        }
        testbed_publish(tx);
        testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
        while (driver_split_used_idx(tx) != (uint16_t)((round + 1) * 64)) {
            check(now_ms() < end, "only %u chains came back", driver_split_used_idx(tx));
            sleep_ms(1);
        }
    }
    testbed_finish(bed);
}

static void SPL_BAD_33_event_index_that_never_fires_blocks_nobody(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    driver_split_store_used_event(testbed_tx(nic, 0), 0x8000);
    driver_split_store_used_event(testbed_rx(nic, 0), 0x8000);
    for (unsigned i = 0; i < 100; i++)
        testbed_exchange(nic, 0, 60);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(SPL_03_header_and_data_cut_at_every_byte),
        TESTBED_TEST(SPL_06_direct_descriptor_before_an_indirect_one),
        TESTBED_TEST(SPL_02_SPL_05_device_writes_only_what_is_its_to_write),
        TESTBED_TEST(SPL_01_ring_sizes),
        TESTBED_TEST(SPL_11_indices_wrap_at_16_bits_under_traffic),
        TESTBED_TEST(SPL_BAD_04_next_beyond_the_table),
        TESTBED_TEST(SPL_BAD_05_loops_end),
        TESTBED_TEST(SPL_BAD_06_loops_and_next_in_a_table),
        TESTBED_TEST(SPL_BAD_07_direct_and_table_above_the_cap),
        TESTBED_TEST(SPL_BAD_08_chain_above_4_gib_and_frame_above_64_kib),
        TESTBED_TEST(SPL_BAD_09_address_outside_memory),
        TESTBED_TEST(SPL_BAD_10_address_plus_length_wraps),
        TESTBED_TEST(SPL_BAD_11_hole_is_refused_and_border_is_crossed),
        TESTBED_TEST(SPL_BAD_13_readable_behind_writable),
        TESTBED_TEST(SPL_BAD_14_writable_part_of_a_tx_chain_is_left_alone),
        TESTBED_TEST(SPL_BAD_16_less_than_a_header_and_an_ethernet_header),
        TESTBED_TEST(SPL_BAD_16_header_split_over_descriptors_without_data),
        TESTBED_TEST(SPL_BAD_17_empty_descriptors),
        TESTBED_TEST(SPL_BAD_18_indirect_without_agreement),
        TESTBED_TEST(SPL_BAD_19_indirect_with_next),
        TESTBED_TEST(SPL_BAD_20_indirect_inside_a_table),
        TESTBED_TEST(SPL_BAD_21_indirect_length),
        TESTBED_TEST(SPL_BAD_22_table_outside_memory),
        TESTBED_TEST(SPL_BAD_22_table_over_the_border_and_unaligned),
        TESTBED_TEST(SPL_BAD_24_same_head_offered_many_times),
        TESTBED_TEST(SPL_BAD_25_unknown_flags_are_ignored),
        TESTBED_TEST(SPL_BAD_32_many_tiny_descriptors_do_not_starve_others),
        TESTBED_TEST(SPL_BAD_33_event_index_that_never_fires_blocks_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
