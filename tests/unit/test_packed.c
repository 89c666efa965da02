/* SPDX-License-Identifier: MIT */
/* The packed ring, with a driver that behaves: sizes, laps, shapes, used slots, events, positions.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "chain_spans.h"
#include "check.h"
#include "clockwork.h"
#include "format_bed.h"

enum {
    PACKED = VIRTQUEUE_PACKED,
    ALL = VIRTQUEUE_PACKED | VIRTQUEUE_INDIRECT | VIRTQUEUE_EVENT_IDX,
};

#define DATA FORMAT_BED_NEXT_GPA

/* ---- laps ---- */

/* Lists of 1 … 3 slots in turn, several in flight, completed from the oldest on. */
static void run_laps(struct format_bed *bed, unsigned size, unsigned lists)
{
    struct driver_buffer buffer[3] = {device_reads(DATA, 10), device_reads(DATA + 0x100, 20),
                                      device_writes(DATA + 0x200, 30)};
    unsigned longest = size < 3 ? size : 3;

    format_bed_start(bed, size, ALL);
    for (unsigned n = 0; n < lists; n++) {
        unsigned count = 1 + n % longest;
        const struct driver_buffer *list = &buffer[3 - count];
        uint32_t id = format_bed_offer(bed, list, count, CHAIN_DIRECT);
        struct chain *chain = format_bed_pop(bed);

        chain_expect_spans(&bed->ram, chain, list, count);
        format_bed_complete(bed, chain->token, n % 31);
        format_bed_expect_used(bed, id, n % 31);
    }
    assert_int_equal(format_bed_pop_many(bed, 4), 0);
    assert_int_equal(bed->queue.in_flight, 0);
}

static void PKD_01_wrap_counters_of_all_sizes(void **state)
{
    static const unsigned size[] = {1, 2, 3, 4, 5, 7, 64, 1000};

    for (unsigned i = 0; i < sizeof(size) / sizeof(size[0]); i++)
        run_laps(*state, size[i], 20 * size[i] + 7);
}

static void PKD_01_largest_ring(void **state)
{
    run_laps(*state, 32768, 40000);
}

/* Filled to the last slot, emptied, filled again, from every slot of the ring on. */
static void PKD_01_full_ring_from_every_position(void **state)
{
    struct driver_buffer buffer = device_writes(DATA, 64);
    struct format_bed *bed = *state;
    uint32_t id[7];

    for (uint16_t start = 0; start < 14; start++) {
        uint16_t place = start < 7 ? (uint16_t)(start | PACKED_WRAP) : (uint16_t)(start - 7);

        if (place == 0)
            continue; /* the driver takes it for "new" */
        format_bed_start_packed_at(bed, 7, place, ALL);
        for (unsigned lap = 0; lap < 5; lap++) {
            for (unsigned i = 0; i < 7; i++)
                id[i] = format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
            assert_int_equal(format_bed_pop_many(bed, 64), 7);
            assert_int_equal(bed->queue.in_flight, 7);
            for (unsigned i = 0; i < 7; i++)
                virtqueue_push(&bed->queue, bed->batch.chain[i].token, i + 1);
            virtqueue_flush(&bed->queue);
            for (unsigned i = 0; i < 7; i++)
                format_bed_expect_used(bed, id[i], i + 1);
        }
    }
}

/* virtio 1.4, 2.8.1: available is AVAIL as the counter and USED not so, nothing else. */
static void PKD_02_only_one_pair_of_bits_is_available(void **state)
{
    static const uint16_t bits[] = {0, SLOT_AVAIL, SLOT_USED, SLOT_AVAIL | SLOT_USED};
    struct format_bed *bed = *state;

    for (unsigned wrap = 0; wrap < 2; wrap++) {
        for (unsigned i = 0; i < 4; i++) {
            struct packed_slot slot = {.addr = DATA, .len = 5, .id = 2, .flags = bits[i]};
            uint16_t wanted = wrap ? SLOT_AVAIL : SLOT_USED;

            format_bed_start_packed_at(bed, 5, (uint16_t)(3 | (wrap ? PACKED_WRAP : 0)), ALL);
            assert_int_equal(format_bed_pop_many(bed, 8), 0);
            driver_packed_write_slot(&bed->packed, 3, &slot);
            assert_int_equal(format_bed_pop_many(bed, 8), bits[i] == wanted);
            assert_int_equal(bed->queue.fault, QUEUE_FAULT_NONE);
        }
    }
}

/* ---- used slots ---- */

