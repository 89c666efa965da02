/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "check.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "endpoint/switch/switches.h"

/* ---- endpoint_rx --------------------------------------------------------------------------------
 */

static void guest_forget_room(struct guest *guest)
{
    for (unsigned i = 0; i < guest->room.iov_count; i++)
        free(guest->iov[i].iov_base);
    guest->room = (struct reservation){0};
}

static int guest_reserve(struct endpoint_rx *rx, uint32_t min, uint32_t max,
                         struct reservation *ret)
{
    struct guest *guest = (struct guest *)rx;
    uint32_t count = (max + guest->buffer_len - 1) / guest->buffer_len;

    assert_true(guest->in_call);
    assert_true(min >= 1 && min <= max && max <= FRAME_LEN_MAX);
    guest->reserve_count++;
    guest_forget_room(guest);
    if (guest->refusal != 0)
        return guest->refusal;
    if (guest->kind == GUEST_SINGLE && min > guest->buffer_len)
        return -EMSGSIZE;
    if (guest->kind == GUEST_SINGLE)
        count = 1;
    count = MIN(count, guest->buffer_count);
    if (count == 0 || count * guest->buffer_len < min) {
        guest->again_count++;
        return -EAGAIN;
    }
    for (unsigned i = 0; i < count; i++)
        guest->iov[i] = (struct iovec){malloc(guest->buffer_len), guest->buffer_len};
    guest->room = (struct reservation){guest->iov, count, count * guest->buffer_len};
    *ret = guest->room;
    return 0;
}

static void guest_commit(struct endpoint_rx *rx, uint32_t len, const struct frame_offload *offload)
{
    struct guest *guest = (struct guest *)rx;
    struct guest_frame *frame = &guest->frame[guest->frame_count];
    uint32_t used = 0;

    assert_true(guest->in_call);
    assert_true(len >= FRAME_LEN_MIN && len <= guest->room.room);
    assert_true(guest->frame_count < GUEST_FRAMES_MAX);
    *frame = (struct guest_frame){malloc(len), len, *offload};
    for (unsigned i = 0; used < len; i++) {
        uint32_t n = MIN(len - used, guest->buffer_len);

        memcpy(frame->bytes + used, guest->iov[i].iov_base, n);
        used += n;
        if (guest->buffer_count != GUEST_NO_LIMIT)
            guest->buffer_count--;
    }
    guest->frame_count++;
    guest_forget_room(guest);
}

static void guest_drop(struct endpoint_rx *rx, int error)
{
    struct guest *guest = (struct guest *)rx;

    assert_true(guest->in_call);
    assert_true(error == -EMSGSIZE || error == -ENETDOWN);
    guest->drop_count++;
}

static unsigned guest_deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count)
{
    struct guest *guest = (struct guest *)rx;
    struct reservation room;

    for (unsigned i = 0; i < count; i++) {
        int result = guest_reserve(rx, frames[i].len, frames[i].len, &room);

        if (result == -EAGAIN)
            return i;
        if (result < 0) {
            guest_drop(rx, result);
            continue;
        }
        for (uint32_t done = 0, at = 0, span = 0; done < frames[i].len; done++) {
            while (at == frames[i].iov[span].iov_len) {
                span++;
                at = 0;
            }
            ((uint8_t *)guest->iov[done / guest->buffer_len].iov_base)[done % guest->buffer_len] =
                ((uint8_t *)frames[i].iov[span].iov_base)[at++];
        }
        guest_commit(rx, frames[i].len, &frames[i].offload);
    }
    return count;
}

static void guest_enter(struct endpoint_rx *rx, struct endpoint_rx *from)
{
    struct guest *guest = (struct guest *)rx;

    assert_ptr_not_equal(rx, from);
    assert_ptr_equal(rx->worker, from->worker);
    assert_false(guest->in_call);
    guest->in_call = 1;
}

static void guest_leave(struct endpoint_rx *rx)
{
    struct guest *guest = (struct guest *)rx;

    guest->in_call = 0;
    guest_forget_room(guest);
}

static void guest_wake(struct endpoint_waker *waker)
{
    CONTAINER_OF(waker, struct guest, waker)->woken = 1;
}

static const struct endpoint_rx_ops guest_rx_ops = {
    .reserve = guest_reserve,
    .commit = guest_commit,
    .drop = guest_drop,
    .deliver = guest_deliver,
    .enter = guest_enter,
    .leave = guest_leave,
};

/* ---- life ---------------------------------------------------------------------------------------
 */

void guest_init(struct guest *guest)
{
    *guest = (struct guest){.rx.ops = &guest_rx_ops, .waker.wake = guest_wake};
    guest->rx.waker = &guest->waker;
    guest->rx.worker = &guest_worker;
    guest->kind = GUEST_MERGEABLE;
    guest->buffer_len = 2048;
    guest->buffer_count = GUEST_NO_LIMIT;
}

struct switches *guest_switches;
const int guest_worker;

int guest_endpoint_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                        struct error *err)
{
    if (strcmp(spec->kind, "switch") != 0)
        return endpoint_open(spec, ret_endpoint, err);
    if (guest_switches == NULL)
        guest_switches = switches_create();
    *ret_endpoint = NULL;
    return switches_open_port(guest_switches, spec, ret_endpoint, err);
}

