/* SPDX-License-Identifier: MIT */
/* Status, features, config space, reset and notifications of the device, as a vhost-user front-end
 * sees them. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

#define NET_CSUM         (1ull << 0)
#define NET_GUEST_CSUM   (1ull << 1)
#define NET_MTU          (1ull << 3)
#define NET_MAC          (1ull << 5)
#define NET_MRG_RXBUF    (1ull << 15)
#define NET_STATUS       (1ull << 16)
#define NET_CTRL_VQ      (1ull << 17)
#define NET_MQ           (1ull << 22)
#define NET_SPEED_DUPLEX (1ull << 63)

enum {
    OK = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK,
    UP_TO_FEATURES = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK,
};

static uint64_t status_of(struct front_end *fe)
{
    uint64_t status = ~0ull;

    assert_int_equal(front_end_get_status(fe, &status), 0);
    return status;
}

static uint64_t write_status(struct front_end *fe, uint8_t status)
{
    assert_int_equal(front_end_set_status(fe, status), 0);
    return status_of(fe);
}

/* A connection on which only the protocol was agreed. */
static struct testbed *bed_hello(void **state, const struct testbed_options *options)
{
    struct testbed *bed = testbed_start_daemon(state, options);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    testbed_connect(&bed->nic[BYSTANDER]);
    front_end_connect(fe, bed->nic[VICTIM].socket);
    assert_int_equal(front_end_get_features(fe), 0);
    assert_int_equal(front_end_get_protocol_features(fe), 0);
    assert_int_equal(front_end_set_protocol_features(fe, fe->pf_offered & ~VU_PF_INBAND), 0);
    assert_int_equal(front_end_simple(fe, VU_SET_OWNER), 0);
    return bed;
}

/* ---- status ---- */

static void GEN_ST_01_status_is_0_first_and_after_reset(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(status_of(fe), 0);
    assert_int_equal(write_status(fe, 1), 1);
    assert_int_equal(write_status(fe, 3), 3);
    assert_int_equal(write_status(fe, 0), 0);
    assert_int_equal(write_status(fe, 3), 3);
    assert_int_equal(front_end_simple(fe, VU_RESET_DEVICE), 0);
    assert_int_equal(status_of(fe), 0);
    testbed_finish(bed);
}

static void GEN_ST_05_written_bits_only_add(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES), 0);
    assert_int_equal(write_status(fe, UP_TO_FEATURES), UP_TO_FEATURES);
    assert_int_equal(write_status(fe, 3), UP_TO_FEATURES);
    assert_int_equal(write_status(fe, STATUS_NEEDS_RESET | 3), UP_TO_FEATURES);
    testbed_finish(bed);
}

static void GEN_ST_06_driver_ok_without_features_ok(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES), 0);
    assert_true(write_status(fe, 7) & STATUS_NEEDS_RESET);
    assert_int_equal(write_status(fe, 0), 0);
    testbed_finish(bed);
}

static void GEN_ST_07_all_bits_in_one_write(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES), 0);
    assert_int_equal(write_status(fe, OK), OK);
    testbed_finish(bed);
}

static void GEN_ST_08_failed_is_kept_until_reset(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES), 0);
    assert_int_equal(write_status(fe, UP_TO_FEATURES), UP_TO_FEATURES);
    assert_int_equal(write_status(fe, STATUS_FAILED | UP_TO_FEATURES),
                     STATUS_FAILED | UP_TO_FEATURES);
    assert_false(write_status(fe, OK) & STATUS_DRIVER_OK);
    assert_int_equal(write_status(fe, 0), 0);
    testbed_finish(bed);
}

static void GEN_ST_09_same_status_again_changes_nothing(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 100);
    assert_int_equal(write_status(&nic->fe, OK), OK);
    assert_int_equal(write_status(&nic->fe, OK), OK);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void GEN_ST_10_undefined_and_suspend_bits_are_not_stored(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(write_status(fe, 3 | 32 | 16), 3);
    testbed_finish(bed);
}

