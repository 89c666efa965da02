/* SPDX-License-Identifier: MIT */
/*
 * The packed format (virtio 1.4, 2.8): one ring of descriptors that both sides write, and two event
 * words. Words are always little-endian: the format needs VERSION_1.
 *
 * A position is a slot and the wrap counter of the lap it is in. A token is the buffer's id with
 * the number of slots that its list took in the upper half: completing it moves the used position
 * by as many.
 *
 * Memory order: the flags of a list's first slot are loaded with acquire before the rest is read,
 * and the flags of the first used slot of a batch are stored last, with release: the driver sees a
 * batch whole or not at all.
 */
#include "ring/packed.h"

#include <string.h>

#include "ring/chain.h"

enum {
    ID = 0, /* ring_desc.word[] */
    FLAGS = 1,
};

/* The flags, as they lie in ring_desc.rest, that say whose a slot is. */
#define AVAILABLE_MASK ((uint64_t)(PACKED_DESC_AVAIL | PACKED_DESC_USED) << 48)

struct position {
    uint16_t slot;
    uint8_t wrap;
};

static inline uint32_t token_make(uint16_t id, uint16_t slots)
{
    return id | (uint32_t)slots << PACKED_TOKEN_SLOTS_SHIFT;
}

static inline struct position position_after(struct position at, uint32_t slots, uint16_t size)
{
    uint32_t slot = at.slot + slots;

    if (slot >= size)
        return (struct position){.slot = (uint16_t)(slot - size), .wrap = !at.wrap};
    return (struct position){.slot = (uint16_t)slot, .wrap = at.wrap};
}

static inline uint16_t position_word(struct position at)
{
    return (uint16_t)(at.slot | (at.wrap ? PACKED_BASE_WRAP : 0));
}

static inline struct position next_avail(const struct virtqueue *queue)
{
    return (struct position){.slot = queue->next_avail, .wrap = queue->avail_wrap};
}

static inline void set_next_avail(struct virtqueue *queue, struct position at)
{
    queue->next_avail = at.slot;
    queue->avail_wrap = at.wrap;
}

/* ---- set-up
 * -------------------------------------------------------------------------------------- */

void packed_parts(const struct virtqueue *queue, struct ring_part ret_parts[RING_PARTS])
{
    const struct virtqueue_config *config = &queue->config;
    uint64_t event_len = sizeof(struct packed_event);

    ret_parts[0] = (struct ring_part){"descriptor ring", config->desc_gpa,
                                      queue->size * sizeof(struct ring_desc), 16, MEMORY_WRITE};
    ret_parts[1] =
        (struct ring_part){"driver event area", config->driver_gpa, event_len, 4, MEMORY_READ};
    ret_parts[2] =
        (struct ring_part){"device event area", config->device_gpa, event_len, 4, MEMORY_WRITE};
}

int packed_map(struct virtqueue *queue, const struct guest_memory *memory, struct error *err)
{
    struct ring_part parts[RING_PARTS];
    void *hva[RING_PARTS];
    int result;

    packed_parts(queue, parts);
    result = ring_parts_map(memory, parts, hva, err);
    if (result < 0)
        return result;
    queue->packed.ring = hva[0];
    queue->packed.driver = hva[1];
    queue->packed.device = hva[2];
    return 0;
}

/* The last two bytes of a slot; the partner of the driver's own store and load of them. */
static inline le16 *flags_of(struct ring_desc *slot)
{
    return (le16 *)((uint8_t *)&slot->rest + 6);
}

static inline uint16_t slot_flags(const struct virtqueue *queue, uint16_t slot)
{
    return le16_get(le16_load_acquire(flags_of(&queue->packed.ring[slot])));
}

/* A slot's length, id and flags in one access: x86 and ARM order that with the driver's accesses to
 * the flags alone. The thread sanitizer knows accesses of one size as partners only: there the
 * flags go by themselves, first or last, and the rest is looked at if they are as `available`. */
ALWAYS_INLINE uint64_t slot_load(struct ring_desc *slot, uint64_t available)
{
#if defined(__SANITIZE_THREAD__)
    uint64_t rest = (uint64_t)le16_get(le16_load_acquire(flags_of(slot))) << 48;

    if ((rest & AVAILABLE_MASK) == available)
        rest |= le64_get(le64_load_relaxed(&slot->rest)) << 16 >> 16;
    return rest;
#else
    (void)available;
    return le64_get(le64_load_acquire(&slot->rest));
#endif
}

