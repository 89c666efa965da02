/* SPDX-License-Identifier: MIT */
/* Receive steering where frames come from a network: a tap with a queue for each pair, and the
 * real kernel behind it in a namespace of the test's own. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "host.h"
#include "rss_driver.h"
#include "testbed.h"

#define MODERN  (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define CTRL_RX (1ull << 18)
#define RSS     (1ull << 60)
#define HOST_IP "10.77.0.1"
#define OUR_IP  "10.77.0.2"

enum {
    PAIRS = 2,
    ECHO_PORT = 7,
    FLOWS = 24,
    FIRST_PORT = 20000,
    SOURCE_PORT_AT = PACKET_ETHERNET_LEN + PACKET_IPV4_LEN,
    DESTINATION_PORT_AT = SOURCE_PORT_AT + 2,
    PAYLOAD_AT = SOURCE_PORT_AT + 8,
    NOWHERE = -1,
};

static const char *no_namespace; /* why there is none, or NULL */

struct tap_bed {
    struct testbed *bed;
    struct testbed_nic *nic;
    struct control_driver control;
    uint8_t host_mac[6];
    int udp; /* of the host, bound to ECHO_PORT */
    uint32_t sequence;
};

static int host_udp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ECHO_PORT)};
    struct timeval wait = {.tv_sec = 1};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int one = 1; /* a test that failed left its socket */

    assert_true(fd >= 0);
    assert_return_code(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), errno);
    inet_pton(AF_INET, HOST_IP, &address.sin_addr);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), errno);
    return fd;
}

static struct tap_bed start(void **state, uint64_t features, uint8_t pairs)
{
    struct testbed_options options = {.nic = "queues=2,endpoint=tap:ifname=steer0",
                                      .features = MODERN | features,
                                      .pairs = PAIRS,
                                      .workers = 2,
                                      .control = 1,
                                      .start = front_end_start_crosvm};
    struct tap_bed bed = {0};

    if (no_namespace != NULL)
        skip();
    bed.bed = testbed_start(state, &options);
    bed.nic = &bed.bed->nic[VICTIM];
    check((bed.nic->fe.features & options.features) == options.features, "offered: %#llx",
          (unsigned long long)bed.nic->fe.offered);
    control_driver_init(&bed.control, bed.nic->ring[2 * PAIRS], 0);
    memcpy(bed.host_mac, "\x02\0\0\0\0\x01", 6);
    host_command("ip link set steer0 address 02:00:00:00:00:01");
    host_command("ip addr add " HOST_IP "/24 dev steer0");
    host_command("ip neigh add " OUR_IP " lladdr 52:54:00:00:00:01 dev steer0");
    bed.udp = host_udp();
    assert_int_equal(control_driver_ask(&bed.control, (uint8_t[]){4, 0, pairs, 0}, 4),
                     CONTROL_ACK_OK);
    return bed;
}

static void finish(struct tap_bed *bed)
{
    close(bed->udp);
    testbed_finish(bed->bed);
}

static void steer_all_to(struct tap_bed *bed, uint16_t pair)
{
    struct rss_setup setup = {
        .types = RSS_HASH_ALL, .unclassified = pair, .table = {pair}, .pairs = PAIRS};

    assert_int_equal(rss_driver_config(&bed->control, &setup), CONTROL_ACK_OK);
}

/* ---- flows ---- */

/* The guest sends a datagram of the flow by this pair; it arrives. */
static void send_flow(struct tap_bed *bed, unsigned pair, unsigned flow)
{
    struct packet packet = {.len = 0};
    uint32_t got;

    packet_put_ethernet(&packet, bed->host_mac, 0x0800);
    memcpy(packet.bytes + 6, bed->nic->mac, 6);
    packet_put_ip(&packet, PACKET_UDP, OUR_IP, HOST_IP);
    packet_put_udp(&packet, ECHO_PORT);
    packet.bytes[SOURCE_PORT_AT] = (uint8_t)((FIRST_PORT + flow) >> 8);
    packet.bytes[SOURCE_PORT_AT + 1] = (uint8_t)(FIRST_PORT + flow);
    bed->sequence++;
    packet_put(&packet, &bed->sequence, sizeof(bed->sequence));
    packet_finish_udp(&packet);
    net_driver_send(&bed->nic->net[pair], packet.bytes, packet.len);
    net_driver_drain(&bed->nic->net[pair]);
    assert_int_equal(recv(bed->udp, &got, sizeof(got), 0), sizeof(got));
    assert_int_equal(got, bed->sequence);
}

