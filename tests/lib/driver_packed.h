/* SPDX-License-Identifier: MIT */
/*
 * The driver side of a packed virtqueue (virtio 1.4, 2.8), written from the specification. Beside
 * the well behaved calls of driver_ring.h it has raw ones, with which a test breaks any rule it
 * likes.
 */
#pragma once

#include "driver_ring.h"

enum packed_slot_flags {
    SLOT_NEXT = 1,
    SLOT_WRITE = 2,
    SLOT_INDIRECT = 4,
    SLOT_AVAIL = 1 << 7,
    SLOT_USED = 1 << 15,
};

enum packed_event_wish {
    EVENT_ENABLE = 0,
    EVENT_DISABLE = 1,
    EVENT_SLOT = 2,
};

enum {
    PACKED_SLOT_LEN = 16,
    PACKED_WRAP = 1 << 15, /* of a position in a word */
};

struct packed_slot {
    uint64_t addr;
    uint32_t len;
    uint16_t id;
    uint16_t flags;
};

struct packed_place {
    uint16_t slot;
    uint16_t wrap;
};

struct packed_event_words {
    uint16_t place; /* slot, wrap counter in bit 15 */
    uint16_t flags;
};

struct driver_packed_options {
    unsigned size;
    uint16_t start; /* slot and wrap counter, as after so many laps; 0 means a new ring */
    int event_idx;
    int in_order;
    unsigned region;      /* of guest RAM, for all that only the driver writes */
    unsigned ring_region; /* of guest RAM, for the ring and the device's event words */
};

struct driver_packed {
    struct driver_ring ring; /* first: a driver_packed is a driver_ring */
    uint64_t table_gpa;      /* a table of table_len entries for each id */
    unsigned table_len;
    uint16_t start;
    struct packed_place next;  /* the next slot to fill */
    struct packed_place held;  /* where the list begins whose first flags are held back */
    struct packed_place shown; /* behind the last published slot */
    uint16_t held_flags;
    int holds;
    unsigned shown_slots;     /* filled and not published */
    struct packed_place used; /* of the next used slot to look at */
    unsigned free_slots;
    uint16_t *free_id;  /* owned: a stack of ids */
    uint16_t *list_len; /* owned: slots of the list with each id, 0: not in flight */
    unsigned free_ids;
};

void driver_packed_init(struct driver_packed *packed, struct guest_ram *ram,
                        const struct driver_packed_options *options);
void driver_packed_free(struct driver_packed *packed);
/* Forgets everything in flight and makes the ring one whose last lap ended before `start`. */
void driver_packed_restart(struct driver_packed *packed, uint16_t start);

/* ---- raw ---- */

uint64_t driver_packed_slot_at(const struct driver_packed *packed, unsigned slot);
/* Flags last. */
void driver_packed_write_slot(struct driver_packed *packed, unsigned slot,
                              const struct packed_slot *words);
/* A descriptor anywhere in guest memory: entries of an indirect table. */
void driver_packed_write_at(struct driver_packed *packed, uint64_t gpa,
                            const struct packed_slot *words);
struct packed_slot driver_packed_read_slot(const struct driver_packed *packed, unsigned slot);
uint16_t driver_packed_slot_flags(const struct driver_packed *packed, unsigned slot);
/* The bits that make a slot at this place available, or used. */
uint16_t packed_avail_bits(struct packed_place at);
uint16_t packed_used_bits(struct packed_place at);
struct packed_place packed_place_after(const struct driver_packed *packed, struct packed_place at,
                                       unsigned slots);
uint16_t packed_place_word(struct packed_place at);
/* The slots, made available one behind the other with NEXT between them, unpublished; ids stay as
 * they are, and take() knows the list by the last one if that is below the size. Answers that id.
 */
uint16_t driver_packed_put(struct driver_packed *packed, const struct packed_slot *slots,
                           unsigned count);
/* The same, and published. */
uint16_t driver_packed_offer(struct driver_packed *packed, const struct packed_slot *slots,
                             unsigned count);
/* Takes an id out of the free ones. */
uint16_t driver_packed_claim_id(struct driver_packed *packed);
void driver_packed_store_event(struct driver_packed *packed, struct packed_event_words words);
struct packed_event_words driver_packed_device_event(const struct driver_packed *packed);
