/* SPDX-License-Identifier: MIT */
/* Malformed packed rings (PKD-BAD): a chain with a fault, completed unused, or a latched ring. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "clockwork.h"
#include "format_bed.h"

enum {
    PACKED = VIRTQUEUE_PACKED,
    ALL = VIRTQUEUE_PACKED | VIRTQUEUE_INDIRECT | VIRTQUEUE_EVENT_IDX,
};

#define DATA FORMAT_BED_NEXT_GPA
#define HOLE FORMAT_BED_END_GPA

/* ---- rings that latch ---- */

static void expect_latched(struct format_bed *bed, enum queue_fault fault)
{
    assert_int_equal(format_bed_pop_many(bed, 64), 0);
    assert_int_equal(format_bed_pop_many(bed, 64), 0);
    assert_int_equal(virtqueue_arm(&bed->queue), 0); /* nothing to hurry for */
    assert_int_equal(bed->queue.fault, fault);
}

/* A reset of the ring, and all is well. */
static void expect_recovery(struct format_bed *bed, unsigned size)
{
    format_bed_start(bed, size, ALL);
    for (unsigned i = 0; i < 2 * size; i++)
        format_bed_round_trip(bed);
}

/* Every slot says NEXT, so that no list ends. */
static void PKD_BAD_01_list_without_end(void **state)
{
    static const unsigned size[] = {1, 3, 64, 1000, 32768};
    struct format_bed *bed = *state;

    for (unsigned i = 0; i < 5; i++) {
        for (unsigned start = 0; start < 2 && start < size[i]; start++) {
            format_bed_start_packed_at(bed, size[i], (uint16_t)(start | PACKED_WRAP), ALL);
            for (unsigned n = 0; n < size[i]; n++) {
                struct packed_place at = packed_place_after(&bed->packed, bed->packed.next, n);
                struct packed_slot slot = {
                    .addr = DATA, .len = 1, .flags = SLOT_NEXT | packed_avail_bits(at)};

                driver_packed_write_slot(&bed->packed, at.slot, &slot);
            }
            expect_latched(bed, QUEUE_FAULT_LIST_ENDLESS);
        }
    }
    expect_recovery(bed, 5);
}

/* The first slot is shown, a later one is not, or is of another lap. Lists before it are good. */
static void PKD_BAD_02_list_shown_before_its_end(void **state)
{
    struct driver_buffer buffer = device_reads(DATA, 77);
    struct format_bed *bed = *state;

    for (unsigned missing = 1; missing < 4; missing++) {
        for (unsigned bits = 0; bits < 3; bits++) {
            static const uint16_t wrong[3] = {0, SLOT_AVAIL | SLOT_USED, SLOT_USED};

            format_bed_start(bed, 8, ALL);
            format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
            format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
            for (unsigned i = 4; i-- > 0;) {
                struct packed_slot slot = {
                    .addr = DATA,
                    .len = 1,
                    .flags = (uint16_t)((i < 3 ? SLOT_NEXT : 0) |
                                        (i == missing ? wrong[bits] : SLOT_AVAIL))};

                driver_packed_write_slot(&bed->packed, 2 + i, &slot);
            }
            assert_int_equal(format_bed_pop_many(bed, 64), 2);
            assert_int_equal(bed->queue.fault, QUEUE_FAULT_LIST_PARTIAL);
            virtqueue_push(&bed->queue, bed->batch.chain[1].token, 0);
            virtqueue_flush(&bed->queue); /* what was taken may still be finished */
            assert_int_equal(bed->queue.in_flight, 1);
            expect_latched(bed, QUEUE_FAULT_LIST_PARTIAL);
        }
    }
    expect_recovery(bed, 8);
}

