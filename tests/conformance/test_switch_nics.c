/* SPDX-License-Identifier: MIT */
/* Cards of one daemon on one switch: who gets which frame, and what becomes of a sender whose
 * receivers are full, slow, gone or other-minded. Every test runs with one worker, where frames go
 * from ring to ring, and with two, where they change threads. */
#include <stdio.h>
#include <string.h>

#include "addressed_frames.h"
#include "check.h"
#include "clockwork.h"
#include "testbed.h"

#define MODERN     (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define CSUM       (1ull << 0)
#define GUEST_CSUM (1ull << 1)
#define GUEST_TSO4 (1ull << 7)
#define HOST_TSO4  (1ull << 11)
#define MTU        (1ull << 3)

enum {
    LARGE = 60000,
    BURST = 30,
    INVENTED = 20000,   /* addresses: more than twice what the table has room for */
    INVENTED_KIB = 256, /* that the daemon may grow meanwhile: 13 bytes for each */
};

static unsigned workers; /* of the group that runs */
static uint8_t sent[NET_FRAME_MAX], got[NET_FRAME_MAX];
static const uint8_t stranger[6] = {0x52, 0x54, 0, 0, 1, 0x77};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static const char port[] = "endpoint=switch:name=lan0";

/* NICs on the switch, up and with buffers; `how` has one entry for each, or NULL: all usual. */
static struct testbed *start(void **state, unsigned count, const struct testbed_options *how)
{
    struct testbed *bed = *state;

    for (unsigned i = 0; i < count; i++) {
        struct testbed_options options = how != NULL ? how[i] : (struct testbed_options){0};

        if (options.nic == NULL)
            options.nic = port;
        if (options.queue_size == 0)
            options.queue_size = 256;
        options.mergeable = 1;
        testbed_prepare_nic(bed, i, &options);
    }
    bed->daemon.workers = workers;
    daemon_start(&bed->daemon);
    bed->fds_at_rest = daemon_fd_count_settled(&bed->daemon);
    for (unsigned i = 0; i < count; i++)
        testbed_connect(&bed->nic[i]);
    return bed;
}

static void finish(struct testbed *bed)
{
    daemon_check_alive(&bed->daemon);
    daemon_check_idle(&bed->daemon);
    for (unsigned i = 0; i < DAEMON_NICS_MAX; i++)
        front_end_close(&bed->nic[i].fe);
    daemon_check_fds(&bed->daemon, bed->fds_at_rest);
    daemon_stop(&bed->daemon);
}

static uint64_t number(struct testbed *bed, const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "switch:lan0/%s", name);
    return daemon_number(&bed->daemon, path);
}

/* ---- frames ----------------------------------------------------------------------------- */

static void send_to(struct testbed_nic *nic, const uint8_t to[6], uint32_t len, uint32_t seed)
{
    frame_send(nic, nic->mac, to, len, seed);
}

/* A frame from one NIC to another arrives there and nowhere else. */
static void exchange(struct testbed *bed, unsigned from, unsigned to, uint32_t len)
{
    uint32_t seed = ++bed->nic[from].seed;

    send_to(&bed->nic[from], bed->nic[to].mac, len, seed);
    frame_expect(&bed->nic[to], bed->nic[from].mac, bed->nic[to].mac, len, seed);
    net_driver_drain(&bed->nic[from].net[0]);
}

/* ---- who gets what ---------------------------------------------------------------------- */

static void unicast_goes_to_its_port_alone(void **state)
{
    struct testbed *bed = start(state, 3, NULL);

    for (unsigned round = 0; round < 100; round++) {
        exchange(bed, round % 3, (round + 1) % 3, round % 10 == 0 ? LARGE : 60 + round * 14);
        exchange(bed, (round + 1) % 3, round % 3, 60 + round);
    }
    assert_int_equal(number(bed, "flooded"), 0); /* the NICs' own addresses are known */
    assert_int_equal(number(bed, "forwarded"), 200);
    finish(bed);
}

