/* SPDX-License-Identifier: MIT */
/* RSS through the whole daemon: which pair gets which frame, whoever of two workers it comes from,
 * and what becomes of frames while the driver changes its mind. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "rss_driver.h"
#include "testbed.h"

#define MODERN  (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define CTRL_RX (1ull << 18)
#define RSS     (1ull << 60)

enum {
    PAIRS = 4,
    CONTROL = 2 * PAIRS,
};

struct steering_bed {
    struct testbed *bed;
    struct testbed_nic *nic;
    struct control_driver control;
};

static struct steering_bed start(void **state, uint64_t features)
{
    struct testbed_options options = {.features = MODERN | RSS | features,
                                      .pairs = PAIRS,
                                      .workers = 2,
                                      .control = 1,
                                      .start = front_end_start_crosvm};
    struct steering_bed bed = {.bed = testbed_start(state, &options)};

    bed.nic = &bed.bed->nic[VICTIM];
    check((bed.nic->fe.features & options.features) == options.features, "offered: %#llx",
          (unsigned long long)bed.nic->fe.offered);
    control_driver_init(&bed.control, bed.nic->ring[CONTROL], 0);
    return bed;
}

static void config(struct steering_bed *bed, const struct rss_setup *setup)
{
    assert_int_equal(rss_driver_config(&bed->control, setup), CONTROL_ACK_OK);
}

/* Everything to one pair. */
static struct rss_setup all_to(uint16_t pair)
{
    return (struct rss_setup){
        .types = RSS_HASH_ALL, .unclassified = pair, .table = {pair}, .pairs = PAIRS};
}

static void send_packet(struct steering_bed *bed, unsigned pair, const struct packet *packet)
{
    net_driver_send(&bed->nic->net[pair], packet->bytes, packet->len);
}

static void expect_at(struct steering_bed *bed, unsigned pair, const struct packet *packet)
{
    uint8_t got[NET_FRAME_MAX];
    int len = net_driver_receive(&bed->nic->net[pair], got, sizeof(got), WAIT_LONG_MS);

    check(len == (int)packet->len, "pair %u got %d bytes of %u", pair, len, packet->len);
    assert_memory_equal(got, packet->bytes, packet->len);
}

static void expect_nothing_anywhere(struct steering_bed *bed)
{
    uint8_t got[NET_FRAME_MAX];

    sleep_ms(WAIT_QUIET_MS);
    for (unsigned pair = 0; pair < PAIRS; pair++)
        check(net_driver_receive(&bed->nic->net[pair], got, sizeof(got), 0) < 0,
              "pair %u got a frame", pair);
}

/* A frame of the flow, sent by one pair, arrives at another. */
static void exchange(struct steering_bed *bed, unsigned flow, unsigned from, unsigned to)
{
    struct packet packet;

    rss_flow_make(&packet, bed->nic->mac, flow, flow);
    send_packet(bed, from, &packet);
    expect_at(bed, to, &packet);
    net_driver_drain(&bed->nic->net[from]);
}

static uint64_t dropped(struct steering_bed *bed)
{
    uint64_t sum = 0;
    char path[64];

    for (unsigned pair = 0; pair < PAIRS; pair++) {
        snprintf(path, sizeof(path), "nic0/queues/%u/rx_dropped", pair);
        sum += daemon_number(&bed->bed->daemon, path);
    }
    return sum;
}

static void wait_dropped(struct steering_bed *bed, uint64_t wanted)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while (dropped(bed) < wanted && now_ms() < end)
        sleep_ms(1);
    assert_int_equal(dropped(bed), wanted);
}

/* ---- where frames go ---- */

static void NET_RSS_01_CTL_RSS_01_each_flow_to_the_pair_of_the_table(void **state)
{
    struct steering_bed bed = start(state, 0);

    for (unsigned entries = 1; entries <= RSS_ENTRIES_MAX; entries *= 2) {
        struct rss_setup setup = {
            .types = RSS_HASH_ALL, .mask = (uint16_t)(entries - 1), .pairs = PAIRS};

        for (unsigned i = 0; i < entries; i++)
            setup.table[i] = (uint16_t)((i * 7 + entries + i / 4) % PAIRS);
        config(&bed, &setup);
        for (unsigned flow = 0; flow < 40; flow++) {
            struct packet packet;

            rss_flow_make(&packet, bed.nic->mac, flow, 0);
            exchange(&bed, flow, flow % 3, setup.table[rss_flow_hash(&packet) & setup.mask]);
        }
    }
    assert_int_equal(dropped(&bed), 0);
    testbed_finish(bed.bed);
}