/* All slots available once more while they are in flight: more in flight than the ring holds. */
static void R09_slots_offered_again_before_they_are_used(void **state)
{
    struct packed_slot slot = {.addr = DATA, .len = 1};
    struct format_bed *bed = *state;

    format_bed_start(bed, 4, ALL);
    for (unsigned lap = 0; lap < 2; lap++) {
        for (unsigned i = 0; i < 4; i++) {
            slot.flags = lap == 0 ? SLOT_AVAIL : SLOT_USED;
            driver_packed_write_slot(&bed->packed, i, &slot);
        }
        assert_int_equal(format_bed_pop_many(bed, 64), lap == 0 ? 4 : 0);
    }
    expect_latched(bed, QUEUE_FAULT_AVAIL_JUMP);
    assert_int_equal(bed->queue.in_flight, 4);
    expect_recovery(bed, 4);
}

/* The queue has latched over lost memory: nothing is written behind that, and it comes back. */
static void ring_memory_goes_away_with_chains_in_flight(void **state)
{
    struct driver_buffer buffer = device_writes(DATA, 77);
    struct format_bed *bed = *state;
    uint32_t token;

    format_bed_start(bed, 4, ALL);
    format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    token = format_bed_pop(bed)->token;
    virtqueue_push(&bed->queue, token, 1);
    virtqueue_remap(&bed->queue, NULL);
    virtqueue_flush(&bed->queue);
    virtqueue_push(&bed->queue, token, 1);
    virtqueue_disarm(&bed->queue);
    expect_latched(bed, QUEUE_FAULT_MEMORY);
    virtqueue_remap(&bed->queue, bed->memory); /* too late: what was pushed meanwhile is lost */
    expect_latched(bed, QUEUE_FAULT_MEMORY);
    virtqueue_stop(&bed->queue);
    format_bed_expect_no_used(bed);
    expect_recovery(bed, 4);
}

/* ---- lists with a fault ---- */

/* The raw list has this fault, is completed with length 0, and the next one stands behind it. */
static void expect_fault(struct format_bed *bed, const struct packed_slot *list, unsigned count,
                         enum chain_fault fault)
{
    uint16_t id = driver_packed_offer(&bed->packed, list, count);
    struct chain *chain = format_bed_pop(bed);

    check(chain->fault == fault, "fault %s instead of %s",
          chain_fault_name((enum chain_fault)chain->fault), chain_fault_name(fault));
    assert_int_equal(chain->readable_count + chain->writable_count, 0);
    assert_int_equal(bed->batch.iov_used, 0);
    format_bed_complete(bed, chain->token, 0);
    format_bed_expect_used(bed, id, 0);
    format_bed_round_trip(bed);
    assert_int_equal(bed->queue.fault, QUEUE_FAULT_NONE);
}

/* virtio 1.4, 2.8.3.3: any id the driver likes, also twice: it gets back what it wrote. */
static void PKD_BAD_03_ids_are_echoed_as_they_are(void **state)
{
    static const uint16_t id[] = {0, 4, 5, 0x7fff, 0x8000, 0xffff, 4, 4};
    struct packed_slot slot = {.addr = DATA, .len = 9, .flags = SLOT_WRITE};
    struct format_bed *bed = *state;

    format_bed_start(bed, 8, ALL);
    for (unsigned i = 0; i < 8; i++) {
        slot.id = id[i];
        slot.flags = SLOT_WRITE | SLOT_AVAIL;
        driver_packed_write_slot(&bed->packed, i, &slot);
    }
    assert_int_equal(format_bed_pop_many(bed, 64), 8);
    for (unsigned i = 0; i < 8; i++)
        virtqueue_push(&bed->queue, bed->batch.chain[i].token, i);
    virtqueue_flush(&bed->queue);
    for (unsigned i = 0; i < 8; i++) {
        slot = driver_packed_read_slot(&bed->packed, i);
        assert_int_equal(slot.id, id[i]);
        assert_int_equal(slot.flags & (SLOT_AVAIL | SLOT_USED), SLOT_AVAIL | SLOT_USED);
        assert_true(i == 0 || slot.len == i);
    }
    assert_int_equal(bed->queue.in_flight, 0);
}

