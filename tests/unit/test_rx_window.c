/* SPDX-License-Identifier: MIT */
/*
 * A window of receive buffers in very many pieces, which has to be popped anew in mid-frame, on a
 * ring that gives nothing more just then: it latched, or waits for what an IOMMU has not mapped.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "base/checked.h"
#include "format_bed.h"
#include "memory/iotlb.h"
#include "nic/pair.h"

enum {
    RING_SIZE = 256,
    HEADER_LEN = 12,
    PIECES = 30,
    PIECE_LEN = 64,
    BUFFERS = 41, /* their pieces are more than half of what a window holds */
    CONSUMED = 31,
    FRAME_LEN = 1000,
    IOVA_UNMAPPED = 0x70000000,
};

struct bed {
    struct format_bed format;
    struct iotlb *iotlb;
    struct pair pair, other;
    struct pair_scratch scratch;
    struct endpoint_waker waker;
    unsigned wakes;
};

static void wake(struct endpoint_waker *waker)
{
    CONTAINER_OF(waker, struct bed, waker)->wakes++;
}

static void missing(void *context, uint64_t gpa, enum memory_access access)
{
    (void)context;
    (void)access;
    assert_int_equal(gpa, IOVA_UNMAPPED);
}

/* All memory of the guest, where it is. */
static void map_all(struct bed *bed)
{
    const struct guest_ram *ram = &bed->format.ram;

    iotlb_set_physical(bed->iotlb, bed->format.memory);
    for (unsigned i = 0; i < ram->region_count; i++) {
        struct iotlb_mapping mapping = {.iova = ram->region[i].gpa,
                                        .size = ram->region[i].size,
                                        .uva = ram->region[i].uva,
                                        .allowed = IOTLB_READ | IOTLB_WRITE};

        assert_int_equal(iotlb_check(bed->iotlb, &mapping, NULL), 0);
        iotlb_map(bed->iotlb, &mapping);
    }
}

static struct bed *bed_start(uint32_t features)
{
    struct bed *bed = calloc(1, sizeof(*bed));
    struct virtqueue_config config;

    assert_non_null(bed);
    assert_int_equal(format_bed_init(&bed->format, FORMAT_BED_ONE_MAPPING), 0);
    assert_int_equal(iotlb_create(&bed->iotlb), 0);
    format_bed_start(&bed->format, RING_SIZE, features | VIRTQUEUE_INDIRECT);
    map_all(bed);
    config = format_bed_config(&bed->format);
    config.notifier.missing = missing;
    pair_init(&bed->pair, 0);
    pair_init(&bed->other, 1);
    assert_int_equal(pair_scratch_init(&bed->scratch, RING_SIZE), 0);
    bed->pair.rules = (struct pair_rules){
        .header_len = HEADER_LEN, .mergeable = 1, .link_up = 1, .frame_max = 65535};
    bed->other.rules = bed->pair.rules;
    bed->other.scratch = &bed->scratch;
    bed->waker.wake = wake;
    bed->pair.endpoint_rx.waker = &bed->waker;
    assert_int_equal(virtqueue_start(&bed->pair.rx, &config, iotlb_view(bed->iotlb), NULL), 0);
    return bed;
}

static void bed_finish(struct bed *bed)
{
    virtqueue_stop(&bed->pair.rx);
    pair_scratch_free(&bed->scratch);
    iotlb_free(bed->iotlb);
    format_bed_free(&bed->format);
    free(bed);
}

static void offer_buffers(struct bed *bed)
{
    struct driver_buffer buffer[PIECES];

    for (unsigned i = 0; i < BUFFERS; i++) {
        for (unsigned piece = 0; piece < PIECES; piece++)
            buffer[piece] = (struct driver_buffer){FORMAT_BED_NEXT_GPA +
                                                       (uint64_t)(i * PIECES + piece) * PIECE_LEN,
                                                   PIECE_LEN, DEVICE_WRITES};
        format_bed_offer(&bed->format, buffer, PIECES, CHAIN_INDIRECT);
    }
}

