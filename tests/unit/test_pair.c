/* SPDX-License-Identifier: MIT */
/*
 * A pair between a driver (tests/lib) and an endpoint that takes as many frames as a test says and
 * completes them when, and in which order, the test says: what asynchronous endpoints do.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "check.h"

#include "driver_packed.h"
#include "driver_split.h"
#include "nic/pair.h"

enum {
    RING_SIZE = 64,
    HEADER_LEN = 12,
    FRAME_LEN = 60,
    HELD_MAX = 256,
    BUDGET = 256,
    DATA_GPA = 0x10000000,
};

/* ---- an endpoint that holds frames ---- */

struct holding_queue {
    struct endpoint_queue base; /* first */
    unsigned takes;             /* frames that send() still accepts */
    uint32_t held[HELD_MAX];    /* tokens, oldest first */
    uint8_t mark[HELD_MAX];     /* the first payload byte of each */
    unsigned held_count;
    uint32_t done[HELD_MAX]; /* tokens that reap() will tell */
    unsigned done_count;
};

static struct holding_queue *holding(struct endpoint_queue *queue)
{
    return (struct holding_queue *)queue;
}

static unsigned holding_send(struct endpoint_queue *queue, const struct frame *frames,
                             unsigned count)
{
    struct holding_queue *q = holding(queue);
    unsigned taken;

    for (taken = 0; taken < count && q->takes != 0; taken++, q->takes--) {
        assert_int_equal(frames[taken].len, FRAME_LEN);
        q->held[q->held_count] = frames[taken].token;
        q->mark[q->held_count++] = *(const uint8_t *)frames[taken].iov[0].iov_base;
    }
    return taken;
}

static unsigned holding_reap(struct endpoint_queue *queue, uint32_t *ret_tokens, unsigned max)
{
    struct holding_queue *q = holding(queue);
    unsigned count = q->done_count < max ? q->done_count : max;

    memcpy(ret_tokens, q->done, count * sizeof(*ret_tokens));
    q->done_count -= count;
    memmove(q->done, q->done + count, q->done_count * sizeof(*q->done));
    return count;
}

/* The frame that was sent as number `index` of those held is done. */
static void holding_finish(struct holding_queue *q, unsigned index)
{
    q->done[q->done_count++] = q->held[index];
}

static void holding_quiesce(struct endpoint_queue *queue)
{
    struct holding_queue *q = holding(queue);

    for (unsigned i = 0; i < q->held_count; i++)
        holding_finish(q, q->held_count - 1 - i);
    q->held_count = 0;
}

static const struct endpoint_ops holding_ops = {
    .kind = "holding",
    .send = holding_send,
    .reap = holding_reap,
    .quiesce = holding_quiesce,
};

static const struct endpoint_ops taking_ops = {
    .kind = "taking",
    .send = holding_send,
};

/* ---- an endpoint that counts frames ---- */

static unsigned counting_send(struct endpoint_queue *queue, const struct frame *frames,
                              unsigned count)
{
    (void)frames;
    holding(queue)->held_count += count;
    return count;
}

static const struct endpoint_ops counting_ops = {
    .kind = "counting",
    .send = counting_send,
};

/* ---- the bed ---- */

struct pair_bed {
    struct guest_ram ram;
    struct guest_memory *memory;
    struct driver_split split;
    struct driver_packed packed;
    struct driver_ring *ring; /* the one in use */
    struct pair pair;
    struct pair_scratch scratch;
    struct holding_queue queue;
    unsigned added;
};

static void fire(void *context)
{
    (void)context;
}

static void bed_ring(struct pair_bed *bed, uint32_t features)
{
    struct driver_split_options split = {.size = RING_SIZE,
                                         .in_order = (features & VIRTQUEUE_BATCH_USED) != 0};
    struct driver_packed_options packed = {.size = RING_SIZE,
                                           .in_order = (features & VIRTQUEUE_BATCH_USED) != 0};

    if (features & VIRTQUEUE_PACKED) {
        driver_packed_init(&bed->packed, &bed->ram, &packed);
        bed->ring = &bed->packed.ring;
    } else {
        driver_split_init(&bed->split, &bed->ram, &split);
        bed->ring = &bed->split.ring;
    }
}

static struct pair_bed *bed_start(const struct endpoint_ops *ops, uint32_t features)
{
    struct pair_bed *bed = calloc(1, sizeof(*bed));
    struct virtqueue_config config = {.size = RING_SIZE, .features = features};
    struct memory_region region = {0};