static void PKD_BAD_04_table_in_a_list(void **state)
{
    struct format_bed *bed = *state;
    struct packed_slot list[3] = {{DATA, 10, 1, 0}, {DATA, 16, 1, 0}, {DATA, 10, 1, 0}};

    format_bed_start(bed, 7, ALL);
    for (unsigned lap = 0; lap < 7; lap++) {
        for (unsigned at = 0; at < 3; at++) {
            for (unsigned i = 0; i < 3; i++)
                list[i].flags = i == at ? SLOT_INDIRECT : 0;
            expect_fault(bed, list, 3, CHAIN_FAULT_INDIRECT_FLAGS);
            expect_fault(bed, list + (at == 2), 2, CHAIN_FAULT_INDIRECT_FLAGS);
            if (at == 1)
                break; /* the pair of the last two has it too */
        }
        list[0].flags = list[1].flags = list[2].flags = SLOT_INDIRECT;
        expect_fault(bed, list, 3, CHAIN_FAULT_INDIRECT_FLAGS);
    }
}

static void PKD_BAD_05_indirect_not_agreed(void **state)
{
    struct packed_slot slot = {DATA, 16, 1, SLOT_INDIRECT};
    struct format_bed *bed = *state;

    format_bed_start(bed, 4, PACKED);
    expect_fault(bed, &slot, 1, CHAIN_FAULT_INDIRECT_UNAGREED);
}

static void PKD_BAD_06_tables_that_are_not(void **state)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
        enum chain_fault fault;
    } cases[] = {
        {DATA, 0, CHAIN_FAULT_INDIRECT_LEN},
        {DATA, 1, CHAIN_FAULT_INDIRECT_LEN},
        {DATA, 17, CHAIN_FAULT_INDIRECT_LEN},
        {DATA, 16 * (VIRTQUEUE_CHAIN_MIN + 1), CHAIN_FAULT_INDIRECT_LEN},
        {DATA, UINT32_MAX, CHAIN_FAULT_INDIRECT_LEN},
        {DATA, UINT32_MAX & ~15u, CHAIN_FAULT_INDIRECT_LEN},
        {HOLE, 16, CHAIN_FAULT_INDIRECT_ADDRESS},
        {0, 16, CHAIN_FAULT_INDIRECT_ADDRESS},
        {HOLE - 16, 32, CHAIN_FAULT_INDIRECT_ADDRESS}, /* begins in memory, ends in the hole */
        {HOLE - 8, 16, CHAIN_FAULT_INDIRECT_ADDRESS},
        {UINT64_MAX - 15, 16, CHAIN_FAULT_INDIRECT_ADDRESS},
        {UINT64_MAX - 15, 64, CHAIN_FAULT_INDIRECT_ADDRESS}, /* wraps to 0 */
        {UINT64_MAX, 16, CHAIN_FAULT_INDIRECT_ADDRESS},
    };
    struct format_bed *bed = *state;

    format_bed_start(bed, 5, ALL);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct packed_slot slot = {cases[i].addr, cases[i].len, 2, SLOT_INDIRECT};

        expect_fault(bed, &slot, 1, cases[i].fault);
    }
}

/* Legal, if unusual: a table of the longest length, one at an odd address, one over a border. */
static void PKD_BAD_06_odd_tables_that_are_good(void **state)
{
    static const struct {
        uint64_t addr;
        unsigned count;
    } cases[] = {{DATA + 0x8000, VIRTQUEUE_CHAIN_MIN}, {DATA + 0x8001, 3}, {DATA - 24, 3}};
    struct format_bed *bed = *state;

    format_bed_start(bed, 5, ALL);
    for (unsigned i = 0; i < 3; i++) {
        struct packed_slot slot = {cases[i].addr, 16 * cases[i].count, 2, SLOT_INDIRECT};
        struct packed_slot entry = {.addr = DATA + 0x100, .len = 3};
        uint8_t bytes[16] = {0};

        wire_put64(bytes, entry.addr, WIRE_LITTLE);
        wire_put32(bytes + 8, entry.len, WIRE_LITTLE);
        for (unsigned byte = 0; byte < 16 * cases[i].count; byte++)
            *(uint8_t *)guest_ram_at(&bed->ram, cases[i].addr + byte, 1) = bytes[byte % 16];
        driver_packed_offer(&bed->packed, &slot, 1);
        assert_int_equal(format_bed_pop(bed)->fault, CHAIN_FAULT_NONE);
        assert_int_equal(bed->batch.chain[0].readable_len, 3 * cases[i].count);
        format_bed_complete(bed, bed->batch.chain[0].token, 0);
        format_bed_expect_used(bed, 2, 0);
    }
}

