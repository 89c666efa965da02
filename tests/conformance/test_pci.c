/* SPDX-License-Identifier: MIT */
/* What is virtio-pci's own (virtio 1.4, 4.1): config space, capabilities, the common structure, the
 * window, notifications. Interrupts are in test_pci_interrupts.c. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "register_bed.h"

#define ADMIN_VQ BED_BIT(41)

enum {
    CFG_COMMON = 1,
    CFG_NOTIFY = 2,
    CFG_ISR = 3,
    CFG_DEVICE = 4,
    CFG_WINDOW = 5,

    COMMAND = 0x04,
    BAR_0 = 0x10,
    BAR_LEN = 0x10000,

    NUM_QUEUES = 0x12,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_RESET = 0x3a,
    ADMIN_QUEUE_INDEX = 0x3c,
    ADMIN_QUEUE_NUM = 0x3e,
};

static struct register_bed *open_bed(void **state)
{
    struct bed_options options = {.transport = DEVICE_PCI};

    return register_bed_open(state, &options);
}

static uint32_t config_get(struct register_bed *bed, uint32_t offset, unsigned width)
{
    return (uint32_t)register_read(&bed->driver, SPACE_PCI_CONFIG, offset, width);
}

static void config_put(struct register_bed *bed, uint32_t offset, unsigned width, uint32_t value)
{
    register_write(&bed->driver, SPACE_PCI_CONFIG, offset, width, value);
}

static uint64_t get(struct register_bed *bed, uint32_t offset, unsigned width)
{
    return register_read(&bed->driver, SPACE_PCI_BAR,
                         bed->driver.structure[CFG_COMMON].offset + offset, width);
}

static void put(struct register_bed *bed, uint32_t offset, unsigned width, uint64_t value)
{
    register_write(&bed->driver, SPACE_PCI_BAR, bed->driver.structure[CFG_COMMON].offset + offset,
                   width, value);
}

/* ---- config space ------------------------------------------------------------------------------
 */

static void identity(void **state)
{
    struct register_bed *bed = open_bed(state);

    assert_int_equal(config_get(bed, 0x00, 4), 0x10411af4);
    assert_true(config_get(bed, 0x08, 1) >= 1);                /* revision */
    assert_int_equal(config_get(bed, 0x08, 4) >> 8, 0x020000); /* class */
    assert_true(config_get(bed, 0x2e, 2) >= 0x40);             /* subsystem */
    assert_int_equal(config_get(bed, 0x0e, 1), 0);             /* header type */
    assert_int_equal(config_get(bed, 0x3d, 1), 1);             /* INTA */
    for (uint32_t offset = 0; offset < 64; offset++) {
        if (offset == COMMAND || offset == COMMAND + 1 || (offset >= BAR_0 && offset < 0x18) ||
            offset == 0x3c)
            continue;
        for (unsigned width = 1; width <= 4; width *= 2) {
            uint32_t before = config_get(bed, offset, 1);

            config_put(bed, offset, 1, ~before);
            assert_int_equal(config_get(bed, offset, 1), before);
        }
    }
}

/* A driver of the legacy layout looks for its ID, and for ports. */
static void PCI_15_there_is_no_legacy_layout(void **state)
{
    struct register_bed *bed = open_bed(state);

    assert_true(config_get(bed, 0x02, 2) > 0x103f);
    assert_int_equal(config_get(bed, BAR_0, 4) & 1, 0);    /* memory */
    for (uint32_t bar = BAR_0 + 8; bar < 0x28; bar += 4) { /* behind its upper half */
        config_put(bed, bar, 4, 0xffffffff);
        assert_int_equal(config_get(bed, bar, 4) & 1, 0);
    }
}

