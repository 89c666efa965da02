/* SPDX-License-Identifier: MIT */
/* What commands of the control queue do to frames, interrupts and counters, through the whole
 * daemon: receive offloads, coalescing, statistics. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "control_sample.h"
#include "inet_words.h"
#include "packet.h"
#include "testbed.h"

#define MODERN     (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC)
#define CSUM       (1ull << 0)
#define GUEST_CSUM (1ull << 1)
#define GUEST_TSO4 (1ull << 7)
#define HOST_TSO4  (1ull << 11)

enum {
    NEEDS_CSUM = 1,
    GSO_NONE = 0,
    GSO_TCPV4 = 1,
    CONTROL_RING = 4, /* with two pairs */
    HEADERS = PACKET_ETHERNET_LEN + PACKET_IPV4_LEN + PACKET_PORTS_LEN,
    MSS = 1000,
    FRAME_LEN = HEADERS + 3 * MSS + 500, /* four segments */
    CSUM_START = PACKET_ETHERNET_LEN + PACKET_IPV4_LEN,
    CSUM_OFFSET = 16,
};

struct effect_test {
    struct testbed *bed;
    struct testbed_nic *nic;
    struct control_driver driver;
};

/* poll: the daemon's option, or NULL */
static void start_looking(struct effect_test *test, void **state, uint64_t features,
                          const char *poll)
{
    struct testbed_options options = {.features = MODERN | features,
                                      .poll = poll,
                                      .nic = "queues=2,endpoint=loopback",
                                      .pairs = 2,
                                      .control = 1,
                                      .mergeable = 1,
                                      .start = front_end_start_crosvm};

    test->bed = testbed_start(state, &options);
    test->nic = &test->bed->nic[VICTIM];
    control_driver_init(&test->driver, test->nic->ring[CONTROL_RING], 0);
}

static void start(struct effect_test *test, void **state, uint64_t features)
{
    start_looking(test, state, features, NULL);
}

/* ---- receive offloads ---- */

/* The pseudo header's sum of a TCP segment with this many bytes of header and payload. */
static uint32_t sum_pseudo(const uint8_t *frame, uint32_t tcp_len)
{
    return inet_sum(frame + PACKET_ETHERNET_LEN + 12, 8, PACKET_TCP + tcp_len);
}

/* A TCP frame of four segments whose checksum is begun, as a driver with TSO makes it. */
static void frame_make(uint8_t frame[FRAME_LEN], const uint8_t mac[6])
{
    uint32_t tcp_len = FRAME_LEN - CSUM_START;
    struct packet packet = {.len = 0};

    packet_put_ethernet(&packet, mac, 0x0800);
    packet_put_ip(&packet, PACKET_TCP, "10.0.0.1", "10.0.0.2");
    packet_put_ports(&packet, 1000, 2000);
    memcpy(frame, packet.bytes, HEADERS);
    put_be16(frame + PACKET_ETHERNET_LEN + 2, FRAME_LEN - PACKET_ETHERNET_LEN);
    frame[CSUM_START + 12] = 5 << 4; /* no options */
    for (uint32_t i = HEADERS; i < FRAME_LEN; i++)
        frame[i] = (uint8_t)(i * 7);
    put_be16(frame + CSUM_START + CSUM_OFFSET, sum_pseudo(frame, tcp_len));
}

static void send_gso(struct effect_test *test)
{
    static const struct net_header header = {.flags = NEEDS_CSUM,
                                             .gso_type = GSO_TCPV4,
                                             .hdr_len = HEADERS,
                                             .gso_size = MSS,
                                             .csum_start = CSUM_START,
                                             .csum_offset = CSUM_OFFSET};
    uint8_t frame[FRAME_LEN];

    frame_make(frame, test->nic->mac);
    net_driver_queue_with(&test->nic->net[0], &header, frame, sizeof(frame));
    driver_ring_flush(test->nic->ring[1]);
}