static void VU_ST_12_status_above_a_byte_is_refused(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_true(front_end_set_u64(fe, VU_SET_STATUS, 0x100) > 0);
    assert_true(front_end_set_u64(fe, VU_SET_STATUS, UINT64_MAX) > 0);
    assert_int_equal(status_of(fe), 0);
    testbed_finish(bed);
}

/* Filled before anything is up and never kicked: served as soon as the ring starts. */
static void GEN_ST_03_rings_filled_before_the_start_are_served(void **state)
{
    struct testbed *bed = testbed_start_daemon(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct net_driver *net = &nic->net[0];
    uint8_t frame[200];
    uint8_t got[NET_FRAME_MAX];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    net_driver_queue(net, frame, sizeof(frame));
    nic->vring[1].ring.ops->publish(&nic->vring[1].ring);
    for (unsigned i = 0; i < 4; i++) {
        struct driver_buffer buffer = {net->rx_gpa[i], 2048, DEVICE_WRITES};
        struct driver_chain chain = {&buffer, 1, CHAIN_DIRECT};

        memset(guest_ram_at(&nic->ram, net->rx_gpa[i], 2048), 0xaa, 2048);
        net->rx_slot_of[net->rx->ops->add(net->rx, &chain)] = i;
    }
    nic->vring[0].ring.ops->publish(&nic->vring[0].ring);
    net->rx_free_count = 0;
    front_end_connect(&nic->fe, nic->socket);
    front_end_start_qemu(&nic->fe, &nic->setup);
    assert_int_equal(net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS), 200);
    assert_memory_equal(got, frame, 200);
    testbed_connect(&bed->nic[BYSTANDER]);
    testbed_finish(bed);
}

/* ---- features ---- */

static void GEN_FT_01_NET_FT_01_offer_is_closed(void **state)
{
    static const struct {
        uint64_t bit;
        uint64_t all;
        uint64_t any;
    } needs[] = {
        {1ull << 2, NET_CTRL_VQ, 0},
        {1ull << 7, NET_GUEST_CSUM, 0},
        {1ull << 8, NET_GUEST_CSUM, 0},
        {1ull << 9, 0, 3ull << 7},
        {1ull << 10, NET_GUEST_CSUM, 0},
        {1ull << 11, NET_CSUM, 0},
        {1ull << 12, NET_CSUM, 0},
        {1ull << 13, 0, 3ull << 11},
        {1ull << 14, NET_CSUM, 0},
        {1ull << 18, NET_CTRL_VQ, 0},
        {1ull << 19, NET_CTRL_VQ, 0},
        {1ull << 20, NET_CTRL_VQ, 0},
        {1ull << 21, NET_CTRL_VQ | NET_STATUS, 0},
        {1ull << 22, NET_CTRL_VQ, 0},
        {1ull << 23, NET_CTRL_VQ, 0},
        {1ull << 50, NET_CTRL_VQ, 0},
        {1ull << 51, NET_CTRL_VQ, (1ull << 57) | (1ull << 60)},
        {1ull << 52, NET_CTRL_VQ, 0},
        {1ull << 53, NET_CTRL_VQ, 0},
        {1ull << 54, NET_GUEST_CSUM, 0},
        {1ull << 55, NET_GUEST_CSUM, 0},
        {1ull << 56, NET_CSUM, 0},
        {1ull << 57, NET_CTRL_VQ, 0},
        {1ull << 60, NET_CTRL_VQ, 0},
        {1ull << 61, 0, 3ull << 11},
        {1ull << 62, NET_MAC, 0},
    };
    static const char *const nic[] = {"endpoint=loopback", "endpoint=null",
                                      "queues=4,mtu=9000,endpoint=loopback"};

    for (unsigned i = 0; i < 3; i++) {
        struct testbed_options options = {.nic = nic[i]};
        struct testbed *bed = bed_hello(state, &options);
        uint64_t offered = bed->nic[VICTIM].fe.offered;

        for (unsigned n = 0; n < sizeof(needs) / sizeof(needs[0]); n++) {
            if (!(offered & needs[n].bit))
                continue;
            assert_true((needs[n].all & ~offered) == 0);
            assert_true(needs[n].any == 0 || (needs[n].any & offered) != 0);
        }
        testbed_finish(bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

static void GEN_FT_06_NET_FT_03_what_is_always_and_what_is_never_offered(void **state)
{
    static const uint64_t always = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC |
                                   VIRTIO_F_EVENT_IDX | VHOST_F_PROTOCOL_FEATURES |
                                   VHOST_F_LOG_ALL | NET_MAC | NET_STATUS | NET_MRG_RXBUF |
                                   NET_SPEED_DUPLEX;
    static const uint64_t never = (1ull << 4) | (1ull << 6) | (1ull << 25) | (1ull << 31) |
                                  (1ull << 37) | (1ull << 39) | (1ull << 41) | (1ull << 42) |
                                  (0x3full << 44) | (1ull << 58);
    struct testbed *bed = bed_hello(state, NULL);
    uint64_t offered = bed->nic[VICTIM].fe.offered;

    assert_true((always & ~offered) == 0);
    assert_true((never & offered) == 0);
    assert_false(offered & NET_MTU); /* none was configured */
    testbed_finish(bed);
}

static void GEN_FT_03_what_was_not_offered_is_refused(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t wanted = VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES | (1ull << bit);

        if (bit != 30 && !(fe->offered & (1ull << bit)))
            check(front_end_set_features(fe, wanted) > 0, "bit %u was not refused", bit);
    }
    assert_int_equal(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES), 0);
    testbed_finish(bed);
}

static void GEN_FT_04_refused_features_may_be_mended(void **state)
{
    struct testbed_options options = {.nic = "queues=2,endpoint=loopback"};
    struct testbed *bed = bed_hello(state, &options);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    const uint64_t base = VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES;

    assert_true(fe->offered & NET_MQ);
    assert_true(front_end_set_features(fe, base | (1ull << 13)) > 0);
    assert_int_equal(front_end_set_features(fe, base | NET_MQ | NET_CTRL_VQ), 0);
    assert_int_equal(write_status(fe, UP_TO_FEATURES), UP_TO_FEATURES);
    testbed_finish(bed);
}

static void VU_ST_12_features_ok_does_not_stick_after_refused_features(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_true(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES |
                                               (1ull << 58)) > 0);
    assert_int_equal(write_status(fe, UP_TO_FEATURES), 3);
    assert_int_equal(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES), 0);
    assert_int_equal(write_status(fe, UP_TO_FEATURES), UP_TO_FEATURES);
    testbed_finish(bed);
}

