/* SPDX-License-Identifier: MIT */
#include "ring_schedule.h"

#include <stdarg.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "ring_chains.h"
#include "ring_model.h"

enum {
    SPLIT,
    PACKED,
    FORMATS,
    IOV_ROOM_MAX = 2048,
};

struct step {
    uint8_t op, a, b, c;
};

struct schedule {
    struct model model;
    struct format_bed bed[FORMATS];
    int beds_made;
    unsigned iov_room;
    unsigned step;
    int failed;
};

static struct schedule schedule;
static char error_text[256];

/* The first thing that was wrong ends the schedule. */
__attribute__((format(printf, 2, 3))) static void differs(unsigned format, const char *text, ...)
{
    static const char *const name[FORMATS] = {"split", "packed"};
    va_list args;
    int len;

    if (schedule.failed)
        return;
    schedule.failed = 1;
    len = snprintf(error_text, sizeof(error_text), "step %u, %s: ", schedule.step, name[format]);
    va_start(args, text);
    vsnprintf(error_text + len, sizeof(error_text) - (size_t)len, text, args);
    va_end(args);
}

#define EACH_FORMAT(format) (unsigned format = 0; format < FORMATS; format++)

/* ---- chains --------------------------------------------------------------------------------- */

/* Unless the ring is full, or its driver has gone mad already. */
static void step_add(const struct step *step)
{
    struct model *model = &schedule.model;
    struct model_chain chain = ring_chain_make(step->a, step->b, step->c);
    struct driver_chain plain = {chain.buffer, chain.count, chain.shape};

    if (model->poisoned || model->added == MODEL_CHAINS_MAX || chain.slots > model->free_slots)
        return;
    /* The reason for an unagreed table that is wrong in itself is not the same in both formats. */
    if (chain.table != MODEL_TABLE_GOOD && !(model->features & VIRTQUEUE_INDIRECT))
        return;
    for
        EACH_FORMAT(i)
        {
            struct format_bed *bed = &schedule.bed[i];

            if (chain.table == MODEL_TABLE_GOOD)
                chain.id[i] = bed->ring->ops->add(bed->ring, &plain);
            else
                chain.id[i] = i == SPLIT ? ring_chain_add_split(&bed->split, &chain)
                                         : ring_chain_add_packed(&bed->packed, &chain);
        }
    model->free_slots -= chain.slots;
    model->chain[model->added++] = chain;
}

static void expect_notice(unsigned format, enum model_notice wanted, int came, const char *what)
{
    if (came && wanted == MODEL_MUST_NOT)
        differs(format, "%s that nobody asked for", what);
    if (!came && wanted == MODEL_MUST)
        differs(format, "no %s", what);
}

static void step_publish(const struct step *step)
{
    struct model *model = &schedule.model;
    enum model_notice kick;
    unsigned slots = 0;

    (void)step;
    for (unsigned i = model->published; i < model->added; i++)
        slots += model->chain[i].slots;
    kick = model_kick(model, slots);
    for
        EACH_FORMAT(i)
    expect_notice(i, kick, schedule.bed[i].ring->ops->publish(schedule.bed[i].ring), "kick");
    model->published_slots += slots;
    model->published = model->added;
}

/* Split: a head beyond the table. Packed: a list that was shown before its end was. */
static void step_poison(const struct step *step)
{
    struct model *model = &schedule.model;
    struct driver_split *split = &schedule.bed[SPLIT].split;
    struct driver_packed *packed = &schedule.bed[PACKED].packed;
    struct packed_slot open = {.addr = MODEL_BORDER_GPA, .len = 1, .flags = SLOT_NEXT};

    step_publish(step);
    if (model->poisoned || model->free_slots < 2)
        return;
    model->poisoned = 1;
    driver_split_offer(split, 0xffff);
    split->ring.ops->publish(&split->ring);
    open.flags |= packed_avail_bits(packed->next);
    driver_packed_write_slot(packed, packed->next.slot, &open);
}

/* ---- the device ----------------------------------------------------------------------------- */