void guest_queue_open(struct guest *guest, unsigned index)
{
    struct error err = {""};

    if (guest->endpoint->ops->queue_open(guest->endpoint, index, &guest->rx, &guest->queue, &err))
        fail_msg("queue %u: %s", index, err.text);
    assert_non_null(guest->queue);
    assert_ptr_equal(guest->queue->endpoint, guest->endpoint);
}

void guest_open(struct guest *guest, const char *text)
{
    struct endpoint_spec spec;
    struct error err = {""};

    guest_init(guest);
    if (endpoint_spec_parse(&spec, text, &err) < 0 ||
        guest_endpoint_open(&spec, &guest->endpoint, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    endpoint_spec_clear(&spec);
    assert_int_equal(guest->endpoint->ops->set_offloads(guest->endpoint, 0), 0);
    guest_queue_open(guest, 0);
}

void guest_queue_close(struct guest *guest)
{
    const struct endpoint_ops *ops = guest->endpoint->ops;

    if (guest->queue != NULL && ops->quiesce != NULL)
        ops->quiesce(guest->queue);
    ops->queue_close(guest->queue);
    guest->queue = NULL;
}

void guest_forget_frames(struct guest *guest)
{
    while (guest->frame_count > 0)
        free(guest->frame[--guest->frame_count].bytes);
}

void guest_close(struct guest *guest)
{
    guest_forget_room(guest);
    guest_forget_frames(guest);
    if (guest->queue != NULL)
        guest_queue_close(guest);
    endpoint_close(guest->endpoint);
    guest->endpoint = NULL;
}

/* ---- calls --------------------------------------------------------------------------------------
 */

unsigned guest_send(struct guest *guest, const struct frame *frames, unsigned count)
{
    unsigned taken;

    guest->in_call = 1;
    taken = guest->endpoint->ops->send(guest->queue, frames, count);
    guest->in_call = 0;
    guest_forget_room(guest);
    assert_true(taken <= count);
    return taken;
}

unsigned guest_receive(struct guest *guest, unsigned budget)
{
    unsigned before = guest->frame_count + guest->drop_count;
    unsigned again_before = guest->again_count;
    unsigned done;

    if (guest->endpoint->ops->receive == NULL)
        return 0;
    guest->in_call = 1;
    guest->woken = 0;
    done = guest->endpoint->ops->receive(guest->queue, budget);
    guest->in_call = 0;
    guest_forget_room(guest);
    assert_true(done <= budget);
    assert_true(guest->frame_count + guest->drop_count - before <= done);
    guest->more = done == budget || guest->again_count != again_before;
    return done;
}

int guest_wait(struct guest *guest, int timeout_ms)
{
    struct pollfd wait = {.fd = guest->endpoint->ops->wait_fd(guest->queue), .events = POLLIN};

    if (guest->woken || (guest->reads_ahead && guest->more))
        return 1;
    return poll(&wait, wait.fd < 0 ? 0 : 1, timeout_ms) > 0;
}

unsigned guest_receive_until(struct guest *guest, unsigned count, int timeout_ms)
{
    uint64_t end = clock_now_ns() + (uint64_t)timeout_ms * CLOCK_MILLISECOND_NS;

    while (guest->frame_count < count && clock_now_ns() < end) {
        if (guest_wait(guest, 10))
            guest_receive(guest, 64);
    }
    return guest->frame_count;
}

/* ---- frames -------------------------------------------------------------------------------------
 */

void test_frame_fill(uint8_t *bytes, uint32_t len, unsigned seed)
{
    static const uint8_t header[FRAME_LEN_MIN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52,
                                                  0x54, 0,    0,    0,    1,    0x88, 0xb5};

    memcpy(bytes, header, sizeof(header));
    for (uint32_t i = sizeof(header); i < len; i++)
        bytes[i] = (uint8_t)(seed + i * 7 + i / 256);
}

void test_frame_from(struct test_frame *frame, const void *bytes, uint32_t len, unsigned span_count)
{
    uint32_t done = 0;

    *frame = (struct test_frame){0};
    frame->frame = (struct frame){.iov = frame->iov, .iov_count = span_count, .len = len};
    for (unsigned i = 0; i < span_count; i++) {
        uint32_t n = i + 1 == span_count ? len - done : len / span_count;

        frame->iov[i] = (struct iovec){malloc(n), n};
        memcpy(frame->iov[i].iov_base, (const char *)bytes + done, n);
        done += n;
    }
}

void test_frame_make(struct test_frame *frame, uint32_t len, unsigned span_count, unsigned seed)
{
    uint8_t *bytes = malloc(len);

    test_frame_fill(bytes, len, seed);
    test_frame_from(frame, bytes, len, span_count);
    free(bytes);
}

void test_frame_free(struct test_frame *frame)
{
    for (unsigned i = 0; i < frame->frame.iov_count; i++)
        free(frame->iov[i].iov_base);
}

void test_frame_check(const uint8_t *bytes, uint32_t len, unsigned seed)
{
    uint8_t *expected = malloc(len);

    test_frame_fill(expected, len, seed);
    assert_memory_equal(bytes, expected, len);
    free(expected);
}

unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}
