/* SPDX-License-Identifier: MIT */
/* The backlog of the endpoint `user` against a model, through many turns of its ring. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "endpoint/user/backlog.h"
#include "guest.h"

enum {
    STEPS = 40000,
    MODEL_MAX = 1 << 16,
};

struct model {
    uint32_t len[MODEL_MAX];
    unsigned head, tail; /* count ever taken, ever put */
};

static void check_oldest(struct backlog *backlog, struct model *model)
{
    uint32_t len;
    const uint8_t *bytes = backlog_peek(backlog, &len);

    if (model->head == model->tail) {
        assert_null(bytes);
        return;
    }
    assert_non_null(bytes);
    assert_int_equal(len, model->len[model->head]);
    test_frame_check(bytes, len, model->head);
    backlog_pop(backlog);
    model->head++;
}

/* Fills it up or empties it, in turns, by random steps. */
static void frames_come_out_as_they_went_in(void **state)
{
    static struct model model;
    static uint8_t bytes[FRAME_LEN_MAX];
    struct backlog backlog;
    unsigned full = 0;

    (void)state;
    srandom(1);
    assert_int_equal(backlog_init(&backlog), 0);
    for (unsigned i = 0; i < STEPS; i++) {
        uint32_t len = random() % 8 == 0 ? (uint32_t)(random() % 65000) + 14
                                         : (uint32_t)(random() % 1500) + 14;
        unsigned pushes = i / 1000 % 2 == 0 ? 7 : 3;

        if ((unsigned)random() % 10 >= pushes) {
            check_oldest(&backlog, &model);
            continue;
        }
        test_frame_fill(bytes, len, model.tail);
        if (backlog_push(&backlog, bytes, len) < 0) {
            full++;
            assert_true(model.tail > model.head);
            continue;
        }
        model.len[model.tail++] = len;
    }
    assert_true(full > 0);
    while (model.head < model.tail)
        check_oldest(&backlog, &model);
    check_oldest(&backlog, &model);
    backlog_free(&backlog);
}

static void a_full_one_refuses_and_a_cleared_one_is_empty(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct backlog backlog;
    unsigned count = 0;
    uint32_t len;

    (void)state;
    assert_int_equal(backlog_init(&backlog), 0);
    while (backlog_push(&backlog, bytes, 65532) == 0)
        count++;
    assert_int_equal(count, BACKLOG_LEN / 65536);
    assert_int_equal(backlog_push(&backlog, bytes, 14), -ENOBUFS);
    backlog_pop(&backlog);
    assert_int_equal(backlog_push(&backlog, bytes, 65532), 0);
    assert_int_equal(backlog_push(&backlog, bytes, 14), -ENOBUFS);
    backlog_clear(&backlog);
    assert_null(backlog_peek(&backlog, &len));
    backlog_free(&backlog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_as_they_went_in),
        cmocka_unit_test(a_full_one_refuses_and_a_cleared_one_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
