/* SPDX-License-Identifier: MIT */
/* What a driver sees of `vionic set`: config space, the notices that it changed, and its packets.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "testbed.h"

#define NET_MTU          (1ull << 3)
#define NET_MAC          (1ull << 5)
#define NET_STATUS       (1ull << 16)
#define NET_ANNOUNCE     (1ull << 21)
#define NET_MAC_ADDR     (1ull << 23)
#define NET_SPEED_DUPLEX (1ull << 63)

#define FEATURES                                                                                   \
    (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | NET_MTU | NET_MAC | NET_STATUS | NET_SPEED_DUPLEX)

enum {
    BACKEND_CONFIG_CHANGE = 2,
    LINK_UP = 1,
    ANNOUNCE = 2,
    UP_TO_FEATURES = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK,
    BLIP_MS = 200,
};

struct config {
    uint8_t mac[6];
    uint16_t status, mtu;
    uint32_t speed;
    uint8_t duplex;
};

static struct config config_of(struct front_end *fe)
{
    uint8_t bytes[28];
    struct config config;

    assert_int_equal(front_end_get_config(fe, 0, sizeof(bytes), bytes), sizeof(bytes));
    memcpy(config.mac, bytes, sizeof(config.mac));
    config.status = wire_get16(bytes + 6, WIRE_LITTLE);
    config.mtu = wire_get16(bytes + 10, WIRE_LITTLE);
    config.speed = wire_get32(bytes + 12, WIRE_LITTLE);
    config.duplex = bytes[16];
    return config;
}

/* VU-BR-01: the message has no payload and asks for no answer. */
static void expect_notice(struct front_end *fe)
{
    uint32_t message[3]; /* native order */

    check(wait_readable(fe->backend_fd, WAIT_LONG_MS), "no notice of a changed config space");
    assert_int_equal(read(fe->backend_fd, message, sizeof(message)), sizeof(message));
    assert_int_equal(message[0], BACKEND_CONFIG_CHANGE);
    assert_int_equal(message[1], VU_VERSION);
    assert_int_equal(message[2], 0);
}

static void expect_no_notice(struct front_end *fe)
{
    check(!wait_readable(fe->backend_fd, WAIT_QUIET_MS), "a notice, and there is nothing new");
}

static void set(struct testbed *bed, const char *name, const char *value)
{
    char refusal[512];

    check(daemon_set(&bed->daemon, name, value, refusal), "%s=%s: %s", name, value, refusal);
}

static void expect_refused(struct testbed *bed, const char *name, const char *value,
                           const char *word)
{
    char refusal[512];

    check(!daemon_set(&bed->daemon, name, value, refusal), "%s=%s was not refused", name, value);
    check(strstr(refusal, word) != NULL, "%s=%s: \"%s\" is not in: %s", name, value, word, refusal);
}

static struct testbed *bed_of(void **state, uint64_t features)
{
    struct testbed_options options = {.nic = "mtu=1500,speed=1000,endpoint=loopback",
                                      .features = features};

    return testbed_start(state, &options);
}

/* ---- link ---- */

static void NET_CFG_07_GEN_CFG_05_link_goes_down_and_up(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[100];

    testbed_exchange(nic, 0, 100);
    for (unsigned round = 1; round <= 3; round++) {
        set(bed, "nic0.link", "down");
        expect_notice(&nic->fe);
        assert_int_equal(config_of(&nic->fe).status, 0);
        net_frame_make(frame, sizeof(frame), nic->mac, 7);
        for (unsigned i = 0; i < 5; i++)
            net_driver_send(&nic->net[0], frame, sizeof(frame));
        net_driver_drain(&nic->net[0]); /* consumed, so that no driver hangs */
        testbed_expect_silence(nic, 0);
        assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_drops/link_down"),
                         5 * round);
        set(bed, "nic0.link", "down");
        expect_no_notice(&nic->fe);
        set(bed, "nic0.link", "up");
        expect_notice(&nic->fe);
        assert_int_equal(config_of(&nic->fe).status, LINK_UP);
        testbed_exchange(nic, 0, 100);
    }
    testbed_finish(bed);
}

