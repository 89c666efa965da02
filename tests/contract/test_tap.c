/* SPDX-License-Identifier: MIT */
/* The endpoint `tap` against the real kernel, in a network namespace of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "check.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "guest.h"
#include "host.h"

enum {
    BIG_LEN = 64000,
    MSS = 1448,
    TCP_HEADERS = 14 + 20 + 20,
};

static const char *no_namespace; /* why there is none, or NULL */

static void begin(struct guest *guest, const char *spec)
{
    if (no_namespace != NULL) {
        print_message("skipped, %s\n", no_namespace);
        skip();
    }
    guest_open(guest, spec);
}

static void send_taken(struct guest *guest, const struct test_frame *frame)
{
    assert_int_equal(guest_send(guest, &frame->frame, 1), 1);
}

/* Waits for an event and returns the bits, 0 if none came. */
static uint32_t take_events(struct guest *guest, int timeout_ms)
{
    const struct endpoint_ops *ops = guest->endpoint->ops;
    struct pollfd wait = {.fd = ops->event_fd(guest->endpoint), .events = POLLIN};

    return poll(&wait, 1, timeout_ms) > 0 ? ops->events(guest->endpoint) : 0;
}

static uint32_t wait_for_event(struct guest *guest, uint32_t wanted)
{
    uint64_t end = clock_now_ns() + CLOCK_SECOND_NS;
    uint32_t seen = 0;

    while ((seen & wanted) == 0 && clock_now_ns() < end)
        seen |= take_events(guest, 100);
    return seen;
}

/* ---- frames -------------------------------------------------------------------------------------
 */

static void frames_keep_their_content_both_ways(void **state)
{
    static const uint32_t lens[] = {14, 60, 61, 300, 1513, 1514};
    static const unsigned spans[] = {1, 2, 7, FRAME_SPANS_MAX};
    struct test_frame frame;
    struct guest guest;
    uint8_t bytes[2048];
    int host;

    (void)state;
    begin(&guest, "tap:ifname=content0");
    host = host_socket("content0", TEST_ETHERTYPE, HOST_PLAIN);
    for (unsigned i = 0; i < ARRAY_COUNT(lens) * ARRAY_COUNT(spans); i++) {
        uint32_t len = lens[i % ARRAY_COUNT(lens)];

        test_frame_make(&frame, len, spans[i / ARRAY_COUNT(lens)], i);
        send_taken(&guest, &frame);
        test_frame_free(&frame);
        assert_int_equal(host_receive(host, bytes, sizeof(bytes)), len);
        test_frame_check(bytes, len, i);

        guest_forget_frames(&guest);
        guest.buffer_len = 64 + 100 * i;
        test_frame_fill(bytes, len, i + 1);
        host_send(host, bytes, len);
        assert_int_equal(guest_receive_until(&guest, 1, 1000), 1);
        assert_int_equal(guest.frame[0].len, len);
        test_frame_check(guest.frame[0].bytes, len, i + 1);
    }
    close(host);
    guest_close(&guest);
}

static void jumbo_frames_cross_whole(void **state)
{
    struct endpoint_caps caps;
    struct test_frame frame;
    struct guest guest;
    uint8_t bytes[10000];
    int host;

    (void)state;
    begin(&guest, "tap:ifname=jumbo0,mtu=9000");
    guest.endpoint->ops->capabilities(guest.endpoint, &caps);
    assert_int_equal(caps.mtu, 9000);
    host = host_socket("jumbo0", TEST_ETHERTYPE, HOST_PLAIN);
    test_frame_make(&frame, 9014, 3, 1);
    send_taken(&guest, &frame);
    test_frame_free(&frame);
    assert_int_equal(host_receive(host, bytes, sizeof(bytes)), 9014);
    test_frame_check(bytes, 9014, 1);
    test_frame_fill(bytes, 9014, 2);
    host_send(host, bytes, 9014);
    assert_int_equal(guest_receive_until(&guest, 1, 1000), 1);
    assert_int_equal(guest.frame[0].len, 9014);
    test_frame_check(guest.frame[0].bytes, 9014, 2);
    close(host);
    guest_close(&guest);
}

