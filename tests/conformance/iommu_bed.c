/* SPDX-License-Identifier: MIT */
#include "iommu_bed.h"

#include <stdio.h>

#include "check.h"
#include "clockwork.h"

struct testbed *iommu_bed_start(void **state)
{
    return testbed_start(state, &(struct testbed_options){.features = IOMMU_USUAL, .iommu = 1});
}

struct testbed *iommu_bed_start_silent(void **state)
{
    struct testbed *bed =
        testbed_start_daemon(state, &(struct testbed_options){.features = IOMMU_USUAL, .iommu = 1});
    struct testbed_nic *nic = &bed->nic[VICTIM];

    nic->iommu.silent = 1;
    testbed_connect(nic);
    testbed_connect(&bed->nic[BYSTANDER]);
    iommu_bed_settle(bed);
    assert_int_equal(nic->iommu.asked, 2);
    return bed;
}

uint64_t iommu_bed_count(struct testbed *bed, const char *what)
{
    char path[64];

    snprintf(path, sizeof(path), "nic0/vhost_user/iommu/%s", what);
    return daemon_number(&bed->daemon, path);
}

uint64_t iommu_bed_ring(struct testbed_nic *nic, unsigned vring)
{
    return driver_iommu_fixed(&nic->iommu, nic->ring[vring]->desc_area, nic->ring[vring]->desc_len);
}

void iommu_bed_settle(struct testbed *bed)
{
    do
        daemon_check_idle(&bed->daemon);
    while (driver_iommu_serve(&bed->nic[VICTIM].iommu, WAIT_QUIET_MS) != 0);
}

void iommu_bed_exchange(struct testbed_nic *nic, uint32_t len)
{
    static uint8_t sent[IOMMU_FRAMES][NET_FRAME_MAX], got[NET_FRAME_MAX];

    for (unsigned i = 0; i < IOMMU_FRAMES; i++) {
        net_frame_make(sent[i], len + i, nic->mac, ++nic->seed);
        net_driver_queue(&nic->net[0], sent[i], len + i);
    }
    driver_ring_flush(nic->net[0].tx);
    for (unsigned i = 0; i < IOMMU_FRAMES; i++) {
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), len + i);
        assert_memory_equal(got, sent[i], len + i);
    }
    net_driver_drain(&nic->net[0]);
}
