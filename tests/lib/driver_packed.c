/* SPDX-License-Identifier: MIT */
#include "driver_packed.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum {
    TABLE_LEN = 64, /* entries of the indirect table that each id owns */
    EVENT_WORDS_LEN = 4,
    SLOT_ID = 12, /* bytes */
    SLOT_FLAGS = 14,
};

static struct driver_packed *packed_of(struct driver_ring *ring)
{
    return (struct driver_packed *)ring;
}

/* ---- places ---- */

uint16_t packed_avail_bits(struct packed_place at)
{
    return at.wrap ? SLOT_AVAIL : SLOT_USED;
}

uint16_t packed_used_bits(struct packed_place at)
{
    return at.wrap ? SLOT_AVAIL | SLOT_USED : 0;
}

struct packed_place packed_place_after(const struct driver_packed *packed, struct packed_place at,
                                       unsigned slots)
{
    for (slots += at.slot; slots >= packed->ring.size; slots -= packed->ring.size)
        at.wrap ^= 1;
    at.slot = (uint16_t)slots;
    return at;
}

uint16_t packed_place_word(struct packed_place at)
{
    return (uint16_t)(at.slot | (at.wrap ? PACKED_WRAP : 0));
}

static struct packed_place place_of(uint16_t word)
{
    return (struct packed_place){.slot = word & (PACKED_WRAP - 1), .wrap = word >> 15};
}

/* ---- words ---- */

uint64_t driver_packed_slot_at(const struct driver_packed *packed, unsigned slot)
{
    return packed->ring.desc_area + (uint64_t)slot * PACKED_SLOT_LEN;
}

static uint8_t *slot_bytes(const struct driver_packed *packed, unsigned slot)
{
    return guest_ram_at(packed->ring.ram, driver_packed_slot_at(packed, slot), PACKED_SLOT_LEN);
}

static void write_body(uint8_t *at, const struct packed_slot *words)
{
    wire_put64(at, words->addr, WIRE_LITTLE);
    wire_put32(at + 8, words->len, WIRE_LITTLE);
    wire_put16(at + SLOT_ID, words->id, WIRE_LITTLE);
}

void driver_packed_write_at(struct driver_packed *packed, uint64_t gpa,
                            const struct packed_slot *words)
{
    uint8_t *at = guest_ram_at(packed->ring.ram, gpa, PACKED_SLOT_LEN);

    write_body(at, words);
    wire_put16(at + SLOT_FLAGS, words->flags, WIRE_LITTLE);
}

static void store_flags(struct driver_packed *packed, unsigned slot, uint16_t flags)
{
    wire_store16(slot_bytes(packed, slot) + SLOT_FLAGS, flags, WIRE_LITTLE);
}

void driver_packed_write_slot(struct driver_packed *packed, unsigned slot,
                              const struct packed_slot *words)
{
    write_body(slot_bytes(packed, slot), words);
    store_flags(packed, slot, words->flags);
}

uint16_t driver_packed_slot_flags(const struct driver_packed *packed, unsigned slot)
{
    return wire_load16(slot_bytes(packed, slot) + SLOT_FLAGS, WIRE_LITTLE);
}

struct packed_slot driver_packed_read_slot(const struct driver_packed *packed, unsigned slot)
{
    const uint8_t *at = slot_bytes(packed, slot);
    uint16_t flags = driver_packed_slot_flags(packed, slot);

    return (struct packed_slot){
        .addr = wire_get64(at, WIRE_LITTLE),
        .len = wire_get32(at + 8, WIRE_LITTLE),
        .id = wire_get16(at + SLOT_ID, WIRE_LITTLE),
        .flags = flags,
    };
}

/* virtio 1.4, 2.8.10: the place has to be there before the flags that make it count. */
void driver_packed_store_event(struct driver_packed *packed, struct packed_event_words words)
{
    uint8_t *at = guest_ram_at(packed->ring.ram, packed->ring.driver_area, EVENT_WORDS_LEN);

    wire_store16(at, words.place, WIRE_LITTLE);
    wire_store16(at + 2, words.flags, WIRE_LITTLE);
}