/* The host answers the flow. */
static void answer(struct tap_bed *bed, unsigned flow)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)(FIRST_PORT + flow))};

    inet_pton(AF_INET, OUR_IP, &address.sin_addr);
    bed->sequence++;
    assert_int_equal(sendto(bed->udp, &bed->sequence, sizeof(bed->sequence), 0,
                            (struct sockaddr *)&address, sizeof(address)),
                     sizeof(bed->sequence));
}

static uint32_t hash_of_answer(unsigned flow)
{
    struct packet input = {.len = 0};

    packet_put_address(&input, HOST_IP);
    packet_put_address(&input, OUR_IP);
    packet_put_be16(&input, ECHO_PORT);
    packet_put_be16(&input, FIRST_PORT + flow);
    return packet_toeplitz(packet_known_key, input.bytes, input.len);
}

/* Is this the last answer of the host? Anything else that it says does not count. */
static int is_answer(const struct tap_bed *bed, const uint8_t *frame, int len, unsigned flow)
{
    unsigned port = (unsigned)frame[DESTINATION_PORT_AT] << 8 | frame[DESTINATION_PORT_AT + 1];

    return len >= PAYLOAD_AT + 4 && port == FIRST_PORT + flow &&
           memcmp(frame + PAYLOAD_AT, &bed->sequence, 4) == 0;
}

/* The pair at which the last answer arrives, or NOWHERE. */
static int where(struct tap_bed *bed, unsigned flow, unsigned timeout_ms)
{
    uint64_t end = now_ms() + timeout_ms;
    uint8_t got[NET_FRAME_MAX];

    do {
        for (int pair = 0; pair < PAIRS; pair++) {
            int len = net_driver_receive(&bed->nic->net[pair], got, sizeof(got), 1);

            if (len > 0 && is_answer(bed, got, len, flow))
                return pair;
        }
    } while (now_ms() < end);
    return NOWHERE;
}

/* ---- tests ---- */

static void NET_MQ_01_answers_follow_the_flow(void **state)
{
    struct tap_bed bed = start(state, 0, PAIRS);

    for (unsigned round = 0; round < 4; round++) {
        for (unsigned flow = 0; flow < FLOWS; flow++)
            send_flow(&bed, (flow / 3 + round) % PAIRS, flow);
        for (unsigned flow = 0; flow < FLOWS; flow++) {
            answer(&bed, flow);
            assert_int_equal(where(&bed, flow, WAIT_LONG_MS), (flow / 3 + round) % PAIRS);
        }
    }
    finish(&bed);
}

/* Without a word of the guest a flow stays on one pair, and not all are on the same. */
static void NET_MQ_01_unknown_flows_keep_to_a_pair(void **state)
{
    struct tap_bed bed = start(state, 0, PAIRS);
    unsigned at_first = 0;

    for (unsigned flow = 100; flow < 100 + FLOWS; flow++) {
        int pair;

        answer(&bed, flow);
        pair = where(&bed, flow, WAIT_LONG_MS);
        assert_int_not_equal(pair, NOWHERE);
        at_first += pair == 0;
        for (unsigned i = 0; i < 3; i++) {
            answer(&bed, flow);
            assert_int_equal(where(&bed, flow, WAIT_LONG_MS), pair);
        }
    }
    check(at_first != 0 && at_first != FLOWS, "%u of %u flows came to the first pair", at_first,
          FLOWS);
    finish(&bed);
}

/* virtio 1.4, 5.1.6.5.5.1: nothing above the pairs in use, wherever flows were before. */
static void NET_MQ_01_pairs_that_are_switched_off_get_nothing(void **state)
{
    struct tap_bed bed = start(state, 0, PAIRS);

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned flow = 0; flow < FLOWS; flow++)
            send_flow(&bed, 1, flow);
        assert_int_equal(control_driver_ask(&bed.control, (uint8_t[]){4, 0, 1, 0}, 4),
                         CONTROL_ACK_OK);
        for (unsigned flow = 0; flow < FLOWS; flow++) {
            answer(&bed, flow);
            assert_int_equal(where(&bed, flow, WAIT_LONG_MS), 0);
        }
        assert_int_equal(control_driver_ask(&bed.control, (uint8_t[]){4, 0, PAIRS, 0}, 4),
                         CONTROL_ACK_OK);
    }
    finish(&bed);
}

