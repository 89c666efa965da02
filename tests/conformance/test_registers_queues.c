/* SPDX-License-Identifier: MIT */
/* Queues by registers: traffic, kicks, reset of one queue, suspension, several pairs and their
 * control queue. Every test runs over virtio-mmio and virtio-pci. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "register_bed.h"

static enum device_transport transport; /* of the group that runs */

enum {
    CONFIG_STATUS = 6,
    SUSPENDED = STATUS_BEFORE_QUEUES | STATUS_SUSPEND,
    CLASS_MQ = 4,
};

static struct register_bed *open_bed(void **state)
{
    struct bed_options options = {.transport = transport};

    return register_bed_open(state, &options);
}

static void open_ring(struct register_bed *bed, uint32_t queue, struct register_ring *ret_ring)
{
    const struct driver_ring *ring = bed->ring[queue];

    *ret_ring =
        (struct register_ring){ring->size, ring->desc_area, ring->driver_area, ring->device_area};
}

/* ---- traffic --------------------------------------------------------------------------------- */

static void traffic(void **state, uint64_t features)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, features);
    for (unsigned i = 0; i < 1000; i++)
        register_bed_exchange(bed, 0, 60 + i);
    register_bed_await_line(bed, 1);
}

static void frames_go_round_split(void **state)
{
    traffic(state, BED_USUAL);
}

static void frames_go_round_split_without_extras(void **state)
{
    traffic(state, BED_BIT(32));
}

static void frames_go_round_split_in_order(void **state)
{
    traffic(state, BED_USUAL | BED_IN_ORDER);
}

static void frames_go_round_packed(void **state)
{
    traffic(state, BED_USUAL | BED_PACKED);
}

static void frames_go_round_packed_in_order(void **state)
{
    traffic(state, BED_USUAL | BED_PACKED | BED_IN_ORDER);
}

/* BOOT-04: the used index is 0 until there was a buffer, whatever life went before. */
static void BOOT_04_used_index_waits_for_buffers(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned round = 0; round < 5; round++) {
        register_bed_prepare(bed, BED_USUAL);
        for (unsigned i = 0; i < 2; i++)
            driver_split_store_avail_flags(&bed->split[i], 1); /* NO_INTERRUPT */
        bed_write_status(bed, STATUS_RUNNING);
        sleep_ms(2);
        assert_int_equal(driver_split_used_idx(&bed->split[0]), 0);
        assert_int_equal(driver_split_used_idx(&bed->split[1]), 0);
        net_driver_post(&bed->net[0], 32);
        for (unsigned i = 0; i < 20; i++)
            register_bed_exchange(bed, 0, 100);
    }
}

enum {
    UBOOT_BUFFERS = 32,
    UBOOT_BUFFER_LEN = 1526,
};

/* The firmware is gone, and frames for it are still on their way. The system's first act is the
 * reset: from then on the memory is its own. */
static void BOOT_05_buffers_of_a_firmware_that_left(void **state)
{
    const struct net_options uboot = {.header_len = NET_HEADER_MODERN,
                                      .rx_buffer_len = UBOOT_BUFFER_LEN,
                                      .rx_slots = UBOOT_BUFFERS};
    struct register_bed *bed = open_bed(state);

    for (unsigned round = 0; round < 20; round++) {
        uint64_t len;
        uint8_t *memory;

        register_bed_prepare(bed, BED_BIT(32));
        net_driver_init(&bed->net[0], bed->ring[0], bed->ring[1], &uboot);
        bed_write_status(bed, STATUS_RUNNING);
        net_driver_post(&bed->net[0], UBOOT_BUFFERS);
        for (unsigned i = 0; i < 2 * UBOOT_BUFFERS; i++)
            register_bed_exchange(bed, 0, 60 + 20 * i);
        for (unsigned i = 0; i < round; i++)
            register_bed_send(bed, 0, 1000);
        bed_write_status(bed, 0);
        assert_int_equal(bed_status(bed), 0);
        len = bed->ram.region[0].used;
        memory = guest_ram_at(&bed->ram, BED_RAM_GPA, len);
        memset(memory, 0x5a, len);
        sleep_ms(2);
        check(memory[0] == 0x5a && memcmp(memory, memory + 1, len - 1) == 0,
              "the card wrote after the reset");
        register_bed_expect_new_life(bed);
    }
}

