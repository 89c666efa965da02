/* SPDX-License-Identifier: MIT */
/* Segmentation offload inside UDP tunnels, features 65 to 68, by registers: the net header of 24
 * bytes, what is refused, and what a driver gets that agreed to less. Over virtio-mmio and
 * virtio-pci. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "register_bed.h"
#include "tunnel_frame.h"

static enum device_transport transport; /* of the group that runs */

/* From bit 64 on. */
#define GUEST_TUNNEL      (1u << 1)
#define GUEST_TUNNEL_CSUM (1u << 2)
#define HOST_TUNNEL       (1u << 3)
#define HOST_TUNNEL_CSUM  (1u << 4)

#define SENDS                                                                                      \
    (BED_USUAL | BED_BIT(0) | BED_BIT(11) | BED_BIT(12) | BED_BIT(13) | BED_BIT(56)) /* HOST_… */
#define TAKES                                                                                      \
    (BED_BIT(1) | BED_BIT(7) | BED_BIT(8) | BED_BIT(9) | BED_BIT(54) | BED_BIT(55)) /* GUEST_… */
#define EVERYTHING (SENDS | TAKES | BED_MERGE)

enum {
    NEEDS_CSUM = 1,
    DATA_VALID = 2,
    TUNNEL_CSUM = 8,
    TCPV4 = 1,
    TUNNEL_IPV4 = 0x20,
    TUNNEL_IPV6 = 0x40,
    SIZE = 1400,
    PAYLOAD = 20000,
};

static struct tunnel_frame made;

static struct register_bed *begin(void **state, uint64_t features, uint32_t high)
{
    struct bed_options options = {.transport = transport};
    struct register_bed *bed = register_bed_open(state, &options);

    bed->driver.features_high = high;
    register_bed_start(bed, features);
    return bed;
}

/* A right frame and its header. */
static struct net_header usual(void)
{
    struct tunnel_shape shape = {.payload_len = PAYLOAD};

    tunnel_frame_make(&shape, &made);
    return (struct net_header){.flags = NEEDS_CSUM,
                               .gso_type = TCPV4 | TUNNEL_IPV4,
                               .gso_size = SIZE,
                               .csum_start = made.inner_th,
                               .csum_offset = 16,
                               .outer_th_offset = made.outer_th,
                               .inner_nh_offset = made.inner_nh};
}

static void send_made(struct register_bed *bed, const struct net_header *header)
{
    net_driver_queue_with(&bed->net[0], header, made.bytes, made.len);
    driver_ring_flush(bed->ring[1]);
    net_driver_drain(&bed->net[0]);
}

/* What was made comes back, as one frame. */
static void expect_whole(struct register_bed *bed, const struct net_header *sent)
{
    static uint8_t got[NET_FRAME_MAX];
    const struct net_header *header = &bed->net[0].last_header;
    int len = net_driver_receive(&bed->net[0], got, sizeof(got), WAIT_LONG_MS);

    check(len == (int)made.len, "%d bytes came of %u", len, made.len);
    assert_memory_equal(got, made.bytes, made.len);
    assert_int_equal(header->flags, sent->flags);
    assert_int_equal(header->gso_type, sent->gso_type);
    assert_int_equal(header->gso_size, SIZE);
    assert_int_equal(header->hdr_len, made.payload);
    assert_int_equal(header->csum_start, made.inner_th);
    assert_int_equal(header->csum_offset, 16);
    assert_int_equal(header->outer_th_offset, made.outer_th);
    assert_int_equal(header->inner_nh_offset, made.inner_nh);
    assert_int_equal(header->hash_value | header->hash_report, 0);
}

static void expect_counted(struct register_bed *bed, const char *drop, unsigned count)
{
    char text[DEVICE_TEXT_LEN], wanted[64];

    snprintf(wanted, sizeof(wanted), "\n%s=%u\n", drop, count);
    register_device_inspect_card(&bed->device, text);
    check(strstr(text, wanted) != NULL, "no %s=%u in %s", drop, count, text);
}

static void set_offloads(struct control_driver *control, uint64_t bits)
{
    uint8_t message[10] = {5, 0};

    for (unsigned i = 0; i < 8; i++)
        message[2 + i] = (uint8_t)(bits >> (8 * i));
    assert_int_equal(control_driver_ask(control, message, sizeof(message)), CONTROL_ACK_OK);
}

/* ---- agreement and header ---------------------------------------------------------------------
 */

