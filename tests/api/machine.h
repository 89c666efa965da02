/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine in this process, through the public header alone: guest memory, a card behind
 * virtio-mmio, and a driver that sets it up by its registers. Packets are moved by the library's
 * worker; the test's thread is the guest and the monitor in one.
 */
#pragma once

#include "driver_packed.h"
#include "driver_split.h"
#include "net_driver.h"
#include "vionic.h"

enum {
    MACHINE_RAM_GPA = 0x100000,
    MACHINE_RAM_LEN = 16 << 20,
    MACHINE_ROM_GPA = 0x40000000,
    MACHINE_RING_SIZE = 64,

    /* virtio 1.4, 4.2.2 */
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_SIZE_MAX = 0x034,
    REG_QUEUE_SIZE = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080,
    REG_QUEUE_DRIVER = 0x090,
    REG_QUEUE_DEVICE = 0x0a0,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

enum machine_rings {
    MACHINE_SPLIT,
    MACHINE_PACKED,
};

/* What outlives a card: memory, rings, and the driver's books. */
struct guest_machine {
    struct guest_ram ram;
    struct driver_split split[2];
    struct driver_packed packed[2];
    struct driver_ring *ring[2]; /* back-pointers: those in use */
    struct net_driver net;
    uint32_t seed;
};

struct machine {
    struct vionic *vionic; /* owned */
    struct vionic_nic *nic;
    struct guest_machine *guest; /* borrowed */
    int line_fd;                 /* owned: the interrupt's eventfd */
    int line;                    /* level, as set_line told it */
    unsigned lines;              /* calls of set_line */
};

void guest_machine_init(struct guest_machine *guest, enum machine_rings rings);
void guest_machine_free(struct guest_machine *guest);

/* The library and a card as `config` says it, with the guest's memory; nobody drives it yet. */
void machine_open(struct machine *machine, struct guest_machine *guest,
                  struct vionic_nic_config *config, enum vionic_threads threads);
void machine_close(struct machine *machine);

uint32_t machine_read(struct machine *machine, unsigned reg);
void machine_write(struct machine *machine, unsigned reg, uint32_t value);
uint64_t machine_device_features(struct machine *machine);

/* The driver's start, from reset to DRIVER_OK, with these features and buffers in the receive ring.
 */
void machine_start(struct machine *machine, uint64_t features);
/* The driver goes on with a card that is in the middle of its work. */
void machine_bind(struct machine *machine);
void machine_set_memory(struct machine *machine);

/* A frame goes out and comes back by the loopback, byte for byte. */
void machine_exchange(struct machine *machine, uint32_t len);
/* Waits until the status register has these bits. */
void machine_wait_status(struct machine *machine, uint32_t bits);
