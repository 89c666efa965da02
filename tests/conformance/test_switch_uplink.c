/* SPDX-License-Identifier: MIT */
/* What stands behind a switch: an endpoint of another kind as one more port, here a stream whose
 * far end is the test. It takes no offloads, and it comes and goes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addressed_frames.h"
#include "check.h"
#include "clockwork.h"
#include "stream_bed.h"

#define MODERN    (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define CSUM      (1ull << 0)
#define HOST_TSO4 (1ull << 11)

enum {
    NICS = 3, /* nic2 is isolated */
    ISOLATED = 2,
    MANY = 400,
};

static unsigned workers; /* of the group that runs */
static uint8_t sent[NET_FRAME_MAX], got[NET_FRAME_MAX];
static char lan[DAEMON_PATH_LEN + 80], wire[DAEMON_PATH_LEN + 8];
static const uint8_t outside[6] = {0x52, 0x54, 0, 9, 9, 9};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static int accept_peer(struct testbed *bed, int listener)
{
    int fd;

    check(wait_readable(listener, WAIT_LONG_MS), "the uplink does not connect");
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    daemon_wait_text(&bed->daemon, "uplink:lan0/link", "up");
    return fd;
}

/* Three cards, and the uplink's peer. */
static struct testbed *start(void **state, int *ret_listener, int *ret_peer)
{
    struct testbed *bed = *state;

    snprintf(wire, sizeof(wire), "%s/wire", bed->daemon.directory);
    snprintf(lan, sizeof(lan), "name=lan0,ageing=100,uplink=stream:path=%s,reconnect=10", wire);
    *ret_listener = stream_bed_listen(wire);
    for (unsigned i = 0; i < NICS; i++) {
        const struct testbed_options options = {
            .nic = i == ISOLATED ? "endpoint=switch:name=lan0,isolated=on"
                                 : "endpoint=switch:name=lan0",
            .features = i == 0 ? MODERN | CSUM | HOST_TSO4 : MODERN,
            .queue_size = 256,
            .mergeable = 1};

        testbed_prepare_nic(bed, i, &options);
    }
    bed->daemon.workers = workers;
    bed->daemon.lan = lan;
    daemon_start(&bed->daemon);
    *ret_peer = accept_peer(bed, *ret_listener);
    for (unsigned i = 0; i < NICS; i++)
        testbed_connect(&bed->nic[i]);
    return bed;
}

static void finish(struct testbed *bed, int listener, int peer)
{
    daemon_check_alive(&bed->daemon);
    daemon_check_idle(&bed->daemon);
    for (unsigned i = 0; i < NICS; i++)
        front_end_close(&bed->nic[i].fe);
    daemon_stop(&bed->daemon);
    close(peer);
    close(listener);
}

static void peer_send(int peer, const uint8_t to[6], uint32_t len, uint32_t seed)
{
    const uint8_t head[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                             (uint8_t)len};

    frame_make(sent, len, to, outside, seed);
    assert_int_equal(send(peer, head, sizeof(head), 0), sizeof(head));
    assert_int_equal(send(peer, sent, len, 0), len);
}

static void peer_read(int peer, uint8_t *bytes, uint32_t len)
{
    for (uint32_t have = 0; have < len;) {
        ssize_t n;

        check(wait_readable(peer, WAIT_LONG_MS), "nothing comes out of the uplink");
        n = recv(peer, bytes + have, len - have, 0);
        assert_true(n > 0);
        have += (uint32_t)n;
    }
}

static uint32_t peer_receive(int peer)
{
    uint8_t head[4];
    uint32_t len;

    peer_read(peer, head, sizeof(head));
    len = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
    assert_true(len <= sizeof(got));
    peer_read(peer, got, len);
    return len;
}

static void expect_at_peer(int peer, const uint8_t from[6], const uint8_t to[6], uint32_t len,
                           uint32_t seed)
{
    assert_int_equal(peer_receive(peer), len);
    frame_make(sent, len, to, from, seed);
    assert_memory_equal(got, sent, len);
}

