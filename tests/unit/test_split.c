/* SPDX-License-Identifier: MIT */
/* The split ring, with a driver that behaves: shapes, batches, wrap-around, notifications, save and
 * restore. */
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "chain_spans.h"
#include "check.h"
#include "clockwork.h"
#include "ring_bed.h"

enum {
    ALL = VIRTQUEUE_INDIRECT | VIRTQUEUE_EVENT_IDX
};

#define DATA RING_BED_DATA_GPA

static struct driver_buffer reads(uint64_t gpa, uint32_t len)
{
    return (struct driver_buffer){gpa, len, DEVICE_READS};
}

static struct driver_buffer writes(uint64_t gpa, uint32_t len)
{
    return (struct driver_buffer){gpa, len, DEVICE_WRITES};
}

static void SPL_03_shapes(void **state)
{
    static const enum chain_shape shape[] = {CHAIN_DIRECT, CHAIN_INDIRECT, CHAIN_MIXED};
    const struct driver_buffer buffer[] = {reads(DATA + 3, 1), reads(DATA + 0x100, 11),
                                           reads(DATA + 0x1001, 1500), writes(DATA + 0x5000, 1),
                                           writes(DATA + 0x6000, 700)};
    struct ring_bed *bed = *state;

    ring_bed_start(bed, 16, 0, ALL);
    for (unsigned i = 0; i < 3; i++) {
        uint16_t head = ring_bed_offer(bed, buffer, 5, shape[i]);
        struct chain *chain = ring_bed_pop(bed);

        assert_int_equal(chain->token, head);
        assert_int_equal(chain->readable_len, 1512);
        assert_int_equal(chain->writable_len, 701);
        assert_int_equal(chain->readable_count, 3);
        assert_int_equal(chain->writable_count, 2);
        chain_expect_spans(&bed->ram, chain, buffer, 5);
        ring_bed_complete(bed, head, 701);
    }
    assert_int_equal(driver_split_used_entry(&bed->split, 2).len, 701);
}

static void SPL_06_direct_descriptors_before_the_table(void **state)
{
    struct ring_bed *bed = *state;
    struct driver_desc desc = {.addr = DATA, .len = 10, .flags = DESC_NEXT};
    uint64_t table = guest_ram_alloc(&bed->ram, RING_BED_DRIVER, 64, 16);
    uint16_t index[4];
    struct chain *chain;

    ring_bed_start(bed, 16, 0, ALL);
    for (unsigned i = 0; i < 4; i++)
        index[i] = driver_split_claim(&bed->split);
    for (unsigned i = 0; i < 3; i++) {
        desc.next = index[i + 1];
        driver_split_write_desc(&bed->split, index[i], &desc);
    }
    desc = (struct driver_desc){.addr = table, .len = 32, .flags = DESC_INDIRECT};
    driver_split_write_desc(&bed->split, index[3], &desc);
    desc = (struct driver_desc){.addr = DATA, .len = 5, .flags = DESC_NEXT, .next = 1};
    driver_split_write_desc_at(&bed->split, table, &desc);
    desc = (struct driver_desc){.addr = DATA, .len = 7, .flags = DESC_WRITE};
    driver_split_write_desc_at(&bed->split, table + 16, &desc);
    ring_bed_offer_raw(bed, index[0]);
    chain = ring_bed_pop(bed);
    assert_int_equal(chain->fault, CHAIN_FAULT_NONE);
    assert_int_equal(chain->readable_len, 35);
    assert_int_equal(chain->writable_len, 7);
}

static void SPL_07_write_flag_of_the_table_descriptor_is_ignored(void **state)
{
    struct ring_bed *bed = *state;
    uint64_t table = guest_ram_alloc(&bed->ram, RING_BED_DRIVER, 64, 16);
    struct driver_desc desc = {.addr = table, .len = 16, .flags = DESC_INDIRECT | DESC_WRITE};
    uint16_t head;

    ring_bed_start(bed, 16, 0, ALL);
    head = driver_split_claim(&bed->split);
    driver_split_write_desc(&bed->split, head, &desc);
    desc = (struct driver_desc){.addr = DATA, .len = 9};
    driver_split_write_desc_at(&bed->split, table, &desc);
    ring_bed_offer_raw(bed, head);
    assert_int_equal(ring_bed_pop(bed)->readable_len, 9);
}