static void GEN_FT_09_offer_is_stable(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    uint64_t first = fe->offered;

    assert_int_equal(front_end_get_features(fe), 0);
    assert_true(fe->offered == first);
    assert_int_equal(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES), 0);
    assert_int_equal(front_end_get_features(fe), 0);
    assert_true(fe->offered == first);
    front_end_close(fe);
    front_end_connect(fe, bed->nic[VICTIM].socket);
    assert_int_equal(front_end_get_features(fe), 0);
    assert_true(fe->offered == first);
    testbed_finish(bed);
}

/* ---- config space ---- */

static void config_of(struct front_end *fe, uint8_t config[64])
{
    memset(config, 0xee, 64);
    assert_int_equal(front_end_get_config(fe, 0, 64, config), 64);
}

static void NET_CFG_fields_have_their_values(void **state)
{
    struct testbed_options options = {.nic = "mtu=9000,queues=3,speed=25000,endpoint=loopback"};
    struct testbed *bed = bed_hello(state, &options);
    uint8_t config[64];

    config_of(&bed->nic[VICTIM].fe, config); /* GEN-CFG-02: before any feature is agreed */
    assert_memory_equal(config, "\x52\x54\0\0\0\x01", 6);
    assert_int_equal(wire_get16(config + 6, WIRE_LITTLE), 1);      /* NET-CFG-07: link up */
    assert_int_equal(wire_get16(config + 8, WIRE_LITTLE), 3);      /* NET-CFG-01 */
    assert_int_equal(wire_get16(config + 10, WIRE_LITTLE), 9000);  /* NET-CFG-02 */
    assert_int_equal(wire_get32(config + 12, WIRE_LITTLE), 25000); /* NET-CFG-05 */
    assert_int_equal(config[16], 1);                               /* 1 is full duplex */
    testbed_finish(bed);
}