/* The spans are the buffers' bytes, in order. */
static void compare_spans(unsigned format, unsigned number, const struct chain *chain)
{
    const struct model_chain *from = &schedule.model.chain[number];
    const struct iovec *iov = chain->iov;

    for (unsigned i = 0; i < from->count; i++) {
        uint64_t gpa = from->buffer[i].gpa;
        uint64_t left = from->buffer[i].len;

        while (left != 0) {
            if (iov->iov_len == 0 || iov->iov_len > left ||
                iov->iov_base != guest_ram_at(&schedule.bed[format].ram, gpa, iov->iov_len)) {
                differs(format, "chain %u: span %u is not buffer %u", number,
                        (unsigned)(iov - chain->iov), i);
                return;
            }
            gpa += iov->iov_len;
            left -= iov->iov_len;
            iov++;
        }
    }
}

static void compare_chain(unsigned format, unsigned number, const struct chain *chain,
                          const struct model_verdict *verdict)
{
    struct model_chain *known = &schedule.model.chain[number];

    known->token[format] = chain->token;
    if (chain->fault != verdict->fault)
        differs(format, "chain %u: fault %s instead of %s", number, chain_fault_name(chain->fault),
                chain_fault_name(verdict->fault));
    else if (chain->readable_len != verdict->readable_len ||
             chain->writable_len != verdict->writable_len ||
             chain->readable_count + chain->writable_count != verdict->spans)
        differs(format,
                "chain %u: %u readable and %u writable bytes in %u spans instead of %u, %u, %u",
                number, chain->readable_len, chain->writable_len,
                chain->readable_count + chain->writable_count, verdict->readable_len,
                verdict->writable_len, verdict->spans);
    else if (verdict->fault == CHAIN_FAULT_NONE)
        compare_spans(format, number, chain);
}

/* How many of at most max chains a pop takes, compared with what each format took. */
static unsigned pop_compare(unsigned max)
{
    struct model *model = &schedule.model;
    const struct format_bed *bed = schedule.bed;
    struct model_room room = {.spans_max = schedule.iov_room};
    unsigned count;

    for (count = 0; count < max && model->popped + count < model->published; count++) {
        unsigned number = model->popped + count;
        struct model_verdict verdict = model_judge(model, &model->chain[number], room);

        if (verdict.fault == CHAIN_FAULT_COUNT)
            return count;
        room.chains++;
        room.spans += verdict.spans;
        for
            EACH_FORMAT(i)
            {
                if (count < bed[i].batch.count)
                    compare_chain(i, number, &bed[i].batch.chain[count], &verdict);
            }
    }
    if (count < max && model->poisoned)
        model->latched = 1;
    model->seen = !model->poisoned && model->popped + count == model->published;
    model->seen_at = model->published;
    return count;
}

static void step_pop(const struct step *step)
{
    struct model *model = &schedule.model;
    unsigned max = 1 + step->a % 16;
    unsigned keep;
    unsigned count = 0;
    unsigned got[FORMATS];

    for
        EACH_FORMAT(i)
    got[i] = format_bed_pop_many(&schedule.bed[i], max);
    model->seen = 0;
    if (!model->latched)
        count = pop_compare(max);
    for
        EACH_FORMAT(i)
        {
            if (got[i] != count)
                differs(i, "pop of %u took %u instead of %u", max, got[i], count);
            if ((schedule.bed[i].queue.fault != QUEUE_FAULT_NONE) != model->latched)
                differs(i, "fault %s, latched %d",
                        queue_fault_name((enum queue_fault)schedule.bed[i].queue.fault),
                        model->latched);
        }
    if (schedule.failed)
        return;
    keep = step->b & 1 ? (step->b >> 1) % (count + 1) : count;
    for
        EACH_FORMAT(i)
    virtqueue_unpop(&schedule.bed[i].queue, &schedule.bed[i].batch, keep);
    for (unsigned i = 0; i < keep; i++)
        model->held[model->held_count++] = model->popped++;
}

static uint32_t writable_len_of(const struct model_chain *chain)
{
    struct model_room room = {.spans_max = schedule.iov_room};

    return model_judge(&schedule.model, chain, room).writable_len;
}

