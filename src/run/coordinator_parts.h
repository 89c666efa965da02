/* SPDX-License-Identifier: MIT */
/*
 * What the files of the coordinator share. Included by src/run/coordinator*.c only.
 *
 *   coordinator.c           open, close, agreement, memory, faults, inspect
 *   coordinator_queues.c    queues one by one, the control queue's turns
 *   coordinator_rules.c     what was agreed and commanded, as the pairs have to keep to it
 *   coordinator_endpoint.c  pairs and their endpoint queues, link, an endpoint that goes and comes
 *                           back
 *   coordinator_swap.c      another endpoint behind a card that runs
 *   coordinator_set.c       what the operator changes at run time
 *   coordinator_memory.c    guest memory, and what an IOMMU maps of it
 *   coordinator_state.c     saved state
 *   coordinator_handover.c  a card that goes on in another process
 */
#pragma once

#include <time.h>

#include "base/log.h"
#include "run/coordinator.h"

enum {
    COORDINATOR_NAME_LEN = 32,
    COORDINATOR_FRAME_LEN = 64,
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
    const struct coordinator_inheritance *inherited; /* borrowed; NULL but while opening */
    struct endpoint *endpoint;                       /* owned; NULL while it is gone */
    struct loop_source endpoint_source;
    struct loop_timer retry;     /* runs while the endpoint is gone, or a pair has no queue of it */
    uint64_t retry_ms;           /* 0: it does not run */
    unsigned unconnected;        /* pairs that could not be connected when that was tried last */
    uint64_t endpoint_failures;  /* times it went away */
    uint64_t endpoint_swaps;     /* times it was changed for another */
    uint64_t endpoint_tries;     /* of the timer, since it was started */
    time_t endpoint_since;       /* it is there, or gone */
    struct error endpoint_error; /* the last that went wrong with it; "": nothing yet */
    uint8_t follows_mtu;         /* the operator leaves it to the endpoint */
    uint8_t follows_speed;       /* likewise */
    uint8_t announce_due;        /* the network may have changed: as soon as the link is up */
    uint8_t own_frame[COORDINATOR_FRAME_LEN]; /* a slow endpoint may hold it for a while */

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
    int given; /* the card belongs to another process: pairs and rings are left as they are */

    uint8_t let_go; /* pairs were disconnected while memory changes */

    struct worker_pair *pairs; /* owned, nic.config.queue_pairs of them */
    struct rx_rules rx_rules;  /* the data plane's copy of the device model's */
    struct pair_steer *steer;  /* owned, by pair; NULL while RSS is off */
    uint8_t *enabled;          /* owned, by queue: vhost-user's enable axis */
    uint8_t *unmapped;         /* owned, by queue: it runs, and an IOMMU has to map its ring */
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
/* Completes the features by what was agreed, as the ring layer knows them. */
void coordinator_ring_config(const struct coordinator *coordinator, unsigned queue,
                             struct virtqueue_config *config);
void coordinator_control_ready(struct loop_source *source, uint32_t events);
void coordinator_control_again(struct loop_timer *timer);
void coordinator_control_stop(struct coordinator *coordinator) CONTROL_ONLY;

/* ---- coordinator_endpoint.c ------------------------------------------------------------- */

/* While the pair's worker is paused. */
void coordinator_disconnect_pair(struct worker_pair *worker_pair) NEEDS_DATA;
/* What goes wrong is counted in `unconnected` and tried again by the timer. */
void coordinator_connect_pair(struct coordinator *coordinator, unsigned index) NEEDS_DATA;
void coordinator_update_link(struct coordinator *coordinator) CONTROL_ONLY;
/* The device model's part of it: 1 if the driver is to be told. */
int coordinator_look_at_link(struct coordinator *coordinator);

/* As one of this card: completes the spec by what it has to know of that. */
int coordinator_open_endpoint(struct coordinator *coordinator, const struct endpoint_opener *opener,
                              struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                              struct error *err);
/* The same for a card that is there: one with fewer queue pairs gets the rest (endpoint_widen). */
int coordinator_open_for_pairs(struct coordinator *coordinator,
                               const struct endpoint_opener *opener, struct endpoint_spec *spec,
                               struct endpoint **ret_endpoint, struct error *err);
/* Can it stand behind this card, as its driver knows it? */
int coordinator_check_endpoint(struct coordinator *coordinator, struct endpoint *endpoint,
                               struct error *err);
/* There is none now. On failure there is none afterwards, and it stays the caller's. */
int coordinator_adopt_endpoint(struct coordinator *coordinator, struct endpoint *endpoint,
                               struct error *err);
/* All frames that it held are completed. What it returns is the caller's to close. */
struct endpoint *coordinator_release_endpoint(struct coordinator *coordinator) NEEDS_DATA;
/* Open, check and adopt what spec and opener say. */
int coordinator_take_endpoint(struct coordinator *coordinator, struct error *err);
void coordinator_drop_endpoint(struct coordinator *coordinator) CONTROL_ONLY;
/* There is none any more: the link goes down, and it is tried again. */
void coordinator_endpoint_lost(struct coordinator *coordinator) CONTROL_ONLY;
void coordinator_endpoint_ready(struct loop_source *source, uint32_t events);
void coordinator_retry_endpoint(struct loop_timer *timer);
void coordinator_stop_retrying(struct coordinator *coordinator);
void coordinator_inspect_endpoint(struct coordinator *coordinator, struct inspect *visitor);

/* ---- coordinator_rules.c ---------------------------------------------------------------- */

/* Gives the pair what was agreed, and connects it to the endpoint exactly while it should be: a
 * half runs, the driver (or front-end) chose to use it, and the endpoint is there. While its worker
 * is paused. */
void coordinator_update_pair(struct coordinator *coordinator, unsigned index) NEEDS_DATA;
/* Everything that follows from features, commands, link and endpoint, in all pairs. */
void coordinator_update_all(struct coordinator *coordinator) CONTROL_ONLY;
/* The same, in a pause that there is already. */
void coordinator_apply_all(struct coordinator *coordinator) NEEDS_DATA;

/* ---- coordinator_handover.c ------------------------------------------------------------- */

/* The endpoint that another process gave; -ENOENT: none, or not what the spec names. */
int coordinator_inherit_endpoint(struct coordinator *coordinator, struct endpoint **ret_endpoint,
                                 struct error *err);

/* ---- coordinator_set.c ------------------------------------------------------------------ */

/* The transport's notice, if there is a driver to hear it. */
void coordinator_tell_config(struct coordinator *coordinator) CONTROL_ONLY;
void coordinator_blip_look(struct loop_timer *timer);
/* MTU and speed, where the operator leaves them to the endpoint: as soon as no driver goes by the
 * old ones. */
void coordinator_follow_endpoint(struct coordinator *coordinator) CONTROL_ONLY;
/* The cable was pulled and put in elsewhere: a driver that watches the link, which is up, sees it
 * go and come. */
void coordinator_replug(struct coordinator *coordinator) CONTROL_ONLY;
/* Once the link is up: asks a driver that can be asked (1: it is to be told), or speaks for it. */
int coordinator_announce_due(struct coordinator *coordinator) CONTROL_ONLY;
