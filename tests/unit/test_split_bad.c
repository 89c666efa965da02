/* SPDX-License-Identifier: MIT */
/*
 * Malformed split rings (conformance.md 2.2) against the ring alone: each chain fault by name, each
 * latch, and that the ring still works after a bad chain. What the NIC makes of it is
 * tests/conformance' business.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "ring_bed.h"

enum {
    ALL = VIRTQUEUE_INDIRECT | VIRTQUEUE_EVENT_IDX,
    SIZE = 16,
};

#define DATA RING_BED_DATA_GPA

/* A chain of raw descriptors in the ring, linked as they say; pops it and answers its fault. */
static unsigned fault_of(struct ring_bed *bed, const struct driver_desc *desc, unsigned count)
{
    unsigned fault;
    struct chain *chain;

    virtqueue_stop(&bed->queue);
    ring_bed_start(bed, SIZE, 0, ALL);
    for (unsigned i = 0; i < count; i++)
        driver_split_claim(&bed->split);
    for (unsigned i = 0; i < count; i++)
        driver_split_write_desc(&bed->split, i, &desc[i]);
    ring_bed_offer_raw(bed, 0);
    chain = ring_bed_pop(bed);
    fault = chain->fault;
    assert_int_equal(chain->token, 0);
    if (fault != CHAIN_FAULT_NONE)
        assert_int_equal(chain->readable_count + chain->writable_count, 0);
    ring_bed_complete(bed, 0, 0);
    assert_int_equal(bed->queue.fault, QUEUE_FAULT_NONE);
    bed->split.used_idx = driver_split_used_idx(&bed->split);
    if (count < SIZE - 1)
        ring_bed_round_trip(bed);
    return fault;
}

static unsigned fault_of_one(struct ring_bed *bed, uint64_t addr, uint32_t len, uint16_t flags)
{
    struct driver_desc desc = {.addr = addr, .len = len, .flags = flags};

    return fault_of(bed, &desc, 1);
}

/* The same for the entries of an indirect table. */
static unsigned fault_of_table(struct ring_bed *bed, const struct driver_desc *entry,
                               unsigned count)
{
    uint64_t table = guest_ram_alloc(&bed->ram, RING_BED_DRIVER, 16 * count, 16);

    for (unsigned i = 0; i < count; i++)
        driver_split_write_desc_at(&bed->split, table + 16 * i, &entry[i]);
    return fault_of_one(bed, table, 16 * count, DESC_INDIRECT);
}

static void SPL_BAD_01_head_beyond_the_table(void **state)
{
    static const uint16_t head[] = {SIZE, SIZE + 1, 0x7fff, 0xffff};
    struct ring_bed *bed = *state;

    for (unsigned i = 0; i < 4; i++) {
        ring_bed_start(bed, SIZE, 0, ALL);
        ring_bed_offer_raw(bed, head[i]);
        chain_batch_reset(&bed->batch);
        assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
        assert_int_equal(bed->queue.fault, QUEUE_FAULT_HEAD_RANGE);
        assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
        assert_int_equal(virtqueue_arm(&bed->queue), 0);
        assert_int_equal(driver_split_used_idx(&bed->split), 0);
        virtqueue_stop(&bed->queue);
    }
}

static void SPL_BAD_01_good_chains_before_the_bad_head_are_served(void **state)
{
    const struct driver_buffer buffer = {DATA, 60, DEVICE_READS};
    struct ring_bed *bed = *state;
    uint16_t head;

    ring_bed_start(bed, SIZE, 0, ALL);
    head = ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    ring_bed_offer_raw(bed, 999);
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 1);
    assert_int_equal(bed->batch.chain[0].token, head);
    ring_bed_complete(bed, head, 0);
    assert_int_equal(driver_split_used_idx(&bed->split), 1);
}

static void SPL_BAD_02_available_index_jumps(void **state)
{
    static const uint16_t jump[] = {SIZE + 1, 0x100, 0x8000, 0xffff};
    struct ring_bed *bed = *state;

    for (unsigned i = 0; i < 4; i++) {
        ring_bed_start(bed, SIZE, 0xfff8, ALL);
        driver_split_store_avail_idx(&bed->split, (uint16_t)(0xfff8 + jump[i]));
        chain_batch_reset(&bed->batch);
        assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
        assert_int_equal(bed->queue.fault, QUEUE_FAULT_AVAIL_JUMP);
        assert_int_equal(virtqueue_arm(&bed->queue), 0);
        virtqueue_stop(&bed->queue);
    }
}