/* A ring starts at 0 even if its memory says otherwise. */
static void BOOT_06_stale_used_ring_does_not_count(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint8_t *idx;

    register_bed_prepare(bed, BED_BIT(32));
    idx = guest_ram_at(&bed->ram, bed->split[1].used_gpa + 2, 2);
    idx[0] = 77;
    bed_write_status(bed, STATUS_RUNNING);
    net_driver_post(&bed->net[0], 32);
    register_bed_send(bed, 0, 100);
    for (unsigned i = 0; i < 500 && driver_split_used_idx(&bed->split[1]) == 77; i++)
        sleep_ms(1);
    assert_int_equal(driver_split_used_idx(&bed->split[1]), 1);
}

/* ---- kicks ----------------------------------------------------------------------------------- */

static void GEN_NT_01_many_kicks_on_empty_rings(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 100000; i++)
        bed->driver.ops->notify(&bed->driver, i % 2, i % 2);
    register_bed_exchange(bed, 0, 100);
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
}

static void GEN_NT_02_notification_data_is_only_a_hint(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint32_t random = 1;

    register_bed_start(bed, BED_USUAL | BED_NOTIFY);
    for (unsigned i = 0; i < 200; i++) {
        for (unsigned k = 0; k < 10; k++) {
            random = random * 1664525u + 1013904223u;
            bed->driver.ops->notify(&bed->driver, i % 2, (random & 0xffff0000) | i % 2);
        }
        register_bed_exchange(bed, 0, 100 + i);
    }
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
}

static void GEN_NT_03_kicks_of_queues_that_do_not_exist(void **state)
{
    static const uint32_t words[] = {2, 3, 255, 0x7fff, 0xffff, 0xffffffff, 0x10000};
    struct register_bed *bed = open_bed(state);

    for (unsigned i = 0; i < 7; i++)
        bed->driver.ops->notify(&bed->driver, 0, words[i]);
    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 7; i++)
        bed->driver.ops->notify(&bed->driver, 0, words[i]);
    register_bed_exchange(bed, 0, 100);
}

/* What an ioeventfd does. */
static void kick_by_eventfd(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint8_t frame[NET_TX_SLOT_LEN];
    uint64_t one = 1;

    assert_int_equal(register_device_kick_fd(&bed->device, 99), -1);
    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 100; i++) {
        net_frame_make(frame, 200, (const uint8_t *)"\x52\x54\0\0\0\1", i);
        net_driver_queue(&bed->net[0], frame, 200);
        bed->ring[1]->ops->publish(bed->ring[1]);
        assert_int_equal(write(register_device_kick_fd(&bed->device, 1), &one, 8), 8);
        assert_int_equal(net_driver_receive(&bed->net[0], frame, sizeof(frame), WAIT_LONG_MS), 200);
        net_driver_drain(&bed->net[0]);
    }
}

/* ---- queue registers ------------------------------------------------------------------------- */

static void SPL_BAD_27_sizes_are_refused(void **state)
{
    static const unsigned sizes[] = {0, 3, 100, 2048, 32768, 65535};
    struct register_bed *bed = open_bed(state);
    struct register_ring ring;

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        register_driver_negotiate(&bed->driver, BED_USUAL);
        register_bed_make_rings(bed, BED_USUAL);
        open_ring(bed, 1, &ring);
        ring.size = sizes[i];
        bed->driver.ops->write_ring(&bed->driver, 1, &ring);
        if (transport == DEVICE_PCI) { /* PCI-03: the register keeps what it had */
            assert_int_equal(bed->driver.ops->queue_size_max(&bed->driver, 1), 1024);
            continue;
        }
        bed->driver.ops->enable_queue(&bed->driver, 1);
        assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, 1), 0);
        assert_int_equal(bed_status(bed), STATUS_BEFORE_QUEUES | STATUS_NEEDS_RESET);
    }
    register_bed_expect_new_life(bed);
}

static void SPL_BAD_28_PKD_BAD_11_places_are_refused(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned i = 0; i < 12; i++) {
        uint64_t features = i % 2 ? BED_USUAL | BED_PACKED : BED_USUAL;
        struct register_ring ring;
        uint64_t *part[3] = {&ring.desc, &ring.driver, &ring.device};

        register_driver_negotiate(&bed->driver, features);
        register_bed_make_rings(bed, features);
        open_ring(bed, 0, &ring);
        *part[i / 2 % 3] = i < 6 ? BED_RAM_GPA + BED_RAM_LEN - 2 : *part[i / 2 % 3] + 1;
        bed->driver.ops->write_ring(&bed->driver, 0, &ring);
        bed->driver.ops->enable_queue(&bed->driver, 0);
        assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, 0), 0);
        assert_int_equal(bed_status(bed), STATUS_BEFORE_QUEUES | STATUS_NEEDS_RESET);
    }
    register_bed_expect_new_life(bed);
}

