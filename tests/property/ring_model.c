/* SPDX-License-Identifier: MIT */
#include "ring_model.h"

#include <string.h>

void model_reset(struct model *model, unsigned size, uint32_t features)
{
    memset(model, 0, sizeof(*model));
    model->size = size;
    model->features = features;
    model->free_slots = size;
    model->fresh = 1;
    model->interrupts = 1;
    model->arm = features & VIRTQUEUE_EVENT_IDX ? MODEL_ARM_UNKNOWN : MODEL_ARMED;
}

/* Bytes from gpa up to the end of its region; 0: not memory. */
static uint64_t region_left(uint64_t gpa)
{
    if (gpa >= FORMAT_BED_DATA_GPA && gpa < MODEL_BORDER_GPA)
        return MODEL_BORDER_GPA - gpa;
    if (gpa >= MODEL_BORDER_GPA && gpa < MODEL_HOLE_GPA)
        return MODEL_HOLE_GPA - gpa;
    return 0;
}

/* One buffer behind what the verdict holds already. */
static void judge_buffer(struct model_verdict *verdict, const struct driver_buffer *buffer,
                         struct model_room room)
{
    int writes = buffer->access == DEVICE_WRITES;
    uint64_t total = (uint64_t)verdict->readable_len + verdict->writable_len + buffer->len;
    uint64_t gpa = buffer->gpa;
    uint64_t left = buffer->len;

    if (total > UINT32_MAX) {
        verdict->fault = CHAIN_FAULT_TOO_LARGE;
        return;
    }
    while (left != 0) {
        uint64_t part = region_left(gpa);

        if (part == 0) {
            verdict->fault = CHAIN_FAULT_ADDRESS;
            return;
        }
        if (room.spans + verdict->spans == room.spans_max) {
            verdict->fault = room.chains == 0 ? CHAIN_FAULT_TOO_LONG : CHAIN_FAULT_COUNT;
            return;
        }
        part = part < left ? part : left;
        verdict->spans++;
        gpa += part;
        left -= part;
    }
    *(writes ? &verdict->writable_len : &verdict->readable_len) += buffer->len;
}

static enum chain_fault judge_table(const struct model *model, const struct model_chain *chain)
{
    static const enum chain_fault fault[] = {
        [MODEL_TABLE_GOOD] = CHAIN_FAULT_NONE,
        [MODEL_TABLE_EMPTY] = CHAIN_FAULT_INDIRECT_LEN,
        [MODEL_TABLE_ODD] = CHAIN_FAULT_INDIRECT_LEN,
        [MODEL_TABLE_LONG] = CHAIN_FAULT_INDIRECT_LEN,
        [MODEL_TABLE_HOLE] = CHAIN_FAULT_INDIRECT_ADDRESS,
        [MODEL_TABLE_NEXT] = CHAIN_FAULT_INDIRECT_FLAGS,
        [MODEL_TABLE_BORDER] = CHAIN_FAULT_NONE,
    };

    if (chain->shape != CHAIN_INDIRECT)
        return CHAIN_FAULT_NONE;
    return model->features & VIRTQUEUE_INDIRECT ? fault[chain->table]
                                                : CHAIN_FAULT_INDIRECT_UNAGREED;
}

struct model_verdict model_judge(const struct model *model, const struct model_chain *chain,
                                 struct model_room room)
{
    struct model_verdict verdict = {.fault = judge_table(model, chain)};

    for (unsigned i = 0; i < chain->count && verdict.fault == CHAIN_FAULT_NONE; i++) {
        if (chain->buffer[i].access == DEVICE_READS && verdict.writable_len != 0)
            verdict.fault = CHAIN_FAULT_ORDER;
        else
            judge_buffer(&verdict, &chain->buffer[i], room);
    }
    if (verdict.fault != CHAIN_FAULT_NONE)
        verdict = (struct model_verdict){.fault = verdict.fault};
    return verdict;
}

/* A name of a place is only good for a lap: older ones may mean a later place to a format. */
static enum model_notice in_window(const struct model *model, unsigned event, unsigned first,
                                   unsigned end, unsigned slots_since)
{
    if (event >= first && event < end)
        return MODEL_MUST;
    return slots_since <= model->size ? MODEL_MUST_NOT : MODEL_MAY;
}

enum model_notice model_kick(const struct model *model, unsigned new_slots)
{
    if (model->added == model->published)
        return MODEL_MUST_NOT;
    if (model->arm == MODEL_ARM_UNKNOWN)
        return MODEL_MAY;
    if (!(model->features & VIRTQUEUE_EVENT_IDX))
        return model->arm == MODEL_ARMED ? MODEL_MUST : MODEL_MUST_NOT;
    return in_window(model, model->armed_at, model->published, model->added,
                     model->published_slots + new_slots - model->armed_slots);
}

enum model_notice model_interrupt(const struct model *model)
{
    if (model->pushed == model->shown || model->lost_memory)
        return MODEL_MUST_NOT;
    if (model->fresh)
        return MODEL_MUST;
    if (!model->interrupts || !(model->features & VIRTQUEUE_EVENT_IDX))
        return model->interrupts ? MODEL_MUST : MODEL_MUST_NOT;
    return in_window(model, model->event_at, model->shown, model->pushed,
                     model->pushed_slots - model->event_slots);
}
