/* SPDX-License-Identifier: MIT */
/* nic: dependency closure of features, the net header against hostile values, partial checksums. */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "check.h"
#include "nic/features.h"
#include "nic/offload.h"

enum {
    ALL_TX = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6 | ENDPOINT_ECN | ENDPOINT_USO4 |
             ENDPOINT_USO6,
    ETHERNET = 14,
    IPV4 = 20,
    IPV6 = 40,
    TCP = 6,
    UDP = 17,
};

/* ---- features (virtio 1.4, 5.1.3.1) ---- */

static const struct {
    unsigned bit;
    uint64_t all;
    uint64_t any;
} needs[] = {
    {2, 1ull << 17, 0},  {7, 1ull << 1, 0},   {8, 1ull << 1, 0},   {9, 0, 3ull << 7},
    {10, 1ull << 1, 0},  {11, 1ull << 0, 0},  {12, 1ull << 0, 0},  {13, 0, 3ull << 11},
    {14, 1ull << 0, 0},  {18, 1ull << 17, 0}, {19, 1ull << 17, 0}, {20, 1ull << 17, 0},
    {21, 1ull << 17, 0}, {21, 1ull << 16, 0}, {22, 1ull << 17, 0}, {23, 1ull << 17, 0},
    {50, 1ull << 17, 0}, {52, 1ull << 17, 0}, {53, 1ull << 17, 0}, {54, 1ull << 1, 0},
    {55, 1ull << 1, 0},  {56, 1ull << 0, 0},  {60, 1ull << 17, 0}, {61, 0, 3ull << 11},
    {62, 1ull << 5, 0},
};

/* Every bit that has a name, so that all prerequisites are there. */
static struct features everything(void)
{
    struct features set = {{0}};

    for (unsigned bit = 0; bit < 128; bit++) {
        if (feature_name(bit) != NULL)
            features_add(&set, bit);
    }
    return set;
}

static void NET_FT_02_each_missing_prerequisite_is_refused(void **state)
{
    struct features offered = everything();
    struct error err;

    (void)state;
    assert_int_equal(features_check_agreeable(&offered, &offered, &err), 0);
    for (unsigned i = 0; i < ARRAY_COUNT(needs); i++) {
        uint64_t missing = needs[i].all | needs[i].any;
        struct features set = {{0}};

        set.word[0] = 1ull << needs[i].bit;
        check(features_check_agreeable(&set, &offered, &err) == -EINVAL, "bit %u alone passes",
              needs[i].bit);
        assert_non_null(strstr(err.text, feature_name(needs[i].bit)));
        set = offered;
        set.word[0] &= ~missing;
        assert_int_equal(features_check_agreeable(&set, &offered, NULL), -EINVAL);
    }
}

static void NET_FT_02_bits_above_63_have_prerequisites_too(void **state)
{
    struct features offered = everything();
    struct features set = {{0, 1ull << (65 - 64)}}; /* GUEST_UDP_TUNNEL_GSO */

    (void)state;
    assert_int_equal(features_check_agreeable(&set, &offered, NULL), -EINVAL);
    set = offered;
    set.word[0] &= ~(1ull << 55); /* GUEST_USO6, one of its four */
    assert_int_equal(features_check_agreeable(&set, &offered, NULL), -EINVAL);
}

static void GEN_FT_01_closing_drops_what_can_not_stay(void **state)
{
    struct features set = everything();

    (void)state;
    features_close(&set);
    assert_int_equal(features_check_closed(&set, NULL), 0);
    assert_true(features_has(&set, NET_F_MQ));
    features_remove(&set, NET_F_CTRL_VQ);
    features_remove(&set, NET_F_CSUM);
    features_close(&set);
    assert_int_equal(features_check_closed(&set, NULL), 0);
    for (unsigned i = 0; i < ARRAY_COUNT(needs); i++) {
        if (needs[i].all & ((1ull << 17) | 1))
            assert_false(features_has(&set, needs[i].bit));
    }
    assert_false(features_has(&set, NET_F_HOST_ECN)); /* two steps away from CSUM */
    assert_true(features_has(&set, NET_F_GUEST_TSO4));
}

