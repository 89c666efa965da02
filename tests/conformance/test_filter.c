/* SPDX-License-Identifier: MIT */
/* Receive filters through the whole daemon: what the driver asks for by the control queue, and the
 * frames that it gets then. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "packet.h"
#include "testbed.h"

#define MODERN         (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define CTRL_RX        (1ull << 18)
#define CTRL_VLAN      (1ull << 19)
#define CTRL_RX_EXTRA  (1ull << 20)
#define CTRL_MAC_ADDR  (1ull << 23)
#define BY_ADDRESS     (MODERN | CTRL_RX | CTRL_RX_EXTRA | CTRL_MAC_ADDR)
#define BY_VLAN        (MODERN | CTRL_VLAN)
#define BY_BOTH        (BY_ADDRESS | BY_VLAN)
#define LOCAL_TEST     0x88b5 /* an ethertype that means nothing */
#define LOCAL_TEST_ETC 0x88b6

enum {
    /* Commands of class RX, as bits of a set of modes too. */
    PROMISC,
    ALLMULTI,
    ALLUNI,
    NOMULTI,
    NOUNI,
    NOBCAST,
    MODES,
};

static const uint8_t other[6] = {0x52, 0x54, 0, 0, 0, 0x77};
static const uint8_t third[6] = {0x52, 0x54, 0, 0, 0, 0x78};
static const uint8_t group[6] = {0x01, 0, 0x5e, 0, 0, 1};
static const uint8_t group_v6[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct filter_bed {
    struct testbed *bed;
    struct testbed_nic *nic;
    struct control_driver control;
    uint64_t filtered; /* drops counted up to now */
    uint32_t seed;
};

static struct filter_bed start(void **state, uint64_t features)
{
    struct testbed_options options = {
        .features = features, .control = 1, .start = front_end_start_crosvm};
    struct filter_bed bed = {.bed = testbed_start(state, &options)};

    bed.nic = &bed.bed->nic[VICTIM];
    check((bed.nic->fe.features & features) == features, "offered: %#llx",
          (unsigned long long)bed.nic->fe.offered);
    control_driver_init(&bed.control, bed.nic->ring[2], 0);
    return bed;
}

static void command(struct filter_bed *bed, const void *bytes, uint32_t len)
{
    assert_int_equal(control_driver_ask(&bed->control, bytes, len), CONTROL_ACK_OK);
}

static void set_mode(struct filter_bed *bed, unsigned mode, int on)
{
    command(bed, (uint8_t[]){0, (uint8_t)mode, (uint8_t)on}, 3);
}

/* Both tables, with up to two addresses each. */
static void set_tables(struct filter_bed *bed, unsigned unicast, unsigned multicast)
{
    struct packet message = {.len = 0};

    packet_put(&message, (uint8_t[]){1, 0, (uint8_t)unicast, 0, 0, 0}, 6);
    packet_put(&message, other, unicast > 0 ? 6 : 0);
    packet_put(&message, third, unicast > 1 ? 6 : 0);
    packet_put(&message, (uint8_t[]){(uint8_t)multicast, 0, 0, 0}, 4);
    packet_put(&message, group, multicast > 0 ? 6 : 0);
    packet_put(&message, group_v6, multicast > 1 ? 6 : 0);
    command(bed, message.bytes, message.len);
}

static void set_vlan(struct filter_bed *bed, unsigned number, unsigned vid)
{
    command(bed, (uint8_t[]){2, (uint8_t)number, (uint8_t)vid, (uint8_t)(vid >> 8)}, 4);
}

static uint64_t drops(struct filter_bed *bed)
{
    return daemon_sum(&bed->bed->daemon, "nic0/queues/0/rx_drops");
}

/* Sends the packet; 1 if it came back, byte for byte, 0 if it was dropped and counted. */
static int passes(struct filter_bed *bed, const struct packet *packet)
{
    struct net_driver *net = &bed->nic->net[0];
    uint8_t got[NET_FRAME_MAX];
    int len;

    net_driver_send(net, packet->bytes, packet->len);
    net_driver_drain(net);
    if (daemon_number(&bed->bed->daemon, "nic0/queues/0/rx_dropped") > bed->filtered) {
        bed->filtered++;
        assert_int_equal(drops(bed), bed->filtered);
        return 0;
    }
    len = net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS);
    check(len == (int)packet->len, "%d bytes came back of %u", len, packet->len);
    assert_memory_equal(got, packet->bytes, packet->len);
    return 1;
}

