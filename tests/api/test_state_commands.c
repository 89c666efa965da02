/* SPDX-License-Identifier: MIT */
/* Saved state: what a driver commanded by its control queue holds for the card that takes over, as
 * the frames show that reach the driver before and after. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "control_sample.h"
#include "driver_split.h"
#include "net_driver.h"
#include "register_driver.h"
#include "rss_driver.h"
#include "vionic.h"

#define CSUM     (1ull << 0)
#define FEATURES (CONTROL_F_ALL | CSUM | 1ull << 32)

enum {
    PAIRS = 2,
    CONTROL = 2 * PAIRS,
    QUEUES = CONTROL + 1,
    RAM_GPA = 0x100000,
    RAM_LEN = 32 << 20,
    RING_SIZE = 64,
    CONFIG_STATUS = 6,
    ANNOUNCE = 2,
    NEEDS_CSUM = 1,
    CSUM_START = PACKET_ETHERNET_LEN + PACKET_IPV4_LEN,
    CSUM_OFFSET = 6, /* of UDP */
    /* Commands of class RX. */
    PROMISC = 0,
    NOBCAST = 5,
};

static const uint8_t first_mac[6] = {0x52, 0x54, 0, 0, 0, 7};
static const uint8_t own[6] = {0x52, 0x54, 0, 0, 9, 9}; /* that the driver sets */
static const uint8_t listed[6] = {0x52, 0x54, 0, 0, 0, 0x77};
static const uint8_t stranger[6] = {0x52, 0x54, 0, 0, 0, 0x78};
static const uint8_t group[6] = {0x01, 0, 0x5e, 0, 0, 1};
static const uint8_t other_group[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct bed {
    struct vionic *vionic; /* owned */
    struct vionic_nic *nic;
    struct guest_ram ram;
    struct register_driver driver;
    struct driver_split split[QUEUES];
    struct net_driver net[PAIRS];
    struct control_driver control;
    uint32_t seed;
};

/* ---- the machine ---- */

static void set_line(void *context, int level)
{
    (void)context;
    (void)level;
}

static uint64_t port_read(void *context, enum register_space space, uint64_t offset, unsigned width)
{
    struct bed *bed = context;

    (void)space;
    return vionic_mmio_read(bed->nic, offset, width);
}

static void port_write(void *context, enum register_space space, uint64_t offset, unsigned width,
                       uint64_t value)
{
    struct bed *bed = context;

    (void)space;
    vionic_mmio_write(bed->nic, offset, width, value);
}

static void card_open(struct bed *bed)
{
    const struct vionic_config library = {.size = sizeof(library), .workers = 2};
    const struct vionic_interrupts interrupts = {
        .size = sizeof(interrupts), .context = bed, .line_eventfd = -1, .set_line = set_line};
    const struct vionic_memory memory = {
        .gpa = RAM_GPA, .size = RAM_LEN, .address = bed->ram.region[0].map};
    struct vionic_nic_config config = {.size = sizeof(config),
                                       .transport = VIONIC_TRANSPORT_MMIO,
                                       .interrupts = &interrupts,
                                       .queue_pairs = PAIRS,
                                       .endpoint = "loopback"};
    struct vionic_error err;

    memcpy(config.mac, first_mac, 6);
    check(vionic_create(&library, &bed->vionic, &err) == 0, "%s", err.text);
    check(vionic_add_nic(bed->vionic, &config, &bed->nic, &err) == 0, "%s", err.text);
    check(vionic_nic_set_memory(bed->nic, &memory, 1, &err) == 0, "%s", err.text);
}

static void ring_kick(void *context)
{
    struct bed *bed = context;

    for (unsigned i = 0; i < QUEUES; i++) {
        if (bed->split[i].ring.kick_count == 0)
            continue;
        bed->split[i].ring.kick_count = 0;
        bed->driver.ops->notify(&bed->driver, i, i);
    }
    vionic_dispatch(bed->vionic, 0);
}

static void driver_start(struct bed *bed)
{
    const struct driver_split_options ring = {.size = RING_SIZE};
    const struct net_options net = {.header_len = NET_HEADER_HASH, .rx_buffer_len = 2048};

    assert_int_equal(register_driver_negotiate(&bed->driver, FEATURES), STATUS_BEFORE_QUEUES);
    for (unsigned i = 0; i < QUEUES; i++) {
        driver_split_init(&bed->split[i], &bed->ram, &ring);
        bed->split[i].ring.kick = ring_kick;
        bed->split[i].ring.kick_context = bed;
        register_driver_start_ring(&bed->driver, i, &bed->split[i].ring);
    }
    bed->driver.ops->write_status(&bed->driver, STATUS_RUNNING);
    assert_int_equal(bed->driver.ops->status(&bed->driver), STATUS_RUNNING);
    for (unsigned i = 0; i < PAIRS; i++) {
        net_driver_init(&bed->net[i], &bed->split[2 * i].ring, &bed->split[2 * i + 1].ring, &net);
        net_driver_post(&bed->net[i], RING_SIZE);
    }
    control_driver_init(&bed->control, &bed->split[CONTROL].ring, 0);
}

static int bed_setup(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));
    struct register_port port = {port_read, port_write, bed};

    *state = bed;
    if (bed == NULL)
        return -1;
    guest_ram_init(&bed->ram);
    guest_ram_add(&bed->ram, RAM_GPA, RAM_LEN, 0);
    card_open(bed);
    register_driver_init_mmio(&bed->driver, &port);
    driver_start(bed);
    return 0;
}