static void GEN_FT_03_unoffered_bits_are_refused_by_name(void **state)
{
    struct features offered = {{1ull << NET_F_MAC}};
    struct features set = {{(1ull << NET_F_MAC) | (1ull << NET_F_CSUM)}};
    struct error err;

    (void)state;
    assert_int_equal(features_check_agreeable(&set, &offered, &err), -EINVAL);
    assert_non_null(strstr(err.text, "csum"));
    set = (struct features){{0, 1ull << 63}}; /* bit 127 */
    assert_int_equal(features_check_agreeable(&set, &offered, &err), -EINVAL);
    assert_non_null(strstr(err.text, "127"));
}

/* ---- the net header ---- */

static uint8_t bytes[65536];

/* A frame of an IP version and protocol; returns where the transport header starts. */
static uint16_t make_frame(struct frame *frame, struct iovec *iov, unsigned version,
                           unsigned protocol, uint32_t len)
{
    memset(bytes, 0, sizeof(bytes));
    bytes[12] = version == 4 ? 0x08 : 0x86;
    bytes[13] = version == 4 ? 0x00 : 0xdd;
    bytes[ETHERNET] = version == 4 ? 0x45 : 0x60;
    bytes[ETHERNET + (version == 4 ? 9 : 6)] = (uint8_t)protocol;
    *iov = (struct iovec){bytes, len};
    *frame = (struct frame){.iov = iov, .iov_count = 1, .len = len};
    return (uint16_t)(ETHERNET + (version == 4 ? IPV4 : IPV6));
}

static struct net_header gso_header(unsigned type, uint16_t size, uint16_t start)
{
    unsigned csum_offset = (type & 0x7f) == 1 || (type & 0x7f) == 4 ? 16 : 6;

    return (struct net_header){.flags = FRAME_NEEDS_CSUM,
                               .gso_type = (uint8_t)type,
                               .hdr_len = le16_make(start),
                               .gso_size = le16_make(size),
                               .csum_start = le16_make(start),
                               .csum_offset = le16_make((uint16_t)csum_offset)};
}

static int passes(const struct net_header *header, uint32_t allowed, const struct frame *frame)
{
    struct frame_offload offload;

    return offload_from_header(header, BYTE_ORDER_LITTLE, allowed, frame, &offload) == 0;
}

static void NET_TX_07_gso_type_must_be_what_the_frame_is(void **state)
{
    static const struct {
        unsigned type, version, protocol;
    } right[] = {{1, 4, TCP}, {4, 6, TCP}, {5, 4, UDP}, {5, 6, UDP}};
    struct frame frame;
    struct iovec iov;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned type = 1; type < 128; type++) {
            uint16_t start = make_frame(&frame, &iov, right[i].version, right[i].protocol, 3000);
            struct net_header header = gso_header(type, 1000, start);
            int expected = type == right[i].type;

            check(passes(&header, ALL_TX, &frame) == expected, "type %u on IPv%u protocol %u", type,
                  right[i].version, right[i].protocol);
        }
    }
}

static void NET_TX_05_each_gso_type_needs_its_bit(void **state)
{
    static const struct {
        unsigned type, version, protocol;
        uint32_t needs;
    } table[] = {
        {1, 4, TCP, ENDPOINT_TSO4},   {4, 6, TCP, ENDPOINT_TSO6}, {5, 4, UDP, ENDPOINT_USO4},
        {0x81, 4, TCP, ENDPOINT_ECN}, {1, 4, TCP, ENDPOINT_CSUM},
    };
    struct frame frame;
    struct iovec iov;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(table); i++) {
        uint16_t start = make_frame(&frame, &iov, table[i].version, table[i].protocol, 3000);
        struct net_header header = gso_header(table[i].type, 1000, start);

        assert_true(passes(&header, ALL_TX, &frame));
        assert_false(passes(&header, ALL_TX & ~table[i].needs, &frame));
    }
}

