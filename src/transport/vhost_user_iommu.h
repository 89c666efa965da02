/* SPDX-License-Identifier: MIT */
/*
 * A guest behind an IOMMU (ACCESS_PLATFORM): all that its driver names are I/O virtual addresses,
 * and the front-end tells what they mean: message by message, as it is asked or as mappings go.
 * Included by src/transport/vhost_user*.c only.
 */
#pragma once

#include "base/inspect.h"
#include "base/records.h"
#include "memory/iotlb.h"
#include "ring/virtqueue.h"

struct vhost_user;
struct vhost_user_ring;
struct vhost_user_iotlb;

struct vhost_user_iommu {
    struct iotlb *iotlb; /* owned; NULL: nobody has accepted the feature yet */
    uint8_t agreed;      /* the queues go by it */

    /* For inspect. */
    uint64_t updates, invalidations; /* that were told */
    uint64_t refused;                /* that can't be */
    uint64_t misses;                 /* asked for */
    uint64_t denied;                 /* of these, the ones whose answer forbids the access */
    uint64_t evicted;                /* of caches before this one */
};

/* Could these features hold? Makes what they take. -errno and a sentence. */
int vhost_user_iommu_prepare(struct vhost_user *vhost_user, uint64_t features, struct error *err);
/* The features have changed: queues go by iovas from now on, or no longer. */
void vhost_user_iommu_apply(struct vhost_user *vhost_user);

/* Gives the queues another memory table, or none. The one before may be freed then. */
void vhost_user_iommu_set_memory(struct vhost_user *vhost_user, const struct guest_memory *next);

/* Any thread: the front-end is to be asked. Has the shape of virtqueue_notifier's. */
void vhost_user_iommu_missing(void *ring, uint64_t iova, enum memory_access access);
/* 1: the ring can't start yet, or go on; the front-end will be asked for what it needs. */
int vhost_user_iommu_ring_waits(struct vhost_user_ring *ring,
                                const struct virtqueue_config *config);
/* The ring has stopped: nobody waits for what it asked. */
void vhost_user_iommu_ring_stopped(struct vhost_user_ring *ring);
/* A ring has lost its kick. If none is left that has one, nothing is known to be mapped any more:
 * front-ends don't tell a device that is stopped what goes. */
void vhost_user_iommu_rest(struct vhost_user *vhost_user);
/* There is another channel: what was asked for on the one before may not have been heard. */
void vhost_user_iommu_ask_again(struct vhost_user *vhost_user);
/* Translations have changed: rings that waited start, or ask for the next that they need. */
void vhost_user_iommu_look(struct vhost_user *vhost_user);

/* What is to be asked for the ring, or told of it; 0: nothing. */
int vhost_user_iommu_next(struct vhost_user_ring *ring, struct vhost_user_iotlb *ret_message);
/* There is nobody to ask: says so if a ring waits for that. */
void vhost_user_iommu_unheard(struct vhost_user *vhost_user);
/* It could not be sent now. `bytes` are as on the wire. */
void vhost_user_iommu_give_back(struct vhost_user_ring *ring, const void *bytes);

/* The guest-physical address of what a ring names; 0: not known. */
uint64_t vhost_user_iommu_gpa(const struct vhost_user *vhost_user, uint64_t addr);

/* What the next process goes on with; and that, once it has features and memory of the session. */
void vhost_user_iommu_give(const struct vhost_user *vhost_user, struct records_writer *writer);
int vhost_user_iommu_take(struct vhost_user *vhost_user, const struct records *records,
                          struct error *err);

void vhost_user_iommu_inspect(const struct vhost_user *vhost_user, struct inspect *visitor);
