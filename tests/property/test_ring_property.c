/* SPDX-License-Identifier: MIT */
/*
 * Random schedules for some seconds. Each runs in a child that serves many, so that a crash costs
 * one schedule its life and not the test its report. The first that fails is made as short as it
 * will go and printed.
 *
 *   SEED=n   runs exactly the schedule with this seed
 *   TIME=s   runs for so many seconds
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "ring_schedule.h"

enum {
    STEPS_MAX = 400,
    BYTES_MAX = (STEPS_MAX + 1) * RING_SCHEDULE_STEP_LEN,
    SECONDS = 6,
};

struct shared {
    uint64_t seed; /* of the schedule that runs */
    uint64_t done;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static size_t schedule_make(uint64_t seed, uint8_t bytes[BYTES_MAX])
{
    uint64_t state = seed;
    size_t steps = 1 + next_random(&state) % STEPS_MAX;
    size_t len = (steps + 1) * RING_SCHEDULE_STEP_LEN;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(next_random(&state) >> 32);
    return len;
}

static int ended_well(pid_t child)
{
    int status;

    check(child > 0, "no child");
    check(waitpid(child, &status, 0) == child, "no status");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* In a child of its own, which may crash. QUIET: its sentence and the sanitizer's are not shown.
 */
enum loudness {
    LOUD,
    QUIET,
};

static int schedule_holds(const uint8_t *bytes, size_t len, enum loudness loudness)
{
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        int failed;

        alarm(20);
        if (loudness == QUIET && (freopen("/dev/null", "w", stderr) == NULL ||
                                  freopen("/dev/null", "w", stdout) == NULL))
            _exit(2);
        failed = ring_schedule_run(bytes, len);
        if (failed)
            fprintf(stderr, "    %s\n", ring_schedule_error());
        _exit(failed ? 1 : 0);
    }
    return ended_well(child);
}

/* Leaves steps out, many at once first, as long as what remains still fails. */
static size_t steps_drop(uint8_t *bytes, size_t len)
{
    uint8_t less[BYTES_MAX];

    for (size_t cut = STEPS_MAX / 2 * RING_SCHEDULE_STEP_LEN; cut != 0;
         cut = cut / (2 * RING_SCHEDULE_STEP_LEN) * RING_SCHEDULE_STEP_LEN) {
        for (size_t at = RING_SCHEDULE_STEP_LEN; at + cut <= len;) {
            memcpy(less, bytes, at);
            memcpy(less + at, bytes + at + cut, len - at - cut);
            if (schedule_holds(less, len - cut, QUIET)) {
                at += cut;
                continue;
            }
            len -= cut;
            memcpy(bytes, less, len);
        }
    }
    return len;
}

/* Zeroes arguments that do not matter. */
static void arguments_clear(uint8_t *bytes, size_t len)
{
    for (size_t i = RING_SCHEDULE_STEP_LEN; i < len; i++) {
        uint8_t before = bytes[i];

        if (i % RING_SCHEDULE_STEP_LEN == 0 || before == 0)
            continue;
        bytes[i] = 0;
        if (schedule_holds(bytes, len, QUIET))
            bytes[i] = before;
    }
}

static void failure_report(uint64_t seed)
{
    uint8_t bytes[BYTES_MAX];
    size_t len = schedule_make(seed, bytes);

    fprintf(stderr, "schedule SEED=%llu fails:\n", (unsigned long long)seed);
    if (schedule_holds(bytes, len, LOUD))
        fail_msg("SEED=%llu failed only behind others", (unsigned long long)seed);
    len = steps_drop(bytes, len);
    arguments_clear(bytes, len);
    fprintf(stderr, "shortened:\n");
    ring_schedule_print(bytes, len, stderr);
    schedule_holds(bytes, len, LOUD);
    fail_msg("SEED=%llu: split, packed and the model differ", (unsigned long long)seed);
}

static int seed_holds(uint64_t seed)
{
    uint8_t bytes[BYTES_MAX];

    return schedule_holds(bytes, schedule_make(seed, bytes), LOUD);
}

static void serve(struct shared *shared, uint64_t first_seed, unsigned seconds)
{
    uint64_t end = now_ms() + 1000ull * seconds;
    uint8_t bytes[BYTES_MAX];

    shared->seed = first_seed;
    while (now_ms() < end) {
        if (ring_schedule_run(bytes, schedule_make(shared->seed, bytes)) != 0)
            _exit(1);
        shared->done++;
        shared->seed++;
    }
    _exit(0);
}

static void split_and_packed_are_the_same_queue(void **state)
{
    const char *seed = getenv("SEED");
    const char *seconds = getenv("TIME");
    uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) << 20;
    struct shared *shared;
    pid_t child;

    (void)state;
    if (seed != NULL) {
        if (!seed_holds(first))
            failure_report(first);
        return;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        alarm(seconds != NULL ? 0 : 10 * SECONDS);
        serve(shared, first, seconds != NULL ? (unsigned)atoi(seconds) : SECONDS);
    }
    if (!ended_well(child))
        failure_report(shared->seed);
    printf("%llu schedules from SEED=%llu on\n", (unsigned long long)shared->done,
           (unsigned long long)first);
    assert_true(shared->done > 10);
    munmap(shared, sizeof(*shared));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_and_packed_are_the_same_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