static void unknown_is_flooded_until_it_is_learned_and_moves(void **state)
{
    struct testbed *bed = start(state, 3, NULL);
    struct testbed_nic *nic = bed->nic;

    send_to(&nic[0], stranger, 300, 1);
    frame_expect(&nic[1], nic[0].mac, stranger, 300, 1);
    frame_expect(&nic[2], nic[0].mac, stranger, 300, 1);
    frame_send(&nic[2], stranger, nic[0].mac, 200, 2);
    frame_expect(&nic[0], stranger, nic[0].mac, 200, 2);
    send_to(&nic[0], stranger, 300, 3);
    frame_expect(&nic[2], nic[0].mac, stranger, 300, 3);
    frame_expect_none(&nic[1]);
    frame_send(&nic[1], stranger, nic[0].mac, 200, 4);
    frame_expect(&nic[0], stranger, nic[0].mac, 200, 4);
    send_to(&nic[0], stranger, 300, 5);
    frame_expect(&nic[1], nic[0].mac, stranger, 300, 5);
    frame_expect_none(&nic[2]);
    assert_int_equal(number(bed, "flooded"), 1);
    assert_int_equal(number(bed, "moved"), 1);
    assert_int_equal(number(bed, "learned"), 1);
    assert_int_equal(number(bed, "addresses_known"), 4);
    finish(bed);
}

static void groups_are_flooded_and_never_come_back(void **state)
{
    static const uint8_t group[6] = {0x33, 0x33, 0, 0, 0, 1};
    static const uint8_t reserved[6] = {0x01, 0x80, 0xc2, 0, 0, 0x0e};
    struct testbed *bed = start(state, 4, NULL);
    struct testbed_nic *nic = bed->nic;

    send_to(&nic[0], everybody, 100, 1);
    send_to(&nic[0], group, 1500, 2);
    send_to(&nic[0], reserved, 64, 3);
    send_to(&nic[0], nic[0].mac, 64, 4);
    frame_send(&nic[0], group, nic[1].mac, 64, 5);
    for (unsigned i = 1; i < 4; i++) {
        frame_expect(&nic[i], nic[0].mac, everybody, 100, 1);
        frame_expect(&nic[i], nic[0].mac, group, 1500, 2);
    }
    net_driver_drain(&nic[0].net[0]);
    frame_expect_none(&nic[0]);
    frame_expect_none(&nic[1]);
    assert_int_equal(number(bed, "flood_copies"), 6);
    assert_int_equal(number(bed, "dropped_reserved"), 1);
    assert_int_equal(number(bed, "dropped_same_port"), 1);
    assert_int_equal(number(bed, "dropped_bad_source"), 1);
    finish(bed);
}

/* One batch of a sender's, in which no two frames in a row have the same addresses; the first, to
 * none from none, is like what a switch knows before it has seen any. */
static void each_frame_of_a_batch_goes_its_own_way(void **state)
{
    static const uint8_t none[6], reserved[6] = {0x01, 0x80, 0xc2, 0, 0, 0x0e};
    struct testbed *bed = start(state, 3, NULL);
    struct testbed_nic *nic = bed->nic;
    const struct {
        const uint8_t *to, *from;
    } way[] = {
        {none, none},
        {nic[1].mac, nic[0].mac},
        {nic[2].mac, nic[0].mac},
        {reserved, nic[0].mac},
        {nic[2].mac, stranger},
        {nic[1].mac, stranger},
        {nic[1].mac, none},
        {nic[1].mac, nic[0].mac},
        {nic[0].mac, nic[0].mac},
        {nic[2].mac, nic[0].mac},
    };

    for (uint32_t i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
        frame_make(sent, 100 + i, way[i].to, way[i].from, i);
        net_driver_queue(&nic[0].net[0], sent, 100 + i);
    }
    driver_ring_flush(nic[0].net[0].tx);
    frame_expect(&nic[1], nic[0].mac, nic[1].mac, 101, 1);
    frame_expect(&nic[1], stranger, nic[1].mac, 105, 5);
    frame_expect(&nic[1], nic[0].mac, nic[1].mac, 107, 7);
    frame_expect(&nic[2], nic[0].mac, nic[2].mac, 102, 2);
    frame_expect(&nic[2], stranger, nic[2].mac, 104, 4);
    frame_expect(&nic[2], nic[0].mac, nic[2].mac, 109, 9);
    net_driver_drain(&nic[0].net[0]);
    frame_expect_none(&nic[0]);
    assert_int_equal(number(bed, "dropped_bad_source"), 2);
    assert_int_equal(number(bed, "dropped_reserved"), 1);
    assert_int_equal(number(bed, "dropped_same_port"), 1);
    assert_int_equal(number(bed, "forwarded"), 6);
    finish(bed);
}