static void GEN_CFG_07_fields_of_what_is_not_offered_are_0(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    uint8_t config[64];

    config_of(&bed->nic[VICTIM].fe, config);
    assert_int_equal(wire_get16(config + 8, WIRE_LITTLE), 0);
    assert_int_equal(wire_get16(config + 10, WIRE_LITTLE), 0);
    assert_true(wire_get32(config + 12, WIRE_LITTLE) == UINT32_MAX); /* speed unknown */
    assert_int_equal(wire_get16(config + 18, WIRE_LITTLE), 0);       /* no RSS with one pair */
    for (unsigned i = 28; i < 64; i++)
        assert_int_equal(config[i], 0);
    testbed_finish(bed);
}

static void NET_CFG_04_NET_CFG_09_what_can_be_hashed(void **state)
{
    struct testbed_options options = {.nic = "queues=2,endpoint=loopback"};
    struct testbed *bed = bed_hello(state, &options);
    uint8_t config[64];

    config_of(&bed->nic[VICTIM].fe, config);
    assert_int_equal(config[17], 40);
    assert_int_equal(wire_get16(config + 18, WIRE_LITTLE), 128);
    assert_int_equal(wire_get32(config + 20, WIRE_LITTLE), 0x1ff);
    assert_int_equal(wire_get32(config + 24, WIRE_LITTLE), 0x1ff);
    config_of(&bed->nic[BYSTANDER].fe, config); /* one pair: HASH_REPORT alone */
    assert_int_equal(config[17], 40);
    assert_int_equal(wire_get16(config + 18, WIRE_LITTLE), 0);
    assert_int_equal(wire_get32(config + 20, WIRE_LITTLE), 0x1ff);
    testbed_finish(bed);
}

/* Every offset and width gives the same bytes; what lies behind the end is 0. */
static void GEN_CFG_06_reads_of_every_offset_and_width(void **state)
{
    static const uint32_t width[] = {1, 2, 3, 4, 6, 8};
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    uint8_t whole[64];
    uint8_t part[8];

    config_of(fe, whole);
    for (uint32_t offset = 0; offset < 56; offset++) {
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(front_end_get_config(fe, offset, width[i], part), width[i]);
            assert_memory_equal(part, whole + offset, width[i]);
        }
    }
    testbed_finish(bed);
}

static void GEN_CFG_06_writes_are_refused(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    uint8_t before[64];
    uint8_t after[64];

    config_of(fe, before);
    assert_true(front_end_set_config(fe, 0, 6, "\x02\x02\x02\x02\x02\x02") > 0);
    config_of(fe, after);
    assert_memory_equal(before, after, 64);
    testbed_finish(bed);
}

static void VU_SEC_09_config_beyond_the_end(void **state)
{
    static const uint32_t bad[][2] = {
        {257, 1}, {256, 4}, {200, 100}, {UINT32_MAX, 1}, {UINT32_MAX - 3, 8}, {0xfffffffc, 4}};
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    uint8_t data[256];

    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(front_end_get_config(fe, bad[i][0], bad[i][1], data), 0);
    assert_int_equal(front_end_get_config(fe, 0, 6, data), 6);
    testbed_finish(bed);
}

static void VU_SEC_09_config_size_that_is_not_the_payloads(void **state)
{
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    uint32_t payload[8] = {0, 200, 0};
    struct vu_message message = vu_message(VU_GET_CONFIG, payload, 12 + 8);
    uint8_t mac[6];

    assert_int_equal(front_end_ask(fe, &message), 0);
    assert_int_equal(message.size, 0);
    assert_int_equal(front_end_get_config(fe, 0, 6, mac), 6);
    testbed_finish(bed);
}

/* ---- reset ---- */