/* Ethernet, IPv4 and TCP in front of BIG_LEN bytes, as a guest with TSO makes it. */
static uint32_t make_tso_frame(uint8_t *bytes)
{
    static const uint8_t headers[TCP_HEADERS] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,  0, 0, 1, 0x08, 0x00, /* Ethernet */
        0x45, 0,    0,    0,    0,    1,    0x40, 0,    64, 6, 0, 0, 10,   0,    0, 1, /* IPv4 */
        10,   0,    0,    2,                                                           /* */
        0x30, 0x39, 0,    80,   0,    0,    0,    1,    0,  0, 0, 1, 0x50, 0x10, 1, 0, /* TCP */
    };
    uint32_t ip_len = 20 + 20 + BIG_LEN;
    uint16_t sum;

    memcpy(bytes, headers, sizeof(headers));
    for (uint32_t i = 0; i < BIG_LEN; i++)
        bytes[TCP_HEADERS + i] = (uint8_t)(i * 5 + i / 256);
    bytes[16] = (uint8_t)(ip_len >> 8);
    bytes[17] = (uint8_t)ip_len;
    sum = internet_checksum(bytes + 14, 20, 0);
    bytes[24] = (uint8_t)(sum >> 8);
    bytes[25] = (uint8_t)sum;
    /* The pseudo header's part of the checksum, not complemented: the rest is left to do. */
    sum = (uint16_t)~internet_checksum(bytes + 26, 8, 6 + 20 + BIG_LEN);
    bytes[50] = (uint8_t)(sum >> 8);
    bytes[51] = (uint8_t)sum;
    return TCP_HEADERS + BIG_LEN;
}

static void tso_frame_of_the_guest_crosses_as_one(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX], got[FRAME_LEN_MAX + 100];
    struct host_vnet_hdr hdr;
    struct test_frame frame;
    struct guest guest;
    uint32_t len;
    int host;

    (void)state;
    begin(&guest, "tap:ifname=tsotx0");
    host = host_socket("tsotx0", 0x0800, HOST_WITH_VNET_HDR);
    len = make_tso_frame(bytes);
    test_frame_from(&frame, bytes, len, 40);
    frame.frame.offload =
        (struct frame_offload){FRAME_NEEDS_CSUM, FRAME_GSO_TCPV4, 54, MSS, 34, 16};
    send_taken(&guest, &frame);
    test_frame_free(&frame);
    assert_int_equal(host_receive(host, got, sizeof(got)), sizeof(hdr) + len);
    memcpy(&hdr, got, sizeof(hdr));
    assert_int_equal(hdr.gso_type, FRAME_GSO_TCPV4);
    assert_int_equal(hdr.gso_size, MSS);
    assert_int_equal(hdr.csum_start, 34);
    assert_int_equal(hdr.csum_offset, 16);
    assert_memory_equal(got + sizeof(hdr), bytes, len);
    close(host);
    guest_close(&guest);
}

static void send_tso_from_host(int host, const uint8_t *bytes, uint32_t len)
{
    static uint8_t packet[sizeof(struct host_vnet_hdr) + FRAME_LEN_MAX];
    struct host_vnet_hdr hdr = {FRAME_NEEDS_CSUM, FRAME_GSO_TCPV4, TCP_HEADERS, MSS, 34, 16};

    memcpy(packet, &hdr, sizeof(hdr));
    memcpy(packet + sizeof(hdr), bytes, len);
    host_send(host, packet, sizeof(hdr) + len);
}

