/* SPDX-License-Identifier: MIT */
/*
 * Receive hash: the published answers, which bytes of a frame count, and frames cut short anywhere.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "nic/hash.h"
#include "packet.h"

enum {
    ETHERNET = PACKET_ETHERNET_LEN,
    IPV4 = PACKET_IPV4_LEN,
    IPV6 = PACKET_IPV6_LEN,
    TCP = PACKET_TCP,
    UDP = PACKET_UDP,
    NO_PORTS = PACKET_NO_PORTS,
    HOP_BY_HOP = PACKET_HOP_BY_HOP,
    ROUTING = PACKET_ROUTING,
    FRAGMENT = PACKET_FRAGMENT,
    DESTINATION = PACKET_DESTINATION,
    V4_ALL = HASH_IPV4 | HASH_TCPV4 | HASH_UDPV4,
    V6_ALL = HASH_IPV6 | HASH_TCPV6 | HASH_UDPV6,
    EX_ALL = HASH_IPV6_EX | HASH_TCPV6_EX | HASH_UDPV6_EX,
    REPORT_IPV4 = 1,
    REPORT_TCPV4,
    REPORT_UDPV4,
    REPORT_IPV6,
    REPORT_TCPV6,
    REPORT_UDPV6,
    REPORT_IPV6_EX,
    REPORT_TCPV6_EX,
    REPORT_UDPV6_EX,
};

/* ---- frames ---- */

static struct packet v4(uint8_t protocol)
{
    struct packet packet = {.len = 0};

    packet_put_ethernet(&packet, NULL, 0x0800);
    packet_put_ip(&packet, protocol, "66.9.149.187", "161.142.100.80");
    packet_put_ports(&packet, 2794, 1766);
    return packet;
}

/* Ethernet and IPv6 headers; the caller adds what `next` is. */
static struct packet v6(uint8_t next)
{
    struct packet packet = {.len = 0};

    packet_put_ethernet(&packet, NULL, 0x86dd);
    packet_put_ip(&packet, next, "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1");
    return packet;
}

/* ---- expectations ---- */

static struct hash_config config(uint32_t types)
{
    struct hash_config made = {.types = types};

    hash_set_key(&made, packet_known_key, sizeof(packet_known_key));
    return made;
}

/* From a heap block of just that length, so that the sanitizer sees what is read behind it. */
static struct frame_hash hash_cut(const struct hash_config *config, const struct packet *packet,
                                  uint32_t len)
{
    uint8_t *exact = malloc(len + 1);
    struct frame_hash hash;

    assert_non_null(exact);
    memcpy(exact + 1, packet->bytes, len);
    hash = hash_compute(config, exact + 1, len);
    free(exact);
    return hash;
}

static struct frame_hash hash_of(uint32_t types, const struct packet *packet)
{
    struct hash_config made = config(types);

    return hash_cut(&made, packet, packet->len);
}

#define assert_hash(hash, a_value, a_report)                                                       \
    do {                                                                                           \
        struct frame_hash got = hash;                                                              \
        check(got.report == (a_report) && got.value == (a_value),                                  \
              "line %d: report %u and %08x, not %u and %08x", __LINE__, got.report, got.value,     \
              (unsigned)(a_report), (unsigned)(a_value));                                          \
    } while (0)

/* ---- tests ---- */

