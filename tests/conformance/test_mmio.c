/* SPDX-License-Identifier: MIT */
/* What is virtio-mmio's own (virtio 1.4, 4.2): its register map and its interrupt line. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "register_bed.h"

enum {
    FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030,
    QUEUE_SIZE = 0x038,
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_RESET = 0x0c0,
    GENERATION = 0x0fc,
    CONFIG = 0x100,

    USED = 1,
    CHANGED = 2,
};

static struct register_bed *open_bed(void **state)
{
    struct bed_options options = {.transport = DEVICE_MMIO};

    return register_bed_open(state, &options);
}

static uint64_t get(struct register_bed *bed, uint64_t offset)
{
    return register_read(&bed->driver, SPACE_MMIO, offset, 4);
}

static void put(struct register_bed *bed, uint64_t offset, uint64_t value)
{
    register_write(&bed->driver, SPACE_MMIO, offset, 4, value);
}

static int line(struct register_bed *bed)
{
    return atomic_load(&bed->device.line);
}

static void MMIO_01_constants(void **state)
{
    struct register_bed *bed = open_bed(state);

    assert_int_equal(get(bed, 0x000), 0x74726976);
    assert_int_equal(get(bed, 0x004), 2);
    assert_int_equal(get(bed, 0x008), 1);
    assert_int_not_equal(get(bed, 0x00c), 0);
    put(bed, 0x000, 0);
    put(bed, 0x008, 7);
    assert_int_equal(get(bed, 0x000), 0x74726976);
    assert_int_equal(get(bed, 0x008), 1);
}

/* ---- the line ---------------------------------------------------------------------------------
 */

static void MMIO_02_line_follows_the_status(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL | BED_STATUS);
    assert_int_equal(get(bed, INTERRUPT_STATUS), 0);
    register_bed_exchange(bed, 0, 100);
    register_bed_await_line(bed, 1);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(get(bed, INTERRUPT_STATUS), USED | CHANGED);
    /* Only the device knows these bits. */
    put(bed, INTERRUPT_STATUS, 0);
    assert_int_equal(get(bed, INTERRUPT_STATUS), USED | CHANGED);
    put(bed, INTERRUPT_ACK, ~3u);
    assert_int_equal(get(bed, INTERRUPT_STATUS), USED | CHANGED);
    assert_int_equal(line(bed), 1);
    put(bed, INTERRUPT_ACK, USED);
    assert_int_equal(get(bed, INTERRUPT_STATUS), CHANGED);
    assert_int_equal(line(bed), 1);
    put(bed, INTERRUPT_ACK, CHANGED);
    assert_int_equal(get(bed, INTERRUPT_STATUS), 0);
    assert_int_equal(line(bed), 0);
}

static void MMIO_02_reset_lowers_the_line(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned i = 0; i < 3; i++) {
        register_bed_start(bed, BED_USUAL);
        register_bed_exchange(bed, 0, 100);
        register_bed_await_line(bed, 1);
        if (i == 2)
            register_device_reset(&bed->device);
        else
            put(bed, STATUS, 0);
        assert_int_equal(line(bed), 0);
        assert_int_equal(get(bed, INTERRUPT_STATUS), 0);
    }
}

/* An event between the read of the status and its acknowledgement keeps the line up. */
static void MMIO_03_event_before_the_acknowledgement_is_not_lost(void **state)
{
    struct register_bed *bed = open_bed(state);
    unsigned calls;

    register_bed_start(bed, BED_USUAL | BED_STATUS);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(get(bed, INTERRUPT_STATUS), CHANGED);
    register_device_set_link(&bed->device, 1);
    calls = atomic_load(&bed->device.line_calls);
    put(bed, INTERRUPT_ACK, CHANGED);
    assert_int_equal(line(bed), 1);
    /* An edge-triggered interrupt is raised once more. */
    assert_true(atomic_load(&bed->device.line_calls) > calls);
    assert_int_equal(get(bed, INTERRUPT_STATUS), CHANGED);
    put(bed, INTERRUPT_ACK, CHANGED);
    assert_int_equal(line(bed), 0);
    /* A driver that acknowledges without looking gets rid of it too. */
    register_device_set_link(&bed->device, 0);
    put(bed, INTERRUPT_ACK, 3);
    put(bed, INTERRUPT_ACK, 3);
    assert_int_equal(line(bed), 0);
}

/* A driver that sleeps until the line is up, and acknowledges before it looks at its rings. */
static void MMIO_03_driver_that_waits_for_the_line_sees_every_frame(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint8_t frame[2048];
    unsigned received = 0;

    register_bed_start(bed, BED_BIT(32));
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t end = now_ms() + WAIT_LONG_MS;

        register_bed_send(bed, 0, 100);
        while (received <= i) {
            while (!line(bed))
                check(now_ms() < end, "an interrupt was lost at frame %u", i);
            put(bed, INTERRUPT_ACK, get(bed, INTERRUPT_STATUS));
            while (net_driver_receive(&bed->net[0], frame, sizeof(frame), 0) >= 0)
                received++;
            net_driver_reap(&bed->net[0]);
        }
    }
    assert_int_equal(received, 3000);
}

