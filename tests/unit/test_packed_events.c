/* SPDX-License-Identifier: MIT */
/* The packed ring: who wants to be told of what, and where a ring goes on. */
#include "chain_spans.h"
#include "check.h"
#include "format_bed.h"

enum {
    PACKED = VIRTQUEUE_PACKED,
    ALL = VIRTQUEUE_PACKED | VIRTQUEUE_INDIRECT | VIRTQUEUE_EVENT_IDX,
};

#define DATA FORMAT_BED_NEXT_GPA

/* ---- events ---- */

struct event_case {
    uint16_t flags;
    int event_idx;
    int off;      /* slots behind the first of the batch; negative: before it */
    unsigned len; /* slots of the batch, lists of 1 and 3 */
    int fires;
};

/* Completes `len` slots in one flush, from `at` on, and counts interrupts. */
static unsigned fires_of(struct format_bed *bed, const struct event_case *c, uint16_t start)
{
    const struct driver_buffer buffer[3] = {device_reads(DATA, 1), device_reads(DATA, 1),
                                            device_reads(DATA, 1)};
    struct packed_place event;
    unsigned before;

    format_bed_start_packed_at(bed, 11, start, PACKED | (c->event_idx ? VIRTQUEUE_EVENT_IDX : 0));
    bed->queue.fresh = 0; /* the flush after a start fires in any case */
    event = packed_place_after(&bed->packed, bed->packed.used, (unsigned)(c->off + 22));
    for (unsigned left = c->len; left != 0;) {
        unsigned count = left >= 3 ? 3 : 1;

        format_bed_offer(bed, buffer, count, CHAIN_DIRECT);
        left -= count;
    }
    driver_packed_store_event(&bed->packed,
                              (struct packed_event_words){packed_place_word(event), c->flags});
    format_bed_pop_many(bed, 64);
    for (unsigned i = 0; i < bed->batch.count; i++)
        virtqueue_push(&bed->queue, bed->batch.chain[i].token, 0);
    before = bed->fires;
    virtqueue_flush(&bed->queue);
    return bed->fires - before;
}

/* From every slot and in both laps: the driver's slot is in the batch, at its edges, beside it, or
 * in the middle of a list that was stepped over. */
static void PKD_11_interrupt_decision(void **state)
{
    static const struct event_case cases[] = {
        {EVENT_ENABLE, 0, 0, 1, 1},
        {EVENT_ENABLE, 1, 5, 3, 1},
        {EVENT_DISABLE, 0, 0, 1, 0},
        {EVENT_DISABLE, 1, 0, 3, 0},
        {EVENT_SLOT, 0, 9, 1, 1}, /* not agreed: as ENABLE */
        {3, 0, 0, 1, 1},
        {3, 1, 9, 1, 1}, /* reserved: as ENABLE */
        {EVENT_SLOT, 1, 0, 1, 1},
        {EVENT_SLOT, 1, 1, 1, 0},
        {EVENT_SLOT, 1, -1, 1, 0},
        {EVENT_SLOT, 1, 0, 3, 1},
        {EVENT_SLOT, 1, 1, 3, 1},
        {EVENT_SLOT, 1, 2, 3, 1},
        {EVENT_SLOT, 1, 3, 3, 0},
        {EVENT_SLOT, 1, 3, 4, 1},
        {EVENT_SLOT, 1, 4, 5, 1},
        {EVENT_SLOT, 1, 5, 5, 0},
        {EVENT_SLOT, 1, -1, 5, 0},
        {EVENT_SLOT, 1, -5, 5, 0},
        {EVENT_SLOT, 1, 0, 11, 1},
        {EVENT_SLOT, 1, 10, 11, 1},
        {EVENT_SLOT, 1, 5, 11, 1},
        {EVENT_SLOT, 1, 11, 11, 0},
        {EVENT_SLOT, 1, 10, 10, 0},
    };
    struct format_bed *bed = *state;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (uint16_t slot = 0; slot < 11; slot++) {
            for (unsigned wrap = slot == 0; wrap < 2; wrap++) {
                uint16_t start = (uint16_t)(slot | (wrap ? PACKED_WRAP : 0));
                unsigned fires = fires_of(bed, &cases[i], start);

                check((int)fires == cases[i].fires, "case %u at slot %u, wrap %u: %u interrupts", i,
                      slot, wrap, fires);
            }
        }
    }
}