static void NET_HASH_01_published_answers(void **state)
{
    static const struct {
        const char *from, *to;
        unsigned from_port, to_port;
        uint32_t ports, addresses;
    } known[] = {
        {"66.9.149.187", "161.142.100.80", 2794, 1766, 0x51ccc178, 0x323e8fc2},
        {"199.92.111.2", "65.69.140.83", 14230, 4739, 0xc626b0ea, 0xd718262a},
        {"24.19.198.95", "12.22.207.184", 12898, 38024, 0x5c2b394a, 0xd2d0a5de},
        {"38.27.205.30", "209.142.163.6", 48228, 2217, 0xafc7327f, 0x82989176},
        {"153.39.163.191", "202.188.127.2", 44251, 1303, 0x10e828a2, 0x5d1809c5},
        {"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x40207d3d, 0x2cc18cd5},
        {"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0xdde51bbf, 0x0f0c461c},
        {"3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024,
         0x02d1feef, 0x4b61e985},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(known); i++) {
        int is_v6 = strchr(known[i].from, ':') != NULL;
        unsigned family = is_v6 ? REPORT_IPV6 : REPORT_IPV4;
        struct packet packet = {.len = 0};

        packet_put_ethernet(&packet, NULL, is_v6 ? 0x86dd : 0x0800);
        packet_put_ip(&packet, TCP, known[i].from, known[i].to);
        packet_put_ports(&packet, known[i].from_port, known[i].to_port);
        assert_hash(hash_of(HASH_TYPES_ALL, &packet), known[i].ports, family + 1);
        assert_hash(hash_of(HASH_IPV4 | HASH_IPV6, &packet), known[i].addresses, family);
    }
}

/* Any key and any input against the definition. */
static void NET_HASH_01_random_keys_and_frames(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        struct packet packet = round % 2 != 0 ? v6(UDP) : v4(UDP);
        unsigned input_at = ETHERNET + (round % 2 != 0 ? 8 : 12);
        unsigned input_len = round % 2 != 0 ? 36 : 12;
        struct hash_config made = {.types = HASH_TYPES_ALL};
        uint8_t key[HASH_KEY_MAX];

        for (unsigned i = 0; i < HASH_KEY_MAX; i++)
            key[i] = (uint8_t)(rand_r(&seed) >> 3);
        if (round % 2 != 0)
            packet_put_ports(&packet, 0, 0);
        for (unsigned i = 0; i < input_len; i++)
            packet.bytes[input_at + i] = (uint8_t)(rand_r(&seed) >> 3);
        hash_set_key(&made, key, sizeof(key));
        assert_hash(hash_cut(&made, &packet, packet.len),
                    packet_toeplitz(key, packet.bytes + input_at, input_len),
                    round % 2 != 0 ? REPORT_UDPV6 : REPORT_UDPV4);
    }
}

static void NET_HASH_02_most_specific_type_of_v4(void **state)
{
    static const struct {
        uint32_t types;
        uint8_t protocol;
        unsigned report;
    } cases[] = {
        {V4_ALL, TCP, REPORT_TCPV4},
        {V4_ALL, UDP, REPORT_UDPV4},
        {V4_ALL, NO_PORTS, REPORT_IPV4},
        {HASH_IPV4 | HASH_UDPV4, TCP, REPORT_IPV4},
        {HASH_IPV4 | HASH_TCPV4, UDP, REPORT_IPV4},
        {HASH_TCPV4, TCP, REPORT_TCPV4},
        {HASH_TCPV4, UDP, HASH_REPORT_NONE},
        {HASH_TCPV4 | HASH_UDPV4, NO_PORTS, HASH_REPORT_NONE},
        {V6_ALL | EX_ALL, TCP, HASH_REPORT_NONE},
        {0, TCP, HASH_REPORT_NONE},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct packet packet = v4(cases[i].protocol);
        uint32_t value = cases[i].report == REPORT_IPV4 ? 0x323e8fc2 : 0x51ccc178;

        assert_hash(hash_of(cases[i].types, &packet),
                    cases[i].report == HASH_REPORT_NONE ? 0 : value, cases[i].report);
    }
}

static void NET_HASH_02_options_of_v4_are_skipped(void **state)
{
    struct packet packet = {.len = 0};

    (void)state;
    packet_put_ethernet(&packet, NULL, 0x0800);
    packet_put_ip(&packet, TCP, "66.9.149.187", "161.142.100.80");
    packet.bytes[ETHERNET] = 0x4f;
    packet_put_zeros(&packet, 40);
    packet_put_ports(&packet, 2794, 1766);
    assert_hash(hash_of(V4_ALL, &packet), 0x51ccc178, REPORT_TCPV4);
}

/* The packet of Mobile IPv6: home address in the options, real destination in the routing header.
 */
static struct packet mobile(uint8_t protocol)
{
    struct packet packet = {.len = 0};

    packet_put_ethernet(&packet, NULL, 0x86dd);
    packet_put_ip(&packet, HOP_BY_HOP, "2001:db8::1", "2001:db8::2");
    packet_put(&packet, (uint8_t[]){ROUTING, 0, 1, 4, 0, 0, 0, 0}, 8);
    packet_put(&packet, (uint8_t[]){DESTINATION, 2, 2, 1, 0, 0, 0, 0}, 8);
    packet_put_address(&packet, "3ffe:2501:200:3::1");
    packet_put(&packet, (uint8_t[]){protocol, 2, 0, 1, 1, 0, 201, 16},
               8); /* Pad1, PadN, home address */
    packet_put_address(&packet, "3ffe:2501:200:1fff::7");
    packet_put_ports(&packet, 2794, 1766);
    return packet;
}

static void NET_HASH_02_home_address_and_routing_header(void **state)
{
    struct packet tcp = mobile(TCP), udp = mobile(UDP), other = mobile(NO_PORTS);

    (void)state;
    assert_hash(hash_of(HASH_TYPES_ALL, &tcp), 0x40207d3d, REPORT_TCPV6_EX);
    assert_hash(hash_of(HASH_TYPES_ALL, &udp), 0x40207d3d, REPORT_UDPV6_EX);
    assert_hash(hash_of(HASH_TYPES_ALL, &other), 0x2cc18cd5, REPORT_IPV6_EX);
    assert_hash(hash_of(V6_ALL | HASH_IPV6_EX, &tcp), 0x2cc18cd5, REPORT_IPV6_EX);
}

/* Where no _EX type fits, the plain addresses count and a plain type is reported. */
static void NET_HASH_02_extension_headers_are_skipped_without_ex_types(void **state)
{
    struct packet tcp = mobile(TCP), plain = {.len = 0};
    struct frame_hash as_tcp, as_ip;

    (void)state;
    packet_put_ethernet(&plain, NULL, 0x86dd);
    packet_put_ip(&plain, TCP, "2001:db8::1", "2001:db8::2");
    packet_put_ports(&plain, 2794, 1766);
    as_tcp = hash_of(V6_ALL, &plain);
    as_ip = hash_of(HASH_IPV6, &plain);
    assert_int_equal(as_tcp.report, REPORT_TCPV6);
    assert_hash(hash_of(V6_ALL, &tcp), as_tcp.value, REPORT_TCPV6);
    assert_hash(hash_of(V6_ALL | HASH_UDPV6_EX, &tcp), as_tcp.value, REPORT_TCPV6);
    assert_hash(hash_of(HASH_IPV6, &tcp), as_ip.value, REPORT_IPV6);
    assert_hash(hash_of(HASH_UDPV6 | HASH_UDPV6_EX, &tcp), 0, HASH_REPORT_NONE);
}

static void NET_HASH_02_plain_addresses_where_extensions_name_none(void **state)
{
    struct packet packet = v6(HOP_BY_HOP);

    (void)state;
    packet_put(&packet, (uint8_t[]){ROUTING, 0, 1, 4, 0, 0, 0, 0}, 8);
    packet_put(&packet, (uint8_t[]){DESTINATION, 2, 0, 1, 0, 0, 0, 0}, 8); /* routing type 0 */
    packet_put_address(&packet, "2001:db8::3");
    packet_put(&packet, (uint8_t[]){TCP, 0, 1, 4, 0, 0, 0, 0}, 8);
    packet_put_ports(&packet, 2794, 1766);
    assert_hash(hash_of(HASH_TYPES_ALL, &packet), 0x40207d3d, REPORT_TCPV6_EX);
    assert_hash(hash_of(V6_ALL, &packet), 0x40207d3d, REPORT_TCPV6);
}

static void NET_HASH_02_ex_types_need_extension_headers(void **state)
{
    struct packet packet = v6(TCP);

    (void)state;
    packet_put_ports(&packet, 2794, 1766);
    assert_hash(hash_of(HASH_TYPES_ALL, &packet), 0x40207d3d, REPORT_TCPV6);
    assert_hash(hash_of(EX_ALL, &packet), 0, HASH_REPORT_NONE);
}

static void NET_HASH_03_fragments_of_v4_have_no_ports(void **state)
{
    static const uint8_t fragments[][2] = {{0x20, 0}, {0x20, 1}, {0, 1}, {0x1f, 0xff}};
    struct packet packet = v4(UDP);

    (void)state;
    packet.bytes[ETHERNET + 6] = 0x40; /* only "don't fragment" */
    assert_hash(hash_of(V4_ALL, &packet), 0x51ccc178, REPORT_UDPV4);
    for (unsigned i = 0; i < ARRAY_COUNT(fragments); i++) {
        memcpy(packet.bytes + ETHERNET + 6, fragments[i], 2);
        assert_hash(hash_of(V4_ALL, &packet), 0x323e8fc2, REPORT_IPV4);
        assert_hash(hash_of(HASH_UDPV4, &packet), 0, HASH_REPORT_NONE);
    }
}

static void NET_HASH_03_fragments_of_v6_have_no_ports(void **state)
{
    struct packet packet = v6(FRAGMENT);

    (void)state;
    packet_put(&packet, (uint8_t[]){UDP, 0, 0, 1, 0, 0, 0, 7}, 8);
    packet_put_ports(&packet, 2794, 1766);
    assert_hash(hash_of(HASH_TYPES_ALL, &packet), 0x2cc18cd5, REPORT_IPV6_EX);
    assert_hash(hash_of(V6_ALL, &packet), 0x2cc18cd5, REPORT_IPV6);
    assert_hash(hash_of(HASH_UDPV6 | HASH_UDPV6_EX, &packet), 0, HASH_REPORT_NONE);
}

static void NET_HASH_04_short_key_goes_on_with_zeros(void **state)
{
    struct packet packet = v6(TCP);
    uint8_t padded[HASH_KEY_MAX] = {0};
    struct hash_config made = config(V6_ALL);

    (void)state;
    packet_put_ports(&packet, 2794, 1766);
    memcpy(padded, packet_known_key, 13);
    hash_set_key(&made, packet_known_key, 13); /* after a whole one: nothing of it stays */
    assert_hash(hash_cut(&made, &packet, packet.len),
                packet_toeplitz(padded, packet.bytes + ETHERNET + 8, 36), REPORT_TCPV6);
    hash_set_key(&made, NULL, 0);
    assert_hash(hash_cut(&made, &packet, packet.len), 0, REPORT_TCPV6);
}

static void NET_HASH_02_vlan_tags_are_skipped(void **state)
{
    static const unsigned tags[][3] = {{0x8100}, {0x88a8, 0x8100}, {0x8100, 0x8100}};
    struct packet inside = v4(TCP);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(tags); i++) {
        struct packet packet = {.len = 0};

        packet_put_zeros(&packet, 12);
        for (const unsigned *tag = tags[i]; *tag != 0; tag++) {
            packet_put_be16(&packet, *tag);
            packet_put_be16(&packet, 7);
        }
        packet_put(&packet, inside.bytes + 12, inside.len - 12);
        assert_hash(hash_of(V4_ALL, &packet), 0x51ccc178, REPORT_TCPV4);
    }
}