static void isolated_ports_see_nobody_but_the_uplink(void **state)
{
    const struct testbed_options how[3] = {
        {.nic = "endpoint=switch:name=lan0,isolated=on"},
        {.nic = "endpoint=switch:name=lan0,isolated=on"},
    };
    struct testbed *bed = start(state, 3, how);
    struct testbed_nic *nic = bed->nic;

    for (unsigned to = 1; to < 3; to++)
        send_to(&nic[0], nic[to].mac, 100, to);
    send_to(&nic[2], nic[1].mac, 100, 7);
    send_to(&nic[0], everybody, 100, 8);
    net_driver_drain(&nic[0].net[0]);
    net_driver_drain(&nic[2].net[0]);
    for (unsigned i = 0; i < 3; i++)
        frame_expect_none(&nic[i]);
    assert_int_equal(number(bed, "dropped_isolated"), 3);
    finish(bed);
}

static void NET_TX_19_spoofed_sources_are_dropped(void **state)
{
    const struct testbed_options how[3] = {{.nic = "endpoint=switch:name=lan0,anti-spoof=on"}};
    struct testbed *bed = start(state, 3, how);
    struct testbed_nic *nic = bed->nic;

    frame_send(&nic[0], stranger, nic[1].mac, 100, 1);
    frame_send(&nic[0], nic[2].mac, everybody, 100, 2);
    exchange(bed, 0, 1, 1500);
    exchange(bed, 0, 1, LARGE);
    exchange(bed, 0, 2, 14);
    exchange(bed, 1, 0, 700);
    frame_expect_none(&nic[2]);
    assert_int_equal(number(bed, "dropped_spoofed"), 2);
    assert_int_equal(number(bed, "learned"), 0);
    finish(bed);
}

/* A guest that sends from its neighbour's address does not get its frames. */
static void own_address_is_not_stolen_unless_it_may_move(void **state)
{
    const struct testbed_options how[3] = {{0}, {.nic = "endpoint=switch:name=lan0,pin=off"}};
    struct testbed *bed = start(state, 3, how);
    struct testbed_nic *nic = bed->nic;

    exchange(bed, 1, 0, 400);
    frame_send(&nic[2], nic[0].mac, nic[1].mac, 100, 1);
    frame_expect(&nic[1], nic[0].mac, nic[1].mac, 100, 1);
    net_driver_drain(&nic[2].net[0]);
    exchange(bed, 1, 0, 500);
    frame_expect_none(&nic[2]);
    assert_int_equal(number(bed, "refused"), 1);
    frame_send(&nic[2], nic[1].mac, nic[0].mac, 100, 2);
    frame_expect(&nic[0], nic[1].mac, nic[0].mac, 100, 2);
    send_to(&nic[0], nic[1].mac, 400, 3);
    frame_expect(&nic[2], nic[0].mac, nic[1].mac, 400, 3);
    finish(bed);
}

/* `vionic set`: the new address is known, and is the one that the guest may send from. */
static void a_new_address_counts_at_once(void **state)
{
    static const uint8_t fresh[6] = {0x52, 0x54, 0, 0, 2, 1};
    const struct testbed_options how[2] = {{.nic = "endpoint=switch:name=lan0,anti-spoof=on"}};
    struct testbed *bed = start(state, 2, how);
    struct testbed_nic *nic = bed->nic;
    char refusal[512];

    assert_int_equal(daemon_set(&bed->daemon, "nic0.mac", "52:54:00:00:02:01", refusal), 1);
    send_to(&nic[0], nic[1].mac, 100, 1);
    frame_send(&nic[0], fresh, nic[1].mac, 100, 2);
    frame_expect(&nic[1], fresh, nic[1].mac, 100, 2);
    send_to(&nic[1], fresh, 100, 3);
    frame_expect(&nic[0], nic[1].mac, fresh, 100, 3);
    assert_int_equal(number(bed, "flooded"), 0);
    assert_int_equal(number(bed, "dropped_spoofed"), 1);
    finish(bed);
}

