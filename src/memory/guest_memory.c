/* SPDX-License-Identifier: MIT */
#include "memory/guest_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "memory/iotlb.h"

int guest_memory_create(struct guest_memory **ret_memory)
{
    /* A table is large, and most hold few regions: what is not used is not touched. */
    *ret_memory = malloc(sizeof(**ret_memory));
    if (*ret_memory == NULL)
        return -ENOMEM;
    (*ret_memory)->region_count = 0;
    (*ret_memory)->iotlb = NULL;
    return 0;
}

int guest_memory_copy(const struct guest_memory *from, struct guest_memory **ret_copy)
{
    struct guest_memory *copy = malloc(sizeof(*copy));

    if (copy == NULL)
        return -ENOMEM;
    copy->region_count = from->region_count;
    copy->iotlb = from->iotlb;
    memcpy(copy->region, from->region, from->region_count * sizeof(copy->region[0]));
    for (unsigned i = 0; i < copy->region_count; i++) {
        if (copy->region[i].mapping != NULL)
            memory_mapping_hold(copy->region[i].mapping);
    }
    *ret_copy = copy;
    return 0;
}

void guest_memory_free(struct guest_memory *memory)
{
    if (memory == NULL)
        return;
    for (unsigned i = 0; i < memory->region_count; i++)
        memory_mapping_release(memory->region[i].mapping);
    free(memory);
}

static int region_check(const struct guest_memory *memory, const struct memory_region *region,
                        struct error *err)
{
    if (region->size == 0)
        return error_set(err, EINVAL, "memory region at 0x%" PRIx64 " is empty", region->gpa);
    if (range_wraps(region->gpa, region->size) || range_wraps(region->uva, region->size) ||
        region->size > SIZE_MAX)
        return error_set(err, EINVAL, "memory region at 0x%" PRIx64 " runs past the address space",
                         region->gpa);
    if (memory->region_count == GUEST_MEMORY_REGIONS_MAX)
        return error_set(err, ENOSPC, "more than %d memory regions", GUEST_MEMORY_REGIONS_MAX);
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct memory_region *other = &memory->region[i];

        if (range_overlaps(region->gpa, region->size, other->gpa, other->size))
            return error_set(err, EEXIST, "memory region at 0x%" PRIx64 " overlaps another one",
                             region->gpa);
        if (region->uva != 0 && other->uva != 0 &&
            range_overlaps(region->uva, region->size, other->uva, other->size))
            return error_set(err, EEXIST,
                             "memory region at 0x%" PRIx64 " overlaps another one in the"
                             " front-end's address space",
                             region->gpa);
    }
    return 0;
}

static void region_insert(struct guest_memory *memory, const struct memory_region *region)
{
    unsigned at = memory->region_count;

    while (at > 0 && memory->region[at - 1].gpa > region->gpa)
        at--;
    memmove(&memory->region[at + 1], &memory->region[at],
            (memory->region_count - at) * sizeof(memory->region[0]));
    memory->region[at] = *region;
    memory->region_count++;
}

int guest_memory_add(struct guest_memory *memory, const struct memory_region *region,
                     struct error *err)
{
    int result = region_check(memory, region, err);

    if (result == 0)
        region_insert(memory, region);
    return result;
}

/* Device and inode number in one word. */
static uint64_t file_id(int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return 0;
    return (uint64_t)status.st_ino ^ (uint64_t)status.st_dev * 0x9e3779b97f4a7c15u;
}

int guest_memory_map(struct guest_memory *memory, const struct memory_file *file, struct error *err)
{
    struct memory_region region = {.gpa = file->gpa, .uva = file->uva, .size = file->size};
    struct memory_part part = {.fd = file->fd, .offset = file->offset, .size = file->size};
    int result = region_check(memory, &region, err);

    if (result < 0)
        return result;
    result = memory_part_check(&part, err);
    if (result < 0) {
        error_prefix(err, "memory region at 0x%" PRIx64, file->gpa);
        return result;
    }
    result = memory_mapping_create(&part, &region.mapping, &region.hva);
    if (result < 0)
        return error_set(err, -result, "memory region at 0x%" PRIx64 " can't be mapped: %s",
                         file->gpa, strerror(-result));
    region.file_id = file_id(file->fd);
    region_insert(memory, &region);
    return 0;
}

struct memory_file guest_memory_file(const struct guest_memory *memory, unsigned index)
{
    const struct memory_region *region = &memory->region[index];
    struct memory_part part = {.fd = -1};

    if (region->mapping != NULL)
        part = memory_mapping_part(region->mapping, region->hva);
    return (struct memory_file){.fd = part.fd,
                                .offset = part.offset,
                                .gpa = region->gpa,
                                .uva = region->uva,
                                .size = region->size};
}

uint64_t guest_memory_file_id(const struct guest_memory *memory, uint64_t gpa)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        if (gpa - memory->region[i].gpa < memory->region[i].size)
            return memory->region[i].file_id;
    }
    return 0;
}

static struct memory_region *region_exact(struct guest_memory *memory, uint64_t gpa, uint64_t uva,
                                          uint64_t size)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        struct memory_region *region = &memory->region[i];

        if (region->gpa == gpa && region->uva == uva && region->size == size)
            return region;
    }
    return NULL;
}

int guest_memory_lost(const struct guest_memory *memory)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct memory_mapping *mapping = memory->region[i].mapping;

        if (mapping != NULL && memory_mapping_lost(mapping))
            return 1;
    }
    return 0;
}