static void step_push(const struct step *step)
{
    struct model *model = &schedule.model;
    int batched = (model->features & VIRTQUEUE_BATCH_USED) != 0;
    struct model_chain *chain;
    unsigned which, number;

    if (model->held_count == 0)
        return;
    which = batched ? 0 : step->a % model->held_count;
    number = model->held[which];
    chain = &model->chain[number];
    chain->used_len = batched ? 0 : writable_len_of(chain) * (step->b % 5) / 4;
    for
        EACH_FORMAT(i)
    virtqueue_push(&schedule.bed[i].queue, chain->token[i], chain->used_len);
    if (model->lost_memory)
        return;
    model->held_count--;
    memmove(&model->held[which], &model->held[which + 1],
            (model->held_count - which) * sizeof(model->held[0]));
    model->used[model->pushed++] = number;
    model->pushed_slots += chain->slots;
}

/* The oldest ones in one call, none of them written. */
static void step_push_unwritten(const struct step *step)
{
    struct model *model = &schedule.model;
    unsigned count = MIN(1 + step->a % 16u, model->held_count);
    struct chain chains[16];

    for
        EACH_FORMAT(i)
        {
            for (unsigned n = 0; n < count; n++)
                chains[n] = (struct chain){.token = model->chain[model->held[n]].token[i]};
            virtqueue_push_each(&schedule.bed[i].queue, chains, NULL, count);
        }
    if (model->lost_memory)
        return;
    for (unsigned n = 0; n < count; n++) {
        unsigned number = model->held[n];

        model->chain[number].used_len = 0;
        model->used[model->pushed++] = number;
        model->pushed_slots += model->chain[number].slots;
    }
    model->held_count -= count;
    memmove(model->held, model->held + count, model->held_count * sizeof(model->held[0]));
}

static void flush_compare(void (*flush)(unsigned format))
{
    struct model *model = &schedule.model;
    enum model_notice wanted = model_interrupt(model);

    for
        EACH_FORMAT(i)
        {
            unsigned fires = schedule.bed[i].fires;

            flush(i);
            fires = schedule.bed[i].fires - fires;
            if (fires > 1)
                differs(i, "%u interrupts for one flush", fires);
            expect_notice(i, wanted, fires != 0, "interrupt");
        }
    if (model->lost_memory)
        return;
    if (model->shown != model->pushed)
        model->fresh = 0;
    model->shown = model->pushed;
}

static void flush(unsigned format)
{
    virtqueue_flush(&schedule.bed[format].queue);
}

static void step_flush(const struct step *step)
{
    (void)step;
    flush_compare(flush);
}

/* The answer has a meaning only when the last pop came to the end. */
static void step_arm(const struct step *step)
{
    struct model *model = &schedule.model;
    int more = model->seen && (model->published != model->seen_at || model->poisoned);

    (void)step;
    for
        EACH_FORMAT(i)
        {
            int answer = virtqueue_arm(&schedule.bed[i].queue);

            if ((model->seen || model->latched) && answer != more)
                differs(i, "arm answers %d instead of %d", answer, more);
        }
    if (model->latched)
        return;
    model->arm =
        model->seen || !(model->features & VIRTQUEUE_EVENT_IDX) ? MODEL_ARMED : MODEL_ARM_UNKNOWN;
    model->armed_at = model->seen_at;
    model->armed_slots = model->published_slots;
    for (unsigned i = model->seen_at; i < model->published; i++)
        model->armed_slots -= model->chain[i].slots;
}

static void step_disarm(const struct step *step)
{
    struct model *model = &schedule.model;

    (void)step;
    for
        EACH_FORMAT(i)
    virtqueue_disarm(&schedule.bed[i].queue);
    if (!model->latched)
        model->arm = model->features & VIRTQUEUE_EVENT_IDX ? MODEL_ARM_UNKNOWN : MODEL_UNARMED;
}

/* Memory goes and comes under the queue; or goes for good. */
static void step_remap(const struct step *step)
{
    struct model *model = &schedule.model;
    int gone = step->a % 4 == 0;

    for
        EACH_FORMAT(i)
        {
            virtqueue_remap(&schedule.bed[i].queue, gone ? NULL : schedule.bed[i].memory);
            if (gone && schedule.bed[i].queue.fault != QUEUE_FAULT_MEMORY)
                differs(i, "memory went away, fault %u", schedule.bed[i].queue.fault);
        }
    if (gone) {
        model->latched = 1;
        model->lost_memory = 1;
        model->seen = 0;
    }
}