static void PKD_11_first_flush_after_a_start_always_fires(void **state)
{
    struct format_bed *bed = *state;
    struct driver_buffer buffer = device_reads(DATA, 1);

    format_bed_start(bed, 4, ALL);
    bed->ring->ops->interrupts(bed->ring, INTERRUPTS_OFF);
    for (unsigned i = 0; i < 3; i++) {
        format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
        format_bed_complete(bed, format_bed_pop(bed)->token, 0);
        assert_int_equal(bed->fires, 1);
    }
}

static void PKD_12_device_event_words(void **state)
{
    struct driver_buffer buffer = device_reads(DATA, 1);
    struct format_bed *bed = *state;
    struct packed_event_words words;

    format_bed_start(bed, 3, ALL);
    assert_int_equal(driver_packed_device_event(&bed->packed).flags, EVENT_ENABLE);
    for (unsigned lap = 0; lap < 9; lap++) {
        uint16_t place;

        format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
        format_bed_complete(bed, format_bed_pop(bed)->token, 0);
        bed->ring->ops->take(bed->ring, &(struct driver_used){0});
        assert_int_equal(format_bed_pop_many(bed, 1), 0);
        place = packed_place_word(bed->packed.next);
        assert_int_equal(virtqueue_arm(&bed->queue), 0);
        words = driver_packed_device_event(&bed->packed);
        assert_int_equal(words.flags, EVENT_SLOT);
        assert_int_equal(words.place, place);
        virtqueue_disarm(&bed->queue);
        assert_int_equal(driver_packed_device_event(&bed->packed).flags, EVENT_DISABLE);
    }
    format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    assert_int_equal(virtqueue_arm(&bed->queue), 1); /* looked once more behind the fence */
}

static void PKD_12_device_event_flags_without_event_idx(void **state)
{
    struct driver_buffer buffer = device_reads(DATA, 1);
    struct format_bed *bed = *state;

    format_bed_start(bed, 3, PACKED);
    assert_int_equal(driver_packed_device_event(&bed->packed).flags, EVENT_ENABLE);
    virtqueue_disarm(&bed->queue);
    assert_int_equal(driver_packed_device_event(&bed->packed).flags, EVENT_DISABLE);
    assert_int_equal(virtqueue_arm(&bed->queue), 0);
    assert_int_equal(driver_packed_device_event(&bed->packed).flags, EVENT_ENABLE);
    format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    assert_int_equal(virtqueue_arm(&bed->queue), 1);
}

/* ---- positions ---- */

static int start_at(struct format_bed *bed, uint32_t base)
{
    struct virtqueue_config config = format_bed_config(bed);
    struct error err = {""};

    virtqueue_stop(&bed->queue);
    config.base = base;
    return virtqueue_start(&bed->queue, &config, bed->memory, &err);
}

/* vhost-user: available in the low half, used in the high one, a wrap counter on top of each. */
static void VU_base_of_a_packed_ring_is_both_positions(void **state)
{
    struct format_bed *bed = *state;
    struct driver_buffer buffer = device_writes(DATA, 8);

    format_bed_start(bed, 5, ALL);
    for (unsigned n = 0; n < 23; n++) {
        uint16_t lap = (n / 5) % 2 ? 0 : PACKED_WRAP;
        uint32_t base = virtqueue_stop(&bed->queue);

        assert_int_equal(base, ((n % 5) | lap) * 0x10001u);
        assert_int_equal(start_at(bed, base), 0);
        format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
        format_bed_complete(bed, format_bed_pop(bed)->token, 8);
        bed->ring->ops->take(bed->ring, &(struct driver_used){0});
    }
    format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    format_bed_pop(bed); /* taken and never completed: the halves differ */
    assert_int_equal(virtqueue_stop(&bed->queue), 0x8003u << 16 | 0x8004u);
}