/* The next frame has this length and flags; without NEEDS_CSUM its checksum is whole. */
static void expect_frame(struct effect_test *test, int len, unsigned flags, unsigned gso_type)
{
    static uint8_t got[NET_FRAME_MAX];
    struct net_driver *net = &test->nic->net[0];

    assert_int_equal(net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS), len);
    assert_int_equal(net->last_header.flags, flags);
    assert_int_equal(net->last_header.gso_type, gso_type);
    if (flags == 0) {
        uint32_t tcp_len = (uint32_t)len - CSUM_START;

        assert_int_equal(inet_sum(got + CSUM_START, tcp_len, sum_pseudo(got, tcp_len)), 0xffff);
    }
}

static void expect_segments(struct effect_test *test, unsigned flags)
{
    for (unsigned i = 0; i < 3; i++)
        expect_frame(test, HEADERS + MSS, flags, GSO_NONE);
    expect_frame(test, HEADERS + 500, flags, GSO_NONE);
}

static void offloads_set(struct effect_test *test, uint64_t mask)
{
    uint8_t bytes[10] = {5, 0};

    wire_put64(bytes + 2, mask, WIRE_LITTLE);
    assert_int_equal(control_driver_ask(&test->driver, bytes, sizeof(bytes)), CONTROL_ACK_OK);
}

/* From the moment at which the command is answered. */
static void CTL_OFF_01_NET_RX_12_offloads_change_between_two_frames(void **state)
{
    struct effect_test test;

    start(&test, state, CONTROL_F_GUEST_OFFLOADS | CSUM | HOST_TSO4 | GUEST_CSUM | GUEST_TSO4);
    for (unsigned round = 0; round < 10; round++) {
        send_gso(&test);
        expect_frame(&test, FRAME_LEN, NEEDS_CSUM, GSO_TCPV4);
        offloads_set(&test, GUEST_CSUM);
        send_gso(&test);
        expect_segments(&test, NEEDS_CSUM);
        offloads_set(&test, 0);
        send_gso(&test);
        expect_segments(&test, 0);
        offloads_set(&test, GUEST_TSO4); /* no segmentation without checksums */
        send_gso(&test);
        expect_segments(&test, 0);
        offloads_set(&test, GUEST_CSUM | GUEST_TSO4);
        net_driver_drain(&test.nic->net[0]);
    }
    testbed_finish(test.bed);
}

/* ---- coalescing ---- */

enum {
    SET_TX = 0,
    SET_RX = 1,
    LONG_US = 600000000, /* longer than any test takes */
};

static void coalesce(struct effect_test *test, uint8_t command, uint32_t packets, uint32_t usecs)
{
    uint8_t bytes[10] = {6, command};

    wire_put32(bytes + 2, packets, WIRE_LITTLE);
    wire_put32(bytes + 6, usecs, WIRE_LITTLE);
    assert_int_equal(control_driver_ask(&test->driver, bytes, sizeof(bytes)), CONTROL_ACK_OK);
}

static void exchange(struct effect_test *test, unsigned frames)
{
    for (unsigned i = 0; i < frames; i++)
        testbed_exchange(test->nic, 0, 100);
}

/* Interrupts of pair 0's ring up to now: 0 for receive, 1 for transmit. */
static uint64_t interrupts(struct effect_test *test, unsigned ring, int timeout_ms)
{
    return wait_eventfd(test->nic->ring[ring]->call_fd, timeout_ms);
}

static void start_coalescing(struct effect_test *test, void **state, uint64_t features)
{
    start(test, state, CONTROL_F_COALESCE | CONTROL_F_VQ_COALESCE | features);
    exchange(test, 2); /* the first ones interrupt in any case */
    interrupts(test, 0, WAIT_QUIET_MS);
    interrupts(test, 1, WAIT_QUIET_MS);
}

static void counts_decide(void **state, uint64_t features, unsigned ring, uint8_t command)
{
    struct effect_test test;

    start_coalescing(&test, state, features);
    coalesce(&test, command, 8, LONG_US);
    interrupts(&test, ring, 0); /* those of before that came late: they have by the answer */
    for (unsigned round = 0; round < 5; round++) {
        exchange(&test, 7);
        assert_int_equal(interrupts(&test, ring, WAIT_QUIET_MS), 0);
        exchange(&test, 1);
        assert_int_equal(interrupts(&test, ring, WAIT_LONG_MS), 1);
    }
    testbed_finish(test.bed);
}