static void PKD_03_used_slots_stand_in_order_of_completion(void **state)
{
    struct driver_buffer buffer[3] = {device_writes(DATA, 8), device_writes(DATA, 8),
                                      device_writes(DATA, 8)};
    struct format_bed *bed = *state;
    uint32_t id[3];
    uint32_t token[3];

    format_bed_start(bed, 8, ALL);
    for (unsigned i = 0; i < 3; i++)
        id[i] = format_bed_offer(bed, buffer, i + 1, CHAIN_DIRECT); /* slots 0, 1-2, 3-5 */
    assert_int_equal(format_bed_pop_many(bed, 8), 3);
    for (unsigned i = 0; i < 3; i++)
        token[i] = bed->batch.chain[i].token;
    virtqueue_push(&bed->queue, token[2], 3);
    virtqueue_push(&bed->queue, token[0], 1);
    virtqueue_push(&bed->queue, token[1], 2);
    virtqueue_flush(&bed->queue);
    assert_int_equal(driver_packed_read_slot(&bed->packed, 0).id, id[2]);
    assert_int_equal(driver_packed_read_slot(&bed->packed, 3).id, id[0]);
    assert_int_equal(driver_packed_read_slot(&bed->packed, 4).id, id[1]);
    format_bed_expect_used(bed, id[2], 3);
    format_bed_expect_used(bed, id[0], 1);
    format_bed_expect_used(bed, id[1], 2);
    format_bed_expect_no_used(bed);
    format_bed_round_trip(bed);
}

/* The id of the last slot counts; WRITE says that len means something; nothing else is left. */
static void PKD_04_PKD_05_words_of_a_used_slot(void **state)
{
    struct packed_slot list[2] = {{.addr = DATA + 0x123, .len = 16, .id = 6, .flags = SLOT_WRITE},
                                  {.addr = DATA, .len = 16, .id = 3, .flags = SLOT_WRITE}};
    struct format_bed *bed = *state;

    for (uint32_t len = 0; len < 2; len++) {
        for (unsigned wrap = 0; wrap < 2; wrap++) {
            uint16_t place = (uint16_t)(2 | (wrap ? PACKED_WRAP : 0));
            struct packed_slot used;

            format_bed_start_packed_at(bed, 8, place, ALL);
            driver_packed_offer(&bed->packed, list, 2);
            format_bed_complete(bed, format_bed_pop(bed)->token, 20 * len);
            used = driver_packed_read_slot(&bed->packed, 2);
            assert_int_equal(used.id, 3);
            assert_int_equal(used.flags,
                             (wrap ? SLOT_AVAIL | SLOT_USED : 0) | (len != 0 ? SLOT_WRITE : 0));
            assert_true(len == 0 || used.len == 20);
            assert_true(used.addr == DATA + 0x123 || used.addr == 0);
        }
    }
}

static void PKD_04_id_of_an_indirect_list_is_that_of_its_slot(void **state)
{
    struct format_bed *bed = *state;
    uint64_t table;
    struct packed_slot entry = {.addr = DATA, .len = 9, .id = 0x7777, .flags = SLOT_WRITE};
    struct packed_slot slot = {.len = 16, .id = 5, .flags = SLOT_INDIRECT};

    format_bed_start(bed, 8, ALL);
    table = guest_ram_alloc(&bed->ram, FORMAT_BED_DRIVER, 16, 16);
    driver_packed_write_at(&bed->packed, table, &entry);
    slot.addr = table;
    driver_packed_offer(&bed->packed, &slot, 1);
    format_bed_complete(bed, format_bed_pop(bed)->token, 9);
    format_bed_expect_used(bed, 5, 9);
}

/* Once used, a slot is the driver's: nothing that happens in other slots touches it. */
static void PKD_04_used_slot_is_left_alone(void **state)
{
    struct packed_slot mark = {.addr = 0x1122334455667788, .len = 0x99aabbcc, .id = 0xdddd};
    struct driver_buffer buffer = device_writes(DATA, 8);
    struct format_bed *bed = *state;
    struct packed_slot now;

    format_bed_start(bed, 8, ALL);
    for (unsigned i = 0; i < 6; i++)
        format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    assert_int_equal(format_bed_pop_many(bed, 6), 6);
    format_bed_complete(bed, bed->batch.chain[0].token, 1);
    mark.flags = driver_packed_slot_flags(&bed->packed, 0);
    driver_packed_write_slot(&bed->packed, 0, &mark);
    for (unsigned i = 1; i < 6; i++)
        format_bed_complete(bed, bed->batch.chain[i].token, 1);
    virtqueue_arm(&bed->queue);
    virtqueue_stop(&bed->queue);
    now = driver_packed_read_slot(&bed->packed, 0);
    assert_memory_equal(&now, &mark, sizeof(now));
}

/* ---- lists ---- */