/* DPDK's virtio-user sets the low half only, and means both. */
static void VU_base_with_the_low_half_only(void **state)
{
    struct format_bed *bed = *state;

    for (uint16_t slot = 0; slot < 5; slot++) {
        format_bed_start_packed_at(bed, 5, (uint16_t)(slot | PACKED_WRAP), ALL);
        assert_int_equal(start_at(bed, slot | PACKED_WRAP), 0);
        for (unsigned i = 0; i < 7; i++)
            format_bed_round_trip(bed);
    }
}

/* User Mode Linux begins a new ring at 0; so would a ring that has gone round once. */
static void VU_base_0_is_a_new_ring_or_a_whole_lap(void **state)
{
    struct driver_buffer buffer = device_reads(DATA, 8);
    struct format_bed *bed = *state;

    format_bed_start(bed, 5, ALL);
    assert_int_equal(start_at(bed, 0), 0);
    for (unsigned i = 0; i < 5; i++) {
        format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
        format_bed_complete(bed, format_bed_pop(bed)->token, 0);
        bed->ring->ops->take(bed->ring, &(struct driver_used){0});
    }
    assert_int_equal(virtqueue_stop(&bed->queue), 0); /* slot 0, second lap */
    assert_int_equal(start_at(bed, 0), 0);
    for (unsigned i = 0; i < 7; i++)
        format_bed_round_trip(bed);
}

/* Filled before the start, as User Mode Linux and a restarted back-end find it. */
static void VU_base_0_of_a_ring_that_holds_buffers_already(void **state)
{
    struct driver_buffer buffer = device_reads(DATA, 8);
    struct format_bed *bed = *state;

    format_bed_start(bed, 5, ALL);
    for (unsigned i = 0; i < 5; i++)
        format_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    assert_int_equal(start_at(bed, 0), 0);
    assert_int_equal(format_bed_pop_many(bed, 8), 5);
}

/* Given back over the end of the ring, and taken again the same. */
static void unpop_across_the_wrap(void **state)
{
    const struct driver_buffer buffer[3] = {device_reads(DATA, 1), device_reads(DATA, 2),
                                            device_writes(DATA, 3)};
    struct format_bed *bed = *state;

    for (uint16_t slot = 1; slot < 7; slot++) {
        uint32_t id[3];

        format_bed_start_packed_at(bed, 7, (uint16_t)(slot | (slot % 2 ? PACKED_WRAP : 0)), ALL);
        for (unsigned i = 0; i < 3; i++)
            id[i] = format_bed_offer(bed, buffer + i, 3 - i, CHAIN_DIRECT); /* 3, 2, 1 slots */
        for (unsigned keep = 0; keep <= 2; keep++) {
            assert_int_equal(format_bed_pop_many(bed, 8), 3);
            virtqueue_unpop(&bed->queue, &bed->batch, 0);
            assert_int_equal(bed->queue.in_flight, 0);
        }
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(format_bed_pop_many(bed, 8), 3 - i);
            chain_expect_spans(&bed->ram, &bed->batch.chain[0], buffer + i, 3 - i);
            virtqueue_push(&bed->queue, bed->batch.chain[0].token, 0);
            virtqueue_unpop(&bed->queue, &bed->batch, 1);
        }
        virtqueue_flush(&bed->queue);
        for (unsigned i = 0; i < 3; i++)
            format_bed_expect_used(bed, id[i], 0);
        format_bed_round_trip(bed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FORMAT_BED_TEST(PKD_11_interrupt_decision),
        FORMAT_BED_TEST(PKD_11_first_flush_after_a_start_always_fires),
        FORMAT_BED_TEST(PKD_12_device_event_words),
        FORMAT_BED_TEST(PKD_12_device_event_flags_without_event_idx),
        FORMAT_BED_TEST(VU_base_of_a_packed_ring_is_both_positions),
        FORMAT_BED_TEST(VU_base_with_the_low_half_only),
        FORMAT_BED_TEST(VU_base_0_is_a_new_ring_or_a_whole_lap),
        FORMAT_BED_TEST(VU_base_0_of_a_ring_that_holds_buffers_already),
        FORMAT_BED_TEST(unpop_across_the_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