ALWAYS_INLINE void slot_store(struct ring_desc *slot, uint64_t rest)
{
#if defined(__SANITIZE_THREAD__)
    le64 value = le64_make(rest);

    memcpy(&slot->rest, &value, 6);
    le16_store_release(flags_of(slot), le16_make((uint16_t)(rest >> 48)));
#else
    le64_store_release(&slot->rest, le64_make(rest));
#endif
}

/* Slots that were filled for the first lap, then slots that never were. A ring that went on has
 * some marked used by the lap before, or, where a list of that lap covers all the rest of it, slots
 * used in the second lap (all flags clear again) in front of that list's. */
static int is_fresh(const struct virtqueue *queue)
{
    int filled = 1;

    for (unsigned i = 0; i < queue->size; i++) {
        uint16_t flags = slot_flags(queue, (uint16_t)i);
        int available = (flags & PACKED_DESC_AVAIL) != 0;

        if (flags & PACKED_DESC_USED || available > filled)
            return 0;
        filled = available;
    }
    return 1;
}

int packed_start(struct virtqueue *queue, uint32_t base)
{
    uint16_t avail = (uint16_t)base;
    uint16_t used = (uint16_t)(base >> 16);

    /* Bases that front-ends really send: DPDK leaves the upper half 0 and means "as the lower",
     * User Mode Linux sends 0 for a fresh ring, whose wrap counters start at 1. */
    if (queue->features & VIRTQUEUE_FROM_ZERO || (avail == 0 && is_fresh(queue)))
        avail = PACKED_BASE_FRESH;
    if (queue->features & VIRTQUEUE_FROM_ZERO || used == 0)
        used = avail;
    queue->next_avail = avail & (PACKED_BASE_WRAP - 1);
    queue->avail_wrap = avail >> 15;
    queue->next_used = used & (PACKED_BASE_WRAP - 1);
    queue->used_wrap = used >> 15;
    queue->seen_avail = queue->next_avail;
    queue->seen_wrap = queue->avail_wrap;
    if (queue->next_avail >= queue->size || queue->next_used >= queue->size)
        return -EINVAL;
    /* Beside these flags the place means nothing to the driver: it is the mark of packed_is_anew.
     */
    le16_store_relaxed(&queue->packed.device->off_wrap, le16_make(PACKED_BASE_WRAP));
    le16_store_relaxed(&queue->packed.device->flags, le16_make(PACKED_EVENT_ENABLE));
    return 0;
}

uint32_t packed_base(const struct virtqueue *queue)
{
    struct position used = {.slot = queue->next_used, .wrap = queue->used_wrap};

    return position_word(next_avail(queue)) | (uint32_t)position_word(used) << 16;
}

/* ---- chains
 * -------------------------------------------------------------------------------------- */

/* virtio 1.4, 2.8.1 */
static inline int is_available(uint16_t flags, uint8_t wrap)
{
    return !(flags & PACKED_DESC_AVAIL) == !wrap && !(flags & PACKED_DESC_USED) == !!wrap;
}

/* virtio 1.4, 2.8.7: entries of a table stand in a row; only WRITE means something in their flags.
 */
static enum chain_fault table_walk(struct virtqueue *queue, struct chain_batch *batch,
                                   const struct desc_copy *head)
{
    enum chain_fault fault;
    struct desc_copy desc;
    struct table table;

    if (!(queue->features & VIRTQUEUE_INDIRECT))
        return CHAIN_FAULT_INDIRECT_UNAGREED;
    fault = table_open(queue, head, &table);
    for (uint32_t i = 0; fault == CHAIN_FAULT_NONE && i < table.count; i++) {
        fault = table_read(queue, &table, i, BYTE_ORDER_LITTLE, &desc);
        if (fault == CHAIN_FAULT_NONE)
            fault = chain_add(queue, batch, desc.word[FLAGS], &desc);
    }
    return fault;
}

/* One slot of a list. An indirect one stands alone (virtio 1.4, 2.8.7). */
ALWAYS_INLINE enum chain_fault slot_take(struct virtqueue *queue, struct chain_batch *batch,
                                         const struct desc_copy *desc, uint32_t index)
{
    uint16_t flags = desc->word[FLAGS];

    if (__builtin_expect(!(flags & RING_DESC_INDIRECT), 1))
        return chain_add(queue, batch, flags, desc);
    if (index != 0 || flags & RING_DESC_NEXT)
        return CHAIN_FAULT_INDIRECT_FLAGS;
    return table_walk(queue, batch, desc);
}

