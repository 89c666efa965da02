/* SPDX-License-Identifier: MIT */
/* Large frames on their way to a guest, through the whole daemon: segments of one flow are one
 * frame for a driver that takes such, and stay as they are for one that does not; datagrams that
 * come large stay so for a driver that takes those of their family. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "packet.h"
#include "testbed.h"

#define MODERN     (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define GUEST_CSUM (1ull << 1)
#define GUEST_TSO4 (1ull << 7)
#define RSC_EXT    (1ull << 61)
#define CSUM       (1ull << 0)
#define GUEST_USO4 (1ull << 54)
#define HOST_USO   (1ull << 56)

enum {
    SEGMENTS = 5,
    PAYLOAD_LEN = 1000,
    LAST_LEN = 300,
    TCP_AT = PACKET_ETHERNET_LEN + PACKET_IPV4_LEN,
    HEADERS_LEN = TCP_AT + 20,
    TOTAL_LEN = (SEGMENTS - 1) * PAYLOAD_LEN + LAST_LEN,
    NONE = SEGMENTS,
    FLAG_PSH_ACK = 0x18,
    FLAG_ACK = 0x10,
    NEEDS_CSUM = 1,
    GSO_TCPV4 = 1,
    GSO_UDP_L4 = 5,
};

struct train {
    unsigned id_step; /* of the identification, from segment to segment */
    unsigned damaged; /* the number of one whose payload was changed; or NONE */
};

static uint8_t payload_byte(uint32_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

static uint16_t folded(const uint8_t *bytes, uint32_t len, uint32_t sum)
{
    for (uint32_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void segment_make(struct packet *packet, const uint8_t mac[6], const struct train *train,
                         unsigned index)
{
    uint32_t len = index == SEGMENTS - 1 ? LAST_LEN : PAYLOAD_LEN;
    uint32_t seq = index * PAYLOAD_LEN;
    uint8_t *ip, *tcp;

    *packet = (struct packet){0};
    packet_put_ethernet(packet, mac, 0x0800);
    packet_put_ip(packet, PACKET_TCP, "10.0.0.1", "10.0.0.2");
    packet_put_ports(packet, 80, 40000);
    for (uint32_t i = 0; i < len; i++)
        packet->bytes[packet->len++] = payload_byte(seq + i);
    ip = packet->bytes + PACKET_ETHERNET_LEN;
    tcp = packet->bytes + TCP_AT;
    put16(ip + 2, 40 + len);
    put16(ip + 4, index * train->id_step);
    put16(ip + 10, 0);
    put16(ip + 10, folded(ip, 20, 0));
    put16(tcp + 4, seq >> 16);
    put16(tcp + 6, seq);
    tcp[12] = 0x50;
    tcp[13] = index == SEGMENTS - 1 ? FLAG_PSH_ACK : FLAG_ACK;
    put16(tcp + 16, 0);
    put16(tcp + 16, folded(tcp, 20 + len, folded(ip + 12, 8, 6 + 20 + len) ^ 0xffff));
    if (index == train->damaged)
        packet->bytes[packet->len - 1] ^= 1;
}

static struct testbed_nic *start(void **state, uint64_t features)
{
    struct testbed_options options = {.features = MODERN | features, .mergeable = 1};
    struct testbed_nic *nic = &testbed_start(state, &options)->nic[VICTIM];

    check((nic->fe.features & features) == features, "offered: %#llx",
          (unsigned long long)nic->fe.offered);
    return nic;
}

/* All of them with one kick. */
static void send_train(struct testbed_nic *nic, const struct train *train)
{
    struct packet packet;

    for (unsigned i = 0; i < SEGMENTS; i++) {
        segment_make(&packet, nic->mac, train, i);
        if (i < SEGMENTS - 1)
            net_driver_queue(&nic->net[0], packet.bytes, packet.len);
        else
            net_driver_send(&nic->net[0], packet.bytes, packet.len);
    }
    net_driver_drain(&nic->net[0]);
}

static void expect_segments(struct testbed_nic *nic, const struct train *train, unsigned from,
                            unsigned to)
{
    uint8_t got[NET_FRAME_MAX];
    struct packet packet;

    for (unsigned i = from; i < to; i++) {
        segment_make(&packet, nic->mac, train, i);
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS),
                         packet.len);
        assert_memory_equal(got, packet.bytes, packet.len);
        assert_int_equal(nic->net[0].last_header.flags | nic->net[0].last_header.gso_type, 0);
    }
}

/* One frame of the segments from `from` to the end. */
static void expect_merged(struct testbed_nic *nic, unsigned from)
{
    const struct net_header *header = &nic->net[0].last_header;
    uint32_t first = from * PAYLOAD_LEN;
    uint8_t got[NET_FRAME_MAX];

    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS),
                     HEADERS_LEN + TOTAL_LEN - first);
    assert_int_equal(header->flags, NEEDS_CSUM);
    assert_int_equal(header->gso_type, GSO_TCPV4);
    assert_int_equal(header->gso_size, PAYLOAD_LEN);
    assert_int_equal(header->csum_start, TCP_AT);
    assert_int_equal(header->csum_offset, 16);
    assert_true(header->hdr_len >= HEADERS_LEN);
    assert_int_equal(got[16] << 8 | got[17], 40 + TOTAL_LEN - first);
    assert_int_equal(folded(got + PACKET_ETHERNET_LEN, 20, 0), 0);
    for (uint32_t i = 0; i < TOTAL_LEN - first; i++)
        assert_int_equal(got[HEADERS_LEN + i], payload_byte(first + i));
}

