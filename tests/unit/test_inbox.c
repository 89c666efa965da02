/* SPDX-License-Identifier: MIT */
/* Frames from many threads to one: each whole, each once, those of a thread in its order; and no
 * wake-up is lost. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "nic/inbox.h"

enum {
    PUTTERS = 3,
    FRAMES = 4000, /* of each putter */
    LEN_MAX = 9000,
    STORE_LEN = INBOX_BLOCKS * INBOX_BLOCK_LEN,
};

struct putter {
    pthread_t thread;
    struct inbox *inbox;
    uint8_t number;
};

static struct inbox *make(void)
{
    struct inbox *inbox;

    assert_int_equal(inbox_create(&inbox), 0);
    return inbox;
}

static uint32_t len_of(unsigned putter, uint32_t index)
{
    uint32_t mixed = (index * 2654435761u) ^ (putter * 40503u);

    return 14 + mixed % (index % 16 == 0 ? LEN_MAX : 200);
}

static uint8_t byte_of(unsigned putter, uint32_t index, uint32_t at)
{
    return (uint8_t)(putter * 85 + index * 3 + at);
}

/* In three pieces, one of them empty. */
static int put(struct inbox *inbox, unsigned putter, uint32_t index)
{
    struct inbox_frame frame = {
        .len = len_of(putter, index), .offload.hdr_len = (uint16_t)putter, .hash.value = index};
    uint8_t bytes[LEN_MAX + 14];
    struct iovec iov[3] = {{bytes, 9}, {bytes + 9, 0}, {bytes + 9, sizeof(bytes) - 9}};

    for (uint32_t at = 0; at < frame.len; at++)
        bytes[at] = byte_of(putter, index, at);
    return inbox_put(inbox, iov, &frame);
}

/* Returns whose frame it was. */
static unsigned take(struct inbox *inbox, const uint32_t *next)
{
    struct inbox_frame frame;
    struct iovec iov[2];
    unsigned putter;
    uint32_t at = 0;

    assert_int_equal(inbox_peek(inbox, iov, &frame), 1);
    putter = frame.offload.hdr_len;
    assert_true(putter < PUTTERS);
    check(frame.hash.value == next[putter], "frame %u of putter %u came instead of %u",
          frame.hash.value, putter, next[putter]);
    assert_int_equal(frame.len, len_of(putter, frame.hash.value));
    assert_int_equal(iov[0].iov_len + iov[1].iov_len, frame.len);
    for (unsigned piece = 0; piece < 2; piece++) {
        const uint8_t *bytes = iov[piece].iov_base;

        for (size_t i = 0; i < iov[piece].iov_len; i++, at++) {
            if (bytes[i] != byte_of(putter, frame.hash.value, at))
                check(0, "byte %u of frame %u is damaged", at, frame.hash.value);
        }
    }
    inbox_drop(inbox);
    return putter;
}

static void frames_run_over_the_end_of_the_store(void **state)
{
    struct inbox *inbox = make();
    uint32_t next[PUTTERS] = {0};
    uint64_t moved = 0;
    struct inbox_frame none;
    struct iovec iov[2];

    (void)state;
    for (uint32_t index = 0; moved < 5ull * STORE_LEN; index++) {
        assert_int_equal(inbox_peek(inbox, iov, &none), 0);
        assert_int_equal(put(inbox, 0, index), 0);
        assert_int_equal(take(inbox, next), 0);
        next[0]++;
        moved += len_of(0, index);
    }
    inbox_free(inbox);
}

static void a_full_inbox_refuses_and_recovers(void **state)
{
    struct inbox *inbox = make();
    uint32_t next[PUTTERS] = {0};
    uint32_t put_count = 0;

    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        while (put(inbox, 1, put_count) == 0)
            put_count++;
        assert_int_equal(put(inbox, 1, put_count), -ENOBUFS);
        assert_true(put_count > 100);
        while (next[1] < put_count) {
            assert_int_equal(take(inbox, next), 1);
            next[1]++;
        }
    }
    inbox_free(inbox);
}

static void *put_all(void *argument)
{
    struct putter *putter = argument;

    for (uint32_t index = 0; index < FRAMES; index++) {
        while (put(putter->inbox, putter->number, index) < 0)
            sched_yield();
    }
    return NULL;
}

/* Sleeps as a worker does: only when arming finds nothing. A lost wake-up is a timeout. */
static void sleep_until_woken(struct inbox *inbox)
{
    struct pollfd wake = {.fd = inbox->wake_fd, .events = POLLIN};
    uint64_t count;

    if (inbox_arm(inbox))
        return;
    check(poll(&wake, 1, 20000) == 1, "nobody woke the taker");
    assert_int_equal(read(inbox->wake_fd, &count, sizeof(count)), sizeof(count));
}

static void many_put_and_one_takes(void **state)
{
    struct inbox *inbox = make();
    struct putter putter[PUTTERS];
    uint32_t next[PUTTERS] = {0};
    uint32_t taken = 0;
    struct inbox_frame frame;
    struct iovec iov[2];

    (void)state;
    for (unsigned i = 0; i < PUTTERS; i++) {
        putter[i] = (struct putter){.inbox = inbox, .number = (uint8_t)i};
        assert_int_equal(pthread_create(&putter[i].thread, NULL, put_all, &putter[i]), 0);
    }
    while (taken < PUTTERS * FRAMES) {
        if (!inbox_peek(inbox, iov, &frame)) {
            sleep_until_woken(inbox);
            continue;
        }
        next[take(inbox, next)]++;
        taken++;
    }
    for (unsigned i = 0; i < PUTTERS; i++)
        pthread_join(putter[i].thread, NULL);
    assert_int_equal(inbox_peek(inbox, iov, &frame), 0);
    inbox_free(inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_run_over_the_end_of_the_store),
        cmocka_unit_test(a_full_inbox_refuses_and_recovers),
        cmocka_unit_test(many_put_and_one_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
