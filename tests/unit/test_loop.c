/* SPDX-License-Identifier: MIT */
/* base/loop: sources, timers, and removal while a dispatch runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "check.h"

struct probe {
    struct loop_source source; /* first: a probe is a source */
    struct loop *loop;
    struct probe *victim; /* removed (and freed, if `owned`) when this one is called */
    int owned;
    unsigned calls;
};

struct alarm {
    struct loop_timer timer; /* first: an alarm is a timer */
    struct loop *loop;
    unsigned fires;
    unsigned order; /* when it fired, among all */
    unsigned again; /* restarts left */
};

static unsigned fired;

static void probe_ready(struct loop_source *source, uint32_t events)
{
    struct probe *probe = (struct probe *)source;

    assert_true(events & EPOLLIN);
    probe->calls++;
    if (probe->victim != NULL) {
        struct probe *victim = probe->victim;

        probe->victim = NULL;
        loop_remove(probe->loop, &victim->source);
        close(victim->source.fd);
        if (victim->owned)
            free(victim); /* a later call of it would be a use after free */
    }
}

static void probe_init(struct probe *probe, struct loop *loop)
{
    *probe = (struct probe){.source = {.fd = eventfd(1, EFD_CLOEXEC), .ready = probe_ready},
                            .loop = loop};
    assert_true(probe->source.fd >= 0);
    assert_int_equal(loop_add(loop, &probe->source, EPOLLIN), 0);
}

static void alarm_fire(struct loop_timer *timer)
{
    struct alarm *alarm = (struct alarm *)timer;

    alarm->fires++;
    alarm->order = ++fired;
    if (alarm->again > 0) {
        alarm->again--;
        loop_timer_start(alarm->loop, timer, 0);
    }
}

static int set_up(void **state)
{
    struct loop *loop;

    if (loop_create(&loop) < 0)
        return -1;
    *state = loop;
    fired = 0;
    return 0;
}

static int tear_down(void **state)
{
    loop_free(*state);
    return 0;
}

static void loop_calls_a_ready_source_until_it_is_removed(void **state)
{
    struct probe probe;

    probe_init(&probe, *state);
    loop_dispatch(*state, 0);
    loop_dispatch(*state, 0);
    assert_int_equal(probe.calls, 2); /* level-triggered */
    loop_remove(*state, &probe.source);
    loop_dispatch(*state, 0);
    assert_int_equal(probe.calls, 2);
    close(probe.source.fd);
}

static void loop_modify_changes_what_is_waited_for(void **state)
{
    struct probe probe;

    probe_init(&probe, *state);
    assert_int_equal(loop_modify(*state, &probe.source, 0), 0);
    loop_dispatch(*state, 0);
    assert_int_equal(probe.calls, 0);
    assert_int_equal(loop_modify(*state, &probe.source, EPOLLIN), 0);
    loop_dispatch(*state, 0);
    assert_int_equal(probe.calls, 1);
    loop_remove(*state, &probe.source);
    close(probe.source.fd);
}

static void loop_refuses_a_file_that_can_not_be_waited_for(void **state)
{
    struct loop_source source = {.fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC)};

    assert_int_equal(loop_add(*state, &source, EPOLLIN), -EPERM);
    close(source.fd);
}

/* Whichever of the two is called first removes the other, which is ready too. */
static void loop_removal_in_a_dispatch_takes_back_collected_events(void **state)
{
    struct probe first;
    struct probe second;

    probe_init(&first, *state);
    probe_init(&second, *state);
    first.victim = &second;
    second.victim = &first;
    assert_int_equal(loop_dispatch(*state, 0), 0);
    assert_int_equal(first.calls + second.calls, 1);
    assert_int_equal(loop_dispatch(*state, 0), 0);
    assert_int_equal(first.calls * second.calls, 0);
    assert_int_equal(first.calls + second.calls, 2);
    if (first.calls == 2)
        loop_remove(*state, &first.source);
    else
        loop_remove(*state, &second.source);
    close(first.calls == 2 ? first.source.fd : second.source.fd);
}

static void loop_source_may_remove_itself(void **state)
{
    struct probe *probe = calloc(1, sizeof(*probe));

    probe_init(probe, *state);
    probe->victim = probe;
    probe->owned = 1;
    loop_dispatch(*state, 0);
    assert_int_equal(loop_dispatch(*state, 0), 0);
}

static void loop_timers_fire_once_in_order_of_their_deadline(void **state)
{
    struct alarm late = {.timer.fire = alarm_fire, .loop = *state};
    struct alarm early = late;
    struct alarm stopped = late;

    /* Longer than a busy machine keeps us from the next line. */
    loop_timer_start(*state, &late.timer, 300 * CLOCK_MILLISECOND_NS);
    loop_timer_start(*state, &early.timer, 2 * CLOCK_MILLISECOND_NS);
    loop_timer_start(*state, &stopped.timer, 1 * CLOCK_MILLISECOND_NS);
    loop_timer_stop(*state, &stopped.timer);
    loop_timer_stop(*state, &stopped.timer);
    while (late.fires == 0)
        assert_int_equal(loop_dispatch(*state, 1000), 0);
    loop_dispatch(*state, 5);
    assert_int_equal(early.fires, 1);
    assert_int_equal(late.fires, 1);
    assert_int_equal(stopped.fires, 0);
    assert_true(early.order < late.order);
}

static void loop_timer_may_start_itself_again(void **state)
{
    struct alarm alarm = {.timer.fire = alarm_fire, .loop = *state, .again = 3};

    loop_timer_start(*state, &alarm.timer, 0);
    while (alarm.fires < 4)
        assert_int_equal(loop_dispatch(*state, 1000), 0);
    loop_dispatch(*state, 2);
    assert_int_equal(alarm.fires, 4);
}

static void loop_restarted_timer_has_one_deadline(void **state)
{
    struct alarm alarm = {.timer.fire = alarm_fire, .loop = *state};
    uint64_t start = clock_now_ns();

    loop_timer_start(*state, &alarm.timer, 1 * CLOCK_MILLISECOND_NS);
    loop_timer_start(*state, &alarm.timer, 20 * CLOCK_MILLISECOND_NS);
    while (alarm.fires == 0)
        assert_int_equal(loop_dispatch(*state, 1000), 0);
    assert_true(clock_now_ns() - start >= 20 * CLOCK_MILLISECOND_NS);
    loop_dispatch(*state, 2);
    assert_int_equal(alarm.fires, 1);
}

static void loop_nests_in_another_by_its_fd(void **state)
{
    struct loop *outer;
    struct probe inner_probe;
    struct probe outer_probe;

    assert_int_equal(loop_create(&outer), 0);
    probe_init(&inner_probe, *state);
    outer_probe = (struct probe){.source = {.fd = loop_fd(*state), .ready = probe_ready}};
    assert_int_equal(loop_add(outer, &outer_probe.source, EPOLLIN), 0);
    loop_dispatch(outer, 0);
    assert_int_equal(outer_probe.calls, 1);
    loop_remove(outer, &outer_probe.source);
    loop_free(outer);
    loop_remove(*state, &inner_probe.source);
    close(inner_probe.source.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(loop_calls_a_ready_source_until_it_is_removed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(loop_modify_changes_what_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loop_refuses_a_file_that_can_not_be_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(loop_removal_in_a_dispatch_takes_back_collected_events,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(loop_source_may_remove_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loop_timers_fire_once_in_order_of_their_deadline, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(loop_timer_may_start_itself_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loop_restarted_timer_has_one_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loop_nests_in_another_by_its_fd, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
