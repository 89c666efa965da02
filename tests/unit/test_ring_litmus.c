/* SPDX-License-Identifier: MIT */
/*
 * The two places where each side stores and then looks: a driver that publishes while the device
 * arms, and a device that publishes while the driver asks for interrupts. At least one of the two
 * must see the other. Both sides start from the same spin a few hundred thousand times, with every
 * small delay between them: on a machine with a store buffer a missing fence shows within a second.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/checked.h"
#include "check.h"
#include "clockwork.h"
#include "format_bed.h"

#define DATA FORMAT_BED_NEXT_GPA

enum {
    ROUNDS = 300000,
    SECONDS_MS = 1200, /* for a machine that has something else to do */
    ROUNDS_LEAST = 500,
    DELAY_MAX = 4000, /* turns of an empty loop */
};

enum contest {
    PUBLISH_AGAINST_ARM,
    FLUSH_AGAINST_INTERRUPTS_ON,
};

/* One thread is the driver in the contest; the other is the device, and both between contests. */
struct litmus {
    struct format_bed bed;
    enum contest contest;
    unsigned round; /* the device's; UINT32_MAX: over */
    unsigned done;  /* the driver's: the round that it has finished */
    int driver_saw;
    int driver_delay;
};

static void wait_for(const unsigned *number, unsigned value)
{
    for (unsigned i = 0; __atomic_load_n(number, __ATOMIC_ACQUIRE) != value; i++) {
        if (i % 1024 == 1023)
            sched_yield(); /* the other side may need this core */
    }
}

static void dawdle(int turns)
{
    for (volatile int i = turns; i > 0; i--)
        ;
}

static void *driver_run(void *context)
{
    struct litmus *litmus = context;
    struct driver_ring *ring = litmus->bed.ring;
    struct driver_used used;

    for (unsigned round = 1;; round++) {
        unsigned now;

        for (unsigned i = 0; (now = __atomic_load_n(&litmus->round, __ATOMIC_ACQUIRE)) < round;
             i++) {
            if (i % 1024 == 1023)
                sched_yield();
        }
        if (now == UINT32_MAX)
            return NULL;
        dawdle(litmus->driver_delay);
        if (litmus->contest == PUBLISH_AGAINST_ARM) {
            litmus->driver_saw = ring->ops->publish(ring);
        } else {
            ring->ops->interrupts(ring, INTERRUPTS_ON);
            litmus->driver_saw = ring->ops->take(ring, &used);
        }
        __atomic_store_n(&litmus->done, round, __ATOMIC_RELEASE);
    }
}

static void chain_add(struct driver_ring *ring)
{
    struct driver_buffer buffer = device_reads(DATA, 64);
    struct driver_chain chain = {&buffer, 1, CHAIN_DIRECT};

    ring->ops->add(ring, &chain);
}

/* Brings both sides to where the contest begins. */
static void set_up(struct litmus *litmus)
{
    struct format_bed *bed = &litmus->bed;

    chain_add(bed->ring);
    if (litmus->contest == PUBLISH_AGAINST_ARM) {
        assert_int_equal(format_bed_pop_many(bed, 1), 0);
        virtqueue_disarm(&bed->queue);
        return;
    }
    bed->ring->ops->publish(bed->ring);
    assert_int_equal(format_bed_pop_many(bed, 1), 1);
    virtqueue_push(&bed->queue, bed->batch.chain[0].token, 0);
    bed->ring->ops->interrupts(bed->ring, INTERRUPTS_OFF);
}

static int device_step(struct litmus *litmus)
{
    struct format_bed *bed = &litmus->bed;
    unsigned fires = bed->fires;

    if (litmus->contest == PUBLISH_AGAINST_ARM)
        return virtqueue_arm(&bed->queue);
    virtqueue_flush(&bed->queue);
    return bed->fires != fires;
}