/*
 * Takes the list that starts at *at and moves *at behind it. A list is consumed whole even when it
 * has a fault, because its length tells where the next one starts; if that can't be known, the
 * queue latches. 1: taken; 0: nothing was.
 */
NEVER_INLINE int list_take(struct virtqueue *queue, struct chain_batch *batch, struct position *at)
{
    struct position here = *at;
    enum chain_fault fault = CHAIN_FAULT_NONE;
    struct desc_copy desc;
    uint32_t slots = 0;

    chain_begin(batch);
    do {
        if (slots == queue->size) {
            virtqueue_latch(queue, QUEUE_FAULT_LIST_ENDLESS);
            return 0;
        }
        desc = desc_read(&queue->packed.ring[here.slot], BYTE_ORDER_LITTLE);
        if (slots != 0 && !is_available(desc.word[FLAGS], here.wrap)) {
            virtqueue_latch(queue, QUEUE_FAULT_LIST_PARTIAL);
            return 0;
        }
        if (fault == CHAIN_FAULT_NONE)
            fault = slot_take(queue, batch, &desc, slots);
        slots++;
        here = position_after(here, 1, queue->size);
    } while (__builtin_expect(desc.word[FLAGS] & RING_DESC_NEXT, 0));
    if (queue->in_flight + slots > queue->size) {
        virtqueue_latch(queue, QUEUE_FAULT_AVAIL_JUMP);
        return 0;
    }
    if (!chain_end(batch, token_make(desc.word[ID], (uint16_t)slots), fault))
        return 0;
    queue->in_flight = (uint16_t)(queue->in_flight + slots);
    *at = here;
    return 1;
}

/* The lists of one slot, all for reading or all for writing, at the front of what waits, to the end
 * of the lap: takes up to `most`, moves *at behind them. Returns how many. */
ALWAYS_INLINE unsigned kind_take(const struct virtqueue *queue, struct chain_batch *batch,
                                 unsigned most, struct position *at, int writable)
{
    struct ring_desc *slot = &queue->packed.ring[at->slot];
    struct ring_desc *end =
        slot + MIN(singles_room(batch, most), (unsigned)(queue->size - at->slot));
    struct ring_desc *begin = slot;
    struct singles singles = singles_begin(queue, batch);
    uint32_t available = at->wrap ? PACKED_DESC_AVAIL : PACKED_DESC_USED;
    uint32_t wanted = (available | singles_flags(writable)) << 16;

    for (; slot < end; slot++) {
        uint64_t rest = slot_load(slot, (uint64_t)available << 48);
        uint32_t words = (uint32_t)(rest >> 32); /* id and flags */

        if ((words & (AVAILABLE_MASK >> 32 | SINGLES_MASK << 16)) != wanted ||
            !singles_add(&singles, token_make((uint16_t)words, 1),
                         le64_get(le64_load_relaxed(&slot->addr)), (uint32_t)rest, writable))
            break;
    }
    singles_end(&singles, batch);
    *at = position_after(*at, (uint32_t)(slot - begin), queue->size);
    return (unsigned)(slot - begin);
}

ALWAYS_INLINE unsigned lap_take(const struct virtqueue *queue, struct chain_batch *batch,
                                unsigned most, struct position *at)
{
    return queue->writable ? kind_take(queue, batch, most, at, 1)
                           : kind_take(queue, batch, most, at, 0);
}

/* The same across the end of a lap. */
ALWAYS_INLINE unsigned singles_take(struct virtqueue *queue, struct chain_batch *batch,
                                    unsigned most, struct position *at)
{
    unsigned taken;

    most = MIN(most, (unsigned)(queue->size - queue->in_flight));
    taken = lap_take(queue, batch, most, at);
    if (at->slot == 0 && taken != 0)
        taken += lap_take(queue, batch, most - taken, at);
    queue->in_flight = (uint16_t)(queue->in_flight + taken);
    return taken;
}

unsigned packed_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max)
{
    struct position at = next_avail(queue);
    unsigned count = MIN(max, batch->capacity - batch->count);
    unsigned taken = 0;

    for (;;) {
        taken += singles_take(queue, batch, count - taken, &at);
        if (taken == count || !is_available(slot_flags(queue, at.slot), at.wrap) ||
            !list_take(queue, batch, &at))
            break;
        singles_turn(queue, batch);
        taken++;
    }
    set_next_avail(queue, at);
    queue->seen_avail = at.slot;
    queue->seen_wrap = at.wrap;
    return taken;
}