/* Ends in bytes that differ each time. */
static struct packet frame(struct filter_bed *bed, const uint8_t to[6], unsigned ethertype)
{
    struct packet packet = {.len = 0};

    packet_put_ethernet(&packet, to, ethertype);
    packet_put_be16(&packet, bed->seed >> 16);
    packet_put_be16(&packet, bed->seed++);
    packet_put_zeros(&packet, 50);
    return packet;
}

static int to_passes(struct filter_bed *bed, const uint8_t to[6])
{
    struct packet packet = frame(bed, to, LOCAL_TEST);

    return passes(bed, &packet);
}

static int tagged_passes(struct filter_bed *bed, unsigned ethertype, unsigned tag)
{
    struct packet inside = frame(bed, bed->nic->mac, LOCAL_TEST);
    struct packet packet = {.len = 0};

    packet_put(&packet, inside.bytes, 12);
    packet_put_be16(&packet, ethertype);
    packet_put_be16(&packet, tag);
    packet_put(&packet, inside.bytes + 12, inside.len - 12);
    return passes(bed, &packet);
}

/* Who gets through: own, other, group, everybody. */
static void check_row(struct filter_bed *bed, const char *expected, const char *when)
{
    const uint8_t *to[] = {bed->nic->mac, other, group, everybody};
    char got[5] = "";

    for (unsigned i = 0; i < 4; i++)
        got[i] = to_passes(bed, to[i]) ? '+' : '-';
    check(strcmp(got, expected) == 0, "%s: %s, not %s", when, got, expected);
}

/* ---- addresses ---- */

static void NET_FLT_02_own_address_and_broadcast_at_first(void **state)
{
    struct filter_bed bed = start(state, BY_ADDRESS);

    check_row(&bed, "+--+", "at first");
    testbed_finish(bed.bed);
}

static void NET_FLT_02_all_pass_where_the_driver_cannot_ask(void **state)
{
    struct filter_bed bed = start(state, MODERN | CTRL_MAC_ADDR);

    check_row(&bed, "++++", "without CTRL_RX");
    assert_true(tagged_passes(&bed, 0x8100, 5));
    testbed_finish(bed.bed);
}

static void NET_FLT_02_CTL_MAC_01_tables_are_replaced_whole(void **state)
{
    struct filter_bed bed = start(state, BY_ADDRESS);

    set_tables(&bed, 1, 1);
    check_row(&bed, "++++", "both in the tables");
    assert_false(to_passes(&bed, third));
    assert_false(to_passes(&bed, group_v6));
    set_tables(&bed, 2, 0);
    check_row(&bed, "++-+", "no multicast");
    assert_true(to_passes(&bed, third));
    set_tables(&bed, 0, 2);
    check_row(&bed, "+-++", "no unicast");
    assert_true(to_passes(&bed, group_v6));
    set_tables(&bed, 0, 0);
    check_row(&bed, "+--+", "empty");
    testbed_finish(bed.bed);
}

static void CTL_MAC_02_more_addresses_than_fit_mean_all(void **state)
{
    struct filter_bed bed = start(state, BY_ADDRESS);
    struct packet message = {.len = 0};

    packet_put(&message, (uint8_t[]){1, 0, 200, 0, 0, 0}, 6);
    for (unsigned i = 0; i < 200; i++)
        packet_put(&message, (uint8_t[]){2, 0, 0, 0, 1, (uint8_t)i}, 6);
    packet_put_zeros(&message, 4);
    command(&bed, message.bytes, message.len);
    check_row(&bed, "++-+", "200 unicast addresses");
    set_tables(&bed, 0, 0);
    check_row(&bed, "+--+", "empty again");
    testbed_finish(bed.bed);
}

static void CTL_MAC_04_the_address_that_the_driver_sets(void **state)
{
    struct filter_bed bed = start(state, BY_ADDRESS);

    command(&bed, (uint8_t[]){1, 1, 0x52, 0x54, 0, 0, 0, 0x77}, 8);
    check_row(&bed, "-+-+", "with another's address");
    testbed_finish(bed.bed);
}