static void SPL_BAD_30_live_ring_is_not_reconfigured(void **state)
{
    struct register_bed *bed = open_bed(state);
    struct register_ring elsewhere = {.size = 8};

    register_bed_start(bed, BED_USUAL);
    for (unsigned i = 0; i < 2; i++) {
        bed->driver.ops->write_ring(&bed->driver, i, &elsewhere);
        bed->driver.ops->enable_queue(&bed->driver, i);
    }
    for (unsigned i = 0; i < 200; i++)
        register_bed_exchange(bed, 0, 100 + i);
}

static void NET_Q_03_queues_that_do_not_exist(void **state)
{
    static const uint32_t queues[] = {3, 4, 255, 256, 0xffff};
    struct register_bed *bed = open_bed(state);
    struct register_ring ring = {.size = 64, .desc = BED_RAM_GPA, .driver = BED_RAM_GPA};

    register_bed_prepare(bed, BED_USUAL);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(bed->driver.ops->queue_size_max(&bed->driver, queues[i]), 0);
        bed->driver.ops->write_ring(&bed->driver, queues[i], &ring);
        bed->driver.ops->enable_queue(&bed->driver, queues[i]);
        assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, queues[i]), 0);
        assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, queues[i]), 0);
    }
    bed_write_status(bed, STATUS_RUNNING);
    net_driver_post(&bed->net[0], 32);
    register_bed_exchange(bed, 0, 100);
}

/* A queue of a size that is no power of two: the largest that a split ring can have is shown. */
static void SPL_01_largest_size_is_a_power_of_two(void **state)
{
    struct bed_options options = {.transport = transport, .queue_size_max = 1000};
    struct register_bed *bed = register_bed_open(state, &options);

    assert_int_equal(bed->driver.ops->queue_size_max(&bed->driver, 0), 512);
    register_bed_expect_new_life(bed);
}

/* ---- RING_RESET ------------------------------------------------------------------------------ */

static void resize(void **state, uint64_t features)
{
    static const unsigned sizes[] = {256, 64, 256, 1024, 8, 64};
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, features | BED_RESET);
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned k = 0; k < 16 && k < bed->ring[1]->size / 2; k++)
            register_bed_send(bed, 0, 1000);
        for (unsigned queue = 0; queue < 2; queue++) {
            assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, queue), 0);
            assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, queue), 0);
        }
        register_bed_remake_pair(bed, 0, sizes[i]);
        register_driver_start_ring(&bed->driver, 0, bed->ring[0]);
        register_driver_start_ring(&bed->driver, 1, bed->ring[1]);
        net_driver_post(&bed->net[0], sizes[i]);
        for (unsigned k = 0; k < 50; k++)
            register_bed_exchange(bed, 0, 60 + k);
    }
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
}

static void GEN_QR_02_resize_under_traffic_split(void **state)
{
    resize(state, BED_USUAL);
}

static void GEN_QR_02_resize_under_traffic_packed(void **state)
{
    resize(state, BED_USUAL | BED_PACKED);
}

/* As Linux changes the size of a ring: the other one of the pair goes on. */
static void LNX_08_one_queue_at_a_time(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL | BED_RESET);
    for (unsigned i = 0; i < 20; i++) {
        unsigned queue = i % 2;

        register_bed_exchange(bed, 0, 100);
        bed->driver.ops->reset_queue(&bed->driver, queue);
        if (queue == 0) {
            for (unsigned k = 0; k < 8; k++)
                register_bed_send(bed, 0, 100); /* lost, but sent */
            net_driver_drain(&bed->net[0]);
        }
        driver_split_restart(&bed->split[queue], 0);
        register_driver_start_ring(&bed->driver, queue, bed->ring[queue]);
        if (queue == 0) {
            net_driver_forget(&bed->net[0]);
            net_driver_post(&bed->net[0], 64);
        }
        register_bed_exchange(bed, 0, 100);
    }
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
}

