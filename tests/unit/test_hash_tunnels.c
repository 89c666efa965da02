/* SPDX-License-Identifier: MIT */
/* Receive hash of tunnels: whose inner header is hashed, and which tunnel is of which type. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "nic/hash.h"
#include "packet.h"

enum {
    IPIP = 4,
    REPORT_IPV4 = 1,
    REPORT_TCPV4,
    REPORT_UDPV4,
    REPORT_IPV6,
    REPORT_TCPV6,
    /* The inner packet's answer under the published key. */
    INNER_V4 = 0x51ccc178,
    INNER_V6 = 0x40207d3d,
    PAYLOAD_IPV4 = 0x0800,
    PAYLOAD_IPV6 = 0x86dd,
    PAYLOAD_ETHERNET = 0x6558,
};

/* A tunnel: IP version and protocol of the outer packet, the bytes between it and the inner one. */
struct tunnel {
    const char *name;
    unsigned outer, protocol; /* protocol: or the UDP port, if above 255 */
    uint8_t header[16];
    uint32_t header_len;
    unsigned payload;
    uint32_t types; /* what it is: hashed inside with any of these enabled */
};

static const struct tunnel tunnels[] = {
    {"GRE", 4, PACKET_GRE, {0, 0, 8, 0}, 4, PAYLOAD_IPV4, HASH_TUNNEL_GRE_2784},
    {"GRE, checksum", 4, PACKET_GRE, {0x80, 0, 8, 0}, 8, PAYLOAD_IPV4, HASH_TUNNEL_GRE_2784},
    {"gretap", 4, PACKET_GRE, {0, 0, 0x65, 0x58}, 4, PAYLOAD_ETHERNET, HASH_TUNNEL_GRE_2784},
    {"GRE, key", 4, PACKET_GRE, {0x20, 0, 8, 0}, 8, PAYLOAD_IPV4, HASH_TUNNEL_GRE_2890},
    {"GRE, number", 4, PACKET_GRE, {0x10, 0, 8, 0}, 8, PAYLOAD_IPV4, HASH_TUNNEL_GRE_2890},
    {"GRE, all", 4, PACKET_GRE, {0xb0, 0, 8, 0}, 16, PAYLOAD_IPV4, HASH_TUNNEL_GRE_2890},
    {"GRE, v6 in v4", 4, PACKET_GRE, {0, 0, 0x86, 0xdd}, 4, PAYLOAD_IPV6, HASH_TUNNEL_GRE_7676},
    {"GRE, v4 in v6", 6, PACKET_GRE, {0, 0, 8, 0}, 4, PAYLOAD_IPV4, HASH_TUNNEL_GRE_7676},
    {"GRE, v6 in v6", 6, PACKET_GRE, {0x20, 0, 0x86, 0xdd}, 8, PAYLOAD_IPV6, HASH_TUNNEL_GRE_7676},
    {"NVGRE",
     4,
     PACKET_GRE,
     {0x20, 0, 0x65, 0x58},
     8,
     PAYLOAD_ETHERNET,
     HASH_TUNNEL_NVGRE | HASH_TUNNEL_GRE_2890},
    {"NVGRE over v6",
     6,
     PACKET_GRE,
     {0x20, 0, 0x65, 0x58},
     8,
     PAYLOAD_ETHERNET,
     HASH_TUNNEL_NVGRE | HASH_TUNNEL_GRE_7676},
    {"GRE in UDP", 4, 4754, {0x20, 0, 8, 0}, 8, PAYLOAD_IPV4, HASH_TUNNEL_GRE_UDP},
    {"GRE in UDP over v6", 6, 4754, {0, 0, 0x86, 0xdd}, 4, PAYLOAD_IPV6, HASH_TUNNEL_GRE_UDP},
    {"VXLAN", 4, 4789, {8}, 8, PAYLOAD_ETHERNET, HASH_TUNNEL_VXLAN},
    {"VXLAN over v6", 6, 4789, {8}, 8, PAYLOAD_ETHERNET, HASH_TUNNEL_VXLAN},
    {"VXLAN-GPE, v4", 4, 4790, {0xc, 0, 0, 1}, 8, PAYLOAD_IPV4, HASH_TUNNEL_VXLAN_GPE},
    {"VXLAN-GPE, v6", 4, 4790, {0xc, 0, 0, 2}, 8, PAYLOAD_IPV6, HASH_TUNNEL_VXLAN_GPE},
    {"VXLAN-GPE, frame", 4, 4790, {0xc, 0, 0, 3}, 8, PAYLOAD_ETHERNET, HASH_TUNNEL_VXLAN_GPE},
    {"VXLAN-GPE, as VXLAN", 4, 4790, {8}, 8, PAYLOAD_ETHERNET, HASH_TUNNEL_VXLAN_GPE},
    {"GENEVE", 4, 6081, {0, 0, 0x65, 0x58}, 8, PAYLOAD_ETHERNET, HASH_TUNNEL_GENEVE},
    {"GENEVE, options", 6, 6081, {2, 0x40, 0x65, 0x58}, 16, PAYLOAD_ETHERNET, HASH_TUNNEL_GENEVE},
    {"GENEVE, v4", 4, 6081, {0, 0, 8, 0}, 8, PAYLOAD_IPV4, HASH_TUNNEL_GENEVE},
    {"IPIP", 4, IPIP, {0}, 0, PAYLOAD_IPV4, HASH_TUNNEL_IPIP},
};

