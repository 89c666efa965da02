/* SPDX-License-Identifier: MIT */
/* Status, features, reset and config space, as a driver sees them in the registers of virtio-mmio
 * and of virtio-pci: every test runs over both. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "register_bed.h"

static enum device_transport transport; /* of the group that runs */

enum {
    CONFIG_STATUS = 6, /* virtio 1.4, 5.1.4 */
    CONFIG_PAIRS = 8,
    LINK_UP = 1,
    CONFIG_REACH = 64,
    RESETS = 200,
};

static struct register_bed *open_bed(void **state)
{
    struct bed_options options = {.transport = transport};

    return register_bed_open(state, &options);
}

static struct register_bed *open_pairs(void **state, unsigned pairs)
{
    struct bed_options options = {.transport = transport, .pairs = pairs};

    return register_bed_open(state, &options);
}

/* A used buffer or configuration notification since the last call, by the line of both. */
static int line_is_up(struct register_bed *bed)
{
    return atomic_load(&bed->device.line);
}

/* ---- status ---------------------------------------------------------------------------------- */

static void GEN_ST_01_status_is_0_first_and_after_reset(void **state)
{
    struct register_bed *bed = open_bed(state);

    assert_int_equal(bed_status(bed), 0);
    register_bed_start(bed, BED_USUAL);
    bed_write_status(bed, 0);
    assert_int_equal(bed_status(bed), 0);
    register_bed_start(bed, BED_USUAL);
    register_device_reset(&bed->device);
    if (transport == DEVICE_PCI)
        register_driver_enable_pci(&bed->driver);
    assert_int_equal(bed_status(bed), 0);
}

static void GEN_ST_02_GEN_ST_03_nothing_before_driver_ok_and_everything_after(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint8_t frame[NET_TX_SLOT_LEN];

    register_bed_prepare(bed, BED_USUAL);
    net_driver_post(&bed->net[0], 32);
    register_bed_send(bed, 0, 300);
    bed->driver.ops->notify(&bed->driver, 1, 1);
    assert_int_equal(bed_status(bed), STATUS_BEFORE_QUEUES);
    register_bed_expect_silence(bed, 0);
    assert_int_equal(driver_split_used_idx(&bed->split[1]), 0);
    assert_false(line_is_up(bed));
    bed_write_status(bed, STATUS_RUNNING); /* no kick */
    assert_int_equal(net_driver_receive(&bed->net[0], frame, sizeof(frame), WAIT_LONG_MS), 300);
    net_driver_drain(&bed->net[0]);
    register_bed_await_line(bed, 1);
}

static void GEN_ST_04_broken_ring_sets_needs_reset_and_tells(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    driver_split_store_avail_idx(&bed->split[1], 5000);
    bed->driver.ops->notify(&bed->driver, 1, 1);
    register_bed_await_needs_reset(bed);
    assert_int_equal(bed_status(bed), STATUS_RUNNING | STATUS_NEEDS_RESET);
    register_bed_await_line(bed, 1);
    bed_write_status(bed, STATUS_RUNNING);
    assert_int_equal(bed_status(bed), STATUS_RUNNING | STATUS_NEEDS_RESET);
    register_bed_expect_new_life(bed);
}

static void GEN_ST_05_written_bits_only_add(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    bed_write_status(bed, STATUS_ACKNOWLEDGE);
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
    bed_write_status(bed, STATUS_NEEDS_RESET);
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
    register_bed_exchange(bed, 0, 100);
}

