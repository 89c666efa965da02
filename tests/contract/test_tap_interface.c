/* SPDX-License-Identifier: MIT */
/* The interface behind the endpoint `tap`: who makes it, its state, its end, its queues. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "check.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "host.h"
#include "tap_guest.h"

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

/* ---- the interface ------------------------------------------------------------------------------
 */

static void deleted_interface_is_gone_and_comes_back(void **state)
{
    struct test_frame frame;
    struct guest guest;
    unsigned before;

    (void)state;
    tap_begin(&guest, "tap:ifname=gone0");
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
        tap_send(&guest, &frame);
        guest_close(&guest);
        guest_open(&guest, "tap:ifname=gone0");
        assert_int_equal(count_fds(), before);
        tap_send(&guest, &frame);
        assert_int_equal(take_events(&guest, 50) & ENDPOINT_EVENT_GONE, 0);
    }
    /* And found by sending. */
    host_command("ip link del gone0");
    tap_send(&guest, &frame);
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
    tap_begin(&guest, "tap:ifname=link0");
    ops = guest.endpoint->ops;
    assert_true(ops->link_up(guest.endpoint));
    test_frame_make(&frame, 100, 1, 1);
    host_command("ip link set link0 down");
    assert_int_equal(wait_for_event(&guest, ENDPOINT_EVENT_LINK), ENDPOINT_EVENT_LINK);
    assert_false(ops->link_up(guest.endpoint));
    tap_send(&guest, &frame); /* a drop, and no reason to give the interface up */
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
    tap_begin(&guest, "tap:ifname=down0,up=off");
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
    tap_need_namespace();
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

static int open_tun(const char *ifname, int flags)
{
    struct ifreq request = {0};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
    request.ifr_flags = (short)flags;
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
    tap_need_namespace();
    fd = open_tun("passed0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    host_command("ip link set passed0 up");
    snprintf(spec, sizeof(spec), "tap:fd=%d", fd);
    for (unsigned i = 0; i < 2; i++) {
        guest_open(&guest, spec);
        host = host_socket("passed0", TEST_ETHERTYPE, HOST_PLAIN);
        test_frame_make(&frame, 100, 2, 5);
        tap_send(&guest, &frame);
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

static void expect_refused(int fd, const char *why)
{
    struct endpoint *endpoint = NULL;
    struct endpoint_spec spec;
    struct error err;
    char text[64];

    snprintf(text, sizeof(text), "tap:fd=%d", fd);
    assert_int_equal(endpoint_spec_parse(&spec, text, &err), 0);
    assert_int_equal(endpoint_open(&spec, &endpoint, &err), -EINVAL);
    assert_non_null(strstr(err.text, why));
    endpoint_spec_clear(&spec);
    close(fd);
}

/* From what is a tap with the header, the kernel never gives less than a header. */
static void H10_passed_fd_that_may_give_less_than_a_header_is_refused(void **state)
{
    int pipe_fd[2];

    (void)state;
    tap_need_namespace();
    assert_return_code(pipe(pipe_fd), errno);
    close(pipe_fd[1]);
    expect_refused(open_tun("passed1", IFF_TAP | IFF_NO_PI), "IFF_VNET_HDR");
    for (unsigned i = 0; i < 2; i++) { /* it is a tap that stays, from one look to the next */
        int fd = open_tun("passed2", IFF_TAP | IFF_VNET_HDR);

        assert_return_code(ioctl(fd, TUNSETPERSIST, i == 0), errno);
        expect_refused(fd, "IFF_NO_PI");
    }
    expect_refused(open_tun("passed1", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR), "IFF_TAP");
    expect_refused(open("/dev/net/tun", O_RDWR | O_CLOEXEC), "TUNSETIFF");
    expect_refused(pipe_fd[0], "not an open tap");
    expect_refused(socket(AF_INET, SOCK_DGRAM, 0), "not an open tap");
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
    tap_need_namespace();
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

static void *pass_from_elsewhere(void *argument)
{
    int *fd = argument;

    if (unshare(CLONE_NEWNET) == 0)
        *fd = open_tun("afar0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    return NULL;
}

static void passed_fd_of_another_namespace_is_watched_there(void **state)
{
    struct guest guest;
    pthread_t thread;
    char spec[64];
    int fd = -1;

    (void)state;
    tap_need_namespace();
    host_command("ip tuntap add dev afar0 mode tap"); /* of the same name, and not ours */
    pthread_create(&thread, NULL, pass_from_elsewhere, &fd);
    pthread_join(thread, NULL);
    assert_true(fd >= 0);
    snprintf(spec, sizeof(spec), "tap:fd=%d,mtu=3000,up=on", fd);
    guest_open(&guest, spec);
    while (!guest.endpoint->ops->link_up(guest.endpoint))
        assert_int_equal(wait_for_event(&guest, ENDPOINT_EVENT_LINK), ENDPOINT_EVENT_LINK);
    host_command("ip link show afar0 | grep -q 'mtu 1500.*DOWN'");
    guest_close(&guest);
    close(fd);
    host_command("ip link del afar0");
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
    tap_need_namespace();
    assert_int_equal(endpoint_spec_parse(&spec, "tap:ifname=multi0", &err), 0);
    spec.queue_pairs = PAIRS;
    for (unsigned i = 0; i < PAIRS; i++)
        guest_init(&guests[i]);
    assert_int_equal(endpoint_open(&spec, &guests[0].endpoint, &err), 0);
    endpoint_spec_clear(&spec);
    assert_int_equal(guests[0].endpoint->ops->set_offloads(guests[0].endpoint, ENDPOINT_CSUM), 0);
    for (unsigned i = 0; i < PAIRS; i++) {
        guests[i].endpoint = guests[0].endpoint;
        guest_queue_open(&guests[i], i);
        test_frame_make(&frame, 100, 1, i);
        host = host_socket("multi0", TEST_ETHERTYPE, HOST_PLAIN);
        tap_send(&guests[i], &frame);
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
        cmocka_unit_test(deleted_interface_is_gone_and_comes_back),
        cmocka_unit_test(link_state_and_mtu_are_followed),
        cmocka_unit_test(up_off_leaves_it_down),
        cmocka_unit_test(existing_interface_is_attached_to_and_stays),
        cmocka_unit_test(passed_fd_is_used_and_not_closed),
        cmocka_unit_test(H10_passed_fd_that_may_give_less_than_a_header_is_refused),
        cmocka_unit_test(netns_puts_it_elsewhere),
        cmocka_unit_test(passed_fd_of_another_namespace_is_watched_there),
        cmocka_unit_test(queues_attach_and_detach),
    };

    tap_enter_namespace();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
