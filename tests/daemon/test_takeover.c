/* SPDX-License-Identifier: MIT */
/*
 * Upgrade in place, under traffic that is counted frame by frame: one daemon after the other takes
 * over from the one before, and its guests' drivers and front-ends are told nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "counted.h"

static const char *program(void)
{
    return getenv("VIONIC");
}

/* Another build of the daemon, where there is one that is not older than this: `make`'s, for one.
 */
static const char *other_program(void)
{
    const char *other = getenv("VIONIC_OTHER");
    char command[512];

    if (other == NULL || access(other, X_OK) != 0)
        return program();
    snprintf(command, sizeof(command), "'%s' help run 2>/dev/null | grep -q -e --takeover", other);
    return system(command) == 0 ? other : program();
}

/* The last pause that the log tells of, in ms. */
static double pause_of(const struct daemon *daemon)
{
    FILE *log = fopen(daemon->log, "r");
    char line[512];
    double pause = -1;

    check(log != NULL, "no log");
    while (fgets(line, sizeof(line), log) != NULL) {
        const char *at = strstr(line, "queues stood still for ");

        if (at != NULL)
            pause = atof(at + strlen("queues stood still for "));
    }
    fclose(log);
    return pause;
}

struct pauses {
    double longest, sum;
    unsigned count;
};

/* While the new one comes, frames go on. */
static void take_over(struct testbed *bed, struct counted *streams, unsigned count,
                      const char *next_program)
{
    pid_t next = daemon_start_takeover(&bed->daemon, next_program);
    uint64_t end = now_ms() + 4 * WAIT_LONG_MS;
    int status;

    while (waitpid(bed->daemon.pid, &status, WNOHANG) == 0) {
        check(now_ms() < end, "the old daemon does not end");
        counted_run(streams, count, 1);
    }
    bed->daemon.pid = next;
    check(status == 0, "the old daemon ended with wait status 0x%x", (unsigned)status);
    daemon_check_alive(&bed->daemon);
}

static void note_pause(const struct daemon *daemon, struct pauses *pauses)
{
    double pause = pause_of(daemon);

    check(pause >= 0, "the log tells no pause");
    pauses->longest = pause > pauses->longest ? pause : pauses->longest;
    pauses->sum += pause;
    pauses->count++;
}

static void many_in_a_row(void **state, const struct testbed_options *options, unsigned times)
{
    struct testbed *bed = testbed_start(state, options);
    struct counted streams[2 * TESTBED_PAIRS_MAX];
    unsigned count = counted_begin(bed, streams);
    struct pauses pauses = {0};
    uint64_t sent = 0;

    for (unsigned i = 0; i < times; i++) {
        counted_run(streams, count, 20);
        take_over(bed, streams, count, i % 2 == 0 ? other_program() : program());
        note_pause(&bed->daemon, &pauses);
    }
    counted_drain(streams, count);
    for (unsigned i = 0; i < count; i++)
        sent += streams[i].sent;
    print_message("%s%u takeovers, %llu frames, none lost; pause %.2f ms, at most %.2f ms\n",
                  other_program() == program() ? "" : "two builds in turn: ", pauses.count,
                  (unsigned long long)sent, pauses.sum / pauses.count, pauses.longest);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_packets"), streams[0].sent);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/sessions"), 1);
    testbed_finish(bed);
}

static void split_rings(void **state)
{
    many_in_a_row(state, &(struct testbed_options){.pairs = 1}, 20);
}

static void packed_rings(void **state)
{
    const struct testbed_options options = {
        .features =
            VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED,
        .mergeable = 1,
        .bystander = "queues=1,endpoint=loopback",
    };

    many_in_a_row(state, &options, 15);
}

static void several_pairs_and_workers(void **state)
{
    many_in_a_row(state, &(struct testbed_options){.pairs = 4, .workers = 3, .mergeable = 1}, 15);
}

enum {
    COUNTERS = 4
};

static void counters_take(struct testbed *bed, uint64_t ret_counters[COUNTERS])
{
    static const char *const path[COUNTERS] = {
        "nic0/queues/0/tx_ring/taken_up",
        "nic0/queues/0/tx_ring/kicks",
        "nic0/queues/0/rx_ring/interrupts",
        "nic0/queues/0/rx_ring/interrupts_suppressed",
    };

    for (unsigned i = 0; i < COUNTERS; i++)
        ret_counters[i] = daemon_number(&bed->daemon, path[i]);
}

static void counters_went_over(struct testbed *bed)
{
    uint64_t before[COUNTERS], after[COUNTERS];

    counters_take(bed, before);
    daemon_take_over(&bed->daemon, program());
    counters_take(bed, after);
    for (unsigned i = 0; i < COUNTERS; i++)
        check(i == 0 ? after[i] == before[i] : after[i] >= before[i],
              "counter %u went from %llu to %llu", i, (unsigned long long)before[i],
              (unsigned long long)after[i]);
    assert_in_range(after[0], 1, UINT64_MAX);
    assert_in_range(after[1], 1, UINT64_MAX);
}

/* With a front-end and without: a monitor that reads counters sees no step down. */
static void counters_go_on(void **state)
{
    const struct testbed_options options = {.features = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED,
                                            .bystander = "queues=1,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 300);
    daemon_kill(&bed->daemon);
    daemon_start(&bed->daemon);
    nic->setup.base = BASE_FIRST; /* so that they are taken up elsewhere than told */
    front_end_close(&nic->fe);
    front_end_connect(&nic->fe, nic->socket);
    nic->options.start(&nic->fe, &nic->setup);
    for (unsigned i = 0; i < 10; i++)
        testbed_exchange(nic, 0, 300);
    counters_went_over(bed);
    testbed_disconnect(nic);
    counters_went_over(bed);
    testbed_connect(nic);
    testbed_disconnect(&bed->nic[BYSTANDER]);
    testbed_connect(&bed->nic[BYSTANDER]);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(split_rings, testbed_setup, testbed_teardown),
        cmocka_unit_test_setup_teardown(packed_rings, testbed_setup, testbed_teardown),
        cmocka_unit_test_setup_teardown(several_pairs_and_workers, testbed_setup, testbed_teardown),
        cmocka_unit_test_setup_teardown(counters_go_on, testbed_setup, testbed_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
