/* SPDX-License-Identifier: MIT */
/* The lane between two workers: every frame comes once, whole and in order. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "endpoint/lane.h"

enum {
    FRAMES = 20000,
};

static uint32_t len_of(uint32_t number)
{
    return number % 500 == 0 ? FRAME_LEN_MAX : FRAME_LEN_MIN + number * 37 % 1500;
}

static void fill(uint8_t *bytes, uint32_t len, uint32_t number)
{
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(number + i * 7 + i / 256);
}

static int put(struct lane *lane, uint32_t number)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    uint32_t len = len_of(number), first = len / 3;
    struct iovec iov[2] = {{bytes, first}, {bytes + first, len - first}};
    struct frame frame = {.iov = iov, .iov_count = 2, .len = len};

    frame.offload.csum_start = (uint16_t)number;
    fill(bytes, len, number);
    return lane_put(lane, &frame);
}

static void expect(const struct frame *frame, uint32_t number)
{
    static uint8_t bytes[FRAME_LEN_MAX];

    assert_int_equal(frame->len, len_of(number));
    assert_int_equal(frame->offload.csum_start, (uint16_t)number);
    fill(bytes, frame->len, number);
    assert_memory_equal(frame->iov->iov_base, bytes, frame->len);
}

static struct lane *lane_new(void)
{
    struct lane *lane = aligned_alloc(64, sizeof(*lane));

    assert_non_null(lane);
    memset(lane, 0, sizeof(*lane));
    return lane;
}

static void full_and_empty_again(void **state)
{
    struct lane *lane = lane_new();
    struct frame frame[LANE_BATCH];
    struct iovec iov[LANE_BATCH];
    uint32_t in = 1, out = 1;

    (void)state;
    assert_int_equal(lane_peek(lane, frame, iov), 0);
    for (unsigned round = 0; round < 300; round++) {
        unsigned count;

        while (put(lane, in))
            in++;
        count = lane_peek(lane, frame, iov);
        assert_true(count > 0);
        for (unsigned i = 0; i < count; i++)
            expect(&frame[i], out + i);
        count = round % 2 == 0 ? count : count / 2; /* what was not taken comes again */
        assert_int_equal(lane_pop(lane, count), count != 0);
        out += count;
    }
    assert_int_equal(lane_clear(lane), 0);
    assert_int_equal(lane_peek(lane, frame, iov), 0);
    free(lane);
}

static void *writer(void *argument)
{
    for (uint32_t number = 1; number <= FRAMES;) {
        if (put(argument, number))
            number++;
        else
            sched_yield();
    }
    return NULL;
}

static void between_two_threads(void **state)
{
    struct lane *lane = lane_new();
    struct frame frame[LANE_BATCH];
    struct iovec iov[LANE_BATCH];
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, writer, lane), 0);
    for (uint32_t number = 1; number <= FRAMES;) {
        unsigned count = lane_peek(lane, frame, iov);

        for (unsigned i = 0; i < count; i++)
            expect(&frame[i], number++);
        lane_pop(lane, count);
        if (count == 0)
            sched_yield();
    }
    pthread_join(thread, NULL);
    free(lane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_and_empty_again),
        cmocka_unit_test(between_two_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