static void both_ways_and_isolated_ports_too(void **state)
{
    int listener, peer;
    struct testbed *bed = start(state, &listener, &peer);
    struct testbed_nic *nic = bed->nic;

    frame_send(&nic[0], nic[0].mac, outside, 300, 1);
    expect_at_peer(peer, nic[0].mac, outside, 300, 1);
    frame_expect(&nic[1], nic[0].mac, outside, 300, 1); /* not yet known */
    peer_send(peer, everybody, 1500, 2);
    for (unsigned i = 0; i < NICS; i++)
        frame_expect(&nic[i], outside, everybody, 1500, 2);
    for (unsigned i = 0; i < NICS; i++) {
        frame_send(&nic[i], nic[i].mac, outside, 500 + i, 3);
        expect_at_peer(peer, nic[i].mac, outside, 500 + i, 3);
        peer_send(peer, nic[i].mac, 700 + i, 4);
        frame_expect(&nic[i], outside, nic[i].mac, 700 + i, 4);
    }
    for (unsigned i = 0; i < NICS; i++)
        frame_expect_none(&nic[i]);
    assert_int_equal(daemon_number(&bed->daemon, "switch:lan0/flooded"), 2);
    assert_int_equal(daemon_number(&bed->daemon, "switch:lan0/ageing_s"), 100);
    finish(bed, listener, peer);
}

static void order_holds_in_bursts(void **state)
{
    int listener, peer;
    struct testbed *bed = start(state, &listener, &peer);
    struct testbed_nic *nic = bed->nic;

    peer_send(peer, everybody, 60, 0);
    for (unsigned i = 0; i < NICS; i++)
        frame_expect(&nic[i], outside, everybody, 60, 0);
    for (uint32_t i = 0; i < MANY; i++) {
        frame_send(&nic[i % 2], nic[i % 2].mac, outside, 60 + i, i);
        peer_send(peer, nic[i % 2].mac, 60 + 3 * i, i);
        expect_at_peer(peer, nic[i % 2].mac, outside, 60 + i, i);
        if (i % 8 != 7)
            continue;
        for (uint32_t j = i - 7; j <= i; j++)
            frame_expect(&nic[j % 2], outside, nic[j % 2].mac, 60 + 3 * j, j);
    }
    finish(bed, listener, peer);
}

/* The stream takes no offloads: segments leave the uplink, each with its checksum. */
static void large_segments_are_cut_for_the_uplink(void **state)
{
    int listener, peer;
    struct testbed *bed = start(state, &listener, &peer);
    struct testbed_nic *nic = bed->nic;
    uint32_t left = 30000;

    peer_send(peer, nic[0].mac, 60, 0); /* so that it is known where `outside` is */
    frame_expect(&nic[0], outside, nic[0].mac, 60, 0);
    frame_make_tcp(sent, outside, nic[0].mac, left);
    net_driver_queue_with(&nic[0].net[0], &frame_tcp_header, sent, FRAME_HEADERS_LEN + left);
    testbed_publish(testbed_tx(&nic[0], 0));
    while (left != 0) {
        uint32_t part = left < FRAME_SEGMENT_LEN ? left : FRAME_SEGMENT_LEN;

        assert_int_equal(peer_receive(peer), FRAME_HEADERS_LEN + part);
        assert_memory_equal(got + FRAME_HEADERS_LEN, sent + FRAME_HEADERS_LEN + 30000 - left, part);
        frame_check_tcp(got, part);
        left -= part;
    }
    net_driver_drain(&nic[0].net[0]);
    finish(bed, listener, peer);
}

