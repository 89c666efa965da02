/* SPDX-License-Identifier: MIT */
#include "driver_iommu.h"

#include <string.h>
#include <sys/socket.h>

#include "check.h"
#include "clockwork.h"

enum {
    BACKEND_IOTLB_MSG = 1
};

#define PAGE_OF(address) ((address) / IOMMU_PAGE * IOMMU_PAGE)

static uint32_t random_next(struct driver_iommu *iommu)
{
    iommu->random = iommu->random * 1664525u + 1013904223u;
    return iommu->random >> 8;
}

/* ---- mappings ---- */

static struct iommu_mapping *mapping_at(struct driver_iommu *iommu, uint64_t iova)
{
    for (unsigned i = 0; i < IOMMU_MAPPINGS_MAX; i++) {
        if (iova - iommu->mapping[i].iova < iommu->mapping[i].len)
            return &iommu->mapping[i];
    }
    return NULL;
}

static int is_free(struct driver_iommu *iommu, uint64_t iova, uint64_t len)
{
    for (unsigned i = 0; i < IOMMU_MAPPINGS_MAX; i++) {
        const struct iommu_mapping *mapping = &iommu->mapping[i];

        if (mapping->len != 0 && iova < mapping->iova + mapping->len && mapping->iova < iova + len)
            return 0;
    }
    return 1;
}

static struct iommu_mapping *mapping_make(struct driver_iommu *iommu, uint64_t gpa, uint64_t len,
                                          enum iommu_access perm)
{
    uint64_t first = PAGE_OF(gpa);
    uint64_t total = PAGE_OF(gpa + len + IOMMU_PAGE - 1) - first;
    uint64_t iova;

    do
        iova = (1ull << 32) + (uint64_t)(random_next(iommu) % (1u << 14)) * IOMMU_PAGE;
    while (!is_free(iommu, iova, total));
    for (unsigned i = 0; i < IOMMU_MAPPINGS_MAX; i++) {
        if (iommu->mapping[i].len != 0)
            continue;
        iommu->mapping[i] =
            (struct iommu_mapping){.iova = iova, .gpa = first, .len = total, .perm = (uint8_t)perm};
        return &iommu->mapping[i];
    }
    fail_msg("the IOMMU has no room for another mapping");
    return NULL;
}

uint64_t driver_iommu_fixed(struct driver_iommu *iommu, uint64_t gpa, uint64_t len)
{
    for (unsigned i = 0; i < IOMMU_MAPPINGS_MAX; i++) {
        const struct iommu_mapping *mapping = &iommu->mapping[i];

        if (mapping->len != 0 && mapping->ring == NULL && gpa >= mapping->gpa &&
            gpa + len <= mapping->gpa + mapping->len)
            return mapping->iova + (gpa - mapping->gpa);
    }
    return mapping_make(iommu, gpa, len, IOMMU_BOTH)->iova + gpa % IOMMU_PAGE;
}

void driver_iommu_move(struct driver_iommu *iommu, uint64_t iova, uint64_t gpa)
{
    struct iommu_mapping *mapping = mapping_at(iommu, iova);

    check(mapping != NULL, "nothing is mapped at 0x%llx", (unsigned long long)iova);
    mapping->gpa = PAGE_OF(gpa);
}

void driver_iommu_forget(struct driver_iommu *iommu)
{
    iommu->silent = 0;
    iommu->read_only = 0;
    for (unsigned i = 0; i < IOMMU_MAPPINGS_MAX; i++) {
        if (iommu->mapping[i].ring != NULL)
            iommu->mapping[i] = (struct iommu_mapping){0};
    }
}

/* ---- what the device is told ---- */

int driver_iommu_tell(struct driver_iommu *iommu, const struct iotlb_message *message)
{
    struct vu_message request = vu_message(VU_IOTLB_MSG, message, IOTLB_WIRE_LEN);

    return front_end_request(iommu->fe, &request, 0);
}

int driver_iommu_invalidate(struct driver_iommu *iommu, uint64_t iova, uint64_t size)
{
    struct iotlb_message message = {.iova = iova, .size = size, .type = IOTLB_INVALIDATE};

    return driver_iommu_tell(iommu, &message);
}

