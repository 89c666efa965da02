/* SPDX-License-Identifier: MIT */
/*
 * A driver over virtio-mmio or virtio-pci registers, written from the specification (virtio 1.4,
 * 3.1, 4.1, 4.2). Accesses go through a port, as a CPU's would through a VMM.
 */
#pragma once

#include <stdint.h>

#include "driver_ring.h"

enum register_space {
    SPACE_MMIO,
    SPACE_PCI_CONFIG,
    SPACE_PCI_BAR, /* by offset in BAR 0 */
};

struct register_port {
    uint64_t (*read)(void *context, enum register_space space, uint64_t offset, unsigned width);
    void (*write)(void *context, enum register_space space, uint64_t offset, unsigned width,
                  uint64_t value);
    void *context; /* borrowed */
};

enum register_status {
    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,
    STATUS_SUSPEND = 16,
    STATUS_NEEDS_RESET = 64,
    STATUS_FAILED = 128,

    STATUS_BEFORE_QUEUES = 1 | 2 | 8,
    STATUS_RUNNING = 1 | 2 | 4 | 8,
};

struct register_ring {
    unsigned size;
    uint64_t desc, driver, device;
};

struct register_driver;

/* What differs between the two transports. */
struct register_driver_ops {
    uint8_t (*status)(struct register_driver *driver);
    void (*write_status)(struct register_driver *driver, uint8_t value);
    uint32_t (*device_features)(struct register_driver *driver, uint32_t select);
    void (*write_driver_features)(struct register_driver *driver, uint32_t select, uint32_t bits);
    /* 0: there is no such queue. */
    uint32_t (*queue_size_max)(struct register_driver *driver, uint32_t queue);
    void (*write_ring)(struct register_driver *driver, uint32_t queue,
                       const struct register_ring *ring);
    void (*enable_queue)(struct register_driver *driver, uint32_t queue);
    uint32_t (*queue_enabled)(struct register_driver *driver, uint32_t queue);
    /* Writes 1 to the queue's reset register; what it reads afterwards. */
    uint32_t (*reset_queue)(struct register_driver *driver, uint32_t queue);
    void (*notify)(struct register_driver *driver, uint32_t queue, uint32_t word);
    uint64_t (*config)(struct register_driver *driver, uint64_t offset, unsigned width);
    void (*write_config)(struct register_driver *driver, uint64_t offset, unsigned width,
                         uint64_t value);
    uint32_t (*generation)(struct register_driver *driver);
};

/* Where a virtio structure lies (virtio 1.4, 4.1.4); len 0: there is none. */
struct pci_structure {
    uint8_t cap; /* of its capability in config space */
    uint8_t cap_len;
    uint8_t bar;
    uint32_t offset;
    uint32_t len;
};

enum {
    PCI_CFG_TYPES = 10
};

struct register_driver {
    const struct register_driver_ops *ops;
    struct register_port port;
    uint32_t features_high; /* from bit 64 on: what negotiate accepts of them; usually none */

    /* virtio-pci only. */
    struct pci_structure structure[PCI_CFG_TYPES]; /* by cfg_type; the first of each */
    uint32_t notify_multiplier;
    uint8_t msix_cap; /* 0: none */
    uint32_t msix_table, msix_pba;
    unsigned msix_vectors;
};

void register_driver_init_mmio(struct register_driver *driver, const struct register_port *port);
/* Places the BAR, enables memory and bus master, walks the capabilities. */
void register_driver_init_pci(struct register_driver *driver, const struct register_port *port);

/* The last part of that, for a function that lost its config space. */
void register_driver_enable_pci(struct register_driver *driver);

/* ---- interrupts of virtio-pci ---- */

enum msix_control {
    MSIX_CONTROL_MASK = 1 << 14,
    MSIX_CONTROL_ENABLE = 1 << 15,
    MSIX_NO_VECTOR = 0xffff,
};

/* Masked, written, unmasked. */
void register_driver_put_msix(struct register_driver *driver, unsigned vector, uint64_t address,
                              uint32_t data);
void register_driver_mask_msix(struct register_driver *driver, unsigned vector, unsigned masked);
unsigned register_driver_msix_pending(struct register_driver *driver, unsigned vector);
void register_driver_set_msix(struct register_driver *driver, uint32_t control);
/* What the vector register reads afterwards. */
uint32_t register_driver_map_queue(struct register_driver *driver, uint32_t queue, uint32_t vector);
uint32_t register_driver_map_config(struct register_driver *driver, uint32_t vector);
/* Reads it, and thereby clears it. */
uint32_t register_driver_isr(struct register_driver *driver);

/* ---- both ---- */

uint64_t register_driver_offer(struct register_driver *driver);
/* Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK; returns what the status reads then. */
uint8_t register_driver_negotiate(struct register_driver *driver, uint64_t features);
/* Places a ring and enables its queue; fails the test unless it reads enabled. */
void register_driver_start_ring(struct register_driver *driver, uint32_t queue,
                                const struct driver_ring *ring);

static inline uint64_t register_read(struct register_driver *driver, enum register_space space,
                                     uint64_t offset, unsigned width)
{
    return driver->port.read(driver->port.context, space, offset, width);
}

static inline void register_write(struct register_driver *driver, enum register_space space,
                                  uint64_t offset, unsigned width, uint64_t value)
{
    driver->port.write(driver->port.context, space, offset, width, value);
}