static void SPL_BAD_02_a_full_ring_is_no_jump(void **state)
{
    const struct driver_buffer buffer = {DATA, 60, DEVICE_READS};
    struct ring_bed *bed = *state;

    ring_bed_start(bed, SIZE, 0xfff8, ALL);
    for (unsigned i = 0; i < SIZE; i++)
        ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), SIZE);
}

/* Outstanding heads never exceed the ring (SPL-13), also when the same head comes again and again.
 */
static void SPL_BAD_24_heads_offered_twice_do_not_pile_up(void **state)
{
    const struct driver_buffer buffer = {DATA, 60, DEVICE_READS};
    struct ring_bed *bed = *state;

    ring_bed_start(bed, SIZE, 0, ALL);
    ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    for (unsigned i = 1; i < SIZE; i++)
        ring_bed_offer_raw(bed, 0);
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), SIZE);
    ring_bed_offer_raw(bed, 0);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
    assert_int_equal(bed->queue.fault, QUEUE_FAULT_AVAIL_JUMP);
}

static void SPL_BAD_03_available_index_goes_back(void **state)
{
    struct ring_bed *bed = *state;

    ring_bed_start(bed, SIZE, 0, ALL);
    ring_bed_round_trip(bed);
    ring_bed_round_trip(bed);
    driver_split_store_avail_idx(&bed->split, 1);
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
    assert_int_equal(bed->queue.fault, QUEUE_FAULT_AVAIL_JUMP);
    assert_int_equal(driver_split_used_idx(&bed->split), 2);
}

static void SPL_BAD_04_next_beyond_the_table(void **state)
{
    struct driver_desc desc = {.addr = DATA, .len = 8, .flags = DESC_NEXT, .next = SIZE};

    assert_int_equal(fault_of(*state, &desc, 1), CHAIN_FAULT_NEXT_RANGE);
    desc.next = 0xffff;
    assert_int_equal(fault_of(*state, &desc, 1), CHAIN_FAULT_NEXT_RANGE);
}

static void SPL_BAD_05_loops(void **state)
{
    struct driver_desc desc[SIZE];

    for (unsigned length = 1; length <= SIZE; length++) {
        for (unsigned i = 0; i < length; i++)
            desc[i] = (struct driver_desc){
                .addr = DATA, .len = 8, .flags = DESC_NEXT, .next = (uint16_t)((i + 1) % length)};
        assert_int_equal(fault_of(*state, desc, length), CHAIN_FAULT_TOO_LONG);
    }
}

static void SPL_BAD_06_loop_and_next_beyond_an_indirect_table(void **state)
{
    struct driver_desc self = {.addr = DATA, .len = 8, .flags = DESC_NEXT, .next = 0};
    struct driver_desc pair[2] = {
        {.addr = DATA, .len = 8, .flags = DESC_NEXT, .next = 1},
        {.addr = DATA, .len = 8, .flags = DESC_NEXT, .next = 0},
    };

    ring_bed_start(*state, SIZE, 0, ALL);
    assert_int_equal(fault_of_table(*state, &self, 1), CHAIN_FAULT_TOO_LONG);
    assert_int_equal(fault_of_table(*state, pair, 2), CHAIN_FAULT_TOO_LONG);
    pair[1].next = 2;
    assert_int_equal(fault_of_table(*state, pair, 2), CHAIN_FAULT_NEXT_RANGE);
    pair[1].next = 0xffff;
    assert_int_equal(fault_of_table(*state, pair, 2), CHAIN_FAULT_NEXT_RANGE);
}