static void NET_FT_01_tunnels_are_offered_where_the_endpoint_takes_them(void **state)
{
    static const struct {
        const char *endpoint;
        uint32_t high;
    } table[] = {{"loopback", BED_TUNNELS_HIGH}, {"null", HOST_TUNNEL | HOST_TUNNEL_CSUM}};

    for (unsigned i = 0; i < 2; i++) {
        struct bed_options options = {.transport = transport, .endpoint = table[i].endpoint};
        struct register_bed *bed = register_bed_open(state, &options);

        assert_int_equal(bed->driver.ops->device_features(&bed->driver, 2), table[i].high);
        register_bed_teardown(state);
        register_bed_setup(state);
    }
}

static void NET_FT_02_tunnels_without_what_they_need(void **state)
{
    static const unsigned needed[] = {7, 8, 54, 55, 11, 12, 56};
    struct bed_options options = {.transport = transport};
    struct register_bed *bed = register_bed_open(state, &options);

    bed->driver.features_high = BED_TUNNELS_HIGH;
    assert_int_equal(register_driver_negotiate(&bed->driver, EVERYTHING), STATUS_BEFORE_QUEUES);
    for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        uint64_t without = EVERYTHING & ~BED_BIT(needed[i]);

        assert_int_equal(register_driver_negotiate(&bed->driver, without) & STATUS_BEFORE_QUEUES,
                         STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    }
    bed->driver.features_high = GUEST_TUNNEL_CSUM;
    assert_int_equal(register_driver_negotiate(&bed->driver, EVERYTHING) & STATUS_BEFORE_QUEUES,
                     STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    bed->driver.features_high = 0;
    register_bed_expect_new_life(bed);
}

/* Either feature brings the header of 24 bytes, for both ways (checklist X-07), with a hash in it
 * or not; what is not there is zero. */
static void NET_HDR_01_header_of_24_bytes(void **state)
{
    static const uint32_t high[] = {HOST_TUNNEL, GUEST_TUNNEL, BED_TUNNELS_HIGH};

    for (unsigned i = 0; i < 12; i++) {
        uint64_t features = SENDS | TAKES | (i / 3 & 1 ? BED_HASH : 0) | (i / 6 ? BED_MERGE : 0);
        struct register_bed *bed = begin(state, features, high[i % 3]);
        const struct net_header *header = &bed->net[0].last_header;

        assert_int_equal(bed->net[0].options.header_len, NET_HEADER_TUNNEL);
        for (uint32_t len = 14; len < 1500; len += 300) {
            register_bed_exchange(bed, 0, len);
            assert_int_equal(header->flags | header->gso_type | header->hdr_len, 0);
            assert_int_equal(header->outer_th_offset | header->inner_nh_offset, 0);
            assert_int_equal(header->num_buffers, 1);
        }
        register_bed_teardown(state);
        register_bed_setup(state);
    }
}

/* ---- frames ------------------------------------------------------------------------------------
 */

static void NET_RX_11_tunnel_comes_whole_where_agreed(void **state)
{
    struct register_bed *bed = begin(state, EVERYTHING, BED_TUNNELS_HIGH);
    struct net_header header = usual();

    for (unsigned i = 0; i < 10; i++) {
        send_made(bed, &header);
        expect_whole(bed, &header);
    }
    header.flags |= TUNNEL_CSUM;
    tunnel_frame_begin_outer_checksum(&made);
    send_made(bed, &header);
    expect_whole(bed, &header);
    header.gso_type |= 0x80; /* ECN */
    send_made(bed, &header);
    expect_whole(bed, &header);
    register_bed_exchange(bed, 0, 200);
}

/* Nobody cuts it, so it is dropped and counted; what comes behind it arrives. */
static void NET_RX_11_tunnel_that_was_not_agreed_never_comes(void **state)
{
    struct register_bed *bed = begin(state, EVERYTHING, HOST_TUNNEL | HOST_TUNNEL_CSUM);
    struct net_header header = usual();

    for (unsigned i = 1; i < 5; i++) {
        send_made(bed, &header);
        expect_counted(bed, "offload", i);
        register_bed_exchange(bed, 0, 200);
    }
}

static void NET_RX_11_outer_checksum_needs_its_own_bit(void **state)
{
    struct register_bed *bed =
        begin(state, EVERYTHING, HOST_TUNNEL | HOST_TUNNEL_CSUM | GUEST_TUNNEL);
    struct net_header header = usual();

    send_made(bed, &header);
    expect_whole(bed, &header);
    header.flags |= TUNNEL_CSUM;
    send_made(bed, &header);
    expect_counted(bed, "offload", 1);
    register_bed_exchange(bed, 0, 200);
}

/* Without HOST_UDP_TUNNEL_GSO: that the driver takes tunnels does not let it send them. */
static void NET_TX_11_tunnel_that_was_not_agreed_is_refused(void **state)
{
    struct register_bed *bed = begin(state, EVERYTHING, GUEST_TUNNEL | GUEST_TUNNEL_CSUM);
    struct net_header header = usual();

    send_made(bed, &header);
    expect_counted(bed, "bad_header", 1);
    register_bed_exchange(bed, 0, 200);
}

static void NET_TX_11_NET_TX_12_headers_that_lie(void **state)
{
    struct register_bed *bed = begin(state, EVERYTHING, BED_TUNNELS_HIGH);
    struct net_header good = usual();
    struct net_header wrong[16];
    unsigned count = 0;

    for (unsigned i = 0; i < 16; i++)
        wrong[i] = good;
    wrong[count++].gso_type = TCPV4 | TUNNEL_IPV4 | TUNNEL_IPV6;
    wrong[count++].gso_type = TCPV4 | TUNNEL_IPV6; /* neither header's */
    wrong[count++].gso_type = TUNNEL_IPV4;
    wrong[count++].gso_type = TUNNEL_IPV4 | 3;
    wrong[count++].gso_type = TUNNEL_IPV4 | 4;
    wrong[count++].gso_type = TUNNEL_IPV4 | 5;
    wrong[count++].flags = 0;
    wrong[count++].flags = NEEDS_CSUM | DATA_VALID;
    wrong[count].flags = TUNNEL_CSUM;
    wrong[count++].gso_type = 0;
    wrong[count++].outer_th_offset = 0;
    wrong[count++].outer_th_offset = 33;
    wrong[count++].inner_nh_offset = 0xffff;
    wrong[count++].inner_nh_offset = (uint16_t)(made.outer_th + 7);
    wrong[count++].csum_start = made.outer_th;
    wrong[count++].csum_start = 0xffff;
    wrong[count++].gso_size = 0;
    for (unsigned i = 0; i < count; i++) {
        send_made(bed, &wrong[i]);
        expect_counted(bed, "bad_header", i + 1);
    }
    send_made(bed, &good);
    expect_whole(bed, &good);
}

/* virtio 1.4, 5.1.6.5.6; the bits of the command are 46 and 47 (checklist X-16). */
static void CTL_OFF_01_tunnels_go_off_and_on(void **state)
{
    static const uint64_t plain = TAKES, tunnels = BED_BIT(46), sums = BED_BIT(47);
    uint64_t features = EVERYTHING | BED_BIT(17) | BED_BIT(2);
    struct register_bed *bed = begin(state, features, BED_TUNNELS_HIGH);
    struct control_driver *control = calloc(1, sizeof(*control));
    struct net_header header = usual();

    control_driver_init(control, bed->ring[2], 0);
    for (unsigned i = 0; i < 3; i++) {
        set_offloads(control, plain);
        send_made(bed, &header);
        expect_counted(bed, "offload", 1 + 2 * i);
        set_offloads(control, plain | tunnels);
        send_made(bed, &header);
        expect_whole(bed, &header);
        header.flags |= TUNNEL_CSUM;
        send_made(bed, &header);
        expect_counted(bed, "offload", 2 + 2 * i);
        set_offloads(control, plain | tunnels | sums);
        send_made(bed, &header);
        expect_whole(bed, &header);
        header.flags = NEEDS_CSUM;
    }
    free(control);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(NET_FT_01_tunnels_are_offered_where_the_endpoint_takes_them),
        BED_TEST(NET_FT_02_tunnels_without_what_they_need),
        BED_TEST(NET_HDR_01_header_of_24_bytes),
        BED_TEST(NET_RX_11_tunnel_comes_whole_where_agreed),
        BED_TEST(NET_RX_11_tunnel_that_was_not_agreed_never_comes),
        BED_TEST(NET_RX_11_outer_checksum_needs_its_own_bit),
        BED_TEST(NET_TX_11_tunnel_that_was_not_agreed_is_refused),
        BED_TEST(NET_TX_11_NET_TX_12_headers_that_lie),
        BED_TEST(CTL_OFF_01_tunnels_go_off_and_on),
    };

    return BED_RUN_BOTH(tests, &transport);
}