/* Entries in the order 0, 3, 1, 2: `next` counts, not the position. */
static void SPL_08_next_within_a_table_is_followed(void **state)
{
    static const uint16_t next[4] = {3, 2, 0, 1};
    struct ring_bed *bed = *state;
    uint64_t table = guest_ram_alloc(&bed->ram, RING_BED_DRIVER, 64, 16);
    struct driver_desc desc = {.addr = table, .len = 64, .flags = DESC_INDIRECT};
    struct chain *chain;
    uint16_t head;

    ring_bed_start(bed, 16, 0, ALL);
    head = driver_split_claim(&bed->split);
    driver_split_write_desc(&bed->split, head, &desc);
    for (unsigned i = 0; i < 4; i++) {
        desc = (struct driver_desc){.addr = DATA + 0x100 * i,
                                    .len = 1 + i,
                                    .flags = i == 2 ? 0 : DESC_NEXT,
                                    .next = next[i]};
        driver_split_write_desc_at(&bed->split, table + 16 * i, &desc);
    }
    ring_bed_offer_raw(bed, head);
    chain = ring_bed_pop(bed);
    assert_int_equal(chain->readable_count, 4);
    assert_int_equal(chain->iov[0].iov_len, 1);
    assert_int_equal(chain->iov[1].iov_len, 4);
    assert_int_equal(chain->iov[2].iov_len, 2);
    assert_int_equal(chain->iov[3].iov_len, 3);
}

static void SPL_04_chain_of_the_whole_ring_and_of_the_longest_table(void **state)
{
    struct ring_bed *bed = *state;
    struct driver_buffer buffer[64];
    uint64_t table = guest_ram_alloc(&bed->ram, RING_BED_DRIVER, 16 * VIRTQUEUE_CHAIN_MIN, 16);
    struct driver_desc desc = {
        .addr = table, .len = 16 * VIRTQUEUE_CHAIN_MIN, .flags = DESC_INDIRECT};
    uint16_t head;

    ring_bed_start(bed, 64, 0, ALL);
    for (unsigned i = 0; i < 64; i++)
        buffer[i] = reads(DATA + 8 * i, 1);
    head = ring_bed_offer(bed, buffer, 64, CHAIN_DIRECT);
    chain_expect_spans(&bed->ram, ring_bed_pop(bed), buffer, 64);
    ring_bed_complete(bed, head, 0);
    head = (uint16_t)(head == 0);
    driver_split_write_desc(&bed->split, head, &desc);
    for (unsigned i = 0; i < VIRTQUEUE_CHAIN_MIN; i++) {
        desc = (struct driver_desc){.addr = DATA,
                                    .len = 1,
                                    .flags = i + 1 < VIRTQUEUE_CHAIN_MIN ? DESC_NEXT : 0,
                                    .next = (uint16_t)(i + 1)};
        driver_split_write_desc_at(&bed->split, table + 16 * i, &desc);
    }
    ring_bed_offer_raw(bed, head);
    assert_int_equal(ring_bed_pop(bed)->readable_len, VIRTQUEUE_CHAIN_MIN);
}

static void SPL_BAD_11_buffer_over_adjacent_regions_is_split(void **state)
{
    const struct driver_buffer buffer = reads(RING_BED_NEXT_GPA - 100, 300);
    struct ring_bed *bed = *state;
    struct chain *chain;

    ring_bed_start(bed, 16, 0, ALL);
    ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    chain = ring_bed_pop(bed);
    assert_int_equal(chain->readable_count, 2);
    chain_expect_spans(&bed->ram, chain, &buffer, 1);
}

/* Every size there is, around the 16-bit wrap of the index. */
static void SPL_01_all_sizes_over_the_index_wrap(void **state)
{
    struct ring_bed *bed = *state;

    for (unsigned size = 2; size <= 4096; size *= 2) {
        ring_bed_start(bed, size, (uint16_t)-3, ALL);
        for (unsigned i = 0; i < 6; i++)
            ring_bed_round_trip(bed);
        virtqueue_stop(&bed->queue);
    }
}