/* A peer that does not read, then goes, holds nobody back; what comes after it works. */
static void the_uplink_comes_and_goes(void **state)
{
    int listener, peer;
    struct testbed *bed = start(state, &listener, &peer);
    struct testbed_nic *nic = bed->nic;

    for (unsigned round = 0; round < 4; round++) {
        peer_send(peer, nic[0].mac, 100, round);
        frame_expect(&nic[0], outside, nic[0].mac, 100, round);
        for (unsigned i = 0; i < 100; i++)
            frame_send(&nic[0], nic[0].mac, outside, 30000, i);
        net_driver_drain(&nic[0].net[0]);
        frame_send(&nic[0], nic[0].mac, nic[1].mac, 400, round);
        frame_expect(&nic[1], nic[0].mac, nic[1].mac, 400, round);
        close(peer);
        daemon_wait_text(&bed->daemon, "uplink:lan0/link", "down");
        frame_send(&nic[0], nic[0].mac, outside, 200, round);
        net_driver_drain(&nic[0].net[0]);
        peer = accept_peer(bed, listener);
        while (net_driver_receive(&nic[1].net[0], got, sizeof(got), 20) >= 0)
            ; /* floods while nobody knew where it was */
    }
    finish(bed, listener, peer);
}

/* ---- a peer that reads a few bytes at a time ------------------------------------------------- */

enum {
    SLOW_LEN = 60000, /* more than the kernel takes at once */
    SLOW_FRAMES = 150,
    SLOW_AT = 14, /* the frame's number: who sent it, and which it is */
};

static void make_numbered(const uint8_t from[6], unsigned nic, uint32_t number)
{
    frame_make(sent, SLOW_LEN, outside, from, number);
    sent[SLOW_AT] = (uint8_t)nic;
    sent[SLOW_AT + 1] = (uint8_t)(number >> 8);
    sent[SLOW_AT + 2] = (uint8_t)number;
}

static void send_numbered(struct testbed_nic *nic, uint32_t number)
{
    struct net_driver *net = &nic->net[0];

    net_driver_reap(net);
    if (net->tx_free_count < 2)
        return;
    make_numbered(nic->mac, nic->index, number);
    net_driver_send(net, sent, SLOW_LEN);
}

/* Frames may be lost, because the sender is not held back for ever, but each that comes is whole
 * and comes once, in its sender's order. Returns its number. */
static uint32_t expect_numbered(struct testbed *bed, int peer, uint32_t next[NICS])
{
    unsigned nic;
    uint32_t number;

    assert_int_equal(peer_receive(peer), SLOW_LEN);
    nic = got[SLOW_AT];
    number = (uint32_t)got[SLOW_AT + 1] << 8 | got[SLOW_AT + 2];
    assert_true(nic < ISOLATED);
    check(number >= next[nic], "frame %u of nic%u comes again", number, nic);
    make_numbered(bed->nic[nic].mac, nic, number);
    assert_memory_equal(got, sent, SLOW_LEN);
    next[nic] = number + 1;
    return number;
}

/* One sender is of the uplink's worker, which hands frames over directly, the other of another: by
 * its inbox. The socket is full most of the time and cuts frames. */
static void what_a_full_socket_cuts_goes_once(void **state)
{
    uint32_t next[NICS] = {0};
    int listener, peer;
    struct testbed *bed = start(state, &listener, &peer);
    uint32_t last = 0;

    for (uint32_t i = 0; i < SLOW_FRAMES; i++) {
        send_numbered(&bed->nic[0], i);
        send_numbered(&bed->nic[1], i);
        if (i > SLOW_FRAMES / 3 && i % 3 == 0)
            expect_numbered(bed, peer, next);
    }
    for (uint32_t i = SLOW_FRAMES; last < SLOW_FRAMES; i++) {
        send_numbered(&bed->nic[0], i);
        while (wait_readable(peer, 1))
            last = expect_numbered(bed, peer, next);
    }
    check(daemon_number(&bed->daemon, "uplink:lan0/endpoint/tx_cut") > 0, "nothing was cut");
    for (unsigned i = 0; i < ISOLATED; i++)
        net_driver_drain(&bed->nic[i].net[0]);
    finish(bed, listener, peer);
}

static int run(unsigned count, const char *name)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(both_ways_and_isolated_ports_too),
        TESTBED_TEST(order_holds_in_bursts),
        TESTBED_TEST(large_segments_are_cut_for_the_uplink),
        TESTBED_TEST(the_uplink_comes_and_goes),
        TESTBED_TEST(what_a_full_socket_cuts_goes_once),
    };

    workers = count;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return run(1, "one worker") + run(2, "two workers");
}