static void CTL_COAL_02_receive_interrupts_by_count_split(void **state)
{
    counts_decide(state, 0, 0, SET_RX);
}

static void CTL_COAL_02_receive_interrupts_by_count_packed(void **state)
{
    counts_decide(state, VIRTIO_F_RING_PACKED, 0, SET_RX);
}

static void CTL_COAL_02_transmit_interrupts_by_count(void **state)
{
    counts_decide(state, 0, 1, SET_TX);
}

static void CTL_COAL_02_interrupts_by_time(void **state)
{
    struct effect_test test;
    uint64_t begin;

    start_coalescing(&test, state, 0);
    coalesce(&test, SET_RX, 1000, 300000);
    for (unsigned round = 0; round < 3; round++) {
        begin = now_ms();
        exchange(&test, 3);
        assert_int_equal(interrupts(&test, 0, WAIT_LONG_MS), 1);
        check(now_ms() - begin >= 250, "the interrupt came after %u ms",
              (unsigned)(now_ms() - begin));
    }
    testbed_finish(test.bed);
}

/* One of the two being 0 means an interrupt for each packet. */
static void CTL_COAL_02_either_zero_means_each(void **state)
{
    static const uint32_t pair[][2] = {{0, LONG_US}, {8, 0}, {0, 0}};
    struct effect_test test;

    start_coalescing(&test, state, 0);
    for (unsigned i = 0; i < 3; i++) {
        coalesce(&test, SET_RX, pair[i][0], pair[i][1]);
        for (unsigned n = 0; n < 10; n++) {
            exchange(&test, 1);
            assert_int_equal(interrupts(&test, 0, WAIT_LONG_MS), 1);
        }
    }
    testbed_finish(test.bed);
}

static void CTL_COAL_02_new_numbers_hold_for_what_waits(void **state)
{
    struct effect_test test;

    start_coalescing(&test, state, 0);
    for (unsigned round = 0; round < 3; round++) {
        coalesce(&test, SET_RX, 100, LONG_US);
        exchange(&test, 10);
        assert_int_equal(interrupts(&test, 0, WAIT_QUIET_MS), 0);
        coalesce(&test, SET_RX, 8, LONG_US);
        assert_int_equal(interrupts(&test, 0, WAIT_LONG_MS), 1);
    }
    testbed_finish(test.bed);
}

/* A worker that looks on has not slept since the command, and has nothing to move. */
static void CTL_COAL_02_new_numbers_hold_while_the_worker_looks_on(void **state)
{
    struct effect_test test;

    start_looking(&test, state, CONTROL_F_COALESCE, "1000000");
    for (unsigned round = 0; round < 3; round++) {
        coalesce(&test, SET_TX, 100, LONG_US);
        exchange(&test, 1);
        interrupts(&test, 1, WAIT_QUIET_MS);
        exchange(&test, 10);
        assert_int_equal(interrupts(&test, 1, WAIT_QUIET_MS), 0);
        coalesce(&test, SET_TX, 200, 100000);
        assert_int_equal(interrupts(&test, 1, WAIT_LONG_MS), 1);
    }
    testbed_finish(test.bed);
}

static void CTL_COAL_02_suppression_is_honoured(void **state)
{
    struct effect_test test;
    struct driver_ring *rx;

    start_coalescing(&test, state, 0);
    rx = test.nic->ring[0];
    coalesce(&test, SET_RX, 4, LONG_US);
    rx->ops->interrupts(rx, INTERRUPTS_OFF);
    exchange(&test, 12);
    assert_int_equal(interrupts(&test, 0, WAIT_QUIET_MS), 0);
    testbed_finish(test.bed);
}

/* Of one queue only, and that after the command for all of its kind. */
static void CTL_COAL_01_one_queue_on_its_own(void **state)
{
    uint8_t queue_set[14] = {6, 2, 0, 0, 0, 0, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0};
    struct effect_test test;

    start_coalescing(&test, state, 0);
    coalesce(&test, SET_RX, 0, 0);
    assert_int_equal(control_driver_ask(&test.driver, queue_set, sizeof(queue_set)),
                     CONTROL_ACK_OK);
    exchange(&test, 3);
    assert_int_equal(interrupts(&test, 0, WAIT_QUIET_MS), 0);
    exchange(&test, 1);
    assert_int_equal(interrupts(&test, 0, WAIT_LONG_MS), 1);
    coalesce(&test, SET_RX, 0, 0);
    exchange(&test, 1);
    assert_int_equal(interrupts(&test, 0, WAIT_LONG_MS), 1);
    testbed_finish(test.bed);
}