/* A direct part and a table that are each legal, together above max(N, 1024). */
static void SPL_BAD_07_direct_and_indirect_above_the_cap(void **state)
{
    struct ring_bed *bed = *state;
    uint64_t table = guest_ram_alloc(&bed->ram, RING_BED_DRIVER, 16 * VIRTQUEUE_CHAIN_MIN, 16);
    struct driver_desc desc[2] = {
        {.addr = DATA, .len = 8, .flags = DESC_NEXT, .next = 1},
        {.addr = table, .len = 16 * VIRTQUEUE_CHAIN_MIN, .flags = DESC_INDIRECT},
    };

    ring_bed_start(bed, SIZE, 0, ALL);
    for (unsigned i = 0; i < VIRTQUEUE_CHAIN_MIN; i++) {
        struct driver_desc entry = {.addr = DATA,
                                    .len = 1,
                                    .flags = i + 1 < VIRTQUEUE_CHAIN_MIN ? DESC_NEXT : 0,
                                    .next = (uint16_t)(i + 1)};

        driver_split_write_desc_at(&bed->split, table + 16 * i, &entry);
    }
    assert_true(fault_of(bed, desc, 2) != CHAIN_FAULT_NONE);
}

static void SPL_BAD_08_chain_total_above_4_gib(void **state)
{
    struct ring_bed *bed = *state;
    struct driver_desc desc[3] = {
        {.addr = DATA, .len = 0x1000, .flags = DESC_NEXT, .next = 1},
        {.addr = DATA, .len = 0x1000, .flags = DESC_NEXT, .next = 2},
        {.addr = DATA, .len = UINT32_MAX},
    };

    assert_true(fault_of(bed, desc, 3) != CHAIN_FAULT_NONE);
    desc[2].flags = DESC_WRITE;
    assert_true(fault_of(bed, desc, 3) != CHAIN_FAULT_NONE);
}

static void SPL_BAD_09_address_outside_memory(void **state)
{
    assert_int_equal(fault_of_one(*state, 0, 64, 0), CHAIN_FAULT_ADDRESS);
    assert_int_equal(fault_of_one(*state, 1ull << 40, 64, 0), CHAIN_FAULT_ADDRESS);
    assert_int_equal(fault_of_one(*state, 1ull << 63, 64, DESC_WRITE), CHAIN_FAULT_ADDRESS);
    assert_int_equal(fault_of_one(*state, DATA - 1, 64, 0), CHAIN_FAULT_ADDRESS);
}

static void SPL_BAD_10_address_plus_length_wraps(void **state)
{
    assert_int_equal(fault_of_one(*state, UINT64_MAX, 2, 0), CHAIN_FAULT_ADDRESS);
    assert_int_equal(fault_of_one(*state, UINT64_MAX - 0xfff, 0x2000, DESC_WRITE),
                     CHAIN_FAULT_ADDRESS);
    assert_int_equal(fault_of_one(*state, DATA, UINT32_MAX, 0), CHAIN_FAULT_ADDRESS);
}

static void SPL_BAD_11_buffer_runs_into_a_hole(void **state)
{
    assert_int_equal(fault_of_one(*state, RING_BED_END_GPA - 1, 1, 0), CHAIN_FAULT_NONE);
    assert_int_equal(fault_of_one(*state, RING_BED_END_GPA - 1, 2, 0), CHAIN_FAULT_ADDRESS);
    assert_int_equal(fault_of_one(*state, RING_BED_END_GPA - 0x1000, 0x10000, DESC_WRITE),
                     CHAIN_FAULT_ADDRESS);
    /* over the border of two regions, and then into the hole */
    assert_int_equal(fault_of_one(*state, RING_BED_NEXT_GPA - 1, 0x100002, 0), CHAIN_FAULT_ADDRESS);
}

static void SPL_BAD_12_write_into_read_only_memory(void **state)
{
    struct ring_bed *bed = *state;
    struct memory_region rom = {.gpa = 0x40000000,
                                .size = 0x1000,
                                .hva = bed->driver_pages,
                                .flags = MEMORY_REGION_READ_ONLY};

    assert_int_equal(guest_memory_add(bed->memory, &rom, NULL), 0);
    assert_int_equal(fault_of_one(bed, 0x40000000, 64, DESC_WRITE), CHAIN_FAULT_ADDRESS);
    assert_int_equal(fault_of_one(bed, 0x40000000, 64, 0), CHAIN_FAULT_NONE);
}

static void SPL_BAD_13_readable_behind_writable(void **state)
{
    struct ring_bed *bed = *state;
    struct driver_desc desc[2] = {
        {.addr = DATA, .len = 8, .flags = DESC_NEXT | DESC_WRITE, .next = 1},
        {.addr = DATA, .len = 8},
    };

    assert_int_equal(fault_of(bed, desc, 2), CHAIN_FAULT_ORDER);
    assert_int_equal(fault_of_table(bed, desc, 2), CHAIN_FAULT_ORDER);
}

