/* SPDX-License-Identifier: MIT */
/* As many pairs as a card may have, behind registers: 257 queues, the control queue is number 256.
 * A few pairs have drivers; every test runs over virtio-mmio and virtio-pci. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "register_bed.h"
#include "rss_driver.h"

#define FEATURES (BED_USUAL | BED_CONTROL)
#define RSS      BED_BIT(60)

enum {
    PAIRS = 128,
    CONTROL = 2 * PAIRS,
    QUEUES = CONTROL + 1,
    RING_SIZE = 16,
    SEATS = 4,
    SEAT_0 = 0,
    SEAT_1 = 1,
    SEAT_63 = 2,
    SEAT_127 = 3,
    VECTORS = 4,
    CONFIG_MAX_PAIRS = 8,
};

static const unsigned pair_of_seat[SEATS] = {0, 1, 63, 127};
static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1};
static enum device_transport transport; /* of the group that runs */

struct pairs_bed {
    struct register_device device;
    struct guest_ram ram;
    struct register_driver driver;
    struct driver_split split[QUEUES];
    struct driver_packed packed[QUEUES];
    struct driver_ring *ring[QUEUES]; /* back-pointers: those in use */
    struct net_driver net[SEATS];     /* of the pairs that have one */
    struct control_driver control;
    uint32_t seed;
};

static int bed_setup(void **state)
{
    *state = calloc(1, sizeof(struct pairs_bed));
    return *state == NULL ? -1 : 0;
}

static int bed_teardown(void **state)
{
    struct pairs_bed *bed = *state;

    register_device_close(&bed->device);
    for (unsigned i = 0; i < QUEUES; i++) {
        driver_split_free(&bed->split[i]);
        driver_packed_free(&bed->packed[i]);
    }
    guest_ram_free(&bed->ram);
    free(bed);
    return 0;
}

static struct pairs_bed *open_bed(void **state)
{
    struct pairs_bed *bed = *state;
    struct device_options options = {.transport = transport,
                                     .pairs = PAIRS,
                                     .queue_size_max = 256,
                                     .vectors = VECTORS,
                                     .workers = 3,
                                     .endpoint = "loopback"};
    struct device_memory memory = {.gpa = BED_RAM_GPA, .len = BED_RAM_LEN};

    guest_ram_init(&bed->ram);
    guest_ram_add(&bed->ram, BED_RAM_GPA, BED_RAM_LEN, 0);
    memory.map = bed->ram.region[0].map;
    register_device_open(&bed->device, &options, &memory);
    register_bed_find_device(&bed->driver, &bed->device);
    return bed;
}

static void rings_kick(void *context)
{
    struct pairs_bed *bed = context;

    register_bed_kick(&bed->driver, &bed->device, bed->ring, QUEUES);
}

static void ring_make(struct pairs_bed *bed, unsigned i, uint64_t features)
{
    struct driver_split_options split = {.size = RING_SIZE, .event_idx = 1};
    struct driver_packed_options packed = {.size = RING_SIZE, .event_idx = 1};

    driver_split_free(&bed->split[i]);
    driver_packed_free(&bed->packed[i]);
    memset(&bed->split[i], 0, sizeof(bed->split[i]));
    memset(&bed->packed[i], 0, sizeof(bed->packed[i]));
    if (features & BED_PACKED)
        driver_packed_init(&bed->packed[i], &bed->ram, &packed);
    else
        driver_split_init(&bed->split[i], &bed->ram, &split);
    bed->ring[i] = features & BED_PACKED ? &bed->packed[i].ring : &bed->split[i].ring;
    bed->ring[i]->kick = rings_kick;
    bed->ring[i]->kick_context = bed;
}

/* All queues enabled, and receive buffers at the pairs that have a driver. */
static void begin(struct pairs_bed *bed, uint64_t features)
{
    struct net_options net = {.header_len = NET_HEADER_MODERN, .rx_buffer_len = 2048};

    assert_int_equal(register_driver_negotiate(&bed->driver, features), STATUS_BEFORE_QUEUES);
    bed->ram.region[0].used = 0;
    for (unsigned i = 0; i < QUEUES; i++) {
        ring_make(bed, i, features);
        register_driver_start_ring(&bed->driver, i, bed->ring[i]);
    }
    bed->driver.ops->write_status(&bed->driver, STATUS_RUNNING);
    assert_int_equal(bed->driver.ops->status(&bed->driver), STATUS_RUNNING);
    for (unsigned seat = 0; seat < SEATS; seat++) {
        unsigned rx = 2 * pair_of_seat[seat];

        net_driver_init(&bed->net[seat], bed->ring[rx], bed->ring[rx + 1], &net);
        net_driver_post(&bed->net[seat], RING_SIZE);
    }
    control_driver_init(&bed->control, bed->ring[CONTROL], 0);
}