static void NET_TX_06_H03_gso_sizes_and_starts_that_lie(void **state)
{
    struct frame frame;
    struct iovec iov;
    uint16_t start = make_frame(&frame, &iov, 4, TCP, 3000);
    struct net_header header = gso_header(1, 0, start);

    (void)state;
    assert_false(passes(&header, ALL_TX, &frame)); /* size 0 */
    header = gso_header(1, 1, start);              /* NET-TX-09: an amplifier */
    assert_false(passes(&header, ALL_TX, &frame));
    header = gso_header(1, 1000, start);
    header.flags = 0;
    assert_false(passes(&header, ALL_TX, &frame));
    for (uint32_t wrong = 0; wrong < 3100; wrong++) {
        header = gso_header(1, 1000, (uint16_t)wrong);
        assert_int_equal(passes(&header, ALL_TX, &frame), wrong == start);
    }
    for (unsigned ihl = 0; ihl < 16; ihl++) { /* the IHL nibble beyond the frame, below the least */
        bytes[ETHERNET] = (uint8_t)(0x40 | ihl);
        header = gso_header(1, 1000, start);
        assert_int_equal(passes(&header, ALL_TX, &frame), ihl == 5);
    }
}

static void NET_TX_08_header_length_is_only_a_hint(void **state)
{
    static const uint16_t hint[] = {0, 1, 14, 0x7fff, 0xffff};
    struct frame frame;
    struct iovec iov;
    uint16_t start = make_frame(&frame, &iov, 4, TCP, 3000);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(hint); i++) {
        struct net_header header = gso_header(1, 1000, start);
        struct frame_offload offload;

        header.hdr_len = le16_make(hint[i]);
        assert_int_equal(offload_from_header(&header, BYTE_ORDER_LITTLE, ALL_TX, &frame, &offload),
                         0);
        assert_int_equal(offload.hdr_len, start + 20); /* what follows does rely on it */
    }
}

/* Frames cut short at every length: nothing is read behind their end (ASan), nothing wrong passes.
 */
static void NET_TX_06_truncated_gso_frames(void **state)
{
    struct frame frame;
    struct iovec iov;

    (void)state;
    for (uint32_t len = 14; len < 80; len++) {
        static uint8_t *exact;
        uint16_t start = make_frame(&frame, &iov, 4, TCP, len);
        struct net_header header = gso_header(1, 10, start);

        exact = test_malloc(len);
        memcpy(exact, bytes, len);
        iov.iov_base = exact;
        assert_int_equal(passes(&header, ALL_TX, &frame), len >= start + 20u);
        test_free(exact);
    }
}

/* Headers that stand in front of the transport header are walked, to where it is. */
static void NET_TX_07_extension_headers_are_walked(void **state)
{
    struct frame frame;
    struct iovec iov;
    uint16_t start = make_frame(&frame, &iov, 6, 60, 3000);
    struct net_header header;

    (void)state;
    bytes[start] = 43;
    bytes[start + 1] = 2;
    bytes[start + 24] = TCP;
    for (unsigned wrong = 0; wrong < 300; wrong++) {
        header = gso_header(4, 1000, (uint16_t)wrong);
        assert_int_equal(passes(&header, ALL_TX, &frame), wrong == start + 32u);
    }
    header = gso_header(4, 1000, (uint16_t)(start + 32));
    for (unsigned type = 0; type < 256; type++) { /* of those, only these can be stepped over */
        bytes[start] = (uint8_t)type;
        assert_int_equal(passes(&header, ALL_TX, &frame), type == 0 || type == 43 || type == 60);
    }
    memset(bytes + start, 0, 3000 - start); /* a chain without an end */
    for (unsigned wrong = 0; wrong < 3000; wrong++) {
        header = gso_header(4, 1000, (uint16_t)wrong);
        assert_false(passes(&header, ALL_TX, &frame));
    }
}