/* ---- the driver takes back ------------------------------------------------------------------ */

static void step_take(const struct step *step)
{
    struct model *model = &schedule.model;

    for (unsigned n = 0; n <= step->a % 16u && !schedule.failed; n++) {
        int wanted = model->taken < model->shown;
        unsigned number = wanted ? model->used[model->taken] : 0;
        const struct model_chain *chain = &model->chain[number];

        for
            EACH_FORMAT(i)
            {
                struct driver_ring *ring = schedule.bed[i].ring;
                struct driver_used used = {0};

                if (ring->ops->take(ring, &used) != wanted)
                    differs(i, "%u buffers are used, the driver sees another number", model->shown);
                else if (wanted && (used.id != chain->id[i] || used.len != chain->used_len))
                    differs(i, "used (%u, %u) instead of chain %u (%u, %u)", used.id, used.len,
                            number, chain->id[i], chain->used_len);
            }
        if (!wanted)
            return;
        model->taken++;
        model->taken_slots += chain->slots;
        model->free_slots += chain->slots;
    }
}

static void step_interrupts(const struct step *step)
{
    struct model *model = &schedule.model;

    model->interrupts = step->a % 4 != 0;
    model->event_at = model->taken;
    model->event_slots = model->taken_slots;
    for
        EACH_FORMAT(i)
    schedule.bed[i].ring->ops->interrupts(schedule.bed[i].ring,
                                          model->interrupts ? INTERRUPTS_ON : INTERRUPTS_OFF);
}

/* ---- stop and start ------------------------------------------------------------------------- */

static void room_set(void)
{
    for
        EACH_FORMAT(i)
    schedule.bed[i].batch.iov_capacity = schedule.iov_room;
}

static void reset(unsigned size, uint32_t features)
{
    model_reset(&schedule.model, size, features);
    format_bed_start(&schedule.bed[SPLIT], size, features);
    format_bed_start(&schedule.bed[PACKED], size, features | VIRTQUEUE_PACKED);
    room_set();
}

/* RING_RESET: both sides new, whatever was going on, perhaps with another size. */
static void step_reset(const struct step *step)
{
    reset(step->a % 2 ? schedule.model.size : 2u << step->a % 6, schedule.model.features);
}

static void cycle(unsigned format)
{
    format_bed_cycle(&schedule.bed[format]);
}

/* What the device holds would be lost, so it holds nothing. */
static void step_cycle(const struct step *step)
{
    struct model *model = &schedule.model;

    (void)step;
    if (model->held_count != 0 || model->latched)
        return;
    flush_compare(cycle);
    room_set();
    model->fresh = 1;
    model->seen = 0;
    model->arm = model->features & VIRTQUEUE_EVENT_IDX ? MODEL_ARM_UNKNOWN : MODEL_ARMED;
}

/* ---- the schedule --------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(const struct step *step);
    unsigned weight; /* of 64 */
} step_kind[] = {
    {"add", step_add, 16},
    {"publish", step_publish, 8},
    {"pop", step_pop, 10},
    {"push", step_push, 7},
    {"push_unwritten", step_push_unwritten, 3},
    {"flush", step_flush, 5},
    {"take", step_take, 5},
    {"arm", step_arm, 3},
    {"interrupts", step_interrupts, 2},
    {"disarm", step_disarm, 1},
    {"cycle", step_cycle, 1},
    {"remap", step_remap, 1},
    {"reset", step_reset, 1},
    {"poison", step_poison, 1},
};

static unsigned kind_of(uint8_t op)
{
    unsigned left = op % 64u;
    unsigned kind = 0;

    while (left >= step_kind[kind].weight)
        left -= step_kind[kind++].weight;
    return kind;
}

static struct step step_at(const uint8_t *bytes, size_t len, size_t at)
{
    uint8_t word[RING_SCHEDULE_STEP_LEN] = {0};

    memcpy(word, bytes + at, len - at < sizeof(word) ? len - at : sizeof(word));
    return (struct step){word[0], word[1], word[2], word[3]};
}

