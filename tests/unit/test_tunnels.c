/* SPDX-License-Identifier: MIT */
/* Net headers that speak of UDP tunnels: every rule of virtio 1.4, 5.1.6.2 and of Linux, before a
 * kernel sees the frame. */
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "nic/offload.h"
#include "tunnel_frame.h"

enum {
    INSIDE = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6 | ENDPOINT_ECN | ENDPOINT_USO4 |
             ENDPOINT_USO6,
    ALL = INSIDE | ENDPOINT_UDP_TUNNELS,
    SIZE = 1000,
    PAYLOAD = 4000,
};

static struct tunnel_frame made;

static unsigned outer_bit(unsigned version)
{
    return version == 4 ? FRAME_GSO_UDP_TUNNEL_IPV4 : FRAME_GSO_UDP_TUNNEL_IPV6;
}

static unsigned inner_type(const struct tunnel_shape *shape)
{
    if (shape->protocol == PACKET_UDP)
        return FRAME_GSO_UDP_L4;
    return shape->inner == 4 ? FRAME_GSO_TCPV4 : FRAME_GSO_TCPV6;
}

/* What a right driver says of the frame. */
static struct net_header header_of(const struct tunnel_frame *frame)
{
    const struct tunnel_shape *shape = &frame->shape;

    return (struct net_header){
        .flags = FRAME_NEEDS_CSUM,
        .gso_type = (uint8_t)(inner_type(shape) | outer_bit(shape->outer)),
        .gso_size = le16_make(SIZE),
        .csum_start = le16_make(frame->inner_th),
        .csum_offset = le16_make(shape->protocol == PACKET_UDP ? 6 : 16),
        .outer_th_offset = le16_make(frame->outer_th),
        .inner_nh_offset = le16_make(frame->inner_nh),
    };
}

static int parse(const struct net_header *header, uint32_t allowed, struct frame_offload *ret)
{
    struct iovec iov = {made.bytes, made.len};
    struct frame frame = {.iov = &iov, .iov_count = 1, .len = made.len};

    return offload_from_header(header, BYTE_ORDER_LITTLE, allowed, &frame, ret);
}

static int passes(const struct net_header *header, uint32_t allowed)
{
    struct frame_offload offload;

    return parse(header, allowed, &offload) == 0;
}

static struct net_header usual(void)
{
    struct tunnel_shape shape = {.payload_len = PAYLOAD};

    tunnel_frame_make(&shape, &made);
    return header_of(&made);
}

/* Each of outer and inner family and protocol, by the outer family's bit or the inner one's. */
static void NET_TX_13_family_bit_of_either_header(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct tunnel_shape shape = {.outer = i & 1 ? 6 : 4,
                                     .inner = i & 2 ? 6 : 4,
                                     .protocol = i & 4 ? PACKET_UDP : PACKET_TCP,
                                     .payload_len = PAYLOAD};

        tunnel_frame_make(&shape, &made);
        for (unsigned told = 0; told < 4; told++) {
            struct net_header header = header_of(&made);
            unsigned bits = told * FRAME_GSO_UDP_TUNNEL_IPV4;
            int good = bits == outer_bit(shape.outer) || bits == outer_bit(shape.inner);
            struct frame_offload offload;

            header.gso_type = (uint8_t)(inner_type(&shape) | bits);
            check((parse(&header, ALL, &offload) == 0) == good, "bits 0x%x on %u in %u", bits,
                  shape.inner, shape.outer);
            if (!good)
                continue;
            /* Who gets the frame is told of the outer header, and where the headers end. */
            assert_int_equal(offload.gso_type, inner_type(&shape) | outer_bit(shape.outer));
            assert_int_equal(offload.outer_th_offset, made.outer_th);
            assert_int_equal(offload.inner_nh_offset, made.inner_nh);
            assert_int_equal(offload.hdr_len, made.payload);
            assert_int_equal(offload.flags, FRAME_NEEDS_CSUM);
        }
    }
}

static void NET_TX_11_types_inside(void **state)
{
    struct net_header header = usual();

    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        struct net_header other = header;
        unsigned tunnel = type & FRAME_GSO_UDP_TUNNEL;

        if (tunnel == 0)
            continue;
        other.gso_type = (uint8_t)type;
        assert_int_equal(passes(&other, ALL), tunnel == FRAME_GSO_UDP_TUNNEL_IPV4 &&
                                                  (type & ~(tunnel | FRAME_GSO_ECN)) == 1);
    }
}

