/* SPDX-License-Identifier: MIT */
/*
 * Kicks, interrupts and errors as messages (INBAND_NOTIFICATIONS), as User Mode Linux wants them
 * when its time is simulated: it gives no kick, call or err fd at all.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "odd_fd.h"
#include "testbed.h"

enum {
    RX = 0,
    TX = 1,
    BACKEND_VRING_CALL = 4,
    BACKEND_VRING_ERR = 5,
    CHANNEL_PATIENCE_MS = 3000,
};

struct notice {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    uint32_t index;
    uint32_t num;
};

static void give_socket(struct front_end *fe)
{
    assert_int_equal(front_end_set_backend_req_fd(fe), 0);
}

static void give_pipe(struct front_end *fe)
{
    struct vu_message message = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);

    assert_int_equal(front_end_give_pipe(fe, &message, &fe->backend_fd), 0);
}

static void start_socket(struct front_end *fe, const struct front_end_setup *setup)
{
    front_end_start_in_band(fe, setup, give_socket);
}

static void start_pipe(struct front_end *fe, const struct front_end_setup *setup)
{
    front_end_start_in_band(fe, setup, give_pipe);
}

static struct testbed *bed_of(void **state, front_end_start_function *start)
{
    struct testbed_options options = {.nic = "in-band=on,endpoint=loopback",
                                      .start = start,
                                      .pf = FRONT_END_IN_BAND,
                                      .without = VIRTIO_F_EVENT_IDX};
    struct testbed *bed = testbed_start_daemon(state, &options);

    testbed_connect(&bed->nic[VICTIM]);
    testbed_connect(&bed->nic[BYSTANDER]);
    return bed;
}

/* The next notice that is not about config space. */
static struct notice notice_of(struct front_end *fe)
{
    struct notice notice;

    check(wait_readable(fe->backend_fd, WAIT_LONG_MS), "no notice");
    assert_int_equal(read(fe->backend_fd, &notice, sizeof(notice)), sizeof(notice));
    assert_int_equal(notice.size, 8);
    assert_int_equal(notice.num, 0);
    return notice;
}

static void answer(struct front_end *fe, uint32_t request, uint32_t flags)
{
    struct {
        uint32_t request, flags, size;
        uint32_t value[2];
    } message = {request, flags, 8, {0, 0}};

    assert_int_equal(send(fe->backend_fd, &message, sizeof(message), MSG_NOSIGNAL),
                     sizeof(message));
}

static void send_one(struct testbed_nic *nic)
{
    uint8_t frame[100];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    net_driver_send(&nic->net[0], frame, sizeof(frame));
}

static void receive_one(struct testbed_nic *nic)
{
    uint8_t frame[200];

    assert_int_equal(net_driver_receive(&nic->net[0], frame, sizeof(frame), WAIT_LONG_MS), 100);
    net_driver_drain(&nic->net[0]);
}

/* ---- agreement ---- */

static void VU_PF_02_in_band_needs_a_channel_and_answers(void **state)
{
    static const uint64_t features[] = {VU_PF_INBAND, VU_PF_INBAND | VU_PF_REPLY_ACK,
                                        VU_PF_INBAND | VU_PF_BACKEND_REQ | VU_PF_MQ};
    struct testbed_options options = {.nic = "in-band=on,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 3; i++) {
        struct vu_message message = vu_message_u64(VU_SET_PROTOCOL_FEATURES, features[i]);

        testbed_reconnect(nic);
        assert_int_equal(front_end_send(&nic->fe, &message), 0);
        check(front_end_is_closed(&nic->fe, WAIT_LONG_MS), "0x%llx was accepted",
              (unsigned long long)features[i]);
    }
    testbed_finish_anew(bed);
}

