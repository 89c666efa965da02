/* SPDX-License-Identifier: MIT */
/* HASH_REPORT through the whole daemon: the longer net header, and what stands in it for each kind
 * of frame. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "rss_driver.h"
#include "testbed.h"

#define MODERN      (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define HASH_TUNNEL (1ull << 51)
#define HASH_REPORT (1ull << 57)
#define RSS         (1ull << 60)

enum {
    REPORT_NONE,
    REPORT_IPV4,
    REPORT_TCPV4,
    REPORT_UDPV4,
    REPORT_IPV6,
    REPORT_TCPV6,
    REPORT_UDPV6,
    REPORT_IPV6_EX,
    REPORT_TCPV6_EX,
    TUNNEL_VXLAN = 1 << 4,
    V4_ADDRESSES = PACKET_ETHERNET_LEN + 12,
    V6_ADDRESSES = PACKET_ETHERNET_LEN + 8,
};

struct report_bed {
    struct testbed *bed;
    struct testbed_nic *nic;
    struct control_driver control;
};

static struct report_bed start(void **state, struct testbed_options options)
{
    struct report_bed bed;

    options.features |= MODERN | HASH_REPORT;
    options.control = 1;
    options.start = front_end_start_crosvm;
    bed = (struct report_bed){.bed = testbed_start(state, &options)};
    bed.nic = &bed.bed->nic[VICTIM];
    check((bed.nic->fe.features & options.features) == options.features, "offered: %#llx",
          (unsigned long long)bed.nic->fe.offered);
    assert_int_equal(bed.nic->net[0].options.header_len, NET_HEADER_HASH);
    control_driver_init(&bed.control, bed.nic->ring[2 * bed.nic->options.pairs], 0);
    return bed;
}

static void set_types(struct report_bed *bed, uint32_t types)
{
    assert_int_equal(rss_driver_hash_config(&bed->control, types), CONTROL_ACK_OK);
}

/* From pair 0 to pair `to`; returns the header that came with it. */
static const struct net_header *exchange(struct report_bed *bed, unsigned to,
                                         const struct packet *packet)
{
    uint8_t got[NET_FRAME_MAX];
    int len;

    net_driver_send(&bed->nic->net[0], packet->bytes, packet->len);
    len = net_driver_receive(&bed->nic->net[to], got, sizeof(got), WAIT_LONG_MS);
    check(len == (int)packet->len, "%d bytes came of %u", len, packet->len);
    assert_memory_equal(got, packet->bytes, packet->len);
    net_driver_drain(&bed->nic->net[0]);
    return &bed->nic->net[to].last_header;
}

static void expect(struct report_bed *bed, const struct packet *packet, unsigned report,
                   uint32_t value)
{
    const struct net_header *header = exchange(bed, 0, packet);

    check(header->hash_report == report && header->hash_value == value,
          "report %u and %08x, not %u and %08x", header->hash_report, header->hash_value, report,
          value);
    assert_int_equal(header->flags | header->gso_type, 0);
}

static struct packet flow(struct report_bed *bed, unsigned number)
{
    struct packet packet;

    rss_flow_make(&packet, bed->nic->mac, number, number);
    return packet;
}

static uint32_t hash_v4_addresses(const struct packet *packet)
{
    return packet_toeplitz(packet_known_key, packet->bytes + V4_ADDRESSES, 8);
}

static uint32_t hash_v6_addresses(const struct packet *packet)
{
    return packet_toeplitz(packet_known_key, packet->bytes + V6_ADDRESSES, 32);
}

/* ---- kinds of frames, all types on ---- */