static void SPL_01_smallest_and_largest_ring(void **state)
{
    const struct driver_buffer buffer = reads(DATA, 60);
    struct ring_bed *bed = *state;

    ring_bed_start(bed, 32768, 0x7ffe, ALL);
    for (unsigned i = 0; i < 5; i++)
        ring_bed_round_trip(bed);
    ring_bed_start(bed, 1, 0xffff, ALL);
    for (unsigned i = 0; i < 3; i++) {
        uint16_t head = ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
        struct driver_used used;

        assert_int_equal(ring_bed_pop(bed)->readable_len, 60);
        ring_bed_complete(bed, head, 0);
        assert_int_equal(bed->split.ring.ops->take(&bed->split.ring, &used), 1);
    }
}

static void ring_pop_gives_batches_and_unpop_takes_them_back(void **state)
{
    struct ring_bed *bed = *state;
    uint16_t head[8];

    ring_bed_start(bed, 16, 0xfffc, ALL);
    for (unsigned i = 0; i < 8; i++) {
        struct driver_buffer buffer = reads(DATA + 0x100 * i, 60 + i);

        head[i] = ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    }
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 5), 5);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 3);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(bed->batch.chain[i].token, head[i]);
        assert_int_equal(bed->batch.chain[i].readable_len, 60 + i);
    }
    virtqueue_unpop(&bed->queue, &bed->batch, 2);
    assert_int_equal(bed->queue.in_flight, 2);
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 6);
    assert_int_equal(bed->batch.chain[0].token, head[2]);
    assert_int_equal(bed->batch.chain[5].token, head[7]);
}

/* Spans of a second long chain do not fit behind the first: it comes with the next pop, whole. */
static void ring_batch_without_room_leaves_the_chain_for_later(void **state)
{
    struct ring_bed *bed = *state;
    struct driver_buffer buffer[60];

    ring_bed_start(bed, 64, 0, ALL);
    for (unsigned i = 0; i < 60; i++)
        buffer[i] = reads(DATA + 8 * i, 2);
    for (unsigned i = 0; i < 50; i++)
        ring_bed_offer(bed, buffer, 60, CHAIN_INDIRECT);
    for (unsigned seen = 0; seen < 50;) {
        unsigned count;

        chain_batch_reset(&bed->batch);
        count = virtqueue_pop(&bed->queue, &bed->batch, 64);
        assert_true(count > 0);
        for (unsigned i = 0; i < count; i++)
            chain_expect_spans(&bed->ram, &bed->batch.chain[i], buffer, 60);
        seen += count;
    }
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 64), 0);
}

static void SPL_05_used_entries_appear_with_one_index_store(void **state)
{
    const struct driver_buffer buffer = writes(DATA, 100);
    struct ring_bed *bed = *state;
    uint16_t head[4];

    ring_bed_start(bed, 16, 0xfffe, ALL);
    for (unsigned i = 0; i < 4; i++)
        head[i] = ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 4), 4);
    for (unsigned i = 0; i < 4; i++) {
        virtqueue_push(&bed->queue, head[3 - i], i);
        assert_int_equal(driver_split_used_idx(&bed->split), 0xfffe);
    }
    virtqueue_flush(&bed->queue);
    assert_int_equal(driver_split_used_idx(&bed->split), 2);
    for (unsigned i = 0; i < 4; i++) {
        struct driver_used used = driver_split_used_entry(&bed->split, (uint16_t)(0xfffe + i));

        assert_int_equal(used.id, head[3 - i]);
        assert_int_equal(used.len, i);
    }
}

static void complete_one(struct ring_bed *bed)
{
    ring_bed_round_trip(bed);
}