static void VU_SEC_08_kick_by_message_that_was_not_agreed(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    assert_true(front_end_vring_state(&nic->fe, VU_VRING_KICK, TX, 0) > 0);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void VU_SEC_05_kick_by_message_of_no_ring(void **state)
{
    static const uint32_t index[] = {3, 77, 256, 0x7fffffff, UINT32_MAX};
    struct testbed *bed = bed_of(state, start_pipe);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 5; i++)
        check(front_end_vring_state(&nic->fe, VU_VRING_KICK, index[i], 0) > 0, "ring %u", index[i]);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* ---- traffic ---- */

/* VU-ST-01: the first kick starts the ring. */
static void VU_ST_01_rings_start_and_run_by_messages(void **state)
{
    struct testbed *bed = bed_of(state, start_pipe);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct notice notice;
    unsigned calls = 0;

    for (unsigned i = 0; i < 50; i++)
        testbed_exchange(nic, 0, 100 + i);
    while (wait_readable(nic->fe.backend_fd, 0)) {
        notice = notice_of(&nic->fe);
        assert_int_equal(notice.request, BACKEND_VRING_CALL);
        assert_int_equal(notice.flags, VU_VERSION); /* a pipe carries no answers */
        assert_true(notice.index <= TX);
        calls++;
    }
    assert_true(calls >= 2);
    testbed_finish(bed);
}

/* A ring that was stopped starts again with the next message. */
static void VU_ST_02_stopped_ring_is_kicked_anew(void **state)
{
    struct testbed *bed = bed_of(state, start_pipe);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 100);
    for (unsigned i = 0; i < 5; i++) {
        uint32_t base = front_end_stop_vring(&nic->fe, TX);

        assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, TX, base), 0);
        testbed_exchange(nic, 0, 100); /* its kick starts the ring */
    }
    testbed_finish(bed);
}

/* Answers are asked for; until one has come there is one notice, however much happens. */
static void VU_BR_01_one_notice_at_a_time_where_answers_are_agreed(void **state)
{
    struct testbed *bed = bed_of(state, start_socket);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct notice notice;

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 8; i++) {
            send_one(nic);
            receive_one(nic);
        }
        for (unsigned i = 0; i < 2; i++) { /* both rings, once each */
            notice = notice_of(&nic->fe);
            assert_int_equal(notice.request, BACKEND_VRING_CALL);
            assert_int_equal(notice.flags, VU_VERSION | VU_NEED_REPLY);
            check(!wait_readable(nic->fe.backend_fd, i == 0 ? 5 : 0), "a notice before the answer");
            answer(&nic->fe, BACKEND_VRING_CALL, VU_VERSION | VU_REPLY);
        }
        while (wait_readable(nic->fe.backend_fd, 20)) { /* what came between the two */
            notice_of(&nic->fe);
            answer(&nic->fe, BACKEND_VRING_CALL, VU_VERSION | VU_REPLY);
        }
    }
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/channels_lost"), 0);
    testbed_finish(bed);
}

static void VU_in_band_error_of_a_broken_ring(void **state)
{
    struct testbed *bed = bed_of(state, start_pipe);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    struct notice notice;

    testbed_exchange(nic, 0, 100);
    while (wait_readable(nic->fe.backend_fd, WAIT_QUIET_MS))
        notice_of(&nic->fe);
    driver_split_store_avail_idx(tx, (uint16_t)(driver_split_used_idx(tx) + 1000));
    driver_ring_kick(&tx->ring);
    notice = notice_of(&nic->fe);
    assert_int_equal(notice.request, BACKEND_VRING_ERR);
    assert_int_equal(notice.index, TX);
    testbed_finish_anew(bed);
}

/* An fd that the front-end gives is preferred, and one that it takes away is not replaced. */
static void VU_in_band_gives_way_to_fds(void **state)
{
    struct testbed *bed = bed_of(state, start_pipe);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct vu_message none = vu_message_u64(VU_SET_VRING_CALL, RX | VU_NO_FD);
    struct vu_message no_tx = vu_message_u64(VU_SET_VRING_CALL, TX | VU_NO_FD);

    assert_int_equal(front_end_request(&nic->fe, &no_tx, 0), 0);
    assert_int_equal(front_end_set_vring_call(&nic->fe, RX), 0);
    while (wait_readable(nic->fe.backend_fd, WAIT_QUIET_MS))
        notice_of(&nic->fe);
    wait_eventfd(nic->fe.vring[RX].call_fd, 0);
    testbed_exchange(nic, 0, 100);
    assert_true(wait_eventfd(nic->fe.vring[RX].call_fd, WAIT_LONG_MS) > 0);
    assert_int_equal(front_end_request(&nic->fe, &none, 0), 0);
    testbed_exchange(nic, 0, 100);
    check(!wait_readable(nic->fe.backend_fd, WAIT_QUIET_MS), "a notice that nobody wants");
    testbed_finish(bed);
}

/* ---- a channel that is abused ---- */

