/* SPDX-License-Identifier: MIT */
/*
 * What a guest's IOMMU lets its card reach: ranges of I/O virtual addresses (iova), and where each
 * lies in guest memory, as the front-end told. A bounded cache of that: what is not in here may
 * well be mapped, and is to be asked for.
 *
 * Data threads see it as a memory table whose guest addresses are iova (iotlb_view). It is changed
 * only while they stand still, between a pause and a resume.
 */
#pragma once

#include "memory/guest_memory.h"

enum {
    IOTLB_ENTRIES_MAX = 2048, /* 8 MiB in single pages of 4 KiB; neighbours are joined */
    IOTLB_PAGE_SIZE = 4096,   /* what is asked for at a time */
};

/* What a mapping allows, and what is asked for; as on the wire. */
enum iotlb_access {
    IOTLB_READ = 1,
    IOTLB_WRITE = 2,
};

struct iotlb_entry {
    uint64_t iova;
    uint64_t size; /* iova + size does not wrap */
    uint64_t gpa;
    uint8_t *hva;    /* borrowed from the physical memory */
    uint8_t allowed; /* IOTLB_… */
    uint8_t denied;  /* IOTLB_…: was asked for, and the answer did not allow it */
};

struct iotlb {
    struct guest_memory *view;           /* owned; points back here */
    const struct guest_memory *physical; /* borrowed; NULL: there is none, and no entry */
    unsigned count;
    unsigned hand;    /* the entry behind the one that was evicted last */
    uint64_t evicted; /* for want of room */
    /* Ordered, without overlaps. A change may need two more for a moment. */
    struct iotlb_entry entry[IOTLB_ENTRIES_MAX + 2];
};

/* As a front-end tells it. */
struct iotlb_mapping {
    uint64_t iova;
    uint64_t size;
    uint64_t uva;    /* where it lies, in the front-end's address space */
    uint8_t allowed; /* IOTLB_… */
};

/* -ENOMEM. */
int iotlb_create(struct iotlb **ret_iotlb);
/* NULL is fine. */
void iotlb_free(struct iotlb *iotlb);
/* The memory table for whoever has iovas. Lives as long as the iotlb. */
const struct guest_memory *iotlb_view(const struct iotlb *iotlb);

/* Another table of guest memory, or none. What does not lie where it lay is forgotten. */
void iotlb_set_physical(struct iotlb *iotlb, const struct guest_memory *physical);

/* -EINVAL and a sentence: it is empty, wraps, allows nothing or what is not known here, or does not
 * lie in one region of guest memory. */
int iotlb_check(const struct iotlb *iotlb, const struct iotlb_mapping *mapping, struct error *err);
/* A mapping that was checked takes the place of what there was in its range. When there is no room,
 * entries are evicted in the order of their addresses, from where the last one was. */
void iotlb_map(struct iotlb *iotlb, const struct iotlb_mapping *mapping);
/* Forgets all addresses from the first to the last, which is one of them. */
void iotlb_unmap(struct iotlb *iotlb, uint64_t first, uint64_t last);

/* Entry number `index`, as a front-end would tell it. */
struct iotlb_mapping iotlb_mapping_of(const struct iotlb *iotlb, unsigned index);

/* The front-end was asked for this access to a page, and has answered. 1: what is there does not
 * allow it, which is a fault from now on; of its neighbours nothing was said. */
int iotlb_deny(struct iotlb *iotlb, uint64_t iova, uint8_t access);
/* 1: whoever asks the front-end may get this access. 0: it is there, or denied. */
int iotlb_may_come(const struct iotlb *iotlb, uint64_t iova, enum memory_access access);

/* The entry that holds the address and allows the access, or NULL. */
const struct iotlb_entry *iotlb_find(const struct iotlb *iotlb, uint64_t iova,
                                     enum memory_access access);