static void check_v4(struct report_bed *bed)
{
    struct packet packet = flow(bed, 0);

    expect(bed, &packet, REPORT_TCPV4, rss_flow_hash(&packet));
    packet.bytes[PACKET_ETHERNET_LEN + 6] = 0x20; /* more fragments */
    expect(bed, &packet, REPORT_IPV4, hash_v4_addresses(&packet));
    packet = flow(bed, 2);
    expect(bed, &packet, REPORT_UDPV4, rss_flow_hash(&packet));
    packet.bytes[PACKET_ETHERNET_LEN + 7] = 1; /* the second fragment */
    expect(bed, &packet, REPORT_IPV4, hash_v4_addresses(&packet));
    packet = flow(bed, 4);
    packet.bytes[PACKET_ETHERNET_LEN + 9] = PACKET_NO_PORTS;
    expect(bed, &packet, REPORT_IPV4, hash_v4_addresses(&packet));
}

/* A home address stands for the source's. */
static void check_home_address(struct report_bed *bed)
{
    struct packet packet = {.len = 0}, plain = flow(bed, 5);
    const uint8_t *addresses = plain.bytes + V6_ADDRESSES;

    packet_put_ethernet(&packet, bed->nic->mac, 0x86dd);
    packet_put_ip(&packet, PACKET_DESTINATION, "2001:db8::99", "2001:db8:1::1");
    packet_put(&packet, (uint8_t[]){PACKET_TCP, 2, 1, 2, 0, 0, 201, 16}, 8);
    packet_put(&packet, addresses, 16);
    packet_put(&packet, plain.bytes + PACKET_ETHERNET_LEN + PACKET_IPV6_LEN, PACKET_PORTS_LEN);
    expect(bed, &packet, REPORT_TCPV6_EX, rss_flow_hash(&plain));
}

static void check_v6(struct report_bed *bed)
{
    struct packet packet = flow(bed, 1);

    expect(bed, &packet, REPORT_TCPV6, rss_flow_hash(&packet));
    packet.bytes[PACKET_ETHERNET_LEN + 6] = PACKET_NO_PORTS;
    expect(bed, &packet, REPORT_IPV6, hash_v6_addresses(&packet));
    packet.bytes[PACKET_ETHERNET_LEN + 6] = PACKET_FRAGMENT;
    expect(bed, &packet, REPORT_IPV6_EX, hash_v6_addresses(&packet));
    packet = flow(bed, 3);
    expect(bed, &packet, REPORT_UDPV6, rss_flow_hash(&packet));
    check_home_address(bed);
}

static void check_others(struct report_bed *bed)
{
    struct packet packet = flow(bed, 6), tagged = {.len = 0};

    packet_put(&tagged, packet.bytes, 12);
    packet_put(&tagged, (uint8_t[]){0x81, 0, 0, 5}, 4);
    packet_put(&tagged, packet.bytes + 12, packet.len - 12);
    expect(bed, &tagged, REPORT_UDPV4, rss_flow_hash(&packet));
    packet.bytes[13] = 6; /* ARP */
    expect(bed, &packet, REPORT_NONE, 0);
    packet.len = PACKET_ETHERNET_LEN; /* nothing but the Ethernet header */
    expect(bed, &packet, REPORT_NONE, 0);
}

static void run(void **state, struct testbed_options options)
{
    struct report_bed bed = start(state, options);
    struct packet packet = {.len = 0};

    set_types(&bed, RSS_HASH_ALL);
    for (unsigned round = 0; round < 3; round++) {
        check_v4(&bed);
        check_v6(&bed);
        check_others(&bed);
    }
    packet = flow(&bed, 0);
    packet_put_zeros(&packet, 1200);
    expect(&bed, &packet, REPORT_TCPV4, rss_flow_hash(&packet));
    testbed_finish(bed.bed);
}

static void NET_HASH_05_value_and_type_split(void **state)
{
    run(state, (struct testbed_options){0});
}

static void NET_HASH_05_value_and_type_packed(void **state)
{
    run(state, (struct testbed_options){.features = VIRTIO_F_RING_PACKED});
}

/* The header alone in a descriptor, the frame in another. */
static void NET_HASH_05_value_and_type_in_a_buffer_of_its_own(void **state)
{
    run(state, (struct testbed_options){.shape = CHAIN_INDIRECT});
}