static void invent_addresses(struct testbed *bed, uint32_t first)
{
    uint8_t from[6] = {0x52, 0x54, 0x77};

    for (uint32_t i = first; i < first + INVENTED; i++) {
        memcpy(from + 3, &i, 3);
        frame_send(&bed->nic[0], from, bed->nic[1].mac, 60, i);
    }
    net_driver_drain(&bed->nic[0].net[0]);
}

/* A guest that invents addresses gets no memory of the host for them, but what a full table and
 * full queues take. */
static void NET_MQ_02_addresses_without_end_take_no_memory(void **state)
{
    struct testbed *bed = start(state, 2, NULL);
    uint64_t before, after;

    invent_addresses(bed, 0);
    before = daemon_rss_kib(&bed->daemon);
    invent_addresses(bed, INVENTED);
    after = daemon_rss_kib(&bed->daemon);
    assert_in_range(number(bed, "addresses_known"), 1, number(bed, "addresses_max"));
    assert_true(number(bed, "evicted") > INVENTED);
    check(after < before + INVENTED_KIB, "it grew from %llu to %llu KiB",
          (unsigned long long)before, (unsigned long long)after);
    finish(bed);
}

static void pairs_keep_to_their_index(void **state)
{
    struct testbed_options how[2] = {{.nic = "queues=2,endpoint=switch:name=lan0", .pairs = 2},
                                     {.nic = "queues=2,endpoint=switch:name=lan0", .pairs = 2}};
    struct testbed *bed = start(state, 2, how);
    struct testbed_nic *nic = bed->nic;

    for (unsigned pair = 0; pair < 2; pair++) {
        frame_make(sent, 400, nic[1].mac, nic[0].mac, pair);
        net_driver_send(&nic[0].net[pair], sent, 400);
        assert_int_equal(net_driver_receive(&nic[1].net[pair], got, sizeof(got), WAIT_LONG_MS),
                         400);
        assert_memory_equal(got, sent, 400);
        net_driver_drain(&nic[0].net[pair]);
    }
    /* Pairs of the same index are on the same worker. */
    assert_int_equal(number(bed, "direct"), 2);
    finish(bed);
}

/* ---- receivers that are full, or other-minded ------------------------------------------- */

static void order_holds_both_ways_at_once(void **state)
{
    struct testbed *bed = start(state, 2, NULL);
    struct testbed_nic *nic = bed->nic;
    uint32_t next[2] = {0};

    for (uint32_t seed = 0; seed < 2000; seed++) {
        for (unsigned way = 0; way < 2; way++)
            send_to(&nic[way], nic[!way].mac, 60 + seed % 1400, seed);
        if (seed % 16 != 15)
            continue;
        for (unsigned way = 0; way < 2; way++) {
            for (; next[way] <= seed; next[way]++)
                frame_expect(&nic[way], nic[!way].mac, nic[way].mac, 60 + next[way] % 1400,
                             next[way]);
        }
    }
    assert_int_equal(number(bed, "dropped_receiver_full"), 0);
    finish(bed);
}