void packed_unpop(struct virtqueue *queue, const struct chain *chains, unsigned count)
{
    uint32_t slots = 0;

    for (unsigned i = 0; i < count; i++)
        slots += packed_token_slots(chains[i].token);
    queue->in_flight = (uint16_t)(queue->in_flight - slots);
    /* Backwards is forwards by the rest of a lap, on the other lap's counter. */
    if (slots != 0) {
        struct position at = position_after(next_avail(queue), queue->size - slots, queue->size);

        at.wrap = !at.wrap;
        set_next_avail(queue, at);
    }
}

/* ---- used entries
 * -------------------------------------------------------------------------------- */

/* len, id and flags of a used slot: one store, after which the driver may see it. */
ALWAYS_INLINE uint64_t used_make(uint32_t token, uint32_t len, uint64_t lap)
{
    uint64_t write = len != 0 ? (uint64_t)RING_DESC_WRITE << 48 : 0;

    return lap | write | (uint64_t)(uint16_t)token << 32 | len;
}

/* The flags of used slots of a lap. */
ALWAYS_INLINE uint64_t used_lap(uint8_t wrap)
{
    return wrap ? AVAILABLE_MASK : 0;
}

/* Used slots in a row. The first of a batch is kept back, for packed_publish. In order, that one
 * stands for all, and its id is that of the last (virtio 1.4, 2.8.6). */
struct used_run {
    struct position at;
    uint32_t unshown;
};

ALWAYS_INLINE void used_add(struct virtqueue *queue, struct used_run *run, uint32_t token,
                            uint32_t len)
{
    uint64_t used = used_make(token, len, used_lap(run->at.wrap));

    if (run->unshown == 0) {
        queue->first_slot = run->at.slot;
        queue->first_used = used;
    } else if (!(queue->features & VIRTQUEUE_BATCH_USED)) {
        le64_store_relaxed(&queue->packed.ring[run->at.slot].rest, le64_make(used));
    }
    run->unshown += packed_token_slots(token);
    run->at = position_after(run->at, packed_token_slots(token), queue->size);
}

ALWAYS_INLINE struct used_run used_begin(const struct virtqueue *queue)
{
    return (struct used_run){.at = {.slot = queue->next_used, .wrap = queue->used_wrap},
                             .unshown = queue->unshown_slots};
}

ALWAYS_INLINE void used_end(struct virtqueue *queue, const struct used_run *run, uint32_t token)
{
    queue->in_flight = (uint16_t)(queue->in_flight - (run->unshown - queue->unshown_slots));
    queue->unshown_slots = run->unshown;
    queue->next_used = run->at.slot;
    queue->used_wrap = run->at.wrap;
    queue->last_token = token;
}

void packed_push(struct virtqueue *queue, uint32_t token, uint32_t len)
{
    struct used_run run = used_begin(queue);

    used_add(queue, &run, token, len);
    used_end(queue, &run, token);
}

/* Those behind the first of a batch, in their slots. lens: NULL for all 0. */
ALWAYS_INLINE void used_write(struct virtqueue *queue, struct used_run *run,
                              const struct chain *chains, const uint32_t *lens, unsigned count)
{
    struct ring_desc *ring = queue->packed.ring;
    uint64_t lap = used_lap(run->at.wrap);
    uint32_t size = queue->size;
    uint32_t slot = run->at.slot;
    uint32_t laps = 0;

    for (unsigned i = 0; i < count; i++) {
        uint32_t token = chains[i].token;

        le64_store_relaxed(&ring[slot].rest,
                           le64_make(used_make(token, lens == NULL ? 0 : lens[i], lap)));
        slot += packed_token_slots(token);
        if (__builtin_expect(slot >= size, 0)) {
            slot -= size;
            lap ^= AVAILABLE_MASK;
            laps++;
        }
    }
    run->unshown += slot + laps * size - run->at.slot;
    run->at = (struct position){.slot = (uint16_t)slot, .wrap = lap != 0};
}

/* The same where the first stands for them. */
ALWAYS_INLINE void used_pass(const struct virtqueue *queue, struct used_run *run,
                             const struct chain *chains, unsigned count)
{
    uint32_t slots = 0;

    for (unsigned i = 0; i < count; i++)
        slots += packed_token_slots(chains[i].token);
    run->unshown += slots;
    run->at = position_after(run->at, slots, queue->size);
}