static void SPL_BAD_17_empty_descriptors_are_skipped(void **state)
{
    struct ring_bed *bed = *state;
    struct driver_desc desc[3] = {
        {.addr = 0xdead0000, .len = 0, .flags = DESC_NEXT, .next = 1},
        {.addr = DATA, .len = 8, .flags = DESC_NEXT, .next = 2},
        {.addr = UINT64_MAX, .len = 0},
    };
    struct driver_desc empty = {.addr = 0};

    assert_int_equal(fault_of(bed, desc, 3), CHAIN_FAULT_NONE);
    assert_int_equal(fault_of_table(bed, desc, 3), CHAIN_FAULT_NONE);
    assert_int_equal(fault_of(bed, &empty, 1), CHAIN_FAULT_NONE);
    assert_int_equal(bed->batch.chain[0].readable_len + bed->batch.chain[0].writable_len, 300);
}

static void SPL_BAD_18_indirect_without_agreement(void **state)
{
    struct ring_bed *bed = *state;
    struct driver_desc desc = {.addr = DATA, .len = 16, .flags = DESC_INDIRECT};

    ring_bed_start(bed, SIZE, 0, VIRTQUEUE_EVENT_IDX);
    driver_split_write_desc(&bed->split, driver_split_claim(&bed->split), &desc);
    ring_bed_offer_raw(bed, 0);
    assert_int_equal(ring_bed_pop(bed)->fault, CHAIN_FAULT_INDIRECT_UNAGREED);
}

static void SPL_BAD_19_indirect_with_next(void **state)
{
    struct driver_desc desc[2] = {
        {.addr = DATA, .len = 16, .flags = DESC_INDIRECT | DESC_NEXT, .next = 1},
        {.addr = DATA, .len = 8},
    };

    assert_int_equal(fault_of(*state, desc, 2), CHAIN_FAULT_INDIRECT_FLAGS);
}

static void SPL_BAD_20_indirect_inside_a_table(void **state)
{
    struct driver_desc desc = {.addr = DATA, .len = 16, .flags = DESC_INDIRECT};

    ring_bed_start(*state, SIZE, 0, ALL);
    assert_int_equal(fault_of_table(*state, &desc, 1), CHAIN_FAULT_INDIRECT_FLAGS);
}

static void SPL_BAD_21_indirect_length(void **state)
{
    static const uint32_t len[] = {
        0, 1, 15, 17, 24, 0xffffffff, 0xfffffff0, 0x80000000, 16 * (VIRTQUEUE_CHAIN_MIN + 1)};

    for (unsigned i = 0; i < sizeof(len) / sizeof(len[0]); i++)
        assert_int_equal(fault_of_one(*state, DATA, len[i], DESC_INDIRECT),
                         CHAIN_FAULT_INDIRECT_LEN);
}

static void SPL_BAD_22_table_outside_memory(void **state)
{
    assert_int_equal(fault_of_one(*state, 0, 16, DESC_INDIRECT), CHAIN_FAULT_INDIRECT_ADDRESS);
    assert_int_equal(fault_of_one(*state, UINT64_MAX - 7, 16, DESC_INDIRECT),
                     CHAIN_FAULT_INDIRECT_ADDRESS);
    assert_int_equal(fault_of_one(*state, RING_BED_END_GPA - 8, 16, DESC_INDIRECT),
                     CHAIN_FAULT_INDIRECT_ADDRESS);
}

/* A table whose second entry lies over the border of two regions, and one at an odd address. */
static void SPL_BAD_22_table_over_a_border_or_unaligned(void **state)
{
    static const uint64_t table[] = {RING_BED_NEXT_GPA - 24, DATA + 0x4001};
    struct ring_bed *bed = *state;

    for (unsigned i = 0; i < 2; i++) {
        ring_bed_start(bed, SIZE, 0, ALL);
        for (unsigned entry = 0; entry < 3; entry++) {
            uint8_t bytes[16];
            uint64_t at = table[i] + 16 * entry;

            wire_put64(bytes, DATA + 0x100 * entry, WIRE_LITTLE);
            wire_put32(bytes + 8, 10 + entry, WIRE_LITTLE);
            wire_put16(bytes + 12, entry < 2 ? DESC_NEXT : 0, WIRE_LITTLE);
            wire_put16(bytes + 14, (uint16_t)(entry + 1), WIRE_LITTLE);
            for (unsigned byte = 0; byte < 16; byte++)
                *(uint8_t *)guest_ram_at(&bed->ram, at + byte, 1) = bytes[byte];
        }
        assert_int_equal(fault_of_one(bed, table[i], 48, DESC_INDIRECT), CHAIN_FAULT_NONE);
    }
}

