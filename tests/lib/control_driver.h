/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of the control queue (virtio 1.4, 5.1.6.5), over any driver_ring: sends
 * commands cut into buffers in any way, and hands back what the device wrote. Answers must come in
 * order.
 */
#pragma once

#include "driver_ring.h"

enum {
    CONTROL_ACK_OK = 0,
    CONTROL_ACK_ERR = 1,
    CONTROL_UNWRITTEN = 0xee, /* what the device's part is filled with beforehand */
    CONTROL_IN_FLIGHT_MAX = 1024,
};

enum control_cut {
    CONTROL_CUT_USUAL,  /* class and command, data, ack, result: a buffer each */
    CONTROL_CUT_NONE,   /* one buffer each way */
    CONTROL_CUT_BYTES,  /* the first bytes each way in buffers of one byte, the rest in one */
    CONTROL_CUT_HEADER, /* class in one buffer, command and data in the next */
    CONTROL_CUT_HOLES,  /* the usual one with empty buffers around each */
    CONTROL_CUT_COUNT,
};

struct control_message {
    const void *bytes; /* class, command, data */
    uint32_t len;
    uint32_t room; /* bytes that the device may write, the ack is one of them */
};

/* What came of a message; `written` is valid until the next message is queued. */
struct control_reply {
    const uint8_t *written; /* borrowed: all of the room */
    uint32_t used_len;
};

struct control_in_flight {
    uint32_t id;
    const uint8_t *written; /* borrowed from guest memory */
};

struct control_driver {
    struct driver_ring *ring; /* borrowed */
    enum control_cut cut;     /* of what is queued from now on */
    enum chain_shape shape;
    uint64_t area_gpa;
    uint32_t area_used;
    unsigned first, count; /* in flight, oldest first */
    struct control_in_flight in_flight[CONTROL_IN_FLIGHT_MAX];
};

/* Messages lie in this region of guest RAM. */
void control_driver_init(struct control_driver *driver, struct driver_ring *ring, unsigned region);

/* Puts a message into the ring, unpublished. */
void control_driver_queue(struct control_driver *driver, const struct control_message *message);
/* Waits for the answer to the oldest message; fails the test if none comes or another one's does.
 */
struct control_reply control_driver_take(struct control_driver *driver);
/* Queues, publishes and waits. */
struct control_reply control_driver_send(struct control_driver *driver,
                                         const struct control_message *message);
/* A command with no result: returns its ack; one byte must have been written (NET-CTL-04). */
unsigned control_driver_ask(struct control_driver *driver, const void *bytes, uint32_t len);

/* Reads of a reply, which is little-endian. */
static inline uint64_t control_reply_get64(const struct control_reply *reply, uint32_t offset)
{
    return wire_get64(reply->written + offset, WIRE_LITTLE);
}