static void a_full_receiver_is_dropped_for_and_holds_nobody_back(void **state)
{
    const struct testbed_options how[3] = {{0}, {.rx_unposted = 1}};
    struct testbed *bed = start(state, 3, how);
    struct testbed_nic *nic = bed->nic;
    uint64_t lost;

    for (unsigned i = 0; i < BURST; i++)
        send_to(&nic[0], nic[1].mac, LARGE, i);
    net_driver_drain(&nic[0].net[0]); /* no chain waits for a guest that sleeps */
    exchange(bed, 0, 2, 1000);
    exchange(bed, 2, 0, 1000);
    lost = number(bed, "dropped_receiver_full");
    assert_in_range(lost, BURST - 5, BURST - 1);
    assert_int_equal(number(bed, "lost_while_full"), lost);
    daemon_check_idle(&bed->daemon);
    net_driver_post(&nic[1].net[0], nic[1].net[0].rx_slots);
    for (unsigned i = 0; i < BURST - lost; i++) /* what the switch kept is there, in order */
        frame_expect(&nic[1], nic[0].mac, nic[1].mac, LARGE, i);
    exchange(bed, 0, 1, 500);
    finish(bed);
}

static void a_waiting_sender_goes_on_when_there_is_room(void **state)
{
    const struct testbed_options how[2] = {
        {0}, {.nic = "endpoint=switch:name=lan0,full=wait", .rx_unposted = 1}};
    struct testbed *bed = start(state, 2, how);
    struct testbed_nic *nic = bed->nic;
    uint64_t lost;
    unsigned came = 0;

    for (unsigned i = 0; i < BURST; i++)
        send_to(&nic[0], nic[1].mac, LARGE, i);
    net_driver_post(&nic[1].net[0], nic[1].net[0].rx_slots);
    net_driver_drain(&nic[0].net[0]);
    lost = number(bed, "dropped_receiver_full"); /* a machine so slow that 200 ms went by */
    while (came < BURST - lost) {
        assert_int_equal(net_driver_receive(&nic[1].net[0], got, sizeof(got), WAIT_LONG_MS), LARGE);
        came++;
    }
    frame_expect_none(&nic[1]);
    assert_true(number(bed, "waited") > 0);
    finish(bed);
}

static void a_dead_receiver_is_not_waited_for_long(void **state)
{
    const struct testbed_options how[3] = {
        {0}, {.nic = "endpoint=switch:name=lan0,full=wait", .rx_unposted = 1}};
    struct testbed *bed = start(state, 3, how);
    struct testbed_nic *nic = bed->nic;

    for (unsigned i = 0; i < BURST; i++)
        send_to(&nic[0], nic[1].mac, LARGE, i);
    daemon_check_idle(&bed->daemon); /* waiting is not spinning */
    net_driver_drain(&nic[0].net[0]);
    assert_true(number(bed, "dropped_receiver_full") > 0);
    exchange(bed, 0, 2, 1000);
    exchange(bed, 2, 0, 1000);
    finish(bed);
}

static void tags_pass_and_every_guest_keeps_its_mtu(void **state)
{
    const struct testbed_options how[3] = {
        {.nic = "mtu=9000,endpoint=switch:name=lan0", .features = MODERN | MTU},
        {.nic = "mtu=1500,endpoint=switch:name=lan0", .features = MODERN | MTU},
        {.nic = "mtu=9000,endpoint=switch:name=lan0", .features = MODERN | MTU},
    };
    struct testbed *bed = start(state, 3, how);
    struct testbed_nic *nic = bed->nic;

    frame_make(sent, 5000, everybody, nic[0].mac, 1);
    net_driver_send(&nic[0].net[0], sent, 5000);
    frame_expect(&nic[2], nic[0].mac, everybody, 5000, 1);
    frame_make(sent, 1518, nic[1].mac, nic[0].mac, 2);
    memcpy(sent + 12, "\x81\x00\x00\x2a\x08\x00", 6);
    net_driver_send(&nic[0].net[0], sent, 1518);
    assert_int_equal(net_driver_receive(&nic[1].net[0], got, sizeof(got), WAIT_LONG_MS), 1518);
    assert_memory_equal(got, sent, 1518);
    net_driver_drain(&nic[0].net[0]);
    assert_int_equal(daemon_number(&bed->daemon, "nic1/queues/0/rx_drops/oversize"), 1);
    finish(bed);
}

/* ---- offloads --------------------------------------------------------------------------- */

