/* SPDX-License-Identifier: MIT */
#include "control_driver.h"

#include <string.h>

#include "check.h"
#include "clockwork.h"

enum {
    AREA_LEN = 1 << 20,
    BUFFERS_MAX = 64,
    SINGLES = 12, /* CONTROL_CUT_BYTES: buffers of one byte, each way */
    HEADER_LEN = 2,
};

void control_driver_init(struct control_driver *driver, struct driver_ring *ring, unsigned region)
{
    *driver = (struct control_driver){.ring = ring};
    driver->area_gpa = guest_ram_alloc(ring->ram, region, AREA_LEN, 64);
}

static uint64_t area_take(struct control_driver *driver, uint32_t len)
{
    uint64_t gpa;

    check(driver->area_used + len <= AREA_LEN, "no room for a message of %u bytes", len);
    gpa = driver->area_gpa + driver->area_used;
    driver->area_used += len;
    return gpa;
}

/* ---- cutting ---- */

struct cutting {
    struct driver_buffer buffer[BUFFERS_MAX];
    unsigned count;
};

static void cut_add(struct cutting *cutting, uint64_t gpa, uint32_t len, enum driver_access access)
{
    assert_true(cutting->count < BUFFERS_MAX);
    cutting->buffer[cutting->count++] = (struct driver_buffer){gpa, len, access};
}

static void cut_hole(struct cutting *cutting, enum control_cut cut, uint64_t gpa,
                     enum driver_access access)
{
    if (cut == CONTROL_CUT_HOLES)
        cut_add(cutting, gpa, 0, access);
}

/* One direction, in a first piece of `first` bytes and a second with the rest. */
static void cut_part(struct cutting *cutting, enum control_cut cut, uint32_t first,
                     const struct driver_buffer *part)
{
    uint64_t gpa = part->gpa;
    uint32_t left = part->len;

    if (cut == CONTROL_CUT_NONE)
        first = left;
    if (cut == CONTROL_CUT_HEADER)
        first = 1;
    if (first > left)
        first = left;
    for (unsigned i = 0; cut == CONTROL_CUT_BYTES && i < SINGLES && left != 0; i++, left--)
        cut_add(cutting, gpa++, 1, part->access);
    cut_hole(cutting, cut, gpa, part->access);
    if (cut != CONTROL_CUT_BYTES && first != 0) {
        cut_add(cutting, gpa, first, part->access);
        cut_hole(cutting, cut, gpa, part->access);
        gpa += first;
        left -= first;
    }
    if (left != 0)
        cut_add(cutting, gpa, left, part->access);
    cut_hole(cutting, cut, gpa, part->access);
}

/* ---- messages ---- */

void control_driver_queue(struct control_driver *driver, const struct control_message *message)
{
    struct driver_buffer reads = {.len = message->len, .access = DEVICE_READS};
    struct driver_buffer writes = {.len = message->room, .access = DEVICE_WRITES};
    struct cutting cutting = {.count = 0};
    struct driver_chain chain = {.buffer = cutting.buffer, .shape = driver->shape};
    struct control_in_flight *slot;

    assert_true(driver->count < CONTROL_IN_FLIGHT_MAX);
    if (driver->count == 0) /* nothing in flight is in its memory */
        driver->area_used = 0;
    reads.gpa = area_take(driver, message->len);
    writes.gpa = area_take(driver, message->room);
    if (message->len != 0)
        memcpy(guest_ram_at(driver->ring->ram, reads.gpa, message->len), message->bytes,
               message->len);
    slot = &driver->in_flight[(driver->first + driver->count++) % CONTROL_IN_FLIGHT_MAX];
    slot->written = NULL;
    if (message->room != 0) {
        uint8_t *room = guest_ram_at(driver->ring->ram, writes.gpa, message->room);

        memset(room, CONTROL_UNWRITTEN, message->room);
        slot->written = room;
    }
    cut_part(&cutting, driver->cut, HEADER_LEN, &reads);
    cut_part(&cutting, driver->cut, 1, &writes);
    chain.count = cutting.count;
    slot->id = driver->ring->ops->add(driver->ring, &chain);
}

struct control_reply control_driver_take(struct control_driver *driver)
{
    struct control_in_flight *slot = &driver->in_flight[driver->first];
    struct driver_used used;

    check(driver->count != 0, "no message is in flight");
    check(driver_ring_wait(driver->ring, WAIT_LONG_MS, &used), "a message was not answered");
    check(used.id == slot->id, "the answer of message %u came instead of that of %u", used.id,
          slot->id);
    driver->first = (driver->first + 1) % CONTROL_IN_FLIGHT_MAX;
    driver->count--;
    return (struct control_reply){.written = slot->written, .used_len = used.len};
}

struct control_reply control_driver_send(struct control_driver *driver,
                                         const struct control_message *message)
{
    control_driver_queue(driver, message);
    driver_ring_flush(driver->ring);
    return control_driver_take(driver);
}

unsigned control_driver_ask(struct control_driver *driver, const void *bytes, uint32_t len)
{
    struct control_message message = {.bytes = bytes, .len = len, .room = 1};
    struct control_reply reply = control_driver_send(driver, &message);

    check(reply.used_len == 1, "%u bytes were written instead of the ack", reply.used_len);
    return reply.written[0];
}
