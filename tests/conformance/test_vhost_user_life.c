/* SPDX-License-Identifier: MIT */
/* Sessions: odd bring-ups (test_front_ends.c has the usual ones), reconnects, client mode, several
 * NICs. */
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

static void brings_up(void **state, struct testbed_options options)
{
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned pair = 0; pair < nic->options.pairs; pair++)
            testbed_exchange(nic, pair, 100 + round);
        testbed_disconnect(nic);
        testbed_connect(nic);
    }
    testbed_finish(bed);
}

static void QEMU_04_the_same_regions_come_with_each_pair(void **state)
{
    brings_up(state, (struct testbed_options){
                         .start = front_end_start_qemu_7, .pairs = 4, .pf = ~VU_PF_INBAND});
}

/* Without REPLY_ACK nothing is acknowledged, as an old QEMU likes it. */
static void QEMU_02_bring_up_without_acknowledgements(void **state)
{
    brings_up(state, (struct testbed_options){.start = front_end_start_qemu, .pf = VU_PF_MQ});
}

/* lab.md A1, 5: a driver re-bind disables the rings and sets them up again without GET_VRING_BASE.
 */
static void UML_rebind_without_stopping_the_rings(void **state)
{
    struct testbed_options options = {.start = front_end_start_uml,
                                      .pf = VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_CONFIG};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned round = 0; round < 10; round++) {
        testbed_exchange(nic, 0, 100);
        for (unsigned i = 2; i-- > 0;)
            assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_ENABLE, i, 0), 0);
        testbed_restart_rings(nic, 0);
        front_end_start_uml(&nic->fe, &nic->setup);
        net_driver_post(&nic->net[0], 64);
    }
    testbed_finish(bed);
}

/* In between the guest has given the old rings' memory to somebody else: the memory table, which
 * comes before the new addresses, must not start them once more. */
static void UML_rebind_touches_no_ring_of_the_driver_before(void **state)
{
    enum {
        USED_LEN = 512
    };
    struct testbed_options options = {.start = front_end_start_uml,
                                      .pf = VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_CONFIG};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t expected[USED_LEN], *used[2];

    memset(expected, 0xaa, sizeof(expected));
    for (unsigned i = 2; i-- > 0;) {
        assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_ENABLE, i, 0), 0);
        used[i] = guest_ram_at(&nic->ram, nic->vring[i].used_gpa, USED_LEN);
    }
    for (unsigned i = 0; i < 2; i++)
        memcpy(used[i], expected, USED_LEN);
    assert_int_equal(front_end_set_features(&nic->fe, nic->fe.features), 0);
    assert_int_equal(front_end_set_mem_table(&nic->fe, &nic->ram), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_memory_equal(used[i], expected, USED_LEN);
    testbed_restart_rings(nic, 0);
    front_end_start_uml(&nic->fe, &nic->setup);
    testbed_exchange_fresh(nic, 0);
    testbed_finish(bed);
}

/* lab.md A1, 6: SET_FEATURES comes twice, the second time without bit 30; no SET_VRING_ENABLE
 * follows. */
static void UML_features_twice_the_second_without_bit_30(void **state)
{
    struct testbed *bed = testbed_start_daemon(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct front_end *fe = &nic->fe;

    front_end_connect(fe, nic->socket);
    front_end_hello(fe, &nic->setup);
    fe->offered &= ~VHOST_F_PROTOCOL_FEATURES; /* no ENABLE is sent from here on */
    assert_int_equal(front_end_set_features(fe, fe->offered & nic->options.features), 0);
    assert_int_equal(front_end_set_mem_table(fe, &nic->ram), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_NUM, i, 64), 0);
        assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_BASE, i, 0), 0);
        assert_int_equal(front_end_set_vring_addr(fe, i, &nic->vring[i]), 0);
        assert_int_equal(front_end_set_vring_call(fe, i), 0);
    }
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(front_end_set_vring_kick(fe, i), 0);
    front_end_bind(fe, &nic->setup);
    net_driver_post(&nic->net[0], 64);
    testbed_exchange(nic, 0, 100);
    testbed_connect(&bed->nic[BYSTANDER]);
    testbed_finish(bed);
}

/* ---- coming and going ---- */

static void VU_RC_01_front_ends_come_and_go(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    unsigned fds = 0;
    uint64_t rss = 0;

    for (unsigned i = 0; i < 60; i++) {
        testbed_exchange(nic, 0, 100);
        testbed_disconnect(nic);
        testbed_connect(nic);
        if (i == 20) {
            testbed_exchange(nic, 0, 100);
            fds = daemon_fd_count_settled(&bed->daemon);
            rss = daemon_rss_kib(&bed->daemon);
        }
    }
    testbed_exchange(nic, 0, 100);
    daemon_check_fds(&bed->daemon, fds);
    check(daemon_rss_kib(&bed->daemon) < rss + 8192, "%llu KiB, then %llu KiB",
          (unsigned long long)rss, (unsigned long long)daemon_rss_kib(&bed->daemon));
    testbed_finish(bed);
}