static void NET_HASH_05_value_and_type_mergeable(void **state)
{
    run(state, (struct testbed_options){.mergeable = 1, .rx_buffer_len = 64});
}

static void NET_HASH_05_value_and_type_mergeable_packed(void **state)
{
    run(state, (struct testbed_options){
                   .features = VIRTIO_F_RING_PACKED, .mergeable = 1, .rx_buffer_len = 50});
}

/* ---- what is on ---- */

static void NET_HASH_05_nothing_is_reported_at_first(void **state)
{
    struct report_bed bed = start(state, (struct testbed_options){0});

    for (unsigned number = 0; number < 4; number++) {
        struct packet packet = flow(&bed, number);

        expect(&bed, &packet, REPORT_NONE, 0);
    }
    testbed_finish(bed.bed);
}

static void NET_HASH_02_CTL_HASH_01_only_types_that_are_on(void **state)
{
    struct report_bed bed = start(state, (struct testbed_options){0});
    struct packet tcp = flow(&bed, 0), udp = flow(&bed, 2), tcp6 = flow(&bed, 1);

    set_types(&bed, RSS_HASH_TCPV4);
    expect(&bed, &tcp, REPORT_TCPV4, rss_flow_hash(&tcp));
    expect(&bed, &udp, REPORT_NONE, 0);
    expect(&bed, &tcp6, REPORT_NONE, 0);
    set_types(&bed, RSS_HASH_IPV4 | RSS_HASH_UDPV4 | RSS_HASH_IPV6);
    expect(&bed, &tcp, REPORT_IPV4, hash_v4_addresses(&tcp));
    expect(&bed, &udp, REPORT_UDPV4, rss_flow_hash(&udp));
    expect(&bed, &tcp6, REPORT_IPV6, hash_v6_addresses(&tcp6));
    set_types(&bed, 0);
    expect(&bed, &tcp, REPORT_NONE, 0);
    testbed_finish(bed.bed);
}

static void NET_HASH_06_inner_header_of_tunnels(void **state)
{
    struct report_bed bed = start(state, (struct testbed_options){.features = HASH_TUNNEL});
    struct packet inner = flow(&bed, 0), outer = {.len = 0};
    uint32_t outer_hash;

    packet_put_ethernet(&outer, bed.nic->mac, 0x0800);
    packet_put_ip(&outer, PACKET_UDP, "192.0.2.1", "192.0.2.2");
    packet_put_udp(&outer, 4789);
    outer_hash = rss_flow_hash(&outer);
    packet_put(&outer, (uint8_t[]){8, 0, 0, 0, 0, 0, 1, 0}, 8);
    packet_put(&outer, inner.bytes, inner.len);
    set_types(&bed, RSS_HASH_ALL);
    expect(&bed, &outer, REPORT_UDPV4, outer_hash);
    assert_int_equal(rss_driver_hash_tunnels(&bed.control, TUNNEL_VXLAN), CONTROL_ACK_OK);
    expect(&bed, &outer, REPORT_TCPV4, rss_flow_hash(&inner));
    assert_int_equal(rss_driver_hash_tunnels(&bed.control, TUNNEL_VXLAN << 1), CONTROL_ACK_OK);
    expect(&bed, &outer, REPORT_UDPV4, outer_hash);
    assert_int_equal(rss_driver_hash_tunnels(&bed.control, 0), CONTROL_ACK_OK);
    expect(&bed, &outer, REPORT_UDPV4, outer_hash);
    testbed_finish(bed.bed);
}

/* Frames that go from one worker's pair to another's bring their hash along. */
static void NET_HASH_05_report_of_frames_that_rss_moved(void **state)
{
    struct report_bed bed =
        start(state, (struct testbed_options){.features = RSS, .pairs = 2, .workers = 2});
    struct rss_setup setup = {.types = RSS_HASH_ALL, .mask = 1, .table = {0, 1}, .pairs = 2};

    assert_int_equal(rss_driver_config(&bed.control, &setup), CONTROL_ACK_OK);
    for (unsigned number = 0; number < 60; number++) {
        static const unsigned reports[] = {REPORT_TCPV4, REPORT_TCPV6, REPORT_UDPV4, REPORT_UDPV6};
        struct packet packet = flow(&bed, number);
        uint32_t hash = rss_flow_hash(&packet);
        const struct net_header *header = exchange(&bed, hash & 1, &packet);

        assert_int_equal(header->hash_value, hash);
        assert_int_equal(header->hash_report, reports[number % 4]);
    }
    testbed_finish(bed.bed);
}

