/* SPDX-License-Identifier: MIT */
/* The endpoint `stream`: its options, and the life of its connection. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "check.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "stream_guest.h"

/* ---- options ------------------------------------------------------------------------------------
 */

static int open_fails(const char *text, struct error *err)
{
    struct endpoint *endpoint = NULL;
    struct endpoint_spec spec;
    unsigned fds = count_fds();
    int rc;

    assert_int_equal(endpoint_spec_parse(&spec, text, err), 0);
    rc = endpoint_open(&spec, &endpoint, err);
    endpoint_spec_clear(&spec);
    check(rc < 0, "%s was opened", text);
    assert_null(endpoint);
    assert_int_equal(count_fds(), fds);
    return rc;
}

static void options_are_checked(void **state)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"stream", "path="},
        {"stream:path=/tmp/a,address=127.0.0.1:1", "twice"},
        {"stream:path=/tmp/a,fd=0", "twice"},
        {"stream:path=", "path="},
        {"stream:address=127.0.0.1", "HOST:PORT"},
        {"stream:address=127.0.0.1:", "HOST:PORT"},
        {"stream:address=127.0.0.1:no-such-service", "can't be found"},
        {"stream:path=/tmp/a,mode=both", "mode=client"},
        {"stream:path=/tmp/a,reconnect=0", "reconnect"},
        {"stream:path=/tmp/a,reconnect=soon", "reconnect"},
        {"stream:fd=x", "fd=x"},
        {"stream:fd=9999", "no open stream socket"},
        {"stream:fd=0,mode=server", "mode="},
        {"stream:path=/nowhere/at/all,mode=server", "directory"},
    };
    char text[256] = "stream:path=/";
    struct error err;
    int datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int alone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        open_fails(cases[i].text, &err);
        check(strstr(err.text, cases[i].word) != NULL, "%s: %s", cases[i].text, err.text);
    }
    memset(text + strlen(text), 'x', 120);
    assert_int_equal(open_fails(text, &err), -ENAMETOOLONG);
    snprintf(text, sizeof(text), "stream:fd=%d", datagrams);
    assert_int_equal(open_fails(text, &err), -EINVAL);
    snprintf(text, sizeof(text), "stream:fd=%d", alone);
    assert_int_equal(open_fails(text, &err), -ENOTCONN);
    close(datagrams);
    close(alone);
}

/* ---- client -------------------------------------------------------------------------------------
 */

static void exchange(struct guest *guest, int peer)
{
    uint8_t bytes[512];
    uint32_t len = stream_put(bytes, 300, 5);

    guest_forget_frames(guest);
    stream_write(peer, bytes, len);
    stream_expect_frames(guest, 1);
    test_frame_check(guest->frame[0].bytes, 300, 5);
    stream_send(guest, 200, 6);
    stream_expect(peer, 200, 6);
}

static void client_waits_for_its_server_and_comes_back(void **state)
{
    struct guest guest;
    int listener, peer;

    (void)state;
    stream_open(&guest, "stream:path=%s,reconnect=20", stream_path());
    assert_false(guest.endpoint->ops->link_up(guest.endpoint));
    stream_send(&guest, 60, 1); /* taken, and dropped */
    assert_int_equal(guest_counter(&guest, "tx_dropped_down"), 1);
    for (unsigned round = 0; round < 3; round++) {
        uint8_t bytes[64];

        listener = stream_listen(stream_path());
        peer = stream_accept(&guest, listener);
        stream_wait_link(&guest, 1);
        exchange(&guest, peer);
        /* In the middle of a frame: nothing of it reaches the next connection. */
        stream_put(bytes, 60, 9);
        stream_write(peer, bytes, 30);
        guest_receive(&guest, 64);
        close(peer);
        close(listener);
        unlink(stream_path());
        stream_wait_link(&guest, 0);
        assert_int_equal(guest_counter(&guest, "connections_lost"), round + 1);
        assert_int_equal(guest_counter(&guest, "rx_cut"), round + 1);
        stream_send(&guest, 60, 1);
        assert_int_equal(guest_counter(&guest, "tx_dropped_down"), round + 2);
    }
    guest_close(&guest);
}