struct packed_event_words driver_packed_device_event(const struct driver_packed *packed)
{
    const uint8_t *at = guest_ram_at(packed->ring.ram, packed->ring.device_area, EVENT_WORDS_LEN);
    uint16_t flags = wire_load16(at + 2, WIRE_LITTLE);

    return (struct packed_event_words){.place = wire_load16(at, WIRE_LITTLE), .flags = flags};
}

/* ---- making available ---- */

uint16_t driver_packed_claim_id(struct driver_packed *packed)
{
    check(packed->free_ids > 0, "no id is free");
    return packed->free_id[--packed->free_ids];
}

/* Fills the next slots. Flags of the first slot of all that is unpublished are held back until
 * publish; those of any other list's first slot are written behind the rest of its list. */
static void list_fill(struct driver_packed *packed, const struct packed_slot *slots, unsigned count)
{
    struct packed_place at = packed->next;
    uint16_t first_flags = 0;

    check(count > 0 && count <= packed->free_slots, "a list of %u slots, %u are free", count,
          packed->free_slots);
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags =
            (uint16_t)(slots[i].flags | packed_avail_bits(at) | (i + 1 < count ? SLOT_NEXT : 0));

        write_body(slot_bytes(packed, at.slot), &slots[i]);
        if (i == 0)
            first_flags = flags;
        else
            store_flags(packed, at.slot, flags);
        at = packed_place_after(packed, at, 1);
    }
    if (packed->holds) {
        store_flags(packed, packed->next.slot, first_flags);
    } else {
        packed->held = packed->next;
        packed->held_flags = first_flags;
        packed->holds = 1;
    }
    packed->free_slots -= count;
    packed->shown_slots += count;
    packed->next = at;
}

static struct packed_slot slot_of(struct driver_packed *packed, uint16_t id,
                                  const struct driver_buffer *buffer)
{
    return (struct packed_slot){
        .addr = driver_ring_map(&packed->ring, id, buffer),
        .len = buffer->len,
        .flags = buffer->access == DEVICE_WRITES ? SLOT_WRITE : 0,
    };
}

/* Fills the table of `id` and returns the slot that points to it (virtio 1.4, 2.8.7). */
static struct packed_slot table_fill(struct driver_packed *packed, uint16_t id,
                                     const struct driver_chain *chain)
{
    uint64_t table = packed->table_gpa + (uint64_t)id * packed->table_len * PACKED_SLOT_LEN;
    struct driver_buffer whole = {table, chain->count * PACKED_SLOT_LEN, DEVICE_READS};

    check(chain->count <= packed->table_len, "the chain is too long for a table");
    for (unsigned i = 0; i < chain->count; i++) {
        struct packed_slot slot = slot_of(packed, id, &chain->buffer[i]);

        driver_packed_write_at(packed, table + (uint64_t)i * PACKED_SLOT_LEN, &slot);
    }
    return (struct packed_slot){.addr = driver_ring_map(&packed->ring, id, &whole),
                                .len = whole.len,
                                .id = id,
                                .flags = SLOT_INDIRECT};
}

static uint32_t packed_add(struct driver_ring *ring, const struct driver_chain *chain)
{
    struct driver_packed *packed = packed_of(ring);
    uint16_t id = driver_packed_claim_id(packed);
    unsigned count = chain->shape == CHAIN_INDIRECT ? 1 : chain->count;
    struct packed_slot *slots = calloc(count, sizeof(*slots));

    check(slots != NULL, "out of memory");
    check(chain->shape != CHAIN_MIXED, "a packed list has no table behind other slots");
    if (chain->shape == CHAIN_INDIRECT)
        slots[0] = table_fill(packed, id, chain);
    for (unsigned i = 0; chain->shape == CHAIN_DIRECT && i < count; i++) {
        slots[i] = slot_of(packed, id, &chain->buffer[i]);
        slots[i].id = id;
    }
    list_fill(packed, slots, count);
    free(slots);
    packed->list_len[id] = (uint16_t)count;
    driver_order_add(&ring->in_order, id);
    return id;
}