static int bed_teardown(void **state)
{
    struct bed *bed = *state;

    vionic_free(bed->vionic);
    for (unsigned i = 0; i < QUEUES; i++)
        driver_split_free(&bed->split[i]);
    guest_ram_free(&bed->ram);
    free(bed);
    return 0;
}

/* Another card takes over; the driver is told nothing. */
static void replace_card(struct bed *bed)
{
    struct vionic_error err;
    void *bytes;
    size_t len;

    check(vionic_nic_save(bed->nic, &bytes, &len, &err) == 0, "%s", err.text);
    vionic_free(bed->vionic);
    card_open(bed);
    check(vionic_nic_restore(bed->nic, bytes, len, &err) == 0, "%s", err.text);
    free(bytes);
    assert_int_equal(bed->driver.ops->status(&bed->driver), STATUS_RUNNING);
}

/* ---- commands and frames ---- */

static void command(struct bed *bed, const void *bytes, uint32_t len)
{
    assert_int_equal(control_driver_ask(&bed->control, bytes, len), CONTROL_ACK_OK);
}

static void sum_number(void *context, const char *name, uint64_t value, int style)
{
    (void)style;
    if (strcmp(name, "filtered") == 0)
        *(uint64_t *)context += value;
}

static uint64_t filtered(struct bed *bed)
{
    uint64_t sum = 0;
    const struct vionic_visitor visitor = {
        .size = sizeof(visitor), .context = &sum, .number = sum_number};

    assert_int_equal(vionic_nic_inspect(bed->nic, &visitor), 0);
    return sum;
}

/* 1 if the packet came back to the pair, byte for byte; 0 if it was filtered and counted. */
static int passes(struct bed *bed, const struct packet *packet, unsigned pair)
{
    uint64_t before = filtered(bed);
    uint8_t got[NET_FRAME_MAX];

    net_driver_send(&bed->net[0], packet->bytes, packet->len);
    net_driver_drain(&bed->net[0]);
    if (filtered(bed) == before + 1)
        return 0;
    check(net_driver_receive(&bed->net[pair], got, sizeof(got), WAIT_LONG_MS) == (int)packet->len,
          "a frame came neither to pair %u nor to the filter's count", pair);
    assert_memory_equal(got, packet->bytes, packet->len);
    return 1;
}

/* vid 0: no tag. What is not hashed goes to pair 1. */
static int frame_passes(struct bed *bed, const uint8_t to[6], unsigned vid)
{
    struct packet packet = {.len = 0};

    packet_put_ethernet(&packet, to, vid == 0 ? 0x88b5 : 0x8100);
    packet_put_be16(&packet, vid);
    packet_put_be16(&packet, 0x88b5);
    packet_put_be16(&packet, bed->seed++);
    packet_put_zeros(&packet, 50);
    return passes(bed, &packet, 1);
}

static void command_all(struct bed *bed)
{
    const struct rss_setup rss = {
        .types = RSS_HASH_ALL, .mask = 1, .unclassified = 1, .table = {0, 1}, .pairs = PAIRS};
    struct packet tables = {.len = 0};

    packet_put(&tables, (uint8_t[]){1, 0, 1, 0, 0, 0}, 6);
    packet_put(&tables, listed, 6);
    packet_put(&tables, (uint8_t[]){1, 0, 0, 0}, 4);
    packet_put(&tables, group, 6);
    command(bed, tables.bytes, tables.len);
    command(bed, (uint8_t[]){1, 1, 0x52, 0x54, 0, 0, 9, 9}, 8);
    command(bed, (uint8_t[]){0, NOBCAST, 1}, 3);
    command(bed, (uint8_t[]){2, 0, 100, 0}, 4);
    assert_int_equal(rss_driver_config(&bed->control, &rss), CONTROL_ACK_OK);
}