static void NET_TX_07_tagged_frames(void **state)
{
    struct frame frame;
    struct iovec iov;
    struct net_header header;

    (void)state;
    for (uint32_t tags = 0; tags < 4; tags++) {
        uint16_t start = (uint16_t)(make_frame(&frame, &iov, 4, TCP, 3000) + 4 * tags);

        memmove(bytes + 12 + 4 * tags, bytes + 12, 100);
        for (uint32_t i = 0; i < tags; i++)
            memcpy(bytes + 12 + 4 * i, i + 1 == tags ? "\x81\0\0\1" : "\x88\xa8\0\1", 4);
        header = gso_header(1, 1000, start);
        assert_int_equal(passes(&header, ALL_TX, &frame), tags <= 2);
        header = gso_header(1, 1000, (uint16_t)(start - 4));
        assert_false(passes(&header, ALL_TX, &frame));
    }
}

static void NET_TX_07_fragments_have_no_segments(void **state)
{
    struct frame frame;
    struct iovec iov;
    uint16_t start = make_frame(&frame, &iov, 4, TCP, 3000);
    struct net_header header = gso_header(1, 1000, start);

    (void)state;
    for (unsigned bit = 0; bit < 16; bit++) {
        bytes[ETHERNET + 6] = (uint8_t)(1u << bit >> 8);
        bytes[ETHERNET + 7] = (uint8_t)(1u << bit);
        assert_int_equal(passes(&header, ALL_TX, &frame), bit >= 14);
    }
}

static void NET_TX_07_checksum_fields_of_other_protocols(void **state)
{
    struct frame frame;
    struct iovec iov;
    uint16_t start = make_frame(&frame, &iov, 4, TCP, 3000);

    (void)state;
    for (unsigned offset = 0; offset < 300; offset++) {
        struct net_header header = gso_header(1, 1000, start);

        header.csum_offset = le16_make((uint16_t)offset);
        assert_int_equal(passes(&header, ALL_TX, &frame), offset == 16);
    }
}

static void NET_TX_05_datagrams_need_the_bit_of_their_family(void **state)
{
    uint32_t both = ENDPOINT_USO4 | ENDPOINT_USO6;
    struct frame frame;
    struct iovec iov;

    (void)state;
    for (unsigned version = 4; version <= 6; version += 2) {
        uint32_t own = version == 4 ? ENDPOINT_USO4 : ENDPOINT_USO6;
        uint16_t start = make_frame(&frame, &iov, version, UDP, 3000);
        struct net_header header = gso_header(5, 1000, start);

        assert_true(passes(&header, ENDPOINT_CSUM | own, &frame));
        assert_false(passes(&header, ALL_TX & ~own, &frame));
        header = gso_header(3, 1000, start);
        assert_true(passes(&header, ENDPOINT_CSUM | ENDPOINT_UFO, &frame));
        assert_false(passes(&header, ENDPOINT_CSUM | both, &frame));
    }
}

/* ---- checksums ---- */

static uint16_t fold(const uint8_t *at, uint32_t len)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint32_t)at[i] << 8 : at[i];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Over every way to cut the frame in two, at every start, also odd ones. */
static void NET_TX_03_checksum_over_any_spans(void **state)
{
    uint8_t frame[130];

    (void)state;
    for (uint32_t start = 14; start < 40; start++) {
        for (uint32_t cut = 1; cut < sizeof(frame); cut++) {
            struct iovec iov[2] = {{frame, cut}, {frame + cut, sizeof(frame) - cut}};

            for (unsigned i = 0; i < sizeof(frame); i++)
                frame[i] = (uint8_t)(i * 37 + start);
            assert_int_equal(checksum_complete(iov, 2, sizeof(frame), (uint16_t)start, 6), 0);
            frame[start + 6] = (uint8_t)~frame[start + 6]; /* sum = all - field + ~field … */
            frame[start + 7] = (uint8_t)~frame[start + 7];
            {
                uint16_t field = (uint16_t)(frame[start + 6] << 8 | frame[start + 7]);

                frame[start + 6] = (uint8_t)((6 + start) * 37 + start);
                frame[start + 7] = (uint8_t)((7 + start) * 37 + start);
                assert_int_equal(fold(frame + start, sizeof(frame) - start), field);
            }
        }
    }
}

