/* SPDX-License-Identifier: MIT */
#include "driver_split.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum {
    TABLE_LEN = 64, /* entries of the indirect table that each head owns */
    NO_INTERRUPT = 1,
    NO_NOTIFY = 1,
};

static struct driver_split *split_of(struct driver_ring *ring)
{
    return (struct driver_split *)ring;
}

static uint8_t *avail_at(const struct driver_split *split, unsigned offset)
{
    return (uint8_t *)guest_ram_at(split->ring.ram, split->avail_gpa,
                                   driver_split_avail_len(split)) +
           offset;
}

static uint8_t *used_at(const struct driver_split *split, unsigned offset)
{
    return (uint8_t *)guest_ram_at(split->ring.ram, split->used_gpa, driver_split_used_len(split)) +
           offset;
}

unsigned driver_split_avail_len(const struct driver_split *split)
{
    return 6 + 2 * split->ring.size;
}

unsigned driver_split_used_len(const struct driver_split *split)
{
    return 6 + 8 * split->ring.size;
}

uint64_t driver_split_desc_at(const struct driver_split *split, unsigned index)
{
    return split->desc_gpa + (uint64_t)index * DRIVER_DESC_LEN;
}

void driver_split_write_desc_at(struct driver_split *split, uint64_t gpa,
                                const struct driver_desc *desc)
{
    uint8_t *at = guest_ram_at(split->ring.ram, gpa, DRIVER_DESC_LEN);
    enum wire_order order = split->ring.order;

    wire_put64(at, desc->addr, order);
    wire_put32(at + 8, desc->len, order);
    wire_put16(at + 12, desc->flags, order);
    wire_put16(at + 14, desc->next, order);
}

void driver_split_write_desc(struct driver_split *split, unsigned index,
                             const struct driver_desc *desc)
{
    driver_split_write_desc_at(split, driver_split_desc_at(split, index), desc);
}

static uint16_t desc_next(const struct driver_split *split, unsigned index)
{
    return wire_get16((uint8_t *)guest_ram_at(split->ring.ram, driver_split_desc_at(split, index),
                                              DRIVER_DESC_LEN) +
                          14,
                      split->ring.order);
}

uint16_t driver_split_claim(struct driver_split *split)
{
    uint16_t index = split->free_head;

    check(split->free_count > 0, "the ring is full");
    split->free_head = desc_next(split, index);
    split->free_count--;
    return index;
}

static void release(struct driver_split *split, uint16_t index)
{
    struct driver_desc desc = {.next = split->free_head};

    driver_split_write_desc(split, index, &desc);
    split->free_head = index;
    split->free_count++;
}

void driver_split_offer(struct driver_split *split, uint16_t head)
{
    unsigned slot = split->avail_idx++ & (split->ring.size - 1);

    wire_put16(avail_at(split, 4 + 2 * slot), head, split->ring.order);
}

void driver_split_store_avail_idx(struct driver_split *split, uint16_t idx)
{
    wire_store16(avail_at(split, 2), idx, split->ring.order);
}

void driver_split_store_used_event(struct driver_split *split, uint16_t event)
{
    wire_store16(avail_at(split, 4 + 2 * split->ring.size), event, split->ring.order);
}

void driver_split_store_avail_flags(struct driver_split *split, uint16_t flags)
{
    wire_store16(avail_at(split, 0), flags, split->ring.order);
}

uint16_t driver_split_used_idx(const struct driver_split *split)
{
    return wire_load16(used_at(split, 2), split->ring.order);
}

uint16_t driver_split_used_flags(const struct driver_split *split)
{
    return wire_load16(used_at(split, 0), split->ring.order);
}

uint16_t driver_split_avail_event(const struct driver_split *split)
{
    return wire_load16(used_at(split, 4 + 8 * split->ring.size), split->ring.order);
}

struct driver_used driver_split_used_entry(const struct driver_split *split, uint16_t idx)
{
    const uint8_t *at = used_at(split, 4 + 8 * (idx & (split->ring.size - 1)));

    return (struct driver_used){
        .id = wire_get32(at, split->ring.order),
        .len = wire_get32(at + 4, split->ring.order),
    };
}

