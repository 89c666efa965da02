/* SPDX-License-Identifier: MIT */
/* IN_ORDER: one used entry stands for a batch, in both formats (virtio 1.4, 2.7.9 and 2.8.6). */
#include <string.h>

#include "check.h"
#include "format_bed.h"

enum {
    ORDERED = VIRTQUEUE_INDIRECT | VIRTQUEUE_EVENT_IDX | VIRTQUEUE_BATCH_USED,
    CHAINS = 6,
};

#define DATA FORMAT_BED_NEXT_GPA

static const struct driver_buffer buffer[3] = {
    {DATA, 10, DEVICE_READS}, {DATA + 64, 10, DEVICE_READS}, {DATA + 128, 10, DEVICE_READS}};

/* Chains of 1, 2, 3, 1, 2, 3 descriptors, popped and completed in one flush. */
static void batch_complete(struct format_bed *bed, uint32_t id[CHAINS])
{
    for (unsigned i = 0; i < CHAINS; i++)
        id[i] = format_bed_offer(bed, buffer, 1 + i % 3, CHAIN_DIRECT);
    assert_int_equal(format_bed_pop_many(bed, 64), CHAINS);
    for (unsigned i = 0; i < CHAINS; i++)
        virtqueue_push(&bed->queue, bed->batch.chain[i].token, 0);
    virtqueue_flush(&bed->queue);
}

/* The element stands where the batch's first would, and has the last one's id; the others' places
 * are not written. */
static void SPL_14_one_element_for_a_batch(void **state)
{
    struct format_bed *bed = *state;
    uint32_t id[CHAINS];

    format_bed_start(bed, 16, ORDERED);
    for (uint16_t first = 0; first < 20 * CHAINS; first += CHAINS) {
        uint8_t *used = guest_ram_at(&bed->ram, bed->split.used_gpa, 6 + 8 * 16);

        memset(used + 4, 0xee, 8 * 16);
        batch_complete(bed, id);
        assert_int_equal(driver_split_used_idx(&bed->split), first + CHAINS);
        assert_int_equal(driver_split_used_entry(&bed->split, first).id, id[CHAINS - 1]);
        assert_int_equal(driver_split_used_entry(&bed->split, first).len, 0);
        for (uint16_t i = 1; i < CHAINS; i++)
            assert_int_equal(driver_split_used_entry(&bed->split, first + i).id, 0xeeeeeeee);
        for (unsigned i = 0; i < CHAINS; i++)
            format_bed_expect_used(bed, id[i], 0);
        format_bed_expect_no_used(bed);
    }
}

/* One used slot, at the batch's first, with the last one's id; the position skips the whole batch,
 * lists of several slots included. */
static void PKD_10_one_slot_for_a_batch(void **state)
{
    struct format_bed *bed = *state;
    uint32_t id[CHAINS];

    format_bed_start(bed, 13, ORDERED | VIRTQUEUE_PACKED);
    for (unsigned lap = 0; lap < 30; lap++) {
        struct packed_place first = bed->packed.used;
        struct packed_slot before[13];
        struct packed_slot used;

        for (unsigned i = 0; i < CHAINS; i++)
            id[i] = format_bed_offer(bed, buffer, 1 + i % 3, CHAIN_DIRECT);
        assert_int_equal(format_bed_pop_many(bed, 64), CHAINS);
        for (unsigned i = 0; i < 13; i++)
            before[i] = driver_packed_read_slot(&bed->packed, i);
        for (unsigned i = 0; i < CHAINS; i++)
            virtqueue_push(&bed->queue, bed->batch.chain[i].token, 0);
        virtqueue_flush(&bed->queue);
        used = driver_packed_read_slot(&bed->packed, first.slot);
        assert_int_equal(used.id, id[CHAINS - 1]);
        assert_int_equal(used.flags, packed_used_bits(first));
        for (unsigned i = 1; i < 12; i++) {
            struct packed_place at = packed_place_after(&bed->packed, first, i);
            struct packed_slot now = driver_packed_read_slot(&bed->packed, at.slot);

            assert_memory_equal(&now, &before[at.slot], sizeof(now));
        }
        for (unsigned i = 0; i < CHAINS; i++)
            format_bed_expect_used(bed, id[i], 0);
        format_bed_expect_no_used(bed);
    }
}