static void NET_TX_11_flags(void **state)
{
    struct net_header header = usual();

    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        struct frame_offload offload;
        int result;

        header.flags = (uint8_t)flags;
        result = parse(&header, ALL, &offload);
        assert_int_equal(result == 0, (flags & (FRAME_NEEDS_CSUM | FRAME_DATA_VALID)) == 1);
        if (result == 0)
            assert_int_equal(offload.flags, flags & (FRAME_NEEDS_CSUM | FRAME_UDP_TUNNEL_CSUM));
    }
}

/* Without a tunnel bit: the flag is refused, the offsets mean nothing. */
static void NET_TX_11_fields_of_no_tunnel(void **state)
{
    static const uint8_t gso[] = {FRAME_GSO_NONE, FRAME_GSO_ECN};
    struct net_header header = usual();

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(gso); i++) {
        for (unsigned flags = 0; flags < 2; flags++) {
            struct frame_offload offload;

            header.gso_type = gso[i];
            header.flags = (uint8_t)flags;
            header.outer_th_offset = le16_make(0xffff);
            assert_int_equal(parse(&header, ALL, &offload), 0);
            assert_int_equal(offload.outer_th_offset | offload.inner_nh_offset, 0);
            header.flags |= FRAME_UDP_TUNNEL_CSUM;
            assert_false(passes(&header, ALL));
        }
    }
}

static void NET_TX_05_tunnels_need_their_bits(void **state)
{
    struct net_header header = usual();
    struct net_header summed = header;
    struct frame_offload offload;

    (void)state;
    summed.flags |= FRAME_UDP_TUNNEL_CSUM;
    assert_true(passes(&header, ALL & ~(uint32_t)ENDPOINT_UDP_TUNNEL_CSUM));
    assert_false(passes(&summed, ALL & ~(uint32_t)ENDPOINT_UDP_TUNNEL_CSUM));
    assert_false(passes(&header, INSIDE));
    assert_false(passes(&summed, INSIDE));
    assert_false(passes(&header, ALL & ~(uint32_t)ENDPOINT_TSO4));
    header.gso_type |= FRAME_GSO_ECN;
    assert_true(passes(&header, ALL));
    assert_false(passes(&header, ALL & ~(uint32_t)ENDPOINT_ECN));
    /* NET-TX-01: to who was not offered tunnels the flag is one of the unknown ones. */
    summed.gso_type = FRAME_GSO_NONE;
    summed.flags = FRAME_UDP_TUNNEL_CSUM;
    memset(&offload, 0xff, sizeof(offload));
    assert_int_equal(parse(&summed, INSIDE, &offload), 0);
    assert_int_equal(offload.flags | offload.gso_type | offload.csum_start, 0);
}

/* Every value of each offset: only the one where the header is. */
static void NET_TX_12_offsets_that_lie(void **state)
{
    struct net_header header = usual();

    (void)state;
    for (uint32_t at = 0; at <= 0xffff; at += at < 700 ? 1 : 97) {
        struct net_header other = header;

        other.outer_th_offset = le16_make((uint16_t)at);
        assert_int_equal(passes(&other, ALL), at == made.outer_th);
        other = header;
        other.inner_nh_offset = le16_make((uint16_t)at);
        assert_int_equal(passes(&other, ALL), at == made.inner_nh);
        other = header;
        other.csum_start = le16_make((uint16_t)at);
        assert_int_equal(passes(&other, ALL), at == made.inner_th);
    }
}

/* The inner header where nothing fits in front of it: inside the outer UDP header, or before. */
static void NET_TX_12_inner_header_behind_the_outer_one(void **state)
{
    struct net_header header = usual();
    uint8_t inner[40];

    (void)state;
    memcpy(inner, made.bytes + made.inner_nh, sizeof(inner));
    for (unsigned back = 0; back <= 8; back++) {
        unsigned at = made.outer_th + 8u - back;

        memcpy(made.bytes + at, inner, sizeof(inner));
        header.inner_nh_offset = le16_make((uint16_t)at);
        header.csum_start = le16_make((uint16_t)(at + 20));
        made.bytes[PACKET_ETHERNET_LEN + 9] = PACKET_UDP;
        assert_int_equal(passes(&header, ALL), back == 0);
    }
}

/* A frame cut at every length; nothing is read behind its end (ASan). */
static void NET_TX_12_truncated_tunnels(void **state)
{
    struct net_header header = usual();

    (void)state;
    header.gso_size = le16_make(10);
    for (uint32_t len = 14; len < made.payload + 10u; len++) {
        struct frame_offload offload;
        struct frame frame = {.iov_count = 1, .len = len};
        uint8_t *exact = test_malloc(len);
        struct iovec iov = {exact, len};

        frame.iov = &iov;
        memcpy(exact, made.bytes, len);
        assert_int_equal(offload_from_header(&header, BYTE_ORDER_LITTLE, ALL, &frame, &offload) ==
                             0,
                         len >= made.payload);
        test_free(exact);
    }
}

