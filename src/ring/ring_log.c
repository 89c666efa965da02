/* SPDX-License-Identifier: MIT */
#include "ring/ring_log.h"

#include <stddef.h>

#include "base/checked.h"
#include "ring/chain.h"
#include "ring/packed.h"
#include "ring/split.h"

void ring_log_spans(struct virtqueue *queue, const struct iovec *iov, uint32_t len)
{
    for (uint32_t part; len != 0; len -= part, iov++) {
        uint64_t gpa;

        part = (uint32_t)MIN(iov->iov_len, len);
        if (part != 0 &&
            guest_memory_hva_to_gpa(queue->memory, &queue->log_cache, iov->iov_base, &gpa) == 0)
            dirty_log_mark(queue->log, gpa, part);
    }
}

uint64_t ring_log_device_area_len(uint16_t size, uint32_t features)
{
    if (features & VIRTQUEUE_PACKED)
        return sizeof(struct packed_event);
    return sizeof(struct split_used) + size * sizeof(struct split_used_elem) + sizeof(le16);
}

static int is_packed(const struct virtqueue *queue)
{
    return (queue->features & VIRTQUEUE_PACKED) != 0;
}

static void locate(struct virtqueue *queue, const void *hva, uint64_t *gpa)
{
    guest_memory_hva_to_gpa(queue->memory, &queue->log_cache, hva, gpa);
}

void ring_log_locate(struct virtqueue *queue)
{
    struct virtqueue_log *log = &queue->config.log;

    log->slots_gpa = queue->config.desc_gpa;
    if (queue->log == NULL || queue->memory == NULL || queue->memory->iotlb == NULL ||
        queue->resting & VIRTQUEUE_UNMAPPED)
        return;
    if (is_packed(queue)) {
        locate(queue, queue->packed.ring, &log->slots_gpa);
        locate(queue, queue->packed.device, &log->device_gpa);
    } else {
        locate(queue, queue->split.used, &log->device_gpa);
    }
}

/* One used entry stands for a batch: nothing is written before that is published. */
static int is_batched(const struct virtqueue *queue)
{
    return (queue->features & VIRTQUEUE_BATCH_USED) != 0;
}

/* Of the used ring, or the device event area. */
static void device_area_mark(struct virtqueue *queue, uint64_t offset, uint64_t len)
{
    if (queue->config.log.ring)
        dirty_log_mark(queue->log, queue->config.log.device_gpa + offset, len);
}

/* ---- split (virtio 1.4, 2.7.8) ------------------------------------------------------------ */

static void used_flags_mark(struct virtqueue *queue)
{
    device_area_mark(queue, offsetof(struct split_used, flags), sizeof(le16));
}

static void used_elements_mark(struct virtqueue *queue, uint16_t first, uint32_t count)
{
    uint32_t slot = first & (queue->size - 1u);
    uint32_t straight = MIN(count, queue->size - slot);

    device_area_mark(queue, sizeof(struct split_used) + slot * sizeof(struct split_used_elem),
                     straight * sizeof(struct split_used_elem));
    device_area_mark(queue, sizeof(struct split_used),
                     (count - straight) * sizeof(struct split_used_elem));
}

static void split_published(struct virtqueue *queue, uint32_t shown)
{
    uint16_t first = (uint16_t)(queue->used_shown - shown);

    used_elements_mark(queue, first, is_batched(queue) ? 1 : shown);
    device_area_mark(queue, offsetof(struct split_used, idx), sizeof(le16));
}

static void split_armed(struct virtqueue *queue)
{
    if (queue->features & VIRTQUEUE_EVENT_IDX)
        device_area_mark(queue,
                         sizeof(struct split_used) + queue->size * sizeof(struct split_used_elem),
                         sizeof(le16));
    else
        used_flags_mark(queue);
}

/* ---- packed (virtio 1.4, 2.8): slots have one address only, that of the ring --------------- */

static void slot_mark(struct virtqueue *queue, uint32_t slot)
{
    if (queue->config.log.ring)
        dirty_log_mark(queue->log, queue->config.log.slots_gpa + slot * sizeof(struct ring_desc),
                       sizeof(struct ring_desc));
}

/* The slot where a list of as many slots began that ended at `end`. */
static uint32_t slot_before(const struct virtqueue *queue, uint32_t end, uint32_t slots)
{
    return end >= slots ? end - slots : end + queue->size - slots;
}

static void event_area_mark(struct virtqueue *queue)
{
    device_area_mark(queue, 0, sizeof(struct packed_event));
}

/* ---- what the queue did ------------------------------------------------------------------- */

void ring_log_started(struct virtqueue *queue)
{
    if (!is_packed(queue)) {
        used_flags_mark(queue);
        return;
    }
    event_area_mark(queue);
    for (uint32_t slot = 0; queue->record != NULL && slot < queue->size; slot++)
        slot_mark(queue, slot); /* those that inflight.c completed late may be any */
}

/* Elements of the split format are noted when they are published. */
void ring_log_pushed(struct virtqueue *queue, uint32_t token)
{
    if (is_packed(queue) && !is_batched(queue))
        slot_mark(queue, slot_before(queue, queue->next_used, packed_token_slots(token)));
}

void ring_log_pushed_each(struct virtqueue *queue, const struct chain *chains, unsigned count)
{
    uint32_t slot = queue->next_used;

    if (!is_packed(queue) || is_batched(queue))
        return;
    while (count-- > 0) {
        slot = slot_before(queue, slot, packed_token_slots(chains[count].token));
        slot_mark(queue, slot);
    }
}

void ring_log_published(struct virtqueue *queue, uint32_t shown)
{
    if (is_packed(queue))
        slot_mark(queue, queue->first_slot);
    else
        split_published(queue, shown);
    dirty_log_tell(queue->log);
}

void ring_log_armed(struct virtqueue *queue)
{
    if (is_packed(queue))
        event_area_mark(queue);
    else
        split_armed(queue);
    dirty_log_tell(queue->log);
}

/* With EVENT_IDX the split format has nothing to write. */
void ring_log_disarmed(struct virtqueue *queue)
{
    if (is_packed(queue))
        event_area_mark(queue);
    else if (!(queue->features & VIRTQUEUE_EVENT_IDX))
        used_flags_mark(queue);
}