static void GEN_QR_01_GEN_QR_03_reset_queue_is_left_alone(void **state)
{
    struct register_bed *bed = open_bed(state);
    static uint8_t before[4 << 20];
    uint8_t *ram = bed->ram.region[0].map;

    for (unsigned round = 0; round < 10; round++) {
        register_bed_start(bed, BED_USUAL | BED_RESET | (round % 2 ? BED_PACKED : 0));
        for (unsigned i = 0; i < 16; i++)
            register_bed_send(bed, 0, 1000);
        assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, 1), 0);
        assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, 1), 0);
        assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, 0), 0);
        memset(ram, 0x5a, sizeof(before));
        memcpy(before, ram, sizeof(before));
        bed->driver.ops->notify(&bed->driver, 0, 0);
        bed->driver.ops->notify(&bed->driver, 1, 1);
        sleep_ms(5);
        assert_memory_equal(before, ram, sizeof(before));
        assert_int_equal(bed_status(bed), STATUS_RUNNING);
    }
}

static void GEN_QR_06_resets_that_mean_little(void **state)
{
    struct register_bed *bed = open_bed(state);

    /* Never enabled, and twice. */
    assert_int_equal(register_driver_negotiate(&bed->driver, BED_USUAL | BED_RESET),
                     STATUS_BEFORE_QUEUES);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, i % 2), 0);
    /* Not negotiated: nothing happens. */
    register_bed_start(bed, BED_USUAL);
    assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, 1), 0);
    assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, 1), 1);
    register_bed_exchange(bed, 0, 100);
}

/* A reset mends a broken ring; that the device wanted a reset stays on record. */
static void GEN_QR_06_broken_queue_is_reset(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL | BED_RESET);
    driver_split_store_avail_idx(&bed->split[1], 5000);
    bed->driver.ops->notify(&bed->driver, 1, 1);
    register_bed_await_needs_reset(bed);
    for (unsigned queue = 0; queue < 2; queue++)
        bed->driver.ops->reset_queue(&bed->driver, queue);
    register_bed_remake_pair(bed, 0, 64);
    register_driver_start_ring(&bed->driver, 0, bed->ring[0]);
    register_driver_start_ring(&bed->driver, 1, bed->ring[1]);
    net_driver_post(&bed->net[0], 64);
    register_bed_exchange(bed, 0, 100);
    assert_int_equal(bed_status(bed), STATUS_RUNNING | STATUS_NEEDS_RESET);
}

/* ---- SUSPEND --------------------------------------------------------------------------------- */

static void suspend(struct register_bed *bed)
{
    bed_write_status(bed, STATUS_RUNNING | STATUS_SUSPEND);
    assert_int_equal(bed_status(bed), SUSPENDED);
}

static void GEN_SU_01_only_a_live_device_is_suspended(void **state)
{
    struct register_bed *bed = open_bed(state);

    bed_write_status(bed, STATUS_ACKNOWLEDGE | STATUS_SUSPEND);
    assert_int_equal(bed_status(bed), STATUS_ACKNOWLEDGE);
    register_bed_prepare(bed, BED_USUAL | BED_SUSPEND);
    bed_write_status(bed, STATUS_BEFORE_QUEUES | STATUS_SUSPEND);
    assert_int_equal(bed_status(bed), STATUS_BEFORE_QUEUES);
    bed_write_status(bed, STATUS_RUNNING);
    suspend(bed);
    bed_write_status(bed, SUSPENDED); /* again: nothing */
    assert_int_equal(bed_status(bed), SUSPENDED);
    register_bed_expect_new_life(bed);
}

static void suspended_under_traffic(void **state, uint64_t features)
{
    struct register_bed *bed = open_bed(state);
    static uint8_t before[4 << 20];
    uint8_t *ram = bed->ram.region[0].map;

    register_bed_start(bed, features | BED_SUSPEND);
    for (unsigned round = 0; round < 30; round++) {
        uint8_t frame[2048];

        for (unsigned i = 0; i < 8; i++)
            register_bed_send(bed, 0, 1000);
        suspend(bed);
        for (unsigned i = 0; i < 8; i++)
            register_bed_send(bed, 0, 1000); /* kicks too */
        memcpy(before, ram, sizeof(before));
        sleep_ms(1);
        assert_memory_equal(before, ram, sizeof(before));
        bed_write_status(bed, SUSPENDED | STATUS_DRIVER_OK);
        assert_int_equal(bed_status(bed), STATUS_RUNNING);
        for (unsigned i = 0; i < 16; i++)
            assert_int_equal(net_driver_receive(&bed->net[0], frame, sizeof(frame), WAIT_LONG_MS),
                             1000);
        net_driver_drain(&bed->net[0]);
    }
}