    guest_ram_init(&bed->ram);
    guest_ram_add(&bed->ram, 0x100000, 0x100000, 0);
    guest_ram_add(&bed->ram, DATA_GPA, 0x100000, 0);
    assert_int_equal(guest_memory_create(&bed->memory), 0);
    for (unsigned i = 0; i < bed->ram.region_count; i++) {
        region.gpa = bed->ram.region[i].gpa;
        region.size = bed->ram.region[i].size;
        region.hva = bed->ram.region[i].map;
        assert_int_equal(guest_memory_add(bed->memory, &region, NULL), 0);
    }
    bed_ring(bed, features);
    config.base = bed->ring->ops->base(bed->ring);
    config.desc_gpa = bed->ring->desc_area;
    config.driver_gpa = bed->ring->driver_area;
    config.device_gpa = bed->ring->device_area;
    config.notifier.fire = fire;
    pair_init(&bed->pair, 0);
    assert_int_equal(pair_scratch_init(&bed->scratch, RING_SIZE), 0);
    assert_int_equal(virtqueue_start(&bed->pair.tx, &config, bed->memory, NULL), 0);
    bed->pair.rules =
        (struct pair_rules){.header_len = HEADER_LEN, .link_up = 1, .frame_max = 1514};
    bed->pair.ops = ops;
    bed->pair.endpoint_queue = &bed->queue.base;
    if (ops->reap != NULL)
        assert_int_equal(tx_flight_init(&bed->pair.flight, RING_SIZE), 0);
    return bed;
}

static void bed_finish(struct pair_bed *bed, uint32_t features)
{
    virtqueue_stop(&bed->pair.tx);
    tx_flight_free(&bed->pair.flight);
    pair_scratch_free(&bed->scratch);
    guest_memory_free(bed->memory);
    if (features & VIRTQUEUE_PACKED)
        driver_packed_free(&bed->packed);
    else
        driver_split_free(&bed->split);
    guest_ram_free(&bed->ram);
    free(bed);
}

/* Sends a frame whose bytes are its number; returns its id in the ring. */
static uint32_t bed_send(struct pair_bed *bed, uint32_t len)
{
    uint64_t gpa = DATA_GPA + (uint64_t)(bed->added % 256) * 2048;
    struct driver_buffer buffer = {gpa, HEADER_LEN + len, DEVICE_READS};
    struct driver_chain chain = {.buffer = &buffer, .count = 1, .shape = CHAIN_DIRECT};
    uint8_t *bytes = guest_ram_at(&bed->ram, gpa, HEADER_LEN + len);
    uint32_t id;

    memset(bytes, 0, HEADER_LEN);
    memset(bytes + HEADER_LEN, (int)bed->added++, len);
    id = bed->ring->ops->add(bed->ring, &chain);
    bed->ring->ops->publish(bed->ring);
    return id;
}

static unsigned bed_turn(struct pair_bed *bed)
{
    return pair_turn(&bed->pair, &bed->scratch, BUDGET);
}

static void expect_used(struct pair_bed *bed, uint32_t id)
{
    struct driver_used used;

    assert_int_equal(bed->ring->ops->take(bed->ring, &used), 1);
    assert_int_equal(used.id, id);
    assert_int_equal(used.len, 0);
}

static void expect_nothing_used(struct pair_bed *bed)
{
    struct driver_used used;

    assert_int_equal(bed->ring->ops->take(bed->ring, &used), 0);
}

static const uint32_t formats[] = {0, VIRTQUEUE_PACKED};

/* ---- tests ---- */

static void NET_TX_18_frames_not_taken_come_again_in_order(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 2; f++) {
        struct pair_bed *bed = bed_start(&taking_ops, formats[f]);
        uint32_t id[7];

        for (unsigned i = 0; i < 7; i++)
            id[i] = bed_send(bed, FRAME_LEN);
        for (unsigned round = 0; round < 4; round++) {
            bed->queue.takes = 2;
            bed_turn(bed);
            assert_int_equal(bed->pair.tx_blocked, round < 3);
        }
        assert_int_equal(bed->queue.held_count, 7);
        for (unsigned i = 0; i < 7; i++) {
            assert_int_equal(bed->queue.mark[i], i);
            expect_used(bed, id[i]);
        }
        expect_nothing_used(bed);
        assert_int_equal(counter_get(&bed->pair.stats.tx_packets), 7);
        assert_int_equal(counter_get(&bed->pair.stats.tx_bytes), 7 * FRAME_LEN);
        bed_finish(bed, formats[f]);
    }
}

/* In order was not agreed, and yet: VU_RC_03 rests on it. */
static void VU_RC_03_asynchronous_completions_never_overtake(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 2; f++) {
        struct pair_bed *bed = bed_start(&holding_ops, formats[f]);
        uint32_t id[3];

        bed->queue.takes = 3;
        for (unsigned i = 0; i < 3; i++)
            id[i] = bed_send(bed, FRAME_LEN);
        bed_turn(bed);
        expect_nothing_used(bed);
        holding_finish(&bed->queue, 2);
        bed_turn(bed);
        expect_nothing_used(bed);
        holding_finish(&bed->queue, 0);
        bed_turn(bed);
        expect_used(bed, id[0]);
        expect_nothing_used(bed);
        holding_finish(&bed->queue, 1);
        bed_turn(bed);
        expect_used(bed, id[1]);
        expect_used(bed, id[2]);
        bed_finish(bed, formats[f]);
    }
}