static void GEN_ST_06_driver_ok_without_features_ok(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_make_rings(bed, BED_USUAL);
    bed_write_status(bed, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    for (unsigned i = 0; i < 2; i++)
        register_driver_start_ring(&bed->driver, i, bed->ring[i]);
    net_driver_post(&bed->net[0], 32);
    register_bed_send(bed, 0, 100);
    bed_write_status(bed, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
    assert_int_equal(bed_status(bed),
                     STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK | STATUS_NEEDS_RESET);
    register_bed_await_line(bed, 1);
    register_bed_expect_silence(bed, 0);
    /* Not later either. */
    bed->driver.ops->write_driver_features(&bed->driver, 1, 1);
    bed_write_status(bed, STATUS_RUNNING);
    assert_false(bed_status(bed) & STATUS_FEATURES_OK);
    register_bed_expect_silence(bed, 0);
    register_bed_expect_new_life(bed);
}

static void GEN_ST_07_all_bits_in_one_write(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_make_rings(bed, BED_BIT(32));
    bed->driver.ops->write_driver_features(&bed->driver, 1, 1);
    for (unsigned i = 0; i < 2; i++)
        register_driver_start_ring(&bed->driver, i, bed->ring[i]);
    bed_write_status(bed, STATUS_RUNNING);
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
    net_driver_post(&bed->net[0], 32);
    register_bed_exchange(bed, 0, 100);
    /* Features that can't be: neither bit stays. */
    bed_write_status(bed, 0);
    bed->driver.ops->write_driver_features(&bed->driver, 0, 1u << 30);
    bed->driver.ops->write_driver_features(&bed->driver, 1, 1);
    bed_write_status(bed, STATUS_RUNNING);
    assert_int_equal(bed_status(bed), STATUS_ACKNOWLEDGE | STATUS_DRIVER);
}

static void GEN_ST_08_failed_stops_until_reset(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    register_bed_exchange(bed, 0, 100);
    bed_write_status(bed, STATUS_RUNNING | STATUS_FAILED);
    assert_int_equal(bed_status(bed), STATUS_RUNNING | STATUS_FAILED);
    register_bed_send(bed, 0, 100);
    register_bed_expect_silence(bed, 0);
    bed_write_status(bed, STATUS_RUNNING);
    register_bed_expect_silence(bed, 0);
    register_bed_expect_new_life(bed);
    /* FAILED first: a later DRIVER_OK is ignored. */
    register_bed_prepare(bed, BED_USUAL);
    bed_write_status(bed, STATUS_BEFORE_QUEUES | STATUS_FAILED);
    bed_write_status(bed, STATUS_RUNNING);
    assert_int_equal(bed_status(bed), STATUS_BEFORE_QUEUES | STATUS_FAILED);
}

static void GEN_ST_09_same_status_again_changes_nothing(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 100; i++) {
        bed_write_status(bed, STATUS_RUNNING);
        register_bed_exchange(bed, 0, 60 + i);
    }
    assert_int_equal(driver_split_used_idx(&bed->split[1]), 100);
}

static void GEN_ST_10_undefined_and_suspend_bits_are_not_stored(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    bed_write_status(bed, STATUS_RUNNING | 32);
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
    bed_write_status(bed, STATUS_RUNNING | STATUS_SUSPEND); /* not negotiated */
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
    register_bed_exchange(bed, 0, 100);
}

/* ---- reset ----------------------------------------------------------------------------------- */

static void GEN_RST_01_nothing_is_written_after_a_reset(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned round = 0; round < 20; round++) {
        static uint8_t before[4 << 20];
        uint8_t *ram = bed->ram.region[0].map;

        register_bed_start(bed, round % 2 ? BED_USUAL | BED_PACKED : BED_USUAL);
        for (unsigned i = 0; i < 16; i++)
            register_bed_send(bed, 0, 1000);
        bed_write_status(bed, 0);
        assert_int_equal(bed_status(bed), 0);
        memset(ram, 0x5a, sizeof(before));
        memcpy(before, ram, sizeof(before));
        bed->driver.ops->notify(&bed->driver, 1, 1);
        sleep_ms(5);
        register_device_dispatch(&bed->device);
        assert_memory_equal(before, ram, sizeof(before));
        assert_false(line_is_up(bed));
    }
}

static void GEN_RST_02_registers_are_as_at_first(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint32_t max = bed->driver.ops->queue_size_max(&bed->driver, 0);

    register_bed_start(bed, BED_USUAL);
    bed->driver.ops->write_driver_features(&bed->driver, 3, 7);
    register_bed_exchange(bed, 0, 100);
    bed_write_status(bed, 0);
    assert_false(line_is_up(bed));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, i), 0);
        assert_int_equal(bed->driver.ops->queue_size_max(&bed->driver, i), max);
    }
    /* Nothing of the old choice is left: not even VERSION_1. */
    bed_write_status(bed, STATUS_BEFORE_QUEUES);
    assert_int_equal(bed_status(bed), STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    register_bed_expect_new_life(bed);
}

