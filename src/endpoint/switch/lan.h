/* SPDX-License-Identifier: MIT */
/*
 * One switch. Included by src/endpoint/switch/ only.
 *
 *   switches.c    switches by name
 *   port.c        the endpoint: options, ports and queues that come and go
 *   forward.c     the data path: from a guest's batch to other guests' rings
 *   mac_table.c   which address is where
 *   show.c        inspect
 *
 * Queues of one worker deliver straight into each other's guests (a visit, endpoint_rx_ops). From
 * worker to worker a frame goes by the receiver's inbox, which also keeps what a guest has no
 * buffers for just now. No locks: each queue has one worker, which is the only one to look into its
 * guest; what others look at is atomic.
 *
 * Ports and queues that were closed stay in memory, to be used again, until the switch goes: a
 * worker may still be on its way to one. It leaves a frame there that nobody takes (`generation`).
 */
#pragma once

#include <stdatomic.h>

#include "base/counter.h"
#include "base/inbox.h"
#include "endpoint/endpoint.h"
#include "endpoint/switch/mac_table.h"
#include "endpoint/switch/switches.h"

enum {
    LAN_PORTS_MAX = 2048,
    LAN_PORT_WORDS = LAN_PORTS_MAX / 64,
    LAN_PAIRS_MAX = 128,
    LAN_PAIR_WORDS = LAN_PAIRS_MAX / 64,
    LAN_NAME_MAX = 31,
    LAN_FULL_MS = 200,    /* full=wait: a guest that takes nothing for so long is not waited for */
    LAN_FLOOD_MAX = 4096, /* copies that one call of send() makes of frames for everybody */
    LAN_TAKE_BATCH = 32,  /* frames of the inbox that the guest is offered at once */
    LAN_GUARD_BATCH = 64,
    LAN_GUARD_SPANS = 512,
    LAN_ADDRESSES_LEN = 12, /* of a frame: destination and source */
    LAN_TAGS_MAX = 2,       /* VLAN tags that anti-spoof looks behind */
    /* What anti-spoof looks at: up to the sender's address of an ARP packet (RFC 826). */
    LAN_GUARDED_LEN = LAN_ADDRESSES_LEN + 4 * LAN_TAGS_MAX + 2 + 8 + 6,
};

enum lan_port_flag {
    LAN_PORT_ISOLATED = 1 << 0, /* talks to uplinks only */
    LAN_PORT_GUARDED = 1 << 1,  /* sends from its own address only */
    LAN_PORT_WAIT = 1 << 2,     /* full=wait */
    LAN_PORT_PINNED = 1 << 3,   /* its own address stays here */
    LAN_PORT_UPLINK = 1 << 4,
};

enum lan_drop {
    LAN_DROP_SPOOFED,    /* anti-spoof: the source is not the card's own, also inside ARP */
    LAN_DROP_BAD_SOURCE, /* a group address, or none */
    LAN_DROP_RESERVED,   /* 01:80:c2:00:00:0x ends at a bridge (IEEE 802.1D, 7.12.6) */
    LAN_DROP_SAME_PORT,  /* for an address behind the port that it came by */
    LAN_DROP_ISOLATED,
    LAN_DROP_FULL, /* the receiver's guest takes nothing, and its inbox is full */
    LAN_DROP_DOWN, /* the receiver has no queue now */
    LAN_DROP_COUNT,
};

/* Written by the queue's worker only. */
struct lan_stats {
    counter forwarded;    /* frames to one port */
    counter flooded;      /* frames to all, whatever came of them */
    counter flood_copies; /* of those, copies that a port took */
    counter direct;       /* copies that went straight into a guest; all others by an inbox */
    counter waited;       /* times that send() stopped for a receiver */
    counter drop[LAN_DROP_COUNT];
    counter taken; /* frames that came out of the inbox */
    counter late;  /* of those, dropped: for a queue that is gone */
};

/* Frames whose beginnings were copied, so that the guest can't change them behind the check. */
struct lan_guard {
    struct frame frame[LAN_GUARD_BATCH];
    uint8_t begin[LAN_GUARD_BATCH][LAN_GUARDED_LEN];
    struct iovec iov[LAN_GUARD_SPANS];
};