static struct pairs_bed *start(void **state, uint64_t features)
{
    struct pairs_bed *bed = open_bed(state);

    begin(bed, features);
    return bed;
}

static unsigned set_pairs(struct pairs_bed *bed, unsigned pairs)
{
    return control_driver_ask(&bed->control, (uint8_t[]){4, 0, (uint8_t)pairs, 0}, 4);
}

static void expect(struct pairs_bed *bed, unsigned seat, const uint8_t *frame, uint32_t len)
{
    uint8_t got[NET_TX_SLOT_LEN];

    check(net_driver_receive(&bed->net[seat], got, sizeof(got), WAIT_LONG_MS) == (int)len,
          "the frame did not come to pair %u", pair_of_seat[seat]);
    assert_memory_equal(got, frame, len);
}

static void exchange(struct pairs_bed *bed, unsigned seat)
{
    uint8_t frame[300];

    net_frame_make(frame, sizeof(frame), mac, ++bed->seed);
    net_driver_send(&bed->net[seat], frame, sizeof(frame));
    expect(bed, seat, frame, sizeof(frame));
    net_driver_drain(&bed->net[seat]);
}

static void expect_silence(struct pairs_bed *bed, unsigned seat)
{
    uint8_t got[NET_TX_SLOT_LEN];

    assert_int_equal(net_driver_receive(&bed->net[seat], got, sizeof(got), WAIT_QUIET_MS), -1);
    assert_int_equal(net_driver_reap(&bed->net[seat]), 0);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static void pairs_follow_commands(struct pairs_bed *bed)
{
    uint8_t frame[300];

    exchange(bed, SEAT_0);
    net_frame_make(frame, sizeof(frame), mac, ++bed->seed);
    net_driver_send(&bed->net[SEAT_127], frame, sizeof(frame));
    expect_silence(bed, SEAT_127);
    assert_int_equal(set_pairs(bed, 2), CONTROL_ACK_OK);
    exchange(bed, SEAT_1);
    expect_silence(bed, SEAT_127);
    assert_int_equal(set_pairs(bed, PAIRS + 1), CONTROL_ACK_ERR);
    assert_int_equal(set_pairs(bed, PAIRS - 1), CONTROL_ACK_OK);
    exchange(bed, SEAT_63);
    expect_silence(bed, SEAT_127);
    assert_int_equal(set_pairs(bed, PAIRS), CONTROL_ACK_OK);
    expect(bed, SEAT_127, frame, sizeof(frame));
    net_driver_drain(&bed->net[SEAT_127]);
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned seat = 0; seat < SEATS; seat++)
            exchange(bed, seat);
    }
    assert_int_equal(set_pairs(bed, 1), CONTROL_ACK_OK);
    exchange(bed, SEAT_0);
    net_driver_send(&bed->net[SEAT_1], frame, sizeof(frame));
    expect_silence(bed, SEAT_1);
}

static void CTL_MQ_01_NET_Q_01_all_pairs_split(void **state)
{
    pairs_follow_commands(start(state, FEATURES));
}

static void CTL_MQ_01_NET_Q_01_all_pairs_packed(void **state)
{
    pairs_follow_commands(start(state, FEATURES | BED_PACKED));
}

/* Frames of each pair, whoever's worker it is, to the last one. */
static void NET_RSS_01_table_names_the_last_pair(void **state)
{
    struct pairs_bed *bed = start(state, FEATURES | RSS);
    struct rss_setup setup = {.types = RSS_HASH_ALL, .table = {PAIRS - 1}, .pairs = PAIRS};
    struct packet packet;

    assert_int_equal(rss_driver_config(&bed->control, &setup), CONTROL_ACK_OK);
    for (unsigned i = 0; i < 100; i++) {
        struct net_driver *from = &bed->net[i % SEATS];

        rss_flow_make(&packet, mac, i, i);
        net_driver_send(from, packet.bytes, packet.len);
        expect(bed, SEAT_127, packet.bytes, packet.len);
        net_driver_drain(from);
    }
    exchange(bed, SEAT_0); /* no hash: unclassified */
    setup.table[0] = PAIRS;
    assert_int_equal(rss_driver_config(&bed->control, &setup), CONTROL_ACK_ERR);
    net_driver_send(&bed->net[SEAT_63], packet.bytes, packet.len);
    expect(bed, SEAT_127, packet.bytes, packet.len);
}

