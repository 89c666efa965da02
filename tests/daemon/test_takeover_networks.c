/* SPDX-License-Identifier: MIT */
/*
 * Upgrade in place where a card has a network behind it: a tap with the real kernel, a stream with
 * half a frame in either direction; and a front-end in the middle of a message.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "host.h"
#include "testbed.h"

enum {
    ETHERTYPE = 0x88b5, /* for experiments */
    FRAME_LEN = 200,
    NUMBER_AT = 14,
    ROUNDS = 6,
    PER_ROUND = 400,
    ON_THE_WAY = 24, /* less than a tap or a ring holds */
    NUMBERS = 1 << 20,
};

static const char *no_namespace; /* why there is none, or NULL */

static void frame_make(uint8_t *frame, const uint8_t to[6], uint32_t number)
{
    memset(frame, (int)(number & 0xff), FRAME_LEN);
    memcpy(frame, to, 6);
    memcpy(frame + 6, "\x02\0\0\0\0\x09", 6);
    frame[12] = ETHERTYPE >> 8;
    frame[13] = ETHERTYPE & 0xff;
    memcpy(frame + NUMBER_AT, &number, sizeof(number));
}

static int frame_is_ours(const uint8_t *frame, int len)
{
    return len >= NUMBER_AT + 4 && frame[12] == ETHERTYPE >> 8 && frame[13] == (ETHERTYPE & 0xff);
}

/* Each number once; several queues may change their order. */
struct tally {
    uint8_t seen[NUMBERS];
    uint32_t sent, received;
};

static void tally_note(struct tally *tally, const uint8_t *frame, int len)
{
    uint32_t number;

    assert_int_equal(len, FRAME_LEN);
    memcpy(&number, frame + NUMBER_AT, sizeof(number));
    check(number < tally->sent, "frame %u was never sent", number);
    check(!tally->seen[number], "frame %u came twice", number);
    check(frame[FRAME_LEN - 1] == (number & 0xff), "frame %u was changed", number);
    tally->seen[number] = 1;
    tally->received++;
}

/* ---- a tap ---------------------------------------------------------------------------------- */

struct tap_traffic {
    struct testbed_nic *nic;
    int host;
    struct tally to_guest, to_host;
};

static void guest_takes(struct tap_traffic *traffic, int timeout_ms)
{
    uint8_t frame[NET_FRAME_MAX];

    for (unsigned i = 0; i < traffic->nic->options.pairs; i++) {
        int len = net_driver_receive(&traffic->nic->net[i], frame, sizeof(frame), timeout_ms);

        if (frame_is_ours(frame, len))
            tally_note(&traffic->to_guest, frame, len);
    }
}

static void host_takes(struct tap_traffic *traffic)
{
    uint8_t frame[NET_FRAME_MAX];

    while (host_has_frame(traffic->host, 0))
        tally_note(&traffic->to_host, frame,
                   (int)host_receive(traffic->host, frame, sizeof(frame)));
}

/* The host may have a frame before its buffer is back: a worker that waits for its CPU, or for the
 * daemon that takes over, has sent a batch and not yet shown that. */
static int guest_may_send(struct tap_traffic *traffic)
{
    struct net_driver *net =
        &traffic->nic->net[traffic->to_host.sent % traffic->nic->options.pairs];

    net_driver_reap(net);
    return traffic->to_host.sent - traffic->to_host.received < ON_THE_WAY && net->tx_free_count > 0;
}

static void tap_step(struct tap_traffic *traffic)
{
    uint8_t frame[FRAME_LEN];

    check(traffic->to_guest.sent < NUMBERS && traffic->to_host.sent < NUMBERS, "too fast");
    if (traffic->to_guest.sent - traffic->to_guest.received < ON_THE_WAY) {
        frame_make(frame, traffic->nic->mac, traffic->to_guest.sent++);
        host_send(traffic->host, frame, sizeof(frame));
    }
    if (guest_may_send(traffic)) {
        unsigned pair = traffic->to_host.sent % traffic->nic->options.pairs;

        frame_make(frame, (const uint8_t *)"\xff\xff\xff\xff\xff\xff", traffic->to_host.sent++);
        net_driver_send(&traffic->nic->net[pair], frame, sizeof(frame));
    }
    guest_takes(traffic, 0);
    host_takes(traffic);
}