static void NET_HASH_02_frames_without_ip_have_no_hash(void **state)
{
    struct packet packet = v4(TCP);

    (void)state;
    packet.bytes[13] = 6; /* ARP */
    assert_hash(hash_of(HASH_TYPES_ALL, &packet), 0, HASH_REPORT_NONE);
}

/* ---- cut short and malformed ---- */

static void NET_HASH_07_v4_cut_at_every_length(void **state)
{
    struct packet packet = v4(TCP);
    struct hash_config made = config(HASH_TYPES_ALL);

    (void)state;
    for (uint32_t len = 0; len <= packet.len; len++) {
        struct frame_hash hash = hash_cut(&made, &packet, len);

        if (len < ETHERNET + IPV4)
            assert_hash(hash, 0, HASH_REPORT_NONE);
        else if (len < packet.len)
            assert_hash(hash, 0x323e8fc2, REPORT_IPV4);
        else
            assert_hash(hash, 0x51ccc178, REPORT_TCPV4);
    }
}

static void NET_HASH_07_v6_cut_at_every_length(void **state)
{
    struct packet packet = mobile(UDP);
    struct hash_config made = config(HASH_TYPES_ALL);
    struct packet plain = packet;
    uint32_t plain_value;

    (void)state;
    plain.bytes[ETHERNET + 6] = NO_PORTS;
    plain_value = hash_cut(&made, &plain, plain.len).value;
    for (uint32_t len = 0; len <= packet.len; len++) {
        struct frame_hash hash = hash_cut(&made, &packet, len);

        if (len < ETHERNET + IPV6)
            assert_hash(hash, 0, HASH_REPORT_NONE);
        else if (len < packet.len - 20)
            assert_hash(hash, plain_value, REPORT_IPV6);
        else if (len < packet.len - 12)
            assert_hash(hash, 0x2cc18cd5, REPORT_IPV6_EX);
        else
            assert_hash(hash, 0x40207d3d, REPORT_UDPV6_EX);
    }
}