static void PKD_BAD_07_buffers_that_are_not_memory(void **state)
{
    static const struct {
        struct packed_slot list[3];
        unsigned count;
        enum chain_fault fault;
    } cases[] = {
        {{{HOLE, 1, 1, 0}}, 1, CHAIN_FAULT_ADDRESS},
        {{{0, 1, 1, SLOT_WRITE}}, 1, CHAIN_FAULT_ADDRESS},
        {{{HOLE - 1, 2, 1, SLOT_WRITE}}, 1, CHAIN_FAULT_ADDRESS}, /* R01, R02 */
        {{{DATA, 0x10000000, 1, 0}}, 1, CHAIN_FAULT_ADDRESS},
        {{{UINT64_MAX, 2, 1, 0}}, 1, CHAIN_FAULT_ADDRESS}, /* R20 */
        {{{UINT64_MAX - 1, 2, 1, SLOT_WRITE}}, 1, CHAIN_FAULT_ADDRESS},
        {{{DATA, 8, 1, 0}, {HOLE, 8, 1, 0}}, 2, CHAIN_FAULT_ADDRESS},
        {{{HOLE, 8, 1, 0}, {DATA, 8, 1, 0}}, 2, CHAIN_FAULT_ADDRESS},
        {{{DATA, 8, 1, SLOT_WRITE}, {DATA, 8, 1, 0}}, 2, CHAIN_FAULT_ORDER},
        {{{DATA, 8, 1, 0}, {DATA, 8, 1, SLOT_WRITE}, {DATA, 8, 1, 0}}, 3, CHAIN_FAULT_ORDER},
        {{{DATA, 8, 1, 0}, {DATA, UINT32_MAX, 1, 0}}, 2, CHAIN_FAULT_TOO_LARGE},
        {{{DATA, 8, 1, 0}, {DATA, UINT32_MAX, 1, SLOT_WRITE}}, 2, CHAIN_FAULT_TOO_LARGE},
    };
    struct format_bed *bed = *state;

    format_bed_start(bed, 7, ALL);
    for (unsigned lap = 0; lap < 7; lap++) {
        for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
            expect_fault(bed, cases[i].list, cases[i].count, cases[i].fault);
    }
}

/* R10: nothing in it, and nothing of it left out. */
static void PKD_BAD_07_empty_buffers_are_skipped(void **state)
{
    struct packed_slot list[3] = {{DATA, 0, 1, 0}, {DATA, 5, 1, 0}, {HOLE, 0, 1, SLOT_WRITE}};
    struct format_bed *bed = *state;
    struct chain *chain;

    format_bed_start(bed, 4, ALL);
    driver_packed_offer(&bed->packed, list, 3);
    chain = format_bed_pop(bed);
    assert_int_equal(chain->fault, CHAIN_FAULT_NONE);
    assert_int_equal(chain->readable_len, 5);
    assert_int_equal(chain->readable_count, 1);
    assert_int_equal(chain->writable_count, 0);
    format_bed_complete(bed, chain->token, 0);
    format_bed_expect_used(bed, 1, 0);
    list[0].flags = 0;
    driver_packed_offer(&bed->packed, list, 1);
    assert_int_equal(format_bed_pop(bed)->readable_len, 0);
    format_bed_complete(bed, bed->batch.chain[0].token, 0);
    format_bed_expect_used(bed, 1, 0);
    format_bed_round_trip(bed);
}

/* ---- words that mean nothing ---- */

