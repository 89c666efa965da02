/* SPDX-License-Identifier: MIT */
/* How long a worker looks on: the rules of adaptive polling, by a clock of the test's. */
#include "check.h"
#include "run/worker_poll.h"

#define US 1000ull
#define MS 1000000ull

static struct worker_poll adaptive(unsigned budget_percent)
{
    struct poll_config config = {.mode = POLL_ADAPTIVE, .budget_percent = budget_percent};
    struct worker_poll poll;

    worker_poll_init(&poll, &config);
    return poll;
}

/* Looks that find nothing, a microsecond apart, until the span is over; returns when that is. */
static uint64_t look_on(struct worker_poll *poll, uint64_t now_ns)
{
    uint64_t begun_ns = now_ns;

    while (now_ns - begun_ns < worker_poll_span(poll, now_ns)) {
        worker_poll_looked(poll, now_ns);
        now_ns += US;
    }
    worker_poll_moved(poll, now_ns);
    return now_ns;
}

static void fixed_and_always_do_as_they_are_told(void **state)
{
    struct poll_config fixed = {.mode = POLL_FIXED, .us = 70};
    struct poll_config always = {.mode = POLL_ALWAYS};
    struct worker_poll poll;

    (void)state;
    worker_poll_init(&poll, &fixed);
    assert_int_equal(worker_poll_span(&poll, MS), 70 * US);
    worker_poll_init(&poll, &always);
    assert_true(worker_poll_span(&poll, MS) == UINT64_MAX);
}

static void nothing_is_looked_for_until_sleeps_are_short(void **state)
{
    struct worker_poll poll = adaptive(100);

    (void)state;
    assert_int_equal(worker_poll_span(&poll, MS), 0);
    worker_poll_slept(&poll, 5 * MS);
    assert_int_equal(worker_poll_span(&poll, MS), 0);
    worker_poll_slept(&poll, 40 * US);
    assert_true(worker_poll_span(&poll, MS) > 0);
    assert_int_equal(counter_get(&poll.sleeps), 2);
}

static void short_sleeps_lengthen_the_look_to_a_limit_and_long_ones_end_it(void **state)
{
    struct worker_poll poll = adaptive(100);
    uint64_t before = 0;
    unsigned steps = 0;

    (void)state;
    for (; steps < 20; steps++) {
        worker_poll_slept(&poll, 40 * US);
        if (worker_poll_span(&poll, MS) == before)
            break;
        assert_true(worker_poll_span(&poll, MS) > before);
        before = worker_poll_span(&poll, MS);
    }
    assert_int_equal(before, 100 * US);
    for (steps = 0; worker_poll_span(&poll, MS) != 0; steps++) {
        assert_true(steps < 10);
        worker_poll_slept(&poll, 2 * MS);
    }
}

static void looks_that_find_nothing_keep_to_the_budget(void **state)
{
    static const unsigned percents[] = {1, 20, 50};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct worker_poll poll = adaptive(percents[i]);
        uint64_t now = MS;

        while (now < 2000 * MS) {
            worker_poll_slept(&poll, 10 * US); /* it always seems worth it */
            now = look_on(&poll, now + 10 * US);
        }
        /* Within the window's worth that may be saved up. */
        assert_true(counter_get(&poll.spent_ns) <= (2000 + 100) * MS / 100 * percents[i]);
        assert_true(counter_get(&poll.spent_ns) >= 1500 * MS / 100 * percents[i]);
        assert_true(counter_get(&poll.budget_hits) > 0);
    }
}

/* Each look, and no packet's time: `make bench` goes by it. */
static void what_looks_took_ends_where_packets_begin(void **state)
{
    struct poll_config always = {.mode = POLL_ALWAYS};
    struct worker_poll poll;

    (void)state;
    worker_poll_init(&poll, &always);
    for (uint64_t begun = MS; begun < 11 * MS; begun += MS) {
        worker_poll_looked(&poll, begun);
        worker_poll_looked(&poll, begun + 1 * US);
        worker_poll_moved(&poll, begun + 3 * US);
        worker_poll_moved(&poll, begun + 50 * US);
    }
    assert_int_equal(counter_get(&poll.spent_ns), 10 * 3 * US);
}

/* While a driver fills its ring it is left alone for moments: the budget is for empty rings. */
static void moments_of_waiting_cost_no_budget(void **state)
{
    struct worker_poll poll = adaptive(10);
    uint64_t now = MS;

    (void)state;
    worker_poll_slept(&poll, 40 * US);
    assert_true(worker_poll_span(&poll, now) > 0);
    for (unsigned i = 0; i < 100000; i++, now += 2 * US) { /* 200 ms, half of which it waits */
        worker_poll_waited(&poll, now);
        worker_poll_moved(&poll, now + US);
    }
    assert_true(worker_poll_span(&poll, now) > 0);
    assert_int_equal(counter_get(&poll.budget_hits), 0);
    assert_int_equal(counter_get(&poll.spent_ns), 100000ull * US);
    while (worker_poll_span(&poll, now) > 0) {
        worker_poll_looked(&poll, now);
        now += US;
    }
    assert_int_equal(counter_get(&poll.budget_hits), 1);
}

static void who_needs_the_cpu_gets_it_for_longer_each_time(void **state)
{
    struct worker_poll poll = adaptive(100);
    uint64_t now = MS, before = 0;

    (void)state;
    worker_poll_slept(&poll, 40 * US);
    for (unsigned i = 0; i < 12; i++) {
        uint64_t begun = now;

        worker_poll_looked(&poll, now);
        now += 4 * MS; /* a slice of somebody else's */
        worker_poll_looked(&poll, now);
        worker_poll_moved(&poll, now);
        assert_int_equal(worker_poll_span(&poll, now), 0);
        while (worker_poll_span(&poll, now) == 0)
            now += MS;
        assert_true(now - begun >= before);
        before = now - begun - 1 * MS;
    }
    assert_true(before >= 900 * MS && before <= 1100 * MS);
    assert_int_equal(counter_get(&poll.yields), 12);
    assert_int_equal(counter_get(&poll.spent_ns), 0); /* that time was not ours */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_and_always_do_as_they_are_told),
        cmocka_unit_test(nothing_is_looked_for_until_sleeps_are_short),
        cmocka_unit_test(short_sleeps_lengthen_the_look_to_a_limit_and_long_ones_end_it),
        cmocka_unit_test(looks_that_find_nothing_keep_to_the_budget),
        cmocka_unit_test(what_looks_took_ends_where_packets_begin),
        cmocka_unit_test(moments_of_waiting_cost_no_budget),
        cmocka_unit_test(who_needs_the_cpu_gets_it_for_longer_each_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