/* A driver may never look at its address again; the next one finds the operator's. */
static void NET_FLT_02_the_address_that_the_operator_sets(void **state)
{
    struct filter_bed bed = start(state, BY_ADDRESS);
    char refusal[512];

    assert_true(daemon_set(&bed.bed->daemon, "nic0.mac", "52:54:00:00:00:77", refusal));
    check_row(&bed, "+--+", "while the driver works");
    testbed_disconnect(bed.nic);
    testbed_connect(bed.nic);
    check_row(&bed, "-+-+", "for the next driver");
    testbed_finish(bed.bed);
}

/* The frames that a driver with these modes gets, by the words of the standard. */
static void expected_row(unsigned modes, char row[5])
{
    strcpy(row, "+--+");
    if (modes & 1 << ALLUNI)
        row[1] = '+';
    if (modes & 1 << ALLMULTI)
        row[2] = '+';
    if (modes & 1 << NOUNI)
        row[0] = row[1] = '-';
    if (modes & 1 << NOMULTI)
        row[2] = '-';
    if (modes & 1 << NOBCAST)
        row[3] = '-';
    if (modes & 1 << PROMISC)
        strcpy(row, "++++");
}

static void NET_FLT_03_CTL_RX_01_every_combination_of_modes(void **state)
{
    struct filter_bed bed = start(state, BY_ADDRESS);
    unsigned modes = 0;

    for (unsigned step = 0; step < 1 << MODES; step++) {
        unsigned next = step ^ step >> 1; /* one mode changes at a time */
        char row[5], when[16];

        for (unsigned mode = 0; mode < MODES; mode++) {
            if ((next ^ modes) >> mode & 1)
                set_mode(&bed, mode, next >> mode & 1);
        }
        modes = next;
        expected_row(modes, row);
        snprintf(when, sizeof(when), "modes %#x", modes);
        check_row(&bed, row, when);
    }
    testbed_finish(bed.bed);
}

/* ---- VLANs ---- */

static void NET_FLT_04_tags_by_table(void **state)
{
    struct filter_bed bed = start(state, BY_VLAN);

    check_row(&bed, "++++", "untagged");
    assert_false(tagged_passes(&bed, 0x8100, 5));
    set_vlan(&bed, 0, 5);
    set_vlan(&bed, 0, 4095);
    assert_true(tagged_passes(&bed, 0x8100, 5));
    assert_true(tagged_passes(&bed, 0x8100, 0xa005));
    assert_true(tagged_passes(&bed, 0x8100, 4095));
    assert_false(tagged_passes(&bed, 0x8100, 6));
    assert_true(tagged_passes(&bed, 0x88a8, 6));
    set_vlan(&bed, 1, 5);
    assert_false(tagged_passes(&bed, 0x8100, 5));
    assert_true(tagged_passes(&bed, 0x8100, 4095));
    testbed_finish(bed.bed);
}

static void NET_FLT_04_tag_and_address_both_count(void **state)
{
    struct filter_bed bed = start(state, BY_BOTH);

    set_vlan(&bed, 0, 5);
    assert_true(tagged_passes(&bed, 0x8100, 5));
    set_mode(&bed, NOUNI, 1);
    assert_false(tagged_passes(&bed, 0x8100, 5));
    set_mode(&bed, PROMISC, 1);
    assert_true(tagged_passes(&bed, 0x8100, 5));
    assert_true(tagged_passes(&bed, 0x8100, 6)); /* all incoming packets */
    testbed_finish(bed.bed);
}

/* ---- life ---- */

static void queue_burst(struct filter_bed *bed, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct packet wanted = frame(bed, bed->nic->mac, LOCAL_TEST);
        struct packet unwanted = frame(bed, other, LOCAL_TEST_ETC);

        net_driver_queue(&bed->nic->net[0], wanted.bytes, wanted.len);
        net_driver_queue(&bed->nic->net[0], unwanted.bytes, unwanted.len);
    }
    driver_ring_flush(bed->nic->net[0].tx);
}

/* Takes the burst's frames until all those that pass whatever the mode is are there. */
static void take_burst(struct filter_bed *bed, unsigned count)
{
    uint8_t got[NET_FRAME_MAX];

    while (count != 0) {
        assert_true(net_driver_receive(&bed->nic->net[0], got, sizeof(got), WAIT_LONG_MS) > 0);
        if (memcmp(got, bed->nic->mac, 6) == 0)
            count--;
    }
    net_driver_drain(&bed->nic->net[0]);
    while (net_driver_receive(&bed->nic->net[0], got, sizeof(got), 0) > 0)
        assert_memory_equal(got, other, 6);
}