/* Batches of every length, with faulty chains among them, and a ring that is full now and then. */
static void GEN_IO_01_order_of_completion_is_order_of_availability(void **state)
{
    struct driver_buffer bad = {FORMAT_BED_END_GPA, 1, DEVICE_READS};
    struct format_bed *bed = *state;

    for (unsigned format = 0; format < 2; format++) {
        uint32_t id[64];
        unsigned sent = 0, done = 0;

        format_bed_start(bed, 16, ORDERED | (format ? VIRTQUEUE_PACKED : 0));
        while (done < 5000) {
            unsigned count = 1 + sent % 16;

            for (unsigned i = 0; i < count && sent - done < 16; i++, sent++)
                id[sent % 64] = format_bed_offer(bed, sent % 5 == 4 ? &bad : buffer, 1,
                                                 sent % 3 ? CHAIN_DIRECT : CHAIN_INDIRECT);
            count = format_bed_pop_many(bed, 1 + sent % 11);
            for (unsigned i = 0; i < count; i++) {
                virtqueue_push(&bed->queue, bed->batch.chain[i].token, 0);
                if (i % 4 == 3)
                    virtqueue_flush(&bed->queue);
            }
            virtqueue_flush(&bed->queue);
            for (; count != 0; count--, done++)
                format_bed_expect_used(bed, id[done % 64], 0);
        }
        assert_int_equal(bed->queue.fault, QUEUE_FAULT_NONE);
    }
}

/* The driver named a buffer in the middle of the batch: it is told, though no entry of that buffer
 * was written. */
static void PKD_11_SPL_11_event_inside_a_batch(void **state)
{
    struct format_bed *bed = *state;

    for (unsigned format = 0; format < 2; format++) {
        uint32_t id[CHAINS];

        format_bed_start(bed, 16, ORDERED | (format ? VIRTQUEUE_PACKED : 0));
        batch_complete(bed, id);
        assert_int_equal(bed->fires, format + 1); /* the first flush */
        for (unsigned i = 0; i < 3; i++)
            format_bed_expect_used(bed, id[i], 0);
        bed->ring->ops->interrupts(bed->ring, INTERRUPTS_ON); /* at the fourth, which is used */
        for (unsigned i = 3; i < CHAINS; i++)
            format_bed_expect_used(bed, id[i], 0);
        batch_complete(bed, id);
        assert_int_equal(bed->fires, format + 1);
        for (unsigned i = 0; i < CHAINS; i++)
            format_bed_expect_used(bed, id[i], 0);
        bed->ring->ops->interrupts(bed->ring, INTERRUPTS_ON);
        batch_complete(bed, id);
        assert_int_equal(bed->fires, format + 2);
        bed->fires = format + 1;
    }
}

/* R12: a ring that was given up full and comes back with another size. */
static void R12_larger_ring_after_a_reset(void **state)
{
    struct format_bed *bed = *state;

    for (unsigned format = 0; format < 2; format++) {
        for (unsigned size = 2; size <= 1024; size *= 2) {
            uint32_t id[1024];
            unsigned count;

            format_bed_start(bed, size, ORDERED | (format ? VIRTQUEUE_PACKED : 0));
            for (unsigned i = 0; i < size; i++)
                id[i] = format_bed_offer(bed, buffer, 1, CHAIN_DIRECT);
            count = format_bed_pop_many(bed, 64);
            assert_int_equal(count, size < 64 ? size : 64);
            for (unsigned i = 0; i < count; i++)
                virtqueue_push(&bed->queue, bed->batch.chain[i].token, 0);
            virtqueue_flush(&bed->queue);
            for (unsigned i = 0; i < count; i++)
                format_bed_expect_used(bed, id[i], 0);
            assert_int_equal(format_bed_pop_many(bed, 64), size - count < 64 ? size - count : 64);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FORMAT_BED_TEST(SPL_14_one_element_for_a_batch),
        FORMAT_BED_TEST(PKD_10_one_slot_for_a_batch),
        FORMAT_BED_TEST(GEN_IO_01_order_of_completion_is_order_of_availability),
        FORMAT_BED_TEST(PKD_11_SPL_11_event_inside_a_batch),
        FORMAT_BED_TEST(R12_larger_ring_after_a_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