int guest_memory_share(struct guest_memory *memory, uint64_t gpa, uint64_t uva, uint64_t size)
{
    struct memory_region *region = region_exact(memory, gpa, uva, size);

    if (region == NULL)
        return -ENOENT;
    region->shares++;
    return 0;
}

void guest_memory_set_shares(struct guest_memory *memory, uint64_t gpa, uint32_t shares)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        if (memory->region[i].gpa == gpa)
            memory->region[i].shares = shares;
    }
}

int guest_memory_unshare(struct guest_memory *memory, uint64_t gpa, uint64_t uva, uint64_t size)
{
    struct memory_region *region = region_exact(memory, gpa, uva, size);

    if (region == NULL || region->shares == 0)
        return -ENOENT;
    region->shares--;
    return 0;
}

int guest_memory_remove(struct guest_memory *memory, uint64_t gpa, uint64_t uva, uint64_t size)
{
    struct memory_region *region = region_exact(memory, gpa, uva, size);

    if (region == NULL)
        return -ENOENT;
    memory_mapping_release(region->mapping);
    memory->region_count--;
    memmove(region, region + 1,
            (size_t)(&memory->region[memory->region_count] - region) * sizeof(*region));
    return 0;
}

static const struct memory_region *region_find(const struct guest_memory *memory, uint64_t gpa)
{
    unsigned low = 0;
    unsigned high = memory->region_count;

    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct memory_region *region = &memory->region[middle];

        if (gpa < region->gpa)
            high = middle;
        else if (gpa - region->gpa >= region->size)
            low = middle + 1;
        else
            return region;
    }
    return NULL;
}

/* Of an entry that can only be written the cache would allow a read: it is not kept. */
static size_t iotlb_span(const struct iotlb_entry *entry, struct memory_cache *cache, uint64_t iova,
                         uint64_t len, uint8_t **ret_hva)
{
    uint64_t offset;

    if (entry == NULL)
        return 0;
    offset = iova - entry->iova;
    if (entry->allowed & IOTLB_READ)
        *cache = (struct memory_cache){
            .gpa = entry->iova,
            .size = entry->size,
            .hva = entry->hva,
            .flags = entry->allowed & IOTLB_WRITE ? 0 : MEMORY_REGION_READ_ONLY};
    *ret_hva = entry->hva + offset;
    return (size_t)MIN(len, entry->size - offset);
}

size_t guest_memory_span_lookup(const struct guest_memory *memory, struct memory_cache *cache,
                                uint64_t gpa, uint64_t len, enum memory_access access,
                                uint8_t **ret_hva)
{
    const struct memory_region *region;
    uint64_t offset;

    if (len == 0 || range_wraps(gpa, len))
        return 0;
    region = region_find(memory, gpa);
    if (region == NULL && memory->iotlb != NULL)
        return iotlb_span(iotlb_find(memory->iotlb, gpa, access), cache, gpa, len, ret_hva);
    if (region == NULL || (access == MEMORY_WRITE && (region->flags & MEMORY_REGION_READ_ONLY)))
        return 0;
    *cache = (struct memory_cache){
        .gpa = region->gpa, .size = region->size, .hva = region->hva, .flags = region->flags};
    offset = gpa - region->gpa;
    *ret_hva = region->hva + offset;
    return (size_t)MIN(len, region->size - offset);
}

uint8_t *guest_memory_pointer(const struct guest_memory *memory, uint64_t gpa, uint64_t len,
                              enum memory_access access)
{
    struct memory_cache cache = {0};
    uint8_t *hva;

    if (len > SIZE_MAX || guest_memory_span(memory, &cache, gpa, len, access, &hva) != len)
        return NULL;
    return len == 0 ? NULL : hva;
}

int guest_memory_may_come(const struct guest_memory *memory, uint64_t gpa,
                          enum memory_access access)
{
    return memory->iotlb != NULL && iotlb_may_come(memory->iotlb, gpa, access);
}

int guest_memory_uva_to_gpa(const struct guest_memory *memory, uint64_t uva, uint64_t *ret_gpa)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct memory_region *region = &memory->region[i];

        if (region->uva != 0 && uva >= region->uva && uva - region->uva < region->size) {
            *ret_gpa = region->gpa + (uva - region->uva);
            return 0;
        }
    }
    return -EFAULT;
}

int guest_memory_gpa_to_uva(const struct guest_memory *memory, uint64_t gpa, uint64_t *ret_uva)
{
    const struct memory_region *region = region_find(memory, gpa);

    if (region == NULL)
        return -EFAULT;
    *ret_uva = region->uva + (gpa - region->gpa);
    return 0;
}

int guest_memory_hva_to_gpa(const struct guest_memory *memory, struct memory_cache *cache,
                            const void *hva, uint64_t *ret_gpa)
{
    uint64_t offset = (uint64_t)((uintptr_t)hva - (uintptr_t)cache->hva);

    for (unsigned i = 0; offset >= cache->size; i++) {
        const struct memory_region *region = &memory->region[i];

        if (i == memory->region_count)
            return memory->iotlb == NULL
                       ? -EFAULT
                       : guest_memory_hva_to_gpa(memory->iotlb->physical, cache, hva, ret_gpa);
        offset = (uint64_t)((uintptr_t)hva - (uintptr_t)region->hva);
        if (offset < region->size)
            *cache =
                (struct memory_cache){.gpa = region->gpa, .size = region->size, .hva = region->hva};
    }
    *ret_gpa = cache->gpa + offset;
    return 0;
}
