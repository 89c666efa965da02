/* SPDX-License-Identifier: MIT */
#include "ring_bed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

#define DRIVER_GPA  0x100000ull
#define DRIVER_SIZE (64ull << 20)

static void count_fire(void *context)
{
    ((struct ring_bed *)context)->fires++;
}

static void share(struct ring_bed *bed, unsigned index, uint8_t *hva)
{
    const struct guest_ram_region *from = &bed->ram.region[index];
    struct memory_region region = {
        .gpa = from->gpa, .uva = from->uva, .size = from->size, .hva = hva};

    assert_int_equal(guest_memory_add(bed->memory, &region, NULL), 0);
}

/* ThreadSanitizer follows addresses: under it both sides share one mapping. */
static uint8_t *driver_pages_map(const struct guest_ram_region *region)
{
#ifdef __SANITIZE_THREAD__
    return region->map;
#else
    return mmap(NULL, DRIVER_SIZE, PROT_READ, MAP_SHARED, region->fd, 0);
#endif
}

int ring_bed_setup(void **state)
{
    struct ring_bed *bed = calloc(1, sizeof(*bed));

    if (bed == NULL || guest_memory_create(&bed->memory) < 0)
        return -1;
    guest_ram_init(&bed->ram);
    guest_ram_add(&bed->ram, DRIVER_GPA, DRIVER_SIZE, 0);
    guest_ram_add(&bed->ram, RING_BED_DATA_GPA, RING_BED_DATA_SIZE, 0);
    guest_ram_add(&bed->ram, RING_BED_NEXT_GPA, RING_BED_DATA_SIZE, 4096);
    bed->driver_pages = driver_pages_map(&bed->ram.region[0]);
    if (bed->driver_pages == MAP_FAILED)
        return -1;
    share(bed, RING_BED_DRIVER, bed->driver_pages);
    share(bed, RING_BED_DATA, bed->ram.region[RING_BED_DATA].map);
    share(bed, RING_BED_NEXT, bed->ram.region[RING_BED_NEXT].map);
    *state = bed;
    return 0;
}

int ring_bed_teardown(void **state)
{
    struct ring_bed *bed = *state;

    virtqueue_stop(&bed->queue);
    chain_batch_free(&bed->batch);
    guest_memory_free(bed->memory);
    driver_split_free(&bed->split);
    if (bed->driver_pages != bed->ram.region[0].map)
        munmap(bed->driver_pages, DRIVER_SIZE);
    guest_ram_free(&bed->ram);
    free(bed);
    return 0;
}

struct virtqueue_config ring_bed_config(struct ring_bed *bed, uint32_t features)
{
    return (struct virtqueue_config){
        .size = (uint16_t)bed->split.ring.size,
        .base = bed->split.avail_idx,
        .features = features,
        .order = bed->split.ring.order == WIRE_BIG ? BYTE_ORDER_BIG : BYTE_ORDER_LITTLE,
        .desc_gpa = bed->split.desc_gpa,
        .driver_gpa = bed->split.avail_gpa,
        .device_gpa = bed->split.used_gpa,
        .notifier = {count_fire, bed},
    };
}

static void start(struct ring_bed *bed, const struct driver_split_options *options,
                  uint32_t features)
{
    struct virtqueue_config config;
    struct error err = {""};

    driver_split_free(&bed->split);
    driver_split_init(&bed->split, &bed->ram, options);
    chain_batch_free(&bed->batch);
    assert_int_equal(chain_batch_init(&bed->batch, 64, options->size), 0);
    config = ring_bed_config(bed, features);
    check(virtqueue_start(&bed->queue, &config, bed->memory, &err) == 0, "%s", err.text);
}

void ring_bed_start(struct ring_bed *bed, unsigned size, uint16_t start_idx, uint32_t features)
{
    struct driver_split_options options = {
        .size = size,
        .start_idx = start_idx,
        .event_idx = (features & VIRTQUEUE_EVENT_IDX) != 0,
        .region = RING_BED_DRIVER,
        .used_region = RING_BED_DATA,
    };

    start(bed, &options, features);
}

void ring_bed_start_order(struct ring_bed *bed, unsigned size, enum wire_order order)
{
    struct driver_split_options options = {
        .size = size, .order = order, .event_idx = 1, .used_region = RING_BED_DATA};

    start(bed, &options, VIRTQUEUE_EVENT_IDX | VIRTQUEUE_INDIRECT);
}

uint16_t ring_bed_offer(struct ring_bed *bed, const struct driver_buffer *buffer, unsigned count,
                        enum chain_shape shape)
{
    struct driver_chain chain = {buffer, count, shape};
    uint16_t head = (uint16_t)bed->split.ring.ops->add(&bed->split.ring, &chain);

    bed->split.ring.ops->publish(&bed->split.ring);
    return head;
}

void ring_bed_offer_raw(struct ring_bed *bed, uint16_t head)
{
    driver_split_offer(&bed->split, head);
    bed->split.ring.ops->publish(&bed->split.ring);
}

struct chain *ring_bed_pop(struct ring_bed *bed)
{
    chain_batch_reset(&bed->batch);
    assert_int_equal(virtqueue_pop(&bed->queue, &bed->batch, 1), 1);
    assert_int_equal(bed->batch.count, 1);
    return &bed->batch.chain[0];
}

void ring_bed_complete(struct ring_bed *bed, uint16_t head, uint32_t len)
{
    virtqueue_push(&bed->queue, head, len);
    virtqueue_flush(&bed->queue);
}

void ring_bed_round_trip(struct ring_bed *bed)
{
    struct driver_buffer buffer[2] = {
        {RING_BED_DATA_GPA + 0x80000, 100, DEVICE_READS},
        {RING_BED_DATA_GPA + 0x81000, 200, DEVICE_WRITES},
    };
    uint16_t before = driver_split_used_idx(&bed->split);
    uint16_t head = ring_bed_offer(bed, buffer, 2, CHAIN_DIRECT);
    struct chain *chain = ring_bed_pop(bed);
    struct driver_used used;

    assert_int_equal(chain->fault, CHAIN_FAULT_NONE);
    assert_int_equal(chain->token, head);
    assert_int_equal(chain->readable_len, 100);
    assert_int_equal(chain->writable_len, 200);
    ring_bed_complete(bed, head, 42);
    assert_int_equal(driver_split_used_idx(&bed->split), (uint16_t)(before + 1));
    used = driver_split_used_entry(&bed->split, before);
    assert_int_equal(used.id, head);
    assert_int_equal(used.len, 42);
    bed->split.used_idx = before;
    assert_int_equal(bed->split.ring.ops->take(&bed->split.ring, &used), 1);
}