static void PCI_01_capabilities(void **state)
{
    struct register_bed *bed = open_bed(state);
    const struct pci_structure *of = bed->driver.structure;

    assert_int_equal(of[CFG_COMMON].len, 64);
    assert_int_equal(of[CFG_COMMON].offset % 4, 0);
    assert_int_equal(of[CFG_DEVICE].offset % 4, 0);
    assert_true(of[CFG_DEVICE].len >= 28);
    assert_true(of[CFG_ISR].len >= 1);
    assert_true(of[CFG_NOTIFY].cap_len >= 20);
    assert_true(of[CFG_WINDOW].cap_len >= 20);
    assert_int_equal(bed->driver.notify_multiplier, 4);
    assert_true(of[CFG_NOTIFY].len >= 2 * 4);
    assert_int_equal(of[CFG_NOTIFY].offset % 4, 0);
    for (unsigned type = CFG_COMMON; type <= CFG_DEVICE; type++) {
        assert_int_equal(of[type].bar, 0);
        assert_true(of[type].cap_len >= 16);
        assert_true(of[type].offset + of[type].len <= BAR_LEN);
    }
    assert_int_not_equal(bed->driver.msix_cap, 0);
    assert_int_equal(bed->driver.msix_vectors, 4); /* 2 * pairs + 2 */
}

static void PCI_13_BAR_is_sized_and_moved(void **state)
{
    struct register_bed *bed = open_bed(state);

    assert_true(bed->device.mapped);
    config_put(bed, COMMAND, 2, 0);
    assert_false(bed->device.mapped);
    config_put(bed, BAR_0, 4, 0xffffffff);
    config_put(bed, BAR_0 + 4, 4, 0xffffffff);
    assert_int_equal(config_get(bed, BAR_0, 4), (uint32_t) ~(BAR_LEN - 1) | 4);
    assert_int_equal(config_get(bed, BAR_0 + 4, 4), 0xffffffff);
    for (uint32_t bar = 0x18; bar < 0x28; bar += 4) {
        config_put(bed, bar, 4, 0xffffffff);
        assert_int_equal(config_get(bed, bar, 4), 0);
    }
    config_put(bed, BAR_0, 4, 0x12345678);
    config_put(bed, BAR_0 + 4, 2, 0x0009);
    config_put(bed, BAR_0 + 6, 2, 0);
    assert_false(bed->device.mapped);
    config_put(bed, COMMAND, 2, 2);
    assert_true(bed->device.mapped);
    assert_true(bed->device.bar == 0x912340000ull);
    /* Bytes one by one, while it is mapped. */
    config_put(bed, BAR_0 + 3, 1, 0xab);
    assert_true(bed->device.bar == 0x9ab340000ull);
}

static void PCI_13_disabled_memory_reads_ones(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    config_put(bed, COMMAND, 2, 4);
    for (unsigned width = 1; width <= 8; width *= 2)
        assert_true(get(bed, 0, width) == (width == 8 ? UINT64_MAX : (1ull << (8 * width)) - 1));
    put(bed, 0x14, 1, 0);
    config_put(bed, COMMAND, 2, 6);
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
    register_bed_exchange(bed, 0, 100);
}

static void PCI_13_no_access_to_memory_without_bus_master(void **state)
{
    struct register_bed *bed = open_bed(state);
    static uint8_t before[4 << 20];
    uint8_t *ram = bed->ram.region[0].map;
    uint8_t frame[2048];

    for (unsigned packed = 0; packed < 2; packed++) {
        register_bed_start(bed, BED_USUAL | (packed ? BED_PACKED : 0));
        for (unsigned round = 0; round < 20; round++) {
            for (unsigned i = 0; i < 8; i++)
                register_bed_send(bed, 0, 1000);
            config_put(bed, COMMAND, 2, 2);
            assert_int_equal(atomic_load(&bed->device.line), 0);
            for (unsigned i = 0; i < 8; i++)
                register_bed_send(bed, 0, 1000);
            memcpy(before, ram, sizeof(before));
            sleep_ms(1);
            assert_memory_equal(before, ram, sizeof(before));
            assert_int_equal(atomic_load(&bed->device.line), 0);
            config_put(bed, COMMAND, 2, 6);
            for (unsigned i = 0; i < 16; i++)
                assert_int_equal(
                    net_driver_receive(&bed->net[0], frame, sizeof(frame), WAIT_LONG_MS), 1000);
            net_driver_drain(&bed->net[0]);
        }
        assert_int_equal(bed_status(bed), STATUS_RUNNING);
    }
}

