/* SPDX-License-Identifier: MIT */
/* Frames from many threads to one: each whole, each once, those of a thread in its order; and the
 * bell that tells of them: no ring is lost. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/inbox.h"
#include "check.h"
#include "run/worker_parts.h"

enum {
    PUTTERS = 3,
    FRAMES = 4000, /* of each putter */
    LEN_MAX = 9000,
    STORE_LEN = INBOX_BLOCKS * INBOX_BLOCK_LEN,
};

struct note {
    uint32_t putter, index;
};

struct putter {
    pthread_t thread;
    struct inbox *inbox;
    struct endpoint_waker *waker; /* of who takes */
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
    struct note note = {.putter = putter, .index = index};
    uint32_t len = len_of(putter, index);
    uint8_t bytes[LEN_MAX + 14];
    struct iovec iov[3] = {{bytes, 9}, {bytes + 9, 0}, {bytes + 9, sizeof(bytes) - 9}};
    struct inbox_note packed = {{0}};

    memcpy(packed.bytes, &note, sizeof(note));
    for (uint32_t at = 0; at < len; at++)
        bytes[at] = byte_of(putter, index, at);
    return inbox_put(inbox, iov, len, &packed);
}

/* Returns whose frame it was. */
static unsigned check_frame(const struct inbox_view *view, const uint32_t *next)
{
    struct note note;
    uint32_t at = 0;

    memcpy(&note, view->note->bytes, sizeof(note));
    assert_true(note.putter < PUTTERS);
    check(note.index == next[note.putter], "frame %u of putter %u came instead of %u", note.index,
          note.putter, next[note.putter]);
    assert_int_equal(view->len, len_of(note.putter, note.index));
    assert_int_equal(view->iov[0].iov_len + (view->iov_count == 2 ? view->iov[1].iov_len : 0),
                     view->len);
    for (unsigned piece = 0; piece < view->iov_count; piece++) {
        const uint8_t *bytes = view->iov[piece].iov_base;

        for (size_t i = 0; i < view->iov[piece].iov_len; i++, at++) {
            if (bytes[i] != byte_of(note.putter, note.index, at))
                check(0, "byte %u of frame %u is damaged", at, note.index);
        }
    }
    return note.putter;
}

static unsigned take(struct inbox *inbox, const uint32_t *next)
{
    struct inbox_view view;
    unsigned putter;

    assert_int_equal(inbox_peek(inbox, NULL, &view), 1);
    putter = check_frame(&view, next);
    inbox_drop(inbox, &view);
    return putter;
}

static void frames_run_over_the_end_of_the_store(void **state)
{
    struct inbox *inbox = make();
    uint32_t next[PUTTERS] = {0};
    uint64_t moved = 0;
    struct inbox_view none;

    (void)state;
    for (uint32_t index = 0; moved < 5ull * STORE_LEN; index++) {
        assert_int_equal(inbox_peek(inbox, NULL, &none), 0);
        assert_true(inbox_empty(inbox));
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
        putter->waker->wake(putter->waker);
    }
    return NULL;
}

/* Several frames are looked at before they are given back, as a batch. */
static void frames_are_taken_in_batches(void **state)
{
    struct inbox *inbox = make();
    uint32_t next[PUTTERS] = {0};
    struct inbox_view view[4];
    uint32_t index = 0;

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(put(inbox, 2, index++), 0);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(inbox_peek(inbox, i == 0 ? NULL : &view[i - 1], &view[i]), 1);
            assert_int_equal(check_frame(&view[i], next), 2);
            next[2]++;
        }
        inbox_drop(inbox, &view[3]);
        assert_true(inbox_empty(inbox));
    }
    inbox_free(inbox);
}

/* Sleeps as a worker does: only when arming hears nothing. A lost ring is a timeout. */
static void sleep_until_rung(struct worker *worker)
{
    struct pollfd wake = {.fd = worker->bells.fd, .events = POLLIN};
    struct worker_bell *bell;
    uint64_t count;

    if (!worker_bells_arm(&worker->bells)) {
        check(poll(&wake, 1, 20000) == 1, "nobody woke the taker");
        assert_int_equal(read(worker->bells.fd, &count, sizeof(count)), sizeof(count));
    }
    for (bell = worker_bells_heard(&worker->bells); bell != NULL;)
        bell = worker_bell_answer(bell);
}

static void many_put_and_one_takes(void **state)
{
    static struct worker worker;
    static struct worker_pair pair[PUTTERS];
    struct inbox *inbox = make();
    struct putter putter[PUTTERS];
    uint32_t next[PUTTERS] = {0};
    uint32_t taken = 0;
    struct inbox_view view;

    (void)state;
    assert_int_equal(worker_bells_init(&worker.bells), 0);
    for (unsigned i = 0; i < PUTTERS; i++) {
        struct worker_bell *bell = worker_bell_take(&worker, &pair[i]);

        putter[i] = (struct putter){.inbox = inbox, .waker = &bell->waker, .number = (uint8_t)i};
    }
    for (unsigned i = 0; i < PUTTERS; i++)
        assert_int_equal(pthread_create(&putter[i].thread, NULL, put_all, &putter[i]), 0);
    while (taken < PUTTERS * FRAMES) {
        if (!inbox_peek(inbox, NULL, &view)) {
            sleep_until_rung(&worker);
            continue;
        }
        next[take(inbox, next)]++;
        taken++;
    }
    for (unsigned i = 0; i < PUTTERS; i++)
        pthread_join(putter[i].thread, NULL);
    assert_true(inbox_empty(inbox));
    inbox_free(inbox);
    worker_bells_free(&worker.bells);
}

/* Whoever rings a bell after its pair has gone rings for nobody, then for who has it next. */
static void bell_outlives_its_pair(void **state)
{
    static struct worker worker;
    static struct worker_pair first, second;
    struct worker_bell *bell;

    (void)state;
    assert_int_equal(worker_bells_init(&worker.bells), 0);
    bell = worker_bell_take(&worker, &first);
    assert_ptr_not_equal(worker_bell_take(&worker, &second), bell);
    worker_bell_give_back(bell);
    bell->waker.wake(&bell->waker);
    bell->waker.wake(&bell->waker);
    assert_ptr_equal(worker_bells_heard(&worker.bells), bell);
    assert_null(bell->pair);
    assert_null(worker_bell_answer(bell));
    assert_null(worker_bells_heard(&worker.bells));
    assert_ptr_equal(worker_bell_take(&worker, &first), bell);
    worker_bells_free(&worker.bells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_run_over_the_end_of_the_store),
        cmocka_unit_test(a_full_inbox_refuses_and_recovers),
        cmocka_unit_test(frames_are_taken_in_batches),
        cmocka_unit_test(bell_outlives_its_pair),
        cmocka_unit_test(many_put_and_one_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
