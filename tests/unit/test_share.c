/* SPDX-License-Identifier: MIT */
/* The time that front-ends may take of the control thread: each alone, and all together. */
#include "base/clock.h"
#include "check.h"
#include "clockwork.h"
#include "transport/vhost_user_share.h"

enum {
    MANY = 12,
    LONG_MS = 60, /* of one turn: more than who is let alone has taken */
};

/* One turn of so many milliseconds; how long the front-end is left alone, in ms. */
static uint64_t turn(struct vhost_user_share *share, unsigned took_ms)
{
    vhost_user_share_begin(share);
    if (took_ms != 0)
        sleep_ms(took_ms);
    return vhost_user_share_end(share) / CLOCK_MILLISECOND_NS;
}

static struct vhost_user_share share_of(struct vhost_user_bucket *all, unsigned percent)
{
    return (struct vhost_user_share){.all = all, .percent = percent};
}

static void VU_SEC_12_who_takes_much_waits_by_its_percent(void **state)
{
    static const unsigned percent[] = {5, 25, 100};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct vhost_user_bucket all = {0};
        struct vhost_user_share share = share_of(&all, percent[i]);
        uint64_t rest_ms;

        turn(&share, 0); /* the clock has run for long: nothing was taken */
        assert_int_equal(turn(&share, 200), 0);
        rest_ms = turn(&share, 300);
        check(rest_ms >= 70 * 100 / percent[i] && rest_ms <= 10000 * 100 / percent[i],
              "%u percent: %llu ms", percent[i], (unsigned long long)rest_ms);
        assert_int_equal(share.times_spent, 1);
    }
}

/* Each takes what it may take alone; together it is too much. Who took little has no part in it. */
static void VU_SEC_12_many_who_take_much_share_a_part(void **state)
{
    struct vhost_user_bucket all = {0};
    struct vhost_user_share many[MANY];
    struct vhost_user_share modest = share_of(&all, VHOST_USER_SHARE_PERCENT);
    unsigned waiting = 0;

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        many[i] = share_of(&all, VHOST_USER_SHARE_PERCENT);
        turn(&many[i], 0);
    }
    turn(&modest, 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY; i++)
            waiting += turn(&many[i], LONG_MS) != 0;
    }
    assert_true(waiting > 0);
    assert_true(many[MANY - 1].times_shared > 0);
    turn(&modest, 0);
    assert_int_equal(modest.times_shared + modest.times_spent, 0);
    sleep_ms(2000); /* a part of it leaks: whoever waited comes back */
    assert_int_equal(turn(&many[0], 0), 0);
}

/* … also where each takes so little at once that it would never wait for itself. */
static void VU_SEC_12_many_who_pace_themselves_share_it_too(void **state)
{
    struct vhost_user_bucket all = {0};
    struct vhost_user_share many[MANY];
    uint64_t begun = now_ms(), waiting = 0;

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        many[i] = share_of(&all, VHOST_USER_SHARE_PERCENT);
        turn(&many[i], 0);
    }
    for (unsigned i = 0; waiting == 0 && now_ms() - begun < 10000; i++)
        waiting = turn(&many[i % MANY], 2);
    assert_true(waiting > 0);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(many[i].times_spent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(VU_SEC_12_who_takes_much_waits_by_its_percent),
        cmocka_unit_test(VU_SEC_12_many_who_take_much_share_a_part),
        cmocka_unit_test(VU_SEC_12_many_who_pace_themselves_share_it_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