/* What the device may only read lies in pages that it can't write. */
static void PKD_06_readable_buffers_and_tables_are_only_read(void **state)
{
    struct format_bed *bed = *state;
    struct driver_buffer buffer[2];
    uint64_t gpa;

    format_bed_start(bed, 8, ALL);
    gpa = guest_ram_alloc(&bed->ram, FORMAT_BED_DRIVER, 0x1000, 16);
    buffer[0] = device_reads(gpa, 100);
    buffer[1] = device_reads(gpa + 0x800, 1);
    for (unsigned i = 0; i < 20; i++) {
        uint32_t id = format_bed_offer(bed, buffer, 2, i % 2 ? CHAIN_DIRECT : CHAIN_INDIRECT);
        struct chain *chain = format_bed_pop(bed);

        assert_int_equal(chain->readable_len, 101);
        assert_int_equal(chain->writable_count, 0);
        format_bed_complete(bed, chain->token, 0);
        format_bed_expect_used(bed, id, 0);
    }
}

static void PKD_07_shapes_and_order_of_a_list(void **state)
{
    static const enum chain_shape shape[] = {CHAIN_DIRECT, CHAIN_INDIRECT};
    const struct driver_buffer buffer[] = {
        device_reads(DATA + 0x5000, 3), device_reads(DATA + 0x100, 11),
        device_reads(DATA - 5, 10), /* over the border of two regions */
        device_writes(DATA + 0x4000, 1), device_writes(DATA + 0x3000, 700)};
    struct format_bed *bed = *state;

    format_bed_start(bed, 13, ALL);
    for (unsigned i = 0; i < 26; i++) {
        uint32_t id = format_bed_offer(bed, buffer, 5, shape[i % 2]);
        struct chain *chain = format_bed_pop(bed);

        assert_int_equal(chain->readable_len, 24);
        assert_int_equal(chain->writable_len, 701);
        assert_int_equal(chain->readable_count, 4);
        assert_int_equal(chain->writable_count, 2);
        chain_expect_spans(&bed->ram, chain, buffer, 5);
        format_bed_complete(bed, chain->token, 701);
        format_bed_expect_used(bed, id, 701);
    }
}

/* virtio 1.4, 2.8.7: in a table only WRITE means something; outside, WRITE with INDIRECT does not.
 */
static void PKD_08_flags_and_ids_in_a_table_are_ignored(void **state)
{
    static const uint16_t noise[] = {0,         SLOT_NEXT, SLOT_INDIRECT, SLOT_AVAIL,
                                     SLOT_USED, 0x7f78,    0xfffd};
    struct driver_buffer buffer[4] = {device_reads(DATA, 4), device_reads(DATA + 0x100, 5),
                                      device_writes(DATA + 0x200, 6),
                                      device_writes(DATA + 0x300, 7)};
    struct format_bed *bed = *state;
    uint64_t table;

    format_bed_start(bed, 3, ALL);
    table = guest_ram_alloc(&bed->ram, FORMAT_BED_DRIVER, 64, 16);
    for (unsigned n = 0; n < sizeof(noise) / sizeof(noise[0]); n++) {
        struct packed_slot slot = {table, 64, 1, SLOT_INDIRECT | (n % 2 ? SLOT_WRITE : 0)};

        for (unsigned i = 0; i < 4; i++) {
            struct packed_slot entry = {buffer[i].gpa, buffer[i].len, (uint16_t)(n + i),
                                        (uint16_t)(noise[n] | (i >= 2 ? SLOT_WRITE : 0))};

            driver_packed_write_at(&bed->packed, table + 16 * i, &entry);
        }
        driver_packed_offer(&bed->packed, &slot, 1);
        chain_expect_spans(&bed->ram, format_bed_pop(bed), buffer, 4);
        format_bed_complete(bed, bed->batch.chain[0].token, 13);
        format_bed_expect_used(bed, 1, 13);
    }
}

/* A list over the end of the ring: its later slots carry the next lap's bits. */
static void PKD_13_list_over_the_end_of_the_ring(void **state)
{
    const struct driver_buffer buffer[4] = {device_reads(DATA, 1), device_reads(DATA + 16, 2),
                                            device_writes(DATA + 32, 3),
                                            device_writes(DATA + 64, 4)};
    struct format_bed *bed = *state;

    for (uint16_t start = 1; start < 5; start++) {
        for (unsigned wrap = 0; wrap < 2; wrap++) {
            uint32_t id;

            format_bed_start_packed_at(bed, 5, (uint16_t)(start | (wrap ? PACKED_WRAP : 0)), ALL);
            id = format_bed_offer(bed, buffer, 4, CHAIN_DIRECT);
            chain_expect_spans(&bed->ram, format_bed_pop(bed), buffer, 4);
            format_bed_complete(bed, bed->batch.chain[0].token, 7);
            format_bed_expect_used(bed, id, 7);
            format_bed_round_trip(bed);
        }
    }
}

