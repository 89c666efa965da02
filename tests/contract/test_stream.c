/* SPDX-License-Identifier: MIT */
/* The endpoint `stream`: frames to bytes and back, whatever the socket and the peer do to them. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "check.h"
#include "stream_guest.h"

/* ---- transmit -----------------------------------------------------------------------------------
 */

static void frames_go_out_behind_their_length(void **state)
{
    static const uint32_t lens[] = {14, 60, 1514, 9014, FRAME_LEN_MAX};
    struct guest guest;
    int peer = stream_open_pair(&guest);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(lens); i++) {
        stream_send(&guest, lens[i], i);
        stream_expect(peer, lens[i], i);
    }
    guest_close(&guest);
    close(peer);
}

enum {
    SMALL = 196, /* a batch is more than the smallest send buffer takes */
    PERIOD = STREAM_PREFIX + SMALL,
    BURST = 80,
};

static void burst_make(struct test_frame *test_frame, struct frame *burst, uint32_t first_len)
{
    for (unsigned i = 0; i < BURST; i++) {
        test_frame_make(&test_frame[i], i == 0 ? first_len : SMALL, 1 + i % 3, i);
        burst[i] = test_frame[i].frame;
    }
}

static void small_send_buffer(int fd)
{
    int space = 1; /* the kernel's least */

    assert_return_code(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &space, sizeof(space)), errno);
}

static int writable(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};

    return poll(&wait, 1, timeout_ms) > 0;
}

/* What the peer gets of the burst must be the burst, however it was cut. */
static void burst_flow(struct guest *guest, const struct frame *burst, unsigned taken, int peer)
{
    static uint8_t got[BURST * 2 * PERIOD], expected[BURST * 2 * PERIOD];
    uint64_t end = clock_now_ns() + STREAM_WAIT_MS * CLOCK_MILLISECOND_NS;
    size_t len = 0, have = 0;

    for (unsigned i = 0; i < BURST; i++)
        len += stream_put(expected + len, burst[i].len, i);
    while (have < len) {
        ssize_t n = recv(peer, got + have, 1 + have % 777, 0);

        check(clock_now_ns() < end, "%zu of %zu bytes came", have, len);
        have += n > 0 ? (size_t)n : 0;
        /* What is offered meanwhile changes nothing that was begun. */
        if (taken < BURST)
            taken += guest_send(guest, burst + taken, BURST - taken);
        else
            guest_receive(guest, 64);
    }
    assert_int_equal(taken, BURST);
    assert_memory_equal(got, expected, len);
    assert_int_equal(recv(peer, got, 1, 0), -1);
}

/* The first frame's length moves the place where the full socket cuts, byte by byte. */
static void full_socket_may_cut_anywhere(void **state)
{
    static struct test_frame test_frame[BURST];
    uint8_t seen[PERIOD] = {0};
    unsigned places = 0;

    (void)state;
    for (unsigned round = 0; round < PERIOD; round++) {
        struct frame burst[BURST];
        struct guest guest;
        unsigned taken;
        int waiting;
        int peer = stream_open_pair(&guest);

        small_send_buffer(guest.endpoint->ops->wait_fd(guest.queue));
        burst_make(test_frame, burst, FRAME_LEN_MIN + round);
        taken = guest_send(&guest, burst, BURST);
        assert_true(taken < BURST);
        assert_return_code(ioctl(peer, FIONREAD, &waiting), errno);
        seen[(waiting - STREAM_PREFIX - FRAME_LEN_MIN - (int)round) % PERIOD] = 1;
        assert_int_equal(guest_send(&guest, burst + taken, BURST - taken), 0);
        burst_flow(&guest, burst, taken, peer);
        for (unsigned i = 0; i < BURST; i++)
            test_frame_free(&test_frame[i]);
        guest_close(&guest);
        close(peer);
    }
    for (unsigned i = 0; i < PERIOD; i++)
        places += seen[i];
    assert_int_equal(places, PERIOD);
}

