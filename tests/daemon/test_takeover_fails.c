/* SPDX-License-Identifier: MIT */
/*
 * A takeover that does not come to its end, at every point where it can fail: the old daemon goes
 * on as if nothing had been, and no frame is lost.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "counted.h"
#include "takeover_double.h"

enum {
    FILES_LEAST = 6, /* open files: too few to begin with */
    FILES_STEP = 3,
    FILES_MOST = 400,
    ENDING_MS = 400, /* that a daemon under a sanitizer takes to end, and more */
};

static uint32_t seed = 1;

static void goes_on(struct testbed *bed, struct counted *pairs, unsigned count)
{
    counted_run(pairs, count, 5);
    counted_drain(pairs, count);
    daemon_check_alive(&bed->daemon);
}

struct failing {
    struct testbed *bed;
    struct counted pairs[2 * TESTBED_PAIRS_MAX];
    unsigned count;
};

static struct failing begin(void **state)
{
    struct failing failing = {.bed = testbed_start(state, &(struct testbed_options){.pairs = 2})};

    failing.count = counted_begin(failing.bed, failing.pairs);
    return failing;
}

/* The new daemon goes away at one point after the other. */
static void the_new_one_dies(void **state)
{
    struct failing failing = begin(state);

    for (unsigned point = 0; point < 4; point++) {
        int fd = takeover_double_connect(failing.bed->daemon.control);

        if (point >= 1)
            takeover_double_ask(fd, "nic0");
        if (point >= 2)
            assert_int_equal(takeover_double_hear_cards(fd), 1);
        counted_fill(failing.pairs, failing.count);
        if (point == 3)
            takeover_double_say(fd, WORD_REFUSED, "no", 2);
        close(fd);
        goes_on(failing.bed, failing.pairs, failing.count);
    }
    testbed_finish(failing.bed);
}