/* R19: one list takes the whole ring, so that it ends where it began. */
static void R19_list_as_long_as_the_ring(void **state)
{
    static const unsigned size[] = {1, 3, 64, 1000};
    struct driver_buffer buffer[1000];
    struct format_bed *bed = *state;

    for (unsigned i = 0; i < 1000; i++)
        buffer[i] = device_writes(DATA + 8 * i, 8);
    for (unsigned i = 0; i < 4; i++) {
        format_bed_start(bed, size[i], ALL);
        for (unsigned lap = 0; lap < 5; lap++) {
            uint32_t id = format_bed_offer(bed, buffer, size[i], CHAIN_DIRECT);
            struct chain *chain = format_bed_pop(bed);

            assert_int_equal(chain->fault, CHAIN_FAULT_NONE);
            assert_int_equal(chain->writable_count, size[i]);
            assert_int_equal(bed->queue.in_flight, size[i]);
            if (lap == 2) { /* and back, and once more */
                virtqueue_unpop(&bed->queue, &bed->batch, 0);
                chain = format_bed_pop(bed);
            }
            format_bed_complete(bed, chain->token, 8 * size[i]);
            format_bed_expect_used(bed, id, 8 * size[i]);
        }
    }
}

/* ---- a frame in several buffers ---- */

enum {
    FRAME_BUFFERS = 4,
    FRAMES = 4000,
};

struct watcher {
    struct format_bed *bed;
    unsigned frames;
    unsigned torn; /* frames of which a part was missing when the first buffer was there */
    int stop;
};

static void *watch(void *context)
{
    struct watcher *watcher = context;
    struct driver_packed *packed = &watcher->bed->packed;
    struct driver_used used;

    while (watcher->frames < FRAMES && !__atomic_load_n(&watcher->stop, __ATOMIC_RELAXED)) {
        if (!packed->ring.ops->take(&packed->ring, &used))
            continue;
        for (unsigned i = 1; i < FRAME_BUFFERS; i++)
            watcher->torn += !packed->ring.ops->take(&packed->ring, &used);
        __atomic_store_n(&watcher->frames, watcher->frames + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* A reader spins on the ring: whenever the first slot is used, so are all of that flush. */
static void PKD_09_first_slot_of_a_frame_is_shown_last(void **state)
{
    struct format_bed bed;
    struct watcher watcher = {.bed = &bed};
    struct driver_buffer buffer = device_writes(DATA, 64);
    pthread_t thread;
    uint64_t end = now_ms() + 60000;

    (void)state;
    assert_int_equal(format_bed_init(&bed, FORMAT_BED_ONE_MAPPING), 0);
    format_bed_start(&bed, 7, PACKED);
    assert_int_equal(pthread_create(&thread, NULL, watch, &watcher), 0);
    for (unsigned n = 0; n < FRAMES && now_ms() < end; n++) {
        for (unsigned i = 0; i < FRAME_BUFFERS; i++)
            format_bed_offer(&bed, &buffer, 1, CHAIN_DIRECT);
        assert_int_equal(format_bed_pop_many(&bed, 8), FRAME_BUFFERS);
        for (unsigned i = 0; i < FRAME_BUFFERS; i++)
            virtqueue_push(&bed.queue, bed.batch.chain[i].token, 64);
        virtqueue_flush(&bed.queue);
        while (__atomic_load_n(&watcher.frames, __ATOMIC_ACQUIRE) <= n && now_ms() < end)
            sched_yield();
    }
    __atomic_store_n(&watcher.stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(watcher.torn, 0);
    assert_int_equal(watcher.frames, FRAMES);
    format_bed_free(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FORMAT_BED_TEST(PKD_01_wrap_counters_of_all_sizes),
        FORMAT_BED_TEST(PKD_01_largest_ring),
        FORMAT_BED_TEST(PKD_01_full_ring_from_every_position),
        FORMAT_BED_TEST(PKD_02_only_one_pair_of_bits_is_available),
        FORMAT_BED_TEST(PKD_03_used_slots_stand_in_order_of_completion),
        FORMAT_BED_TEST(PKD_04_PKD_05_words_of_a_used_slot),
        FORMAT_BED_TEST(PKD_04_id_of_an_indirect_list_is_that_of_its_slot),
        FORMAT_BED_TEST(PKD_04_used_slot_is_left_alone),
        FORMAT_BED_TEST(PKD_06_readable_buffers_and_tables_are_only_read),
        FORMAT_BED_TEST(PKD_07_shapes_and_order_of_a_list),
        FORMAT_BED_TEST(PKD_08_flags_and_ids_in_a_table_are_ignored),
        FORMAT_BED_TEST(PKD_13_list_over_the_end_of_the_ring),
        FORMAT_BED_TEST(R19_list_as_long_as_the_ring),
        cmocka_unit_test(PKD_09_first_slot_of_a_frame_is_shown_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
