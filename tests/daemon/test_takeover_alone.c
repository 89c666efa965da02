/* SPDX-License-Identifier: MIT */
/*
 * One of the two daemons of a takeover is killed, or stands still, at a word of their conversation:
 * the cards have one owner, and never two.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "check.h"
#include "clockwork.h"
#include "counted.h"
#include "takeover_double.h"
#include "takeover_hold.h"

enum {
    /* How long each waits for the other, or nearly. */
    OLD_PATIENCE_MS = 4800,
    NEW_PATIENCE_MS = 9800,
};

struct taking {
    struct testbed *bed;
    struct counted pairs[2 * TESTBED_PAIRS_MAX];
    unsigned count;
    pid_t next; /* the one that takes over */
};

static struct taking begin(void **state)
{
    struct taking taking = {.bed = testbed_start(state, &(struct testbed_options){.pairs = 2})};

    taking.count = counted_begin(taking.bed, taking.pairs);
    return taking;
}

static void hold_next_before(struct taking *taking, enum takeover_word word)
{
    taking->next = daemon_start_takeover(&taking->bed->daemon, getenv("VIONIC"));
    takeover_hold_before(taking->next, word);
    counted_fill(taking->pairs, taking->count);
}

static void goes_on(struct taking *taking)
{
    counted_run(taking->pairs, taking->count, 5);
    counted_drain(taking->pairs, taking->count);
    daemon_check_alive(&taking->bed->daemon);
}

static void next_goes_on(struct taking *taking)
{
    takeover_hold_end(taking->next);
    taking->bed->daemon.pid = taking->next;
    goes_on(taking);
}

static void ends(pid_t pid, int expected)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    check(WIFEXITED(status) && WEXITSTATUS(status) == expected, "it ended with wait status 0x%x",
          (unsigned)status);
}

/* It has given everything: whatever it still could have said, the cards go on in the new one. */
static void the_old_one_is_killed(void **state)
{
    static const enum takeover_word words[] = {WORD_READY, WORD_TAKEN, WORD_RUNS};
    struct taking taking = begin(state);

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        hold_next_before(&taking, words[i]);
        daemon_kill(&taking.bed->daemon);
        next_goes_on(&taking);
    }
    testbed_finish(taking.bed);
}

static void the_old_one_is_killed_before_it_hears_ready(void **state)
{
    struct taking taking = begin(state);

    hold_next_before(&taking, WORD_READY);
    kill(taking.bed->daemon.pid, SIGSTOP);
    takeover_hold_behind(taking.next);
    daemon_kill(&taking.bed->daemon);
    next_goes_on(&taking);
    testbed_finish(taking.bed);
}

/* The old one went on before it was killed, and the rings are not where they were: the new one,
 * which knows them as they were, leaves them alone. */
static void the_old_one_has_gone_on_and_is_killed(void **state)
{
    struct taking taking = begin(state);

    hold_next_before(&taking, WORD_READY);
    sleep_ms(OLD_PATIENCE_MS);
    goes_on(&taking);
    daemon_kill(&taking.bed->daemon);
    takeover_hold_end(taking.next);
    ends(taking.next, 1);
}

/* It stands still and does not answer: the guests need not. When it comes to itself again, it sees
 * that the cards are another's. */
static void the_old_one_hangs(void **state)
{
    struct taking taking = begin(state);
    pid_t old = taking.bed->daemon.pid;

    hold_next_before(&taking, WORD_READY);
    kill(old, SIGSTOP);
    takeover_hold_end(taking.next);
    taking.bed->daemon.pid = taking.next;
    sleep_ms(NEW_PATIENCE_MS);
    goes_on(&taking);
    kill(old, SIGCONT);
    ends(old, 0);
    goes_on(&taking);
    testbed_finish(taking.bed);
}

static void kill_next(struct taking *taking)
{
    int status;

    kill(taking->next, SIGKILL);
    assert_int_equal(waitpid(taking->next, &status, 0), taking->next);
}

static void the_new_one_is_killed_when_it_is_ready(void **state)
{
    struct taking taking = begin(state);

    hold_next_before(&taking, WORD_READY);
    kill_next(&taking);
    goes_on(&taking);
    hold_next_before(&taking, WORD_READY);
    kill(taking.bed->daemon.pid, SIGSTOP);
    takeover_hold_behind(taking.next);
    kill_next(&taking);
    kill(taking.bed->daemon.pid, SIGCONT);
    goes_on(&taking);
    testbed_finish(taking.bed);
}

/* What it did with them nobody knows. */
static void the_new_one_is_killed_when_it_has_them(void **state)
{
    static const enum takeover_word words[] = {WORD_TAKEN, WORD_RUNS};

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct taking taking = begin(state);

        hold_next_before(&taking, words[i]);
        kill_next(&taking);
        ends(taking.bed->daemon.pid, 1);
        taking.bed->daemon.pid = 0;
        testbed_teardown(state);
        testbed_setup(state);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, testbed_setup, testbed_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_old_one_is_killed),
        TEST(the_old_one_is_killed_before_it_hears_ready),
        TEST(the_old_one_has_gone_on_and_is_killed),
        TEST(the_old_one_hangs),
        TEST(the_new_one_is_killed_when_it_is_ready),
        TEST(the_new_one_is_killed_when_it_has_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
