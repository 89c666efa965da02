/* SPDX-License-Identifier: MIT */
/*
 * A front-end that means harm (conformance.md 6.8). Whatever it sends, the daemon lives, leaks
 * nothing, rests afterwards, takes the next front-end, and the bystander NIC notices nothing.
 */
#include <errno.h>
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
};

static struct testbed *bed_of(void **state)
{
    return testbed_start(state, NULL);
}

/* ---- header and payload ---- */

static void VU_SEC_01_payload_sizes_that_are_too_small(void **state)
{
    static const struct {
        uint32_t request;
        uint32_t size; /* the least that is right */
    } table[] = {
        {VU_SET_FEATURES, 8},     {VU_SET_MEM_TABLE, 8},
        {VU_SET_VRING_NUM, 8},    {VU_SET_VRING_ADDR, 40},
        {VU_SET_VRING_BASE, 8},   {VU_GET_VRING_BASE, 8},
        {VU_SET_VRING_KICK, 8},   {VU_SET_VRING_CALL, 8},
        {VU_SET_VRING_ERR, 8},    {VU_SET_PROTOCOL_FEATURES, 8},
        {VU_SET_VRING_ENABLE, 8}, {VU_NET_SET_MTU, 8},
        {VU_SET_STATUS, 8},       {VU_ADD_MEM_REG, 40},
        {VU_REM_MEM_REG, 40},
    };
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t zero[64] = {0};

    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct vu_message message = vu_message(table[i].request, zero, table[i].size - 1);

        testbed_reconnect(nic);
        assert_int_equal(front_end_send(&nic->fe, &message), 0);
        check(front_end_is_closed(&nic->fe, WAIT_LONG_MS), "request %u with %u bytes",
              table[i].request, table[i].size - 1);
    }
    testbed_finish_anew(bed);
}

static void VU_SEC_01_header_promises_gigabytes(void **state)
{
    static const uint32_t size[] = {4097, 0x100000, 0x7fffffff, UINT32_MAX};
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 4; i++) {
        uint32_t header[3] = {VU_SET_MEM_TABLE, VU_VERSION, size[i]};

        testbed_reconnect(nic);
        assert_int_equal(front_end_send_bytes(&nic->fe, header, sizeof(header)), 0);
        check(front_end_is_closed(&nic->fe, WAIT_LONG_MS), "size 0x%x", size[i]);
    }
    testbed_finish_anew(bed);
}

static void VU_SEC_01_slow_loris(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t header[3] = {VU_SET_VRING_ADDR, VU_VERSION, 40};

    for (size_t bytes = 1; bytes <= sizeof(header); bytes += 3) {
        testbed_reconnect(nic);
        assert_int_equal(front_end_send_bytes(&nic->fe, header, bytes), 0);
        testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
        daemon_check_idle(&bed->daemon);
    }
    testbed_finish_anew(bed);
}

/* The next front-end, who waits, gets the socket after some seconds. */
static void VU_SEC_01_begun_message_is_not_waited_for_for_ever(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t header[3] = {VU_SET_VRING_ADDR, VU_VERSION, 40};
    struct front_end loris;

    testbed_disconnect(nic);
    front_end_init(&loris);
    front_end_connect(&loris, nic->socket);
    assert_int_equal(front_end_get_features(&loris), 0);
    assert_int_equal(front_end_send_bytes(&loris, header, 11), 0);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    front_end_connect(&nic->fe, nic->socket);
    check(front_end_is_closed(&loris, 2 * WAIT_LONG_MS), "a begun message is waited for");
    nic->options.start(&nic->fe, &nic->setup);
    net_driver_post(&nic->net[0], nic->net[0].rx_slots);
    testbed_exchange(nic, 0, 100);
    front_end_close(&loris);
    testbed_finish(bed);
}