/* Whatever the headers say, and wherever the frame ends: nothing behind the end is read. */
static void NET_HASH_07_noise_of_every_length(void **state)
{
    static const uint8_t protocols[] = {TCP,     UDP,      PACKET_GRE,  4,
                                        ROUTING, FRAGMENT, DESTINATION, 51};
    struct hash_config made = config(HASH_TYPES_ALL);
    unsigned seed = 7;

    (void)state;
    made.tunnels = HASH_TUNNELS_ALL;
    for (uint32_t round = 0; round < 64 * HASH_PEEK_LEN; round++) {
        struct packet packet = round % 2 != 0 ? v6(0) : v4(0);
        uint32_t start = packet.len;

        for (uint32_t i = start; i < HASH_PEEK_LEN; i++) {
            unsigned roll = (unsigned)rand_r(&seed) >> 4;

            packet.bytes[i] =
                roll % 4 != 0 ? protocols[roll / 4 % ARRAY_COUNT(protocols)] : (uint8_t)(roll >> 8);
        }
        packet.bytes[ETHERNET + (round % 2 != 0 ? 6 : 9)] =
            protocols[round / 2 % ARRAY_COUNT(protocols)];
        hash_cut(&made, &packet, round % (HASH_PEEK_LEN + 1));
    }
}