static uint32_t random_word(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

static void send_garbage(int fd, unsigned words)
{
    for (unsigned i = 0; i < words; i++) {
        uint32_t word = random_word();

        if (send(fd, &word, sizeof(word), MSG_NOSIGNAL) != sizeof(word))
            return;
    }
}

static void the_new_one_talks_nonsense(void **state)
{
    static const char twice[64] = "nic0";
    struct failing failing = begin(state);
    char text[256], names[64];

    for (unsigned round = 0; round < 24; round++) {
        int fd = takeover_double_connect(failing.bed->daemon.control);

        if (round % 2 == 1) {
            takeover_double_ask(fd, "nic0");
            takeover_double_hear_cards(fd);
        }
        counted_fill(failing.pairs, failing.count);
        send_garbage(fd, 1 + round * 3);
        shutdown(fd, SHUT_WR);
        while (takeover_double_hear(fd, text) != -1)
            ;
        close(fd);
        goes_on(failing.bed, failing.pairs, failing.count);
    }
    memcpy(names, twice, sizeof(names));
    memcpy(names + 32, twice, 32);
    for (unsigned round = 0; round < 3; round++) {
        int fd = takeover_double_connect(failing.bed->daemon.control);

        if (round == 0)
            takeover_double_ask(fd, "nic7");
        else
            takeover_double_say(fd, WORD_ASK, names, round == 1 ? 64 : 40);
        while (takeover_double_hear(fd, text) != WORD_REFUSED)
            ;
        check(strstr(text, round == 0   ? "nic7"
                           : round == 1 ? "twice"
                                        : "malformed") != NULL,
              "it says: %s", text);
        close(fd);
        goes_on(failing.bed, failing.pairs, failing.count);
    }
    testbed_finish(failing.bed);
}

/* It may go, and at that moment it is gone, or hangs and comes back too late: nobody has touched
 * anything, and there is one owner. */
static void the_new_one_dies_when_it_may_go(void **state)
{
    struct failing failing = begin(state);
    char text[256];

    for (unsigned late = 0; late < 2; late++) {
        int fd = takeover_double_connect(failing.bed->daemon.control);

        takeover_double_ask(fd, "nic0");
        takeover_double_hear_cards(fd);
        counted_fill(failing.pairs, failing.count);
        takeover_double_say(fd, WORD_READY, NULL, 0);
        assert_int_equal(takeover_double_hear(fd, text), WORD_GO);
        if (late) {
            assert_int_equal(takeover_double_hear(fd, text), WORD_REFUSED); /* it was waited for */
            check(!takeover_double_try(fd, WORD_TAKEN), "two have the cards");
        }
        close(fd);
        goes_on(failing.bed, failing.pairs, failing.count);
    }
    testbed_finish(failing.bed);
}

static void old_one_ends(struct testbed *bed, int expected)
{
    int status;

    assert_int_equal(waitpid(bed->daemon.pid, &status, 0), bed->daemon.pid);
    bed->daemon.pid = 0;
    check(WIFEXITED(status) && WEXITSTATUS(status) == expected, "it ended with wait status 0x%x",
          (unsigned)status);
}

/* It has them, and dies before it runs: what it did nobody knows, so nobody goes on from there. */
static void the_new_one_dies_when_it_has_them(void **state)
{
    struct failing failing = begin(state);
    int fd = takeover_double_connect(failing.bed->daemon.control);
    char text[256];

    takeover_double_ask(fd, "nic0");
    takeover_double_hear_cards(fd);
    takeover_double_say(fd, WORD_READY, NULL, 0);
    assert_int_equal(takeover_double_hear(fd, text), WORD_GO);
    check(takeover_double_try(fd, WORD_TAKEN), "it may not take them");
    close(fd);
    old_one_ends(failing.bed, 1);
}

/* Requests that the old daemon hears together with the new one's are not carried out on cards that
 * it has given away: whoever asked is told nothing, rather than "ok". */
static void requests_that_come_with_the_new_one(void **state)
{
    static const char request[] = "{\"command\":\"inspect\"}\n";
    struct failing failing = begin(state);
    const struct daemon *daemon = &failing.bed->daemon;
    int fd = takeover_double_connect(daemon->control);
    int early = takeover_double_request(daemon->control, "\n");
    int late, answered;
    char text[256];

    sleep_ms(100); /* it has accepted both */
    kill(daemon->pid, SIGSTOP);
    takeover_double_ask(fd, "nic0");
    assert_int_equal(write(early, request, strlen(request)), strlen(request));
    late = takeover_double_request(daemon->control, request);
    kill(daemon->pid, SIGCONT);
    takeover_double_hear_cards(fd);
    takeover_double_say(fd, WORD_READY, NULL, 0);
    assert_int_equal(takeover_double_hear(fd, text), WORD_GO);
    takeover_double_say(fd, WORD_TAKEN, NULL, 0);
    takeover_double_say(fd, WORD_RUNS, NULL, 0);
    answered = read(early, text, sizeof(text)) > 0;
    old_one_ends(failing.bed, 0);
    check(!answered, "it answered: %.200s", text);
    close(fd);
    close(early);
    close(late);
}

/* Neither a word nor an end: five seconds, and the guests have their card back. */
static void the_new_one_hangs(void **state)
{
    struct failing failing = begin(state);
    int fd = takeover_double_connect(failing.bed->daemon.control);
    char text[256];
    uint64_t begun;

    takeover_double_ask(fd, "nic0");
    takeover_double_hear_cards(fd);
    begun = now_ms();
    counted_fill(failing.pairs, failing.count);
    assert_int_equal(takeover_double_hear(fd, text), WORD_REFUSED);
    check(now_ms() - begun < 2 * WAIT_LONG_MS, "it waited for %llu ms",
          (unsigned long long)(now_ms() - begun));
    close(fd);
    goes_on(failing.bed, failing.pairs, failing.count);
    testbed_finish(failing.bed);
}

/* Of two that come, one is refused and the other is not disturbed. */
static void two_new_ones_at_once(void **state)
{
    struct failing failing = begin(state);
    int first = takeover_double_connect(failing.bed->daemon.control);
    int second = takeover_double_connect(failing.bed->daemon.control);
    char text[256];

    assert_int_equal(takeover_double_hear(second, text), WORD_REFUSED);
    assert_int_equal(takeover_double_hear(second, text), -1);
    takeover_double_ask(first, "nic0");
    assert_int_equal(takeover_double_hear_cards(first), 1);
    close(first);
    close(second);
    goes_on(failing.bed, failing.pairs, failing.count);
    testbed_finish(failing.bed);
}

/* The real one, with so few files that it fails at one place after the other, and at last does not.
 */
static void the_new_one_runs_out_of_files(void **state)
{
    struct failing failing = begin(state);
    unsigned failed = 0;
    int status, done = 0;

    for (rlim_t files = FILES_LEAST; files < FILES_MOST && !done; files += FILES_STEP) {
        struct rlimit few = {files, files};
        pid_t next = daemon_start_takeover(&failing.bed->daemon, getenv("VIONIC"));

        prlimit(next, RLIMIT_NOFILE, &few, NULL);
        while (waitpid(next, &status, WNOHANG) == 0 && !done) {
            counted_run(failing.pairs, failing.count, 1);
            done = waitpid(failing.bed->daemon.pid, &status, WNOHANG) != 0;
        }
        if (done) {
            failing.bed->daemon.pid = next;
            check(status == 0, "the old daemon ended with wait status 0x%x", (unsigned)status);
        } else {
            failed++;
            check(WIFEXITED(status) && WEXITSTATUS(status) != 0, "it ended with wait status 0x%x",
                  (unsigned)status);
        }
        goes_on(failing.bed, failing.pairs, failing.count);
    }
    check(done && failed > 3, "%u failed, and the last one did %stake over", failed,
          done ? "" : "not ");
    print_message("%u takeovers failed for want of files, then one did not\n", failed);
    daemon_kill(&failing.bed->daemon); /* it has too few files for a leak check as well */
}

/* 1: the old daemon has ended, or is about to: what it gave away it does not take back. */
static int has_ended(struct daemon *daemon)
{
    uint64_t end = now_ms() + ENDING_MS;

    do {
        int status;

        sleep_ms(5);
        if (waitpid(daemon->pid, &status, WNOHANG) != 0) {
            daemon->pid = 0;
            return 1;
        }
    } while (now_ms() < end);
    return 0;
}

/* The real one, killed while it is at it; where that came too late there is nothing to see. */
static void the_new_one_is_killed(void **state)
{
    struct failing failing = begin(state);
    unsigned killed = 0;

    for (unsigned ms = 4; killed < 8 && ms < 200; ms += 6) {
        pid_t next = daemon_start_takeover(&failing.bed->daemon, getenv("VIONIC"));
        uint64_t end = now_ms() + ms;
        int status;

        while (now_ms() < end)
            counted_run(failing.pairs, failing.count, 1);
        kill(next, SIGKILL);
        waitpid(next, &status, 0);
        if (has_ended(&failing.bed->daemon))
            break;
        killed++;
        goes_on(failing.bed, failing.pairs, failing.count);
    }
    check(killed > 0, "none was killed in time");
    if (failing.bed->daemon.pid != 0)
        testbed_finish(failing.bed);
}

static void set_queue_size(struct testbed *bed, unsigned nic, unsigned size)
{
    char *line = bed->daemon.nic[nic];
    char before[sizeof(bed->daemon.nic[0])];

    memcpy(before, line, sizeof(before));
    check(snprintf(line, sizeof(before), "queue-size=%u,%s", size, before) < (int)sizeof(before),
          "the line of the NIC is too long");
}

static void connect_again(struct testbed_nic *nic)
{
    nic->setup.base = BASE_FIRST; /* where they stand is for SOCKET.rings to say */
    front_end_close(&nic->fe);
    front_end_connect(&nic->fe, nic->socket);
    nic->options.start(&nic->fe, &nic->setup);
}

static void exchange_some(struct testbed *bed)
{
    for (unsigned i = 0; i < 40; i++)
        testbed_exchange(&bed->nic[VICTIM], 0, 300);
}

/* The new one has another size for the rings that are recorded in SOCKET.rings, and fails for the
 * other card's sake: the record is as good as it was, for the old daemon, and after a kill for one
 * of either configuration. */
static void records_outlive_it(void **state)
{
    const struct testbed_options options = {.features = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED,
                                            .bystander = "queues=1,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);
    char before[2][sizeof(bed->daemon.nic[0])];
    int status;

    memcpy(before, bed->daemon.nic, sizeof(before));
    for (unsigned round = 0; round < 2; round++) {
        pid_t next;

        exchange_some(bed);
        set_queue_size(bed, VICTIM, 64);
        set_queue_size(bed, BYSTANDER, 32);
        next = daemon_start_takeover(&bed->daemon, getenv("VIONIC"));
        assert_int_equal(waitpid(next, &status, 0), next);
        check(WIFEXITED(status) && WEXITSTATUS(status) != 0, "it ended with wait status 0x%x",
              (unsigned)status);
        memcpy(bed->daemon.nic, before, sizeof(before));
        exchange_some(bed);
        daemon_kill(&bed->daemon);
        if (round == 1)
            set_queue_size(bed, VICTIM, 64);
        daemon_start(&bed->daemon);
        connect_again(&bed->nic[VICTIM]);
        connect_again(&bed->nic[BYSTANDER]);
        exchange_some(bed);
    }
    testbed_finish(bed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, testbed_setup, testbed_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_new_one_dies),
        TEST(the_new_one_talks_nonsense),
        TEST(the_new_one_dies_when_it_may_go),
        TEST(the_new_one_dies_when_it_has_them),
        TEST(requests_that_come_with_the_new_one),
        TEST(the_new_one_hangs),
        TEST(two_new_ones_at_once),
        TEST(the_new_one_runs_out_of_files),
        TEST(the_new_one_is_killed),
        TEST(records_outlive_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