/* Answers are asked for and never read. */
static void VU_SEC_01_answers_that_nobody_reads(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t header[3] = {VU_GET_FEATURES, VU_VERSION, 0};
    uint64_t end = now_ms() + 1000;

    testbed_reconnect(nic);
    fcntl(nic->fe.fd, F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; i < 100000 && now_ms() < end; i++) {
        if (send(nic->fe.fd, header, sizeof(header), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            break;
    }
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    testbed_finish_anew(bed);
}

/* Sixteen kilobytes of noise, forty times, each time another. */
static void VU_SEC_01_noise(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t seed = 1;
    uint32_t noise[64];

    for (unsigned i = 0; i < 40; i++) {
        testbed_reconnect(nic);
        for (unsigned n = 0; n < 64; n++) {
            seed = seed * 1664525u + 1013904223u;
            noise[n] = seed >> 5;
        }
        if (i % 2 == 0) { /* a header that is right, so that the noise is payload */
            noise[0] = i;
            noise[1] = VU_VERSION;
            noise[2] = 40;
        }
        front_end_send_bytes(&nic->fe, noise, sizeof(noise));
        front_end_is_closed(&nic->fe, 5);
    }
    testbed_finish_anew(bed);
}

/* Every request with every small payload of ones: whatever happens, not a crash. */
static void VU_SEC_01_every_request_with_ones_for_payload(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t ones[300];

    memset(ones, 0xff, sizeof(ones));
    for (uint32_t request = 0; request < 46; request++) {
        static const uint32_t size[] = {0, 8, 40, 264};

        for (unsigned i = 0; i < 4; i++) {
            struct vu_message message = vu_message(request, ones, size[i]);

            testbed_reconnect(nic);
            front_end_hello(&nic->fe, &nic->setup);
            message.flags = VU_VERSION | VU_NEED_REPLY;
            assert_int_equal(front_end_send(&nic->fe, &message), 0);
            front_end_is_closed(&nic->fe, 1);
        }
    }
    testbed_finish_anew(bed);
}

/* ---- file descriptors ---- */

static void VU_SEC_02_V01_fds_that_do_not_belong(void **state)
{
    static const uint32_t request[] = {
        VU_SET_FEATURES, VU_SET_OWNER,        VU_SET_VRING_NUM, VU_SET_VRING_BASE,
        VU_GET_FEATURES, VU_SET_VRING_ENABLE, VU_GET_CONFIG,    200};
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    unsigned fds;

    testbed_reconnect_acknowledging(nic);
    fds = daemon_fd_count_settled(&bed->daemon);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 8; i++) {
            uint8_t zero[64] = {0};
            struct vu_message message = vu_message(request[i], zero, 64);
            struct vu_message reply;

            for (unsigned n = 0; n < 1 + round % 8; n++)
                vu_message_add_fd(&message, nic->ram.region[0].fd);
            message.flags = VU_VERSION | VU_NEED_REPLY;
            if (front_end_send(&nic->fe, &message) < 0 || front_end_receive(&nic->fe, &reply) < 0)
                testbed_reconnect_acknowledging(nic);
        }
    }
    daemon_check_fds(&bed->daemon, fds);
    testbed_finish_anew(bed);
}

static void VU_SEC_02_V10_too_many_fds(void **state)
{
    static const unsigned count[] = {9, 16, 30};
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 3; i++) {
        struct vu_message message = vu_message_u64(VU_SET_VRING_CALL, 0);

        testbed_reconnect(nic);
        for (unsigned n = 0; n < count[i]; n++)
            vu_message_add_fd(&message, nic->ram.region[0].fd);
        assert_int_equal(front_end_send(&nic->fe, &message), 0);
        check(front_end_is_closed(&nic->fe, WAIT_LONG_MS), "%u fds were taken", count[i]);
    }
    testbed_finish_anew(bed);
}

