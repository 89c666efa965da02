/* SPDX-License-Identifier: MIT */
#include "ring/inflight.h"

#include "base/checked.h"
#include "ring/packed.h"

/* An entry is the log's word for the used entry at its slot. As long as the specification's, and
 * with its `next` and `num` in their places. */
struct inflight_entry {
    uint16_t reserved;
    uint16_t next;
    uint16_t id;
    uint16_t num; /* slots that it stands for */
    uint64_t len;
    uint64_t slot; /* begun ones: what the slot held (packed_slot_save) */
    uint64_t unused;
};

/* The packed header; the split one ends behind used_idx. Byte order is this machine's: an area does
 * not leave it. */
struct inflight_region {
    uint64_t features; /* REGION_LOG: the entries are a log as above */
    uint16_t version;  /* 0: nothing in here is true */
    uint16_t desc_num;
    uint16_t last_batch_head; /* split; packed: free_head */
    uint16_t used_idx;        /* split; packed: old_free_head */
    uint64_t place;           /* packed, from here on: of inflight_place */
    uint64_t padding;
    struct inflight_entry desc[];
};

enum {
    REGION_VERSION = 1,
    SPLIT_HEADER_LEN = 16,
    SPLIT_ENTRY_LEN = 16,
    PACKED_HEADER_LEN = 32,
    PACKED_ENTRY_LEN = 32,
};

#define REGION_LOG 0x1ull

_Static_assert(offsetof(struct inflight_region, desc) == PACKED_HEADER_LEN, "VU-RC-02");
_Static_assert(sizeof(struct inflight_entry) == PACKED_ENTRY_LEN, "VU-RC-02");

/* The order of stores as this process makes them is all that a kill can cut: the compiler has to
 * keep to it, the CPU does by itself. */