static void SPL_10_interrupt_by_flag(void **state)
{
    struct ring_bed *bed = *state;

    ring_bed_start(bed, 16, 0, VIRTQUEUE_INDIRECT);
    driver_split_store_avail_flags(&bed->split, 1);
    complete_one(bed); /* the first batch after a start always notifies */
    assert_int_equal(bed->fires, 1);
    driver_split_store_used_event(&bed->split, 1); /* means nothing here */
    complete_one(bed);
    assert_int_equal(bed->fires, 1);
    driver_split_store_avail_flags(&bed->split, 0);
    complete_one(bed);
    assert_int_equal(bed->fires, 2);
    driver_split_store_avail_flags(&bed->split, 0xfffe); /* other bits are ignored */
    complete_one(bed);
    assert_int_equal(bed->fires, 3);
    driver_split_store_avail_flags(&bed->split, 0xffff);
    complete_one(bed);
    assert_int_equal(bed->fires, 3);
    assert_int_equal(counter_get(&bed->queue.interrupts), 3);
    assert_int_equal(counter_get(&bed->queue.interrupts_suppressed), 2);
}

/* A batch of `count` used entries that starts at index `old`, with used_event at `event`. */
static int interrupt_comes(struct ring_bed *bed, uint16_t old, unsigned count, uint16_t event)
{
    const struct driver_buffer buffer = writes(DATA, 100);
    unsigned before;

    virtqueue_stop(&bed->queue);
    ring_bed_start(bed, 16, (uint16_t)(old - 1), ALL);
    complete_one(bed); /* the unconditional first one is over */
    before = bed->fires;
    driver_split_store_used_event(&bed->split, event);
    for (unsigned i = 0; i < count; i++)
        ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, count), count);
    for (unsigned i = 0; i < count; i++)
        virtqueue_push(&bed->queue, bed->batch.chain[i].token, 0);
    virtqueue_flush(&bed->queue);
    return bed->fires != before;
}

static void SPL_11_interrupt_by_event_index(void **state)
{
    static const uint16_t start[] = {1, 100, 0x7fff, 0xfffd, 0xfffe, 0xffff, 0};
    struct ring_bed *bed = *state;

    for (unsigned i = 0; i < sizeof(start) / sizeof(start[0]); i++) {
        uint16_t old = start[i];

        assert_true(interrupt_comes(bed, old, 4, (uint16_t)(old + 3)));  /* new - 1 */
        assert_true(interrupt_comes(bed, old, 4, old));                  /* old */
        assert_false(interrupt_comes(bed, old, 4, (uint16_t)(old - 1))); /* passed before */
        assert_false(interrupt_comes(bed, old, 4, (uint16_t)(old + 4))); /* new: not yet */
        assert_false(interrupt_comes(bed, old, 4, (uint16_t)(old + 0x8000)));
    }
}

static void SPL_11_avail_flag_is_ignored_with_event_idx(void **state)
{
    struct ring_bed *bed = *state;

    ring_bed_start(bed, 16, 0, ALL);
    complete_one(bed);
    driver_split_store_avail_flags(&bed->split, 1);
    driver_split_store_used_event(&bed->split, 1);
    complete_one(bed);
    assert_int_equal(bed->fires, 2);
}

static void SPL_09_used_flags_are_what_they_may_be(void **state)
{
    struct ring_bed *bed = *state;

    ring_bed_start(bed, 16, 0, ALL);
    virtqueue_disarm(&bed->queue);
    assert_int_equal(driver_split_used_flags(&bed->split), 0);
    virtqueue_arm(&bed->queue);
    assert_int_equal(driver_split_used_flags(&bed->split), 0);
    virtqueue_stop(&bed->queue);
    ring_bed_start(bed, 16, 0, 0);
    virtqueue_arm(&bed->queue);
    assert_int_equal(driver_split_used_flags(&bed->split), 0);
    virtqueue_disarm(&bed->queue);
    assert_int_equal(driver_split_used_flags(&bed->split), 1);
    virtqueue_arm(&bed->queue);
    assert_int_equal(driver_split_used_flags(&bed->split), 0);
}

