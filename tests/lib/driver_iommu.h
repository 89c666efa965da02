/* SPDX-License-Identifier: MIT */
/*
 * A guest's IOMMU, and the part of a front-end that speaks for it: memory is mapped at addresses of
 * its own (iova) for a device for as long as that has it, page by page. The device asks, is told,
 * and has to acknowledge that it forgets.
 *
 * A driver_ring that has one names all memory by iova. Buffers and tables are mapped when they are
 * added, at random addresses, and unmapped when they come back, as Linux does with iommu.strict=1.
 */
#pragma once

#include "driver_ring.h"
#include "front_end.h"

enum iommu_access {
    IOMMU_READ = 1,
    IOMMU_WRITE = 2,
    IOMMU_BOTH = 3,
};

enum iotlb_message_type {
    IOTLB_MISS = 1,
    IOTLB_UPDATE = 2,
    IOTLB_INVALIDATE = 3,
    IOTLB_ACCESS_FAIL = 4,
};

enum {
    IOMMU_MAPPINGS_MAX = 4096,
    IOMMU_PAGE = 4096,
    IOTLB_WIRE_LEN = 32,
};

/* As it is on the wire; 26 bytes and padding. */
struct iotlb_message {
    uint64_t iova;
    uint64_t size;
    uint64_t uva;
    uint8_t perm;
    uint8_t type;
    uint8_t padding[6];
};

/* Whole pages. */
struct iommu_mapping {
    uint64_t iova;
    uint64_t gpa;
    uint64_t len;                   /* 0: free */
    uint8_t perm;                   /* IOMMU_… */
    const struct driver_ring *ring; /* borrowed; NULL: stays mapped */
    uint32_t id;                    /* of the buffer in the ring */
};

struct driver_iommu {
    struct driver_dma dma; /* first: how rings reach it */
    struct front_end *fe;  /* borrowed */
    struct guest_ram *ram; /* borrowed */
    struct iommu_mapping mapping[IOMMU_MAPPINGS_MAX];
    uint32_t random;
    int silent;                      /* the device is not answered */
    int read_only;                   /* answers allow no writes, whatever the mapping does */
    unsigned asked, unknown, failed; /* MISS; of these, where nothing is mapped; ACCESS_FAIL */
    uint64_t last_asked;             /* iova */
};

void driver_iommu_init(struct driver_iommu *iommu, struct front_end *fe, struct guest_ram *ram);
/* The device forgot: its session or its driver ended. What stays mapped stays, and it is answered
 * as usual again. */
void driver_iommu_forget(struct driver_iommu *iommu);
/* The address at which [gpa, gpa + len) is mapped for good. */
uint64_t driver_iommu_fixed(struct driver_iommu *iommu, uint64_t gpa, uint64_t len);
/* What is mapped there lies elsewhere from now on; the device is not told. */
void driver_iommu_move(struct driver_iommu *iommu, uint64_t iova, uint64_t gpa);
/* Answers what the device has asked so far, within timeout_ms. Returns how many messages came. */
unsigned driver_iommu_serve(struct driver_iommu *iommu, int timeout_ms);

/* ---- raw ---- */

/* 0: accepted; else as front_end_request. */
int driver_iommu_tell(struct driver_iommu *iommu, const struct iotlb_message *message);
int driver_iommu_invalidate(struct driver_iommu *iommu, uint64_t iova, uint64_t size);
/* The page that holds the iova, as it is mapped now. */
int driver_iommu_update(struct driver_iommu *iommu, uint64_t iova);
