/* SPDX-License-Identifier: MIT */
/*
 * Saved state of a card behind registers: of the device (nic/saved_state.h), of the registers, and
 * where each ring stands. mmio.c and pci_state.c add what is theirs.
 */
#pragma once

#include "base/records.h"
#include "transport/registers.h"

/* The queues stand still while this writes, and go on afterwards. -ENOMEM */
int registers_save(struct registers *registers, struct records_writer *writer) CONTROL_ONLY;

struct registers_restore {
    struct nic *next; /* owned: the NIC as it was saved */
};

/* Of registers as after power-up; from here on queues stand still. -EBUSY, or -EINVAL and a
 * sentence if the records can't be of this card, or its memory is not the one that they speak of:
 * the registers are as after power-up then, and the caller's bus is as it was. */
int registers_restore_begin(struct registers *registers, const struct records *records,
                            struct registers_restore *ret_restore, struct error *err) CONTROL_ONLY;
/* Queues run, if there is a bus. -EINVAL and a sentence: one can't; all is as after power-up. */
int registers_restore_end(struct registers *registers, struct registers_restore *restore,
                          enum registers_bus bus, struct error *err) CONTROL_ONLY;