static void SPL_BAD_25_unknown_descriptor_flags_are_ignored(void **state)
{
    assert_int_equal(fault_of_one(*state, DATA, 64, 0xfff8), CHAIN_FAULT_NONE);
}

static void SPL_BAD_26_buffers_over_the_rings_are_memory_safe(void **state)
{
    struct ring_bed *bed = *state;
    struct chain *chain;
    struct driver_desc desc;

    ring_bed_start(bed, SIZE, 0, ALL);
    desc = (struct driver_desc){.addr = bed->split.used_gpa, .len = 128, .flags = DESC_WRITE};
    driver_split_write_desc(&bed->split, driver_split_claim(&bed->split), &desc);
    ring_bed_offer_raw(bed, 0);
    chain = ring_bed_pop(bed);
    assert_int_equal(chain->fault, CHAIN_FAULT_NONE);
    memset(chain->iov[0].iov_base, 0xff, chain->iov[0].iov_len);
    ring_bed_complete(bed, 0, 128);
    assert_int_equal(driver_split_used_idx(&bed->split), 1);
}

static void SPL_BAD_27_size_is_refused(void **state)
{
    static const uint16_t size[] = {0, 3, 12, 0xffff, 32769};
    struct ring_bed *bed = *state;
    struct virtqueue_config config;

    ring_bed_start(bed, SIZE, 0, ALL);
    virtqueue_stop(&bed->queue);
    for (unsigned i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        struct error err = {""};

        config = ring_bed_config(bed, ALL);
        config.size = size[i];
        assert_int_equal(virtqueue_start(&bed->queue, &config, bed->memory, &err), -EINVAL);
        assert_true(strlen(err.text) > 10);
        chain_batch_reset(&bed->batch);
        assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
    }
}

static int start_with(struct ring_bed *bed, uint64_t desc, uint64_t avail, uint64_t used,
                      uint32_t features)
{
    struct virtqueue_config config = ring_bed_config(bed, features);
    int result;

    config.desc_gpa = desc;
    config.driver_gpa = avail;
    config.device_gpa = used;
    result = virtqueue_start(&bed->queue, &config, bed->memory, NULL);
    virtqueue_stop(&bed->queue);
    return result;
}

static void SPL_BAD_28_ring_parts_misaligned_or_outside(void **state)
{
    const uint64_t end = RING_BED_END_GPA;
    struct ring_bed *bed = *state;

    ring_bed_start(bed, SIZE, 0, ALL);
    virtqueue_stop(&bed->queue);
    assert_int_equal(start_with(bed, DATA, DATA + 0x1000, DATA + 0x2000, ALL), 0);
    assert_int_equal(start_with(bed, DATA + 8, DATA + 0x1000, DATA + 0x2000, ALL), -EINVAL);
    assert_int_equal(start_with(bed, DATA, DATA + 0x1001, DATA + 0x2000, ALL), -EINVAL);
    assert_int_equal(start_with(bed, DATA, DATA + 0x1000, DATA + 0x2002, ALL), -EINVAL);
    assert_int_equal(start_with(bed, end - 16 * SIZE, DATA, DATA + 0x2000, ALL), 0);
    assert_int_equal(start_with(bed, end - 16 * SIZE + 16, DATA, DATA + 0x2000, ALL), -EINVAL);
    /* the event words count only with EVENT_IDX */
    assert_int_equal(start_with(bed, DATA, end - 6 - 2 * SIZE, DATA + 0x2000, ALL), 0);
    assert_int_equal(start_with(bed, DATA, end - 4 - 2 * SIZE, DATA + 0x2000, ALL), -EINVAL);
    assert_int_equal(start_with(bed, DATA, end - 4 - 2 * SIZE, DATA + 0x2000, 0), 0);
    assert_int_equal(start_with(bed, DATA, end - 2 - 2 * SIZE, DATA + 0x2000, 0), -EINVAL);
    assert_int_equal(start_with(bed, DATA, DATA + 0x1000, end - 8 - 8 * SIZE, ALL), 0);
    assert_int_equal(start_with(bed, DATA, DATA + 0x1000, end - 4 - 8 * SIZE, ALL), -EINVAL);
    assert_int_equal(start_with(bed, DATA, DATA + 0x1000, end - 4 - 8 * SIZE, 0), 0);
    assert_int_equal(start_with(bed, DATA, DATA + 0x1000, end - 8 * SIZE, 0), -EINVAL);
    assert_int_equal(start_with(bed, UINT64_MAX - 15, DATA, DATA + 0x2000, ALL), -EINVAL);
    assert_int_equal(start_with(bed, DATA, 0, DATA + 0x2000, ALL), -EINVAL);
    assert_int_equal(start_with(bed, DATA, DATA + 0x1000, 0xfffffffffffffffcull, ALL), -EINVAL);
}