static void expect_filters(struct bed *bed)
{
    assert_int_equal(frame_passes(bed, own, 0), 1);
    assert_int_equal(frame_passes(bed, first_mac, 0), 0);
    assert_int_equal(frame_passes(bed, listed, 0), 1);
    assert_int_equal(frame_passes(bed, stranger, 0), 0);
    assert_int_equal(frame_passes(bed, group, 0), 1);
    assert_int_equal(frame_passes(bed, other_group, 0), 0);
    assert_int_equal(frame_passes(bed, everybody, 0), 0);
    assert_int_equal(frame_passes(bed, own, 100), 1);
    assert_int_equal(frame_passes(bed, own, 200), 0);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(bed->driver.ops->config(&bed->driver, i, 1), own[i]);
}

/* Each flow at its pair, with its hash. */
static void expect_steering(struct bed *bed)
{
    unsigned seen = 0;

    for (unsigned flow = 0; flow < 20; flow++) {
        struct packet packet;
        uint32_t hash;

        rss_flow_make(&packet, own, flow, bed->seed++);
        hash = rss_flow_hash(&packet);
        seen |= 1u << (hash & 1);
        assert_int_equal(passes(bed, &packet, hash & 1), 1);
        assert_int_equal(bed->net[hash & 1].last_header.hash_value, hash);
        assert_int_not_equal(bed->net[hash & 1].last_header.hash_report, 0);
    }
    assert_int_equal(seen, 3);
}

static void filters_and_steering_hold_for_the_next_card(void **state)
{
    struct bed *bed = *state;

    command_all(bed);
    expect_filters(bed);
    expect_steering(bed);
    for (unsigned i = 0; i < 3; i++) {
        replace_card(bed);
        expect_filters(bed);
        expect_steering(bed);
    }
}

/* What was taken back stays so, and the next card takes commands as well. */
static void filters_change_with_the_next_card(void **state)
{
    struct bed *bed = *state;

    command_all(bed);
    replace_card(bed);
    command(bed, (uint8_t[]){0, PROMISC, 1}, 3);
    assert_int_equal(frame_passes(bed, stranger, 0), 1);
    replace_card(bed);
    assert_int_equal(frame_passes(bed, stranger, 0), 1);
    command(bed, (uint8_t[]){2, 0, 200, 0}, 4);
    command(bed, (uint8_t[]){2, 1, 100, 0}, 4);
    command(bed, (uint8_t[]){0, PROMISC, 0}, 3);
    replace_card(bed);
    assert_int_equal(frame_passes(bed, stranger, 0), 0);
    assert_int_equal(frame_passes(bed, own, 200), 1);
    assert_int_equal(frame_passes(bed, own, 100), 0);
}

/* ---- offloads ---- */

/* A frame whose checksum is left to the card: what becomes of it. */
static unsigned flags_of_partial_frame(struct bed *bed)
{
    static const struct net_header header = {
        .flags = NEEDS_CSUM, .csum_start = CSUM_START, .csum_offset = CSUM_OFFSET};
    uint8_t got[NET_FRAME_MAX];
    struct packet packet = {.len = 0};

    packet_put_ethernet(&packet, first_mac, 0x0800);
    packet_put_ip(&packet, PACKET_UDP, "10.0.0.1", "10.0.0.2");
    packet_put_udp(&packet, 4711);
    packet_put_zeros(&packet, 100);
    packet_finish_udp(&packet);
    net_driver_queue_with(&bed->net[0], &header, packet.bytes, packet.len);
    driver_ring_flush(bed->net[0].tx);
    check(net_driver_receive(&bed->net[0], got, sizeof(got), WAIT_LONG_MS) == (int)packet.len,
          "the frame did not come back");
    net_driver_drain(&bed->net[0]);
    return bed->net[0].last_header.flags & NEEDS_CSUM;
}