static void NET_RSS_01_frames_without_a_hash_are_unclassified(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct rss_setup setup = all_to(1);
    struct packet arp = {.len = 0};

    setup.unclassified = 2;
    config(&bed, &setup);
    packet_put_ethernet(&arp, bed.nic->mac, 0x0806);
    packet_put_zeros(&arp, 46);
    for (unsigned pair = 0; pair < PAIRS; pair++) {
        send_packet(&bed, pair, &arp);
        expect_at(&bed, 2, &arp);
    }
    setup.types = RSS_HASH_TCPV4;
    config(&bed, &setup);
    exchange(&bed, 0, 0, 1); /* TCP over IPv4 */
    exchange(&bed, 1, 0, 2); /* TCP over IPv6 */
    exchange(&bed, 2, 0, 2); /* UDP over IPv4 */
    setup.types = 0;
    config(&bed, &setup);
    exchange(&bed, 0, 0, 2);
    testbed_finish(bed.bed);
}

static void NET_RSS_02_first_pair_until_told_otherwise(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct packet packet;

    for (unsigned flow = 0; flow < 8; flow++)
        exchange(&bed, flow, 0, 0);
    rss_flow_make(&packet, bed.nic->mac, 0, 0);
    send_packet(&bed, 1, &packet);
    expect_nothing_anywhere(&bed);
    testbed_finish(bed.bed);
}

/* A pair that the driver does not transmit by can still be one to receive at. */
static void CTL_RSS_03_pairs_of_the_table_receive(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct rss_setup setup = all_to(3);

    setup.pairs = 1;
    config(&bed, &setup);
    exchange(&bed, 0, 0, 3);
    setup = all_to(0);
    setup.unclassified = 2;
    setup.pairs = 1;
    config(&bed, &setup);
    exchange(&bed, 0, 0, 0);
    testbed_finish(bed.bed);
}

static void CTL_MQ_01_the_last_of_the_commands_counts(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct rss_setup setup = all_to(1);

    config(&bed, &setup);
    exchange(&bed, 0, 3, 1);
    assert_int_equal(control_driver_ask(&bed.control, (uint8_t[]){4, 0, PAIRS, 0}, 4),
                     CONTROL_ACK_OK);
    for (unsigned pair = 0; pair < PAIRS; pair++)
        exchange(&bed, pair, pair, pair);
    config(&bed, &setup);
    exchange(&bed, 0, 3, 1);
    testbed_finish(bed.bed);
}

static void NET_FLT_01_filters_come_first(void **state)
{
    static const uint8_t other[6] = {0x52, 0x54, 0, 0, 0, 0x77};
    struct steering_bed bed = start(state, CTRL_RX);
    struct rss_setup setup = all_to(1);
    struct packet packet;

    config(&bed, &setup);
    rss_flow_make(&packet, other, 0, 0);
    send_packet(&bed, 0, &packet);
    wait_dropped(&bed, 1);
    assert_int_equal(daemon_number(&bed.bed->daemon, "nic0/queues/0/rx_drops/filtered"), 1);
    assert_int_equal(daemon_number(&bed.bed->daemon, "nic0/queues/0/rx_steered"), 0);
    exchange(&bed, 0, 0, 1);
    assert_int_equal(daemon_number(&bed.bed->daemon, "nic0/queues/0/rx_steered"), 1);
    testbed_finish(bed.bed);
}

/* ---- pairs that can't receive ---- */

static void send_some(struct steering_bed *bed, unsigned count)
{
    struct packet packet;

    for (unsigned i = 0; i < count; i++) {
        rss_flow_make(&packet, bed->nic->mac, 0, 1000 + i);
        send_packet(bed, i % 2 != 0 ? 0 : 3, &packet);
    }
    net_driver_drain(&bed->nic->net[0]);
    net_driver_drain(&bed->nic->net[3]);
}