static void send_with(struct testbed_nic *nic, const struct net_header *header, uint32_t len)
{
    net_driver_queue_with(&nic->net[0], header, sent, len);
    testbed_publish(testbed_tx(nic, 0));
}

static void large_segments_stay_whole_or_are_cut_once(void **state)
{
    const uint64_t sender = MODERN | CSUM | HOST_TSO4;
    const struct testbed_options how[3] = {
        {.features = sender},
        {.features = MODERN | GUEST_CSUM | GUEST_TSO4},
        {.features = MODERN},
    };
    struct testbed *bed = start(state, 3, how);
    struct testbed_nic *nic = bed->nic;
    const uint32_t payload = 40000, len = FRAME_HEADERS_LEN + payload;
    uint32_t left = payload;

    frame_make_tcp(sent, nic[1].mac, nic[0].mac, payload);
    send_with(&nic[0], &frame_tcp_header, len);
    assert_int_equal(net_driver_receive(&nic[1].net[0], got, sizeof(got), WAIT_LONG_MS), len);
    assert_memory_equal(got, sent, len);
    assert_int_equal(nic[1].net[0].last_header.gso_type, FRAME_GSO_TCPV4);
    assert_int_equal(nic[1].net[0].last_header.flags, FRAME_NEEDS_CSUM);
    assert_int_equal(nic[1].net[0].last_header.gso_size, FRAME_SEGMENT_LEN);
    frame_make_tcp(sent, nic[2].mac, nic[0].mac, payload);
    send_with(&nic[0], &frame_tcp_header, len);
    for (uint32_t at = 0; left != 0; at++) {
        uint32_t part = left < FRAME_SEGMENT_LEN ? left : FRAME_SEGMENT_LEN;

        assert_int_equal(net_driver_receive(&nic[2].net[0], got, sizeof(got), WAIT_LONG_MS),
                         FRAME_HEADERS_LEN + part);
        assert_memory_equal(got + FRAME_HEADERS_LEN, sent + FRAME_HEADERS_LEN + payload - left,
                            part);
        frame_check_tcp(got, part);
        assert_int_equal(nic[2].net[0].last_header.flags, 0);
        left -= part;
    }
    net_driver_drain(&nic[0].net[0]);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_segmented"), 0);
    finish(bed);
}

/* A guest that takes no partial checksums gets a whole one; one that does gets it as it was. */
static void partial_checksums_are_kept_or_completed(void **state)
{
    const struct testbed_options how[3] = {
        {.features = MODERN | CSUM}, {.features = MODERN | GUEST_CSUM}, {.features = MODERN}};
    const struct net_header header = {
        .flags = FRAME_NEEDS_CSUM, .csum_start = FRAME_TCP_AT, .csum_offset = 16};
    struct testbed *bed = start(state, 3, how);
    struct testbed_nic *nic = bed->nic;

    for (unsigned to = 1; to < 3; to++) {
        frame_make_tcp(sent, nic[to].mac, nic[0].mac, 600);
        send_with(&nic[0], &header, FRAME_HEADERS_LEN + 600);
        assert_int_equal(net_driver_receive(&nic[to].net[0], got, sizeof(got), WAIT_LONG_MS),
                         FRAME_HEADERS_LEN + 600);
        assert_int_equal(nic[to].net[0].last_header.flags, to == 1 ? FRAME_NEEDS_CSUM : 0);
        if (to == 2)
            frame_check_tcp(got, 600);
    }
    net_driver_drain(&nic[0].net[0]);
    finish(bed);
}

/* ---- coming and going ------------------------------------------------------------------- */

/* Until the daemon has noticed, the old rings are still filled. */
static void disconnect(struct testbed *bed, struct testbed_nic *nic)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;
    char path[64];
    int connected = 1;

    snprintf(path, sizeof(path), "nic%u/vhost_user/connected", nic->index);
    front_end_close(&nic->fe);
    while (connected) {
        json_t *flag = daemon_inspect(&bed->daemon, path);

        connected = json_is_true(flag);
        json_decref(flag);
        check(now_ms() < end, "the daemon does not notice that a front-end is gone");
    }
    testbed_restart_rings(nic, 0);
}