static void books_compare(void)
{
    const struct model *model = &schedule.model;
    const struct format_bed *bed = schedule.bed;
    unsigned slots = 0;

    for (unsigned i = 0; i < model->held_count; i++)
        slots += model->chain[model->held[i]].slots;
    if (bed[SPLIT].queue.in_flight != model->held_count)
        differs(SPLIT, "%u in flight instead of %u", bed[SPLIT].queue.in_flight, model->held_count);
    if (bed[PACKED].queue.in_flight != slots)
        differs(PACKED, "%u slots in flight instead of %u", bed[PACKED].queue.in_flight, slots);
    if (bed[SPLIT].split.free_count != model->free_slots)
        differs(SPLIT, "%u free instead of %u", bed[SPLIT].split.free_count, model->free_slots);
    if (bed[PACKED].packed.free_slots != model->free_slots)
        differs(PACKED, "%u free instead of %u", bed[PACKED].packed.free_slots, model->free_slots);
}

/* Whatever the schedule left open is finished: nothing is lost, nothing comes twice. */
static void settle(void)
{
    const struct step all = {.a = 15};
    struct model *model = &schedule.model;

    step_publish(&all);
    while (!schedule.failed && !model->latched && model->popped < model->published)
        step_pop(&all);
    while (!schedule.failed && !model->lost_memory && model->held_count != 0)
        step_push(&all);
    step_flush(&all);
    while (!schedule.failed && model->taken < model->shown)
        step_take(&all);
    step_take(&all);
    books_compare();
}

static void setup_read(const uint8_t *bytes, size_t len, unsigned *ret_size, uint32_t *ret_features)
{
    static const unsigned room[] = {IOV_ROOM_MAX, 16, 4, 9};
    struct step setup = step_at(bytes, len, 0);

    *ret_size = 2u << setup.op % 6;
    *ret_features = (setup.a & 1 ? VIRTQUEUE_EVENT_IDX : 0) |
                    (setup.a & 2 ? 0 : VIRTQUEUE_INDIRECT) |
                    (setup.a & 4 ? VIRTQUEUE_BATCH_USED : 0);
    schedule.iov_room = room[setup.b % 4];
}

int ring_schedule_run(const uint8_t *bytes, size_t len)
{
    unsigned size;
    uint32_t features;

    if (len < RING_SCHEDULE_STEP_LEN)
        return 0;
    for (unsigned i = 0; i < FORMATS && !schedule.beds_made; i++)
        check(format_bed_init(&schedule.bed[i], FORMAT_BED_READ_ONLY) == 0, "no memory");
    schedule.beds_made = 1;
    schedule.failed = 0;
    schedule.step = 0;
    setup_read(bytes, len, &size, &features);
    reset(size, features);
    for (size_t at = RING_SCHEDULE_STEP_LEN; at < len && !schedule.failed;
         at += RING_SCHEDULE_STEP_LEN) {
        struct step step = step_at(bytes, len, at);

        schedule.step++;
        step_kind[kind_of(step.op)].run(&step);
        books_compare();
    }
    schedule.step++;
    if (!schedule.failed)
        settle();
    return schedule.failed ? -1 : 0;
}

const char *ring_schedule_error(void)
{
    return error_text;
}

void ring_schedule_print(const uint8_t *bytes, size_t len, FILE *to)
{
    unsigned size = 0;
    uint32_t features = 0;
    unsigned number = 0;

    if (len >= RING_SCHEDULE_STEP_LEN)
        setup_read(bytes, len, &size, &features);
    fprintf(to, "    ring of %u%s%s%s, %u spans a batch\n", size,
            features & VIRTQUEUE_EVENT_IDX ? ", event_idx" : "",
            features & VIRTQUEUE_INDIRECT ? ", indirect" : "",
            features & VIRTQUEUE_BATCH_USED ? ", in_order" : "", schedule.iov_room);
    for (size_t at = RING_SCHEDULE_STEP_LEN; at < len; at += RING_SCHEDULE_STEP_LEN) {
        struct step step = step_at(bytes, len, at);

        fprintf(to, "    %u: %s %u %u %u\n", ++number, step_kind[kind_of(step.op)].name, step.a,
                step.b, step.c);
    }
}

void ring_schedule_free(void)
{
    for (unsigned i = 0; i < FORMATS && schedule.beds_made; i++)
        format_bed_free(&schedule.bed[i]);
    schedule.beds_made = 0;
}
