/* SPDX-License-Identifier: MIT */
#include "format_bed.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum {
    BATCH = 64
};

static void fire(void *context)
{
    struct format_bed *bed = context;
    uint64_t one = 1;

    bed->fires++;
    if (bed->call_fd >= 0 && write(bed->call_fd, &one, sizeof(one)) < 0)
        abort(); /* an eventfd takes 2^64 - 2 of them */
}

static int share(struct format_bed *bed, unsigned index, uint8_t *hva)
{
    const struct guest_ram_region *from = &bed->ram.region[index];
    struct memory_region region = {
        .gpa = from->gpa, .uva = from->uva, .size = from->size, .hva = hva};

    return guest_memory_add(bed->memory, &region, NULL);
}

int format_bed_init(struct format_bed *bed, enum format_bed_mapping mapping)
{
    uint8_t *driver_pages;

    *bed = (struct format_bed){.call_fd = -1, .kick_fd = -1};
    if (guest_memory_create(&bed->memory) < 0)
        return -1;
    guest_ram_init(&bed->ram);
    guest_ram_add(&bed->ram, FORMAT_BED_DRIVER_GPA, FORMAT_BED_DRIVER_SIZE, 0);
    guest_ram_add(&bed->ram, FORMAT_BED_DATA_GPA, FORMAT_BED_DATA_SIZE, 0);
    guest_ram_add(&bed->ram, FORMAT_BED_NEXT_GPA, FORMAT_BED_DATA_SIZE, 4096);
    driver_pages = bed->ram.region[FORMAT_BED_DRIVER].map;
    if (mapping == FORMAT_BED_READ_ONLY) {
        driver_pages = mmap(NULL, FORMAT_BED_DRIVER_SIZE, PROT_READ, MAP_SHARED,
                            bed->ram.region[FORMAT_BED_DRIVER].fd, 0);
        if (driver_pages == MAP_FAILED)
            return -1;
        bed->driver_pages = driver_pages;
    }
    if (share(bed, FORMAT_BED_DRIVER, driver_pages) < 0)
        return -1;
    for (unsigned i = FORMAT_BED_DATA; i <= FORMAT_BED_NEXT; i++) {
        if (share(bed, i, bed->ram.region[i].map) < 0)
            return -1;
    }
    return 0;
}

static void rings_free(struct format_bed *bed)
{
    virtqueue_stop(&bed->queue);
    driver_split_free(&bed->split);
    driver_packed_free(&bed->packed);
    bed->ring = NULL;
    bed->ram.region[FORMAT_BED_DRIVER].used = 0;
    bed->ram.region[FORMAT_BED_DATA].used = 0;
}

void format_bed_free(struct format_bed *bed)
{
    rings_free(bed);
    chain_batch_free(&bed->batch);
    guest_memory_free(bed->memory);
    if (bed->driver_pages != NULL)
        munmap(bed->driver_pages, FORMAT_BED_DRIVER_SIZE);
    guest_ram_free(&bed->ram);
    if (bed->call_fd >= 0)
        close(bed->call_fd);
    if (bed->kick_fd >= 0)
        close(bed->kick_fd);
}

int format_bed_setup(void **state)
{
    *state = calloc(1, sizeof(struct format_bed));
    return *state == NULL ? -1 : format_bed_init(*state, FORMAT_BED_READ_ONLY);
}

int format_bed_teardown(void **state)
{
    format_bed_free(*state);
    free(*state);
    return 0;
}

struct virtqueue_config format_bed_config(struct format_bed *bed)
{
    return (struct virtqueue_config){
        .size = (uint16_t)bed->ring->size,
        .base = bed->ring->ops->base(bed->ring),
        .features = bed->features,
        .desc_gpa = bed->ring->desc_area,
        .driver_gpa = bed->ring->driver_area,
        .device_gpa = bed->ring->device_area,
        .notifier = {fire, bed},
    };
}

static void device_start(struct format_bed *bed, uint32_t base)
{
    struct virtqueue_config config = format_bed_config(bed);
    struct error err = {""};

    config.base = base;
    check(virtqueue_start(&bed->queue, &config, bed->memory, &err) == 0, "%s", err.text);
}