void packed_push_each(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                      unsigned count)
{
    struct used_run run = used_begin(queue);
    unsigned first = run.unshown == 0;

    if (first)
        used_add(queue, &run, chains[0].token, lens == NULL ? 0 : lens[0]);
    if (queue->features & VIRTQUEUE_BATCH_USED)
        used_pass(queue, &run, chains + first, count - first);
    else if (lens == NULL)
        used_write(queue, &run, chains + first, NULL, count - first);
    else
        used_write(queue, &run, chains + first, lens + first, count - first);
    used_end(queue, &run, chains[count - 1].token);
}

/* virtio 1.4, 2.8.10: the batch is a run of slots; was the one that the driver named among them? A
 * name beyond the ring, or reserved flags, cost that driver an interrupt more or less. */
int packed_interrupt_wanted(const struct virtqueue *queue, uint32_t slots)
{
    const struct packed_event *event = queue->packed.driver;
    uint16_t flags = le16_get(le16_load_acquire(&event->flags)) & 3;
    uint16_t word, off, new;

    if (flags == PACKED_EVENT_DISABLE)
        return 0;
    if (flags != PACKED_EVENT_DESC || !(queue->features & VIRTQUEUE_EVENT_IDX))
        return 1;
    word = le16_get(le16_load_relaxed(&event->off_wrap));
    off = word & (PACKED_BASE_WRAP - 1);
    new = queue->next_used;
    if (word >> 15 != queue->used_wrap)
        off = (uint16_t)(off - queue->size);
    return (uint16_t)(new - off - 1) < slots;
}

uint32_t packed_publish(struct virtqueue *queue)
{
    uint32_t slots = queue->unshown_slots;
    uint64_t first = queue->first_used;

    if (slots == 0)
        return 0;
    if (queue->features & VIRTQUEUE_BATCH_USED)
        first = (first & ~((uint64_t)UINT16_MAX << 32)) | (uint64_t)(uint16_t)queue->last_token
                                                              << 32;
    slot_store(&queue->packed.ring[queue->first_slot], first);
    queue->unshown_slots = 0;
    ring_full_fence();
    return slots;
}

/* ---- asking for kicks
 * ---------------------------------------------------------------------------- */

int packed_is_empty(const struct virtqueue *queue)
{
    return !is_available(slot_flags(queue, queue->next_avail), queue->avail_wrap);
}

/* virtio 1.4, 2.8.10: the slot first, then the flags that make it count. */
int packed_arm(struct virtqueue *queue)
{
    struct packed_event *event = queue->packed.device;
    struct position seen = {.slot = queue->seen_avail, .wrap = queue->seen_wrap};
    uint16_t flags = PACKED_EVENT_ENABLE;

    if (queue->features & VIRTQUEUE_EVENT_IDX) {
        le16_store_relaxed(&event->off_wrap, le16_make(position_word(seen)));
        flags = PACKED_EVENT_DESC;
    }
    le16_store_release(&event->flags, le16_make(flags));
    ring_full_fence();
    return is_available(slot_flags(queue, seen.slot), seen.wrap);
}

void packed_disarm(struct virtqueue *queue)
{
    le16_store_relaxed(&queue->packed.device->flags, le16_make(PACKED_EVENT_DISABLE));
}

/* ---- what was cut off -------------------------------------------------------------------- */

/* A ring all of whose slots were filled and none used looks like one whose slots were used by one
 * entry, from the lap before. But a device leaves something in its event area, always, and the
 * driver clears that with the ring. */
int packed_is_anew(const struct virtqueue *queue)
{
    const struct packed_event *event = queue->packed.device;

    return le16_get(le16_load_relaxed(&event->off_wrap)) == 0 &&
           le16_get(le16_load_relaxed(&event->flags)) == 0 && is_fresh(queue);
}

int packed_is_available(const struct virtqueue *queue, struct packed_place at)
{
    return is_available(slot_flags(queue, at.slot), at.wrap);
}

uint64_t packed_slot_save(const struct virtqueue *queue, uint16_t slot)
{
    return queue->packed.ring[slot].rest.raw;
}

void packed_slot_restore(struct virtqueue *queue, uint16_t slot, uint64_t saved)
{
    slot_store(&queue->packed.ring[slot], le64_get((le64){saved}));
}

void packed_use(struct virtqueue *queue, struct packed_place at, uint16_t id, uint32_t len)
{
    slot_store(&queue->packed.ring[at.slot], used_make(id, len, used_lap(at.wrap)));
}