static void GEN_RST_01_nothing_is_written_after_a_reset(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[200];
    uint8_t *map = nic->ram.region[0].map;
    uint64_t used = nic->ram.region[0].used;
    uint8_t *before;

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned i = 0; i < 20; i++)
        net_driver_queue(&nic->net[0], frame, sizeof(frame));
    driver_ring_flush(&testbed_tx(nic, 0)->ring);
    assert_int_equal(write_status(&nic->fe, 0), 0);
    before = test_malloc(used);
    memcpy(before, map, used);
    for (unsigned i = 0; i < 5; i++) {
        driver_ring_kick(&testbed_tx(nic, 0)->ring);
        driver_ring_kick(&testbed_rx(nic, 0)->ring);
        sleep_ms(10);
    }
    assert_memory_equal(map, before, used);
    test_free(before);
    testbed_finish(bed);
}

static void bring_up_again(struct testbed_nic *nic)
{
    struct front_end *fe = &nic->fe;

    testbed_restart_rings(nic, 0);
    assert_int_equal(front_end_set_features(fe, fe->features), 0);
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        front_end_start_vring(fe, i, &nic->vring[i]);
    assert_int_equal(front_end_set_status(fe, OK), 0);
    net_driver_post(&nic->net[0], nic->net[0].rx_slots);
}

/* The memory table outlives a reset (VU-ST-11), the rest is agreed on anew. */
static void GEN_RST_06_VU_ST_11_hundred_resets_under_traffic(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    unsigned fds = 0;
    uint8_t frame[300];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned i = 0; i < 100; i++) {
        testbed_exchange(nic, 0, 100);
        for (unsigned n = 0; n < 8; n++)
            net_driver_queue(&nic->net[0], frame, sizeof(frame));
        driver_ring_flush(&testbed_tx(nic, 0)->ring);
        if (i % 2 == 0)
            assert_int_equal(write_status(&nic->fe, 0), 0);
        else
            assert_int_equal(front_end_simple(&nic->fe, VU_RESET_DEVICE), 0);
        bring_up_again(nic);
        if (i == 10)
            fds = daemon_fd_count(&bed->daemon);
    }
    testbed_exchange(nic, 0, 100);
    daemon_check_fds(&bed->daemon, fds);
    testbed_finish(bed);
}

static void GEN_RST_05_reset_in_every_phase(void **state)
{
    static const uint8_t phase[] = {0, 1, 3, UP_TO_FEATURES, OK, STATUS_FAILED | 3};
    struct testbed *bed = bed_hello(state, NULL);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    for (unsigned i = 0; i < sizeof(phase); i++) {
        assert_int_equal(front_end_set_features(fe, VIRTIO_F_VERSION_1 | VHOST_F_PROTOCOL_FEATURES),
                         0);
        assert_int_equal(write_status(fe, phase[i]), phase[i]);
        assert_int_equal(write_status(fe, 0), 0);
        assert_int_equal(write_status(fe, 0), 0);
    }
    testbed_finish(bed);
}

/* BOOT-06: the firmware's driver without, then the system's driver with MRG_RXBUF, on one
 * connection. */
static void BOOT_06_other_features_after_a_reset(void **state)
{
    struct testbed_options options = {.features = NET_MAC};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    assert_int_equal(nic->net[0].options.header_len, NET_HEADER_LEGACY);
    testbed_exchange(nic, 0, 100);
    assert_int_equal(write_status(&nic->fe, 0), 0);
    nic->net[0].options.header_len = NET_HEADER_MODERN;
    nic->net[0].options.mergeable = 1;
    nic->fe.features = VIRTIO_F_VERSION_1 | NET_MRG_RXBUF | NET_MAC | VHOST_F_PROTOCOL_FEATURES;
    bring_up_again(nic);
    testbed_exchange(nic, 0, 1400);
    testbed_finish(bed);
}

/* ---- notifications ---- */