static void NET_HASH_07_lengths_that_lie(void **state)
{
    struct packet packet = v4(TCP);

    (void)state;
    packet.bytes[ETHERNET + 3] = 20; /* the packet ends before the ports: those are padding */
    assert_hash(hash_of(V4_ALL, &packet), 0x323e8fc2, REPORT_IPV4);
    packet.bytes[ETHERNET + 2] = 0xff; /* longer than the frame */
    assert_hash(hash_of(V4_ALL, &packet), 0x51ccc178, REPORT_TCPV4);
    packet.bytes[ETHERNET] = 0x4f; /* options behind the end */
    assert_hash(hash_of(V4_ALL, &packet), 0x323e8fc2, REPORT_IPV4);
    packet.bytes[ETHERNET] = 0x44;
    assert_hash(hash_of(V4_ALL, &packet), 0, HASH_REPORT_NONE);
    packet.bytes[ETHERNET] = 0x65;
    assert_hash(hash_of(V4_ALL, &packet), 0, HASH_REPORT_NONE);
}

/* What lies behind HASH_PEEK_LEN does not count, given or not. */
static void NET_HASH_07_extension_headers_without_end(void **state)
{
    struct packet packet = v6(HOP_BY_HOP);
    struct packet peek;

    (void)state;
    while (packet.len + 8 <= HASH_PEEK_LEN - 10)
        packet_put(&packet, (uint8_t[]){HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0}, 8);
    packet_put(&packet, (uint8_t[]){TCP, 0, 1, 4, 0, 0, 0, 0}, 8);
    packet_put_ports(&packet, 2794, 1766);
    peek = packet;
    peek.len = HASH_PEEK_LEN;
    assert_true(packet.len > HASH_PEEK_LEN);
    assert_hash(hash_of(V6_ALL, &packet), 0x2cc18cd5, REPORT_IPV6);
    assert_hash(hash_of(V6_ALL, &peek), 0x2cc18cd5, REPORT_IPV6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NET_HASH_01_published_answers),
        cmocka_unit_test(NET_HASH_01_random_keys_and_frames),
        cmocka_unit_test(NET_HASH_02_most_specific_type_of_v4),
        cmocka_unit_test(NET_HASH_02_options_of_v4_are_skipped),
        cmocka_unit_test(NET_HASH_02_home_address_and_routing_header),
        cmocka_unit_test(NET_HASH_02_extension_headers_are_skipped_without_ex_types),
        cmocka_unit_test(NET_HASH_02_plain_addresses_where_extensions_name_none),
        cmocka_unit_test(NET_HASH_02_ex_types_need_extension_headers),
        cmocka_unit_test(NET_HASH_03_fragments_of_v4_have_no_ports),
        cmocka_unit_test(NET_HASH_03_fragments_of_v6_have_no_ports),
        cmocka_unit_test(NET_HASH_04_short_key_goes_on_with_zeros),
        cmocka_unit_test(NET_HASH_02_vlan_tags_are_skipped),
        cmocka_unit_test(NET_HASH_02_frames_without_ip_have_no_hash),
        cmocka_unit_test(NET_HASH_07_v4_cut_at_every_length),
        cmocka_unit_test(NET_HASH_07_v6_cut_at_every_length),
        cmocka_unit_test(NET_HASH_07_noise_of_every_length),
        cmocka_unit_test(NET_HASH_07_lengths_that_lie),
        cmocka_unit_test(NET_HASH_07_extension_headers_without_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