static void phase_begin(struct register_bed *bed, unsigned phase)
{
    struct register_ring half = {.size = 64, .desc = 0xdeadbeef00000000ull};

    switch (phase) {
    case 0:
        bed_write_status(bed, STATUS_ACKNOWLEDGE);
        bed->driver.ops->write_driver_features(&bed->driver, 0, UINT32_MAX);
        break;
    case 1:
        register_driver_negotiate(&bed->driver, BED_USUAL);
        bed->driver.ops->write_ring(&bed->driver, 1, &half);
        break;
    case 2:
        register_bed_prepare(bed, BED_USUAL);
        break;
    case 3:
        register_bed_start(bed, BED_USUAL | BED_SUSPEND);
        bed_write_status(bed, STATUS_RUNNING | STATUS_SUSPEND);
        break;
    case 4:
        register_bed_start(bed, BED_USUAL);
        bed_write_status(bed, STATUS_FAILED);
        break;
    case 5:
        register_bed_start(bed, BED_USUAL);
        driver_split_store_avail_idx(&bed->split[1], 5000);
        bed->driver.ops->notify(&bed->driver, 1, 1);
        break;
    default:
        register_bed_start(bed, BED_USUAL | BED_PACKED);
        for (unsigned i = 0; i < 16; i++)
            register_bed_send(bed, 0, 1400);
        break;
    }
}

static void GEN_RST_05_reset_in_every_phase(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned phase = 0; phase < 7; phase++) {
        phase_begin(bed, phase);
        bed_write_status(bed, 0);
        bed_write_status(bed, 0);
        assert_int_equal(bed_status(bed), 0);
        register_device_dispatch(&bed->device);
        assert_int_equal(bed_status(bed), 0);
        register_bed_expect_new_life(bed);
    }
}

static void GEN_RST_06_BOOT_06_many_resets_with_other_features(void **state)
{
    static const uint64_t features[] = {BED_USUAL, BED_BIT(32), BED_USUAL | BED_PACKED,
                                        BED_USUAL | BED_IN_ORDER,
                                        BED_USUAL | BED_PACKED | BED_IN_ORDER};
    struct register_bed *bed = open_bed(state);

    for (unsigned i = 0; i < RESETS; i++) {
        register_bed_start(bed, features[i % 5]);
        register_bed_exchange(bed, 0, 60 + i);
    }
}

/* ---- features -------------------------------------------------------------------------------- */

static void GEN_FT_07_windows_of_32_bits(void **state)
{
    static const uint32_t none[] = {3, 4, 5, 6, 0x100, 0x7fffffff, 0xffffffff};
    struct register_bed *bed = open_bed(state);
    const struct register_driver_ops *ops = bed->driver.ops;
    uint64_t offer = register_driver_offer(&bed->driver);

    assert_true(offer & BED_BIT(32));
    assert_true(offer & BED_BIT(5));  /* MAC */
    assert_true(offer & BED_SUSPEND); /* by registers alone */
    assert_true(offer & BED_RESET);
    for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_int_equal(ops->device_features(&bed->driver, none[i]), 0);
    /* GEN-FT-09: whatever the driver writes. */
    for (uint32_t select = 0; select < 6; select++)
        ops->write_driver_features(&bed->driver, select, UINT32_MAX);
    assert_true(register_driver_offer(&bed->driver) == offer);
}