static inline void store_order(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void place_store(struct inflight_region *region, union inflight_place place)
{
    store_order();
    __atomic_store_n(&region->place, place.word, __ATOMIC_RELAXED);
    store_order();
}

/* ---- regions ---------------------------------------------------------------------------- */

size_t inflight_region_len(enum inflight_format format, unsigned queue_size)
{
    size_t len = format == INFLIGHT_PACKED
                     ? PACKED_HEADER_LEN + (size_t)queue_size * PACKED_ENTRY_LEN
                     : SPLIT_HEADER_LEN + (size_t)queue_size * SPLIT_ENTRY_LEN;

    return (len + INFLIGHT_ALIGN - 1) & ~(size_t)(INFLIGHT_ALIGN - 1);
}

void inflight_region_init(struct inflight_region *region, unsigned queue_size)
{
    union inflight_place fresh = {.used_wrap = 1, .old_used_wrap = 1};

    region->place = fresh.word;
    for (unsigned i = 0; i < queue_size; i++)
        region->desc[i].next = (uint16_t)(i + 1);
}

void inflight_region_close(struct inflight_region *region)
{
    __atomic_store_n(&region->version, 0, __ATOMIC_RELAXED);
    store_order();
}

int inflight_region_closed(const struct inflight_region *region)
{
    return __atomic_load_n(&region->version, __ATOMIC_RELAXED) == 0;
}

void inflight_open(struct virtqueue *queue, struct inflight_region *region)
{
    int packed = (queue->features & VIRTQUEUE_PACKED) != 0;

    inflight_region_close(region);
    region->features = packed ? REGION_LOG : 0;
    region->desc_num = queue->size;
    if (packed) {
        queue->place = (union inflight_place){.used_idx = queue->next_used,
                                              .old_used_idx = queue->next_used,
                                              .used_wrap = queue->used_wrap,
                                              .old_used_wrap = queue->used_wrap};
        place_store(region, queue->place);
    } else {
        region->used_idx = queue->next_used;
        region->last_batch_head = 0;
        store_order();
    }
    __atomic_store_n(&region->version, REGION_VERSION, __ATOMIC_RELAXED);
}

/* ---- recording -------------------------------------------------------------------------- */

static inline void used_move(union inflight_place *place, uint32_t slots, uint16_t size)
{
    uint32_t slot = place->used_idx + slots;

    if (slot >= size) {
        slot -= size;
        place->used_wrap ^= 1;
    }
    place->used_idx = (uint16_t)slot;
}

static inline void entry_fill(struct inflight_entry *entry, uint32_t token, uint32_t slots,
                              uint32_t len)
{
    entry->id = (uint16_t)token;
    entry->num = (uint16_t)slots;
    entry->len = len;
}

static inline struct inflight_entry *entry_write(const struct virtqueue *queue, uint32_t token,
                                                 uint32_t slots, uint32_t len)
{
    uint32_t slot = queue->place.used_idx + queue->place.begun;
    struct inflight_entry *entry =
        &queue->record->desc[slot >= queue->size ? slot - queue->size : slot];

    entry_fill(entry, token, slots, len);
    return entry;
}

void inflight_pushed(struct virtqueue *queue, uint32_t token, uint32_t len)
{
    uint32_t slots = packed_token_slots(token);

    entry_write(queue, token, slots, len);
    used_move(&queue->place, queue->place.begun + slots, queue->size);
    queue->place.begun = 0;
    place_store(queue->record, queue->place);
}

void inflight_pushed_part(struct virtqueue *queue, uint32_t token, uint32_t len)
{
    uint32_t slots = packed_token_slots(token);
    struct inflight_entry *entry = entry_write(queue, token, slots, len);

    entry->slot = packed_slot_save(queue, (uint16_t)(entry - queue->record->desc));
    queue->place.begun = (uint16_t)(queue->place.begun + slots);
    place_store(queue->record, queue->place);
}

/* In order, one used entry stands for all of them. */
static void batch_pushed(struct virtqueue *queue, const struct chain *chains, unsigned count)
{
    uint32_t slots = 0;

    for (unsigned i = 0; i < count; i++)
        slots += packed_token_slots(chains[i].token);
    entry_write(queue, chains[count - 1].token, slots, 0);
    used_move(&queue->place, slots, queue->size);
}

static void each_pushed(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                        unsigned count)
{
    struct inflight_entry *desc = queue->record->desc;
    uint32_t size = queue->size;
    uint32_t slot = queue->place.used_idx;
    uint32_t laps = 0;

    for (unsigned i = 0; i < count; i++) {
        uint32_t token = chains[i].token;

        entry_fill(&desc[slot], token, packed_token_slots(token), lens == NULL ? 0 : lens[i]);
        slot += packed_token_slots(token);
        if (__builtin_expect(slot >= size, 0)) {
            slot -= size;
            laps++;
        }
    }
    queue->place.used_idx = (uint16_t)slot;
    queue->place.used_wrap ^= laps & 1;
}

void inflight_pushed_each(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                          unsigned count)
{
    if (queue->features & VIRTQUEUE_BATCH_USED)
        batch_pushed(queue, chains, count);
    else
        each_pushed(queue, chains, lens, count);
    place_store(queue->record, queue->place);
}

void inflight_published(struct virtqueue *queue)
{
    queue->place.old_used_idx = queue->place.used_idx;
    queue->place.old_used_wrap = queue->place.used_wrap;
    place_store(queue->record, queue->place);
}

/* ---- taking up -------------------------------------------------------------------------- */

/* Slots of entries that are pending; the ring's size at most. UINT32_MAX: no ring stands like that.
 */
static uint32_t pending_slots(union inflight_place place, uint16_t size)
{
    uint32_t slots = place.used_idx;

    if (place.used_idx >= size || place.old_used_idx >= size || place.used_wrap > 1 ||
        place.old_used_wrap > 1)
        return UINT32_MAX;
    if (place.used_wrap != place.old_used_wrap)
        slots += size;
    if (slots < place.old_used_idx || slots - place.old_used_idx > size)
        return UINT32_MAX;
    return slots - place.old_used_idx;
}

/* A used entry of the log, with the place where the ring has it. */
struct pending {
    uint16_t slot;
    uint8_t wrap;
    uint16_t id;
    uint32_t len;
    uint64_t held; /* by its slot, if it was only begun */
};

/* Reads the entry at *at and moves *at behind it. 0: it stands for more than `left` slots, or none.
 */
static uint32_t pending_next(const struct inflight_region *region, uint16_t size, uint32_t left,
                             struct pending *at)
{
    const volatile struct inflight_entry *entry = &region->desc[at->slot];
    uint32_t slots = entry->num;
    uint32_t next = at->slot + slots;

    if (slots == 0 || slots > left)
        return 0;
    at->id = entry->id;
    at->len = (uint32_t)entry->len;
    at->held = entry->slot;
    if (next >= size) {
        next -= size;
        at->wrap ^= 1;
    }
    at->slot = (uint16_t)next;
    return slots;
}

static int entries_whole(const struct inflight_region *region, uint16_t slot, uint32_t left,
                         uint16_t size)
{
    struct pending at = {.slot = slot};

    while (left != 0) {
        uint32_t slots = pending_next(region, size, left, &at);

        if (slots == 0)
            return 0;
        left -= slots;
    }
    return 1;
}

/* Parts of a frame whose last one was not pushed: their slots are what they were. */
static void begun_undo(struct virtqueue *queue, const struct inflight_region *region,
                       union inflight_place place)
{
    struct pending at = {.slot = place.used_idx};
    uint32_t left = place.begun;

    while (left != 0) {
        uint16_t slot = at.slot;
        uint32_t slots = pending_next(region, queue->size, left, &at);

        if (slots == 0)
            break;
        left -= slots;
        packed_slot_restore(queue, slot, at.held);
    }
}

/* The first one last: the driver sees all or nothing. With batched entries the first slot names the
 * last buffer of all. A peer that changes the log meanwhile spoils its own ring, within bounds. */
static void pending_show(struct virtqueue *queue, const struct inflight_region *region,
                         union inflight_place place)
{
    struct pending at = {.slot = place.old_used_idx, .wrap = place.old_used_wrap};
    uint32_t left = pending_slots(place, queue->size);
    struct pending first = at;
    struct pending here;

    for (int index = 0; left != 0; index++) {
        uint32_t slots;

        here = at;
        slots = pending_next(region, queue->size, left, &at);
        if (slots == 0)
            break;
        left -= slots;
        if (index == 0 || queue->features & VIRTQUEUE_BATCH_USED) {
            first.id = at.id;
            first.len = at.len;
        } else {
            packed_use(queue, (struct packed_place){here.slot, here.wrap}, at.id, at.len);
        }
    }
    store_order();
    packed_use(queue, (struct packed_place){first.slot, first.wrap}, first.id, first.len);
}

static int packed_take_up(struct virtqueue *queue, struct inflight_region *region, uint32_t *base)
{
    union inflight_place place = {.word = __atomic_load_n(&region->place, __ATOMIC_RELAXED)};
    uint32_t slots = pending_slots(place, queue->size);
    uint32_t half;

    if (slots == UINT32_MAX || place.begun > queue->size - slots ||
        !entries_whole(region, place.old_used_idx, slots, queue->size) ||
        !entries_whole(region, place.used_idx, place.begun, queue->size) || packed_is_anew(queue))
        return 0;
    begun_undo(queue, region, place);
    place.begun = 0;
    place_store(region, place);
    if (slots != 0 && packed_is_available(
                          queue, (struct packed_place){place.old_used_idx, place.old_used_wrap})) {
        pending_show(queue, region, place);
        counter_add(&queue->completed_late, 1);
    }
    place.old_used_idx = place.used_idx;
    place.old_used_wrap = place.used_wrap;
    place_store(region, place);
    queue->place = place;
    half = place.used_idx | (place.used_wrap ? PACKED_BASE_WRAP : 0u);
    *base = half | half << 16;
    return 1;
}

int inflight_take_up(struct virtqueue *queue, struct inflight_region *region, uint32_t *base)
{
    uint16_t version = __atomic_load_n(&region->version, __ATOMIC_RELAXED);

    if (version == 0 || !(queue->features & VIRTQUEUE_PACKED))
        return 0;
    if (version == REGION_VERSION && region->features == REGION_LOG &&
        region->desc_num == queue->size && packed_take_up(queue, region, base))
        return 1;
    counter_add(&queue->records_refused, 1);
    return 0;
}