/* ---- statistics ---- */

enum {
    RECORD_HEADER = 8,
    PLAIN = 60,
    PARTIAL = 25,
    MALFORMED = 9,
    LENGTH = 200,
};

/* The values of one record of queue 0 to 4. */
static void stats_get(struct effect_test *test, uint8_t queue, unsigned type, unsigned count,
                      uint64_t *ret_values)
{
    uint8_t bytes[18] = {8, 1, queue};
    struct control_message message = {bytes, sizeof(bytes), 1 + 64};
    struct control_reply reply;

    wire_put64(bytes + 10, 1ull << type, WIRE_LITTLE);
    reply = control_driver_send(&test->driver, &message);
    assert_int_equal(reply.written[0], CONTROL_ACK_OK);
    assert_int_equal(reply.used_len, 1 + RECORD_HEADER + 8 * count);
    assert_int_equal(reply.written[1], type);
    assert_int_equal(wire_get16(reply.written + 3, WIRE_LITTLE), queue);
    assert_int_equal(wire_get16(reply.written + 7, WIRE_LITTLE), RECORD_HEADER + 8 * count);
    for (unsigned i = 0; i < count; i++)
        ret_values[i] = control_reply_get64(&reply, 1 + RECORD_HEADER + 8 * i);
}

static void traffic(struct effect_test *test)
{
    static const struct net_header partial = {
        .flags = NEEDS_CSUM, .csum_start = CSUM_START, .csum_offset = CSUM_OFFSET};
    static const struct net_header bad = {.flags = NEEDS_CSUM, .csum_start = 0xffff};
    struct net_driver *net = &test->nic->net[0];
    uint8_t frame[LENGTH];
    uint8_t got[NET_FRAME_MAX];

    net_frame_make(frame, sizeof(frame), test->nic->mac, 1);
    for (unsigned i = 0; i < PLAIN; i++)
        testbed_exchange(test->nic, 0, LENGTH);
    for (unsigned i = 0; i < PARTIAL; i++) {
        net_driver_queue_with(net, &partial, frame, sizeof(frame));
        driver_ring_flush(net->tx);
        assert_int_equal(net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS), LENGTH);
        net_driver_drain(net);
    }
    for (unsigned i = 0; i < MALFORMED; i++) {
        net_driver_queue_with(net, &bad, frame, sizeof(frame));
        driver_ring_flush(net->tx);
        net_driver_drain(net);
    }
    send_gso(test);
    expect_frame(test, FRAME_LEN, NEEDS_CSUM, GSO_TCPV4);
    net_driver_drain(net);
}

/* A counter of inspect's, asked while nothing moves. */
static uint64_t shown(struct effect_test *test, const char *name)
{
    char path[96];

    snprintf(path, sizeof(path), "nic0/queues/0/%s", name);
    return daemon_number(&test->bed->daemon, path);
}

