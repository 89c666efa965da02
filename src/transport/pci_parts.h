/* SPDX-License-Identifier: MIT */
/*
 * What the files of virtio-pci share. Included by src/transport/pci*.c only.
 *
 *   pci.c         open, close, interrupts; the BAR and the structures in it
 *   pci_common.c  the common configuration structure
 *   pci_config.c  config space of the function
 *   pci_state.c   saved state
 */
#pragma once

#include <stdatomic.h>

#include "transport/msix.h"
#include "transport/pci.h"
#include "transport/registers.h"

enum {
    /* Places in the BAR. */
    PCI_COMMON_OFFSET = 0x0000,
    PCI_COMMON_LEN = 64,
    PCI_ISR_OFFSET = 0x1000,
    PCI_ISR_LEN = 1,
    PCI_DEVICE_OFFSET = 0x2000,
    PCI_DEVICE_LEN = (NIC_CONFIG_LEN + 3) / 4 * 4,
    PCI_PENDING_OFFSET = 0x4000,
    PCI_TABLE_OFFSET = 0x8000,

    PCI_NO_VECTOR = 0xffff, /* virtio 1.4, 4.1.4.3 */
};

_Static_assert(PCI_TABLE_OFFSET + PCI_VECTORS_MAX * MSIX_ENTRY_LEN <= PCI_BAR_LEN, "all fits");

struct pci {
    struct registers registers;
    const struct pci_ops *ops; /* borrowed */
    void *context;             /* borrowed */

    /* Data threads read these, and are held while they change. */
    struct msix msix;
    uint16_t *vector; /* owned, by queue */
    int intx_open;    /* events go to the ISR register and its bits to INTA */

    uint16_t config_vector;
    _Atomic unsigned isr;

    uint8_t config[PCI_CONFIG_LEN];

    /* What bar_moved was told. */
    uint64_t bar_address;
    int bar_mapped;
};

/* ---- pci.c -------------------------------------------------------------------------------- */

/* Follows from command register and MSI-X control. */
void pci_update_interrupts(struct pci *pci, unsigned msix_state, int intx_open) CONTROL_ONLY;
/* The driver wrote 0 to device_status. */
void pci_reset_device(struct pci *pci) CONTROL_ONLY;
/* A vector that there is not becomes PCI_NO_VECTOR. */
void pci_set_queue_vector(struct pci *pci, const struct registers_queue *queue,
                          uint16_t vector) CONTROL_ONLY;
void pci_set_config_vector(struct pci *pci, uint16_t vector);
/* Whether or not memory space is enabled. */
uint64_t pci_bar_get(struct pci *pci, uint64_t offset, unsigned width) CONTROL_ONLY;
void pci_bar_put(struct pci *pci, uint64_t offset, unsigned width, uint64_t value) CONTROL_ONLY;
/* Is all of this inside one of the virtio structures? */
int pci_bar_is_virtio(const struct pci *pci, uint64_t offset, unsigned width);

/* ---- pci_common.c ------------------------------------------------------------------------- */

uint64_t pci_common_read(struct pci *pci, unsigned offset, unsigned width) CONTROL_ONLY;
void pci_common_write(struct pci *pci, unsigned offset, unsigned width,
                      uint64_t value) CONTROL_ONLY;

/* ---- pci_config.c ------------------------------------------------------------------------- */

/* As after power-up. */
void pci_config_reset(struct pci *pci) CONTROL_ONLY;
/* Is the word at this offset state that the driver wrote, and no access that would act anew? */
int pci_config_is_state(unsigned offset);
int pci_config_memory_enabled(const struct pci *pci);
