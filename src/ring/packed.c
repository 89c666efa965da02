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

#include "ring/chain.h"

enum {
    ID = 0, /* ring_desc.word[] */
    FLAGS = 1,
};

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

int packed_map(struct virtqueue *queue, const struct guest_memory *memory, struct error *err)
{
    const struct virtqueue_config *config = &queue->config;
    struct ring_part ring = {"descriptor ring", config->desc_gpa,
                             queue->size * sizeof(struct ring_desc), 16, MEMORY_WRITE};
    struct ring_part driver = {"driver event area", config->driver_gpa, sizeof(struct packed_event),
                               4, MEMORY_READ};
    struct ring_part device = {"device event area", config->device_gpa, sizeof(struct packed_event),
                               4, MEMORY_WRITE};

    queue->packed.ring = ring_part_map(memory, &ring, err);
    if (queue->packed.ring == NULL)
        return -EINVAL;
    queue->packed.driver = ring_part_map(memory, &driver, err);
    if (queue->packed.driver == NULL)
        return -EINVAL;
    queue->packed.device = ring_part_map(memory, &device, err);
    return queue->packed.device == NULL ? -EINVAL : 0;
}

/* A ring that went round once has slots marked used by the lap before; one without any has not. */
static int never_used(const struct virtqueue *queue)
{
    for (unsigned i = 0; i < queue->size; i++) {
        if (le16_get(le16_load_relaxed(&queue->packed.ring[i].word[FLAGS])) & PACKED_DESC_USED)
            return 0;
    }
    return 1;
}

int packed_start(struct virtqueue *queue, uint32_t base)
{
    uint16_t avail = (uint16_t)base;
    uint16_t used = (uint16_t)(base >> 16);

    /* Bases that front-ends really send: DPDK leaves the upper half 0 and means "as the lower",
     * User Mode Linux sends 0 for a fresh ring, whose wrap counters start at 1. */
    if (queue->features & VIRTQUEUE_FROM_ZERO || (avail == 0 && never_used(queue)))
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
        if (table_read(queue, &table, i, BYTE_ORDER_LITTLE, &desc) < 0)
            return CHAIN_FAULT_INDIRECT_ADDRESS;
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
ALWAYS_INLINE int list_take(struct virtqueue *queue, struct chain_batch *batch, struct position *at)
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

/* The common list, one slot. 0: it is not one, or has to be looked at more closely. */
ALWAYS_INLINE int single_take(struct virtqueue *queue, struct chain_batch *batch,
                              struct position *at)
{
    struct desc_copy desc = desc_read(&queue->packed.ring[at->slot], BYTE_ORDER_LITTLE);

    if (queue->in_flight >= queue->size ||
        !chain_single(queue, batch, token_make(desc.word[ID], 1), desc.word[FLAGS], &desc))
        return 0;
    queue->in_flight++;
    *at = position_after(*at, 1, queue->size);
    return 1;
}

unsigned packed_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max)
{
    struct position at = next_avail(queue);
    unsigned count = MIN(max, batch->capacity - batch->count);
    unsigned taken;

    for (taken = 0; taken < count; taken++) {
        const struct ring_desc *desc = &queue->packed.ring[at.slot];

        if (!is_available(le16_get(le16_load_acquire(&desc->word[FLAGS])), at.wrap))
            break;
        if (!single_take(queue, batch, &at) && !list_take(queue, batch, &at))
            break;
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

static uint16_t used_flags(uint8_t wrap, uint32_t len)
{
    return (uint16_t)((wrap ? PACKED_DESC_AVAIL | PACKED_DESC_USED : 0) |
                      (len != 0 ? RING_DESC_WRITE : 0));
}

/* All but the flags; the first of a batch gets them last, in packed_publish. */
static void slot_write(struct virtqueue *queue, uint16_t slot, uint16_t id, uint32_t len)
{
    struct ring_desc *desc = &queue->packed.ring[slot];

    desc->word[ID] = le16_make(id);
    desc->len = le32_make(len);
}

static void first_note(struct virtqueue *queue, uint32_t len)
{
    queue->first_slot = queue->next_used;
    queue->first_flags = used_flags(queue->used_wrap, len);
}

static void used_advance(struct virtqueue *queue, uint16_t slots)
{
    struct position at = {.slot = queue->next_used, .wrap = queue->used_wrap};

    queue->unshown_slots += slots;
    queue->in_flight = (uint16_t)(queue->in_flight - slots);
    at = position_after(at, slots, queue->size);
    queue->next_used = at.slot;
    queue->used_wrap = at.wrap;
}

/* virtio 1.4, 2.8.6: in order, one used slot stands for the whole batch: it is written when it is
 * published. */
void packed_push(struct virtqueue *queue, uint32_t token, uint32_t len)
{
    int first = queue->unshown_slots == 0;

    if (first)
        first_note(queue, len);
    if (!(queue->features & VIRTQUEUE_BATCH_USED)) {
        slot_write(queue, queue->next_used, (uint16_t)token, len);
        if (!first)
            le16_store_relaxed(&queue->packed.ring[queue->next_used].word[FLAGS],
                               le16_make(used_flags(queue->used_wrap, len)));
    }
    queue->last_token = token;
    used_advance(queue, packed_token_slots(token));
}

void packed_push_unwritten(struct virtqueue *queue, const struct chain *chains, unsigned count)
{
    if (!(queue->features & VIRTQUEUE_BATCH_USED)) {
        for (unsigned i = 0; i < count; i++)
            packed_push(queue, chains[i].token, 0);
        return;
    }
    for (unsigned i = 0; i < count - 1; i++) {
        uint16_t slots = packed_token_slots(chains[i].token);

        if (queue->unshown_slots == 0)
            first_note(queue, 0);
        used_advance(queue, slots);
    }
    packed_push(queue, chains[count - 1].token, 0);
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
    struct ring_desc *first = &queue->packed.ring[queue->first_slot];

    if (slots == 0)
        return 0;
    if (queue->features & VIRTQUEUE_BATCH_USED)
        slot_write(queue, queue->first_slot, (uint16_t)queue->last_token, 0);
    le16_store_release(&first->word[FLAGS], le16_make(queue->first_flags));
    queue->unshown_slots = 0;
    ring_full_fence();
    return slots;
}

/* ---- asking for kicks
 * ---------------------------------------------------------------------------- */

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
    return is_available(le16_get(le16_load_relaxed(&queue->packed.ring[seen.slot].word[FLAGS])),
                        seen.wrap);
}

void packed_disarm(struct virtqueue *queue)
{
    le16_store_relaxed(&queue->packed.device->flags, le16_make(PACKED_EVENT_DISABLE));
}
