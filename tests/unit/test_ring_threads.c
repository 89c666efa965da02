/* SPDX-License-Identifier: MIT */
/*
 * A driver thread and a device thread on one ring, asleep whenever there is nothing to do: no kick
 * and no interrupt may be lost, and what one side wrote is what the other reads. Then a driver that
 * rewrites everything at any time: whatever the device makes of it, it stays inside memory. Under
 * TSan both are on one mapping, and every word that the other side may write at any time has to be
 * read as an atomic one.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "format_bed.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

#define DATA FORMAT_BED_NEXT_GPA

enum {
    RING = 16,
    MESSAGE = 64, /* bytes each way */
    /* A million in the four cases together. */
    SLEEPS = UNDER_TSAN ? 50000 : 250000,
    STALLED_MS = 10000, /* a side that sleeps for so long was not woken */
};

/* ---- sleeping and waking -------------------------------------------------------------------- */

struct side {
    uint64_t sleeps; /* written by its thread, read by the watchdog */
    uint64_t moved;
    unsigned wrong; /* messages that were not as they were written */
    uint32_t random;
};

struct soak {
    struct format_bed bed;
    struct side driver, device;
    uint64_t sent, came; /* the driver's */
    uint64_t seq_of[RING];
    int stop;
};

static void count(uint64_t *number)
{
    __atomic_store_n(number, *number + 1, __ATOMIC_RELAXED);
}

static uint64_t count_of(const uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_RELAXED);
}

static uint32_t random_of(struct side *side)
{
    side->random = side->random * 1664525u + 1013904223u;
    return side->random >> 8;
}

/* Moves the two sides against each other, so that every order of their steps comes up. */
static void dawdle(struct side *side)
{
    uint32_t much = random_of(side);

    for (volatile uint32_t i = much % 16 == 0 ? (much >> 4) % 2000 : 0; i != 0; i--)
        ;
}

static int stopped(const struct soak *soak)
{
    return __atomic_load_n(&soak->stop, __ATOMIC_ACQUIRE);
}

/* Asleep until the other side writes the eventfd: there is no other way to wake up. */
static void sleep_on(int fd, struct side *side)
{
    uint64_t value;

    count(&side->sleeps);
    if (read(fd, &value, sizeof(value)) != sizeof(value))
        abort(); /* a blocking eventfd */
}

static uint64_t answer_to(uint64_t seq)
{
    return seq * 0x9e3779b97f4a7c15ull + 1;
}

static void message_write(void *at, uint64_t seq)
{
    for (unsigned i = 0; i < MESSAGE / sizeof(seq); i++)
        memcpy((uint8_t *)at + i * sizeof(seq), &(uint64_t){seq + i}, sizeof(seq));
}

static int message_is(const void *at, uint64_t seq)
{
    uint8_t wanted[MESSAGE];

    message_write(wanted, seq);
    return memcmp(at, wanted, sizeof(wanted)) == 0;
}

static void device_answer(struct soak *soak, const struct chain *chain)
{
    uint64_t seq;

    if (chain->fault != CHAIN_FAULT_NONE || chain->readable_len != MESSAGE ||
        chain->writable_len != MESSAGE) {
        soak->device.wrong++;
        return;
    }
    memcpy(&seq, chain->iov[0].iov_base, sizeof(seq));
    soak->device.wrong += !message_is(chain->iov[0].iov_base, seq);
    message_write(chain->iov[1].iov_base, answer_to(seq));
}

static void *device_run(void *context)
{
    struct soak *soak = context;
    struct virtqueue *queue = &soak->bed.queue;
    struct chain_batch *batch = &soak->bed.batch;

    while (!stopped(soak)) {
        chain_batch_reset(batch);
        if (virtqueue_pop(queue, batch, 1 + random_of(&soak->device) % 4) == 0) {
            if (!virtqueue_arm(queue))
                sleep_on(soak->bed.kick_fd, &soak->device);
            if (random_of(&soak->device) % 2)
                virtqueue_disarm(queue);
            continue;
        }
        for (unsigned i = 0; i < batch->count; i++) {
            device_answer(soak, &batch->chain[i]);
            dawdle(&soak->device);
            virtqueue_push(queue, batch->chain[i].token, MESSAGE);
            count(&soak->device.moved);
        }
        virtqueue_flush(queue);
        dawdle(&soak->device);
    }
    return NULL;
}