static void offloads_that_are_off_stay_off(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(flags_of_partial_frame(bed), NEEDS_CSUM);
    command(bed, (uint8_t[]){5, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 10);
    assert_int_equal(flags_of_partial_frame(bed), 0);
    replace_card(bed);
    assert_int_equal(flags_of_partial_frame(bed), 0);
    command(bed, (uint8_t[]){5, 0, 2, 0, 0, 0, 0, 0, 0, 0}, 10);
    assert_int_equal(flags_of_partial_frame(bed), NEEDS_CSUM);
    replace_card(bed);
    assert_int_equal(flags_of_partial_frame(bed), NEEDS_CSUM);
}

/* ---- coalescing, announcement, pairs ---- */

static void expect_coalescing(struct bed *bed, uint8_t queue, uint32_t packets, uint32_t usecs)
{
    const uint8_t bytes[] = {6, 3, queue, 0, 0, 0};
    const struct control_message message = {bytes, sizeof(bytes), 9};
    struct control_reply reply = control_driver_send(&bed->control, &message);

    assert_int_equal(wire_get32(reply.written, WIRE_LITTLE), packets);
    assert_int_equal(wire_get32(reply.written + 4, WIRE_LITTLE), usecs);
    assert_int_equal(reply.written[8], CONTROL_ACK_OK);
}

static void coalescing_holds_for_the_next_card(void **state)
{
    struct bed *bed = *state;

    command(bed, (uint8_t[]){6, 0, 50, 0, 0, 0, 8, 0, 0, 0}, 10); /* all that transmit */
    command(bed, (uint8_t[]){6, 1, 60, 0, 0, 0, 16, 0, 0, 0}, 10);
    command(bed, (uint8_t[]){6, 2, 3, 0, 0, 0, 4, 0, 0, 0, 70, 0, 0, 0}, 14); /* queue 3 alone */
    for (unsigned i = 0; i < 2; i++) {
        expect_coalescing(bed, 0, 60, 16);
        expect_coalescing(bed, 1, 50, 8);
        expect_coalescing(bed, 2, 60, 16);
        expect_coalescing(bed, 3, 4, 70);
        replace_card(bed);
    }
}

static unsigned announce_asked(struct bed *bed)
{
    return (unsigned)bed->driver.ops->config(&bed->driver, CONFIG_STATUS, 2) & ANNOUNCE;
}

static void an_announcement_is_asked_for_until_it_is_made(void **state)
{
    struct bed *bed = *state;
    struct vionic_error err;

    assert_int_equal(announce_asked(bed), 0);
    check(vionic_nic_set(bed->nic, "announce", "now", &err) == 0, "%s", err.text);
    assert_int_equal(announce_asked(bed), ANNOUNCE);
    replace_card(bed);
    assert_int_equal(announce_asked(bed), ANNOUNCE);
    command(bed, (uint8_t[]){3, 0}, 2);
    assert_int_equal(announce_asked(bed), 0);
    replace_card(bed);
    assert_int_equal(announce_asked(bed), 0);
}

static void exchange_by(struct bed *bed, unsigned pair)
{
    uint8_t sent[200], got[NET_FRAME_MAX];

    net_frame_make(sent, sizeof(sent), first_mac, ++bed->seed);
    net_driver_send(&bed->net[pair], sent, sizeof(sent));
    check(net_driver_receive(&bed->net[pair], got, sizeof(got), WAIT_LONG_MS) == sizeof(sent),
          "pair %u did not get its frame", pair);
    assert_memory_equal(got, sent, sizeof(sent));
    net_driver_drain(&bed->net[pair]);
}

static void active_pairs_stay_active(void **state)
{
    struct bed *bed = *state;
    uint8_t frame[200];

    command(bed, (uint8_t[]){4, 0, 2, 0}, 4);
    exchange_by(bed, 1);
    replace_card(bed);
    exchange_by(bed, 1);
    command(bed, (uint8_t[]){4, 0, 1, 0}, 4);
    replace_card(bed);
    net_frame_make(frame, sizeof(frame), first_mac, 1);
    net_driver_send(&bed->net[1], frame, sizeof(frame));
    assert_int_equal(net_driver_receive(&bed->net[1], frame, sizeof(frame), WAIT_QUIET_MS), -1);
    exchange_by(bed, 0);
}

#define STATE_TEST(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(filters_and_steering_hold_for_the_next_card),
        STATE_TEST(filters_change_with_the_next_card),
        STATE_TEST(offloads_that_are_off_stay_off),
        STATE_TEST(coalescing_holds_for_the_next_card),
        STATE_TEST(an_announcement_is_asked_for_until_it_is_made),
        STATE_TEST(active_pairs_stay_active),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