static void GEN_SU_02_GEN_SU_03_suspended_under_traffic_split(void **state)
{
    suspended_under_traffic(state, BED_USUAL);
}

static void GEN_SU_02_GEN_SU_03_suspended_under_traffic_packed(void **state)
{
    suspended_under_traffic(state, BED_USUAL | BED_PACKED);
}

static void GEN_SU_02_config_stands_still_and_is_told_later(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint32_t generation;

    register_bed_start(bed, BED_USUAL | BED_SUSPEND | BED_STATUS);
    suspend(bed);
    generation = bed->driver.ops->generation(&bed->driver);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(bed->driver.ops->config(&bed->driver, CONFIG_STATUS, 2), 1);
    assert_int_equal(bed->driver.ops->generation(&bed->driver), generation);
    assert_int_equal(atomic_load(&bed->device.line), 0);
    bed_write_status(bed, STATUS_RUNNING);
    assert_int_equal(atomic_load(&bed->device.line), 1);
    assert_int_equal(bed->driver.ops->config(&bed->driver, CONFIG_STATUS, 2), 0);
    assert_int_not_equal(bed->driver.ops->generation(&bed->driver), generation);
}

static void GEN_SU_02_queues_stand_still(void **state)
{
    struct register_bed *bed = open_bed(state);
    struct register_ring elsewhere = {.size = 8};

    register_bed_start(bed, BED_USUAL | BED_SUSPEND | BED_RESET);
    register_bed_exchange(bed, 0, 100);
    suspend(bed);
    bed->driver.ops->write_ring(&bed->driver, 1, &elsewhere);
    bed->driver.ops->reset_queue(&bed->driver, 1);
    assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, 1), 1);
    bed_write_status(bed, STATUS_RUNNING);
    register_bed_exchange(bed, 0, 100);
}

/* ---- pairs and the control queue ------------------------------------------------------------- */

static struct register_bed *open_pairs(void **state)
{
    struct bed_options options = {.transport = transport, .pairs = 4};

    return register_bed_open(state, &options);
}

static void CTL_MQ_01_pairs_follow_the_control_queue(void **state)
{
    struct register_bed *bed = open_pairs(state);
    struct control_driver *control = calloc(1, sizeof(*control));
    static const uint8_t all[] = {CLASS_MQ, 0, 4, 0}, one[] = {CLASS_MQ, 0, 1, 0};

    register_bed_start(bed, BED_USUAL | BED_CONTROL);
    control_driver_init(control, bed->ring[8], 0);
    register_bed_exchange(bed, 0, 100);
    register_bed_send(bed, 1, 100);
    register_bed_expect_silence(bed, 1);
    assert_int_equal(control_driver_ask(control, all, sizeof(all)), CONTROL_ACK_OK);
    net_driver_drain(&bed->net[1]);
    for (unsigned pair = 2; pair < 4; pair++)
        register_bed_exchange(bed, pair, 100 + pair);
    assert_int_equal(control_driver_ask(control, one, sizeof(one)), CONTROL_ACK_OK);
    register_bed_exchange(bed, 0, 100);
    bed_write_status(bed, 0);
    free(control);
}

/* RSS alone brings the pairs too, and moves the control queue behind them. */
static void NET_Q_01_pairs_by_rss_alone(void **state)
{
    struct register_bed *bed = open_pairs(state);
    struct control_driver *control = calloc(1, sizeof(*control));
    /* Class, command; hash types; mask; queue of what is not hashed; a table of one; pairs; no key
     */
    static const uint8_t rss[] = {CLASS_MQ, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0};

    register_bed_start(bed, BED_USUAL | BED_BIT(17) | BED_BIT(60));
    control_driver_init(control, bed->ring[8], 0);
    register_bed_send(bed, 3, 100);
    register_bed_expect_silence(bed, 3);
    assert_int_equal(control_driver_ask(control, rss, sizeof(rss)), CONTROL_ACK_OK);
    net_driver_drain(&bed->net[3]);
    free(control);
}

