/* SPDX-License-Identifier: MIT */
/*
 * What the files of the coordinator share. Included by src/run/coordinator*.c only.
 *
 *   coordinator.c           open, close, agreement, memory, faults, inspect
 *   coordinator_queues.c    queues one by one, the control queue's turns
 *   coordinator_rules.c     what was agreed and commanded, as the pairs have to keep to it
 *   coordinator_endpoint.c  pairs and their endpoint queues, link, an endpoint that goes and comes
 * back
 *   coordinator_set.c       what the operator changes at run time
 *   coordinator_state.c     saved state
 */
#pragma once

#include "base/log.h"
#include "run/coordinator.h"

enum {
    COORDINATOR_NAME_LEN = 32
};

struct coordinator {
    char name[COORDINATOR_NAME_LEN];
    struct nic nic;
    struct nic_control control;
    struct coordinator_listener listener;
    struct worker_pool *pool;          /* borrowed */
    struct loop *loop;                 /* borrowed */
    const struct guest_memory *memory; /* borrowed from the transport */

    struct endpoint_spec spec; /* owned */
    struct endpoint_opener opener;
    struct endpoint *endpoint; /* owned; NULL while it is gone */
    struct loop_source endpoint_source;
    struct loop_timer retry; /* runs while the endpoint is gone */
    uint64_t retry_ms;
    uint64_t endpoint_failures; /* times it went away */

    struct loop_timer blip; /* runs while the link is down for new speed and duplex */
    uint64_t blip_end_ns;   /* however slow the driver is */
    uint32_t next_speed_mbps;
    enum nic_duplex next_duplex;

    struct event_bits faults; /* raised by workers when a ring latches */
    struct loop_source fault_source;
    unsigned control_index; /* of the control queue while it runs */
    struct virtqueue inert; /* never runs */
    struct loop_source control_kick;
    struct loop_timer control_again;
    struct log_limit fault_log;

    struct worker_pair *pairs; /* owned, nic.config.queue_pairs of them */
    struct rx_rules rx_rules;  /* the data plane's copy of the device model's */
    struct inbox **inboxes;    /* owned, by pair; NULL while RSS is off */
    uint8_t *enabled;          /* owned, by queue: vhost-user's enable axis */
    uint32_t *stopped_at;      /* owned, by queue: the base it was stopped with */
};

/* ---- coordinator.c ---------------------------------------------------------------------- */

/* Pairs that are there: none yet where a card that can't be set up is taken down again. */
unsigned coordinator_pair_count(const struct coordinator *coordinator);
void coordinator_pause_all(struct coordinator *coordinator) TAKES_DATA;
void coordinator_resume_all(struct coordinator *coordinator) DROPS_DATA;
/* NEEDS_RESET, one line in the log, and the transport's notice. */
void coordinator_tell_fault(struct coordinator *coordinator, unsigned queue,
                            const struct virtqueue *virtqueue);

/* ---- coordinator_queues.c --------------------------------------------------------------- */

extern const struct nic_control_ops coordinator_control_ops;

struct virtqueue *coordinator_queue(struct coordinator *coordinator, unsigned queue);
void coordinator_control_ready(struct loop_source *source, uint32_t events);
void coordinator_control_again(struct loop_timer *timer);
void coordinator_control_stop(struct coordinator *coordinator) CONTROL_ONLY;

/* ---- coordinator_endpoint.c ------------------------------------------------------------- */

/* While the pair's worker is paused. */
void coordinator_disconnect_pair(struct worker_pair *worker_pair) NEEDS_DATA;
/* -errno, and a line in the log. */
int coordinator_connect_pair(struct coordinator *coordinator, unsigned index) NEEDS_DATA;
void coordinator_update_link(struct coordinator *coordinator) CONTROL_ONLY;

int coordinator_take_endpoint(struct coordinator *coordinator, struct error *err);
void coordinator_drop_endpoint(struct coordinator *coordinator) CONTROL_ONLY;
void coordinator_endpoint_ready(struct loop_source *source, uint32_t events);
void coordinator_retry_endpoint(struct loop_timer *timer);

/* ---- coordinator_rules.c ---------------------------------------------------------------- */

/* Gives the pair what was agreed, and connects it to the endpoint exactly while it should be: a
 * half runs, the driver (or front-end) chose to use it, and the endpoint is there. While its worker
 * is paused. */
void coordinator_update_pair(struct coordinator *coordinator, unsigned index) NEEDS_DATA;
/* Everything that follows from features, commands, link and endpoint, in all pairs. */
void coordinator_update_all(struct coordinator *coordinator) CONTROL_ONLY;

/* ---- coordinator_set.c ------------------------------------------------------------------ */

/* The transport's notice, if there is a driver to hear it. */
void coordinator_tell_config(struct coordinator *coordinator) CONTROL_ONLY;
void coordinator_blip_look(struct loop_timer *timer);
