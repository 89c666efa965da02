/* SPDX-License-Identifier: MIT */
/*
 * What the files of the API share. Included by src/api/ only.
 *
 *   vionic.c    create, free, dispatch
 *   nics.c      NICs come and go
 *   handover.c  cards that go on in another process
 *   embedded.c  cards whose registers are in this process
 *   inspect.c   the visitor, and the kinds of endpoints
 *   outside_endpoint.c  endpoints of the embedder (vionic_endpoint.h)
 *   endpoint_choice.c   which endpoint a caller wants, and another one later
 *   settings.c  what of a running card can be set by name
 *   state.c     saved state
 *   switch.c    switches with settings of their own, and their uplinks
 *   sized.c     structs of callers with older and newer headers
 */
#pragma once

#include "api/outside_endpoint.h"
#include "base/error.h"
#include "base/event_bits.h"
#include "base/loop.h"
#include "endpoint/switch/switches.h"
#include "run/coordinator.h"
#include "transport/mmio.h"
#include "transport/pci.h"
#include "transport/vhost_user.h"
#include "vionic.h"

struct vionic_nic {
    struct vionic *vionic;           /* back-pointer */
    struct coordinator *coordinator; /* owned */
    struct vhost_user *vhost_user;   /* owned; borrows the coordinator */
    struct mmio *mmio;               /* owned; borrows the coordinator */
    struct pci *pci;                 /* owned likewise; a NIC has one transport */
    struct vionic_interrupts interrupts;
    struct guest_memory *memory;  /* owned; of a card whose registers are in this process */
    struct outside_kind *outside; /* owned: the embedder's endpoint; NULL: one of the catalog */
    struct nic *taken;            /* owned; the card as another process gave it, until it is kept */
    struct vionic_nic *next;      /* owned: the list */
};

struct vionic_switch; /* switch.c */

struct vionic {
    struct loop *loop;                   /* owned */
    struct worker_pool *pool;            /* owned */
    struct switches *switches;           /* owned; the NICs' endpoints are in it */
    struct vionic_switch *kept_switches; /* owned: those that were added by name */
    struct event_bits memory_lost;       /* written to by the memory guard */
    struct loop_source memory_source;
    struct vhost_user_bucket control_time; /* that front-ends took of it, all together */
    struct vionic_nic *nics;               /* owned, in order of addition */
    unsigned added;                        /* NICs ever added: names and first workers */
    int held;                              /* the workers stand still: handover_hold */
};

_Static_assert(sizeof(struct vionic_error) == sizeof(struct error), "one is passed as the other");

/* ---- switch.c --------------------------------------------------------------------------- */

/* All that were added. */
void switches_drop_all(struct vionic *vionic);
/* `switch:NAME` and `uplink:NAME`: no NIC can be called so. */
void switches_show(struct vionic *vionic, struct inspect *visitor);
/* Uplinks that were given to another process are this one's again, or those that were taken. */
void switches_keep_uplinks(struct vionic *vionic);

/* ---- embedded.c ------------------------------------------------------------------------- */

/* The transport of a NIC that has none yet: any but vhost-user. */
int embedded_open(struct vionic_nic *nic, const struct vionic_nic_config *config,
                  struct error *err);
/* Half-built NICs and vhost-user ones too. */
void embedded_close(struct vionic_nic *nic);
void embedded_inspect(struct vionic_nic *nic, struct inspect *visitor);

/* ---- nics.c ----------------------------------------------------------------------------- */

/* vionic_add_nic; `from`: of a card that another process gave, else NULL. */
int nic_add(struct vionic *vionic, const struct vionic_nic_config *config,
            const struct coordinator_inheritance *from, struct vionic_nic **ret_nic,
            struct error *err);
int nic_open_socket(struct vionic_nic *nic, const struct vionic_nic_config *config,
                    const struct coordinator_inheritance *from, struct error *err);

/* ---- handover.c ------------------------------------------------------------------------- */

/* The device model, the session and the rings, once the coordinator is open. */
int handover_take_session(struct vionic_nic *nic, const struct vionic_nic_config *config,
                          const struct coordinator_inheritance *from, struct error *err);

static inline struct error *error_of(struct vionic_error *err)
{
    return (struct error *)err;
}