static void CTL_STAT_02_counters_tell_the_traffic(void **state)
{
    static const uint64_t good = PLAIN + PARTIAL + 1;
    static const uint64_t bytes = (PLAIN + PARTIAL) * LENGTH + FRAME_LEN;
    struct effect_test test;
    uint64_t value[6];

    start(&test, state, CONTROL_F_STATS | CSUM | HOST_TSO4 | GUEST_CSUM | GUEST_TSO4);
    traffic(&test);
    stats_get(&test, 0, 0, 6, value);
    assert_int_equal(value[0], shown(&test, "rx_ring/kicks"));
    assert_int_equal(value[1], good);
    assert_int_equal(value[2], bytes);
    assert_int_equal(value[3], shown(&test, "rx_ring/interrupts"));
    assert_true(value[3] >= good);
    assert_int_equal(value[4] + value[5], 0);
    stats_get(&test, 0, 1, 4, value); /* RX_CSUM */
    assert_int_equal(value[0], 0);
    assert_int_equal(value[1], PARTIAL + 1);
    assert_int_equal(value[2], PLAIN);
    assert_int_equal(value[3], 0);
    stats_get(&test, 0, 2, 4, value); /* RX_GSO */
    assert_int_equal(value[0], 1);
    assert_int_equal(value[1], FRAME_LEN);
    assert_int_equal(value[2] + value[3], 0);
    stats_get(&test, 1, 16, 6, value); /* TX_BASIC */
    assert_int_equal(value[0], shown(&test, "tx_ring/kicks"));
    assert_true(value[0] >= 1 && value[0] <= test.nic->ring[1]->kick_count);
    assert_int_equal(value[1], good);
    assert_int_equal(value[2], bytes);
    assert_int_equal(value[3], shown(&test, "tx_ring/interrupts"));
    assert_int_equal(value[4], MALFORMED);
    assert_int_equal(value[5], MALFORMED);
    stats_get(&test, 1, 17, 2, value); /* TX_CSUM */
    assert_int_equal(value[0], PLAIN);
    assert_int_equal(value[1], PARTIAL + 1);
    stats_get(&test, 1, 18, 6, value); /* TX_GSO: the loopback takes frames whole */
    assert_memory_equal(value, ((uint64_t[]){1, FRAME_LEN, 0, 0, 1, FRAME_LEN}), sizeof(value));
    stats_get(&test, 4, 32, 2, value); /* six questions before this one */
    assert_int_equal(value[0], 6);
    assert_int_equal(value[1], 6);
    testbed_finish(test.bed);
}

/* Every type of every queue in one command, and the same values as one by one. */
static void CTL_STAT_01_all_at_once(void **state)
{
    static const struct {
        uint8_t queue;
        uint64_t types;
    } wanted[] = {{0, 7}, {1, 7ull << 16}, {2, 7}, {3, 7ull << 16}, {4, 1ull << 32}};
    uint8_t bytes[2 + 5 * 16] = {8, 1};
    struct control_message query = {"\x8\0", 2, 9};
    struct control_message message = {bytes, sizeof(bytes), 600};
    struct effect_test test;
    struct control_reply reply;

    start(&test, state, CONTROL_F_STATS | CSUM | HOST_TSO4 | GUEST_CSUM | GUEST_TSO4);
    traffic(&test);
    reply = control_driver_send(&test.driver, &query);
    assert_true(control_reply_get64(&reply, 1) == (7 | 7ull << 16 | 1ull << 32));
    for (unsigned i = 0; i < 5; i++) {
        bytes[2 + 16 * i] = wanted[i].queue;
        wire_put64(bytes + 10 + 16 * i, wanted[i].types, WIRE_LITTLE);
    }
    for (test.driver.cut = 0; test.driver.cut < CONTROL_CUT_COUNT; test.driver.cut++) {
        reply = control_driver_send(&test.driver, &message);
        assert_int_equal(reply.written[0], CONTROL_ACK_OK);
        assert_int_equal(reply.used_len, 1 + 2 * (136 + 136) + 24);
        assert_int_equal(control_reply_get64(&reply, 1 + RECORD_HEADER + 8), PLAIN + PARTIAL + 1);
    }
    testbed_finish(test.bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(CTL_OFF_01_NET_RX_12_offloads_change_between_two_frames),
        TESTBED_TEST(CTL_COAL_01_one_queue_on_its_own),
        TESTBED_TEST(CTL_COAL_02_receive_interrupts_by_count_split),
        TESTBED_TEST(CTL_COAL_02_receive_interrupts_by_count_packed),
        TESTBED_TEST(CTL_COAL_02_transmit_interrupts_by_count),
        TESTBED_TEST(CTL_COAL_02_interrupts_by_time),
        TESTBED_TEST(CTL_COAL_02_either_zero_means_each),
        TESTBED_TEST(CTL_COAL_02_new_numbers_hold_for_what_waits),
        TESTBED_TEST(CTL_COAL_02_new_numbers_hold_while_the_worker_looks_on),
        TESTBED_TEST(CTL_COAL_02_suppression_is_honoured),
        TESTBED_TEST(CTL_STAT_01_all_at_once),
        TESTBED_TEST(CTL_STAT_02_counters_tell_the_traffic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