static void tap_drain(struct tap_traffic *traffic)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while ((traffic->to_guest.received < traffic->to_guest.sent ||
            traffic->to_host.received < traffic->to_host.sent) &&
           now_ms() < end) {
        guest_takes(traffic, 1);
        host_takes(traffic);
    }
    assert_int_equal(traffic->to_guest.received, traffic->to_guest.sent);
    assert_int_equal(traffic->to_host.received, traffic->to_host.sent);
}

/* Takeovers while frames move between the victim and the tap. */
static struct testbed *moves_while_taken_over(void **state, const struct testbed_options *options,
                                              const char *tap)
{
    struct tap_traffic *traffic = calloc(1, sizeof(*traffic));
    struct testbed *bed = testbed_start(state, options);

    traffic->nic = &bed->nic[VICTIM];
    traffic->host = host_socket(tap, ETHERTYPE, HOST_PLAIN);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t next;

        for (unsigned i = 0; i < PER_ROUND; i++)
            tap_step(traffic);
        next = daemon_start_takeover(&bed->daemon, getenv("VIONIC"));
        for (uint64_t end = now_ms() + 60; now_ms() < end;) /* its start; then what comes waits */
            tap_step(traffic);
        daemon_see_takeover(&bed->daemon, next);
        tap_step(traffic);
    }
    tap_drain(traffic);
    print_message("%u frames to the guest and %u to the host, none lost\n", traffic->to_guest.sent,
                  traffic->to_host.sent);
    close(traffic->host);
    free(traffic);
    return bed;
}

static void tap_loses_nothing(void **state, unsigned pairs)
{
    char endpoint[64], tap[16];
    const struct testbed_options options = {.nic = endpoint,
                                            .bystander = "queues=2,endpoint=loopback",
                                            .pairs = pairs,
                                            .queue_size = 256,
                                            .mergeable = 1};
    struct testbed *bed;

    if (no_namespace != NULL)
        skip();
    snprintf(tap, sizeof(tap), "keep%u", pairs);
    snprintf(endpoint, sizeof(endpoint), "queues=%u,endpoint=tap:ifname=%s", pairs, tap);
    bed = moves_while_taken_over(state, &options, tap);
    assert_int_equal(daemon_sum(&bed->daemon, "nic0/endpoint/queues"), 0); /* drops of any kind */
    testbed_finish(bed);
}

static void a_tap_loses_nothing(void **state)
{
    tap_loses_nothing(state, 1);
}

static void a_tap_of_two_queues_loses_nothing(void **state)
{
    tap_loses_nothing(state, 2);
}

/* The tap is behind a switch: it is the same one all along, and what waits in it is kept. */
static void the_uplink_of_a_switch_goes_over(void **state)
{
    const struct testbed_options options = {.nic = "endpoint=switch:name=lan0",
                                            .bystander = "endpoint=loopback",
                                            .queue_size = 256,
                                            .mergeable = 1};
    struct testbed *bed = *state;

    if (no_namespace != NULL)
        skip();
    bed->daemon.lan = "name=lan0,uplink=tap:ifname=keepup";
    bed->daemon.workers = 1; /* on the same worker nothing is on its way between two turns */
    moves_while_taken_over(state, &options, "keepup");
    assert_int_equal(daemon_number(&bed->daemon, "uplink:lan0/endpoint_failures"), 0);
    testbed_finish(bed);
}

/* ---- a stream ------------------------------------------------------------------------------- */

static int stream_peer(const struct testbed *bed)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/wire", bed->daemon.directory);
    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}

static void peer_reads(int fd, void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t got;

        check(wait_readable(fd, WAIT_LONG_MS), "%zu of %zu bytes came", done, len);
        got = read(fd, (uint8_t *)bytes + done, len - done);
        check(got > 0, "the stream ended");
        done += (size_t)got;
    }
}

static uint32_t wire_len(uint32_t number)
{
    return 50000 + number * 100; /* a unix socket takes it in pieces */
}

