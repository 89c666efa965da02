/* SPDX-License-Identifier: MIT */
#include "kinds.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "check.h"
#include "endpoint/spec.h"
#include "host.h"

/* Offers one frame until it is taken, which may need the guest to receive in between. */
static void send_one(struct guest *guest, struct test_frame *frame)
{
    guest_send(guest, &frame->frame, 1);
    test_frame_free(frame);
}

static void provoke_by_sending(struct guest *guest, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct test_frame frame;

        test_frame_make(&frame, 300, 1, i);
        send_one(guest, &frame);
    }
}

static void provoke_nothing(struct guest *guest, unsigned count)
{
    (void)guest;
    (void)count;
}

static void provoke_from_host(struct guest *guest, unsigned count)
{
    int fd = host_socket("contract0", TEST_ETHERTYPE, HOST_PLAIN);
    uint8_t bytes[300];

    (void)guest;
    for (unsigned i = 0; i < count; i++) {
        test_frame_fill(bytes, sizeof(bytes), i);
        host_send(fd, bytes, sizeof(bytes));
    }
    close(fd);
}

#ifdef TEST_HAVE_USER
/* Who has 10.0.2.2? The gateway answers each time. */
static void provoke_by_arp(struct guest *guest, unsigned count)
{
    static const uint8_t request[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0,    0,  1, 0x08, 0x06,
        0,    1,    0x08, 0,    6,    4,    0,    1,    0x52, 0x54, 0,  0, 0,    1,
        10,   0,    2,    15,   0,    0,    0,    0,    0,    0,    10, 0, 2,    2,
    };

    for (unsigned i = 0; i < count; i++) {
        struct test_frame frame;

        test_frame_from(&frame, request, sizeof(request), 1);
        send_one(guest, &frame);
    }
}
#endif

/* ---- stream: a socket pair, whose far end is read by a thread -----------------------------------
 */

enum {
    STREAM_NEAR = 900, /* fds that nothing else gets */
    STREAM_FAR,
};

static pthread_t stream_reader;

static void *stream_read(void *argument)
{
    static uint8_t bytes[65536];

    while (recv(STREAM_FAR, bytes, sizeof(bytes), 0) > 0)
        continue;
    return argument;
}

/* A connection of its own for each opening: a stream is no use from the middle on. */
static void prepare_stream(void)
{
    static int started;
    int space = 8 << 20;
    int pair[2];

    if (started) {
        shutdown(STREAM_FAR, SHUT_RDWR);
        pthread_join(stream_reader, NULL);
    }
    started = 1;
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &space, sizeof(space));
    assert_int_equal(dup2(pair[0], STREAM_NEAR), STREAM_NEAR);
    assert_int_equal(dup2(pair[1], STREAM_FAR), STREAM_FAR);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(pthread_create(&stream_reader, NULL, stream_read, NULL), 0);
}

static void provoke_over_stream(struct guest *guest, unsigned count)
{
    uint8_t bytes[4 + 300] = {0, 0, 300 >> 8, 300 & 0xff};

    (void)guest;
    for (unsigned i = 0; i < count; i++) {
        test_frame_fill(bytes + 4, 300, i);
        assert_int_equal(send(STREAM_FAR, bytes, sizeof(bytes), 0), sizeof(bytes));
    }
}

/* ---- switch: another port, with a guest that takes everything at once ---------------------------
 */

struct taker {
    struct endpoint_rx rx;
    struct endpoint_waker waker;
    struct endpoint *endpoint;
    struct endpoint_queue *queue;
};

static unsigned taker_deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count)
{
    (void)rx;
    (void)frames;
    return count;
}

static void taker_enter(struct endpoint_rx *rx, struct endpoint_rx *from)
{
    assert_ptr_equal(rx->worker, from->worker);
}

static void taker_leave(struct endpoint_rx *rx)
{
    (void)rx;
}

static void taker_wake(struct endpoint_waker *waker)
{
    struct taker *taker = CONTAINER_OF(waker, struct taker, waker);

    taker->endpoint->ops->receive(taker->queue, 1000);
}

static const struct endpoint_rx_ops taker_ops = {
    .deliver = taker_deliver,
    .enter = taker_enter,
    .leave = taker_leave,
};

static struct taker near_taker, far_taker; /* of the guest's worker, and of another one */

static void prepare_taker(struct taker *taker, const char *text, const void *worker)
{
    struct endpoint_spec spec;
    struct error err = {""};

    if (taker->endpoint != NULL)
        return;
    *taker = (struct taker){.rx = {.ops = &taker_ops, .worker = worker}, .waker = {taker_wake}};
    taker->rx.waker = &taker->waker;
    assert_int_equal(endpoint_spec_parse(&spec, text, &err), 0);
    assert_int_equal(guest_endpoint_open(&spec, &taker->endpoint, &err), 0);
    endpoint_spec_clear(&spec);
    assert_int_equal(
        taker->endpoint->ops->queue_open(taker->endpoint, 0, &taker->rx, &taker->queue, &err), 0);
}

static void prepare_near(void)
{
    prepare_taker(&near_taker, "switch:name=near", &guest_worker);
}

static void prepare_far(void)
{
    prepare_taker(&far_taker, "switch:name=far", &far_taker);
}

static void provoke_by_taker(struct taker *taker, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct test_frame frame;

        test_frame_make(&frame, 300, 1 + i % 3, i);
        assert_int_equal(taker->endpoint->ops->send(taker->queue, &frame.frame, 1), 1);
        test_frame_free(&frame);
    }
}

static void provoke_near(struct guest *guest, unsigned count)
{
    (void)guest;
    provoke_by_taker(&near_taker, count);
}

static void provoke_far(struct guest *guest, unsigned count)
{
    (void)guest;
    provoke_by_taker(&far_taker, count);
}

const struct kind kinds[] = {
    {"null", "null", KIND_SILENT, FRAME_LEN_MAX, NULL, NULL},
    {"null-generate", "null:generate=300", KIND_ENDLESS, FRAME_LEN_MAX, provoke_nothing, NULL},
    {"null-rate", "null:generate=300,rate=2000", KIND_ENDLESS, FRAME_LEN_MAX, provoke_nothing,
     NULL},
    {"loopback", "loopback", KIND_ECHOES, FRAME_LEN_MAX, provoke_by_sending, NULL},
    {"tap", "tap:ifname=contract0", KIND_NEEDS_ETHERNET, 1514, provoke_from_host, NULL},
    {"stream", "stream:fd=900", KIND_READS_AHEAD, FRAME_LEN_MAX, provoke_over_stream,
     prepare_stream},
    {"switch-near", "switch:name=near", KIND_READS_AHEAD, FRAME_LEN_MAX, provoke_near,
     prepare_near},
    {"switch-far", "switch:name=far,anti-spoof=off", KIND_READS_AHEAD, FRAME_LEN_MAX, provoke_far,
     prepare_far},
#ifdef TEST_HAVE_USER
    {"user", "user", 0, 1514, provoke_by_arp, NULL},
#endif
};

const unsigned kind_count = ARRAY_COUNT(kinds);