/* ---- life ---- */

/* While types change a frame has the report of the old ones or of the new ones, and its value. */
static void CTL_HASH_01_types_change_under_traffic(void **state)
{
    struct report_bed bed = start(state, (struct testbed_options){0});
    struct packet packet = flow(&bed, 0);
    uint32_t with_ports = rss_flow_hash(&packet), without = hash_v4_addresses(&packet);
    uint8_t got[NET_FRAME_MAX];

    set_types(&bed, RSS_HASH_IPV4);
    for (unsigned round = 1; round <= 100; round++) {
        for (unsigned i = 0; i < 20; i++)
            net_driver_queue(&bed.nic->net[0], packet.bytes, packet.len);
        driver_ring_flush(bed.nic->net[0].tx);
        set_types(&bed, round % 2 != 0 ? RSS_HASH_IPV4 | RSS_HASH_TCPV4 : RSS_HASH_IPV4);
        for (unsigned i = 0; i < 20; i++) {
            const struct net_header *header = &bed.nic->net[0].last_header;

            assert_true(net_driver_receive(&bed.nic->net[0], got, sizeof(got), WAIT_LONG_MS) > 0);
            check((header->hash_report == REPORT_TCPV4 && header->hash_value == with_ports) ||
                      (header->hash_report == REPORT_IPV4 && header->hash_value == without),
                  "report %u and %08x", header->hash_report, header->hash_value);
        }
        net_driver_drain(&bed.nic->net[0]);
        expect(&bed, &packet, round % 2 != 0 ? REPORT_TCPV4 : REPORT_IPV4,
               round % 2 != 0 ? with_ports : without);
    }
    testbed_finish(bed.bed);
}

static void GEN_RST_03_reset_ends_hashing(void **state)
{
    struct report_bed bed = start(state, (struct testbed_options){.features = HASH_TUNNEL});
    struct packet packet = flow(&bed, 0);

    set_types(&bed, RSS_HASH_ALL);
    assert_int_equal(rss_driver_hash_tunnels(&bed.control, TUNNEL_VXLAN), CONTROL_ACK_OK);
    expect(&bed, &packet, REPORT_TCPV4, rss_flow_hash(&packet));
    assert_int_equal(front_end_simple(&bed.nic->fe, VU_RESET_DEVICE), 0);
    testbed_restart_rings(bed.nic, 0);
    bed.nic->options.start(&bed.nic->fe, &bed.nic->setup);
    net_driver_post(&bed.nic->net[0], bed.nic->net[0].rx_slots);
    expect(&bed, &packet, REPORT_NONE, 0);
    testbed_finish(bed.bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_HASH_05_value_and_type_split),
        TESTBED_TEST(NET_HASH_05_value_and_type_packed),
        TESTBED_TEST(NET_HASH_05_value_and_type_in_a_buffer_of_its_own),
        TESTBED_TEST(NET_HASH_05_value_and_type_mergeable),
        TESTBED_TEST(NET_HASH_05_value_and_type_mergeable_packed),
        TESTBED_TEST(NET_HASH_05_nothing_is_reported_at_first),
        TESTBED_TEST(NET_HASH_02_CTL_HASH_01_only_types_that_are_on),
        TESTBED_TEST(NET_HASH_06_inner_header_of_tunnels),
        TESTBED_TEST(NET_HASH_05_report_of_frames_that_rss_moved),
        TESTBED_TEST(CTL_HASH_01_types_change_under_traffic),
        TESTBED_TEST(GEN_RST_03_reset_ends_hashing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