/* The guest goes away in the middle of a frame: the next one's frames are still framed. */
static void cut_frame_is_finished_for_the_next_guest(void **state)
{
    enum {
        LARGE = 60000,
    };
    static uint8_t got[STREAM_PREFIX + LARGE], expected[STREAM_PREFIX + LARGE];
    uint64_t end = clock_now_ns() + STREAM_WAIT_MS * CLOCK_MILLISECOND_NS;
    struct test_frame frame;
    size_t have = 0;
    struct guest guest;
    int peer = stream_open_pair(&guest);

    (void)state;
    small_send_buffer(guest.endpoint->ops->wait_fd(guest.queue));
    test_frame_make(&frame, LARGE, 3, 1);
    assert_int_equal(guest_send(&guest, &frame.frame, 1), 1);
    assert_int_equal(guest_counter(&guest, "tx_cut"), 1);
    memset(frame.iov[0].iov_base, 0xee, frame.iov[0].iov_len); /* it was the guest's memory */
    test_frame_free(&frame);
    guest_queue_close(&guest);
    guest_queue_open(&guest, 0);
    test_frame_make(&frame, 300, 1, 2);
    while (guest_send(&guest, &frame.frame, 1) == 0) {
        ssize_t n = recv(peer, got + have, sizeof(got) - have, 0);

        have += n > 0 ? (size_t)n : 0;
        check(clock_now_ns() < end, "the rest does not come");
    }
    stream_read(peer, got + have, sizeof(got) - have);
    stream_put(expected, LARGE, 1);
    assert_memory_equal(got, expected, sizeof(got));
    stream_expect(peer, 300, 2);
    test_frame_free(&frame);
    guest_close(&guest);
    close(peer);
}

/* A frame that the socket took a part of was taken: it goes on with the socket, while nothing else
 * is sent and the guest has no room, and is not sent again whatever is. */
static void cut_frame_goes_on_by_itself_and_goes_once(void **state)
{
    enum {
        LARGE = 60000,
    };
    static uint8_t got[STREAM_PREFIX + LARGE], expected[STREAM_PREFIX + LARGE];
    struct test_frame frame;
    size_t have = 0;
    struct guest guest;
    int peer = stream_open_pair(&guest);
    int fd = guest.endpoint->ops->wait_fd(guest.queue);

    (void)state;
    small_send_buffer(fd);
    guest.buffer_count = 0;
    test_frame_make(&frame, LARGE, 3, 1);
    assert_int_equal(guest_send(&guest, &frame.frame, 1), 1);
    while (guest.queue->unfinished) {
        assert_false(writable(fd, 0));
        have += (size_t)recv(peer, got + have, sizeof(got) - have, 0);
        check(writable(fd, STREAM_WAIT_MS), "the socket stays full");
        guest_receive(&guest, 64);
    }
    stream_read(peer, got + have, sizeof(got) - have);
    stream_put(expected, LARGE, 1);
    assert_memory_equal(got, expected, sizeof(got));
    assert_int_equal(recv(peer, got, 1, 0), -1);
    assert_int_equal(guest_counter(&guest, "tx_cut"), 1);
    test_frame_free(&frame);
    guest_close(&guest);
    close(peer);
}

static void full_socket_holds_the_guest_back(void **state)
{
    struct test_frame frame;
    struct guest guest;
    unsigned sent = 0;
    int peer = stream_open_pair(&guest);
    int fd = guest.endpoint->ops->wait_fd(guest.queue);

    (void)state;
    test_frame_make(&frame, 1514, 2, 7);
    while (guest_send(&guest, &frame.frame, 1) == 1)
        sent++;
    assert_true(sent > 10);
    assert_false(writable(fd, 0));
    for (unsigned i = 0; i < sent; i++)
        stream_expect(peer, 1514, 7);
    assert_true(writable(fd, 1000));
    assert_int_equal(guest_send(&guest, &frame.frame, 1), 1);
    test_frame_free(&frame);
    guest_close(&guest);
    close(peer);
}

