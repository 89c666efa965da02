/* SPDX-License-Identifier: MIT */
/*
 * What a virtqueue is, whatever its format: a line of chains that the driver shows, the device
 * takes, completes and shows back. Knows nothing of descriptors, indices and wrap counters.
 */
#pragma once

#include <stdint.h>

#include "format_bed.h"

enum {
    MODEL_CHAINS_MAX = 4096,
    MODEL_BUFFERS_MAX = 6,
    MODEL_CHAIN_BYTES_MAX = 0x8000,
};

/* Where the model's buffers lie: around the border of two regions, with a hole behind the second.
 */
#define MODEL_BORDER_GPA FORMAT_BED_NEXT_GPA
#define MODEL_HOLE_GPA   FORMAT_BED_END_GPA

/* What is wrong with a chain's table; wrong buffers are just buffers. */
enum model_table {
    MODEL_TABLE_GOOD,
    MODEL_TABLE_EMPTY,
    MODEL_TABLE_ODD,
    MODEL_TABLE_LONG,
    MODEL_TABLE_HOLE,
    MODEL_TABLE_NEXT,   /* INDIRECT and NEXT in one descriptor */
    MODEL_TABLE_BORDER, /* nothing: the table lies over the border, with two buffers in it */
};

struct model_chain {
    struct driver_buffer buffer[MODEL_BUFFERS_MAX];
    unsigned count;
    enum chain_shape shape;
    enum model_table table;
    unsigned slots;    /* of the ring */
    uint32_t id[2];    /* by format */
    uint32_t token[2]; /* by format, once it was popped */
    uint32_t used_len;
};

/* What pop says about a chain. */
struct model_verdict {
    enum chain_fault fault; /* CHAIN_FAULT_COUNT: no room in the batch, nothing was taken */
    unsigned spans;
    uint32_t readable_len;
    uint32_t writable_len;
};

/* Numbers count chains since the last reset, slots count ring entries. */
struct model {
    unsigned size;
    uint32_t features;
    struct model_chain chain[MODEL_CHAINS_MAX];
    unsigned added, published, popped;
    unsigned held[MODEL_CHAINS_MAX]; /* popped and not pushed, oldest first */
    unsigned held_count;
    unsigned used[MODEL_CHAINS_MAX]; /* in the order of their completion */
    unsigned pushed, shown, taken;
    unsigned free_slots, published_slots, pushed_slots, taken_slots;
    int poisoned; /* behind the last published chain stands what no device can take */
    int latched;
    int lost_memory;
    int fresh;
    int seen; /* the last pop came to the end of what was published then: number seen_at */
    unsigned seen_at;
    enum {
        MODEL_UNARMED,
        MODEL_ARMED,
        MODEL_ARM_UNKNOWN
    } arm;
    unsigned armed_at, armed_slots;
    int interrupts;
    unsigned event_at, event_slots;
};

void model_reset(struct model *model, unsigned size, uint32_t features);
/* What a device's batch holds before the chain comes. */
struct model_room {
    unsigned chains;
    unsigned spans;
    unsigned spans_max;
};

struct model_verdict model_judge(const struct model *model, const struct model_chain *chain,
                                 struct model_room room);

/* Three answers, because a format may notify more often than it has to. */
enum model_notice {
    MODEL_MUST_NOT,
    MODEL_MAY,
    MODEL_MUST,
};

/* A kick for showing all that was added; an interrupt for showing all that was pushed. */
enum model_notice model_kick(const struct model *model, unsigned new_slots);
enum model_notice model_interrupt(const struct model *model);