static int reserve(struct bed *bed, uint32_t max, struct reservation *ret)
{
    return bed->pair.endpoint_rx.ops->reserve(&bed->pair.endpoint_rx, 1, max, ret);
}

static void commit(struct bed *bed)
{
    const struct frame_offload none = {0};

    bed->pair.endpoint_rx.ops->commit(&bed->pair.endpoint_rx, FRAME_LEN, &none);
}

/* Some frames, and then room for the largest of all is asked for: more than the window holds. */
static int receive_up_to_the_largest(struct bed *bed, struct reservation *ret)
{
    pair_rx_enter(&bed->pair.endpoint_rx, &bed->other.endpoint_rx);
    for (unsigned i = 0; i < CONSUMED; i++) {
        assert_int_equal(reserve(bed, FRAME_LEN, ret), 0);
        commit(bed);
    }
    return reserve(bed, 65535, ret);
}

/* The buffers that came back are those that were written, each once. */
static void expect_buffers(struct bed *bed, unsigned expected)
{
    struct driver_ring *ring = bed->format.ring;
    uint8_t seen[RING_SIZE] = {0};
    struct driver_used used;
    unsigned count = 0;

    for (; ring->ops->take(ring, &used); count++) {
        assert_in_range(used.id, 0, RING_SIZE - 1);
        assert_int_equal(seen[used.id], 0);
        seen[used.id] = 1;
        assert_int_equal(used.len, HEADER_LEN + FRAME_LEN);
    }
    assert_int_equal(count, expected);
}

static void largest_frame_where_a_mapping_is_missing(uint32_t features)
{
    struct bed *bed = bed_start(features);
    struct driver_buffer unmapped = {IOVA_UNMAPPED, 2048, DEVICE_WRITES};
    struct reservation reservation;

    offer_buffers(bed);
    format_bed_offer(&bed->format, &unmapped, 1, CHAIN_DIRECT);
    assert_int_equal(receive_up_to_the_largest(bed, &reservation), 0);
    assert_in_range(reservation.room, FRAME_LEN, 65535);
    commit(bed);
    pair_rx_leave(&bed->pair.endpoint_rx);
    expect_buffers(bed, CONSUMED + 1);
    bed_finish(bed);
}

static void VU_MEM_07_largest_frame_where_a_mapping_is_missing_split(void **state)
{
    (void)state;
    largest_frame_where_a_mapping_is_missing(0);
}

static void VU_MEM_07_largest_frame_where_a_mapping_is_missing_packed(void **state)
{
    (void)state;
    largest_frame_where_a_mapping_is_missing(VIRTQUEUE_PACKED);
}

static void PKD_BAD_02_largest_frame_on_a_ring_that_latches(void **state)
{
    struct bed *bed = bed_start(VIRTQUEUE_PACKED);
    /* A list whose second descriptor is not there. */
    struct packed_slot half = {.addr = FORMAT_BED_NEXT_GPA,
                               .len = PIECE_LEN,
                               .id = BUFFERS,
                               .flags = SLOT_NEXT | SLOT_WRITE | SLOT_AVAIL};
    struct reservation reservation;

    (void)state;
    offer_buffers(bed);
    driver_packed_write_slot(&bed->format.packed, BUFFERS, &half);
    if (receive_up_to_the_largest(bed, &reservation) == 0)
        commit(bed);
    pair_rx_leave(&bed->pair.endpoint_rx);
    assert_int_not_equal(bed->pair.rx.fault, QUEUE_FAULT_NONE);
    assert_int_equal(bed->wakes, 1); /* for a turn of its own, which tells of the fault */
    expect_buffers(bed, CONSUMED + 1);
    bed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(VU_MEM_07_largest_frame_where_a_mapping_is_missing_split),
        cmocka_unit_test(VU_MEM_07_largest_frame_where_a_mapping_is_missing_packed),
        cmocka_unit_test(PKD_BAD_02_largest_frame_on_a_ring_that_latches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