/* ---- queues ------------------------------------------------------------------------------------
 */

static void MMIO_04_ready_is_read_back_and_stops_at_once(void **state)
{
    struct register_bed *bed = open_bed(state);
    static uint8_t before[4 << 20];
    uint8_t *ram = bed->ram.region[0].map;

    put(bed, QUEUE_SEL, 1);
    assert_int_equal(get(bed, QUEUE_READY), 0);
    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 16; i++)
        register_bed_send(bed, 0, 1000);
    for (unsigned i = 2; i-- > 0;) {
        put(bed, QUEUE_SEL, i);
        assert_int_equal(get(bed, QUEUE_READY), 1);
        put(bed, QUEUE_READY, 0);
        assert_int_equal(get(bed, QUEUE_READY), 0);
    }
    memset(ram, 0x5a, sizeof(before));
    memcpy(before, ram, sizeof(before));
    put(bed, QUEUE_NOTIFY, 1);
    sleep_ms(5);
    assert_memory_equal(before, ram, sizeof(before));
    /* A ring that is made ready again is a new one. */
    register_bed_remake_pair(bed, 0, 32);
    for (unsigned i = 0; i < 2; i++)
        register_driver_start_ring(&bed->driver, i, bed->ring[i]);
    net_driver_post(&bed->net[0], 32);
    for (unsigned i = 0; i < 100; i++)
        register_bed_exchange(bed, 0, 100);
}

static void MMIO_05_queue_reset(void **state)
{
    struct register_bed *bed = open_bed(state);

    put(bed, QUEUE_SEL, 1);
    assert_int_equal(get(bed, QUEUE_RESET), 0);
    register_bed_start(bed, BED_USUAL | BED_RESET);
    put(bed, QUEUE_SEL, 1);
    put(bed, QUEUE_RESET, 0);
    put(bed, QUEUE_RESET, 2);
    assert_int_equal(get(bed, QUEUE_READY), 1);
    put(bed, QUEUE_RESET, 1);
    assert_int_equal(get(bed, QUEUE_RESET), 0);
    assert_int_equal(get(bed, QUEUE_READY), 0);
    /* Size and places are as after a device reset: there is no ring at 0. */
    put(bed, QUEUE_READY, 1);
    assert_int_equal(get(bed, QUEUE_READY), 0);
}

static void MMIO_06_generation(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint64_t before = get(bed, GENERATION);

    register_device_set_link(&bed->device, 0);
    assert_int_not_equal(get(bed, GENERATION), before);
    before = get(bed, GENERATION);
    assert_int_equal(get(bed, GENERATION), before);
}

static void MMIO_07_no_shared_memory(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (uint32_t i = 0; i < 300; i++) {
        put(bed, 0x0ac, i);
        for (uint32_t at = 0x0b0; at <= 0x0bc; at += 4)
            assert_int_equal(get(bed, at), UINT32_MAX);
    }
}

static int readable(uint32_t offset)
{
    static const uint16_t registers[] = {0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x044, 0x060,
                                         0x070, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0c0, 0x0fc};

    for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
        if (registers[i] == offset)
            return 1;
    }
    return 0;
}

static void MMIO_08_other_widths_and_holes(void **state)
{
    static const unsigned widths[] = {0, 1, 2, 3, 4, 5, 8, 16};
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        for (uint32_t offset = 0; offset < CONFIG; offset++) {
            if (widths[i] == 4 && offset % 4 == 0)
                continue;
            assert_int_equal(register_read(&bed->driver, SPACE_MMIO, offset, widths[i]), 0);
            register_write(&bed->driver, SPACE_MMIO, offset, widths[i], 0);
            register_write(&bed->driver, SPACE_MMIO, offset, widths[i], UINT64_MAX);
        }
    }
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
    for (uint32_t offset = 0; offset < CONFIG; offset += 4) {
        if (!readable(offset))
            assert_int_equal(get(bed, offset), 0);
    }
    for (uint64_t offset = CONFIG + 28; offset < 0x1000; offset++)
        assert_int_equal(register_read(&bed->driver, SPACE_MMIO, offset, 1), 0);
    assert_int_equal(register_read(&bed->driver, SPACE_MMIO, UINT64_MAX, 8), 0);
    register_write(&bed->driver, SPACE_MMIO, UINT64_MAX, 8, 1);
    register_bed_exchange(bed, 0, 100);
}

static void MMIO_08_every_register_takes_any_word(void **state)
{
    static const uint32_t words[] = {0,    1,      2,       3,          0x7f,
                                     0xff, 0xffff, 0x10000, 0x80000000, 0xffffffff};
    struct register_bed *bed = open_bed(state);

    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t offset = 0; offset < 0x200; offset += 4) {
            for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
                put(bed, offset, words[i]);
                get(bed, offset);
            }
        }
        register_device_dispatch(&bed->device);
        register_bed_expect_new_life(bed);
    }
}