static void GEN_IO_01_asynchronous_completions_are_staged(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 2; f++) {
        struct pair_bed *bed = bed_start(&holding_ops, formats[f] | VIRTQUEUE_BATCH_USED);
        uint32_t id[5];

        bed->queue.takes = 4;
        for (unsigned i = 0; i < 5; i++)
            id[i] = bed_send(bed, i == 2 ? 4 : FRAME_LEN); /* number 2 is too short: a drop */
        bed_turn(bed);
        holding_finish(&bed->queue, 3); /* frame 4 */
        holding_finish(&bed->queue, 1); /* frame 1 */
        bed_turn(bed);
        expect_nothing_used(bed);
        holding_finish(&bed->queue, 0);
        bed_turn(bed);
        for (unsigned i = 0; i < 3; i++)
            expect_used(bed, id[i]);
        expect_nothing_used(bed);
        holding_finish(&bed->queue, 2); /* frame 3 */
        bed_turn(bed);
        expect_used(bed, id[3]);
        expect_used(bed, id[4]);
        assert_int_equal(counter_get(&bed->pair.stats.tx_drop[PAIR_TX_DROP_SHORT]), 1);
        bed_finish(bed, formats[f]);
    }
}

static void quiesce_completes_each_frame_once(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 4; f++) {
        uint32_t features = formats[f % 2] | (f < 2 ? 0 : VIRTQUEUE_BATCH_USED);
        struct pair_bed *bed = bed_start(&holding_ops, features);
        struct driver_used used;
        unsigned seen = 0;

        bed->queue.takes = 20;
        for (unsigned i = 0; i < 20; i++)
            bed_send(bed, FRAME_LEN);
        bed_turn(bed);
        pair_reap_all(&bed->pair, &bed->scratch);
        while (bed->ring->ops->take(bed->ring, &used))
            seen++;
        assert_int_equal(seen, 20);
        assert_int_equal(bed->pair.tx.in_flight, 0);
        bed_finish(bed, features);
    }
}

static void V14_tokens_that_are_not_in_flight_are_ignored(void **state)
{
    struct pair_bed *bed = bed_start(&holding_ops, 0);
    uint32_t id;

    (void)state;
    bed->queue.takes = 1;
    id = bed_send(bed, FRAME_LEN);
    bed_turn(bed);
    holding_finish(&bed->queue, 0);
    holding_finish(&bed->queue, 0); /* twice */
    bed->queue.done[bed->queue.done_count++] = 12345;
    bed->queue.done[bed->queue.done_count++] = UINT32_MAX;
    bed_turn(bed);
    expect_used(bed, id);
    expect_nothing_used(bed);
    assert_int_equal(bed->pair.tx.in_flight, 0);
    bed_finish(bed, 0);
}

static void a_full_line_moves_on_when_its_front_is_done(void **state)
{
    struct pair_bed *bed = bed_start(&holding_ops, 0);

    (void)state;
    bed->queue.takes = HELD_MAX;
    for (unsigned i = 0; i < RING_SIZE; i++)
        bed_send(bed, FRAME_LEN);
    bed_turn(bed);
    assert_int_equal(bed->queue.held_count, RING_SIZE);
    for (unsigned i = 1; i < RING_SIZE; i++) /* all but the first */
        holding_finish(&bed->queue, i);
    bed_turn(bed);
    expect_nothing_used(bed);
    holding_finish(&bed->queue, 0);
    bed_turn(bed);
    for (unsigned i = 0; i < RING_SIZE; i++) {
        struct driver_used used;

        assert_int_equal(bed->ring->ops->take(bed->ring, &used), 1);
    }
    bed_send(bed, FRAME_LEN);
    bed_turn(bed);
    assert_int_equal(bed->queue.held_count, RING_SIZE + 1);
    bed_finish(bed, 0);
}