static void VU_SEC_02_fd_word_and_fds_disagree(void **state)
{
    static const uint32_t request[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_reconnect_acknowledging(nic);
    for (unsigned i = 0; i < 3; i++) {
        struct vu_message with = vu_message_u64(request[i], VU_NO_FD);
        struct vu_message without = vu_message_u64(request[i], 0);
        struct vu_message beyond = vu_message_u64(request[i], 77);
        struct vu_message two = vu_message_u64(request[i], 0);

        vu_message_add_fd(&with, nic->ram.region[0].fd);
        vu_message_add_fd(&beyond, nic->ram.region[0].fd);
        vu_message_add_fd(&two, nic->ram.region[0].fd);
        vu_message_add_fd(&two, nic->ram.region[0].fd);
        assert_true(front_end_request(&nic->fe, &with, 0) > 0);
        assert_true(front_end_request(&nic->fe, &without, 0) > 0);
        assert_true(front_end_request(&nic->fe, &beyond, 0) > 0);
        assert_true(front_end_request(&nic->fe, &two, 0) > 0);
    }
    testbed_finish_anew(bed);
}

/* As kick, call and err fd of a ring that then moves packets (or not: that is the front-end's
 * loss). */
static void VU_SEC_03_VU_SEC_13_fds_of_every_wrong_kind(void **state)
{
    static const uint32_t request[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[100];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned kind = 0; kind < ODD_FD_KINDS; kind++) {
        for (unsigned i = 0; i < 3; i++) {
            for (unsigned ring = 0; ring < 2; ring++) {
                struct vu_message message = vu_message_u64(request[i], ring);
                int fd = odd_fd(kind);

                vu_message_add_fd(&message, fd);
                assert_true(front_end_request(&nic->fe, &message, 0) >= 0);
                close(fd);
            }
            net_driver_send(&nic->net[0], frame, sizeof(frame));
            driver_ring_kick(&testbed_tx(nic, 0)->ring);
            assert_int_equal(front_end_sync(&nic->fe), 0);
            testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
            if (kind != ODD_FD_TIMER) /* a periodic timer keeps anybody awake */
                daemon_check_idle(&bed->daemon);
            testbed_disconnect(nic);
            testbed_connect(nic);
        }
    }
    testbed_finish_anew(bed);
}

static void VU_SEC_13_own_socket_as_call_and_kick(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct vu_message call = vu_message_u64(VU_SET_VRING_CALL, RX);
    struct vu_message kick = vu_message_u64(VU_SET_VRING_KICK, TX);
    uint8_t frame[100];

    vu_message_add_fd(&call, nic->fe.fd);
    vu_message_add_fd(&kick, nic->fe.fd);
    assert_true(front_end_request(&nic->fe, &call, 0) > 0);
    assert_true(front_end_request(&nic->fe, &kick, 0) > 0);
    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    net_driver_send(&nic->net[0], frame, sizeof(frame));
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    testbed_finish_anew(bed);
}

/* A call fd that is full and that the peer has made blocking again, after the daemon had it. */
static void VU_SEC_03_full_call_fd_made_blocking(void **state)
{
    struct testbed_options options = {.without = VIRTIO_F_EVENT_IDX};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned kind = 0; kind < 2; kind++) {
        struct vu_message message = vu_message_u64(VU_SET_VRING_CALL, RX);
        uint64_t most = 0xfffffffffffffffeull;
        uint8_t frame[100];
        int ends[2];
        int fd;

        assert_int_equal(front_end_set_vring_call(&nic->fe, RX), 0);
        check(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "no pipe");
        fd = kind == 0 ? ends[1] : nic->fe.vring[RX].call_fd;
        if (kind == 0) {
            vu_message_add_fd(&message, fd);
            assert_int_equal(front_end_request(&nic->fe, &message, 0), 0);
        }
        while (write(fd, &most, sizeof(most)) == sizeof(most))
            continue;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        net_frame_make(frame, sizeof(frame), nic->mac, 1);
        for (unsigned i = 0; i < 5; i++) {
            net_driver_send(&nic->net[0], frame, sizeof(frame));
            sleep_ms(5);
        }
        testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
        testbed_disconnect(nic);
        close(ends[0]);
        close(ends[1]);
        testbed_connect(nic);
    }
    testbed_finish_anew(bed);
}

/* ---- order ---- */

static void VU_SEC_08_messages_out_of_order(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t base = 77;

    testbed_reconnect_acknowledging(nic); /* no owner, no features, no memory */
    assert_true(front_end_set_vring_kick(&nic->fe, TX) >= 0);
    assert_true(front_end_set_vring_addr(&nic->fe, TX, testbed_tx(nic, 0)) >= 0);
    assert_true(front_end_vring_state(&nic->fe, VU_SET_VRING_ENABLE, TX, 1) >= 0);
    assert_int_equal(front_end_get_vring_base(&nic->fe, TX, &base), 0);
    assert_int_equal(base, 0); /* never started: what was stored */
    assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, TX, 1234), 0);
    assert_int_equal(front_end_get_vring_base(&nic->fe, TX, &base), 0);
    assert_int_equal(base, 1234);
    assert_int_equal(front_end_get_vring_base(&nic->fe, TX, &base), 0);
    assert_int_equal(base, 1234);
    assert_int_equal(front_end_simple(&nic->fe, VU_SET_OWNER), 0);
    assert_true(front_end_simple(&nic->fe, VU_SET_OWNER) >= 0); /* a second time */
    assert_true(front_end_vring_state(&nic->fe, VU_SET_VRING_ENABLE, TX, 2) > 0);
    assert_true(front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, TX, 0x10000) > 0);
    testbed_finish_anew(bed);
}