static void MMIO_09_sizes_are_judged_when_the_queue_is_made_ready(void **state)
{
    static const uint32_t sizes[] = {0, 3, 2048, 0x10000, 0x10040, 0xffffffff, 64};
    struct register_bed *bed = open_bed(state);
    struct register_ring ring;

    register_driver_negotiate(&bed->driver, BED_USUAL);
    register_bed_make_rings(bed, BED_USUAL);
    ring = (struct register_ring){64, bed->ring[0]->desc_area, bed->ring[0]->driver_area,
                                  bed->ring[0]->device_area};
    bed->driver.ops->write_ring(&bed->driver, 0, &ring);
    for (unsigned i = 0; i < 7; i++) {
        put(bed, QUEUE_SIZE, sizes[i]);
        put(bed, QUEUE_READY, 1);
        assert_int_equal(get(bed, QUEUE_READY), sizes[i] == 64);
    }
    assert_int_equal(bed_status(bed), STATUS_BEFORE_QUEUES | STATUS_NEEDS_RESET);
}

static void MMIO_10_ring_registers_of_a_ready_queue(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    put(bed, QUEUE_SEL, 1);
    for (uint32_t offset = QUEUE_DESC; offset < 0x0a8; offset += 4)
        put(bed, offset, 0xffffffff);
    put(bed, QUEUE_SIZE, 4);
    register_bed_exchange(bed, 0, 100);
}

static void MMIO_11_windows_high_half_first(void **state)
{
    struct register_bed *bed = open_bed(state);

    put(bed, FEATURES_SEL, 1);
    assert_int_equal(get(bed, 0x010) & 1, 1);
    put(bed, STATUS, 3);
    put(bed, DRIVER_FEATURES_SEL, 1);
    put(bed, DRIVER_FEATURES, 1);
    put(bed, DRIVER_FEATURES_SEL, 0);
    put(bed, DRIVER_FEATURES, 1u << 29);
    assert_int_equal(get(bed, DRIVER_FEATURES), 0); /* to be written only */
    put(bed, STATUS, 11);
    assert_int_equal(get(bed, STATUS), 11);
    /* LNX-09: without VERSION_1 a version 2 device is refused, by both. */
    put(bed, STATUS, 0);
    put(bed, STATUS, 3);
    put(bed, DRIVER_FEATURES, 1u << 29);
    put(bed, STATUS, 11);
    assert_int_equal(get(bed, STATUS), 3);
}

static void MMIO_12_notify_by_index_and_by_word(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 50; i++) {
        put(bed, QUEUE_NOTIFY, 1 | i << 16);
        register_bed_exchange(bed, 0, 100);
    }
    put(bed, QUEUE_NOTIFY, 0xffff);
    put(bed, QUEUE_NOTIFY, 2);
    register_bed_exchange(bed, 0, 100);
}

static void MMIO_13_legacy_registers_are_not_there(void **state)
{
    static const uint32_t legacy[] = {0x028, 0x03c, 0x040};
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 3; i++) {
        put(bed, legacy[i], 4096);
        assert_int_equal(get(bed, legacy[i]), 0);
    }
    register_bed_exchange(bed, 0, 100);
}

/* What Linux does when its module goes and comes (LNX-09). */
static void LNX_09_reset_without_waiting(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned i = 0; i < 50; i++) {
        register_bed_start(bed, BED_USUAL | BED_PACKED);
        register_bed_exchange(bed, 0, 100);
        put(bed, STATUS, 0); /* no poll; then each queue must read not ready */
        for (unsigned queue = 0; queue < 2; queue++) {
            put(bed, QUEUE_SEL, queue);
            put(bed, QUEUE_READY, 0);
            assert_int_equal(get(bed, QUEUE_READY), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(MMIO_01_constants),
        BED_TEST(MMIO_02_line_follows_the_status),
        BED_TEST(MMIO_02_reset_lowers_the_line),
        BED_TEST(MMIO_03_event_before_the_acknowledgement_is_not_lost),
        BED_TEST(MMIO_03_driver_that_waits_for_the_line_sees_every_frame),
        BED_TEST(MMIO_04_ready_is_read_back_and_stops_at_once),
        BED_TEST(MMIO_05_queue_reset),
        BED_TEST(MMIO_06_generation),
        BED_TEST(MMIO_07_no_shared_memory),
        BED_TEST(MMIO_08_other_widths_and_holes),
        BED_TEST(MMIO_08_every_register_takes_any_word),
        BED_TEST(MMIO_09_sizes_are_judged_when_the_queue_is_made_ready),
        BED_TEST(MMIO_10_ring_registers_of_a_ready_queue),
        BED_TEST(MMIO_11_windows_high_half_first),
        BED_TEST(MMIO_12_notify_by_index_and_by_word),
        BED_TEST(MMIO_13_legacy_registers_are_not_there),
        BED_TEST(LNX_09_reset_without_waiting),
    };

    return cmocka_run_group_tests_name("mmio", tests, NULL, NULL);
}