void format_bed_start_packed_at(struct format_bed *bed, unsigned size, uint16_t start,
                                uint32_t features)
{
    struct driver_packed_options options = {
        .size = size,
        .start = start,
        .event_idx = (features & VIRTQUEUE_EVENT_IDX) != 0,
        .in_order = (features & VIRTQUEUE_BATCH_USED) != 0,
        .region = FORMAT_BED_DRIVER,
        .ring_region = FORMAT_BED_DATA,
    };

    rings_free(bed);
    driver_packed_init(&bed->packed, &bed->ram, &options);
    bed->ring = &bed->packed.ring;
    bed->features = features | VIRTQUEUE_PACKED;
    chain_batch_free(&bed->batch);
    assert_int_equal(chain_batch_init(&bed->batch, BATCH, size), 0);
    device_start(bed, bed->ring->ops->base(bed->ring));
}

static void start_split(struct format_bed *bed, unsigned size, uint32_t features)
{
    struct driver_split_options options = {
        .size = size,
        .event_idx = (features & VIRTQUEUE_EVENT_IDX) != 0,
        .in_order = (features & VIRTQUEUE_BATCH_USED) != 0,
        .region = FORMAT_BED_DRIVER,
        .used_region = FORMAT_BED_DATA,
    };

    rings_free(bed);
    driver_split_init(&bed->split, &bed->ram, &options);
    bed->ring = &bed->split.ring;
    bed->features = features;
    chain_batch_free(&bed->batch);
    assert_int_equal(chain_batch_init(&bed->batch, BATCH, size), 0);
    device_start(bed, 0);
}

void format_bed_start(struct format_bed *bed, unsigned size, uint32_t features)
{
    if (features & VIRTQUEUE_PACKED)
        format_bed_start_packed_at(bed, size, 0, features);
    else
        start_split(bed, size, features);
}

void format_bed_wire(struct format_bed *bed)
{
    if (bed->call_fd < 0)
        bed->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bed->kick_fd < 0)
        bed->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(bed->call_fd >= 0 && bed->kick_fd >= 0);
    bed->ring->call_fd = bed->call_fd;
    bed->ring->kick_fd = bed->kick_fd;
}

void format_bed_cycle(struct format_bed *bed)
{
    device_start(bed, virtqueue_stop(&bed->queue));
}

uint32_t format_bed_offer(struct format_bed *bed, const struct driver_buffer *buffer,
                          unsigned count, enum chain_shape shape)
{
    struct driver_chain chain = {buffer, count, shape};
    uint32_t id = bed->ring->ops->add(bed->ring, &chain);

    bed->ring->ops->publish(bed->ring);
    return id;
}

unsigned format_bed_pop_many(struct format_bed *bed, unsigned max)
{
    chain_batch_reset(&bed->batch);
    return virtqueue_pop(&bed->queue, &bed->batch, max);
}

struct chain *format_bed_pop(struct format_bed *bed)
{
    assert_int_equal(format_bed_pop_many(bed, 1), 1);
    assert_int_equal(bed->batch.count, 1);
    return &bed->batch.chain[0];
}

void format_bed_complete(struct format_bed *bed, uint32_t token, uint32_t len)
{
    virtqueue_push(&bed->queue, token, len);
    virtqueue_flush(&bed->queue);
}

void format_bed_expect_used(struct format_bed *bed, uint32_t id, uint32_t len)
{
    struct driver_used used;

    check(bed->ring->ops->take(bed->ring, &used), "buffer %u was not used", id);
    assert_int_equal(used.id, id);
    assert_int_equal(used.len, len);
}

void format_bed_expect_no_used(struct format_bed *bed)
{
    struct driver_used used;

    assert_int_equal(bed->ring->ops->take(bed->ring, &used), 0);
}

void format_bed_round_trip(struct format_bed *bed)
{
    struct driver_buffer buffer[2] = {
        device_reads(FORMAT_BED_NEXT_GPA + 0x80000, 100),
        device_writes(FORMAT_BED_NEXT_GPA + 0x81000, 200),
    };
    uint32_t id = format_bed_offer(bed, buffer, bed->ring->size > 1 ? 2 : 1, CHAIN_DIRECT);
    struct chain *chain = format_bed_pop(bed);
    uint32_t len = chain->writable_len / 2;

    assert_int_equal(chain->fault, CHAIN_FAULT_NONE);
    assert_int_equal(chain->readable_len, 100);
    if (bed->features & VIRTQUEUE_BATCH_USED)
        len = 0;
    format_bed_complete(bed, chain->token, len);
    format_bed_expect_used(bed, id, len);
}