static void check_tso_frame(const struct guest_frame *frame, const uint8_t *bytes, uint32_t len)
{
    assert_int_equal(frame->len, len);
    assert_int_equal(frame->offload.flags & FRAME_NEEDS_CSUM, FRAME_NEEDS_CSUM);
    assert_int_equal(frame->offload.gso_type, FRAME_GSO_TCPV4);
    assert_int_equal(frame->offload.gso_size, MSS);
    assert_int_equal(frame->offload.csum_start, 34);
    assert_int_equal(frame->offload.csum_offset, 16);
    assert_memory_equal(frame->bytes, bytes, len);
}

/* The first large frame overruns the room and goes through `held`, the next ones go straight. */
static void tso_frames_of_the_host_come_as_one(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct endpoint_caps caps;
    struct guest guest;
    uint32_t len;
    int host;

    (void)state;
    begin(&guest, "tap:ifname=tsorx0");
    guest.endpoint->ops->capabilities(guest.endpoint, &caps);
    assert_int_equal(guest.endpoint->ops->set_offloads(guest.endpoint, caps.rx_offloads), 0);
    host = host_socket("tsorx0", 0x0800, HOST_WITH_VNET_HDR);
    len = make_tso_frame(bytes);
    for (unsigned i = 0; i < 5; i++) {
        guest_forget_frames(&guest);
        guest.buffer_len = i < 3 ? 1526 : 70000;
        send_tso_from_host(host, bytes, len);
        assert_int_equal(guest_receive_until(&guest, 1, 1000), 1);
        check_tso_frame(&guest.frame[0], bytes, len);
    }
    close(host);
    guest_close(&guest);
}

static void frame_larger_than_the_room_waits_whole(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct guest guest;
    uint32_t len;
    int host;

    (void)state;
    begin(&guest, "tap:ifname=held0");
    guest.endpoint->ops->set_offloads(guest.endpoint, ENDPOINT_CSUM | ENDPOINT_TSO4);
    host = host_socket("held0", 0x0800, HOST_WITH_VNET_HDR);
    len = make_tso_frame(bytes);
    guest.buffer_count = 4;
    send_tso_from_host(host, bytes, len);
    send_tso_from_host(host, bytes, len);
    assert_true(guest_wait(&guest, 1000));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(guest_receive(&guest, 64), 0);
    assert_int_equal(guest.frame_count, 0);
    guest.buffer_count = GUEST_NO_LIMIT;
    assert_int_equal(guest_receive(&guest, 1), 1);
    check_tso_frame(&guest.frame[0], bytes, len);
    assert_int_equal(guest_receive_until(&guest, 2, 1000), 2);
    check_tso_frame(&guest.frame[1], bytes, len);
    assert_int_equal(guest.drop_count, 0);

    /* Buffers that can never hold it: it is dropped, and the next frame comes. */
    guest.kind = GUEST_SINGLE;
    send_tso_from_host(host, bytes, len);
    assert_true(guest_wait(&guest, 1000));
    assert_int_equal(guest_receive(&guest, 64), 1);
    assert_int_equal(guest.drop_count, 1);
    close(host);
    guest_close(&guest);
}

/* Without the guest's consent the kernel cuts the frame before it comes. */
static void nothing_is_offloaded_unasked(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct guest guest;
    unsigned count = (BIG_LEN + MSS - 1) / MSS;
    int host;

    (void)state;
    begin(&guest, "tap:ifname=plain0");
    host = host_socket("plain0", 0x0800, HOST_WITH_VNET_HDR);
    send_tso_from_host(host, bytes, make_tso_frame(bytes));
    assert_int_equal(guest_receive_until(&guest, count, 1000), count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(guest.frame[i].offload.gso_type, FRAME_GSO_NONE);
        assert_int_equal(guest.frame[i].offload.flags & FRAME_NEEDS_CSUM, 0);
        assert_true(guest.frame[i].len <= TCP_HEADERS + MSS);
    }
    close(host);
    guest_close(&guest);
}

/* ---- the interface ------------------------------------------------------------------------------
 */