static void NET_RX_07_NET_RX_10_a_train_is_one_frame_for_a_driver_that_takes_it(void **state)
{
    struct testbed_nic *nic = start(state, GUEST_CSUM | GUEST_TSO4);

    assert_false(nic->fe.offered & RSC_EXT); /* so RSC_INFO is never among the flags */
    for (unsigned i = 0; i < 3; i++) {
        send_train(nic, &(struct train){.id_step = 1, .damaged = NONE});
        expect_merged(nic, 0);
    }
    testbed_expect_silence(nic, 0);
    testbed_finish(*state);
}

static void NET_RX_07_a_train_stays_one_for_a_driver_that_does_not(void **state)
{
    struct testbed_nic *nic = start(state, GUEST_CSUM);
    struct train train = {.id_step = 1, .damaged = NONE};

    send_train(nic, &train);
    expect_segments(nic, &train, 0, SEGMENTS);
    testbed_finish(*state);
}

/* As passt sends it: nothing is counted, and nothing said of fragments. */
static void NET_RX_08_a_train_without_numbers_is_one_frame(void **state)
{
    struct testbed_nic *nic = start(state, GUEST_CSUM | GUEST_TSO4);

    send_train(nic, &(struct train){.id_step = 0, .damaged = NONE});
    expect_merged(nic, 0);
    testbed_expect_silence(nic, 0);
    testbed_finish(*state);
}

static void NET_RX_06_a_damaged_segment_reaches_the_driver_as_it_is(void **state)
{
    struct testbed_nic *nic = start(state, GUEST_CSUM | GUEST_TSO4);
    struct train train = {.id_step = 1, .damaged = 0};

    send_train(nic, &train);
    expect_segments(nic, &train, 0, 1);
    expect_merged(nic, 1);
    testbed_finish(*state);
}

static void NET_RX_08_datagrams_for_a_driver_that_takes_one_family(void **state)
{
    struct testbed_nic *nic = start(state, CSUM | GUEST_CSUM | HOST_USO | GUEST_USO4);
    const struct net_header header = {.flags = NEEDS_CSUM,
                                      .gso_type = GSO_UDP_L4,
                                      .gso_size = 100,
                                      .csum_start = TCP_AT,
                                      .csum_offset = 6};
    uint8_t got[NET_FRAME_MAX];
    struct packet packet = {0};

    packet_put_ethernet(&packet, nic->mac, 0x0800);
    packet_put_ip(&packet, PACKET_UDP, "10.0.0.1", "10.0.0.2");
    packet_put_udp(&packet, 5000);
    packet_put_zeros(&packet, 450);
    packet_finish_udp(&packet);
    net_driver_queue_with(&nic->net[0], &header, packet.bytes, packet.len);
    driver_ring_flush(&testbed_tx(nic, 0)->ring);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), packet.len);
    assert_memory_equal(got, packet.bytes, packet.len);
    assert_int_equal(nic->net[0].last_header.gso_type, GSO_UDP_L4);
    assert_int_equal(nic->net[0].last_header.gso_size, 100);
    net_driver_drain(&nic->net[0]);
    testbed_finish(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            NET_RX_07_NET_RX_10_a_train_is_one_frame_for_a_driver_that_takes_it, testbed_setup,
            testbed_teardown),
        cmocka_unit_test_setup_teardown(NET_RX_07_a_train_stays_one_for_a_driver_that_does_not,
                                        testbed_setup, testbed_teardown),
        cmocka_unit_test_setup_teardown(NET_RX_08_a_train_without_numbers_is_one_frame,
                                        testbed_setup, testbed_teardown),
        cmocka_unit_test_setup_teardown(NET_RX_06_a_damaged_segment_reaches_the_driver_as_it_is,
                                        testbed_setup, testbed_teardown),
        cmocka_unit_test_setup_teardown(NET_RX_08_datagrams_for_a_driver_that_takes_one_family,
                                        testbed_setup, testbed_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