static void SPL_BAD_29_ring_parts_overlap(void **state)
{
    struct ring_bed *bed = *state;
    struct virtqueue_config config;

    ring_bed_start(bed, SIZE, 0, ALL);
    virtqueue_stop(&bed->queue);
    config = ring_bed_config(bed, ALL);
    config.desc_gpa = config.driver_gpa = config.device_gpa = DATA;
    assert_int_equal(virtqueue_start(&bed->queue, &config, bed->memory, NULL), 0);
    memset(guest_ram_at(&bed->ram, DATA, 0x1000), 0x01, 0x1000);
    for (unsigned i = 0; i < 40; i++) {
        chain_batch_reset(&bed->batch);
        for (unsigned count = virtqueue_pop(&bed->queue, &bed->batch, 64); count > 0; count--)
            virtqueue_push(&bed->queue, 0, 0);
        virtqueue_flush(&bed->queue);
        virtqueue_arm(&bed->queue);
    }
}

static void SPL_BAD_31_memory_taken_away_latches(void **state)
{
    const struct driver_buffer buffer = {DATA, 60, DEVICE_READS};
    struct ring_bed *bed = *state;
    struct guest_memory *empty;
    uint16_t head;

    assert_int_equal(guest_memory_create(&empty), 0);
    ring_bed_start(bed, SIZE, 0, ALL);
    head = ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    ring_bed_pop(bed);
    virtqueue_remap(&bed->queue, empty);
    assert_int_equal(bed->queue.fault, QUEUE_FAULT_MEMORY);
    ring_bed_complete(bed, head, 0);
    assert_int_equal(driver_split_used_idx(&bed->split), 0);
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
    assert_int_equal(virtqueue_arm(&bed->queue), 0);
    virtqueue_stop(&bed->queue);
    guest_memory_free(empty);
}

/* ---- a driver that rewrites what the device reads (INV-02) ---- */

static _Atomic int flipping;

/* Word by word, as a driver on another processor would be seen to write it. */
static void flip_desc(struct ring_bed *bed, unsigned index, const struct driver_desc *desc)
{
    uint8_t *at =
        guest_ram_at(&bed->ram, driver_split_desc_at(&bed->split, index), DRIVER_DESC_LEN);

    __atomic_store_n((uint64_t *)at, desc->addr, __ATOMIC_RELAXED);
    __atomic_store_n((uint32_t *)(at + 8), desc->len, __ATOMIC_RELAXED);
    __atomic_store_n((uint16_t *)(at + 12), desc->flags, __ATOMIC_RELAXED);
    __atomic_store_n((uint16_t *)(at + 14), desc->next, __ATOMIC_RELAXED);
}

static void *flip(void *context)
{
    struct ring_bed *bed = context;
    uint32_t seed = 1;

    while (flipping) {
        struct driver_desc desc;

        seed = seed * 1664525u + 1013904223u;
        desc = (struct driver_desc){
            .addr = seed & 0x100 ? DATA + (seed >> 12) : 0xffffffffffff0000ull + seed,
            .len = seed >> 8,
            .flags = (uint16_t)(seed >> 16) & 7,
            .next = (uint16_t)(seed >> 11) & 31,
        };
        flip_desc(bed, (seed >> 20) % SIZE, &desc);
    }
    return NULL;
}

