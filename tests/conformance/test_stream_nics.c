/* SPDX-License-Identifier: MIT */
/* Cards of one daemon whose network is a stream: to each other, and to a peer that comes and goes.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addressed_frames.h"
#include "check.h"
#include "clockwork.h"
#include "stream_bed.h"

enum {
    LARGE = 60000,
    BUSY_MS = 5000, /* of a guest that sends without a pause */
    HELD_BACK = 30,
};

static uint8_t sent[NET_FRAME_MAX], got[NET_FRAME_MAX];

static void two_nics_are_each_others_network(void **state)
{
    struct testbed *bed = stream_bed_start(state, &(struct testbed_options){0});
    uint32_t seed = 0;

    for (unsigned round = 0; round < 300; round++) {
        uint32_t len = round % 20 == 0 ? LARGE + round : 60 + round * 5;

        for (unsigned way = NEAR; way <= FAR; way++) {
            frame_send(&bed->nic[way], bed->nic[way].mac, bed->nic[!way].mac, len, ++seed);
            frame_expect(&bed->nic[!way], bed->nic[way].mac, bed->nic[!way].mac, len, seed);
            net_driver_drain(&bed->nic[way].net[0]);
        }
    }
    stream_bed_finish(bed);
}

/* A guest without receive buffers holds back the other one, not the daemon; nothing is lost. */
static void full_stream_holds_the_other_guest_back(void **state)
{
    struct testbed *bed = stream_bed_start(state, &(struct testbed_options){.rx_unposted = 1});
    struct testbed_nic *near = &bed->nic[NEAR], *far = &bed->nic[FAR];

    for (unsigned i = 0; i < HELD_BACK; i++)
        frame_send(near, near->mac, far->mac, LARGE, i);
    daemon_wait_number(&bed->daemon, "nic0/endpoint/tx_full", 1);
    daemon_check_idle(&bed->daemon);
    assert_true(daemon_number(&bed->daemon, "nic0/queues/0/tx_packets") < HELD_BACK);
    net_driver_post(&far->net[0], far->net[0].rx_slots);
    for (unsigned i = 0; i < HELD_BACK; i++)
        frame_expect(far, near->mac, far->mac, LARGE, i);
    net_driver_drain(&near->net[0]);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint/tx_dropped_down"), 0);
    stream_bed_finish(bed);
}

/* A frame that can't be read any more lies behind one that can: that one is sent, and once. */
static void VU_MEM_06_frame_in_front_of_truncated_memory_is_sent_once(void **state)
{
    struct testbed *bed = stream_bed_start(state, &(struct testbed_options){0});
    struct testbed_nic *near = &bed->nic[NEAR], *far = &bed->nic[FAR];
    uint64_t header = guest_ram_alloc(&near->ram, 0, NET_HEADER_MODERN, 64);
    struct driver_buffer buffer[2] = {
        {header, NET_HEADER_MODERN, DEVICE_READS},
        {TESTBED_BORDER_GPA, 1000, DEVICE_READS},
    };
    struct driver_chain chain = {buffer, 2, CHAIN_DIRECT};
    struct driver_ring *tx = near->net[0].tx;
    unsigned copies = 0;

    net_frame_make(sent, 1000, far->mac, 1);
    net_driver_queue(&near->net[0], sent, 1000);
    tx->ops->add(tx, &chain);
    assert_int_equal(ftruncate(near->ram.region[1].fd, 0), 0);
    driver_ring_flush(tx);
    while (net_driver_receive(&far->net[0], got, sizeof(got), WAIT_QUIET_MS) >= 0) {
        copies += memcmp(got, sent, 1000) == 0;
        check(copies <= 1, "the frame came again");
    }
    assert_int_equal(copies, 1);
    stream_bed_finish(bed);
}

/* ---- a peer that comes and goes -----------------------------------------------------------------
 */

