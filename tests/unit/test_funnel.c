/* SPDX-License-Identifier: MIT */
/* Pairs that share a queue which takes less than anybody has: each gets its turn. */
#include <stdlib.h>

#include "check.h"
#include "endpoint/catalog.h"

enum {
    PAIRS = 3,
    BATCH = 32, /* frames that a pair offers at once */
    ROOM = 20,  /* frames that the queue takes a turn */
    TURNS = 60,
    LEN = 60,
};

/* ---- an endpoint of one pair, with so much room a turn ---- */

struct narrow {
    struct endpoint base;
    struct endpoint_queue queue;
    unsigned room;
    unsigned taken[PAIRS]; /* frames, by the pair that their first byte names */
};

static unsigned narrow_send(struct endpoint_queue *queue, const struct frame *frames,
                            unsigned count)
{
    struct narrow *narrow = (struct narrow *)queue->endpoint;
    unsigned taken;

    for (taken = 0; taken < count && narrow->room != 0; taken++, narrow->room--)
        narrow->taken[*(const uint8_t *)frames[taken].iov[0].iov_base]++;
    return taken;
}

static int narrow_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                             struct endpoint_queue **ret_queue, struct error *err)
{
    struct narrow *narrow = (struct narrow *)endpoint;

    (void)index;
    (void)rx;
    (void)err;
    narrow->queue.endpoint = endpoint;
    *ret_queue = &narrow->queue;
    return 0;
}

static void narrow_queue_close(struct endpoint_queue *queue)
{
    (void)queue;
}

static void narrow_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    (void)endpoint;
    ret_caps->queue_pairs_max = 1;
}

static void narrow_close(struct endpoint *endpoint)
{
    free(endpoint);
}

static const struct endpoint_ops narrow_ops = {
    .kind = "narrow",
    .close = narrow_close,
    .capabilities = narrow_capabilities,
    .queue_open = narrow_queue_open,
    .queue_close = narrow_queue_close,
    .send = narrow_send,
};

/* ---- the test ---- */

static void wake(struct endpoint_waker *waker)
{
    (void)waker;
}

/* One turn of every pair's worker; all of them always have frames. */
static void turn(struct narrow *narrow, struct endpoint_queue *const *queue)
{
    const struct endpoint_ops *ops = queue[0]->endpoint->ops;
    uint8_t bytes[LEN] = {0};
    struct iovec iov = {bytes, LEN};
    struct frame frame[BATCH];

    for (unsigned i = 0; i < BATCH; i++)
        frame[i] = (struct frame){.iov = &iov, .iov_count = 1, .len = LEN};
    narrow->room = ROOM;
    for (unsigned pair = PAIRS; pair-- != 0;) {
        bytes[0] = (uint8_t)pair;
        ops->send(queue[pair], frame, BATCH);
    }
    ops->receive(queue[0], BATCH);
    assert_int_equal(queue[0]->unfinished, 1); /* room has to be waited for */
}

static void a_queue_that_is_too_narrow_is_shared(void **state)
{
    struct narrow *narrow = calloc(1, sizeof(*narrow));
    struct endpoint_waker waker = {wake};
    struct endpoint_rx rx = {.waker = &waker};
    struct endpoint_queue *queue[PAIRS];
    struct endpoint *wide;

    (void)state;
    assert_non_null(narrow);
    narrow->base.ops = &narrow_ops;
    assert_int_equal(endpoint_widen(&narrow->base, PAIRS, &wide, NULL), 0);
    for (unsigned pair = 0; pair < PAIRS; pair++)
        assert_int_equal(wide->ops->queue_open(wide, pair, &rx, &queue[pair], NULL), 0);
    for (unsigned i = 0; i < TURNS; i++)
        turn(narrow, queue);
    for (unsigned pair = 0; pair < PAIRS; pair++)
        assert_in_range(narrow->taken[pair], TURNS * ROOM / PAIRS / 2, TURNS * ROOM);

    narrow->room = -1u; /* all that is left goes, and nothing is waited for */
    wide->ops->receive(queue[0], TURNS * BATCH);
    assert_int_equal(queue[0]->unfinished, 0);
    for (unsigned pair = 0; pair < PAIRS; pair++)
        wide->ops->queue_close(queue[pair]);
    endpoint_close(wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_queue_that_is_too_narrow_is_shared)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