/* virtio 1.4, 2.8.10: is the slot that the device named among the `count` that begin at `first`? */
static int names_one_of(const struct driver_packed *packed, uint16_t word,
                        struct packed_place first, unsigned count)
{
    struct packed_place event = place_of(word);
    int distance = event.slot - first.slot;

    if (event.wrap != first.wrap)
        distance += (int)packed->ring.size;
    return distance >= 0 && distance < (int)count;
}

static int packed_publish(struct driver_ring *ring)
{
    struct driver_packed *packed = packed_of(ring);
    struct packed_place first = packed->shown;
    unsigned count = packed->shown_slots;
    struct packed_event_words wish;

    if (!packed->holds)
        return 0;
    store_flags(packed, packed->held.slot, packed->held_flags);
    packed->holds = 0;
    packed->shown = packed->next;
    packed->shown_slots = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    wish = driver_packed_device_event(packed);
    check(wish.flags <= (ring->event_idx ? EVENT_SLOT : EVENT_DISABLE),
          "the device's event flags are %u", wish.flags);
    if (wish.flags == EVENT_SLOT)
        return names_one_of(packed, wish.place, first, count);
    return wish.flags == EVENT_ENABLE;
}

/* A raw list uses an id that is still free, or one that it claimed before. */
static void id_take(struct driver_packed *packed, uint16_t id)
{
    for (unsigned i = 0; i < packed->free_ids; i++) {
        if (packed->free_id[i] == id) {
            packed->free_id[i] = packed->free_id[--packed->free_ids];
            return;
        }
    }
}

uint16_t driver_packed_put(struct driver_packed *packed, const struct packed_slot *slots,
                           unsigned count)
{
    uint16_t id = slots[count - 1].id;

    list_fill(packed, slots, count);
    if (id < packed->ring.size) {
        id_take(packed, id);
        packed->list_len[id] = (uint16_t)count;
        driver_order_add(&packed->ring.in_order, id);
    }
    return id;
}

uint16_t driver_packed_offer(struct driver_packed *packed, const struct packed_slot *slots,
                             unsigned count)
{
    uint16_t id = driver_packed_put(packed, slots, count);

    packed_publish(&packed->ring);
    return id;
}

/* ---- taking back ---- */

static int slot_is_used(const struct driver_packed *packed, struct packed_place at)
{
    uint16_t flags = driver_packed_slot_flags(packed, at.slot);

    return (flags & (SLOT_AVAIL | SLOT_USED)) == packed_used_bits(at);
}

/* Every used slot is written at the place of the first buffer that it stands for. */
static int used_next(struct driver_packed *packed, struct driver_used *ret_used)
{
    struct driver_order *order = &packed->ring.in_order;

    if (!order->open) {
        struct packed_slot slot;

        if (!slot_is_used(packed, packed->used))
            return 0;
        slot = driver_packed_read_slot(packed, packed->used.slot);
        check(!(slot.flags & (SLOT_NEXT | SLOT_INDIRECT)), "used flags 0x%x", slot.flags);
        *ret_used = (struct driver_used){slot.id, slot.flags & SLOT_WRITE ? slot.len : 0};
        driver_order_open(order, ret_used);
    }
    driver_order_take(order, ret_used);
    return 1;
}

static int packed_take(struct driver_ring *ring, struct driver_used *ret_used)
{
    struct driver_packed *packed = packed_of(ring);
    unsigned count;

    if (!used_next(packed, ret_used))
        return 0;
    check(ret_used->id < ring->size && packed->list_len[ret_used->id] != 0,
          "used id %u was not in flight", ret_used->id);
    driver_ring_unmap(ring, ret_used->id);
    count = packed->list_len[ret_used->id];
    packed->list_len[ret_used->id] = 0;
    packed->free_id[packed->free_ids++] = (uint16_t)ret_used->id;
    packed->free_slots += count;
    packed->used = packed_place_after(packed, packed->used, count);
    return 1;
}