/* A tunnel's own header may be long, as Geneve's with options; there is an end to what is read. */
static void NET_TX_12_long_headers_of_tunnels(void **state)
{
    (void)state;
    for (uint32_t extra = 0; extra < 600; extra += 4) {
        struct tunnel_shape shape = {.extra = extra, .payload_len = PAYLOAD};
        struct net_header header;

        tunnel_frame_make(&shape, &made);
        header = header_of(&made);
        if (extra <= 252) /* all of Geneve's */
            assert_true(passes(&header, ALL));
        if (made.payload > 512)
            assert_false(passes(&header, ALL));
    }
}

static void NET_TX_12_tagged_tunnels(void **state)
{
    struct tunnel_shape shape = {.vlan = 5, .payload_len = PAYLOAD};
    struct net_header header;

    (void)state;
    tunnel_frame_make(&shape, &made);
    header = header_of(&made);
    assert_true(passes(&header, ALL));
    header.outer_th_offset = le16_make((uint16_t)(made.outer_th - 4));
    assert_false(passes(&header, ALL));
}

/* Neither header is what it is said to be. */
static void NET_TX_12_other_packets(void **state)
{
    struct net_header header = usual();
    unsigned outer_protocol = PACKET_ETHERNET_LEN + 9;
    unsigned inner_protocol = made.inner_nh + 9u;

    (void)state;
    made.bytes[outer_protocol] = PACKET_TCP;
    assert_false(passes(&header, ALL));
    header = usual();
    made.bytes[inner_protocol] = PACKET_UDP;
    assert_false(passes(&header, ALL));
    header = usual();
    made.bytes[PACKET_ETHERNET_LEN + 6] = 0x20; /* a fragment */
    assert_false(passes(&header, ALL));
    header = usual();
    made.bytes[made.inner_nh + 6u] = 0x20;
    assert_false(passes(&header, ALL));
    header = usual();
    for (unsigned nibble = 0; nibble < 256; nibble++) {
        made.bytes[made.inner_nh] = (uint8_t)nibble;
        assert_int_equal(passes(&header, ALL), nibble == 0x45);
    }
    header = usual();
    header.gso_size = le16_make(1); /* NET-TX-09: an amplifier */
    assert_false(passes(&header, ALL));
}

/* And back: what a driver that takes tunnels gets to see. */
static void NET_RX_11_header_for_the_driver(void **state)
{
    struct frame_offload offload = {.flags =
                                        FRAME_NEEDS_CSUM | FRAME_DATA_VALID | FRAME_UDP_TUNNEL_CSUM,
                                    .gso_type = FRAME_GSO_TCPV4 | FRAME_GSO_UDP_TUNNEL_IPV4,
                                    .outer_th_offset = 34,
                                    .inner_nh_offset = 64};
    struct net_header header = {0};

    (void)state;
    offload_to_header(&offload, BYTE_ORDER_LITTLE, &header);
    assert_int_equal(header.flags, FRAME_NEEDS_CSUM | FRAME_UDP_TUNNEL_CSUM);
    assert_int_equal(le16_get(header.outer_th_offset), 34);
    assert_int_equal(le16_get(header.inner_nh_offset), 64);
    header = (struct net_header){0};
    offload.gso_type = FRAME_GSO_TCPV4;
    offload_to_header(&offload, BYTE_ORDER_LITTLE, &header);
    assert_int_equal(header.flags, FRAME_NEEDS_CSUM | FRAME_DATA_VALID);
    assert_int_equal(le16_get(header.outer_th_offset) | le16_get(header.inner_nh_offset), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NET_TX_13_family_bit_of_either_header),
        cmocka_unit_test(NET_TX_11_types_inside),
        cmocka_unit_test(NET_TX_11_flags),
        cmocka_unit_test(NET_TX_11_fields_of_no_tunnel),
        cmocka_unit_test(NET_TX_05_tunnels_need_their_bits),
        cmocka_unit_test(NET_TX_12_offsets_that_lie),
        cmocka_unit_test(NET_TX_12_inner_header_behind_the_outer_one),
        cmocka_unit_test(NET_TX_12_truncated_tunnels),
        cmocka_unit_test(NET_TX_12_long_headers_of_tunnels),
        cmocka_unit_test(NET_TX_12_tagged_tunnels),
        cmocka_unit_test(NET_TX_12_other_packets),
        cmocka_unit_test(NET_RX_11_header_for_the_driver),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