/* Every length and alignment, with the bytes that overflow most. */
static void NET_TX_03_sums_of_every_length(void **state)
{
    uint8_t data[300];

    (void)state;
    for (uint32_t from = 0; from < 33; from++) {
        for (uint32_t len = 0; from + len <= sizeof(data); len++) {
            for (unsigned i = 0; i < sizeof(data); i++)
                data[i] = len % 2 == 0 ? 0xff : (uint8_t)(i * 41 + len);
            assert_int_equal(checksum_bytes(data + from, len), fold(data + from, len));
        }
    }
}

static void NET_TX_03_checksum_of_zero_becomes_ffff(void **state)
{
    uint8_t frame[60] = {0};
    struct iovec iov = {frame, sizeof(frame)};

    (void)state;
    frame[34] = 0xff; /* the sum is ffff, so its complement is 0 */
    frame[35] = 0xff;
    assert_int_equal(checksum_complete(&iov, 1, sizeof(frame), 34, 6), 0);
    assert_int_equal(frame[40] << 8 | frame[41], 0xffff);
}

static void NET_TX_04_checksum_outside_the_frame_is_refused(void **state)
{
    uint8_t frame[60] = {0};
    struct iovec iov = {frame, sizeof(frame)};

    (void)state;
    assert_true(checksum_complete(&iov, 1, 60, 60, 0) < 0);
    assert_true(checksum_complete(&iov, 1, 60, 58, 1) < 0);
    assert_true(checksum_complete(&iov, 1, 60, 0xffff, 0xffff) < 0);
    assert_true(checksum_complete(&iov, 1, 60, 14, 0xffff) < 0);
    assert_int_equal(checksum_complete(&iov, 1, 60, 58, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NET_FT_02_each_missing_prerequisite_is_refused),
        cmocka_unit_test(NET_FT_02_bits_above_63_have_prerequisites_too),
        cmocka_unit_test(GEN_FT_01_closing_drops_what_can_not_stay),
        cmocka_unit_test(GEN_FT_03_unoffered_bits_are_refused_by_name),
        cmocka_unit_test(NET_TX_05_each_gso_type_needs_its_bit),
        cmocka_unit_test(NET_TX_06_H03_gso_sizes_and_starts_that_lie),
        cmocka_unit_test(NET_TX_06_truncated_gso_frames),
        cmocka_unit_test(NET_TX_07_gso_type_must_be_what_the_frame_is),
        cmocka_unit_test(NET_TX_07_extension_headers_are_walked),
        cmocka_unit_test(NET_TX_07_tagged_frames),
        cmocka_unit_test(NET_TX_07_fragments_have_no_segments),
        cmocka_unit_test(NET_TX_07_checksum_fields_of_other_protocols),
        cmocka_unit_test(NET_TX_05_datagrams_need_the_bit_of_their_family),
        cmocka_unit_test(NET_TX_08_header_length_is_only_a_hint),
        cmocka_unit_test(NET_TX_03_checksum_over_any_spans),
        cmocka_unit_test(NET_TX_03_sums_of_every_length),
        cmocka_unit_test(NET_TX_03_checksum_of_zero_becomes_ffff),
        cmocka_unit_test(NET_TX_04_checksum_outside_the_frame_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