static void VU_SEC_08_features_change_while_rings_run(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 100);
    assert_true(
        front_end_set_u64(&nic->fe, VU_SET_FEATURES, nic->fe.features & ~VIRTIO_F_EVENT_IDX) > 0);
    assert_true(front_end_set_u64(&nic->fe, VU_SET_FEATURES, VHOST_F_PROTOCOL_FEATURES) > 0);
    assert_int_equal(front_end_set_u64(&nic->fe, VU_SET_FEATURES, nic->fe.features), 0);
    testbed_exchange(nic, 0, 100); /* GEN-FT-05: nothing has changed */
    testbed_finish_anew(bed);
}

static void VU_SEC_08_messages_of_features_that_were_not_agreed(void **state)
{
    static const uint32_t request[] = {
        VU_SET_LOG_BASE,    VU_SET_LOG_FD,          VU_IOTLB_MSG,          VU_POSTCOPY_ADVISE,
        VU_POSTCOPY_LISTEN, VU_POSTCOPY_END,        VU_GET_INFLIGHT_FD,    VU_SET_INFLIGHT_FD,
        VU_VRING_KICK,      VU_SET_DEVICE_STATE_FD, VU_CHECK_DEVICE_STATE, VU_SEND_RARP};
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t zero[40] = {0};

    for (unsigned i = 0; i < sizeof(request) / sizeof(request[0]); i++) {
        struct vu_message message = vu_message(request[i], zero, sizeof(zero));

        check(front_end_request(&nic->fe, &message, 0) > 0, "request %u was accepted", request[i]);
    }
    testbed_exchange(nic, 0, 100);
    testbed_finish_anew(bed);
}

/* ---- the back-end's channel, floods ---- */

static void VU_SEC_11_backend_channel_is_abused(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t noise[256];

    memset(noise, 0xa5, sizeof(noise));
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(front_end_set_backend_req_fd(&nic->fe), 0);
        send(nic->fe.backend_fd, noise, sizeof(noise), MSG_NOSIGNAL);
        testbed_exchange(nic, 0, 100);
        if (i % 2 == 0) {
            close(nic->fe.backend_fd);
            nic->fe.backend_fd = -1;
        }
        daemon_check_idle(&bed->daemon);
    }
    testbed_finish_anew(bed);
}

/* Valid messages without end: another NIC's packets still move, all the time. */
static void VU_SEC_12_flood_of_memory_tables(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < 150; i++) {
        assert_int_equal(front_end_set_mem_table(&nic->fe, &nic->ram), 0);
        testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    }
    testbed_exchange(nic, 0, 100);
    testbed_finish_anew(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_SEC_01_payload_sizes_that_are_too_small),
        TESTBED_TEST(VU_SEC_01_header_promises_gigabytes),
        TESTBED_TEST(VU_SEC_01_slow_loris),
        TESTBED_TEST(VU_SEC_01_begun_message_is_not_waited_for_for_ever),
        TESTBED_TEST(VU_SEC_01_answers_that_nobody_reads),
        TESTBED_TEST(VU_SEC_01_noise),
        TESTBED_TEST(VU_SEC_01_every_request_with_ones_for_payload),
        TESTBED_TEST(VU_SEC_02_V01_fds_that_do_not_belong),
        TESTBED_TEST(VU_SEC_02_V10_too_many_fds),
        TESTBED_TEST(VU_SEC_02_fd_word_and_fds_disagree),
        TESTBED_TEST(VU_SEC_03_VU_SEC_13_fds_of_every_wrong_kind),
        TESTBED_TEST(VU_SEC_03_full_call_fd_made_blocking),
        TESTBED_TEST(VU_SEC_13_own_socket_as_call_and_kick),
        TESTBED_TEST(VU_SEC_08_messages_out_of_order),
        TESTBED_TEST(VU_SEC_08_features_change_while_rings_run),
        TESTBED_TEST(VU_SEC_08_messages_of_features_that_were_not_agreed),
        TESTBED_TEST(VU_SEC_11_backend_channel_is_abused),
        TESTBED_TEST(VU_SEC_12_flood_of_memory_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