static struct driver_desc desc_of(struct driver_split *split, uint16_t head,
                                  const struct driver_buffer *buffer)
{
    return (struct driver_desc){
        .addr = driver_ring_map(&split->ring, head, buffer),
        .len = buffer->len,
        .flags = buffer->access == DEVICE_WRITES ? DESC_WRITE : 0,
    };
}

/* Fills the table of `head` and returns the descriptor that points to it. */
static struct driver_desc table_fill(struct driver_split *split, uint16_t head,
                                     const struct driver_buffer *buffer, unsigned count)
{
    uint64_t table = split->table_gpa + (uint64_t)head * split->table_len * DRIVER_DESC_LEN;
    struct driver_buffer whole = {table, count * DRIVER_DESC_LEN, DEVICE_READS};

    check(count <= split->table_len, "the chain is too long for a table");
    for (unsigned i = 0; i < count; i++) {
        struct driver_desc desc = desc_of(split, head, &buffer[i]);

        if (i + 1 < count) {
            desc.flags |= DESC_NEXT;
            desc.next = (uint16_t)(i + 1);
        }
        driver_split_write_desc_at(split, table + (uint64_t)i * DRIVER_DESC_LEN, &desc);
    }
    return (struct driver_desc){.addr = driver_ring_map(&split->ring, head, &whole),
                                .len = whole.len,
                                .flags = DESC_INDIRECT};
}

/* How many buffers of the chain get a descriptor in the ring; the others go to a table. */
static unsigned direct_count(const struct driver_chain *chain)
{
    if (chain->shape == CHAIN_INDIRECT)
        return 0;
    return chain->shape == CHAIN_MIXED ? 1 : chain->count;
}

static uint32_t split_add(struct driver_ring *ring, const struct driver_chain *chain)
{
    struct driver_split *split = split_of(ring);
    unsigned direct = direct_count(chain);
    unsigned total = direct + (direct < chain->count);
    uint16_t head = split->free_head;
    uint16_t at = driver_split_claim(split);

    for (unsigned i = 0; i < total; i++) {
        struct driver_desc desc =
            i < direct ? desc_of(split, head, &chain->buffer[i])
                       : table_fill(split, head, chain->buffer + direct, chain->count - direct);
        uint16_t here = at;

        if (i + 1 < total) {
            at = driver_split_claim(split);
            desc.flags |= DESC_NEXT;
            desc.next = at;
        }
        driver_split_write_desc(split, here, &desc);
    }
    split->chain_len[head] = (uint16_t)total;
    driver_split_offer(split, head);
    driver_order_add(&ring->in_order, head);
    return head;
}

static int split_publish(struct driver_ring *ring)
{
    struct driver_split *split = split_of(ring);
    uint16_t old = split->published_idx;
    uint16_t new = split->avail_idx;

    driver_split_store_avail_idx(split, new);
    split->published_idx = new;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (old == new)
        return 0;
    if (ring->event_idx) /* virtio 1.4, 2.7.10 */
        return (uint16_t)(new - driver_split_avail_event(split) - 1) < (uint16_t)(new - old);
    return (driver_split_used_flags(split) & NO_NOTIFY) == 0;
}

/* In order, the entry stands in the slot of the first buffer that it is for (virtio 1.4, 2.7.9). */
static int used_next(struct driver_split *split, struct driver_used *ret_used)
{
    struct driver_order *order = &split->ring.in_order;

    if (driver_split_used_idx(split) == split->used_idx) {
        check(!order->open, "used buffer %u lies behind the used index", order->last.id);
        return 0;
    }
    if (!order->open) {
        *ret_used = driver_split_used_entry(split, split->used_idx);
        driver_order_open(order, ret_used);
    }
    driver_order_take(order, ret_used);
    split->used_idx++;
    return 1;
}