static void NET_RSS_01_target_that_was_stopped(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct rss_setup setup = all_to(1);
    struct net_driver *net = &bed.nic->net[1];

    config(&bed, &setup);
    exchange(&bed, 0, 0, 1);
    front_end_stop_vring(&bed.nic->fe, 2);
    send_some(&bed, 20);
    wait_dropped(&bed, 20);
    driver_split_restart(testbed_rx(bed.nic, 1), 0);
    net_driver_forget(net);
    front_end_start_vring(&bed.nic->fe, 2, testbed_rx(bed.nic, 1));
    net_driver_post(net, net->rx_slots);
    expect_nothing_anywhere(&bed);
    exchange(&bed, 0, 0, 1);
    testbed_finish(bed.bed);
}

static void NET_RSS_03_target_that_is_not_enabled(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct rss_setup setup = all_to(1);

    config(&bed, &setup);
    exchange(&bed, 0, 3, 1);
    assert_int_equal(front_end_vring_state(&bed.nic->fe, VU_SET_VRING_ENABLE, 2, 0), 0);
    send_some(&bed, 20);
    wait_dropped(&bed, 20);
    assert_int_equal(front_end_vring_state(&bed.nic->fe, VU_SET_VRING_ENABLE, 2, 1), 0);
    expect_nothing_anywhere(&bed);
    exchange(&bed, 0, 0, 1);
    testbed_finish(bed.bed);
}

/* A target without buffers keeps frames for a while; those that don't fit are dropped and counted,
 * the senders are not held up, and what was kept arrives in order. */
static void NET_RSS_01_target_without_buffers(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct rss_setup setup = all_to(1);
    struct net_driver *net = &bed.nic->net[1];
    uint8_t frame[NET_FRAME_MAX], got[NET_FRAME_MAX];
    unsigned sent = 0, came = 0;

    config(&bed, &setup);
    memset(frame, 0, sizeof(frame));
    memcpy(frame, bed.nic->mac, 6);
    for (; sent < 1000; sent++) {
        wire_put32(frame + 996, sent, WIRE_LITTLE);
        net_driver_send(&bed.nic->net[0], frame, 1000);
        net_driver_drain(&bed.nic->net[0]);
    }
    for (uint32_t last = 0; net_driver_receive(net, got, sizeof(got), WAIT_QUIET_MS) == 1000;
         came++) {
        uint32_t sequence = rss_flow_sequence(got, 1000);

        check(came == 0 || sequence > last, "frame %u came after %u", sequence, last);
        last = sequence;
    }
    check(came > net->rx_slots, "only %u frames came", came);
    wait_dropped(&bed, sent - came);
    testbed_finish(bed.bed);
}

/* ---- under traffic ---- */

enum {
    BURST = 8,
};

/* Every transmitting pair sends a burst of its flow; takes the frames at pairs first to last, and
 * checks that those of a flow come in order at each. */
static void burst(struct steering_bed *bed, uint32_t *sequence, unsigned first, unsigned last)
{
    uint32_t seen[PAIRS][PAIRS] = {{0}};
    uint64_t end = now_ms() + WAIT_LONG_MS;
    uint8_t got[NET_FRAME_MAX];
    struct packet packet;
    unsigned left = PAIRS * BURST;

    for (unsigned pair = 0; pair < PAIRS; pair++) {
        for (unsigned i = 0; i < BURST; i++) {
            rss_flow_make(&packet, bed->nic->mac, 2 * pair, *sequence + i);
            net_driver_queue(&bed->nic->net[pair], packet.bytes, packet.len);
        }
        driver_ring_flush(bed->nic->net[pair].tx);
    }
    while (left != 0) {
        check(now_ms() < end, "%u frames did not come", left);
        for (unsigned pair = first; pair <= last; pair++) {
            int len = net_driver_receive(&bed->nic->net[pair], got, sizeof(got), 0);
            unsigned flow;
            uint32_t number;

            if (len < 0)
                continue;
            flow = (got[PACKET_ETHERNET_LEN + 15] - 1u) / 2;
            number = rss_flow_sequence(got, (uint32_t)len);
            assert_true(flow < PAIRS && number - *sequence < BURST);
            check(seen[pair][flow] <= number, "frame %u of flow %u came late", number, flow);
            seen[pair][flow] = number + 1;
            left--;
        }
    }
    *sequence += BURST;
    for (unsigned pair = 0; pair < PAIRS; pair++)
        net_driver_drain(&bed->nic->net[pair]);
}