static void deleted_interface_is_gone_and_comes_back(void **state)
{
    struct test_frame frame;
    struct guest guest;
    unsigned before;

    (void)state;
    begin(&guest, "tap:ifname=gone0");
    before = count_fds();
    test_frame_make(&frame, 100, 1, 1);
    for (unsigned i = 0; i < 4; i++) {
        host_command("ip link del gone0");
        /* Seen by the control thread in two of the rounds, and by the worker first in the others.
         */
        if (i % 2 == 0) {
            assert_true((wait_for_event(&guest, ENDPOINT_EVENT_GONE) & ENDPOINT_EVENT_GONE) != 0);
            assert_false(guest.endpoint->ops->link_up(guest.endpoint));
        }
        assert_true(guest_wait(&guest, 1000));
        assert_int_equal(guest_receive(&guest, 64), 0);
        assert_true((wait_for_event(&guest, ENDPOINT_EVENT_GONE) & ENDPOINT_EVENT_GONE) != 0);
        assert_false(guest_wait(&guest, 50)); /* no spin until we are closed */
        send_taken(&guest, &frame);
        guest_close(&guest);
        guest_open(&guest, "tap:ifname=gone0");
        assert_int_equal(count_fds(), before);
        send_taken(&guest, &frame);
        assert_false(wait_for_event(&guest, ENDPOINT_EVENT_GONE) & ENDPOINT_EVENT_GONE);
    }
    /* And found by sending. */
    host_command("ip link del gone0");
    send_taken(&guest, &frame);
    assert_true((wait_for_event(&guest, ENDPOINT_EVENT_GONE) & ENDPOINT_EVENT_GONE) != 0);
    test_frame_free(&frame);
    guest_close(&guest);
}

static void link_state_and_mtu_are_followed(void **state)
{
    struct endpoint_caps caps;
    struct test_frame frame;
    struct guest guest;
    const struct endpoint_ops *ops;

    (void)state;
    begin(&guest, "tap:ifname=link0");
    ops = guest.endpoint->ops;
    assert_true(ops->link_up(guest.endpoint));
    test_frame_make(&frame, 100, 1, 1);
    host_command("ip link set link0 down");
    assert_int_equal(wait_for_event(&guest, ENDPOINT_EVENT_LINK), ENDPOINT_EVENT_LINK);
    assert_false(ops->link_up(guest.endpoint));
    send_taken(&guest, &frame); /* a drop, and no reason to give the interface up */
    assert_int_equal(take_events(&guest, 50), 0);
    host_command("ip link set link0 up mtu 4000");
    while (!ops->link_up(guest.endpoint))
        assert_int_equal(wait_for_event(&guest, ENDPOINT_EVENT_LINK), ENDPOINT_EVENT_LINK);
    ops->capabilities(guest.endpoint, &caps);
    assert_int_equal(caps.mtu, 4000);
    test_frame_free(&frame);
    guest_close(&guest);
}

static void up_off_leaves_it_down(void **state)
{
    struct guest guest;

    (void)state;
    begin(&guest, "tap:ifname=down0,up=off");
    assert_false(guest.endpoint->ops->link_up(guest.endpoint));
    guest_close(&guest);
}

static void existing_interface_is_attached_to_and_stays(void **state)
{
    static const char *const flags[] = {"", "multi_queue"};
    struct endpoint *second = NULL;
    struct endpoint_spec spec;
    struct guest guest;
    struct error err;

    (void)state;
    if (no_namespace != NULL)
        skip();
    for (unsigned i = 0; i < ARRAY_COUNT(flags); i++) {
        host_command("ip tuntap add dev there0 mode tap vnet_hdr %s", flags[i]);
        guest_open(&guest, "tap:ifname=there0");
        assert_false(guest.endpoint->ops->link_up(guest.endpoint)); /* not ours to bring up */
        if (i == 0) {
            assert_int_equal(endpoint_spec_parse(&spec, "tap:ifname=there0", &err), 0);
            assert_int_equal(endpoint_open(&spec, &second, &err), -EBUSY);
            assert_non_null(strstr(err.text, "there0 is in use"));
            endpoint_spec_clear(&spec);
        }
        guest_close(&guest);
        assert_true(if_nametoindex("there0") != 0);
        host_command("ip tuntap del dev there0 mode tap %s", flags[i]);
    }
}