/* No transport offers what only others have (GEN-FT-02). */
static void GEN_FT_02_what_registers_never_offer(void **state)
{
    static const unsigned never[] = {24, 26, 30, 37, 39, 41};
    struct register_bed *bed = open_bed(state);
    uint64_t offer = register_driver_offer(&bed->driver);

    for (unsigned i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        assert_false(offer & BED_BIT(never[i]));
}

/* OUT_NET_HEADER and IPSEC, which would make the header longer. */
static void NET_TX_14_outer_headers_are_not_offered(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned bit = 69; bit <= 70; bit++) {
        uint32_t high = 1u << (bit - 64);

        assert_false(bed->driver.ops->device_features(&bed->driver, 2) & high);
        bed->driver.features_high = high;
        assert_int_equal(register_driver_negotiate(&bed->driver, BED_USUAL),
                         STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    }
    bed->driver.features_high = 0;
    register_bed_expect_new_life(bed);
}

static void GEN_FT_03_GEN_FT_04_refused_features_may_be_mended(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint64_t offer = register_driver_offer(&bed->driver);

    for (unsigned bit = 0; bit < 64; bit++) {
        if (offer & BED_BIT(bit))
            continue;
        assert_int_equal(register_driver_negotiate(&bed->driver, BED_BIT(32) | BED_BIT(bit)),
                         STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    }
    /* A bit of the third window, and VERSION_1 left out (GEN-FT-06). */
    bed->driver.ops->write_driver_features(&bed->driver, 1, 1);
    bed->driver.ops->write_driver_features(&bed->driver, 0, 0);
    bed->driver.ops->write_driver_features(&bed->driver, 2, 1);
    bed_write_status(bed, STATUS_BEFORE_QUEUES);
    assert_int_equal(bed_status(bed), STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    bed->driver.ops->write_driver_features(&bed->driver, 2, 0);
    bed->driver.ops->write_driver_features(&bed->driver, 1, 0);
    bed_write_status(bed, STATUS_BEFORE_QUEUES);
    assert_int_equal(bed_status(bed), STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    /* Without a reset. */
    bed->driver.ops->write_driver_features(&bed->driver, 1, 1);
    bed_write_status(bed, STATUS_BEFORE_QUEUES);
    assert_int_equal(bed_status(bed), STATUS_BEFORE_QUEUES);
}

static void GEN_FT_05_writes_after_features_ok_are_ignored(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_prepare(bed, BED_USUAL);
    bed->driver.ops->write_driver_features(&bed->driver, 0, 0);
    bed->driver.ops->write_driver_features(&bed->driver, 1, 1 | 1u << 2); /* RING_PACKED */
    bed_write_status(bed, STATUS_RUNNING);
    net_driver_post(&bed->net[0], 32);
    register_bed_exchange(bed, 0, 100);
}

/* ---- config space ---------------------------------------------------------------------------- */

static void GEN_CFG_02_GEN_CFG_06_reads_of_every_offset_and_width(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint8_t whole[CONFIG_REACH + 8] = {0};

    for (unsigned i = 0; i < CONFIG_REACH; i++)
        whole[i] = (uint8_t)bed->driver.ops->config(&bed->driver, i, 1);
    assert_memory_equal(whole, "\x52\x54\0\0\0\1", 6);
    assert_int_equal(whole[CONFIG_STATUS], LINK_UP);
    for (unsigned i = 28; i < CONFIG_REACH; i++)
        assert_int_equal(whole[i], 0);
    for (unsigned width = 1; width <= 8; width *= 2) {
        for (unsigned i = 0; i < CONFIG_REACH; i++) {
            uint64_t value = bed->driver.ops->config(&bed->driver, i, width);

            for (unsigned byte = 0; byte < width; byte++)
                check((value >> (8 * byte) & 0xff) == whole[i + byte],
                      "offset %u width %u reads 0x%llx", i, width, (unsigned long long)value);
        }
    }
    assert_int_equal(bed->driver.ops->config(&bed->driver, 0, 3), 0);
    assert_int_equal(bed->driver.ops->config(&bed->driver, 0, 16), 0);
}

static void GEN_CFG_06_writes_are_ignored(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint64_t first = bed->driver.ops->config(&bed->driver, 0, 8);

    for (unsigned width = 1; width <= 8; width *= 2) {
        for (unsigned i = 0; i < CONFIG_REACH; i++)
            bed->driver.ops->write_config(&bed->driver, i, width, UINT64_MAX);
    }
    assert_true(bed->driver.ops->config(&bed->driver, 0, 8) == first);
    register_bed_expect_new_life(bed);
}

static void WIN_01_eight_bytes_at_16(void **state)
{
    struct register_bed *bed = open_pairs(state, 2);
    uint64_t value = bed->driver.ops->config(&bed->driver, 16, 8);
    uint32_t speed = (uint32_t)bed->driver.ops->config(&bed->driver, 12, 4);

    assert_int_equal(value & 0xff, 1); /* duplex */
    assert_int_equal(bed->driver.ops->config(&bed->driver, 16, 1), 1);
    assert_int_not_equal(speed, 0);
    assert_int_equal(bed->driver.ops->config(&bed->driver, CONFIG_PAIRS, 2), 2);
}

static void GEN_CFG_03_every_seen_change_changes_the_generation(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint32_t generation = bed->driver.ops->generation(&bed->driver);

    assert_int_equal(bed->driver.ops->generation(&bed->driver), generation);
    for (unsigned i = 0; i < 600; i++) {
        uint32_t next;

        register_device_set_link(&bed->device, (int)(i % 2));
        /* 256 changes between two reads are one. */
        for (unsigned k = 0; i == 100 && k < 256; k++)
            register_device_set_link(&bed->device, (int)((k + 1) % 2));
        assert_int_equal(bed->driver.ops->config(&bed->driver, CONFIG_STATUS, 2),
                         i % 2 == 0 ? 0 : LINK_UP);
        next = bed->driver.ops->generation(&bed->driver);
        assert_int_not_equal(next, generation);
        generation = next;
    }
}

static void GEN_CFG_05_a_change_is_told_to_a_driver_that_is_there(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_prepare(bed, BED_USUAL | BED_STATUS);
    register_device_set_link(&bed->device, 0);
    assert_false(line_is_up(bed));
    assert_int_equal(bed->driver.ops->config(&bed->driver, CONFIG_STATUS, 2), 0);
    bed_write_status(bed, STATUS_RUNNING);
    assert_false(line_is_up(bed));
    register_device_set_link(&bed->device, 1);
    assert_true(line_is_up(bed));
    assert_int_equal(bed->driver.ops->config(&bed->driver, CONFIG_STATUS, 2), LINK_UP);
}

/* ---- inspect --------------------------------------------------------------------------------- */

static void registers_are_shown(void **state)
{
    struct register_bed *bed = open_bed(state);
    char text[DEVICE_TEXT_LEN];

    register_device_inspect(&bed->device, text);
    assert_non_null(strstr(text, transport == DEVICE_MMIO ? "transport=mmio" : "transport=pci"));
    assert_null(strstr(text, "running=yes"));
    register_bed_start(bed, BED_USUAL);
    register_bed_exchange(bed, 0, 100);
    register_device_inspect(&bed->device, text);
    assert_non_null(strstr(text, "running=yes"));
    assert_non_null(strstr(text, "accepted_features=indirect_desc event_idx version_1"));
    assert_non_null(strstr(text, "desc=0x100000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(GEN_ST_01_status_is_0_first_and_after_reset),
        BED_TEST(GEN_ST_02_GEN_ST_03_nothing_before_driver_ok_and_everything_after),
        BED_TEST(GEN_ST_04_broken_ring_sets_needs_reset_and_tells),
        BED_TEST(GEN_ST_05_written_bits_only_add),
        BED_TEST(GEN_ST_06_driver_ok_without_features_ok),
        BED_TEST(GEN_ST_07_all_bits_in_one_write),
        BED_TEST(GEN_ST_08_failed_stops_until_reset),
        BED_TEST(GEN_ST_09_same_status_again_changes_nothing),
        BED_TEST(GEN_ST_10_undefined_and_suspend_bits_are_not_stored),
        BED_TEST(GEN_RST_01_nothing_is_written_after_a_reset),
        BED_TEST(GEN_RST_02_registers_are_as_at_first),
        BED_TEST(GEN_RST_05_reset_in_every_phase),
        BED_TEST(GEN_RST_06_BOOT_06_many_resets_with_other_features),
        BED_TEST(GEN_FT_07_windows_of_32_bits),
        BED_TEST(GEN_FT_02_what_registers_never_offer),
        BED_TEST(NET_TX_14_outer_headers_are_not_offered),
        BED_TEST(GEN_FT_03_GEN_FT_04_refused_features_may_be_mended),
        BED_TEST(GEN_FT_05_writes_after_features_ok_are_ignored),
        BED_TEST(GEN_CFG_02_GEN_CFG_06_reads_of_every_offset_and_width),
        BED_TEST(GEN_CFG_06_writes_are_ignored),
        BED_TEST(WIN_01_eight_bytes_at_16),
        BED_TEST(GEN_CFG_03_every_seen_change_changes_the_generation),
        BED_TEST(GEN_CFG_05_a_change_is_told_to_a_driver_that_is_there),
        BED_TEST(registers_are_shown),
    };

    return BED_RUN_BOTH(tests, &transport);
}