static int split_take(struct driver_ring *ring, struct driver_used *ret_used)
{
    struct driver_split *split = split_of(ring);
    uint16_t at;
    unsigned count;

    if (!used_next(split, ret_used))
        return 0;
    check(ret_used->id < ring->size && split->chain_len[ret_used->id] != 0,
          "used id %u was not in flight", ret_used->id);
    driver_ring_unmap(ring, ret_used->id);
    at = (uint16_t)ret_used->id;
    count = split->chain_len[at];
    split->chain_len[at] = 0;
    for (unsigned i = 0; i < count; i++) {
        uint16_t next = desc_next(split, at);

        release(split, at);
        at = next;
    }
    return 1;
}

static void split_interrupts(struct driver_ring *ring, enum driver_interrupts wanted)
{
    struct driver_split *split = split_of(ring);

    if (ring->event_idx)
        driver_split_store_used_event(
            split, (uint16_t)(wanted == INTERRUPTS_ON ? split->used_idx : split->used_idx - 1));
    else
        driver_split_store_avail_flags(split, wanted == INTERRUPTS_ON ? 0 : NO_INTERRUPT);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint32_t split_base(const struct driver_ring *ring)
{
    return ((const struct driver_split *)ring)->used_idx;
}

static void split_restart(struct driver_ring *ring)
{
    driver_split_restart(split_of(ring), 0);
}

static const struct driver_ring_ops split_ops = {
    .add = split_add,
    .publish = split_publish,
    .take = split_take,
    .interrupts = split_interrupts,
    .base = split_base,
    .restart = split_restart,
};

void driver_split_restart(struct driver_split *split, uint16_t start_idx)
{
    enum wire_order order = split->ring.order;

    memset(avail_at(split, 0), 0, driver_split_avail_len(split));
    memset(used_at(split, 0), 0, driver_split_used_len(split));
    memset(split->chain_len, 0, split->ring.size * sizeof(split->chain_len[0]));
    for (unsigned i = 0; i < split->ring.size; i++) {
        struct driver_desc desc = {.next = (uint16_t)(i + 1)};

        driver_split_write_desc(split, i, &desc);
    }
    wire_store16(avail_at(split, 2), start_idx, order);
    wire_store16(used_at(split, 2), start_idx, order);
    split->avail_idx = start_idx;
    split->published_idx = start_idx;
    split->used_idx = start_idx;
    split->free_head = 0;
    split->free_count = split->ring.size;
    driver_order_clear(&split->ring.in_order);
    split_interrupts(&split->ring, INTERRUPTS_ON);
}

void driver_split_init(struct driver_split *split, struct guest_ram *ram,
                       const struct driver_split_options *options)
{
    unsigned size = options->size;

    memset(split, 0, sizeof(*split));
    split->ring = (struct driver_ring){
        .ops = &split_ops,
        .ram = ram,
        .size = size,
        .order = options->order,
        .event_idx = options->event_idx,
        .kick_fd = -1,
        .call_fd = -1,
    };
    split->region = options->region;
    split->table_len = TABLE_LEN;
    split->desc_gpa = guest_ram_alloc(ram, options->region, size * DRIVER_DESC_LEN, 4096);
    split->avail_gpa = guest_ram_alloc(ram, options->region, 6 + 2 * size, 4096);
    split->used_gpa = guest_ram_alloc(ram, options->used_region, 6 + 8 * size, 4096);
    split->table_gpa =
        guest_ram_alloc(ram, options->region, (uint64_t)size * TABLE_LEN * DRIVER_DESC_LEN, 4096);
    split->ring.desc_area = split->desc_gpa;
    split->ring.driver_area = split->avail_gpa;
    split->ring.device_area = split->used_gpa;
    split->ring.desc_len = size * DRIVER_DESC_LEN;
    split->ring.driver_len = driver_split_avail_len(split);
    split->ring.device_len = driver_split_used_len(split);
    if (options->in_order)
        driver_order_init(&split->ring.in_order, size);
    split->chain_len = calloc(size, sizeof(split->chain_len[0]));
    check(split->chain_len != NULL, "out of memory");
    driver_split_restart(split, options->start_idx);
}

void driver_split_free(struct driver_split *split)
{
    driver_order_free(&split->ring.in_order);
    free(split->chain_len);
    split->chain_len = NULL;
}