static int open_tap(const char *ifname, int flags)
{
    struct ifreq request = {0};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
    request.ifr_flags = (short)(IFF_TAP | flags);
    assert_return_code(ioctl(fd, TUNSETIFF, &request), errno);
    return fd;
}

static void passed_fd_is_used_and_not_closed(void **state)
{
    struct test_frame frame;
    struct guest guest;
    uint8_t bytes[2048];
    char spec[64];
    int fd, host;

    (void)state;
    if (no_namespace != NULL)
        skip();
    fd = open_tap("passed0", IFF_NO_PI | IFF_VNET_HDR);
    host_command("ip link set passed0 up");
    snprintf(spec, sizeof(spec), "tap:fd=%d", fd);
    for (unsigned i = 0; i < 2; i++) {
        guest_open(&guest, spec);
        host = host_socket("passed0", TEST_ETHERTYPE, HOST_PLAIN);
        test_frame_make(&frame, 100, 2, 5);
        send_taken(&guest, &frame);
        test_frame_free(&frame);
        assert_int_equal(host_receive(host, bytes, sizeof(bytes)), 100);
        test_frame_fill(bytes, 100, 6);
        host_send(host, bytes, 100);
        assert_int_equal(guest_receive_until(&guest, 1, 1000), 1);
        test_frame_check(guest.frame[0].bytes, 100, 6);
        close(host);
        guest_close(&guest);
    }
    close(fd);
}

static void passed_fd_without_vnet_header_is_refused(void **state)
{
    struct endpoint *endpoint = NULL;
    struct endpoint_spec spec;
    struct error err;
    char text[64];
    int fd;

    (void)state;
    if (no_namespace != NULL)
        skip();
    fd = open_tap("passed1", IFF_NO_PI);
    snprintf(text, sizeof(text), "tap:fd=%d", fd);
    assert_int_equal(endpoint_spec_parse(&spec, text, &err), 0);
    assert_int_equal(endpoint_open(&spec, &endpoint, &err), -EINVAL);
    assert_non_null(strstr(err.text, "IFF_VNET_HDR"));
    endpoint_spec_clear(&spec);
    close(fd);
}

/* ---- other namespaces ---------------------------------------------------------------------------
 */

static void *other_namespace(void *argument)
{
    int *fd = argument;

    *fd = unshare(CLONE_NEWNET) < 0 ? -1 : open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return NULL;
}

struct there {
    int netns_fd;
    unsigned ifindex;
};

static void *look_there(void *argument)
{
    struct there *there = argument;

    if (setns(there->netns_fd, CLONE_NEWNET) == 0)
        there->ifindex = if_nametoindex("inside0");
    return NULL;
}

static void netns_puts_it_elsewhere(void **state)
{
    struct there there = {-1, 0};
    struct guest guest;
    pthread_t thread;
    char spec[96];

    (void)state;
    if (no_namespace != NULL)
        skip();
    pthread_create(&thread, NULL, other_namespace, &there.netns_fd);
    pthread_join(thread, NULL);
    assert_true(there.netns_fd >= 0);
    snprintf(spec, sizeof(spec), "tap:ifname=inside0,mtu=2000,netns=/proc/self/fd/%d",
             there.netns_fd);
    guest_open(&guest, spec);
    assert_true(guest.endpoint->ops->link_up(guest.endpoint));
    assert_int_equal(if_nametoindex("inside0"), 0);
    pthread_create(&thread, NULL, look_there, &there);
    pthread_join(thread, NULL);
    assert_true(there.ifindex != 0);
    guest_close(&guest);
    close(there.netns_fd);
}