/* A page of a mapping, or now and then all of it. */
static int update(struct driver_iommu *iommu, const struct iommu_mapping *mapping, uint64_t iova)
{
    uint64_t page = PAGE_OF(iova);
    struct iotlb_message message = {.iova = page, .size = IOMMU_PAGE, .type = IOTLB_UPDATE};

    if (random_next(iommu) % 4 == 0) {
        message.iova = mapping->iova;
        message.size = mapping->len;
    }
    message.uva = guest_ram_uva(iommu->ram, mapping->gpa + (message.iova - mapping->iova));
    message.perm = iommu->read_only ? IOMMU_READ : mapping->perm;
    return driver_iommu_tell(iommu, &message);
}

int driver_iommu_update(struct driver_iommu *iommu, uint64_t iova)
{
    const struct iommu_mapping *mapping = mapping_at(iommu, iova);

    check(mapping != NULL, "nothing is mapped at 0x%llx", (unsigned long long)iova);
    return update(iommu, mapping, iova);
}

static void answer(struct driver_iommu *iommu, const struct iotlb_message *message)
{
    const struct iommu_mapping *mapping = mapping_at(iommu, message->iova);

    if (message->type == IOTLB_ACCESS_FAIL) {
        iommu->failed++;
        return;
    }
    check(message->type == IOTLB_MISS, "the device sends type %u", message->type);
    check(message->perm == IOMMU_READ || message->perm == IOMMU_WRITE, "it wants access 0x%x",
          message->perm);
    iommu->asked++;
    iommu->last_asked = message->iova;
    if (mapping == NULL)
        iommu->unknown++;
    else if (!iommu->silent)
        assert_int_equal(update(iommu, mapping, message->iova), 0);
}

unsigned driver_iommu_serve(struct driver_iommu *iommu, int timeout_ms)
{
    struct {
        uint32_t request, flags, size;
    } message;
    struct iotlb_message iotlb;
    unsigned count = 0;

    while (wait_readable(iommu->fe->backend_fd, timeout_ms)) {
        ssize_t len = recv(iommu->fe->backend_fd, &message, 12, MSG_WAITALL);

        if (len <= 0)
            break;
        check(message.request == BACKEND_IOTLB_MSG && message.size == IOTLB_WIRE_LEN,
              "the device sends request %u of %u bytes", message.request, message.size);
        assert_int_equal(message.flags, VU_VERSION);
        assert_int_equal(recv(iommu->fe->backend_fd, &iotlb, IOTLB_WIRE_LEN, MSG_WAITALL),
                         IOTLB_WIRE_LEN);
        answer(iommu, &iotlb);
        count++;
        timeout_ms = 0;
    }
    return count;
}

/* ---- for rings ---- */

static struct driver_iommu *iommu_of(struct driver_dma *dma)
{
    return (struct driver_iommu *)dma;
}

static uint64_t dma_map(struct driver_dma *dma, const struct driver_ring *ring, uint32_t id,
                        const struct driver_buffer *buffer)
{
    struct iommu_mapping *mapping =
        mapping_make(iommu_of(dma), buffer->gpa, buffer->len,
                     buffer->access == DEVICE_WRITES ? IOMMU_WRITE : IOMMU_READ);

    mapping->ring = ring;
    mapping->id = id;
    return mapping->iova + buffer->gpa % IOMMU_PAGE;
}

static void dma_unmap(struct driver_dma *dma, const struct driver_ring *ring, uint32_t id)
{
    struct driver_iommu *iommu = iommu_of(dma);

    for (unsigned i = 0; i < IOMMU_MAPPINGS_MAX; i++) {
        struct iommu_mapping *mapping = &iommu->mapping[i];

        if (mapping->len == 0 || mapping->ring != ring || mapping->id != id)
            continue;
        assert_int_equal(driver_iommu_invalidate(iommu, mapping->iova, mapping->len), 0);
        *mapping = (struct iommu_mapping){0};
    }
}

static uint64_t dma_fixed(struct driver_dma *dma, uint64_t gpa, uint64_t len)
{
    return driver_iommu_fixed(iommu_of(dma), gpa, len);
}

static void dma_wait(struct driver_dma *dma)
{
    driver_iommu_serve(iommu_of(dma), 0);
}

void driver_iommu_init(struct driver_iommu *iommu, struct front_end *fe, struct guest_ram *ram)
{
    *iommu = (struct driver_iommu){
        .dma = {.map = dma_map, .unmap = dma_unmap, .fixed = dma_fixed, .wait = dma_wait},
        .fe = fe,
        .ram = ram,
        .random = 1,
    };
}
