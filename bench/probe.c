/* SPDX-License-Identifier: MIT */
/*
 * How far apart two CPUs are right now: the round trip of a ping-pong over two cache lines.
 * A hypervisor moves virtual CPUs about, and with them the price of every shared line.
 *
 *     probe CPU CPU    first line: TSC ticks a second; then one line of nanoseconds for each line
 * read
 */
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum {
    CHUNK_COUNT = 16, /* the median of so many is told: one that was interrupted does no harm */
    CHUNK_TRIPS = 1200,
    CALIBRATION_NS = 100000000,
};

static alignas(128) atomic_uint ping; /* written by the main thread */
static alignas(128) atomic_uint pong; /* written by the other */
static const unsigned trips_total = CHUNK_COUNT * CHUNK_TRIPS;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t now_ticks(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#else
    return now_ns();
#endif
}

static void pin(const char *cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)atoi(cpu), &set);
    if (sched_setaffinity(0, sizeof(set), &set) == 0)
        return;
    perror("probe: sched_setaffinity");
    exit(1);
}

static void *answer(void *cpu)
{
    pin(cpu);
    for (unsigned i = 1; i <= trips_total; i++) {
        while (atomic_load_explicit(&ping, memory_order_acquire) != i)
            continue;
        atomic_store_explicit(&pong, i, memory_order_release);
    }
    return NULL;
}

static void chunk(unsigned begin)
{
    for (unsigned i = begin + 1; i <= begin + CHUNK_TRIPS; i++) {
        atomic_store_explicit(&ping, i, memory_order_release);
        while (atomic_load_explicit(&pong, memory_order_acquire) != i)
            continue;
    }
}

static int compare(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

static double round_trip_ns(char *other_cpu)
{
    double ns[CHUNK_COUNT];
    pthread_t other;

    atomic_store(&ping, 0);
    atomic_store(&pong, 0);
    if (pthread_create(&other, NULL, answer, other_cpu) != 0)
        exit(1);
    for (unsigned i = 0; i < CHUNK_COUNT; i++) {
        uint64_t begin = now_ns();

        chunk(i * CHUNK_TRIPS);
        ns[i] = (double)(now_ns() - begin) / CHUNK_TRIPS;
    }
    pthread_join(other, NULL);
    qsort(ns, CHUNK_COUNT, sizeof(ns[0]), compare);
    return ns[CHUNK_COUNT / 2];
}

static double ticks_a_second(void)
{
    uint64_t begin_ns = now_ns(), begin = now_ticks(), end_ns;

    do {
        end_ns = now_ns();
    } while (end_ns - begin_ns < CALIBRATION_NS);
    return (double)(now_ticks() - begin) * 1e9 / (double)(end_ns - begin_ns);
}

int main(int argc, char **argv)
{
    char line[16];

    if (argc != 3) {
        fprintf(stderr, "usage: probe CPU CPU\n");
        return 2;
    }
    pin(argv[1]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%.0f\n", ticks_a_second());
    while (fgets(line, sizeof(line), stdin) != NULL)
        printf("%.1f\n", round_trip_ns(argv[2]));
    return 0;
}