static void GEN_CFG_05_no_notice_for_a_driver_without_the_field(void **state)
{
    struct testbed *bed = bed_of(state, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    set(bed, "nic0.link", "down");
    set(bed, "nic0.speed", "2500");
    set(bed, "nic0.mac", "52:54:00:00:00:77");
    set(bed, "nic0.mtu", "9000");
    expect_no_notice(&nic->fe);
    set(bed, "nic0.link", "up");
    expect_no_notice(&nic->fe);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void GEN_CFG_05_a_change_before_DRIVER_OK_is_silent_and_visible(void **state)
{
    struct testbed_options options = {.features = FEATURES};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_connect(&bed->nic[BYSTANDER]);
    front_end_connect(&nic->fe, nic->socket);
    front_end_hello(&nic->fe, &nic->setup);
    assert_int_equal(front_end_set_backend_req_fd(&nic->fe), 0);
    assert_int_equal(front_end_set_status(&nic->fe, UP_TO_FEATURES), 0);
    assert_int_equal(front_end_set_mem_table(&nic->fe, &nic->ram), 0);
    for (unsigned i = 0; i < 2; i++)
        front_end_start_ring(&nic->fe, i, nic->ring[i]);
    set(bed, "nic0.link", "down");
    set(bed, "nic0.speed", "2500");
    expect_no_notice(&nic->fe);
    assert_int_equal(config_of(&nic->fe).status, 0);
    assert_int_equal(config_of(&nic->fe).speed, 2500);
    assert_int_equal(front_end_set_status(&nic->fe, UP_TO_FEATURES | STATUS_DRIVER_OK), 0);
    set(bed, "nic0.link", "up");
    expect_notice(&nic->fe);
    testbed_finish_anew(bed);
}

/* NEEDS_RESET is the device's word: it does not make a driver that tells no status one that does.
 */
static void GEN_CFG_05_a_broken_ring_does_not_silence_the_others(void **state)
{
    struct testbed_options options = {
        .nic = "endpoint=loopback",
        .features = FEATURES,
        .pf = ~(VU_PF_INBAND | VU_PF_CONFIGURE_MEM_SLOTS | VU_PF_STATUS)};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    driver_split_offer(testbed_tx(nic, 0), 0xffff);
    testbed_tx(nic, 0)->ring.ops->publish(&testbed_tx(nic, 0)->ring);
    testbed_expect_break(bed, 1);
    set(bed, "nic0.link", "down");
    expect_notice(&nic->fe);
    set(bed, "nic0.link", "up");
    expect_notice(&nic->fe);
    testbed_finish_anew(bed);
}

/* The operator's word outlives drivers and front-ends. */
static void the_link_stays_down_for_the_next_driver(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    set(bed, "nic0.link", "down");
    testbed_disconnect(nic);
    testbed_connect(nic);
    assert_int_equal(config_of(&nic->fe).status, 0);
    set(bed, "nic0.link", "up");
    expect_notice(&nic->fe);
    testbed_exchange_fresh(nic, 0);
    testbed_finish(bed);
}

/* ---- speed and duplex ---- */

/* Reads until the link is up again; while it is, the values may only be the new ones. */
static uint64_t watch_blip(struct front_end *fe, uint32_t speed, uint8_t duplex)
{
    uint64_t begun = now_ms();
    struct config config = config_of(fe);

    assert_int_equal(config.status, 0);
    assert_int_equal(config.speed, 1000);
    assert_int_equal(config.duplex, 1);
    expect_notice(fe);
    config = config_of(fe);
    assert_int_equal(config.status, LINK_UP);
    assert_int_equal(config.speed, speed);
    assert_int_equal(config.duplex, duplex);
    return now_ms() - begun;
}

static void NET_CFG_06_speed_changes_while_the_link_is_down(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    set(bed, "nic0.speed", "25000");
    expect_notice(&nic->fe);
    watch_blip(&nic->fe, 25000, 1);
    expect_no_notice(&nic->fe);
    testbed_exchange(nic, 0, 100);
    set(bed, "nic0.speed", "25000");
    expect_no_notice(&nic->fe);
    testbed_finish(bed);
}

static void NET_CFG_06_speed_and_duplex_share_one_blip(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    set(bed, "nic0.speed", "100");
    set(bed, "nic0.duplex", "half");
    expect_notice(&nic->fe);
    watch_blip(&nic->fe, 100, 0);
    expect_no_notice(&nic->fe);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void NET_CFG_06_a_driver_that_never_looks_gets_it_in_time(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t begun;

    set(bed, "nic0.duplex", "half");
    begun = now_ms();
    expect_notice(&nic->fe);
    expect_notice(&nic->fe);
    check(now_ms() - begun >= BLIP_MS / 2, "the link came back before anybody could have seen it");
    assert_int_equal(config_of(&nic->fe).status, LINK_UP);
    assert_int_equal(config_of(&nic->fe).duplex, 0);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void NET_CFG_06_speed_changes_at_once_while_the_link_is_down(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    set(bed, "nic0.link", "down");
    expect_notice(&nic->fe);
    set(bed, "nic0.speed", "40000");
    expect_notice(&nic->fe);
    assert_int_equal(config_of(&nic->fe).speed, 40000);
    assert_int_equal(config_of(&nic->fe).status, 0);
    expect_no_notice(&nic->fe);
    set(bed, "nic0.link", "up");
    expect_notice(&nic->fe);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* A link that is taken down, or a driver that goes, in the middle of a blip. */
static void NET_CFG_06_a_blip_that_is_overtaken(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    set(bed, "nic0.speed", "40000");
    set(bed, "nic0.link", "down");
    expect_notice(&nic->fe);
    expect_notice(&nic->fe);
    assert_int_equal(config_of(&nic->fe).status, 0);
    assert_int_equal(config_of(&nic->fe).speed, 40000);
    expect_no_notice(&nic->fe);
    set(bed, "nic0.link", "up");
    expect_notice(&nic->fe);
    set(bed, "nic0.speed", "1000");
    testbed_disconnect(nic);
    testbed_connect(nic);
    while (config_of(&nic->fe).status != LINK_UP)
        sleep_ms(5);
    assert_int_equal(config_of(&nic->fe).speed, 1000);
    testbed_exchange_fresh(nic, 0);
    testbed_finish(bed);
}

/* ---- MTU, address, announcement ---- */

static void NET_CFG_02_the_mtu_stays_under_a_driver_that_goes_by_it(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    expect_refused(bed, "nic0.mtu", "9000", "re-plug");
    expect_refused(bed, "nic0.mtu", "1499", "1500");
    assert_int_equal(config_of(&nic->fe).mtu, 1500);
    set(bed, "nic0.mtu", "1500"); /* what it is already */
    expect_no_notice(&nic->fe);
    testbed_exchange(nic, 0, 1514);
    assert_int_equal(front_end_set_status(&nic->fe, 0), 0);
    set(bed, "nic0.mtu", "9000");
    assert_int_equal(config_of(&nic->fe).mtu, 9000);
    testbed_disconnect(nic);
    testbed_connect(nic);
    assert_int_equal(config_of(&nic->fe).mtu, 9000);
    expect_refused(bed, "nic0.mtu", "1500", "9000");
    testbed_finish_anew(bed);
}

static void NET_CFG_02_an_mtu_that_no_driver_goes_by_may_change(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES & ~NET_MTU);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    set(bed, "nic0.mtu", "68");
    testbed_exchange(nic, 0, 1514);
    testbed_finish(bed);
}

static void NET_CFG_09_a_new_address_is_noticed(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct config config;

    set(bed, "nic0.mac", "52:54:00:0a:0b:0c");
    expect_notice(&nic->fe);
    config = config_of(&nic->fe);
    assert_memory_equal(config.mac, "\x52\x54\x00\x0a\x0b\x0c", 6);
    assert_int_equal(config.status, LINK_UP);
    expect_refused(bed, "nic0.mac", "01:00:5e:00:00:01", "multicast");
    expect_refused(bed, "nic0.mac", "00:00:00:00:00:00", "zeros");
    expect_no_notice(&nic->fe);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void CTL_ANN_01_says_why_it_can_not_be_asked_for(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    expect_refused(bed, "nic0.announce", "now", "guest_announce");
    expect_no_notice(&nic->fe);
    assert_int_equal(config_of(&nic->fe).status, LINK_UP);
    testbed_disconnect(nic);
    expect_refused(bed, "nic0.announce", "now", "no driver is at work");
    testbed_connect(nic);
    testbed_finish_anew(bed);
}

static struct testbed *bed_with_control(void **state, struct control_driver *ret_driver)
{
    struct testbed_options options = {.nic = "mtu=1500,speed=1000,endpoint=loopback",
                                      .features = FEATURES | NET_ANNOUNCE | NET_MAC_ADDR,
                                      .control = 1,
                                      .start = front_end_start_crosvm};
    struct testbed *bed = testbed_start(state, &options);

    assert_int_equal(front_end_set_backend_req_fd(&bed->nic[VICTIM].fe), 0);
    control_driver_init(ret_driver, bed->nic[VICTIM].ring[2], 0);
    return bed;
}

static void CTL_ANN_01_asked_for_until_it_is_acknowledged(void **state)
{
    static const uint8_t acknowledge[] = {3, 0};
    static struct control_driver driver;
    struct testbed *bed = bed_with_control(state, &driver);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(control_driver_ask(&driver, acknowledge, 2), CONTROL_ACK_OK);
    expect_no_notice(fe);
    for (unsigned i = 0; i < 3; i++) {
        set(bed, "nic0.announce", "now");
        expect_notice(fe);
        assert_int_equal(config_of(fe).status, LINK_UP | ANNOUNCE);
        set(bed, "nic0.announce", "now");
        expect_no_notice(fe);
        assert_int_equal(config_of(fe).status, LINK_UP | ANNOUNCE);
        assert_int_equal(control_driver_ask(&driver, acknowledge, 2), CONTROL_ACK_OK);
        assert_int_equal(config_of(fe).status, LINK_UP);
    }
    set(bed, "nic0.announce", "now");
    expect_notice(fe);
    assert_int_equal(front_end_set_status(fe, 0), 0);
    assert_int_equal(config_of(fe).status, LINK_UP); /* the next driver was not asked */
    testbed_disconnect(&bed->nic[VICTIM]);
    testbed_connect(&bed->nic[VICTIM]);
    testbed_finish_anew(bed);
}

/* CTL-MAC-02: the driver's word holds until it is reset, whatever the operator says. */
static void an_address_that_the_driver_set_stays_until_its_reset(void **state)
{
    static const uint8_t command[] = {1, 1, 2, 3, 4, 5, 6, 7};
    static struct control_driver driver;
    struct testbed *bed = bed_with_control(state, &driver);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    assert_int_equal(control_driver_ask(&driver, command, sizeof(command)), CONTROL_ACK_OK);
    assert_memory_equal(config_of(&nic->fe).mac, command + 2, 6);
    set(bed, "nic0.mac", "52:54:00:0a:0b:0c");
    expect_no_notice(&nic->fe);
    assert_memory_equal(config_of(&nic->fe).mac, command + 2, 6);
    assert_int_equal(front_end_set_status(&nic->fe, 0), 0);
    assert_memory_equal(config_of(&nic->fe).mac, "\x52\x54\x00\x0a\x0b\x0c", 6);
    testbed_disconnect(nic);
    testbed_connect(nic);
    testbed_finish_anew(bed);
}

/* ---- the channel ---- */

/* VU-BR-01: whatever becomes of the channel, settings go on and so do packets. */
static void VU_BR_01_channels_that_are_full_closed_or_none(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 1500; i++) /* more than an unread channel holds */
        set(bed, "nic0.link", i % 2 == 0 ? "down" : "up");
    testbed_exchange(nic, 0, 100);
    close(nic->fe.backend_fd);
    nic->fe.backend_fd = -1;
    for (unsigned i = 0; i < 4; i++)
        set(bed, "nic0.link", i % 2 == 0 ? "down" : "up");
    testbed_exchange(nic, 0, 100);
    assert_int_equal(front_end_set_backend_req_fd(&nic->fe), 0);
    set(bed, "nic0.link", "down");
    expect_notice(&nic->fe);
    set(bed, "nic0.link", "up");
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* VU-BR-02: a machine that is paused hears of it when it goes on. */
static void VU_BR_02_nothing_is_said_while_all_rings_are_stopped(void **state)
{
    struct testbed *bed = bed_of(state, FEATURES);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    front_end_stop_vring(&nic->fe, 0);
    set(bed, "nic0.link", "down");
    expect_notice(&nic->fe); /* the transmit ring runs */
    front_end_stop_vring(&nic->fe, 1);
    set(bed, "nic0.link", "up");
    set(bed, "nic0.link", "down");
    expect_no_notice(&nic->fe);
    testbed_restart_rings(nic, 0);
    front_end_start_ring(&nic->fe, 0, nic->ring[0]);
    expect_notice(&nic->fe);
    front_end_start_ring(&nic->fe, 1, nic->ring[1]);
    expect_no_notice(&nic->fe);
    assert_int_equal(config_of(&nic->fe).status, 0);
    set(bed, "nic0.link", "up");
    expect_notice(&nic->fe);
    testbed_exchange_fresh(nic, 0);
    testbed_finish(bed);
}

static void VU_BR_03_changes_without_a_channel_are_counted(void **state)
{
    struct testbed_options options = {.nic = "endpoint=loopback",
                                      .features = FEATURES,
                                      .pf = VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_STATUS};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    set(bed, "nic0.link", "down");
    set(bed, "nic0.link", "up");
    expect_no_notice(&nic->fe);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/config_changes"), 2);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/config_notices"), 0);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_CFG_07_GEN_CFG_05_link_goes_down_and_up),
        TESTBED_TEST(GEN_CFG_05_no_notice_for_a_driver_without_the_field),
        TESTBED_TEST(GEN_CFG_05_a_change_before_DRIVER_OK_is_silent_and_visible),
        TESTBED_TEST(GEN_CFG_05_a_broken_ring_does_not_silence_the_others),
        TESTBED_TEST(the_link_stays_down_for_the_next_driver),
        TESTBED_TEST(NET_CFG_06_speed_changes_while_the_link_is_down),
        TESTBED_TEST(NET_CFG_06_speed_and_duplex_share_one_blip),
        TESTBED_TEST(NET_CFG_06_a_driver_that_never_looks_gets_it_in_time),
        TESTBED_TEST(NET_CFG_06_speed_changes_at_once_while_the_link_is_down),
        TESTBED_TEST(NET_CFG_06_a_blip_that_is_overtaken),
        TESTBED_TEST(NET_CFG_02_the_mtu_stays_under_a_driver_that_goes_by_it),
        TESTBED_TEST(NET_CFG_02_an_mtu_that_no_driver_goes_by_may_change),
        TESTBED_TEST(NET_CFG_09_a_new_address_is_noticed),
        TESTBED_TEST(CTL_ANN_01_says_why_it_can_not_be_asked_for),
        TESTBED_TEST(CTL_ANN_01_asked_for_until_it_is_acknowledged),
        TESTBED_TEST(an_address_that_the_driver_set_stays_until_its_reset),
        TESTBED_TEST(VU_BR_02_nothing_is_said_while_all_rings_are_stopped),
        TESTBED_TEST(VU_BR_03_changes_without_a_channel_are_counted),
        TESTBED_TEST(VU_BR_01_channels_that_are_full_closed_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