/* The peer of a connection that nobody reads goes away. */
static void loss_is_found_without_a_queue(void **state)
{
    struct guest guest;
    int listener = stream_listen(stream_path());
    int peer;

    (void)state;
    stream_open(&guest, "stream:path=%s,reconnect=20", stream_path());
    assert_true(guest.endpoint->ops->link_up(guest.endpoint)); /* at once, if it is there */
    peer = stream_accept(&guest, listener);
    exchange(&guest, peer);
    guest_queue_close(&guest);
    assert_int_equal(stream_settle(&guest), 0);
    close(peer);
    stream_wait_link(&guest, 0);
    peer = stream_accept(&guest, listener);
    stream_wait_link(&guest, 1);
    close(peer); /* never taken by a queue */
    stream_wait_link(&guest, 0);
    peer = stream_accept(&guest, listener);
    stream_wait_link(&guest, 1);
    guest_queue_open(&guest, 0);
    exchange(&guest, peer);
    guest_close(&guest);
    stream_expect_end(peer);
    close(listener);
    unlink(stream_path());
}

/* What comes with the connection is not lost while the queue is made ready for it. */
static void frames_wait_for_a_fresh_connection(void **state)
{
    struct guest guest;
    struct test_frame frame;
    uint8_t bytes[128];
    int listener, peer;

    (void)state;
    stream_open(&guest, "stream:path=%s,reconnect=20", stream_path());
    listener = stream_listen(stream_path());
    while (!guest.endpoint->ops->link_up(guest.endpoint))
        guest.endpoint->ops->events(guest.endpoint);
    test_frame_make(&frame, 60, 1, 1);
    assert_int_equal(guest_send(&guest, &frame.frame, 1), 0);
    peer = stream_accept(&guest, listener);
    stream_write(peer, bytes, stream_put(bytes, 60, 2));
    assert_true((stream_settle(&guest) & ENDPOINT_EVENT_RESTART) != 0 ||
                guest.endpoint->ops->wait_fd(guest.queue) >= 0);
    assert_int_equal(guest_send(&guest, &frame.frame, 1), 1);
    stream_expect(peer, 60, 1);
    stream_expect_frames(&guest, 1);
    assert_int_equal(guest_counter(&guest, "tx_dropped_down"), 0);
    test_frame_free(&frame);
    guest_close(&guest);
    close(peer);
    close(listener);
    unlink(stream_path());
}

static void attempts_keep_their_distance(void **state)
{
    uint64_t end = clock_now_ns() + 600 * CLOCK_MILLISECOND_NS;
    struct guest guest;

    (void)state;
    stream_open(&guest, "stream:path=%s,reconnect=50", stream_path());
    while (clock_now_ns() < end) {
        struct pollfd wait = {.fd = guest.endpoint->ops->event_fd(guest.endpoint),
                              .events = POLLIN};

        if (poll(&wait, 1, 50) > 0)
            stream_settle(&guest);
    }
    /* At 0, 50, 150, 350 and 750 ms. */
    assert_in_range(guest_counter(&guest, "attempts_failed"), 2, 4);
    guest_close(&guest);
}

/* ---- server -------------------------------------------------------------------------------------
 */

static void server_takes_one_peer_after_the_other(void **state)
{
    struct guest guest;
    struct stat status;
    int first, second;

    (void)state;
    stream_open(&guest, "stream:path=%s,mode=server,reconnect=20", stream_path());
    assert_false(guest.endpoint->ops->link_up(guest.endpoint));
    first = stream_connect(stream_path());
    stream_wait_link(&guest, 1);
    exchange(&guest, first);
    second = stream_connect(stream_path());
    exchange(&guest, first);
    close(first);
    stream_wait_link(&guest, 0);
    stream_wait_link(&guest, 1);
    exchange(&guest, second);
    assert_int_equal(guest_counter(&guest, "connections"), 2);
    guest_close(&guest);
    stream_expect_end(second);
    assert_int_equal(stat(stream_path(), &status), -1); /* the file went with it */
}

