/* SPDX-License-Identifier: MIT */
/*
 * virtio-pci, modern (virtio 1.4, 4.1), of one NIC: the config space of a PCI function, its BAR and
 * its interrupts, for a VMM that has a PCI bus. Guest memory is the coordinator's
 * (coordinator_set_memory).
 *
 * All functions are for the control thread. Interrupts come from it and from data threads, perhaps
 * several at a time.
 */
#pragma once

#include "run/coordinator.h"

enum {
    PCI_CONFIG_LEN = 256,
    PCI_BAR = 0, /* the only one: memory, 64 bits wide, so it takes the next one's place too */
    PCI_BAR_LEN = 0x10000,
    PCI_NOTIFY_OFFSET = 0x3000, /* in the BAR */
    PCI_NOTIFY_MULTIPLIER = 4,  /* bytes a queue */
    PCI_VECTORS_MAX = 2048,
};

struct pci_ops {
    /* A message of a vector that is enabled: the words that the driver wrote into the table. */
    void (*send_msi)(void *context, uint64_t address, uint32_t data);
    /* The level of INTA; whatever the order of concurrent calls, the last one to return told it. */
    void (*set_intx)(void *context, int level);
    /* The BAR answers at this guest address from now on, or (mapped 0) nowhere. Control thread.
     * NULL: the VMM looks by itself (pci_bar_address). */
    void (*bar_moved)(void *context, uint64_t address, int mapped);
};

struct pci_settings {
    struct coordinator *coordinator; /* borrowed; this is its only transport */
    const struct pci_ops *ops;       /* borrowed */
    void *context;                   /* borrowed */
    unsigned vectors; /* of MSI-X, up to PCI_VECTORS_MAX; 0: one a queue and one for config */
};

struct pci;

int pci_open(const struct pci_settings *settings, struct pci **ret_pci,
             struct error *err) CONTROL_ONLY;
/* Stops the device; no call comes afterwards. NULL is fine. */
void pci_close(struct pci *pci) CONTROL_ONLY;
/* As after power-up, config space too: a reset of the bus, or of the function. */
void pci_reset(struct pci *pci) CONTROL_ONLY;

/* Any offset and width; bytes that are not there read 0. */
uint32_t pci_read_config(struct pci *pci, uint32_t offset, unsigned width) CONTROL_ONLY;
void pci_write_config(struct pci *pci, uint32_t offset, unsigned width,
                      uint32_t value) CONTROL_ONLY;

/* Any offset and width: what no driver should do reads 0, and changes nothing. While memory space
 * is disabled all bits read 1. */
uint64_t pci_read_bar(struct pci *pci, uint64_t offset, unsigned width) CONTROL_ONLY;
void pci_write_bar(struct pci *pci, uint64_t offset, unsigned width, uint64_t value) CONTROL_ONLY;
/* 1 and where the BAR is; 0: nowhere, memory space is disabled. */
int pci_bar_address(const struct pci *pci, uint64_t *ret_address);

unsigned pci_queue_count(const struct pci *pci);
/* The eventfd that stands for a kick of the queue, the same for the whole life of pci, which owns
 * it; -1: no such queue. An ioeventfd of any length at PCI_NOTIFY_OFFSET + queue *
 * PCI_NOTIFY_MULTIPLIER may be bound to it. */
int pci_kick_fd(const struct pci *pci, unsigned queue);

/* Saved state (transport/registers_state.h). -ENOMEM */
int pci_save(struct pci *pci, struct records_writer *writer) CONTROL_ONLY;
/* The device as after power-up before; the function too if it fails. */
int pci_restore(struct pci *pci, const struct records *records, struct error *err) CONTROL_ONLY;

void pci_inspect(struct pci *pci, struct inspect *visitor) CONTROL_ONLY;