static unsigned advanced_cap(struct register_bed *bed)
{
    unsigned cap = config_get(bed, 0x34, 1);

    while (cap != 0 && config_get(bed, cap, 1) != 0x13)
        cap = config_get(bed, cap + 1, 1);
    return cap;
}

static void PCI_13_function_level_reset(void **state)
{
    struct register_bed *bed = open_bed(state);
    unsigned cap = advanced_cap(bed);

    assert_int_not_equal(cap, 0);
    assert_int_equal(config_get(bed, cap + 3, 1) & 3, 3);
    for (unsigned i = 0; i < 10; i++) {
        register_bed_start(bed, BED_USUAL);
        for (unsigned k = 0; k < 16; k++)
            register_bed_send(bed, 0, 1000);
        config_put(bed, cap + 4, 1, 1);
        assert_int_equal(config_get(bed, COMMAND, 2), 0);
        assert_int_equal(config_get(bed, cap + 4, 2), 0);
        assert_int_equal(config_get(bed, BAR_0, 4), 4);
        assert_false(bed->device.mapped);
        assert_int_equal(atomic_load(&bed->device.line), 0);
        register_driver_enable_pci(&bed->driver);
        assert_int_equal(bed_status(bed), 0);
    }
    register_bed_expect_new_life(bed);
}

/* ---- the common structure
 * ------------------------------------------------------------------------ */

static void PCI_02_reset_values(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(get(bed, 0x10, 2), 0xffff);
        assert_int_equal(get(bed, 0x12, 2), 3); /* receive, transmit, control */
        for (unsigned queue = 0; queue < 2; queue++) {
            put(bed, QUEUE_SELECT, 2, queue);
            assert_int_equal(get(bed, QUEUE_SIZE, 2), 1024);
            assert_int_equal(get(bed, QUEUE_VECTOR, 2), 0xffff);
            assert_int_equal(get(bed, QUEUE_ENABLE, 2), 0);
            assert_int_equal(get(bed, QUEUE_NOTIFY_OFF, 2), queue);
            assert_int_equal(get(bed, QUEUE_RESET, 2), 0);
            for (unsigned offset = QUEUE_DESC; offset < 0x38; offset += 8)
                assert_true(get(bed, offset, 8) == 0);
        }
        register_bed_start(bed, BED_USUAL);
        assert_int_equal(register_driver_map_queue(&bed->driver, 1, 1), 1);
        assert_int_equal(register_driver_map_config(&bed->driver, 2), 2);
        bed_write_status(bed, 0);
        assert_int_equal(get(bed, 0x00, 4), 0);
        assert_int_equal(get(bed, 0x08, 4), 0);
        assert_int_equal(get(bed, QUEUE_SELECT, 2), 0);
    }
}

static void PCI_03_queue_size(void **state)
{
    static const unsigned bad[] = {0, 3, 48, 1000, 1025, 2048, 0xffff};
    struct register_bed *bed = open_bed(state);

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put(bed, QUEUE_SIZE, 2, 128);
        put(bed, QUEUE_SIZE, 2, bad[i]);
        assert_int_equal(get(bed, QUEUE_SIZE, 2), 128);
    }
    register_driver_negotiate(&bed->driver, BED_USUAL | BED_PACKED);
    put(bed, QUEUE_SIZE, 2, 48);
    assert_int_equal(get(bed, QUEUE_SIZE, 2), 48);
}

static void PCI_04_enable_is_not_undone_by_0(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_driver_negotiate(&bed->driver, BED_USUAL);
    register_bed_make_rings(bed, BED_USUAL);
    put(bed, QUEUE_ENABLE, 2, 2);
    assert_int_equal(get(bed, QUEUE_ENABLE, 2), 0);
    for (unsigned i = 0; i < 2; i++)
        register_driver_start_ring(&bed->driver, i, bed->ring[i]);
    bed_write_status(bed, STATUS_RUNNING);
    put(bed, QUEUE_ENABLE, 2, 0);
    put(bed, QUEUE_ENABLE, 2, 0xffff);
    put(bed, QUEUE_ENABLE, 1, 0);
    assert_int_equal(get(bed, QUEUE_ENABLE, 2), 1);
    net_driver_post(&bed->net[0], 32);
    register_bed_exchange(bed, 0, 100);
}