/* The driver's kick rule and arm agree: after arm, exactly the next buffer asks for a kick. */
static void SPL_12_arm_asks_for_the_next_kick(void **state)
{
    static const uint32_t features[] = {0, ALL};
    const struct driver_buffer buffer = reads(DATA, 60);
    struct driver_chain chain = {&buffer, 1, CHAIN_DIRECT};
    struct ring_bed *bed = *state;

    for (unsigned i = 0; i < 2; i++) {
        struct driver_ring *ring = &bed->split.ring;

        ring_bed_start(bed, 16, 0xffff, features[i]);
        virtqueue_disarm(&bed->queue);
        assert_int_equal(virtqueue_arm(&bed->queue), 0);
        ring->ops->add(ring, &chain);
        assert_int_equal(ring->ops->publish(ring), 1);
        assert_int_equal(virtqueue_arm(&bed->queue), 1); /* it is there: do not sleep */
        ring_bed_pop(bed);
        virtqueue_disarm(&bed->queue);
        assert_int_equal(virtqueue_arm(&bed->queue), 0);
        ring->ops->add(ring, &chain);
        ring->ops->add(ring, &chain);
        assert_int_equal(ring->ops->publish(ring), 1);
        virtqueue_stop(&bed->queue);
    }
}

static void VU_ST_09_restart_continues_where_it_stopped(void **state)
{
    struct ring_bed *bed = *state;
    struct virtqueue_config config;
    uint16_t base;

    ring_bed_start(bed, 16, 0xfffd, ALL);
    for (unsigned i = 0; i < 5; i++)
        ring_bed_round_trip(bed);
    base = virtqueue_stop(&bed->queue);
    assert_int_equal(base, 2);
    config = ring_bed_config(bed, ALL);
    config.base = base;
    assert_int_equal(virtqueue_start(&bed->queue, &config, bed->memory, NULL), 0);
    for (unsigned i = 0; i < 20; i++)
        ring_bed_round_trip(bed);
}

static void ring_stop_publishes_what_was_pushed(void **state)
{
    const struct driver_buffer buffer = reads(DATA, 60);
    struct ring_bed *bed = *state;
    uint16_t head;

    ring_bed_start(bed, 16, 0, ALL);
    head = ring_bed_offer(bed, &buffer, 1, CHAIN_DIRECT);
    ring_bed_pop(bed);
    virtqueue_push(&bed->queue, head, 0);
    assert_int_equal(virtqueue_stop(&bed->queue), 1);
    assert_int_equal(driver_split_used_idx(&bed->split), 1);
    assert_int_equal(bed->fires, 1);
}

static void SPL_15_big_endian_legacy_ring(void **state)
{
    static const enum chain_shape shape[] = {CHAIN_DIRECT, CHAIN_INDIRECT, CHAIN_MIXED};
    const struct driver_buffer buffer[] = {reads(DATA, 12), writes(DATA + 0x1000, 99)};
    struct ring_bed *bed = *state;

    ring_bed_start_order(bed, 16, WIRE_BIG);
    for (unsigned i = 0; i < 3; i++) {
        uint16_t head = ring_bed_offer(bed, buffer, 2, shape[i]);

        chain_expect_spans(&bed->ram, ring_bed_pop(bed), buffer, 2);
        ring_bed_complete(bed, head, 77);
        assert_int_equal(driver_split_used_idx(&bed->split), i + 1);
        assert_int_equal(driver_split_used_entry(&bed->split, (uint16_t)i).id, head);
        assert_int_equal(driver_split_used_entry(&bed->split, (uint16_t)i).len, 77);
    }
    assert_int_equal(virtqueue_arm(&bed->queue), 0);
    assert_int_equal(driver_split_avail_event(&bed->split), 3);
}

/* ---- the soak: a driver thread against the device, sleeping and waking by the rules alone ---- */

enum {
    SOAK_CHAINS = 30000
};

static void *soak_driver(void *context)
{
    const struct driver_buffer buffer = reads(DATA, 60);
    struct driver_chain chain = {&buffer, 1, CHAIN_DIRECT};
    struct ring_bed *bed = context;
    struct driver_ring *ring = &bed->split.ring;
    unsigned sent = 0, back = 0;

    while (back < SOAK_CHAINS) {
        struct driver_used used;

        for (unsigned burst = 1 + sent % 7; burst > 0; burst--) {
            if (sent < SOAK_CHAINS && sent - back < ring->size) {
                ring->ops->add(ring, &chain);
                sent++;
            }
        }
        if (ring->ops->publish(ring))
            driver_ring_kick(ring);
        ring->ops->interrupts(ring, INTERRUPTS_ON);
        if (driver_split_used_idx(&bed->split) == bed->split.used_idx &&
            !wait_eventfd(ring->call_fd, WAIT_LONG_MS))
            return (void *)"an interrupt was lost";
        while (ring->ops->take(ring, &used))
            back++;
    }
    return NULL;
}

