/* SPDX-License-Identifier: MIT */
/*
 * The device side of the register tests: a NIC of the real control and data plane behind the
 * registers of one transport, and a VMM that remembers what came up. Shares no header with the
 * driver's side, which has names of its own for the same things.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum {
    DEVICE_VECTORS = 16,
    DEVICE_TEXT_LEN = 65536,
};

enum device_transport {
    DEVICE_MMIO,
    DEVICE_PCI,
};

struct device_options {
    enum device_transport transport;
    unsigned pairs;
    unsigned queue_size_max;
    unsigned vectors;     /* 0: pci's own choice */
    unsigned workers;     /* 0: 2 */
    const char *endpoint; /* kind */
};

/* Guest memory as the VMM has it mapped. */
struct device_memory {
    uint64_t gpa;
    uint64_t len;
    uint8_t *map; /* borrowed */
};

struct register_device {
    struct device_options options;
    struct loop *loop; /* owned, like all of these */
    struct worker_pool *pool;
    struct coordinator *coordinator;
    struct mmio *mmio;
    struct pci *pci;
    struct guest_memory *memory;

    /* What came up; written by any thread. */
    _Atomic int line; /* level of the MMIO line or of INTA */
    _Atomic unsigned line_calls;
    _Atomic unsigned msi[DEVICE_VECTORS]; /* by the message's data */
    _Atomic uint64_t msi_address[DEVICE_VECTORS];
    int mapped; /* the BAR is … */
    uint64_t bar;
};

void register_device_open(struct register_device *device, const struct device_options *options,
                          const struct device_memory *memory);
void register_device_close(struct register_device *device);

/* Accesses to SPACE_…, as struct register_port has them; the context is the device. */
uint64_t register_device_read(void *context, unsigned space, uint64_t offset, unsigned width);
void register_device_write(void *context, unsigned space, uint64_t offset, unsigned width,
                           uint64_t value);
int register_device_kick_fd(struct register_device *device, unsigned queue);
/* The VMM resets its machine. */
void register_device_reset(struct register_device *device);
/* The operator's wish. */
void register_device_set_link(struct register_device *device, int up);
/* NULL: all memory is gone. */
void register_device_set_memory(struct register_device *device, const struct device_memory *memory);
/* Has the control plane do what there is to do. */
void register_device_dispatch(struct register_device *device);
/* What inspect shows: a line a value, "name=value". */
void register_device_inspect(struct register_device *device, char ret_text[DEVICE_TEXT_LEN]);
/* The same of the card behind the registers: counters of its queues. */
void register_device_inspect_card(struct register_device *device, char ret_text[DEVICE_TEXT_LEN]);
/* The sum of all numbers of that name which inspect shows of the NIC and its pairs. */
uint64_t register_device_sum(struct register_device *device, const char *name);
