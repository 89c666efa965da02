/* SPDX-License-Identifier: MIT */
#include "ring/ring_memory.h"

#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "ring/chain.h"
#include "ring/packed.h"
#include "ring/ring_log.h"
#include "ring/split.h"

static void *part_map(const struct guest_memory *memory, const struct ring_part *part,
                      struct error *err)
{
    uint8_t *hva;

    if (part->gpa % part->align != 0) {
        error_set(err, EINVAL, "%s at 0x%" PRIx64 " is not aligned to %" PRIu64 " bytes",
                  part->name, part->gpa, part->align);
        return NULL;
    }
    hva = guest_memory_pointer(memory, part->gpa, part->len, part->access);
    if (hva == NULL && memory->iotlb != NULL) {
        error_set(err, EINVAL,
                  "%s at iova 0x%" PRIx64 " is mapped in pieces of guest memory, or not for what it"
                  " is used: a smaller queue may do",
                  part->name, part->gpa);
        return NULL;
    }
    if (hva == NULL) {
        error_set(err, EINVAL, "%s at 0x%" PRIx64 " is not inside guest memory", part->name,
                  part->gpa);
        return NULL;
    }
    /* A region may begin at any byte of its file. */
    if ((uintptr_t)hva % part->align != 0) {
        error_set(err, EINVAL,
                  "%s at 0x%" PRIx64 " lies in a memory region whose file offset is not aligned "
                  "to %" PRIu64 " bytes",
                  part->name, part->gpa, part->align);
        return NULL;
    }
    return hva;
}

int ring_parts_map(const struct guest_memory *memory, const struct ring_part parts[RING_PARTS],
                   void *ret_hva[RING_PARTS], struct error *err)
{
    for (unsigned i = 0; i < RING_PARTS; i++) {
        ret_hva[i] = part_map(memory, &parts[i], err);
        if (ret_hva[i] == NULL)
            return -EINVAL;
    }
    return 0;
}

void ring_parts_of(const struct virtqueue *queue, struct ring_part ret_parts[RING_PARTS])
{
    if (queue->features & VIRTQUEUE_PACKED)
        packed_parts(queue, ret_parts);
    else
        split_parts(queue, ret_parts);
}

int ring_map(struct virtqueue *queue, const struct guest_memory *memory, struct error *err)
{
    return queue->features & VIRTQUEUE_PACKED ? packed_map(queue, memory, err)
                                              : split_map(queue, memory, err);
}

/* ---- what an IOMMU has not mapped ------------------------------------------------------- */

enum chain_fault ring_unreachable(struct virtqueue *queue, uint64_t gpa, uint64_t len,
                                  enum memory_access access, enum chain_fault fault)
{
    const struct virtqueue_notifier *notifier = &queue->config.notifier;

    if (range_wraps(gpa, len) || !guest_memory_may_come(queue->memory, gpa, access))
        return fault;
    queue->resting |= VIRTQUEUE_AWAITS;
    if (notifier->missing != NULL)
        notifier->missing(notifier->context, gpa, access);
    return CHAIN_AWAITS;
}

/* The first address of the part that is to be asked for. 0: none is. */
static int part_missing(const struct guest_memory *memory, const struct ring_part *part,
                        uint64_t *ret_gpa)
{
    struct memory_cache cache = {0};
    uint64_t done = 0;

    while (done < part->len) {
        uint8_t *hva;
        size_t len = guest_memory_span(memory, &cache, part->gpa + done, part->len - done,
                                       part->access, &hva);

        *ret_gpa = part->gpa + done;
        if (len == 0)
            return guest_memory_may_come(memory, *ret_gpa, part->access);
        done += len;
    }
    return 0;
}

int virtqueue_missing(const struct virtqueue_config *config, const struct guest_memory *memory,
                      uint64_t *ret_gpa, enum memory_access *ret_access)
{
    const struct virtqueue queue = {
        .config = *config, .size = config->size, .features = (uint16_t)config->features};
    struct ring_part parts[RING_PARTS];

    ring_parts_of(&queue, parts);
    for (unsigned i = 0; i < RING_PARTS; i++) {
        *ret_access = parts[i].access;
        if (!range_wraps(parts[i].gpa, parts[i].len) && part_missing(memory, &parts[i], ret_gpa))
            return 1;
    }
    return 0;
}

int virtqueue_lies_in(const struct virtqueue *queue, uint64_t first, uint64_t last)
{
    struct ring_part parts[RING_PARTS];

    if (!queue->running)
        return 0;
    ring_parts_of(queue, parts);
    for (unsigned i = 0; i < RING_PARTS; i++) {
        if (parts[i].gpa <= last && first <= parts[i].gpa + (parts[i].len - 1))
            return 1;
    }
    return 0;
}

/* ---- memory that changes ---------------------------------------------------------------- */

void virtqueue_unmap(struct virtqueue *queue)
{
    if (queue->resting & VIRTQUEUE_UNMAPPED)
        return;
    virtqueue_flush(queue);
    virtqueue_decide(queue);
    queue->resting |= VIRTQUEUE_UNMAPPED;
}

void virtqueue_remap(struct virtqueue *queue, const struct guest_memory *memory)
{
    if (!queue->running || queue->fault == QUEUE_FAULT_MEMORY)
        return;
    queue->cache = (struct memory_cache){0};
    queue->table_cache = (struct memory_cache){0};
    queue->log_cache = (struct memory_cache){0};
    queue->memory = memory;
    queue->resting &= (uint8_t) ~(VIRTQUEUE_UNMAPPED | VIRTQUEUE_AWAITS);
    if (memory != NULL && ring_map(queue, memory, NULL) == 0)
        ring_log_locate(queue);
    else if (memory != NULL && memory->iotlb != NULL)
        queue->resting |= VIRTQUEUE_UNMAPPED;
    else
        queue->fault =
            QUEUE_FAULT_MEMORY; /* whatever was wrong before: nothing may be written now */
}