/* What passes before and after a change passes while it is made; from the answer on it holds. */
static void CTL_RX_01_modes_change_under_traffic(void **state)
{
    struct filter_bed bed = start(state, BY_ADDRESS);

    for (unsigned round = 0; round < 100; round++) {
        queue_burst(&bed, 10);
        set_mode(&bed, PROMISC, round % 2 == 0);
        take_burst(&bed, 10);
        if (round % 20 < 2) {
            bed.filtered = daemon_number(&bed.bed->daemon, "nic0/queues/0/rx_dropped");
            assert_int_equal(to_passes(&bed, other), round % 2 == 0);
        }
    }
    testbed_finish(bed.bed);
}

static void everything_on(struct filter_bed *bed)
{
    set_tables(bed, 2, 2);
    for (unsigned mode = 0; mode < MODES; mode++)
        set_mode(bed, mode, 1);
    set_vlan(bed, 0, 5);
    command(bed, (uint8_t[]){1, 1, 0x52, 0x54, 0, 0, 0, 0x77}, 8);
    assert_true(tagged_passes(bed, 0x8100, 6)); /* promiscuous */
}

static void check_defaults(struct filter_bed *bed)
{
    bed->filtered = daemon_number(&bed->bed->daemon, "nic0/queues/0/rx_dropped");
    check_row(bed, "+--+", "after the reset");
    assert_false(to_passes(bed, third));
    assert_false(to_passes(bed, group_v6));
    assert_false(tagged_passes(bed, 0x8100, 5));
}

static void start_again(struct filter_bed *bed)
{
    testbed_restart_rings(bed->nic, 0);
    bed->nic->options.start(&bed->nic->fe, &bed->nic->setup);
    net_driver_post(&bed->nic->net[0], bed->nic->net[0].rx_slots);
}

static void GEN_RST_03_GEN_RST_04_reset_forgets_the_filters(void **state)
{
    struct filter_bed bed = start(state, BY_BOTH);

    everything_on(&bed);
    assert_int_equal(front_end_simple(&bed.nic->fe, VU_RESET_DEVICE), 0);
    start_again(&bed);
    check_defaults(&bed);
    everything_on(&bed);
    assert_int_equal(front_end_set_status(&bed.nic->fe, 0), 0);
    start_again(&bed);
    check_defaults(&bed);
    testbed_finish(bed.bed);
}

static void GEN_RST_04_another_front_end_begins_with_none(void **state)
{
    struct filter_bed bed = start(state, BY_BOTH);

    everything_on(&bed);
    testbed_disconnect(bed.nic);
    testbed_connect(bed.nic);
    check_defaults(&bed);
    testbed_finish(bed.bed);
}

/* A front-end that keeps the control queue to itself, like QEMU, answers the commands alone. */
static void NET_FLT_02_filters_need_the_control_queue(void **state)
{
    struct testbed_options options = {.features = BY_BOTH | 1ull << 17};
    struct filter_bed bed = {.bed = testbed_start(state, &options)};

    bed.nic = &bed.bed->nic[VICTIM];
    check_row(&bed, "++++", "without a control queue of ours");
    assert_true(tagged_passes(&bed, 0x8100, 5));
    testbed_finish(bed.bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_FLT_02_own_address_and_broadcast_at_first),
        TESTBED_TEST(NET_FLT_02_all_pass_where_the_driver_cannot_ask),
        TESTBED_TEST(NET_FLT_02_CTL_MAC_01_tables_are_replaced_whole),
        TESTBED_TEST(CTL_MAC_02_more_addresses_than_fit_mean_all),
        TESTBED_TEST(CTL_MAC_04_the_address_that_the_driver_sets),
        TESTBED_TEST(NET_FLT_02_the_address_that_the_operator_sets),
        TESTBED_TEST(NET_FLT_03_CTL_RX_01_every_combination_of_modes),
        TESTBED_TEST(NET_FLT_04_tags_by_table),
        TESTBED_TEST(NET_FLT_04_tag_and_address_both_count),
        TESTBED_TEST(CTL_RX_01_modes_change_under_traffic),
        TESTBED_TEST(GEN_RST_03_GEN_RST_04_reset_forgets_the_filters),
        TESTBED_TEST(GEN_RST_04_another_front_end_begins_with_none),
        TESTBED_TEST(NET_FLT_02_filters_need_the_control_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