/* Look like tunnels, and are none whose payload could be known. */
static const struct tunnel impostors[] = {
    {"GRE, routing", 4, PACKET_GRE, {0x40, 0, 8, 0}, 4, PAYLOAD_IPV4, 0},
    {"GRE, version 1", 4, PACKET_GRE, {0x20, 1, 8, 0}, 8, PAYLOAD_IPV4, 0},
    {"GRE, ARP inside", 4, PACKET_GRE, {0, 0, 8, 6}, 4, PAYLOAD_IPV4, 0},
    {"VXLAN, no number", 4, 4789, {0}, 8, PAYLOAD_ETHERNET, 0},
    {"VXLAN-GPE, control", 4, 4790, {0xd, 0, 0, 1}, 8, PAYLOAD_IPV4, 0},
    {"VXLAN-GPE, version", 4, 4790, {0x1c, 0, 0, 1}, 8, PAYLOAD_IPV4, 0},
    {"VXLAN-GPE, NSH", 4, 4790, {0xc, 0, 0, 4}, 8, PAYLOAD_IPV4, 0},
    {"GENEVE, version", 4, 6081, {0x40, 0, 0x65, 0x58}, 8, PAYLOAD_ETHERNET, 0},
    {"GENEVE, control", 4, 6081, {0, 0x80, 0x65, 0x58}, 8, PAYLOAD_ETHERNET, 0},
    {"v4 in v6", 6, IPIP, {0}, 0, PAYLOAD_IPV4, 0},
    {"another port", 4, 4788, {8}, 8, PAYLOAD_ETHERNET, 0},
};

static void put_inner(struct packet *packet, unsigned payload)
{
    int is_v6 = payload == PAYLOAD_IPV6;

    if (payload == PAYLOAD_ETHERNET)
        packet_put_ethernet(packet, NULL, PAYLOAD_IPV4);
    packet_put_ip(packet, PACKET_TCP, is_v6 ? "3ffe:2501:200:1fff::7" : "66.9.149.187",
                  is_v6 ? "3ffe:2501:200:3::1" : "161.142.100.80");
    packet_put_ports(packet, 2794, 1766);
}

/* Returns where the inner packet's IP header starts. */
static uint32_t put_tunnel(struct packet *packet, const struct tunnel *tunnel)
{
    int is_udp = tunnel->protocol > 255;

    packet->len = 0;
    packet_put_ethernet(packet, NULL, tunnel->outer == 6 ? PAYLOAD_IPV6 : PAYLOAD_IPV4);
    packet_put_ip(packet, is_udp ? PACKET_UDP : (uint8_t)tunnel->protocol,
                  tunnel->outer == 6 ? "2001:db8::1" : "10.0.0.1",
                  tunnel->outer == 6 ? "2001:db8::2" : "10.0.0.2");
    if (is_udp)
        packet_put_udp(packet, tunnel->protocol);
    packet_put(packet, tunnel->header, tunnel->header_len);
    put_inner(packet, tunnel->payload);
    return packet->len - PACKET_PORTS_LEN -
           (tunnel->payload == PAYLOAD_IPV6 ? PACKET_IPV6_LEN : PACKET_IPV4_LEN);
}

static struct frame_hash hash_cut(uint32_t types, uint32_t enabled, const struct packet *packet,
                                  uint32_t len)
{
    struct hash_config config = {.types = types, .tunnels = enabled};
    uint8_t *exact = malloc(len + 1);
    struct frame_hash hash;

    assert_non_null(exact);
    memcpy(exact + 1, packet->bytes, len);
    hash_set_key(&config, packet_known_key, sizeof(packet_known_key));
    hash = hash_compute(&config, exact + 1, len);
    free(exact);
    return hash;
}

static int same(struct frame_hash a, struct frame_hash b)
{
    return a.value == b.value && a.report == b.report;
}

static struct frame_hash inner_hash(const struct tunnel *tunnel)
{
    return tunnel->payload == PAYLOAD_IPV6 ? (struct frame_hash){INNER_V6, REPORT_TCPV6}
                                           : (struct frame_hash){INNER_V4, REPORT_TCPV4};
}

