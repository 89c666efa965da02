/* SPDX-License-Identifier: MIT */
/*
 * virtio-mmio, version 2 (virtio 1.4, 4.2), of one NIC: the registers and an interrupt line, for a
 * VMM that traps the guest's accesses. Guest memory is the coordinator's (coordinator_set_memory).
 *
 * All functions are for the control thread. set_line is called from it and from data threads,
 * perhaps several at a time; whatever their order, the last call to return told the line's level.
 * It may come with level 1 while the line is high: something new happened that the driver may not
 * have seen, so an edge-triggered interrupt has to fire again.
 */
#pragma once

#include "run/coordinator.h"

enum {
    MMIO_LEN = 0x200,    /* of the region */
    MMIO_NOTIFY = 0x050, /* for an ioeventfd of 4 bytes that matches the queue's number; with
                            NOTIFICATION_DATA agreed there is more in the word than that */
};

struct mmio_settings {
    struct coordinator *coordinator; /* borrowed; this is its only transport */
    void (*set_line)(void *context, int level);
    void *context; /* borrowed */
};

struct mmio;

int mmio_open(const struct mmio_settings *settings, struct mmio **ret_mmio,
              struct error *err) CONTROL_ONLY;
/* Stops the device; the line is not touched afterwards. NULL is fine. */
void mmio_close(struct mmio *mmio) CONTROL_ONLY;
/* As after power-up. */
void mmio_reset(struct mmio *mmio) CONTROL_ONLY;

/* Any offset and width: what no driver should do reads 0, and changes nothing. */
uint64_t mmio_read(struct mmio *mmio, uint64_t offset, unsigned width) CONTROL_ONLY;
void mmio_write(struct mmio *mmio, uint64_t offset, unsigned width, uint64_t value) CONTROL_ONLY;

unsigned mmio_queue_count(const struct mmio *mmio);
/* The eventfd that stands for a kick of the queue, the same for the whole life of mmio, which owns
 * it; -1: no such queue. */
int mmio_kick_fd(const struct mmio *mmio, unsigned queue);

/* Saved state (transport/registers_state.h). -ENOMEM */
int mmio_save(struct mmio *mmio, struct records_writer *writer) CONTROL_ONLY;
/* As after power-up before, and if it fails. */
int mmio_restore(struct mmio *mmio, const struct records *records, struct error *err) CONTROL_ONLY;

void mmio_inspect(struct mmio *mmio, struct inspect *visitor) CONTROL_ONLY;