/* ---- receive ------------------------------------------------------------------------------------
 */

static void reads_may_be_split_anywhere(void **state)
{
    static const uint32_t lens[] = {14, 60, 33};
    uint8_t bytes[256];
    uint32_t end[3], len = 0;
    struct guest guest;
    int peer = stream_open_pair(&guest);

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        end[i] = len += stream_put(bytes + len, lens[i], i);
    for (uint32_t cut = 0; cut <= len; cut++) {
        unsigned whole = (cut >= end[0]) + (cut >= end[1]) + (cut >= end[2]);

        guest_forget_frames(&guest);
        stream_write(peer, bytes, cut);
        guest_receive(&guest, 64);
        assert_int_equal(guest.frame_count, whole);
        stream_write(peer, bytes + cut, len - cut);
        guest_receive(&guest, 64);
        assert_int_equal(guest.frame_count, 3);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(guest.frame[i].len, lens[i]);
            test_frame_check(guest.frame[i].bytes, lens[i], i);
        }
    }
    guest_close(&guest);
    close(peer);
}

/* Each byte on its own; and the queue is made new in between. */
static void frame_may_come_byte_by_byte(void **state)
{
    uint8_t bytes[128];
    uint32_t len = stream_put(bytes, 100, 3);
    struct guest guest;
    int peer = stream_open_pair(&guest);

    (void)state;
    for (uint32_t i = 0; i < len; i++) {
        assert_int_equal(guest.frame_count, 0);
        stream_write(peer, bytes + i, 1);
        guest_receive(&guest, 64);
        guest_queue_close(&guest);
        guest_queue_open(&guest, 0);
    }
    assert_int_equal(guest.frame_count, 1);
    test_frame_check(guest.frame[0].bytes, 100, 3);
    guest_close(&guest);
    close(peer);
}

static void guest_without_room_holds_the_peer_back(void **state)
{
    static uint8_t bytes[STREAM_PREFIX + 1514];
    struct guest guest;
    unsigned sent = 0;
    int peer = stream_open_pair(&guest);

    (void)state;
    guest.buffer_count = 0;
    for (uint64_t end = clock_now_ns() + 300 * CLOCK_MILLISECOND_NS; clock_now_ns() < end;) {
        uint32_t len = stream_put(bytes, 1514, sent);

        if (sent < GUEST_FRAMES_MAX - 1 && writable(peer, 0)) {
            stream_write(peer, bytes, len);
            sent++;
        }
        guest_receive(&guest, 64);
    }
    assert_int_equal(guest.frame_count, 0);
    assert_true(guest_counter(&guest, "rx_reads") <= 2); /* its own room is bounded */
    guest.buffer_count = GUEST_NO_LIMIT;
    stream_expect_frames(&guest, sent);
    for (unsigned i = 0; i < sent; i++)
        test_frame_check(guest.frame[i].bytes, 1514, i);
    assert_int_equal(guest.drop_count, 0);
    guest_close(&guest);
    close(peer);
}

static void impossible_length_ends_the_connection(void **state)
{
    static const uint32_t lens[] = {0, 1, 13, FRAME_LEN_MAX + 1, 0x00ffffff, 0xffffffff};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(lens); i++) {
        struct guest guest;
        int peer = stream_open_pair(&guest);
        uint8_t bytes[128] = {0};
        uint32_t good = stream_put(bytes, 60, i);

        bytes[good] = (uint8_t)(lens[i] >> 24);
        bytes[good + 1] = (uint8_t)(lens[i] >> 16);
        bytes[good + 2] = (uint8_t)(lens[i] >> 8);
        bytes[good + 3] = (uint8_t)lens[i];
        stream_write(peer, bytes, sizeof(bytes));
        stream_wait_link(&guest, 0);
        assert_int_equal(guest.frame_count, 1); /* what came before it is good */
        assert_int_equal(guest_counter(&guest, "rx_bad_length"), 1);
        stream_expect_end(peer);
        stream_send(&guest, 60, 1);
        assert_int_equal(guest_counter(&guest, "tx_dropped_down"), 1);
        guest_close(&guest);
    }
}