/* What the peer gets comes back to the card. */
static void echo_one(struct testbed *bed, int peer, uint32_t len, uint32_t seed)
{
    static uint8_t wire[4 + NET_FRAME_MAX];
    struct testbed_nic *nic = &bed->nic[NEAR];
    size_t have = 0;

    frame_send(nic, nic->mac, nic->mac, len, seed);
    while (have < 4 + len) {
        ssize_t n;

        assert_true(wait_readable(peer, WAIT_LONG_MS));
        n = recv(peer, wire + have, 4 + len - have, 0);
        assert_true(n > 0);
        have += (size_t)n;
    }
    assert_int_equal(wire[0] << 24 | wire[1] << 16 | wire[2] << 8 | wire[3], len);
    assert_int_equal(send(peer, wire, have, 0), have);
    frame_expect(nic, nic->mac, nic->mac, len, seed);
    net_driver_drain(&nic->net[0]);
}

/* A card without receive buffers does not watch its endpoint while it sleeps; it does again when it
 * has some, however busy the guest keeps it with what it sends. */
static void frames_come_while_the_guest_sends(void **state)
{
    static uint8_t wire[4 + 100];
    struct testbed *bed = *state;
    struct testbed_nic *nic = &bed->nic[NEAR];
    char text[256], path[128];
    int listener, peer, came;

    snprintf(path, sizeof(path), "%s/wire", bed->daemon.directory);
    snprintf(text, sizeof(text), "endpoint=stream:path=%s,reconnect=10", path);
    testbed_start(state, &(struct testbed_options){
                             .nic = text, .mergeable = 1, .rx_unposted = 1, .poll = "100000"});
    listener = stream_bed_listen(path);
    peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
    daemon_wait_text(&bed->daemon, "nic0/link", "up");
    wire[3] = 100;
    net_frame_make(wire + 4, 100, nic->mac, 1);
    assert_int_equal(send(peer, wire, sizeof(wire), 0), sizeof(wire));
    daemon_wait_number(&bed->daemon, "nic0/queues/0/rx_starved", 1);
    sleep_ms(2 * WAIT_QUIET_MS); /* long enough for it to fall asleep */
    net_driver_send(&nic->net[0], wire + 4, 100);
    net_driver_post(&nic->net[0], nic->net[0].rx_slots);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 100);
    assert_int_equal(send(peer, wire, sizeof(wire), 0), sizeof(wire));
    for (uint64_t end = now_ms() + BUSY_MS;
         (came = net_driver_receive(&nic->net[0], got, sizeof(got), 10)) < 0;) {
        check(now_ms() < end, "the frame waits for the guest to fall silent");
        net_driver_send(&nic->net[0], wire + 4, 100);
        net_driver_drain(&nic->net[0]);
    }
    assert_int_equal(came, 100);
    close(peer);
    close(listener);
    testbed_finish(bed);
}

static void link_follows_the_peer(void **state)
{
    struct testbed *bed = *state;
    struct testbed_nic *nic = &bed->nic[NEAR];
    char text[256], path[128];
    unsigned fds = 0;

    snprintf(path, sizeof(path), "%s/wire", bed->daemon.directory);
    snprintf(text, sizeof(text), "endpoint=stream:path=%s,reconnect=10", path);
    testbed_start(state, &(struct testbed_options){.nic = text, .mergeable = 1});
    daemon_wait_text(&bed->daemon, "nic0/link", "down");
    for (unsigned round = 0; round < 5; round++) {
        int listener = stream_bed_listen(path);
        int peer = accept(listener, NULL, NULL);

        assert_true(peer >= 0);
        close(listener);
        unlink(path);
        daemon_wait_text(&bed->daemon, "nic0/link", "up");
        echo_one(bed, peer, 1000 + round, round);
        close(peer);
        daemon_wait_text(&bed->daemon, "nic0/link", "down");
        for (unsigned i = 0; i < 5; i++)
            frame_send(nic, nic->mac, nic->mac, 100, i);
        net_driver_drain(&nic->net[0]); /* taken, so that no driver hangs */
        testbed_expect_silence(nic, 0);
        if (round == 0)
            fds = daemon_fd_count_settled(&bed->daemon);
    }
    daemon_check_fds(&bed->daemon, fds);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint/connections_lost"), 5);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(two_nics_are_each_others_network),
        TESTBED_TEST(full_stream_holds_the_other_guest_back),
        TESTBED_TEST(VU_MEM_06_frame_in_front_of_truncated_memory_is_sent_once),
        TESTBED_TEST(frames_come_while_the_guest_sends),
        TESTBED_TEST(link_follows_the_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
