/* SPDX-License-Identifier: MIT */
/* The control queue of the real daemon: how commands are framed, cut short, and answered; where the
 * queue is; and that a refused command changes nothing of what inspect shows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "control_sample.h"
#include "testbed.h"

#define MODERN      (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define ALL         (MODERN | CONTROL_F_ALL)
#define WITHOUT_TAG (ALL & ~(CONTROL_F_HASH_REPORT | CONTROL_F_HASH_TUNNEL)) /* 12-byte header */

enum {
    EXTRA = 8,
    PAYLOAD_MAX = 0x10000,
    CONTROL_RING = 4, /* with two pairs */
    SHAPES = CHAIN_MIXED + 1,
    ANSWER_MS = 1000, /* NetKVM gives up after 500 ms; sanitizers and a busy machine are slow */
};

struct control_test {
    struct testbed *bed;
    struct testbed_nic *nic;
    struct control_driver driver;
};

static void start_with(struct control_test *test, void **state, struct testbed_options *options)
{
    options->control = 1;
    options->without = ~options->features; /* MQ and CTRL_VQ come by themselves */
    if (options->start == NULL)
        options->start = front_end_start_crosvm;
    options->nic = "queues=2,endpoint=loopback";
    options->pairs = CONTROL_SAMPLE_PAIRS;
    test->bed = testbed_start(state, options);
    test->nic = &test->bed->nic[VICTIM];
    control_driver_init(&test->driver, test->nic->ring[CONTROL_RING], 0);
}

static void start(struct control_test *test, void **state, uint64_t features)
{
    struct testbed_options options = {.features = features};

    start_with(test, state, &options);
}

/* All that commands can change, as inspect shows it; owned by the caller. */
static char *shown_state(struct testbed *bed)
{
    static const char *const keys[] = {"mac_address", "active_queues", "announce_pending",
                                       "filter",      "rss",           "rx_offloads_off",
                                       "coalescing"};
    json_t *nic = daemon_inspect(&bed->daemon, "nic0");
    json_t *picked = json_object();
    char *text;

    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        json_t *value = json_object_get(nic, keys[i]);

        check(value != NULL, "inspect shows no %s", keys[i]);
        json_object_set(picked, keys[i], value);
    }
    text = json_dumps(picked, JSON_SORT_KEYS);
    json_decref(picked);
    json_decref(nic);
    return text;
}

static void expect_state(struct testbed *bed, char *before, const char *what)
{
    char *now = shown_state(bed);

    check(strcmp(now, before) == 0, "%s: from %s to %s", what, before, now);
    free(now);
    free(before);
}

static struct control_message message_of(const struct control_sample *sample)
{
    return (struct control_message){
        .bytes = sample->bytes, .len = sample->len, .room = sample->room};
}

/* ---- framing ---- */

static void every_length(struct control_test *test, const struct control_sample *sample)
{
    struct control_message message = message_of(sample);
    uint8_t bytes[CONTROL_SAMPLE_MAX + EXTRA] = {0};
    char *before = shown_state(test->bed);

    memcpy(bytes, sample->bytes, sample->len);
    message.bytes = bytes;
    for (message.len = 0; message.len <= sample->len + EXTRA; message.len++) {
        unsigned ack_at = message.len < CONTROL_SAMPLE_HEADER ? 0 : sample->ack_at;
        struct control_reply reply;

        if (message.len == sample->len) {
            expect_state(test->bed, before, sample->name);
            before = NULL;
        }
        test->driver.cut = message.len % CONTROL_CUT_COUNT;
        reply = control_driver_send(&test->driver, &message);
        check(reply.written[ack_at] == (message.len < sample->len), "%s of %u bytes: ack %u",
              sample->name, message.len, reply.written[ack_at]);
        check(reply.used_len == (message.len < sample->len ? ack_at + 1 : sample->room),
              "%s of %u bytes: used length %u", sample->name, message.len, reply.used_len);
    }
}