/* Without a control queue to command them, further pairs are not used. */
static void NET_Q_02_pairs_without_mq(void **state)
{
    struct register_bed *bed = open_pairs(state);

    register_bed_start(bed, BED_USUAL);
    register_bed_send(bed, 1, 100);
    register_bed_expect_silence(bed, 1);
    register_bed_exchange(bed, 0, 100);
}

static void GEN_QR_06_control_queue_is_reset(void **state)
{
    struct register_bed *bed = open_pairs(state);
    struct control_driver *control = calloc(1, sizeof(*control));
    static const uint8_t two[] = {CLASS_MQ, 0, 2, 0};

    register_bed_start(bed, BED_USUAL | BED_CONTROL | BED_RESET);
    for (unsigned i = 0; i < 5; i++) {
        control_driver_init(control, bed->ring[8], 0);
        assert_int_equal(control_driver_ask(control, two, sizeof(two)), CONTROL_ACK_OK);
        assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, 8), 0);
        assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, 8), 0);
        driver_split_restart(&bed->split[8], 0);
        register_driver_start_ring(&bed->driver, 8, bed->ring[8]);
        register_bed_exchange(bed, 0, 100);
    }
    free(control);
}

/* Memory that goes away takes the rings with it, and nothing else. */
static void memory_is_taken_and_given_back(void **state)
{
    struct register_bed *bed = open_bed(state);
    struct device_memory memory = {BED_RAM_GPA, BED_RAM_LEN, bed->ram.region[0].map};

    register_bed_start(bed, BED_USUAL);
    register_device_set_memory(&bed->device, NULL);
    register_bed_send(bed, 0, 100);
    register_bed_expect_silence(bed, 0);
    register_bed_await_needs_reset(bed);
    /* No memory, no ring. */
    assert_int_equal(register_driver_negotiate(&bed->driver, BED_USUAL), STATUS_BEFORE_QUEUES);
    bed->driver.ops->enable_queue(&bed->driver, 0);
    assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, 0), 0);
    register_device_set_memory(&bed->device, &memory);
    register_bed_expect_new_life(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(frames_go_round_split),
        BED_TEST(frames_go_round_split_without_extras),
        BED_TEST(frames_go_round_split_in_order),
        BED_TEST(frames_go_round_packed),
        BED_TEST(frames_go_round_packed_in_order),
        BED_TEST(BOOT_04_used_index_waits_for_buffers),
        BED_TEST(BOOT_05_buffers_of_a_firmware_that_left),
        BED_TEST(BOOT_06_stale_used_ring_does_not_count),
        BED_TEST(GEN_NT_01_many_kicks_on_empty_rings),
        BED_TEST(GEN_NT_02_notification_data_is_only_a_hint),
        BED_TEST(GEN_NT_03_kicks_of_queues_that_do_not_exist),
        BED_TEST(kick_by_eventfd),
        BED_TEST(SPL_BAD_27_sizes_are_refused),
        BED_TEST(SPL_BAD_28_PKD_BAD_11_places_are_refused),
        BED_TEST(SPL_BAD_30_live_ring_is_not_reconfigured),
        BED_TEST(NET_Q_03_queues_that_do_not_exist),
        BED_TEST(SPL_01_largest_size_is_a_power_of_two),
        BED_TEST(GEN_QR_01_GEN_QR_03_reset_queue_is_left_alone),
        BED_TEST(GEN_QR_02_resize_under_traffic_split),
        BED_TEST(GEN_QR_02_resize_under_traffic_packed),
        BED_TEST(LNX_08_one_queue_at_a_time),
        BED_TEST(GEN_QR_06_resets_that_mean_little),
        BED_TEST(GEN_QR_06_broken_queue_is_reset),
        BED_TEST(GEN_SU_01_only_a_live_device_is_suspended),
        BED_TEST(GEN_SU_02_GEN_SU_03_suspended_under_traffic_split),
        BED_TEST(GEN_SU_02_GEN_SU_03_suspended_under_traffic_packed),
        BED_TEST(GEN_SU_02_config_stands_still_and_is_told_later),
        BED_TEST(GEN_SU_02_queues_stand_still),
        BED_TEST(CTL_MQ_01_pairs_follow_the_control_queue),
        BED_TEST(NET_Q_01_pairs_by_rss_alone),
        BED_TEST(NET_Q_02_pairs_without_mq),
        BED_TEST(GEN_QR_06_control_queue_is_reset),
        BED_TEST(memory_is_taken_and_given_back),
    };

    return BED_RUN_BOTH(tests, &transport);
}