static void GEN_NT_01_many_kicks_on_empty_rings(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 20000; i++) {
        driver_ring_kick(&testbed_tx(nic, 0)->ring);
        driver_ring_kick(&testbed_rx(nic, 0)->ring);
    }
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* GEN-NT-04: whenever the call comes, the used entry is there. DPK-01: without calls, too. */
static void GEN_NT_04_call_follows_the_used_entry(void **state)
{
    struct testbed_options options = {.without = VIRTIO_F_EVENT_IDX};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *rx = testbed_rx(nic, 0);
    uint8_t frame[100];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    wait_eventfd(rx->ring.call_fd, 0);
    for (unsigned i = 0; i < 50; i++) {
        net_driver_send(&nic->net[0], frame, sizeof(frame));
        assert_true(wait_eventfd(rx->ring.call_fd, WAIT_LONG_MS) > 0);
        assert_true(driver_split_used_idx(rx) != rx->used_idx);
        assert_int_equal(net_driver_receive(&nic->net[0], frame, sizeof(frame), 0), 100);
        net_driver_drain(&nic->net[0]);
    }
    rx->ring.ops->interrupts(&rx->ring, INTERRUPTS_OFF);
    testbed_exchange(nic, 0, 100);
    wait_eventfd(rx->ring.call_fd, 0);
    for (unsigned i = 0; i < 20; i++)
        testbed_exchange(nic, 0, 100);
    assert_int_equal(wait_eventfd(rx->ring.call_fd, 0), 0);
    testbed_finish(bed);
}

static void GEN_NT_03_VU_SEC_05_rings_that_do_not_exist(void **state)
{
    static const uint32_t request[] = {VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ENABLE,
                                       VU_SET_VRING_ENDIAN};
    static const uint32_t index[] = {3, 4, 255, 256, 0x80000000, UINT32_MAX};
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 6; i++) {
        for (unsigned n = 0; n < 4; n++)
            assert_true(front_end_vring_state(&nic->fe, request[n], index[i], 1) > 0);
    }
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(GEN_ST_01_status_is_0_first_and_after_reset),
        TESTBED_TEST(GEN_ST_03_rings_filled_before_the_start_are_served),
        TESTBED_TEST(GEN_ST_05_written_bits_only_add),
        TESTBED_TEST(GEN_ST_06_driver_ok_without_features_ok),
        TESTBED_TEST(GEN_ST_07_all_bits_in_one_write),
        TESTBED_TEST(GEN_ST_08_failed_is_kept_until_reset),
        TESTBED_TEST(GEN_ST_09_same_status_again_changes_nothing),
        TESTBED_TEST(GEN_ST_10_undefined_and_suspend_bits_are_not_stored),
        TESTBED_TEST(VU_ST_12_status_above_a_byte_is_refused),
        TESTBED_TEST(GEN_FT_01_NET_FT_01_offer_is_closed),
        TESTBED_TEST(GEN_FT_06_NET_FT_03_what_is_always_and_what_is_never_offered),
        TESTBED_TEST(GEN_FT_03_what_was_not_offered_is_refused),
        TESTBED_TEST(GEN_FT_04_refused_features_may_be_mended),
        TESTBED_TEST(VU_ST_12_features_ok_does_not_stick_after_refused_features),
        TESTBED_TEST(GEN_FT_09_offer_is_stable),
        TESTBED_TEST(NET_CFG_fields_have_their_values),
        TESTBED_TEST(NET_CFG_04_NET_CFG_09_what_can_be_hashed),
        TESTBED_TEST(GEN_CFG_07_fields_of_what_is_not_offered_are_0),
        TESTBED_TEST(GEN_CFG_06_reads_of_every_offset_and_width),
        TESTBED_TEST(GEN_CFG_06_writes_are_refused),
        TESTBED_TEST(VU_SEC_09_config_beyond_the_end),
        TESTBED_TEST(VU_SEC_09_config_size_that_is_not_the_payloads),
        TESTBED_TEST(GEN_RST_01_nothing_is_written_after_a_reset),
        TESTBED_TEST(GEN_RST_05_reset_in_every_phase),
        TESTBED_TEST(GEN_RST_06_VU_ST_11_hundred_resets_under_traffic),
        TESTBED_TEST(BOOT_06_other_features_after_a_reset),
        TESTBED_TEST(GEN_NT_01_many_kicks_on_empty_rings),
        TESTBED_TEST(GEN_NT_03_VU_SEC_05_rings_that_do_not_exist),
        TESTBED_TEST(GEN_NT_04_call_follows_the_used_entry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