/* Whatever queue of the tap they come by. */
static void NET_RSS_01_table_beats_the_pair_that_the_flow_used(void **state)
{
    struct tap_bed bed = start(state, RSS, PAIRS);

    for (unsigned round = 0; round < 4; round++) {
        steer_all_to(&bed, (uint16_t)(round % PAIRS));
        for (unsigned flow = 0; flow < FLOWS; flow++) {
            send_flow(&bed, flow % PAIRS, flow);
            answer(&bed, flow);
            assert_int_equal(where(&bed, flow, WAIT_LONG_MS), round % PAIRS);
        }
    }
    finish(&bed);
}

/* What comes by a queue whose pair can't receive is still for the pair that the table names; what
 * is for the one that can't is dropped, and nothing of it comes later. */
static void NET_RSS_01_frames_that_come_by_a_stopped_pair(void **state)
{
    struct rss_setup both = {.types = RSS_HASH_ALL, .mask = 1, .table = {0, 1}, .pairs = PAIRS};
    struct tap_bed bed = start(state, RSS, PAIRS);
    unsigned to_stopped = 0;

    assert_int_equal(rss_driver_config(&bed.control, &both), CONTROL_ACK_OK);
    front_end_stop_vring(&bed.nic->fe, 0);
    for (unsigned flow = 0; flow < FLOWS; flow++) {
        send_flow(&bed, flow % PAIRS, flow);
        answer(&bed, flow);
        if (hash_of_answer(flow) & 1)
            assert_int_equal(where(&bed, flow, WAIT_LONG_MS), 1);
        else
            to_stopped++;
    }
    assert_int_equal(where(&bed, 0, WAIT_QUIET_MS), NOWHERE);
    assert_true(to_stopped != 0 && to_stopped != FLOWS);
    assert_int_equal(daemon_number(&bed.bed->daemon, "nic0/queues/0/rx_dropped") +
                         daemon_number(&bed.bed->daemon, "nic0/queues/1/rx_dropped"),
                     to_stopped);
    driver_split_restart(testbed_rx(bed.nic, 0), 0);
    net_driver_forget(&bed.nic->net[0]);
    front_end_start_vring(&bed.nic->fe, 0, testbed_rx(bed.nic, 0));
    net_driver_post(&bed.nic->net[0], bed.nic->net[0].rx_slots);
    for (unsigned flow = 0; flow < FLOWS; flow++) {
        answer(&bed, flow);
        assert_int_equal(where(&bed, flow, WAIT_LONG_MS), hash_of_answer(flow) & 1);
    }
    finish(&bed);
}

/* Frames that the guest does not want are read from the tap all the same, and cost no buffers. */
static void NET_FLT_02_frames_of_others_are_dropped(void **state)
{
    struct tap_bed bed = start(state, CTRL_RX, PAIRS);
    uint64_t filtered = 0;

    for (unsigned flow = 0; flow < FLOWS; flow++)
        send_flow(&bed, flow % PAIRS, flow);
    host_command("ip neigh replace " OUR_IP " lladdr 52:54:00:00:00:77 dev steer0");
    for (unsigned i = 0; i < 10 * FLOWS; i++)
        answer(&bed, i % FLOWS);
    for (uint64_t end = now_ms() + WAIT_LONG_MS; filtered < 10 * FLOWS && now_ms() < end;)
        filtered = daemon_number(&bed.bed->daemon, "nic0/queues/0/rx_drops/filtered") +
                   daemon_number(&bed.bed->daemon, "nic0/queues/1/rx_drops/filtered");
    assert_int_equal(filtered, 10 * FLOWS);
    assert_int_equal(where(&bed, (10 * FLOWS - 1) % FLOWS, WAIT_QUIET_MS), NOWHERE);
    host_command("ip neigh replace " OUR_IP " lladdr 52:54:00:00:00:01 dev steer0");
    for (unsigned flow = 0; flow < FLOWS; flow++) {
        answer(&bed, flow);
        assert_int_equal(where(&bed, flow, WAIT_LONG_MS), flow % PAIRS);
    }
    finish(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_MQ_01_answers_follow_the_flow),
        TESTBED_TEST(NET_MQ_01_unknown_flows_keep_to_a_pair),
        TESTBED_TEST(NET_MQ_01_pairs_that_are_switched_off_get_nothing),
        TESTBED_TEST(NET_RSS_01_table_beats_the_pair_that_the_flow_used),
        TESTBED_TEST(NET_RSS_01_frames_that_come_by_a_stopped_pair),
        TESTBED_TEST(NET_FLT_02_frames_of_others_are_dropped),
    };

    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("skipping: %s\n", no_namespace);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