static void driver_send(struct soak *soak, unsigned messages)
{
    struct format_bed *bed = &soak->bed;

    for (unsigned i = 0; i < messages && soak->sent - soak->came < RING / 2; i++) {
        unsigned place = soak->sent % (RING / 2) * 2 * MESSAGE;
        struct driver_buffer buffer[2] = {device_reads(DATA + place, MESSAGE),
                                          device_writes(DATA + place + MESSAGE, MESSAGE)};
        struct driver_chain chain = {buffer, 2,
                                     soak->sent % 3 == 0 ? CHAIN_INDIRECT : CHAIN_DIRECT};

        message_write(guest_ram_at(&bed->ram, DATA + place, MESSAGE), soak->sent);
        soak->seq_of[bed->ring->ops->add(bed->ring, &chain)] = soak->sent++;
    }
    driver_ring_flush(bed->ring);
}

static unsigned driver_take(struct soak *soak)
{
    struct format_bed *bed = &soak->bed;
    struct driver_used used;
    unsigned taken = 0;

    while (bed->ring->ops->take(bed->ring, &used)) {
        uint64_t seq = soak->seq_of[used.id];
        uint64_t gpa = DATA + seq % (RING / 2) * 2 * MESSAGE + MESSAGE;

        soak->driver.wrong += seq != soak->came || used.len != MESSAGE ||
                              !message_is(guest_ram_at(&bed->ram, gpa, MESSAGE), answer_to(seq));
        soak->came++;
        count(&soak->driver.moved);
        taken++;
    }
    return taken;
}

static void *driver_run(void *context)
{
    struct soak *soak = context;
    struct driver_ring *ring = soak->bed.ring;

    while (!stopped(soak) &&
           count_of(&soak->driver.sleeps) + count_of(&soak->device.sleeps) < SLEEPS) {
        driver_send(soak, 1 + random_of(&soak->driver) % 3);
        dawdle(&soak->driver);
        if (driver_take(soak) != 0)
            continue;
        ring->ops->interrupts(ring, INTERRUPTS_ON);
        if (driver_take(soak) == 0)
            sleep_on(soak->bed.call_fd, &soak->driver);
        if (random_of(&soak->driver) % 2)
            ring->ops->interrupts(ring, INTERRUPTS_OFF);
    }
    return NULL;
}

/* Ends the threads, whatever they are doing. */
static void wake_all(struct soak *soak)
{
    const uint64_t one = 1;

    __atomic_store_n(&soak->stop, 1, __ATOMIC_RELEASE);
    check(write(soak->bed.kick_fd, &one, sizeof(one)) == sizeof(one) &&
              write(soak->bed.call_fd, &one, sizeof(one)) == sizeof(one),
          "no wake-up");
}

/* Until the sleeps are slept, or neither side moved for too long. Answers whether they went on. */
static int watch(const struct soak *soak)
{
    uint64_t before = UINT64_MAX;
    uint64_t since = now_ms();

    while (count_of(&soak->driver.sleeps) + count_of(&soak->device.sleeps) < SLEEPS) {
        uint64_t moved = count_of(&soak->driver.moved) + count_of(&soak->device.moved);

        if (moved != before)
            since = now_ms();
        else if (now_ms() - since > STALLED_MS)
            return 0;
        before = moved;
        sleep_ms(5);
    }
    return 1;
}