static void packed_interrupts(struct driver_ring *ring, enum driver_interrupts wanted)
{
    struct driver_packed *packed = packed_of(ring);
    struct packed_event_words words = {.flags = EVENT_DISABLE};

    if (wanted == INTERRUPTS_ON) {
        words.place = packed_place_word(packed->used);
        words.flags = ring->event_idx ? EVENT_SLOT : EVENT_ENABLE;
    }
    driver_packed_store_event(packed, words);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint32_t packed_base(const struct driver_ring *ring)
{
    const struct driver_packed *packed = (const struct driver_packed *)ring;

    return packed_place_word(packed->used) * 0x10001u;
}

static void packed_restart(struct driver_ring *ring)
{
    driver_packed_restart(packed_of(ring), PACKED_WRAP);
}

static const struct driver_ring_ops packed_ops = {
    .add = packed_add,
    .publish = packed_publish,
    .take = packed_take,
    .interrupts = packed_interrupts,
    .base = packed_base,
    .restart = packed_restart,
};

/* ---- life ---- */

void driver_packed_restart(struct driver_packed *packed, uint16_t start)
{
    struct packed_place at = place_of(start);
    unsigned size = packed->ring.size;

    check(at.slot < size, "a start at slot %u of %u", at.slot, size);
    for (unsigned i = 0; i < size; i++) {
        struct packed_place lap = {.slot = (uint16_t)i, .wrap = i < at.slot ? at.wrap : !at.wrap};
        struct packed_slot slot = {.flags = packed_used_bits(lap)};

        driver_packed_write_slot(packed, i, &slot);
        packed->free_id[i] = (uint16_t)((i * 7919u) % size);
        packed->list_len[i] = 0;
    }
    if (size % 7919 == 0) /* then 7919 does not make all of them */
        for (unsigned i = 0; i < size; i++)
            packed->free_id[i] = (uint16_t)i;
    memset(guest_ram_at(packed->ring.ram, packed->ring.device_area, EVENT_WORDS_LEN), 0,
           EVENT_WORDS_LEN);
    packed->next = packed->held = packed->shown = packed->used = at;
    packed->holds = 0;
    packed->shown_slots = 0;
    packed->free_slots = size;
    packed->free_ids = size;
    driver_order_clear(&packed->ring.in_order);
    packed_interrupts(&packed->ring, INTERRUPTS_ON);
}

void driver_packed_init(struct driver_packed *packed, struct guest_ram *ram,
                        const struct driver_packed_options *options)
{
    unsigned size = options->size;

    memset(packed, 0, sizeof(*packed));
    packed->ring = (struct driver_ring){
        .ops = &packed_ops,
        .ram = ram,
        .size = size,
        .event_idx = options->event_idx,
        .kick_fd = -1,
        .call_fd = -1,
        .desc_area = guest_ram_alloc(ram, options->ring_region, size * PACKED_SLOT_LEN, 4096),
        .driver_area = guest_ram_alloc(ram, options->region, EVENT_WORDS_LEN, 4096),
        .device_area = guest_ram_alloc(ram, options->ring_region, EVENT_WORDS_LEN, 4096),
        .desc_len = size * PACKED_SLOT_LEN,
        .driver_len = EVENT_WORDS_LEN,
        .device_len = EVENT_WORDS_LEN,
    };
    packed->table_len = TABLE_LEN;
    packed->table_gpa =
        guest_ram_alloc(ram, options->region, (uint64_t)size * TABLE_LEN * PACKED_SLOT_LEN, 4096);
    if (options->in_order)
        driver_order_init(&packed->ring.in_order, size);
    packed->free_id = calloc(size, sizeof(packed->free_id[0]));
    packed->list_len = calloc(size, sizeof(packed->list_len[0]));
    check(packed->free_id != NULL && packed->list_len != NULL, "out of memory");
    driver_packed_restart(packed, options->start != 0 ? options->start : PACKED_WRAP);
}

void driver_packed_free(struct driver_packed *packed)
{
    driver_order_free(&packed->ring.in_order);
    free(packed->free_id);
    free(packed->list_len);
    packed->free_id = NULL;
    packed->list_len = NULL;
}