/* Behind its length in four bytes; big enough to fill a socket with some of them. */
static uint32_t wire_make(uint8_t *wire, const struct testbed_nic *nic, uint32_t number)
{
    uint32_t len = wire_len(number);

    wire[0] = wire[1] = 0;
    wire[2] = (uint8_t)(len >> 8);
    wire[3] = (uint8_t)len;
    net_frame_make(wire + 4, len, nic->mac, number);
    return 4 + len;
}

static void a_stream_goes_on_in_the_middle_of_a_frame(void **state)
{
    static uint8_t wire[NET_FRAME_MAX + 4], got[NET_FRAME_MAX + 4];
    struct testbed *bed = *state;
    struct testbed_options options = {
        .queue_size = 256, .mergeable = 1, .bystander = "endpoint=loopback"};
    struct testbed_nic *nic = &bed->nic[VICTIM];
    char endpoint[160];
    uint32_t len, sent = 0;
    int fd;

    snprintf(endpoint, sizeof(endpoint), "endpoint=stream:path=%s/wire,mode=server",
             bed->daemon.directory);
    options.nic = endpoint;
    testbed_start(state, &options);
    fd = stream_peer(bed);
    daemon_wait_number(&bed->daemon, "nic0/endpoint/connections", 1);
    len = wire_make(wire, nic, 7);
    assert_int_equal(write(fd, wire, len / 2), len / 2);
    while (sent < NET_TX_SLOTS - 2) {
        wire_make(got, nic, sent);
        net_driver_send(&nic->net[0], got + 4, wire_len(sent++));
    }
    daemon_wait_number(&bed->daemon, "nic0/endpoint/tx_cut", 1);
    for (unsigned i = 0; i < 3; i++)
        daemon_take_over(&bed->daemon, getenv("VIONIC"));
    assert_int_equal(write(fd, wire + len / 2, len - len / 2), len - len / 2);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), len - 4);
    assert_memory_equal(got, wire + 4, len - 4);
    for (uint32_t i = 0; i < sent; i++) {
        len = wire_make(wire, nic, i);
        peer_reads(fd, got, len);
        assert_memory_equal(got, wire, len);
    }
    net_driver_drain(&nic->net[0]);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint/connections"), 1);
    close(fd);
    testbed_finish(bed);
}

/* ---- a message ------------------------------------------------------------------------------ */

/* The header and its file before the takeover, the rest behind it. */
static void a_message_goes_on_in_its_middle(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t header[3] = {VU_SET_VRING_CALL, VU_VERSION, 8};
    uint64_t ring = 1, value;
    int call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room = {{0}};
    struct iovec iov = {.iov_base = header, .iov_len = sizeof(header)};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = sizeof(room.bytes)};
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);

    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(control), &call, sizeof(call));
    testbed_exchange(nic, 0, 300);
    assert_int_equal(sendmsg(nic->fe.fd, &message, 0), sizeof(header));
    daemon_wait_number(&bed->daemon, "nic0/vhost_user/sessions", 1);
    daemon_take_over(&bed->daemon, getenv("VIONIC"));
    assert_int_equal(front_end_send_bytes(&nic->fe, &ring, 3), 0);
    daemon_take_over(&bed->daemon, getenv("VIONIC"));
    assert_int_equal(front_end_send_bytes(&nic->fe, (uint8_t *)&ring + 3, 5), 0);
    assert_int_equal(front_end_sync(&nic->fe), 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/refused"), 0);
    value = wait_eventfd(call, WAIT_LONG_MS); /* whoever waits on a new one is told at once */
    check(value != 0, "the fd did not arrive");
    testbed_exchange(nic, 0, 300);
    close(call);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(a_tap_loses_nothing),
        TESTBED_TEST(a_tap_of_two_queues_loses_nothing),
        TESTBED_TEST(the_uplink_of_a_switch_goes_over),
        TESTBED_TEST(a_stream_goes_on_in_the_middle_of_a_frame),
        TESTBED_TEST(a_message_goes_on_in_its_middle),
    };

    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("skipping: %s\n", no_namespace);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
