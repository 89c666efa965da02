/* SPDX-License-Identifier: MIT */
/*
 * The control queue (virtio 1.4, 5.1.6.5): every command is answered, in order; one that is
 * unknown, not negotiated or malformed is answered with an error and changes nothing. Runs on the
 * control thread.
 *
 *   control.c       from descriptors to messages, the table of commands, the answers
 *   control_rx.c    which frames are received: modes, addresses, VLANs; announcements
 *   control_mq.c    which queues are used: pairs, RSS, hash
 *   control_tune.c  receive offloads, interrupt coalescing
 *   stats.c         device statistics
 */
#pragma once

#include "nic/nic.h"

struct nic_control;

/* What commands need of the coordinator. */
struct nic_control_ops {
    /* The data plane takes over what commands changed in the device model; true before it returns.
     * Called once for all commands of a batch, before they are answered. */
    void (*apply)(void *context);
    /* Has the driver set this queue up, and not reset or disabled it? */
    int (*queue_ready)(void *context, unsigned queue);
    /* For statistics: counters are live. */
    const struct pair *(*pair)(void *context, unsigned index);
};

struct nic_control {
    struct virtqueue queue;
    struct nic *nic; /* borrowed */
    const struct nic_control_ops *ops;
    void *context;            /* borrowed */
    struct chain_batch batch; /* owned; empty until the queue was started once */
    uint8_t *message;         /* owned: a private copy of the command at work; NULL until then */
    int changed;              /* commands of this batch changed the device model */
    counter commands;
    counter failed;    /* answered with an error */
    counter malformed; /* no room for an answer, or a bad chain */
};

void nic_control_init(struct nic_control *control, struct nic *nic,
                      const struct nic_control_ops *ops, void *context);
/* virtqueue_start for the control queue. */
int nic_control_start(struct nic_control *control, const struct virtqueue_config *config,
                      const struct guest_memory *memory, struct error *err);
void nic_control_free(struct nic_control *control);

/* Serves what waits, up to a bound; returns how many. */
unsigned nic_control_serve(struct nic_control *control);
void nic_control_inspect(struct nic_control *control, struct inspect *visitor);