static void PKD_BAD_08_event_words_at_random(void **state)
{
    struct driver_buffer buffer = device_writes(DATA, 8);
    struct format_bed *bed = *state;
    uint32_t noise = 12345;

    format_bed_start(bed, 5, ALL);
    for (unsigned i = 0; i < 20000; i++) {
        struct packed_event_words words;

        noise = noise * 1664525u + 1013904223u;
        words = (struct packed_event_words){(uint16_t)(noise >> 16), (uint16_t)(noise >> 3)};
        if (i % 4 == 0)
            words.flags = EVENT_SLOT;
        driver_packed_store_event(&bed->packed, words);
        format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
        format_bed_complete(bed, format_bed_pop(bed)->token, 8);
        bed->ring->ops->take(bed->ring, &(struct driver_used){0});
    }
    assert_true(bed->fires <= 20000);
    bed->ring->ops->interrupts(bed->ring, INTERRUPTS_ON);
    bed->fires = 0;
    format_bed_round_trip(bed);
    assert_int_equal(bed->fires, 1);
}

struct flipper {
    uint8_t *ring; /* a mapping of its own, as another process has it */
    unsigned size;
    int stop;
};

/* Swaps lengths and addresses of shown slots between good and bad as fast as it can. */
static void *flip(void *context)
{
    struct flipper *flipper = context;
    uint32_t noise = 7;

    while (!__atomic_load_n(&flipper->stop, __ATOMIC_RELAXED)) {
        uint8_t *slot = flipper->ring + 16 * (noise % flipper->size);

        noise = noise * 1664525u + 1013904223u;
        __atomic_store_n((uint64_t *)slot, noise & 64 ? DATA : HOLE - 8, __ATOMIC_RELAXED);
        __atomic_store_n((uint32_t *)(slot + 8), noise & 128 ? 8 : 4096, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Whatever is read second is not trusted: a chain is inside memory, or it has a fault. */
static void PKD_BAD_09_slots_rewritten_while_they_are_read(void **state)
{
    struct driver_buffer buffer[2] = {device_writes(DATA, 8), device_writes(DATA, 8)};
    struct format_bed *bed = *state;
    struct flipper flipper = {.size = 8};
    unsigned good = 0, bad = 0;
    uint64_t end = now_ms() + 3000;
    pthread_t thread;

    format_bed_start(bed, 8, ALL);
    flipper.ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
                        bed->ram.region[FORMAT_BED_DATA].fd, 0);
    assert_true(flipper.ring != MAP_FAILED);
    assert_int_equal(bed->ring->desc_area, FORMAT_BED_DATA_GPA);
    assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
    while (now_ms() < end && (good < 2000 || bad < 2000)) {
        uint32_t id = format_bed_offer(bed, buffer, 2, CHAIN_DIRECT);
        struct chain *chain = format_bed_pop(bed);

        for (unsigned i = 0; i < chain->writable_count; i++)
            memset(chain->iov[i].iov_base, 0x55, chain->iov[i].iov_len); /* ASan looks */
        good += chain->fault == CHAIN_FAULT_NONE;
        bad += chain->fault == CHAIN_FAULT_ADDRESS;
        format_bed_complete(bed, chain->token, 0);
        format_bed_expect_used(bed, id, 0);
    }
    __atomic_store_n(&flipper.stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    munmap(flipper.ring, 4096);
    assert_true(good > 0 && bad > 0);
}

/* Withdrawn after it was taken: it is completed all the same, once. */
static void PKD_BAD_10_slot_withdrawn_after_it_was_taken(void **state)
{
    struct packed_slot slot = {.addr = DATA, .len = 8, .id = 1, .flags = SLOT_WRITE};
    struct format_bed *bed = *state;
    struct chain *chain;

    format_bed_start(bed, 4, ALL);
    driver_packed_offer(&bed->packed, &slot, 1);
    chain = format_bed_pop(bed);
    slot = (struct packed_slot){0};
    driver_packed_write_slot(&bed->packed, 0, &slot);
    assert_int_equal(chain->writable_len, 8);
    format_bed_complete(bed, chain->token, 8);
    format_bed_expect_used(bed, 1, 8);
    format_bed_expect_no_used(bed);
    format_bed_round_trip(bed);
}

/* ---- rings that must not start ---- */

static int starts(struct format_bed *bed, const struct virtqueue_config *config)
{
    struct error err = {""};
    int result = virtqueue_start(&bed->queue, config, bed->memory, &err);

    assert_true(result == 0 || result == -EINVAL);
    assert_int_equal(result != 0, err.text[0] != 0);
    if (result == 0)
        virtqueue_stop(&bed->queue);
    else
        assert_false(bed->queue.running);
    return result == 0;
}

static void PKD_BAD_11_sizes_and_places(void **state)
{
    static const struct {
        uint64_t desc, driver, device;
        uint16_t size;
        int good;
    } cases[] = {
        {DATA, DATA + 0x90000, DATA + 0xa0000, 0, 0},
        {DATA, DATA + 0x90000, DATA + 0xa0000, 1, 1},
        {DATA, DATA + 0x90000, DATA + 0xa0000, 32768, 1},
        {DATA, DATA + 0x90000, DATA + 0xa0000, 32769, 0},
        {DATA, DATA + 0x90000, DATA + 0xa0000, 65535, 0},
        {DATA + 8, DATA + 0x90000, DATA + 0xa0000, 5, 0},
        {DATA, DATA + 0x90002, DATA + 0xa0000, 5, 0},
        {DATA, DATA + 0x90000, DATA + 0xa0002, 5, 0},
        {HOLE - 80, DATA, DATA + 64, 5, 1},
        {HOLE - 64, DATA, DATA + 64, 5, 0},
        {DATA, HOLE - 4, DATA + 0x100, 5, 1},
        {DATA, HOLE, DATA + 0x100, 5, 0},
        {DATA, DATA + 0x100, HOLE - 4, 5, 1},
        {DATA, DATA + 0x100, HOLE, 5, 0},
        {DATA, UINT64_MAX - 3, DATA + 0x100, 5, 0},
        {UINT64_MAX - 15, DATA, DATA + 0x100, 5, 0},
        {DATA - 32, DATA + 0x100, DATA + 0x200, 5, 0}, /* over a border: not in a row on the host */
        {0, DATA, DATA + 0x100, 5, 0},
    };
    struct format_bed *bed = *state;

    format_bed_start(bed, 5, ALL);
    virtqueue_stop(&bed->queue);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct virtqueue_config config = format_bed_config(bed);

        config.size = cases[i].size;
        config.base = 0;
        config.desc_gpa = cases[i].desc;
        config.driver_gpa = cases[i].driver;
        config.device_gpa = cases[i].device;
        check(starts(bed, &config) == cases[i].good, "case %u", i);
    }
}

static void PKD_BAD_12_position_beyond_the_ring(void **state)
{
    static const struct {
        uint32_t base;
        int good;
    } cases[] = {
        {0x80048004, 1}, {0x80058004, 0}, {0x80048005, 0}, {0x80058005, 0}, {0x00058004, 0},
        {5, 0},          {0x7fff, 0},     {0xffff, 0},     {0xffffffff, 0}, {4, 1},
        {0x00040004, 1}, {0x80040004, 1}, {0xffff8000, 0},
    };
    struct format_bed *bed = *state;

    format_bed_start(bed, 5, ALL);
    virtqueue_stop(&bed->queue);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct virtqueue_config config = format_bed_config(bed);

        config.base = cases[i].base;
        check(starts(bed, &config) == cases[i].good, "base 0x%x", cases[i].base);
    }
}

/* ---- rubbish ---- */

static void use_up(struct format_bed *bed)
{
    for (unsigned turn = 0; turn < 50; turn++) {
        unsigned count = format_bed_pop_many(bed, 64);

        assert_true(bed->queue.in_flight <= bed->ring->size);
        for (unsigned i = 0; i < count; i++) {
            const struct chain *chain = &bed->batch.chain[i];
            const struct iovec *iov = chain->iov + chain->readable_count;

            for (unsigned k = 0; k < chain->writable_count; k++)
                memset(iov[k].iov_base, 1, iov[k].iov_len);
            virtqueue_push(&bed->queue, chain->token, chain->writable_len);
        }
        virtqueue_flush(&bed->queue);
        virtqueue_arm(&bed->queue);
        virtqueue_disarm(&bed->queue);
    }
    assert_true(virtqueue_stop(&bed->queue) != UINT32_MAX);
}

static void PKD_BAD_13_ring_full_of_anything_at_the_start(void **state)
{
    struct format_bed *bed = *state;
    uint32_t noise = 99;

    for (unsigned n = 0; n < 600; n++) {
        unsigned size = n % 3 == 0 ? 3 : 64;
        struct virtqueue_config config;
        uint8_t *ring;

        format_bed_start(bed, size, ALL);
        virtqueue_stop(&bed->queue);
        ring = guest_ram_at(&bed->ram, bed->ring->desc_area, 16 * size);
        memset(ring, 0xff, 16 * size);
        for (unsigned i = 0; n > 1 && i < 16 * size; i++) {
            noise = noise * 1664525u + 1013904223u;
            ring[i] = (uint8_t)(noise >> 24);
        }
        for (unsigned i = 0; n % 2 == 0 && i < size; i++) /* addresses that exist */
            wire_put64(ring + 16 * i, DATA + 0x40000 + ring[16 * i], WIRE_LITTLE);
        config = format_bed_config(bed);
        config.base = n % 5 == 0 ? 0 : 0x80008000;
        assert_int_equal(virtqueue_start(&bed->queue, &config, bed->memory, NULL), 0);
        assert_true(n != 0 || format_bed_pop_many(bed, 64) == 0); /* all ones: not available */
        use_up(bed);
    }
    expect_recovery(bed, 7);
}

static void PKD_BAD_14_event_words_inside_the_ring_or_a_buffer(void **state)
{
    struct driver_buffer buffer = device_writes(DATA + 0x40000, 64);
    struct format_bed *bed = *state;

    for (unsigned n = 0; n < 64; n++) {
        struct virtqueue_config config;

        format_bed_start(bed, 8, ALL);
        virtqueue_stop(&bed->queue);
        config = format_bed_config(bed);
        config.driver_gpa = n % 2 ? config.desc_gpa + 4 * (n / 2) : DATA + 0x40000;
        config.device_gpa = n % 4 < 2 ? config.desc_gpa + 4 * (n / 2) : DATA + 0x40004;
        assert_int_equal(virtqueue_start(&bed->queue, &config, bed->memory, NULL), 0);
        for (unsigned i = 0; i < 8; i++)
            format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
        use_up(bed);
    }
    expect_recovery(bed, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FORMAT_BED_TEST(PKD_BAD_01_list_without_end),
        FORMAT_BED_TEST(PKD_BAD_02_list_shown_before_its_end),
        FORMAT_BED_TEST(R09_slots_offered_again_before_they_are_used),
        FORMAT_BED_TEST(ring_memory_goes_away_with_chains_in_flight),
        FORMAT_BED_TEST(PKD_BAD_03_ids_are_echoed_as_they_are),
        FORMAT_BED_TEST(PKD_BAD_04_table_in_a_list),
        FORMAT_BED_TEST(PKD_BAD_05_indirect_not_agreed),
        FORMAT_BED_TEST(PKD_BAD_06_tables_that_are_not),
        FORMAT_BED_TEST(PKD_BAD_06_odd_tables_that_are_good),
        FORMAT_BED_TEST(PKD_BAD_07_buffers_that_are_not_memory),
        FORMAT_BED_TEST(PKD_BAD_07_empty_buffers_are_skipped),
        FORMAT_BED_TEST(PKD_BAD_08_event_words_at_random),
        FORMAT_BED_TEST(PKD_BAD_09_slots_rewritten_while_they_are_read),
        FORMAT_BED_TEST(PKD_BAD_10_slot_withdrawn_after_it_was_taken),
        FORMAT_BED_TEST(PKD_BAD_11_sizes_and_places),
        FORMAT_BED_TEST(PKD_BAD_12_position_beyond_the_ring),
        FORMAT_BED_TEST(PKD_BAD_13_ring_full_of_anything_at_the_start),
        FORMAT_BED_TEST(PKD_BAD_14_event_words_inside_the_ring_or_a_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
