/* SPDX-License-Identifier: MIT */
/*
 * What the register transports share (virtio 1.4, 2, 3.1, 4): the feature windows, the status
 * register, queue registers, config space, and the kick of each queue. mmio.c and pci.c lay their
 * registers over it and turn its two events into interrupts. Only VERSION_1 drivers.
 *
 * A queue runs while all of this holds: the driver made it ready, DRIVER_OK is set and nothing
 * forbids it (FAILED, suspended, no bus master). It starts at the moment the last of these becomes
 * true, with one look at what is in it already, and stops synchronously; before and after, its
 * memory is neither read nor written.
 *
 * All functions are for the control thread. The queue event comes from data threads too.
 */
#pragma once

#include "run/coordinator.h"

struct registers;

struct registers_events {
    /* A used buffer notification. Any thread; several at a time. */
    void (*queue)(void *context, unsigned queue);
    /* A configuration change notification. Control thread. */
    void (*config)(void *context);
    void *context; /* borrowed */
};

struct registers_queue {
    struct registers *owner; /* back-pointer */
    unsigned index;
    uint16_t size; /* as written, perhaps impossible: judged when the queue is made ready */
    uint8_t ready;
    uint8_t running;               /* as far as the coordinator knows */
    uint8_t begun;                 /* ran since it became ready */
    uint64_t desc, driver, device; /* guest addresses */
    uint32_t base;                 /* where to go on, if it ran */
    int kick_fd;                   /* owned; an eventfd */
    counter notifies;              /* kicks by register; those by eventfd are the ring's */
};

enum registers_bus {
    REGISTERS_BUS_OFF, /* no access to guest memory */
    REGISTERS_BUS_ON,
};

struct registers {
    struct coordinator *coordinator; /* borrowed */
    struct registers_events events;
    unsigned queue_count;
    uint16_t size_max;             /* a power of two */
    struct registers_queue *queue; /* owned, queue_count of them */

    struct features accepted; /* what the driver wrote, before it is judged */
    uint32_t device_feature_select, driver_feature_select;
    uint32_t queue_select;
    enum registers_bus bus;

    /* Config space as it was when the driver suspended the device. */
    uint8_t frozen[NIC_CONFIG_LEN];
};

/* Listens to the coordinator from then on; adds what only register transports can do to the offer.
 */
int registers_init(struct registers *registers, struct coordinator *coordinator,
                   const struct registers_events *events, struct error *err) CONTROL_ONLY;
/* Stops all queues. Fine for a struct of zeroes. */
void registers_free(struct registers *registers) CONTROL_ONLY;
/* Device and registers as at power-up. */
void registers_reset(struct registers *registers) CONTROL_ONLY;
/* Without a bus queues stand still, where they are; ON after init. */
void registers_set_bus(struct registers *registers, enum registers_bus bus) CONTROL_ONLY;

uint8_t registers_status(const struct registers *registers);
/* 0 resets. When it returns, the status reads as it will. */
void registers_write_status(struct registers *registers, uint8_t value) CONTROL_ONLY;

/* Bits 32 * select … + 31; windows behind the last one are empty. */
uint32_t registers_device_features(const struct registers *registers);
uint32_t registers_driver_features(const struct registers *registers);
/* Ignored once FEATURES_OK is set. */
void registers_write_driver_features(struct registers *registers, uint32_t bits);

/* The selected queue; NULL: there is none of that number. */
struct registers_queue *registers_selected(struct registers *registers);
/* The same if its size and addresses may be written now: neither ready nor suspended. */
struct registers_queue *registers_selected_writable(struct registers *registers);
enum registers_half {
    REGISTERS_LOW,
    REGISTERS_HIGH,
};
void registers_put_half(uint64_t *address, enum registers_half half, uint32_t bits);
/* The ring's size, place and format are looked at now: what can't be leaves the queue as it was
 * and sets NEEDS_RESET. */
void registers_queue_enable(struct registers_queue *queue) CONTROL_ONLY;
void registers_queue_disable(struct registers_queue *queue) CONTROL_ONLY;
/* RING_RESET: the queue as after a device reset; 0: not agreed, nothing done. */
int registers_queue_reset(struct registers_queue *queue) CONTROL_ONLY;
/* The word that the driver wrote to be heard: the queue in its low half, the rest is a hint. */
void registers_notify(struct registers *registers, uint32_t word);

/* Any offset and width of 1, 2, 4, 8; bytes behind the end are 0, other widths too. */
uint64_t registers_read_config(struct registers *registers, uint64_t offset, unsigned width);
uint32_t registers_generation(struct registers *registers);

int registers_kick_fd(const struct registers *registers, unsigned queue);

/* No worker fires the queue's event between these two. */
void registers_hold(struct registers *registers, unsigned queue) TAKES_DATA;
void registers_release(struct registers *registers, unsigned queue) DROPS_DATA;

void registers_inspect(struct registers *registers, struct inspect *visitor) CONTROL_ONLY;