/* 64 times the same large frame, of 1000 segments. */
static void bed_send_large(struct pair_bed *bed)
{
    static const uint8_t tcpv4[] = {1, 1, 54, 0, 64, 0, 34, 0, 16, 0, 0, 0}; /* the net header */
    uint32_t len = HEADER_LEN + 54 + 64000;
    struct driver_buffer buffer = {DATA_GPA, len, DEVICE_READS};
    struct driver_chain chain = {.buffer = &buffer, .count = 1, .shape = CHAIN_DIRECT};
    uint8_t *bytes = guest_ram_at(&bed->ram, DATA_GPA, len);

    memset(bytes, 0, len);
    memcpy(bytes, tcpv4, sizeof(tcpv4));
    bytes[HEADER_LEN + 12] = 0x08; /* IPv4, no length: the segmenter's to say */
    bytes[HEADER_LEN + 14] = 0x45;
    bytes[HEADER_LEN + 23] = 6; /* TCP */
    bytes[HEADER_LEN + 46] = 0x50;
    for (unsigned i = 0; i < RING_SIZE; i++)
        bed->ring->ops->add(bed->ring, &chain);
    bed->ring->ops->publish(bed->ring);
}

static void a_turn_ends_before_all_is_segmented(void **state)
{
    struct pair_bed *bed = bed_start(&counting_ops, 0);
    unsigned before;

    (void)state;
    bed->pair.rules.tx_offloads = ENDPOINT_OFFLOADS_ALL;
    bed_send_large(bed);
    do {
        before = bed->queue.held_count;
        bed_turn(bed);
        assert_true(bed->queue.held_count - before < PAIR_TX_SEGMENTS + GSO_SEGMENTS_MAX);
    } while (bed->queue.held_count != before);
    assert_int_equal(bed->queue.held_count, RING_SIZE * 1000);
    assert_int_equal(counter_get(&bed->pair.stats.tx_segmented), RING_SIZE);
    bed_finish(bed, 0);
}

/* Nothing that a turn would find may be overlooked. */
static void a_pair_is_still_until_something_comes(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 2; f++) {
        struct pair_bed *bed = bed_start(&taking_ops, formats[f]);

        bed->queue.takes = 1;
        assert_int_equal(pair_is_still(&bed->pair), 1);
        bed_send(bed, FRAME_LEN);
        bed_send(bed, FRAME_LEN);
        assert_int_equal(pair_is_still(&bed->pair), 0);
        bed_turn(bed); /* the endpoint takes one of them */
        assert_int_equal(pair_is_still(&bed->pair), 0);
        bed->queue.takes = 1;
        bed_turn(bed);
        assert_int_equal(pair_is_still(&bed->pair), 1);
        pair_endpoint_ready(&bed->pair, EPOLLIN);
        assert_int_equal(pair_is_still(&bed->pair), 0);
        bed_turn(bed); /* to see that there is nothing */
        virtqueue_latch(&bed->pair.tx, QUEUE_FAULT_HEAD_RANGE);
        bed_send(bed, FRAME_LEN);
        bed->pair.rx_ready = 0;
        assert_int_equal(pair_is_still(&bed->pair), 1);
        bed_finish(bed, formats[f]);
    }
}

/* An asynchronous endpoint tells of nothing but when it is asked. */
static void a_pair_with_frames_in_flight_is_never_still(void **state)
{
    struct pair_bed *bed = bed_start(&holding_ops, 0);

    (void)state;
    bed->queue.takes = 1;
    bed_send(bed, FRAME_LEN);
    bed_turn(bed);
    assert_int_equal(pair_is_still(&bed->pair), 0);
    bed_finish(bed, 0);
}

static void a_driver_is_filling_its_ring_with_some_frames_a_turn(void **state)
{
    static const unsigned frames[] = {0, PAIR_TX_FEW - 1, PAIR_TX_FEW, RING_SIZE - 1, RING_SIZE};
    static const int filling[] = {0, 0, 1, 1, 0};
    struct pair_bed *bed = bed_start(&counting_ops, VIRTQUEUE_PACKED);

    (void)state;
    for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct driver_used used;

        for (unsigned k = 0; k < frames[i]; k++)
            bed_send(bed, FRAME_LEN);
        assert_int_equal(bed_turn(bed), frames[i]);
        assert_int_equal(pair_is_filling(&bed->pair), filling[i]);
        while (bed->ring->ops->take(bed->ring, &used) != 0)
            continue;
    }
    bed_finish(bed, VIRTQUEUE_PACKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NET_TX_18_frames_not_taken_come_again_in_order),
        cmocka_unit_test(VU_RC_03_asynchronous_completions_never_overtake),
        cmocka_unit_test(GEN_IO_01_asynchronous_completions_are_staged),
        cmocka_unit_test(quiesce_completes_each_frame_once),
        cmocka_unit_test(V14_tokens_that_are_not_in_flight_are_ignored),
        cmocka_unit_test(a_full_line_moves_on_when_its_front_is_done),
        cmocka_unit_test(a_turn_ends_before_all_is_segmented),
        cmocka_unit_test(a_pair_is_still_until_something_comes),
        cmocka_unit_test(a_pair_with_frames_in_flight_is_never_still),
        cmocka_unit_test(a_driver_is_filling_its_ring_with_some_frames_a_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