/* ---- both ---------------------------------------------------------------------------------------
 */

static void *echo(void *argument)
{
    static uint8_t bytes[100000];
    int fd = *(int *)argument;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    unsigned turn = 0;

    while (poll(&wait, 1, -1) > 0) {
        ssize_t n = recv(fd, bytes, 1 + (turn++ * 7919) % sizeof(bytes), 0);

        if (n <= 0)
            break;
        stream_write(fd, bytes, (size_t)n);
    }
    return NULL;
}

static uint32_t bulk_len(unsigned i)
{
    uint32_t r = i * 2654435761u;

    if (i % 50 == 0)
        return FRAME_LEN_MAX;
    return FRAME_LEN_MIN + (r >> 7) % (i % 7 == 0 ? 9000 : 1500);
}

/* Frames of the bulk, some at a time. */
struct bulk {
    struct test_frame frame[BURST];
    struct frame burst[BURST];
    unsigned made, taken; /* of this burst */
    unsigned sent, checked;
};

static void bulk_send(struct bulk *bulk, struct guest *guest)
{
    unsigned n;

    for (; bulk->made < BURST; bulk->made++) {
        unsigned i = bulk->sent + bulk->made;

        test_frame_make(&bulk->frame[bulk->made], bulk_len(i), 1 + i % 9, i);
        bulk->burst[bulk->made] = bulk->frame[bulk->made].frame;
    }
    n = guest_send(guest, bulk->burst + bulk->taken, BURST - bulk->taken);
    bulk->taken += n;
    if (bulk->taken < BURST)
        return;
    bulk->sent += BURST;
    while (bulk->made > 0)
        test_frame_free(&bulk->frame[--bulk->made]);
    bulk->taken = 0;
}

static void bulk_comes_back_as_it_went(void **state)
{
    enum {
        FRAMES = 38 * BURST,
    };
    static struct bulk bulk;
    struct guest guest;
    pthread_t thread;
    int peer = stream_open_pair(&guest);

    (void)state;
    small_send_buffer(peer);
    assert_int_equal(pthread_create(&thread, NULL, echo, &peer), 0);
    while (bulk.checked < FRAMES) {
        if (bulk.sent < FRAMES)
            bulk_send(&bulk, &guest);
        guest.buffer_count = 100;
        guest_receive(&guest, 64);
        for (unsigned i = 0; i < guest.frame_count; i++, bulk.checked++) {
            assert_int_equal(guest.frame[i].len, bulk_len(bulk.checked));
            test_frame_check(guest.frame[i].bytes, guest.frame[i].len, bulk.checked);
        }
        guest_forget_frames(&guest);
    }
    assert_true(guest_counter(&guest, "tx_cut") > 0);
    shutdown(peer, SHUT_RDWR);
    pthread_join(thread, NULL);
    guest_close(&guest);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_go_out_behind_their_length),
        cmocka_unit_test(full_socket_may_cut_anywhere),
        cmocka_unit_test(cut_frame_is_finished_for_the_next_guest),
        cmocka_unit_test(cut_frame_goes_on_by_itself_and_goes_once),
        cmocka_unit_test(full_socket_holds_the_guest_back),
        cmocka_unit_test(reads_may_be_split_anywhere),
        cmocka_unit_test(frame_may_come_byte_by_byte),
        cmocka_unit_test(guest_without_room_holds_the_peer_back),
        cmocka_unit_test(impossible_length_ends_the_connection),
        cmocka_unit_test(bulk_comes_back_as_it_went),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
