/* SPDX-License-Identifier: MIT */
/* A testbed whose victim is behind an IOMMU (testbed_options.iommu), and what its tests share. */
#pragma once

#include "testbed.h"

#define IOMMU_USUAL  (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define IOMMU_PACKED (IOMMU_USUAL | VIRTIO_F_RING_PACKED)

enum {
    IOMMU_CACHE_ENTRIES = 2048, /* that the manual promises at most */
    IOMMU_FRAMES = 8,
};

struct testbed *iommu_bed_start(void **state);
/* The front-end of the victim was asked for both its rings, and says nothing. */
struct testbed *iommu_bed_start_silent(void **state);
/* Of the victim, as inspect has it: "misses", … */
uint64_t iommu_bed_count(struct testbed *bed, const char *what);
/* Where the device finds the descriptors of a ring. */
uint64_t iommu_bed_ring(struct testbed_nic *nic, unsigned vring);
/* Everything that the device has asked for is answered, and it asks for nothing more. */
void iommu_bed_settle(struct testbed *bed);
/* Several frames at once, of lengths that cross pages; all come back as they were. */
void iommu_bed_exchange(struct testbed_nic *nic, uint32_t len);