/* ---- what is shown --------------------------------------------------------------------------- */

static void NET_Q_03_numbers_of_queues(void **state)
{
    struct pairs_bed *bed = start(state, FEATURES);
    char *text = calloc(1, DEVICE_TEXT_LEN);
    char line[32];

    assert_int_equal(bed->driver.ops->config(&bed->driver, CONFIG_MAX_PAIRS, 2), PAIRS);
    assert_int_equal(bed->driver.ops->queue_size_max(&bed->driver, CONTROL),
                     transport == DEVICE_PCI ? RING_SIZE : 256);
    assert_int_equal(bed->driver.ops->queue_size_max(&bed->driver, QUEUES), 0);
    assert_true(register_device_kick_fd(&bed->device, CONTROL) >= 0);
    assert_int_equal(register_device_kick_fd(&bed->device, QUEUES), -1);
    register_device_inspect(&bed->device, text);
    assert_non_null(strstr(text, "queue_count=257\n"));
    for (unsigned i = 0; i < QUEUES; i++) {
        snprintf(line, sizeof(line), "in=%u\n", i);
        check(strstr(text, line) != NULL, "queue %u is not shown", i);
    }
    free(text);
}

static void NET_Q_02_one_pair_after_a_reset(void **state)
{
    struct pairs_bed *bed = start(state, FEATURES);

    assert_int_equal(set_pairs(bed, PAIRS), CONTROL_ACK_OK);
    exchange(bed, SEAT_127);
    bed->driver.ops->write_status(&bed->driver, 0);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_int_equal(bed->driver.ops->queue_enabled(&bed->driver, i), 0);
    begin(bed, FEATURES);
    exchange(bed, SEAT_0);
    net_driver_send(&bed->net[SEAT_1], "a frame of any kind", 20);
    expect_silence(bed, SEAT_1);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static unsigned message_count(struct pairs_bed *bed, unsigned vector)
{
    return atomic_load(&bed->device.msi[vector]);
}

static void wait_message(struct pairs_bed *bed, unsigned vector, unsigned more_than)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while (message_count(bed, vector) <= more_than) {
        check(now_ms() < end, "no message by vector %u", vector);
        sleep_ms(1);
    }
}

/* Fewer vectors than queues: the driver shares them out as it likes. */
static void PCI_09_queues_share_vectors(void **state)
{
    struct pairs_bed *bed = start(state, FEATURES);

    register_driver_set_msix(&bed->driver, MSIX_CONTROL_ENABLE);
    for (unsigned i = 0; i < VECTORS; i++)
        register_driver_put_msix(&bed->driver, i, 0xfee00000 + 4096 * i, i);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_int_equal(register_driver_map_queue(&bed->driver, i, i % VECTORS), i % VECTORS);
    assert_int_equal(register_driver_map_queue(&bed->driver, CONTROL, VECTORS), MSIX_NO_VECTOR);
    assert_int_equal(register_driver_map_queue(&bed->driver, CONTROL, 1), 1);
    bed->ring[CONTROL]->ops->interrupts(bed->ring[CONTROL], INTERRUPTS_ON);
    assert_int_equal(set_pairs(bed, PAIRS), CONTROL_ACK_OK);
    wait_message(bed, 1, 0);
    for (unsigned seat = 0; seat < SEATS; seat++) {
        unsigned rx = 2 * pair_of_seat[seat];
        unsigned before = message_count(bed, rx % VECTORS);

        bed->ring[rx]->ops->interrupts(bed->ring[rx], INTERRUPTS_ON);
        exchange(bed, seat);
        wait_message(bed, rx % VECTORS, before);
    }
}

#define PAIRS_TEST(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIRS_TEST(CTL_MQ_01_NET_Q_01_all_pairs_split),
        PAIRS_TEST(CTL_MQ_01_NET_Q_01_all_pairs_packed),
        PAIRS_TEST(NET_RSS_01_table_names_the_last_pair),
        PAIRS_TEST(NET_Q_03_numbers_of_queues),
        PAIRS_TEST(NET_Q_02_one_pair_after_a_reset),
    };
    const struct CMUnitTest pci_tests[] = {
        PAIRS_TEST(PCI_09_queues_share_vectors),
    };
    int failed = BED_RUN_BOTH(tests, &transport);

    return failed + cmocka_run_group_tests_name("virtio-pci only", pci_tests, NULL, NULL);
}