/* Keeps a few frames for each of the others on their way. */
static void keep_sending(struct testbed *bed, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        send_to(&bed->nic[0], bed->nic[1 + i % 2].mac, i % 7 == 0 ? LARGE : 200, i);
        if (i % 5 == 0)
            send_to(&bed->nic[0], everybody, 300, i);
    }
}

static void take_all(struct testbed_nic *nic)
{
    while (net_driver_receive(&nic->net[0], got, sizeof(got), 20) >= 0)
        ;
}

static void receivers_come_and_go_in_the_midst_of_bursts(void **state)
{
    struct testbed *bed = start(state, 4, NULL);
    struct testbed_nic *nic = bed->nic;

    for (unsigned round = 0; round < 12; round++) {
        struct testbed_nic *victim = &nic[1 + round % 2];
        uint32_t base;

        keep_sending(bed, 40);
        switch (round % 4) {
        case 0: /* dies */
            disconnect(bed, victim);
            testbed_connect(victim);
            break;
        case 1: /* stops its receive ring */
            testbed_cycle_vring(victim, 0, 0);
            net_driver_forget(&victim->net[0]);
            net_driver_post(&victim->net[0], victim->net[0].rx_slots);
            break;
        case 2: /* stays away for a while */
            disconnect(bed, victim);
            keep_sending(bed, 20);
            testbed_connect(victim);
            break;
        default:
            assert_int_equal(front_end_get_vring_base(&victim->fe, 0, &base), 0);
            disconnect(bed, victim);
            testbed_connect(victim);
        }
        keep_sending(bed, 10);
        net_driver_drain(&nic[0].net[0]); /* each chain comes back, once, with length 0 */
        take_all(&nic[1]);
        take_all(&nic[2]);
        take_all(&nic[3]);
        exchange(bed, 0, 1, 600);
        exchange(bed, 2, 0, 600);
    }
    finish(bed);
}

static void a_sender_dies_in_the_midst_of_a_burst(void **state)
{
    struct testbed *bed = start(state, 3, NULL);

    for (unsigned round = 0; round < 8; round++) {
        keep_sending(bed, 20);
        disconnect(bed, &bed->nic[0]);
        take_all(&bed->nic[1]);
        take_all(&bed->nic[2]);
        exchange(bed, 1, 2, 500);
        testbed_connect(&bed->nic[0]);
        exchange(bed, 0, 1, 500);
    }
    finish(bed);
}

static int run(unsigned count, const char *name)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(unicast_goes_to_its_port_alone),
        TESTBED_TEST(unknown_is_flooded_until_it_is_learned_and_moves),
        TESTBED_TEST(groups_are_flooded_and_never_come_back),
        TESTBED_TEST(each_frame_of_a_batch_goes_its_own_way),
        TESTBED_TEST(isolated_ports_see_nobody_but_the_uplink),
        TESTBED_TEST(NET_TX_19_spoofed_sources_are_dropped),
        TESTBED_TEST(own_address_is_not_stolen_unless_it_may_move),
        TESTBED_TEST(a_new_address_counts_at_once),
        TESTBED_TEST(NET_MQ_02_addresses_without_end_take_no_memory),
        TESTBED_TEST(pairs_keep_to_their_index),
        TESTBED_TEST(order_holds_both_ways_at_once),
        TESTBED_TEST(a_full_receiver_is_dropped_for_and_holds_nobody_back),
        TESTBED_TEST(a_waiting_sender_goes_on_when_there_is_room),
        TESTBED_TEST(a_dead_receiver_is_not_waited_for_long),
        TESTBED_TEST(tags_pass_and_every_guest_keeps_its_mtu),
        TESTBED_TEST(large_segments_stay_whole_or_are_cut_once),
        TESTBED_TEST(partial_checksums_are_kept_or_completed),
        TESTBED_TEST(receivers_come_and_go_in_the_midst_of_bursts),
        TESTBED_TEST(a_sender_dies_in_the_midst_of_a_burst),
    };

    workers = count;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return run(1, "one worker") + run(2, "two workers");
}