struct lan_queue {
    struct endpoint_queue base;
    struct lan_port *port; /* back-pointer */
    unsigned index;
    struct endpoint_rx *rx;  /* borrowed; for the queue's own worker only */
    struct inbox *inbox;     /* owned */
    struct lan_guard *guard; /* owned; NULL while it never was guarded */
    int begun;               /* the guest has a part of the inbox's first frame (rx->resume) */
    unsigned flood_left;     /* copies that this call may still make */

    /* Read by all workers. Written with the queue's worker paused. */
    _Atomic(const void *) worker; /* NULL: closed */
    _Atomic(struct endpoint_waker *) waker;
    atomic_uint generation; /* changes with each open */

    atomic_int blocked; /* as a sender: something is to wake it. Swapped to 0 by who does */

    /* As a receiver. `full` is the worker's; the others wait by setting their port's bit, then
     * `wanted`, then looking again; the worker takes, then looks at `wanted`. */
    _Alignas(64) atomic_int full; /* its guest has no buffers, the inbox waits */
    _Atomic uint64_t full_since_ns;
    atomic_int wanted;
    _Atomic uint64_t waiters[LAN_PORT_WORDS];
    _Atomic uint64_t lost; /* frames dropped because it was full; by any worker */

    struct lan_stats stats;
};

struct lan_port {
    struct endpoint base;
    struct lan *lan; /* back-pointer */
    unsigned index;
    int used; /* by the control thread: open */
    char nic_name[LAN_NAME_MAX + 1];
    int timer_fd;                                     /* owned; -1 without full=wait */
    _Atomic uint32_t flags;                           /* LAN_PORT_… */
    _Atomic uint64_t mac;                             /* the card's own; 0: none */
    _Atomic uint64_t open[LAN_PAIR_WORDS];            /* queues that are open */
    _Atomic(struct lan_queue *) queue[LAN_PAIRS_MAX]; /* owned; opened once at least */
};

struct lan {
    char name[LAN_NAME_MAX + 1];
    struct switches *switches; /* back-pointer */
    struct lan *next;          /* owned: the list */
    int kept;                  /* by the operator */
    unsigned ports_used;
    struct mac_table table;
    _Atomic uint64_t active[LAN_PORT_WORDS];        /* ports with an open queue */
    _Atomic(struct lan_port *) port[LAN_PORTS_MAX]; /* owned; opened once at least */
    struct lan_stats past; /* of ports that were closed; the control thread's */
    uint64_t past_lost;
};

/* ---- port.c ----------------------------------------------------------------------------- */

struct lan_port_settings {
    const char *nic_name; /* borrowed from the spec */
    uint64_t mac;
    uint32_t flags;
};

/* -EINVAL and a sentence. */
int lan_read_settings(const struct endpoint_spec *spec, struct lan_port_settings *ret_settings,
                      struct error *err);
int lan_open_port(struct lan *lan, const struct lan_port_settings *settings,
                  struct lan_port **ret_port, struct error *err);
/* Its own address, from now on. */
void lan_port_set_mac(struct lan_port *port, uint64_t mac);
/* full=wait: those who wait are woken when the guest has taken nothing for long. */
void lan_port_time_full(struct lan_port *port);
/* Frees ports and queues: all are closed. */
void lan_free(struct lan *lan);

/* ---- switches.c ------------------------------------------------------------------------- */

/* A port was closed: perhaps the last. */
void switches_port_closed(struct lan *lan);

/* ---- forward.c -------------------------------------------------------------------------- */

unsigned lan_send(struct endpoint_queue *queue, const struct frame *frames, unsigned count);
unsigned lan_receive(struct endpoint_queue *queue, unsigned budget);
/* Those who wait for this receiver look again. Any thread. */
void lan_wake_waiters(struct lan_queue *queue);
/* While the queue's worker is paused: what nobody will take. */
void lan_inbox_clear(struct lan_queue *queue);

/* ---- show.c ----------------------------------------------------------------------------- */

void lan_stats_add(struct lan_stats *to, const struct lan_stats *stats);
void lan_port_inspect(struct endpoint *endpoint, struct inspect *visitor);
void lan_inspect(struct lan *lan, struct inspect *visitor);