static void NET_CTL_06_every_length_of_every_command(void **state)
{
    static const uint64_t formats[] = {0, VIRTIO_F_RING_PACKED};

    for (unsigned i = 0; i < 2; i++) {
        struct control_test test;

        start(&test, state, ALL | formats[i]);
        for (unsigned n = 0; n < control_sample_count; n++)
            every_length(&test, &control_samples[n]);
        testbed_finish(test.bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

static void every_cut(void **state, uint64_t features)
{
    struct control_test test;

    start(&test, state, features);
    for (unsigned n = 0; n < control_sample_count * SHAPES * CONTROL_CUT_COUNT; n++) {
        const struct control_sample *sample = &control_samples[n % control_sample_count];
        struct control_message message = message_of(sample);
        unsigned variant = n / control_sample_count;
        struct control_reply reply;

        test.driver.cut = variant / SHAPES;
        test.driver.shape = variant % SHAPES;
        if (test.driver.shape == CHAIN_MIXED && features & VIRTIO_F_RING_PACKED)
            continue; /* there is no such list in a packed ring */
        reply = control_driver_send(&test.driver, &message);
        check(reply.written[sample->ack_at] == CONTROL_ACK_OK && reply.used_len == sample->room,
              "%s, cut %u: ack %u, used length %u", sample->name, variant / SHAPES,
              reply.written[sample->ack_at], reply.used_len);
    }
    testbed_finish(test.bed);
}

static void NET_CTL_01_framing_means_nothing_split(void **state)
{
    every_cut(state, ALL);
}

static void NET_CTL_01_framing_means_nothing_packed(void **state)
{
    every_cut(state, ALL | VIRTIO_F_RING_PACKED);
}

static void NET_CTL_01_framing_means_nothing_in_order(void **state)
{
    every_cut(state, ALL | VIRTIO_F_RING_PACKED | VIRTIO_F_IN_ORDER);
}

static void NET_CTL_05_no_room_to_answer_means_no_effect(void **state)
{
    struct control_test test;
    char *before;

    start(&test, state, ALL);
    before = shown_state(test.bed);
    for (unsigned n = 0; n < control_sample_count; n++) {
        struct control_message message = message_of(&control_samples[n]);

        message.room = 0;
        assert_int_equal(control_driver_send(&test.driver, &message).used_len, 0);
    }
    expect_state(test.bed, before, "a command without room for an answer");
    assert_int_equal(daemon_number(&test.bed->daemon, "nic0/control/malformed"),
                     control_sample_count);
    testbed_finish(test.bed);
}

static void NET_CTL_06_commands_without_their_feature(void **state)
{
    for (unsigned n = 0; n < control_sample_count; n++) {
        const struct control_sample *sample = &control_samples[n];
        struct control_message message = message_of(sample);
        uint64_t without = sample->any;
        struct control_test test;
        char *before;

        if (n > 0 && sample->any == control_samples[n - 1].any) /* one of each feature will do */
            continue;
        if (without & CONTROL_F_HASH_REPORT)
            without |= CONTROL_F_HASH_TUNNEL; /* which may rest on it */
        start(&test, state, ALL & ~without);
        before = shown_state(test.bed);
        check(control_driver_send(&test.driver, &message).written[0] == CONTROL_ACK_ERR,
              "%s passes without its feature", sample->name);
        expect_state(test.bed, before, sample->name);
        testbed_finish(test.bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

/* The device goes on: noise of any length, in any cut, is answered. */
static void NET_CTL_06_noise_is_answered(void **state)
{
    struct control_test test;
    uint8_t bytes[200];

    start(&test, state, WITHOUT_TAG);
    srand(1);
    for (unsigned round = 0; round < 3000; round++) {
        struct control_message message = {bytes, (uint32_t)rand() % sizeof(bytes),
                                          1 + (uint32_t)rand() % 80};
        struct control_reply reply;

        for (unsigned i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)rand();
        bytes[0] %= 12;
        bytes[1] %= 7;
        if (bytes[0] == 4) /* the pairs stay */
            bytes[0] = 9;
        test.driver.cut = (enum control_cut)(rand() % CONTROL_CUT_COUNT);
        reply = control_driver_send(&test.driver, &message);
        assert_true(reply.used_len >= 1 && reply.used_len <= message.room);
    }
    assert_int_equal(control_driver_ask(&test.driver, "\0\0\1", 3), CONTROL_ACK_OK); /* promisc */
    assert_int_equal(control_driver_ask(&test.driver, "\0\3\0", 3), CONTROL_ACK_OK);
    assert_int_equal(control_driver_ask(&test.driver, "\0\4\0", 3), CONTROL_ACK_OK);
    assert_int_equal(control_driver_ask(&test.driver, "\0\5\0", 3), CONTROL_ACK_OK);
    testbed_exchange(test.nic, 0, 100);
    testbed_finish(test.bed);
}

static void NET_CTL_08_longest_message(void **state)
{
    static uint8_t bytes[2 + PAYLOAD_MAX + 4000] = {0, 0, 1};
    struct control_test test;
    uint64_t rss_before;

    start(&test, state, ALL);
    rss_before = daemon_rss_kib(&test.bed->daemon);
    for (unsigned round = 0; round < 20; round++) {
        test.driver.cut = round % CONTROL_CUT_COUNT;
        assert_int_equal(control_driver_ask(&test.driver, bytes, 2 + PAYLOAD_MAX), CONTROL_ACK_OK);
        assert_int_equal(control_driver_ask(&test.driver, bytes, 2 + PAYLOAD_MAX + 1),
                         CONTROL_ACK_ERR);
        assert_int_equal(control_driver_ask(&test.driver, bytes, sizeof(bytes)), CONTROL_ACK_ERR);
    }
    assert_true(daemon_rss_kib(&test.bed->daemon) < rss_before + 1024);
    testbed_finish(test.bed);
}

/* ---- promptness ---- */

static void start_big_endian(struct front_end *fe, const struct front_end_setup *setup)
{
    front_end_hello(fe, setup);
    assert_int_equal(front_end_set_mem_table(fe, setup->ram), 0);
    for (unsigned i = 0; i < setup->vring_count; i++) {
        assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_ENDIAN, i, 1), 0);
        front_end_start_ring(fe, i, setup->vring[i]);
    }
    front_end_bind(fe, setup);
}

/* A legacy driver on a big-endian machine: ring and commands are in its order. */
static void NET_HDR_04_commands_of_a_big_endian_driver(void **state)
{
    struct testbed_options options = {.features = VIRTIO_F_EVENT_IDX | CONTROL_F_MQ |
                                                  CONTROL_F_VLAN | CONTROL_F_VQ,
                                      .order = WIRE_BIG,
                                      .start = start_big_endian};
    struct control_test test;

    start_with(&test, state, &options);
    assert_int_equal(control_driver_ask(&test.driver, "\4\0\2\0", 4), CONTROL_ACK_ERR);
    assert_int_equal(control_driver_ask(&test.driver, "\4\0\0\2", 4), CONTROL_ACK_OK);
    assert_int_equal(control_driver_ask(&test.driver, "\2\0\x10\0", 4), CONTROL_ACK_ERR);
    assert_int_equal(control_driver_ask(&test.driver, "\2\0\x0f\xff", 4), CONTROL_ACK_OK);
    assert_int_equal(daemon_number(&test.bed->daemon, "nic0/active_queues"), 2);
    testbed_exchange(test.nic, 1, 100);
    testbed_finish(test.bed);
}

/* As NetKVM does it, with as many in flight as the ring takes, while frames move. */
static void NET_CTL_07_burst_of_4096_vlans_under_load(void **state)
{
    struct testbed_options options = {.features = WITHOUT_TAG & ~CONTROL_F_RX, .queue_size = 256};
    struct control_test test;
    uint8_t frame[600];
    uint64_t slowest = 0;
    unsigned sent = 0;

    start_with(&test, state, &options);
    net_frame_make(frame, sizeof(frame), test.nic->mac, 1);
    for (unsigned vid = 0; vid < 4096;) {
        uint64_t begin = now_ms();
        unsigned first = vid;

        for (; vid < first + 80 && vid < 4096; vid++) { /* three buffers each */
            uint8_t add[] = {2, 0, (uint8_t)vid, (uint8_t)(vid >> 8)};
            struct control_message message = {add, sizeof(add), 1};

            control_driver_queue(&test.driver, &message);
        }
        for (unsigned i = 0; i < 16; i++, sent++)
            net_driver_queue(&test.nic->net[0], frame, sizeof(frame));
        driver_ring_flush(test.nic->ring[1]);
        driver_ring_flush(test.nic->ring[CONTROL_RING]);
        for (; first < vid; first++)
            assert_int_equal(control_driver_take(&test.driver).written[0], CONTROL_ACK_OK);
        if (now_ms() - begin > slowest)
            slowest = now_ms() - begin;
        for (unsigned i = 0; i < 16; i++)
            assert_int_equal(
                net_driver_receive(&test.nic->net[0], frame, sizeof(frame), WAIT_LONG_MS),
                sizeof(frame));
        net_driver_drain(&test.nic->net[0]);
    }
    check(slowest < ANSWER_MS, "80 commands took %u ms", (unsigned)slowest);
    assert_int_equal(daemon_number(&test.bed->daemon, "nic0/filter/vlans"), 4096);
    assert_int_equal(daemon_number(&test.bed->daemon, "nic0/control/commands"), 4096);
    testbed_finish(test.bed);
}

static void NET_CTL_09_polled_without_interrupts(void **state)
{
    static const uint64_t formats[] = {0, VIRTIO_F_RING_PACKED};

    for (unsigned i = 0; i < 2; i++) {
        struct control_test test;
        struct driver_ring *ring;

        start(&test, state, ALL | formats[i]);
        ring = test.nic->ring[CONTROL_RING];
        ring->ops->interrupts(ring, INTERRUPTS_OFF);
        /* The first one may yet interrupt; it has when the second is answered. */
        for (unsigned first = 0; first < 2; first++)
            control_driver_ask(&test.driver, "\0\0\1", 3);
        wait_eventfd(ring->call_fd, WAIT_QUIET_MS);
        for (unsigned round = 0; round < 50; round++)
            assert_int_equal(control_driver_ask(&test.driver, "\0\0\1", 3), CONTROL_ACK_OK);
        assert_int_equal(wait_eventfd(ring->call_fd, WAIT_QUIET_MS), 0);
        testbed_finish(test.bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

/* ---- where the queue is ---- */

static void NET_Q_01_position_follows_mq_or_rss(void **state)
{
    static const uint64_t brings_pairs[] = {CONTROL_F_MQ, CONTROL_F_RSS,
                                            CONTROL_F_MQ | CONTROL_F_RSS};

    for (unsigned i = 0; i < 3; i++) {
        struct control_test test;

        start(&test, state, (WITHOUT_TAG & ~(CONTROL_F_MQ | CONTROL_F_RSS)) | brings_pairs[i]);
        assert_int_equal(control_driver_ask(&test.driver, "\0\0\1", 3), CONTROL_ACK_OK);
        testbed_finish(test.bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

/* Two pairs could be had; without MQ and RSS queue 2 is the control queue, and rings 3 and 4 are
 * nothing, whatever lies in them. */
static void NET_Q_02_rings_without_a_role_are_inert(void **state)
{
    struct testbed_options options = {.features = WITHOUT_TAG & ~(CONTROL_F_MQ | CONTROL_F_RSS),
                                      .rx_unposted = 1};
    struct control_test test;
    struct control_driver inert;

    start_with(&test, state, &options);
    control_driver_init(&test.driver, test.nic->ring[2], 0);
    assert_int_equal(control_driver_ask(&test.driver, "\0\0\1", 3), CONTROL_ACK_OK);
    for (unsigned ring = 3; ring < 5; ring++) {
        struct control_message message = {"\0\0\0", 3, 1};
        struct driver_used used;

        control_driver_init(&inert, test.nic->ring[ring], 0);
        control_driver_queue(&inert, &message);
        test.nic->ring[ring]->ops->publish(test.nic->ring[ring]);
        driver_ring_kick(test.nic->ring[ring]);
        assert_false(driver_ring_wait(test.nic->ring[ring], WAIT_QUIET_MS, &used));
    }
    testbed_exchange_fresh(test.nic, 0);
    testbed_finish(test.bed);
}

/* The ring behind those of the pairs. */
static void NET_Q_04_no_control_queue_without_its_feature(void **state)
{
    struct testbed_options options = {.features = MODERN};
    struct control_message message = {"\0\0\1", 3, 1};
    struct control_test test;
    struct driver_used used;

    start_with(&test, state, &options);
    control_driver_queue(&test.driver, &message);
    test.driver.ring->ops->publish(test.driver.ring);
    for (unsigned i = 0; i < 10; i++)
        driver_ring_kick(test.driver.ring);
    assert_false(driver_ring_wait(test.driver.ring, WAIT_QUIET_MS, &used));
    testbed_exchange(test.nic, 0, 100);
    testbed_finish(test.bed);
}

/* QEMU passes on MQ and GUEST_ANNOUNCE, though its guests command QEMU; others pass on more. What
 * is in every header can't be dropped. */
static void VU_MQ_02_features_of_a_queue_that_the_vmm_keeps(void **state)
{
    struct testbed_options options = {.nic = "queues=2,endpoint=loopback", .pairs = 2};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    json_t *agreed;

    nic->setup.features = MODERN;
    front_end_connect(&nic->fe, nic->socket);
    front_end_hello(&nic->fe, &nic->setup);
    assert_int_equal(
        front_end_set_features(&nic->fe, (MODERN | VHOST_F_PROTOCOL_FEATURES | CONTROL_F_ALL) &
                                             ~(CONTROL_F_VQ | CONTROL_F_STATUS)),
        0);
    agreed = daemon_inspect(&bed->daemon, "nic0/agreed_features");
    assert_string_equal(json_string_value(agreed),
                        "guest_csum indirect_desc event_idx version_1 hash_report");
    json_decref(agreed);
    testbed_disconnect(nic);
    nic->setup.features = nic->options.features;
    testbed_connect(nic);
    testbed_exchange(nic, 1, 100);
    testbed_connect(&bed->nic[BYSTANDER]);
    testbed_finish(bed);
}

/* One ring of the second pair is stopped. */
static void NET_Q_05_pairs_that_are_not_set_up_are_refused(void **state)
{
    struct control_test test;
    struct front_end *fe;

    start(&test, state, WITHOUT_TAG & ~CONTROL_F_RX);
    fe = &test.nic->fe;
    assert_int_equal(control_driver_ask(&test.driver, "\4\0\2\0", 4), CONTROL_ACK_OK);
    assert_int_equal(control_driver_ask(&test.driver, "\4\0\1\0", 4), CONTROL_ACK_OK);
    front_end_stop_vring(fe, 3);
    assert_int_equal(control_driver_ask(&test.driver, "\4\0\2\0", 4), CONTROL_ACK_ERR);
    assert_int_equal(daemon_number(&test.bed->daemon, "nic0/active_queues"), 1);
    testbed_exchange(test.nic, 0, 100);
    testbed_cycle_vring(test.nic, 3, 0);
    assert_int_equal(control_driver_ask(&test.driver, "\4\0\2\0", 4), CONTROL_ACK_OK);
    testbed_exchange(test.nic, 1, 100);
    testbed_finish(test.bed);
}

/* GEN-QR-06: stopped in the middle of a burst, and started again where it stopped. */
static void GEN_QR_06_control_queue_stops_and_goes_on(void **state)
{
    struct control_test test;

    start(&test, state, WITHOUT_TAG);
    for (unsigned round = 0; round < 20; round++) {
        struct control_message message = {"\0\0\1", 3, 1};

        for (unsigned i = 0; i < 16; i++)
            control_driver_queue(&test.driver, &message);
        driver_ring_flush(test.nic->ring[CONTROL_RING]);
        testbed_cycle_vring(test.nic, CONTROL_RING, 0);
        test.driver.count = 0;
        assert_int_equal(control_driver_ask(&test.driver, "\0\0\1", 3), CONTROL_ACK_OK);
    }
    testbed_exchange(test.nic, 0, 100);
    testbed_finish(test.bed);
}

/* What one front-end commanded is forgotten for the next. */
static void GEN_RST_03_GEN_RST_04_reset_forgets_all_commands(void **state)
{
    struct control_test test;
    char *fresh;

    start(&test, state, ALL);
    fresh = shown_state(test.bed);
    for (unsigned n = 0; n < control_sample_count; n++) {
        struct control_message message = message_of(&control_samples[n]);

        control_driver_send(&test.driver, &message);
    }
    testbed_disconnect(test.nic);
    testbed_connect(test.nic);
    expect_state(test.bed, fresh, "the commands of another session");
    testbed_finish(test.bed);
}

/* User Mode Linux, driver unbound and bound again: no message says that it is a reset. */
static void GEN_RST_04_rebind_forgets_all_commands(void **state)
{
    struct control_test test;
    struct testbed_nic *nic;
    char *fresh;

    start(&test, state, ALL);
    nic = test.nic;
    fresh = shown_state(test.bed);
    for (unsigned n = 0; n < control_sample_count; n++) {
        struct control_message message = message_of(&control_samples[n]);

        control_driver_send(&test.driver, &message);
    }
    for (unsigned i = nic->setup.vring_count; i-- > 0;)
        assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_ENABLE, i, 0), 0);
    testbed_restart_rings(nic, 0);
    front_end_start_uml(&nic->fe, &nic->setup);
    expect_state(test.bed, fresh, "the commands of the driver before");
    testbed_exchange_fresh(nic, 0);
    testbed_finish(test.bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_CTL_01_framing_means_nothing_split),
        TESTBED_TEST(NET_CTL_01_framing_means_nothing_packed),
        TESTBED_TEST(NET_CTL_01_framing_means_nothing_in_order),
        TESTBED_TEST(NET_CTL_05_no_room_to_answer_means_no_effect),
        TESTBED_TEST(NET_CTL_06_every_length_of_every_command),
        TESTBED_TEST(NET_CTL_06_commands_without_their_feature),
        TESTBED_TEST(NET_CTL_06_noise_is_answered),
        TESTBED_TEST(NET_HDR_04_commands_of_a_big_endian_driver),
        TESTBED_TEST(NET_CTL_07_burst_of_4096_vlans_under_load),
        TESTBED_TEST(NET_CTL_08_longest_message),
        TESTBED_TEST(NET_CTL_09_polled_without_interrupts),
        TESTBED_TEST(NET_Q_01_position_follows_mq_or_rss),
        TESTBED_TEST(NET_Q_02_rings_without_a_role_are_inert),
        TESTBED_TEST(NET_Q_04_no_control_queue_without_its_feature),
        TESTBED_TEST(VU_MQ_02_features_of_a_queue_that_the_vmm_keeps),
        TESTBED_TEST(NET_Q_05_pairs_that_are_not_set_up_are_refused),
        TESTBED_TEST(GEN_QR_06_control_queue_stops_and_goes_on),
        TESTBED_TEST(GEN_RST_03_GEN_RST_04_reset_forgets_all_commands),
        TESTBED_TEST(GEN_RST_04_rebind_forgets_all_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