static void PCI_05_queue_reset_reads_0_and_so_does_enable(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL | BED_RESET);
    register_driver_map_queue(&bed->driver, 1, 1);
    put(bed, QUEUE_RESET, 2, 2);
    assert_int_equal(get(bed, QUEUE_ENABLE, 2), 1);
    put(bed, QUEUE_RESET, 2, 1);
    assert_int_equal(get(bed, QUEUE_RESET, 2), 0);
    assert_int_equal(get(bed, QUEUE_ENABLE, 2), 0);
    assert_int_equal(get(bed, QUEUE_SIZE, 2), 1024);
    assert_int_equal(get(bed, QUEUE_VECTOR, 2), 0xffff);
    assert_true(get(bed, QUEUE_DESC, 8) == 0);
}

static void PCI_06_addresses_in_halves_and_bytes(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned offset = QUEUE_DESC; offset < 0x38; offset += 8) {
        put(bed, offset + 4, 4, 0x11223344);
        put(bed, offset, 4, 0x55667788);
        assert_true(get(bed, offset, 8) == 0x1122334455667788ull);
        put(bed, offset, 8, 0x99aabbccddeeff00ull);
        assert_int_equal(get(bed, offset, 4), 0xddeeff00);
        assert_int_equal(get(bed, offset + 4, 4), 0x99aabbcc);
        for (unsigned i = 0; i < 8; i++)
            put(bed, offset + i, 1, 0x10 + i);
        assert_true(get(bed, offset, 8) == 0x1716151413121110ull);
        put(bed, offset + 3, 2, 0xa5c3);
        assert_true(get(bed, offset, 8) == 0x171615a5c3121110ull);
        assert_int_equal(get(bed, offset + 3, 2), 0xa5c3);
        assert_int_equal(get(bed, offset + 7, 1), 0x17);
    }
}

static void PCI_06_every_offset_and_width_reads_the_same_bytes(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint8_t whole[64 + 8] = {0};

    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 64; i++)
        whole[i] = (uint8_t)get(bed, i, 1);
    for (unsigned width = 1; width <= 8; width *= 2) {
        for (unsigned offset = 0; offset < 64; offset++) {
            uint64_t value = get(bed, offset, width);

            for (unsigned i = 0; i < width; i++)
                check((value >> (8 * i) & 0xff) == whole[offset + i], "offset %u width %u", offset,
                      width);
        }
    }
}

/* One write of eight bytes: vector, (number of queues), status, (generation), queue. */
static void PCI_06_one_write_of_many_fields(void **state)
{
    struct register_bed *bed = open_bed(state);

    put(bed, 0x10, 8, 0x0001000100000002ull);
    assert_int_equal(get(bed, 0x10, 2), 2);
    assert_int_equal(get(bed, 0x12, 2), 3); /* receive, transmit, control */
    assert_int_equal(get(bed, 0x14, 1), 1);
    put(bed, 0x10, 8, 0x0001ff03ffff0003ull);
    assert_int_equal(get(bed, 0x10, 2), 3);
    assert_int_equal(get(bed, 0x12, 2), 3); /* receive, transmit, control */
    assert_int_equal(get(bed, 0x14, 1), 3);
    assert_int_equal(get(bed, QUEUE_SELECT, 2), 1);
}

static void PCI_11_queues_that_do_not_exist(void **state)
{
    static const unsigned queues[] = {3, 4, 256, 0xffff};
    struct register_bed *bed = open_bed(state);

    assert_int_equal(get(bed, 0x3c, 4), 0); /* no admin queue */
    for (unsigned i = 0; i < 4; i++) {
        put(bed, QUEUE_SELECT, 2, queues[i]);
        assert_int_equal(get(bed, QUEUE_SELECT, 2), queues[i]);
        for (unsigned offset = QUEUE_SIZE; offset < 0x40; offset++) {
            put(bed, offset, 1, 0xff);
            assert_int_equal(get(bed, offset, 1), 0);
        }
    }
    register_bed_expect_new_life(bed);
}