static void soak_run(uint32_t features)
{
    struct soak *soak = calloc(1, sizeof(*soak));
    pthread_t driver, device;
    int went_on;

    assert_non_null(soak);
    assert_int_equal(format_bed_init(&soak->bed, FORMAT_BED_ONE_MAPPING), 0);
    format_bed_start(&soak->bed, RING, features | VIRTQUEUE_INDIRECT);
    soak->bed.call_fd = eventfd(0, EFD_CLOEXEC);
    soak->bed.kick_fd = eventfd(0, EFD_CLOEXEC);
    format_bed_wire(&soak->bed);
    soak->driver.random = 1;
    soak->device.random = 2;
    assert_int_equal(pthread_create(&device, NULL, device_run, soak), 0);
    assert_int_equal(pthread_create(&driver, NULL, driver_run, soak), 0);
    went_on = watch(soak);
    wake_all(soak);
    pthread_join(driver, NULL);
    pthread_join(device, NULL);
    check(went_on, "a side was not woken: %llu and %llu sleeps, %llu sent, %llu back",
          (unsigned long long)soak->driver.sleeps, (unsigned long long)soak->device.sleeps,
          (unsigned long long)soak->sent, (unsigned long long)soak->came);
    assert_int_equal(soak->driver.wrong + soak->device.wrong, 0);
    assert_int_equal(soak->bed.queue.fault, QUEUE_FAULT_NONE);
    assert_true(soak->driver.sleeps > SLEEPS / 100 && soak->device.sleeps > SLEEPS / 100);
    assert_true(soak->sent - soak->came <= RING / 2);
    format_bed_free(&soak->bed);
    free(soak);
}

static void GEN_IO_02_nothing_is_lost_split_flags(void **state)
{
    (void)state;
    soak_run(0);
}

static void GEN_IO_02_nothing_is_lost_split_event_idx(void **state)
{
    (void)state;
    soak_run(VIRTQUEUE_EVENT_IDX);
}

static void GEN_IO_02_nothing_is_lost_packed_flags(void **state)
{
    (void)state;
    soak_run(VIRTQUEUE_PACKED);
}

static void GEN_IO_02_nothing_is_lost_packed_event_idx(void **state)
{
    (void)state;
    soak_run(VIRTQUEUE_PACKED | VIRTQUEUE_EVENT_IDX);
}

/* ---- bytes that change under the device ----------------------------------------------------- */

enum {
    ROUNDS = UNDER_TSAN ? 60 : 400,
    FLIPS = 4000,
};

/* Bytes first … end of each `stride` bytes may change. */
struct flip_area {
    uint8_t *at;
    unsigned len;
    unsigned stride, first, end;
};

struct flipper {
    struct flip_area area[4];
    unsigned area_count;
    uint32_t random;
    int done;
};