/* Empties the ring again, whoever saw what. */
static void clean_up(struct litmus *litmus)
{
    struct format_bed *bed = &litmus->bed;
    struct driver_used used;

    if (litmus->contest == PUBLISH_AGAINST_ARM) {
        assert_int_equal(format_bed_pop_many(bed, 1), 1);
        format_bed_complete(bed, bed->batch.chain[0].token, 0);
        assert_int_equal(bed->ring->ops->take(bed->ring, &used), 1);
    } else if (!litmus->driver_saw) {
        assert_int_equal(bed->ring->ops->take(bed->ring, &used), 1);
    }
}

/* Some of them however long they take. */
static int more_rounds(unsigned round, uint64_t end)
{
    return round <= ROUNDS_LEAST || (round <= ROUNDS && (round % 64 != 0 || now_ms() < end));
}

static void contest(enum contest which, uint32_t features)
{
    struct litmus *litmus = calloc(1, sizeof(*litmus));
    uint64_t end = now_ms() + SECONDS_MS;
    unsigned neither = 0;
    int delay = 0; /* of the device; below 0: of the driver */
    unsigned round;
    pthread_t driver;

    assert_non_null(litmus);
    litmus->contest = which;
    assert_int_equal(format_bed_init(&litmus->bed, FORMAT_BED_ONE_MAPPING), 0);
    format_bed_start(&litmus->bed, 16, features);
    format_bed_round_trip(&litmus->bed); /* the first flush after a start fires in any case */
    assert_int_equal(pthread_create(&driver, NULL, driver_run, litmus), 0);
    for (round = 1; more_rounds(round, end); round++) {
        int device_saw;

        set_up(litmus);
        litmus->driver_delay = MAX(-delay, 0);
        __atomic_store_n(&litmus->round, round, __ATOMIC_RELEASE);
        dawdle(MAX(delay, 0) + (int)(round * 7 % 40));
        device_saw = device_step(litmus);
        wait_for(&litmus->done, round);
        neither += !device_saw && !litmus->driver_saw;
        delay += litmus->driver_saw - device_saw; /* who saw the other came second */
        delay = MAX(-DELAY_MAX, MIN(delay, DELAY_MAX));
        clean_up(litmus);
    }
    __atomic_store_n(&litmus->round, UINT32_MAX, __ATOMIC_RELEASE);
    pthread_join(driver, NULL);
    check(neither == 0, "in %u of %u rounds neither side saw the other", neither, round);
    format_bed_free(&litmus->bed);
    free(litmus);
}

static void GEN_IO_02_kick_or_seen_split(void **state)
{
    (void)state;
    contest(PUBLISH_AGAINST_ARM, 0);
    contest(PUBLISH_AGAINST_ARM, VIRTQUEUE_EVENT_IDX);
}

static void GEN_IO_02_kick_or_seen_packed(void **state)
{
    (void)state;
    contest(PUBLISH_AGAINST_ARM, VIRTQUEUE_PACKED);
    contest(PUBLISH_AGAINST_ARM, VIRTQUEUE_PACKED | VIRTQUEUE_EVENT_IDX);
}

static void GEN_IO_02_interrupt_or_seen_split(void **state)
{
    (void)state;
    contest(FLUSH_AGAINST_INTERRUPTS_ON, 0);
    contest(FLUSH_AGAINST_INTERRUPTS_ON, VIRTQUEUE_EVENT_IDX);
}

static void GEN_IO_02_interrupt_or_seen_packed(void **state)
{
    (void)state;
    contest(FLUSH_AGAINST_INTERRUPTS_ON, VIRTQUEUE_PACKED);
    contest(FLUSH_AGAINST_INTERRUPTS_ON, VIRTQUEUE_PACKED | VIRTQUEUE_EVENT_IDX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(GEN_IO_02_kick_or_seen_split),
        cmocka_unit_test(GEN_IO_02_kick_or_seen_packed),
        cmocka_unit_test(GEN_IO_02_interrupt_or_seen_split),
        cmocka_unit_test(GEN_IO_02_interrupt_or_seen_packed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