static void soak_fire(void *context)
{
    uint64_t one = 1;

    assert_int_equal(write(*(int *)context, &one, sizeof(one)), sizeof(one));
}

static void soak(struct ring_bed *bed, uint32_t features)
{
    struct virtqueue_config config;
    pthread_t thread;
    void *failure;
    unsigned done = 0;

    ring_bed_start(bed, 16, 0xff00, features);
    bed->split.ring.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bed->split.ring.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    config = ring_bed_config(bed, features);
    config.notifier = (struct virtqueue_notifier){soak_fire, &bed->split.ring.call_fd};
    assert_int_equal(virtqueue_start(&bed->queue, &config, bed->memory, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, soak_driver, bed), 0);
    while (done < SOAK_CHAINS) {
        unsigned count;

        chain_batch_reset(&bed->batch);
        count = virtqueue_pop(&bed->queue, &bed->batch, 64);
        for (unsigned i = 0; i < count; i++)
            virtqueue_push(&bed->queue, bed->batch.chain[i].token, 0);
        virtqueue_flush(&bed->queue);
        done += count;
        if (count > 0)
            virtqueue_disarm(&bed->queue);
        else if (virtqueue_arm(&bed->queue) == 0 && done < SOAK_CHAINS)
            check(wait_eventfd(bed->split.ring.kick_fd, WAIT_LONG_MS), "a kick was lost at %u",
                  done);
    }
    pthread_join(thread, &failure);
    check(failure == NULL, "%s", (const char *)failure);
    close(bed->split.ring.kick_fd);
    close(bed->split.ring.call_fd);
}

static void SPL_12_no_kick_or_interrupt_is_lost_with_event_idx(void **state)
{
    soak(*state, ALL);
}

static void SPL_12_no_kick_or_interrupt_is_lost_with_flags(void **state)
{
    soak(*state, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RING_BED_TEST(SPL_03_shapes),
        RING_BED_TEST(SPL_06_direct_descriptors_before_the_table),
        RING_BED_TEST(SPL_07_write_flag_of_the_table_descriptor_is_ignored),
        RING_BED_TEST(SPL_08_next_within_a_table_is_followed),
        RING_BED_TEST(SPL_04_chain_of_the_whole_ring_and_of_the_longest_table),
        RING_BED_TEST(SPL_BAD_11_buffer_over_adjacent_regions_is_split),
        RING_BED_TEST(SPL_01_all_sizes_over_the_index_wrap),
        RING_BED_TEST(SPL_01_smallest_and_largest_ring),
        RING_BED_TEST(ring_pop_gives_batches_and_unpop_takes_them_back),
        RING_BED_TEST(ring_batch_without_room_leaves_the_chain_for_later),
        RING_BED_TEST(SPL_05_used_entries_appear_with_one_index_store),
        RING_BED_TEST(SPL_10_interrupt_by_flag),
        RING_BED_TEST(SPL_11_interrupt_by_event_index),
        RING_BED_TEST(SPL_11_avail_flag_is_ignored_with_event_idx),
        RING_BED_TEST(SPL_09_used_flags_are_what_they_may_be),
        RING_BED_TEST(SPL_12_arm_asks_for_the_next_kick),
        RING_BED_TEST(VU_ST_09_restart_continues_where_it_stopped),
        RING_BED_TEST(ring_stop_publishes_what_was_pushed),
        RING_BED_TEST(SPL_15_big_endian_legacy_ring),
        RING_BED_TEST(SPL_12_no_kick_or_interrupt_is_lost_with_event_idx),
        RING_BED_TEST(SPL_12_no_kick_or_interrupt_is_lost_with_flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