static void *flip(void *context)
{
    struct flipper *flipper = context;
    struct side side = {.random = flipper->random};

    for (unsigned i = 0; i < FLIPS; i++) {
        const struct flip_area *area = &flipper->area[random_of(&side) % flipper->area_count];
        unsigned unit = random_of(&side) % (area->len / area->stride);
        unsigned byte = area->first + random_of(&side) % (area->end - area->first);
        uint8_t *at = area->at + unit * area->stride + byte;

        __atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) ^ (1u << random_of(&side) % 8),
                         __ATOMIC_RELAXED);
    }
    __atomic_store_n(&flipper->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void area_add(struct flipper *flipper, struct flip_area area)
{
    flipper->area[flipper->area_count++] = area;
}

/*
 * What a driver may write: descriptors or slots, tables, and the words by which it speaks. TSan has
 * the device on the same mapping, so there only bytes change that the device never writes, and none
 * that make a table's address odd: an odd table is copied bytewise, and that is not an atomic read
 * (it needs none: it is read once).
 */
static void areas_find(struct format_bed *bed, struct flipper *flipper)
{
    int packed = (bed->features & VIRTQUEUE_PACKED) != 0;
    uint64_t table = packed ? bed->packed.table_gpa : bed->split.table_gpa;
    unsigned first = UNDER_TSAN ? 1 : 0;
    uint8_t *ring = guest_ram_at(&bed->ram, bed->ring->desc_area, 16 * RING);
    uint8_t *words = guest_ram_at(&bed->ram, bed->ring->driver_area, 4);

    area_add(flipper, (struct flip_area){ring, 16 * RING, 16, first, UNDER_TSAN ? 8 : 16});
    area_add(flipper, (struct flip_area){guest_ram_at(&bed->ram, table, 64 * 16 * RING),
                                         64 * 16 * RING, 16, 0, 16});
    if (packed)
        area_add(flipper, (struct flip_area){words, 4, 4, 0, 4});
    else
        area_add(flipper, (struct flip_area){words, 6 + 2 * RING, 6 + 2 * RING, 4, 6 + 2 * RING});
}

/* Takes chains and writes into them; TSan could not tell the test's payload from ring words. */
static unsigned look(struct format_bed *bed)
{
    unsigned taken = format_bed_pop_many(bed, 8);

    for (unsigned i = 0; i < taken && !UNDER_TSAN; i++) {
        const struct chain *chain = &bed->batch.chain[i];
        const struct iovec *iov = chain->iov + chain->readable_count;

        for (unsigned k = 0; k < chain->writable_count; k++)
            memset(iov[k].iov_base, 0, iov[k].iov_len < 64 ? iov[k].iov_len : 64);
    }
    assert_true(bed->queue.in_flight <= RING);
    return taken;
}

static void ring_fill(struct format_bed *bed, unsigned round)
{
    struct driver_buffer buffer[2] = {device_reads(DATA, MESSAGE),
                                      device_writes(DATA + 0x1000, MESSAGE)};

    for (unsigned i = 0; i < RING / 2; i++)
        format_bed_offer(bed, buffer, 2, (round + i) % 2 ? CHAIN_DIRECT : CHAIN_INDIRECT);
}

/* The same chains again and again while they change; a ring that latches is started again. */
static unsigned flip_round(struct format_bed *bed, unsigned round)
{
    uint32_t features = VIRTQUEUE_INDIRECT | (round % 2 ? VIRTQUEUE_PACKED : 0) |
                        (round % 4 < 2 ? VIRTQUEUE_EVENT_IDX : 0);
    struct flipper flipper = {.random = round * 77 + 1};
    unsigned faults = 0;
    unsigned taken;
    pthread_t thread;

    format_bed_start(bed, RING, features);
    ring_fill(bed, round);
    areas_find(bed, &flipper);
    assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
    do {
        taken = look(bed);
        for (unsigned i = 0; i < taken; i++)
            faults += bed->batch.chain[i].fault != CHAIN_FAULT_NONE;
        virtqueue_unpop(&bed->queue, &bed->batch, 0);
        virtqueue_arm(&bed->queue);
        if (bed->queue.fault != QUEUE_FAULT_NONE)
            format_bed_cycle(bed);
    } while (!__atomic_load_n(&flipper.done, __ATOMIC_ACQUIRE));
    pthread_join(thread, NULL);
    taken = look(bed);
    for (unsigned i = 0; i < taken; i++)
        virtqueue_push(&bed->queue, bed->batch.chain[i].token, bed->batch.chain[i].writable_len);
    virtqueue_flush(&bed->queue);
    return faults;
}

static void R06_R07_R24_bytes_change_under_the_device(void **state)
{
    struct format_bed bed;
    unsigned faulty_rounds = 0;

    (void)state;
    assert_int_equal(format_bed_init(&bed, FORMAT_BED_ONE_MAPPING), 0);
    for (unsigned round = 0; round < ROUNDS; round++)
        faulty_rounds += flip_round(&bed, round) != 0;
    assert_true(faulty_rounds > ROUNDS / 4);
    format_bed_start(&bed, RING, VIRTQUEUE_PACKED);
    format_bed_round_trip(&bed);
    format_bed_free(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(GEN_IO_02_nothing_is_lost_split_flags),
        cmocka_unit_test(GEN_IO_02_nothing_is_lost_split_event_idx),
        cmocka_unit_test(GEN_IO_02_nothing_is_lost_packed_flags),
        cmocka_unit_test(GEN_IO_02_nothing_is_lost_packed_event_idx),
        cmocka_unit_test(R06_R07_R24_bytes_change_under_the_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