static void PCI_12_generation_of_8_bits(void **state)
{
    struct register_bed *bed = open_bed(state);
    unsigned before = (unsigned)get(bed, 0x15, 1);

    for (unsigned i = 0; i < 256; i++)
        register_device_set_link(&bed->device, (int)(i % 2));
    register_device_set_link(&bed->device, 0);
    assert_int_not_equal(get(bed, 0x15, 1), before);
}

static void PCI_14_fields_of_features_that_are_not_there(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    put(bed, QUEUE_SELECT, 2, 1);
    assert_int_equal(get(bed, 0x38, 2), 0);
    put(bed, QUEUE_RESET, 2, 1);
    assert_int_equal(get(bed, QUEUE_RESET, 2), 0);
    assert_int_equal(get(bed, QUEUE_ENABLE, 2), 1);
    register_bed_exchange(bed, 0, 100);
}

/* Nor what is reached by one only: flow filters, IPsec, parts of a device. */
static void GEN_AD_01_NET_FF_01_there_is_no_admin_queue(void **state)
{
    struct register_bed *bed = open_bed(state);
    unsigned queues;

    assert_false(register_driver_offer(&bed->driver) & ADMIN_VQ);
    assert_int_equal(register_driver_negotiate(&bed->driver, BED_USUAL | ADMIN_VQ),
                     STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    assert_int_equal(register_driver_negotiate(&bed->driver, BED_USUAL), STATUS_BEFORE_QUEUES);
    assert_int_equal(get(bed, ADMIN_QUEUE_INDEX, 2), 0);
    assert_int_equal(get(bed, ADMIN_QUEUE_NUM, 2), 0);
    queues = (unsigned)get(bed, NUM_QUEUES, 2);
    assert_int_equal(queues, 3);
    put(bed, QUEUE_SELECT, 2, queues);
    assert_int_equal(get(bed, QUEUE_SIZE, 2), 0);
}

static void GEN_FT_08_driver_features_read_back_what_is_offered(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (uint32_t select = 0; select < 6; select++) {
        put(bed, 0x00, 4, select);
        put(bed, 0x08, 4, select);
        put(bed, 0x0c, 4, 0xffffffff);
        assert_int_equal(get(bed, 0x0c, 4), get(bed, 0x04, 4));
    }
    /* GEN-FT-05: what was agreed on stays. */
    register_driver_negotiate(&bed->driver, BED_USUAL);
    bed->driver.ops->write_driver_features(&bed->driver, 0, 0);
    bed->driver.ops->write_driver_features(&bed->driver, 1, 0);
    assert_int_equal(get(bed, 0x0c, 4), BED_USUAL >> 32);
}

/* ---- notifications
 * ------------------------------------------------------------------------------- */

static void notify(struct register_bed *bed, uint32_t offset, unsigned width, uint64_t value)
{
    register_write(&bed->driver, SPACE_PCI_BAR, bed->driver.structure[CFG_NOTIFY].offset + offset,
                   width, value);
}

/* A frame goes out when the queue is meant, by value or by address. */
static void PCI_07_queue_by_value_else_by_address(void **state)
{
    static const struct {
        uint32_t offset;
        unsigned width;
        uint64_t value;
    } kicks[] = {
        {4, 2, 1}, {4, 4, 1},          {0, 2, 1},     {4, 2, 0xffff}, {4, 1, 0},
        {4, 8, 1}, {4, 4, 0x80020001}, {6, 2, 0x777}, {5, 1, 9},
    };
    struct register_bed *bed = open_bed(state);
    uint8_t frame[2048];

    register_bed_start(bed, BED_USUAL | BED_NOTIFY);
    for (unsigned i = 0; i < sizeof(kicks) / sizeof(kicks[0]); i++) {
        net_frame_make(frame, 100, (const uint8_t *)"\x52\x54\0\0\0\1", i);
        net_driver_queue(&bed->net[0], frame, 100);
        bed->ring[1]->ops->publish(bed->ring[1]);
        notify(bed, kicks[i].offset, kicks[i].width, kicks[i].value);
        check(net_driver_receive(&bed->net[0], frame, sizeof(frame), WAIT_LONG_MS) == 100,
              "kick %u was not heard", i);
        net_driver_drain(&bed->net[0]);
        assert_int_equal(
            register_read(&bed->driver, SPACE_PCI_BAR, bed->driver.structure[CFG_NOTIFY].offset, 4),
            0);
    }
}

/* ---- the window
 * ---------------------------------------------------------------------------------- */

static unsigned window(const struct register_bed *bed)
{
    return bed->driver.structure[CFG_WINDOW].cap;
}

static void window_aim(struct register_bed *bed, unsigned bar, uint32_t offset, uint32_t len)
{
    config_put(bed, window(bed) + 4, 1, bar);
    config_put(bed, window(bed) + 8, 4, offset);
    config_put(bed, window(bed) + 12, 4, len);
}

static uint32_t window_get(struct register_bed *bed, uint32_t offset, uint32_t len)
{
    window_aim(bed, 0, offset, len);
    return config_get(bed, window(bed) + 16, len);
}

static void window_put(struct register_bed *bed, uint32_t offset, uint32_t len, uint32_t value)
{
    window_aim(bed, 0, offset, len);
    config_put(bed, window(bed) + 16, len, value);
}

/* As firmware does it: before the BAR has an address. */
static void PCI_10_window_without_a_bar(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint32_t common = bed->driver.structure[CFG_COMMON].offset;
    uint32_t device = bed->driver.structure[CFG_DEVICE].offset;

    config_put(bed, COMMAND, 2, 0);
    window_put(bed, common + 0x14, 1, 3);
    assert_int_equal(window_get(bed, common + 0x14, 1), 3);
    window_put(bed, common + 0x16, 2, 1);
    assert_int_equal(window_get(bed, common + 0x16, 2), 1);
    assert_int_equal(window_get(bed, common + 0x18, 2), 1024);
    window_put(bed, common + 0x20, 4, 0x12345000);
    assert_int_equal(window_get(bed, common + 0x20, 4), 0x12345000);
    assert_int_equal(window_get(bed, device, 4), 0x00005452);
    assert_int_equal(config_get(bed, window(bed) + 4, 1), 0);
    assert_int_equal(config_get(bed, window(bed) + 8, 4), device);
    assert_int_equal(config_get(bed, window(bed) + 12, 4), 4);
}

static void PCI_10_window_on_nothing(void **state)
{
    static const struct {
        unsigned bar;
        uint32_t offset, len;
    } aims[] = {
        {0, 0x14, 0},          {0, 0x14, 3},       {0, 0x14, 5},   {0, 0x14, 8},
        {0, 0x14, 0xffffffff}, {0, 0x15, 2},       {0, 0x12, 4},   {1, 0x14, 1},
        {5, 0x14, 1},          {6, 0x14, 1},       {255, 0x14, 1}, {0, 0x40, 4},
        {0, 0x8000, 4},        {0, 0x4000, 4},     {0, 0xffff, 1}, {0, 0x10000, 4},
        {0, 0xfffffffc, 4},    {0, 0xffffffff, 1},
    };
    struct register_bed *bed = open_bed(state);

    bed_write_status(bed, 3);
    for (unsigned i = 0; i < sizeof(aims) / sizeof(aims[0]); i++) {
        window_aim(bed, aims[i].bar, aims[i].offset, aims[i].len);
        config_put(bed, window(bed) + 16, 4, 0);
        config_put(bed, window(bed) + 16, 4, 0xffffffff);
        assert_int_equal(config_get(bed, window(bed) + 16, 4), 0);
        assert_int_equal(bed_status(bed), 3);
    }
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(register_read(&bed->driver, SPACE_PCI_BAR, 0x8000 + 4 * i, 4), i == 3);
}

static void PCI_10_window_reads_the_isr_and_kicks(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint8_t frame[2048];

    register_bed_start(bed, BED_USUAL);
    net_frame_make(frame, 100, (const uint8_t *)"\x52\x54\0\0\0\1", 1);
    net_driver_queue(&bed->net[0], frame, 100);
    bed->ring[1]->ops->publish(bed->ring[1]);
    window_put(bed, bed->driver.structure[CFG_NOTIFY].offset + 4, 2, 1);
    assert_int_equal(net_driver_receive(&bed->net[0], frame, sizeof(frame), WAIT_LONG_MS), 100);
    register_bed_await_line(bed, 1);
    net_driver_drain(&bed->net[0]);
    sleep_ms(5);
    assert_int_equal(window_get(bed, bed->driver.structure[CFG_ISR].offset, 1), 1);
    assert_int_equal(atomic_load(&bed->device.line), 0);
    assert_int_equal(window_get(bed, bed->driver.structure[CFG_ISR].offset, 1), 0);
}

/* ---- everything at once
 * -------------------------------------------------------------------------- */

static void PCI_13_any_access_anywhere(void **state)
{
    static const unsigned widths[] = {0, 1, 2, 3, 4, 8, 16};
    struct register_bed *bed = open_bed(state);
    uint32_t random = 1;

    for (unsigned i = 0; i < 60000; i++) {
        unsigned width;
        uint32_t offset;

        random = random * 1664525u + 1013904223u;
        width = widths[(random >> 8) % 7];
        offset = random >> 12 & (i % 3 == 0 ? 0xff : 0x1ffff);
        if (i % 3 == 0) {
            config_put(bed, offset, width, random ^ i);
            config_get(bed, offset, width);
        } else {
            if (i % 3 == 1)
                offset &= 0x3f;
            register_write(&bed->driver, SPACE_PCI_BAR, offset, width,
                           (uint64_t)random << 32 | (random ^ i));
            register_read(&bed->driver, SPACE_PCI_BAR, offset, width);
        }
        if (i % 64 == 0)
            register_driver_enable_pci(&bed->driver);
    }
    register_device_dispatch(&bed->device);
    register_device_reset(&bed->device);
    register_driver_enable_pci(&bed->driver);
    register_bed_expect_new_life(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(identity),
        BED_TEST(PCI_15_there_is_no_legacy_layout),
        BED_TEST(PCI_01_capabilities),
        BED_TEST(PCI_13_BAR_is_sized_and_moved),
        BED_TEST(PCI_13_disabled_memory_reads_ones),
        BED_TEST(PCI_13_no_access_to_memory_without_bus_master),
        BED_TEST(PCI_13_function_level_reset),
        BED_TEST(PCI_02_reset_values),
        BED_TEST(PCI_03_queue_size),
        BED_TEST(PCI_04_enable_is_not_undone_by_0),
        BED_TEST(PCI_05_queue_reset_reads_0_and_so_does_enable),
        BED_TEST(PCI_06_addresses_in_halves_and_bytes),
        BED_TEST(PCI_06_every_offset_and_width_reads_the_same_bytes),
        BED_TEST(PCI_06_one_write_of_many_fields),
        BED_TEST(PCI_11_queues_that_do_not_exist),
        BED_TEST(PCI_12_generation_of_8_bits),
        BED_TEST(PCI_14_fields_of_features_that_are_not_there),
        BED_TEST(GEN_AD_01_NET_FF_01_there_is_no_admin_queue),
        BED_TEST(GEN_FT_08_driver_features_read_back_what_is_offered),
        BED_TEST(PCI_07_queue_by_value_else_by_address),
        BED_TEST(PCI_10_window_without_a_bar),
        BED_TEST(PCI_10_window_on_nothing),
        BED_TEST(PCI_10_window_reads_the_isr_and_kicks),
        BED_TEST(PCI_13_any_access_anywhere),
    };

    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