static void SPL_BAD_23_descriptors_rewritten_while_parsed(void **state)
{
    const uint8_t *low = NULL;
    struct ring_bed *bed = *state;
    uint64_t end = now_ms() + 300;
    pthread_t thread;

    ring_bed_start(bed, SIZE, 0, ALL);
    low = guest_ram_at(&bed->ram, DATA, RING_BED_DATA_SIZE);
    flipping = 1;
    assert_int_equal(pthread_create(&thread, NULL, flip, bed), 0);
    while (now_ms() < end) {
        ring_bed_offer_raw(bed, 3);
        chain_batch_reset(&bed->batch);
        if (virtqueue_pop(&bed->queue, &bed->batch, 1) == 0)
            break;
        for (unsigned i = 0; i < bed->batch.chain[0].writable_count; i++) {
            const struct iovec *iov =
                &bed->batch.chain[0].iov[bed->batch.chain[0].readable_count + i];
            const uint8_t *at = iov->iov_base;
            int inside = 0;

            for (unsigned r = 0; r < 3; r++) {
                const uint8_t *map = r == 0 ? bed->driver_pages : bed->ram.region[r].map;

                inside |= at >= map && at + iov->iov_len <= map + bed->ram.region[r].size;
            }
            assert_true(inside);
        }
        ring_bed_complete(bed, 3, 0);
    }
    flipping = 0;
    pthread_join(thread, NULL);
    assert_non_null(low);
    assert_int_equal(bed->queue.fault, QUEUE_FAULT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RING_BED_TEST(SPL_BAD_01_head_beyond_the_table),
        RING_BED_TEST(SPL_BAD_01_good_chains_before_the_bad_head_are_served),
        RING_BED_TEST(SPL_BAD_02_available_index_jumps),
        RING_BED_TEST(SPL_BAD_02_a_full_ring_is_no_jump),
        RING_BED_TEST(SPL_BAD_03_available_index_goes_back),
        RING_BED_TEST(SPL_BAD_04_next_beyond_the_table),
        RING_BED_TEST(SPL_BAD_05_loops),
        RING_BED_TEST(SPL_BAD_06_loop_and_next_beyond_an_indirect_table),
        RING_BED_TEST(SPL_BAD_07_direct_and_indirect_above_the_cap),
        RING_BED_TEST(SPL_BAD_08_chain_total_above_4_gib),
        RING_BED_TEST(SPL_BAD_09_address_outside_memory),
        RING_BED_TEST(SPL_BAD_10_address_plus_length_wraps),
        RING_BED_TEST(SPL_BAD_11_buffer_runs_into_a_hole),
        RING_BED_TEST(SPL_BAD_12_write_into_read_only_memory),
        RING_BED_TEST(SPL_BAD_13_readable_behind_writable),
        RING_BED_TEST(SPL_BAD_17_empty_descriptors_are_skipped),
        RING_BED_TEST(SPL_BAD_18_indirect_without_agreement),
        RING_BED_TEST(SPL_BAD_19_indirect_with_next),
        RING_BED_TEST(SPL_BAD_20_indirect_inside_a_table),
        RING_BED_TEST(SPL_BAD_21_indirect_length),
        RING_BED_TEST(SPL_BAD_22_table_outside_memory),
        RING_BED_TEST(SPL_BAD_22_table_over_a_border_or_unaligned),
        RING_BED_TEST(SPL_BAD_23_descriptors_rewritten_while_parsed),
        RING_BED_TEST(SPL_BAD_24_heads_offered_twice_do_not_pile_up),
        RING_BED_TEST(SPL_BAD_25_unknown_descriptor_flags_are_ignored),
        RING_BED_TEST(SPL_BAD_26_buffers_over_the_rings_are_memory_safe),
        RING_BED_TEST(SPL_BAD_27_size_is_refused),
        RING_BED_TEST(SPL_BAD_28_ring_parts_misaligned_or_outside),
        RING_BED_TEST(SPL_BAD_29_ring_parts_overlap),
        RING_BED_TEST(SPL_BAD_31_memory_taken_away_latches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