static void socket_files_of_others_are_left_alone(void **state)
{
    struct guest guest;
    struct error err;
    char text[128];
    int fd = stream_listen(stream_path());

    (void)state;
    snprintf(text, sizeof(text), "stream:path=%s,mode=server", stream_path());
    assert_int_equal(open_fails(text, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "listens at"));
    close(fd); /* the file stays, as of a process that was killed */
    guest_open(&guest, text);
    guest_close(&guest);
    fd = open(stream_path(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(open_fails(text, &err), -EEXIST);
    assert_int_equal(unlink(stream_path()), 0);
}

static void listening_socket_may_be_passed(void **state)
{
    struct guest guest;
    int listener = stream_listen(stream_path());
    int peer = stream_connect(stream_path());

    (void)state;
    stream_open(&guest, "stream:fd=%d,reconnect=20", listener);
    close(listener);
    for (unsigned i = 0; i < 3; i++) {
        stream_wait_link(&guest, 1);
        exchange(&guest, peer);
        close(peer);
        stream_wait_link(&guest, 0);
        peer = stream_connect(stream_path());
    }
    close(peer);
    guest_close(&guest);
    assert_int_equal(unlink(stream_path()), 0); /* not ours to remove */
}

/* ---- TCP ----------------------------------------------------------------------------------------
 */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_return_code(bind(fd, (struct sockaddr *)&address, len), errno);
    assert_return_code(getsockname(fd, (struct sockaddr *)&address, &len), errno);
    close(fd);
    return ntohs(address.sin_port);
}

/* Two endpoints, one at each end. */
static void two_endpoints_over_tcp(void **state)
{
    uint16_t port = free_port();
    struct guest near, far;

    (void)state;
    stream_open(&near, "stream:address=127.0.0.1:%u,reconnect=20", port);
    assert_false(near.endpoint->ops->link_up(near.endpoint));
    for (unsigned round = 0; round < 2; round++) {
        uint64_t end = clock_now_ns() + STREAM_WAIT_MS * CLOCK_MILLISECOND_NS;

        stream_open(&far, "stream:address=%s:%u,mode=server,reconnect=20",
                    round == 0 ? "127.0.0.1" : "", port);
        while (!near.endpoint->ops->link_up(near.endpoint) ||
               !far.endpoint->ops->link_up(far.endpoint)) {
            assert_true(clock_now_ns() < end);
            stream_settle(&near);
            stream_settle(&far);
            poll(NULL, 0, 5);
        }
        stream_settle(&near);
        stream_settle(&far);
        for (unsigned i = 0; i < 20; i++) {
            stream_send(&near, 1500 + i, i);
            stream_send(&far, 9000 + i, i);
        }
        stream_expect_frames(&near, 20);
        stream_expect_frames(&far, 20);
        for (unsigned i = 0; i < 20; i++) {
            test_frame_check(far.frame[i].bytes, 1500 + i, i);
            test_frame_check(near.frame[i].bytes, 9000 + i, i);
        }
        guest_forget_frames(&near);
        guest_close(&far);
        stream_wait_link(&near, 0);
    }
    guest_close(&near);
}

static void cleanup_leaks_no_fd(void **state)
{
    unsigned fds = count_fds();

    client_waits_for_its_server_and_comes_back(state);
    server_takes_one_peer_after_the_other(state);
    two_endpoints_over_tcp(state);
    assert_int_equal(count_fds(), fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(client_waits_for_its_server_and_comes_back),
        cmocka_unit_test(loss_is_found_without_a_queue),
        cmocka_unit_test(frames_wait_for_a_fresh_connection),
        cmocka_unit_test(attempts_keep_their_distance),
        cmocka_unit_test(server_takes_one_peer_after_the_other),
        cmocka_unit_test(socket_files_of_others_are_left_alone),
        cmocka_unit_test(listening_socket_may_be_passed),
        cmocka_unit_test(two_endpoints_over_tcp),
        cmocka_unit_test(cleanup_leaks_no_fd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