/* ---- several queues -----------------------------------------------------------------------------
 */

enum {
    PAIRS = 4,
    FLOWS = 64,
};

static void host_sends_flows(int host)
{
    uint8_t bytes[TCP_HEADERS + BIG_LEN];

    make_tso_frame(bytes);
    bytes[16] = 0;
    bytes[17] = 40;
    for (unsigned i = 0; i < FLOWS; i++) {
        bytes[35] = (uint8_t)i; /* the source port */
        host_send(host, bytes, TCP_HEADERS);
    }
}

/* Receives on all open queues until FLOWS frames are there. */
static unsigned receive_flows(struct guest *guests)
{
    uint64_t end = clock_now_ns() + CLOCK_SECOND_NS;
    unsigned total = 0;

    while (total < FLOWS && clock_now_ns() < end) {
        for (unsigned i = 0; i < PAIRS; i++) {
            if (guests[i].queue != NULL && guest_wait(&guests[i], 0))
                total += guest_receive(&guests[i], 64);
        }
    }
    return total;
}

static void queues_attach_and_detach(void **state)
{
    static struct guest guests[PAIRS];
    struct endpoint_spec spec;
    struct test_frame frame;
    struct error err;
    uint8_t bytes[256];
    int host;

    (void)state;
    if (no_namespace != NULL)
        skip();
    assert_int_equal(endpoint_spec_parse(&spec, "tap:ifname=multi0", &err), 0);
    spec.queue_pairs = PAIRS;
    for (unsigned i = 0; i < PAIRS; i++)
        guest_init(&guests[i]);
    assert_int_equal(endpoint_open(&spec, &guests[0].endpoint, &err), 0);
    endpoint_spec_clear(&spec);
    for (unsigned i = 0; i < PAIRS; i++) {
        guests[i].endpoint = guests[0].endpoint;
        guest_queue_open(&guests[i], i);
        test_frame_make(&frame, 100, 1, i);
        host = host_socket("multi0", TEST_ETHERTYPE, HOST_PLAIN);
        send_taken(&guests[i], &frame);
        assert_int_equal(host_receive(host, bytes, sizeof(bytes)), 100);
        test_frame_free(&frame);
        close(host);
    }
    host = host_socket("multi0", 0x0800, HOST_PLAIN);
    for (unsigned closed = 0; closed < PAIRS; closed++) {
        host_sends_flows(host);
        assert_int_equal(receive_flows(guests), FLOWS);
        guest_queue_close(&guests[closed]);
    }
    guest_queue_open(&guests[2], 2);
    host_sends_flows(host);
    assert_int_equal(receive_flows(guests), FLOWS);
    close(host);
    for (unsigned i = 1; i < PAIRS; i++)
        guest_forget_frames(&guests[i]);
    guest_queue_close(&guests[2]);
    guest_close(&guests[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_keep_their_content_both_ways),
        cmocka_unit_test(jumbo_frames_cross_whole),
        cmocka_unit_test(tso_frame_of_the_guest_crosses_as_one),
        cmocka_unit_test(tso_frames_of_the_host_come_as_one),
        cmocka_unit_test(frame_larger_than_the_room_waits_whole),
        cmocka_unit_test(nothing_is_offloaded_unasked),
        cmocka_unit_test(deleted_interface_is_gone_and_comes_back),
        cmocka_unit_test(link_state_and_mtu_are_followed),
        cmocka_unit_test(up_off_leaves_it_down),
        cmocka_unit_test(existing_interface_is_attached_to_and_stays),
        cmocka_unit_test(passed_fd_is_used_and_not_closed),
        cmocka_unit_test(passed_fd_without_vnet_header_is_refused),
        cmocka_unit_test(netns_puts_it_elsewhere),
        cmocka_unit_test(queues_attach_and_detach),
    };

    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("%s\n", no_namespace);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