static void NET_HASH_06_inner_header_where_the_type_is_enabled(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(tunnels); i++) {
        const struct tunnel *tunnel = &tunnels[i];
        struct packet packet;
        struct frame_hash outer;

        put_tunnel(&packet, tunnel);
        outer = hash_cut(HASH_TYPES_ALL, 0, &packet, packet.len);
        assert_int_not_equal(outer.report, HASH_REPORT_NONE);
        for (uint32_t type = 1; type < HASH_TUNNELS_ALL; type <<= 1) {
            struct frame_hash hash = hash_cut(HASH_TYPES_ALL, type, &packet, packet.len);

            check(same(hash, tunnel->types & type ? inner_hash(tunnel) : outer),
                  "%s under type %#x: report %u and %08x", tunnel->name, type, hash.report,
                  hash.value);
        }
    }
}

static void NET_HASH_06_outer_header_of_what_is_no_tunnel(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(impostors); i++) {
        struct packet packet;

        put_tunnel(&packet, &impostors[i]);
        check(same(hash_cut(HASH_TYPES_ALL, HASH_TUNNELS_ALL, &packet, packet.len),
                   hash_cut(HASH_TYPES_ALL, 0, &packet, packet.len)),
              "%s was taken for a tunnel", impostors[i].name);
    }
}

/* Hash types are asked of the inner header then, and of nothing else. */
static void NET_HASH_06_types_count_for_the_inner_header(void **state)
{
    struct packet packet;
    struct frame_hash hash;

    (void)state;
    put_tunnel(&packet, &tunnels[13]);
    hash = hash_cut(HASH_UDPV4, 0, &packet, packet.len);
    assert_int_equal(hash.report, REPORT_UDPV4);
    hash = hash_cut(HASH_UDPV4, HASH_TUNNEL_VXLAN, &packet, packet.len);
    assert_int_equal(hash.report, HASH_REPORT_NONE);
}

static void NET_HASH_06_one_level_only(void **state)
{
    struct packet packet = {.len = 0};
    struct frame_hash hash;

    (void)state;
    packet_put_ethernet(&packet, NULL, PAYLOAD_IPV4);
    packet_put_ip(&packet, IPIP, "10.0.0.1", "10.0.0.2");
    packet_put_ip(&packet, IPIP, "66.9.149.187", "161.142.100.80");
    put_inner(&packet, PAYLOAD_IPV4);
    hash = hash_cut(HASH_TYPES_ALL, HASH_TUNNELS_ALL, &packet, packet.len);
    assert_int_equal(hash.report, REPORT_IPV4);
    assert_int_equal(hash.value, 0x323e8fc2);
}

/* A fragment's bytes may be any part of the inner packet. */
static void NET_HASH_03_fragments_of_a_tunnel_are_not_looked_into(void **state)
{
    struct packet packet;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(tunnels); i++) {
        if (tunnels[i].outer == 6)
            continue;
        put_tunnel(&packet, &tunnels[i]);
        packet.bytes[PACKET_ETHERNET_LEN + 6] = 0x20;
        assert_int_equal(hash_cut(HASH_TYPES_ALL, HASH_TUNNELS_ALL, &packet, packet.len).report,
                         REPORT_IPV4);
    }
}

static void NET_HASH_07_tunnels_cut_at_every_length(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(tunnels); i++) {
        struct packet packet;
        uint32_t inner_at = put_tunnel(&packet, &tunnels[i]);
        uint32_t inner_len = packet.len - PACKET_PORTS_LEN - inner_at;

        for (uint32_t len = 0; len < inner_at + inner_len; len++)
            check(same(hash_cut(HASH_TYPES_ALL, HASH_TUNNELS_ALL, &packet, len),
                       hash_cut(HASH_TYPES_ALL, 0, &packet, len)),
                  "%s cut at %u: not the outer header", tunnels[i].name, len);
        for (uint32_t len = inner_at + inner_len; len < packet.len; len++)
            check(hash_cut(HASH_TYPES_ALL, HASH_TUNNELS_ALL, &packet, len).report ==
                      inner_hash(&tunnels[i]).report - 1,
                  "%s cut at %u: not the inner addresses", tunnels[i].name, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NET_HASH_06_inner_header_where_the_type_is_enabled),
        cmocka_unit_test(NET_HASH_06_outer_header_of_what_is_no_tunnel),
        cmocka_unit_test(NET_HASH_06_types_count_for_the_inner_header),
        cmocka_unit_test(NET_HASH_06_one_level_only),
        cmocka_unit_test(NET_HASH_03_fragments_of_a_tunnel_are_not_looked_into),
        cmocka_unit_test(NET_HASH_07_tunnels_cut_at_every_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
