/* SPDX-License-Identifier: MIT */
#include "endpoint/lane.h"

#include <string.h>

#include "base/checked.h"
#include "base/span_copy.h"

/* Lies in front of each frame. A record never runs over the end of the ring. */
struct record {
    uint32_t size; /* of all of it, a multiple of the struct's alignment */
    uint32_t len;  /* of the frame; 0: nothing up to the end of the ring */
    struct frame_offload offload;
};

enum {
    RECORD_ALIGN = 32, /* so that one fits in front of the end */
};

_Static_assert(sizeof(struct record) <= RECORD_ALIGN, "a gap holds a record");

static uint32_t record_size(uint32_t len)
{
    return (uint32_t)(sizeof(struct record) + len + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

static struct record *record_at(struct lane *lane, uint32_t at)
{
    return (struct record *)(lane->bytes + at % LANE_LEN);
}

/* Bytes that the record takes from here on, a gap up to the end included. */
static uint32_t bytes_taken(uint32_t at, uint32_t size)
{
    uint32_t to_end = LANE_LEN - at % LANE_LEN;

    return size <= to_end ? size : to_end + size;
}

static int has_room(const struct lane *lane, uint32_t tail, uint32_t taken)
{
    return tail + taken - atomic_load_explicit(&lane->head, memory_order_acquire) <= LANE_LEN;
}

int lane_put(struct lane *lane, const struct frame *frame)
{
    uint32_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
    uint32_t size = record_size(frame->len);
    uint32_t taken = bytes_taken(tail, size);
    struct record *record;

    if (!has_room(lane, tail, taken)) {
        atomic_store_explicit(&lane->wants_room, 1, memory_order_seq_cst);
        if (!has_room(lane, tail, taken)) /* a pop may have come in between */
            return 0;
    }
    if (taken != size) {
        *record_at(lane, tail) = (struct record){.size = taken - size};
        tail += taken - size;
    }
    record = record_at(lane, tail);
    *record = (struct record){.size = size, .len = frame->len, .offload = frame->offload};
    span_copy_out((uint8_t *)(record + 1), frame->iov, frame->len);
    atomic_store_explicit(&lane->tail, tail + size, memory_order_release); /* lane_peek */
    return 1;
}

unsigned lane_peek(struct lane *lane, struct frame frame[LANE_BATCH], struct iovec iov[LANE_BATCH])
{
    uint32_t head = atomic_load_explicit(&lane->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&lane->tail, memory_order_acquire);
    unsigned count = 0;

    while (head != tail && count < LANE_BATCH) {
        struct record *record = record_at(lane, head);

        head += record->size;
        if (record->len == 0)
            continue;
        iov[count] = (struct iovec){record + 1, record->len};
        frame[count] = (struct frame){
            .iov = &iov[count], .iov_count = 1, .len = record->len, .offload = record->offload};
        lane->peeked[count++] = head;
    }
    return count;
}

static int move_head(struct lane *lane, uint32_t head)
{
    atomic_store_explicit(&lane->head, head, memory_order_seq_cst);
    return atomic_load_explicit(&lane->wants_room, memory_order_seq_cst) &&
           atomic_exchange_explicit(&lane->wants_room, 0, memory_order_seq_cst);
}

int lane_pop(struct lane *lane, unsigned count)
{
    return count == 0 ? 0 : move_head(lane, lane->peeked[count - 1]);
}

int lane_clear(struct lane *lane)
{
    return move_head(lane, atomic_load_explicit(&lane->tail, memory_order_acquire));
}
