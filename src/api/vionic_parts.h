/* SPDX-License-Identifier: MIT */
/*
 * What the files of the API share. Included by src/api/ only.
 *
 *   vionic.c    create, free, dispatch
 *   nics.c      NICs come and go
 *   inspect.c   the visitor, and the kinds of endpoints
 *   outside_endpoint.c  endpoints of the embedder (vionic_endpoint.h)
 *   settings.c  what of a running card can be set by name
 *   sized.c     structs of callers with older and newer headers
 */
#pragma once

#include "api/outside_endpoint.h"
#include "base/error.h"
#include "base/event_bits.h"
#include "base/loop.h"
#include "run/coordinator.h"
#include "transport/vhost_user.h"
#include "vionic.h"

struct vionic_nic {
    struct vionic *vionic;           /* back-pointer */
    struct coordinator *coordinator; /* owned */
    struct vhost_user *vhost_user;   /* owned; borrows the coordinator */
    struct outside_kind outside;     /* the embedder's endpoint; zeroes: one of the catalog */
    struct vionic_nic *next;         /* owned: the list */
};

struct vionic {
    struct loop *loop;             /* owned */
    struct worker_pool *pool;      /* owned */
    struct event_bits memory_lost; /* written to by the memory guard */
    struct loop_source memory_source;
    struct vionic_nic *nics; /* owned, in order of addition */
    unsigned added;          /* NICs ever added: names and first workers */
};

_Static_assert(sizeof(struct vionic_error) == sizeof(struct error), "one is passed as the other");

static inline struct error *error_of(struct vionic_error *err)
{
    return (struct error *)err;
}