/* From two workers and four pairs to one: nothing is lost, each flow stays in order. */
static void NET_RSS_01_many_pairs_to_one(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct rss_setup setup = all_to(2);
    uint32_t sequence = 0;

    config(&bed, &setup);
    for (unsigned round = 0; round < 200; round++)
        burst(&bed, &sequence, 2, 2);
    assert_int_equal(dropped(&bed), 0);
    testbed_finish(bed.bed);
}

/* A table that changes loses nothing; from the answer on it holds. */
static void NET_RSS_01_table_changes_under_traffic(void **state)
{
    struct steering_bed bed = start(state, 0);
    uint32_t sequence = 0;

    for (unsigned round = 0; round < 100; round++) {
        struct rss_setup setup = all_to((uint16_t)(round % PAIRS));
        struct packet packet;

        config(&bed, &setup);
        burst(&bed, &sequence, round % PAIRS, round % PAIRS);
        for (unsigned i = 0; i < BURST; i++) {
            rss_flow_make(&packet, bed.nic->mac, 0, i);
            net_driver_queue(&bed.nic->net[0], packet.bytes, packet.len);
        }
        driver_ring_flush(bed.nic->net[0].tx);
        setup = all_to((uint16_t)((round + 1) % PAIRS));
        config(&bed, &setup); /* while those are on their way */
        for (unsigned i = 0; i < BURST; i++) {
            uint8_t got[NET_FRAME_MAX];
            uint64_t end = now_ms() + WAIT_LONG_MS;
            int len = -1;

            for (unsigned pair = round % PAIRS; len < 0;
                 pair = pair == round % PAIRS ? (round + 1) % PAIRS : round % PAIRS) {
                check(now_ms() < end, "frame %u of round %u did not come", i, round);
                len = net_driver_receive(&bed.nic->net[pair], got, sizeof(got), 0);
            }
        }
        net_driver_drain(&bed.nic->net[0]);
    }
    assert_int_equal(dropped(&bed), 0);
    testbed_finish(bed.bed);
}

/* ---- reset ---- */

static void GEN_RST_03_GEN_RST_04_reset_ends_steering(void **state)
{
    struct steering_bed bed = start(state, 0);
    struct rss_setup setup = all_to(1);

    config(&bed, &setup);
    exchange(&bed, 0, 3, 1);
    assert_int_equal(front_end_simple(&bed.nic->fe, VU_RESET_DEVICE), 0);
    testbed_restart_rings(bed.nic, 0);
    bed.nic->options.start(&bed.nic->fe, &bed.nic->setup);
    for (unsigned pair = 0; pair < PAIRS; pair++)
        net_driver_post(&bed.nic->net[pair], bed.nic->net[pair].rx_slots);
    assert_int_equal(daemon_number(&bed.bed->daemon, "nic0/active_queues"), 1);
    for (unsigned flow = 0; flow < 8; flow++)
        exchange(&bed, flow, 0, 0);
    testbed_finish(bed.bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_RSS_01_CTL_RSS_01_each_flow_to_the_pair_of_the_table),
        TESTBED_TEST(NET_RSS_01_frames_without_a_hash_are_unclassified),
        TESTBED_TEST(NET_RSS_02_first_pair_until_told_otherwise),
        TESTBED_TEST(CTL_RSS_03_pairs_of_the_table_receive),
        TESTBED_TEST(CTL_MQ_01_the_last_of_the_commands_counts),
        TESTBED_TEST(NET_FLT_01_filters_come_first),
        TESTBED_TEST(NET_RSS_01_target_that_was_stopped),
        TESTBED_TEST(NET_RSS_03_target_that_is_not_enabled),
        TESTBED_TEST(NET_RSS_01_target_without_buffers),
        TESTBED_TEST(NET_RSS_01_many_pairs_to_one),
        TESTBED_TEST(NET_RSS_01_table_changes_under_traffic),
        TESTBED_TEST(GEN_RST_03_GEN_RST_04_reset_ends_steering),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