/* V13: the front-end goes away at every point of the set-up, and with frames in flight. */
static void VU_RC_01_front_end_dies_at_any_point(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[300];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned point = 0; point < 10; point++) {
        testbed_disconnect(nic);
        front_end_connect(&nic->fe, nic->socket);
        front_end_hello(&nic->fe, &nic->setup);
        if (point > 1)
            assert_int_equal(front_end_set_mem_table(&nic->fe, &nic->ram), 0);
        for (unsigned i = 0; i < 2 && point > 2 + i; i++)
            front_end_start_vring(&nic->fe, i, &nic->vring[i]);
        if (point > 4) {
            net_driver_post(&nic->net[0], 64);
            for (unsigned i = 0; i < 25; i++)
                net_driver_queue(&nic->net[0], frame, sizeof(frame));
            driver_ring_flush(&testbed_tx(nic, 0)->ring);
        }
    }
    testbed_disconnect(nic);
    testbed_connect(nic);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* One NIC has one front-end: a second connection waits for the first to go. */
static void VU_RC_01_second_front_end_waits(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct front_end second;

    front_end_init(&second);
    front_end_connect(&second, nic->socket);
    testbed_exchange(nic, 0, 100);
    front_end_close(&nic->fe);
    front_end_is_closed(&second, WAIT_QUIET_MS); /* served, or told to come again: both are fine */
    front_end_close(&second);
    testbed_restart_rings(nic, 0);
    testbed_connect(nic);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* mode=client: the daemon connects to us, again and again. */
static void VU_RC_01_daemon_as_client(void **state)
{
    struct testbed_options options = {.nic = "mode=client,endpoint=loopback"};
    struct testbed *bed = *state;
    struct testbed_nic *nic = &bed->nic[VICTIM];
    char path[DAEMON_PATH_LEN];
    int listen_fd;

    daemon_socket(&bed->daemon, VICTIM, path);
    listen_fd = front_end_listen(path);
    testbed_start_daemon(state, &options);
    testbed_connect(&bed->nic[BYSTANDER]);
    for (unsigned i = 0; i < 3; i++) {
        front_end_accept(&nic->fe, listen_fd);
        front_end_start_qemu(&nic->fe, &nic->setup);
        net_driver_post(&nic->net[0], 64);
        testbed_exchange(nic, 0, 100);
        testbed_disconnect(nic);
    }
    close(listen_fd);
    unlink(path);
    daemon_check_idle(&bed->daemon);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    daemon_stop(&bed->daemon);
}

/* SIGTERM with two front-ends and frames in flight: everything comes back, exit status 0. */
static void VU_SEC_14_sigterm_under_traffic(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[300];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned i = 0; i < 30; i++)
        net_driver_queue(&nic->net[0], frame, sizeof(frame));
    driver_ring_flush(&testbed_tx(nic, 0)->ring);
    daemon_stop(&bed->daemon);
    check(front_end_is_closed(&nic->fe, WAIT_LONG_MS), "the session is still open");
    assert_int_not_equal(access(nic->socket, F_OK), 0); /* its socket went with it */
}

/* kill -9 and a new daemon at the same path, as a service manager would do it. */
static void VU_RC_01_new_daemon_after_a_kill(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 100);
    daemon_kill(&bed->daemon);
    check(front_end_is_closed(&nic->fe, WAIT_LONG_MS), "the session is still open");
    daemon_start(&bed->daemon);
    bed->fds_at_rest = daemon_fd_count_settled(&bed->daemon);
    for (unsigned i = 0; i < 2; i++) {
        testbed_disconnect(&bed->nic[i]);
        testbed_connect(&bed->nic[i]);
    }
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void INV_06_eight_pairs_and_a_bystander(void **state)
{
    struct testbed_options options = {.pairs = 8, .queue_size = 32};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned pair = 0; pair < 8; pair++)
            testbed_exchange(nic, pair, 64 + pair);
        testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    }
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(QEMU_02_bring_up_without_acknowledgements),
        TESTBED_TEST(QEMU_04_the_same_regions_come_with_each_pair),
        TESTBED_TEST(UML_rebind_without_stopping_the_rings),
        TESTBED_TEST(UML_rebind_touches_no_ring_of_the_driver_before),
        TESTBED_TEST(UML_features_twice_the_second_without_bit_30),
        TESTBED_TEST(VU_RC_01_front_ends_come_and_go),
        TESTBED_TEST(VU_RC_01_front_end_dies_at_any_point),
        TESTBED_TEST(VU_RC_01_second_front_end_waits),
        TESTBED_TEST(VU_RC_01_daemon_as_client),
        TESTBED_TEST(VU_RC_01_new_daemon_after_a_kill),
        TESTBED_TEST(VU_SEC_14_sigterm_under_traffic),
        TESTBED_TEST(INV_06_eight_pairs_and_a_bystander),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