static void VU_SEC_11_wrong_answers_end_the_channel_only(void **state)
{
    static const struct {
        uint32_t request, flags;
    } wrong[] = {
        {BACKEND_VRING_ERR, VU_VERSION | VU_REPLY},
        {BACKEND_VRING_CALL, VU_VERSION},
        {BACKEND_VRING_CALL, VU_REPLY},
        {UINT32_MAX, UINT32_MAX},
    };
    struct testbed *bed = bed_of(state, start_socket);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 4; i++) {
        send_one(nic);
        receive_one(nic);
        notice_of(&nic->fe);
        answer(&nic->fe, wrong[i].request, wrong[i].flags);
        daemon_wait_number(&bed->daemon, "nic0/vhost_user/channels_lost", i + 1);
        testbed_exchange(nic, 0, 100);
        assert_int_equal(front_end_set_backend_req_fd(&nic->fe), 0);
    }
    testbed_finish_anew(bed);
}

static void VU_SEC_11_answers_that_never_come(void **state)
{
    struct testbed *bed = bed_of(state, start_socket);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t begin = now_ms();

    send_one(nic);
    receive_one(nic);
    while (daemon_number(&bed->daemon, "nic0/vhost_user/channels_lost") == 0) {
        check(now_ms() - begin < 4 * CHANNEL_PATIENCE_MS, "the channel is waited for for ever");
        testbed_exchange(nic, 0, 100); /* nobody waits */
        testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
        sleep_ms(20);
    }
    testbed_exchange(nic, 0, 100);
    testbed_finish_anew(bed);
}

/* Full, blocking, and never read: notices wait in bits, nobody waits with them. */
static void VU_SEC_11_full_pipe_made_blocking(void **state)
{
    struct testbed *bed = bed_of(state, start_pipe);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct vu_message message = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);
    uint8_t page[4096] = {0};
    ssize_t filled = 0;
    ssize_t len;
    int ends[2];

    check(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "no pipe");
    vu_message_add_fd(&message, ends[1]);
    assert_int_equal(front_end_request(&nic->fe, &message, 0), 0);
    while ((len = write(ends[1], page, sizeof(page))) > 0)
        filled += len;
    fcntl(ends[1], F_SETFL, 0);
    for (unsigned i = 0; i < 20; i++)
        testbed_exchange(nic, 0, 100);
    daemon_check_idle(&bed->daemon);
    for (len = 0; len <= filled; len += read(ends[0], page, sizeof(page)))
        check(wait_readable(ends[0], WAIT_LONG_MS), "what was due is forgotten");
    close(ends[0]); /* no reader: EPIPE */
    testbed_exchange(nic, 0, 100);
    daemon_wait_number(&bed->daemon, "nic0/vhost_user/channels_lost", 1);
    close(ends[1]);
    testbed_exchange(nic, 0, 100);
    testbed_finish_anew(bed);
}

static void VU_SEC_11_channels_of_every_wrong_kind(void **state)
{
    struct testbed *bed = bed_of(state, start_pipe);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned kind = 0; kind < ODD_FD_KINDS; kind++) {
        struct vu_message message = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);
        int fd = odd_fd(kind);

        vu_message_add_fd(&message, fd);
        assert_true(front_end_request(&nic->fe, &message, 0) >= 0);
        close(fd);
        testbed_exchange(nic, 0, 100);
        daemon_check_idle(&bed->daemon);
    }
    {
        struct vu_message own = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);

        vu_message_add_fd(&own, nic->fe.fd); /* the session would keep itself alive */
        assert_true(front_end_request(&nic->fe, &own, 0) > 0);
    }
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    testbed_finish_anew(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_PF_02_in_band_needs_a_channel_and_answers),
        TESTBED_TEST(VU_SEC_08_kick_by_message_that_was_not_agreed),
        TESTBED_TEST(VU_SEC_05_kick_by_message_of_no_ring),
        TESTBED_TEST(VU_ST_01_rings_start_and_run_by_messages),
        TESTBED_TEST(VU_ST_02_stopped_ring_is_kicked_anew),
        TESTBED_TEST(VU_BR_01_one_notice_at_a_time_where_answers_are_agreed),
        TESTBED_TEST(VU_in_band_error_of_a_broken_ring),
        TESTBED_TEST(VU_in_band_gives_way_to_fds),
        TESTBED_TEST(VU_SEC_11_wrong_answers_end_the_channel_only),
        TESTBED_TEST(VU_SEC_11_answers_that_never_come),
        TESTBED_TEST(VU_SEC_11_full_pipe_made_blocking),
        TESTBED_TEST(VU_SEC_11_channels_of_every_wrong_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
