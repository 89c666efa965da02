/* SPDX-License-Identifier: MIT */
#include "guest_ram.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

/* Far from any gpa, so that a device which takes one for the other fails at once. */
#define UVA_BASE 0x10000000000000ull

void guest_ram_init(struct guest_ram *ram)
{
    memset(ram, 0, sizeof(*ram));
}

unsigned guest_ram_add(struct guest_ram *ram, uint64_t gpa, uint64_t size, uint64_t offset)
{
    struct guest_ram_region *region = &ram->region[ram->region_count];
    uint8_t *file;

    check(ram->region_count < GUEST_RAM_REGIONS_MAX, "too many regions");
    region->fd = memfd_create("guest-ram", MFD_CLOEXEC);
    check(region->fd >= 0 && ftruncate(region->fd, (off_t)(offset + size)) == 0, "no memfd");
    file = mmap(NULL, offset + size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
    check(file != MAP_FAILED, "no mapping");
    region->gpa = gpa;
    region->uva = UVA_BASE + gpa;
    region->size = size;
    region->offset = offset;
    region->map = file + offset;
    region->used = 0;
    return ram->region_count++;
}

void guest_ram_free(struct guest_ram *ram)
{
    for (unsigned i = 0; i < ram->region_count; i++) {
        struct guest_ram_region *region = &ram->region[i];

        munmap(region->map - region->offset, region->offset + region->size);
        close(region->fd);
    }
    memset(ram, 0, sizeof(*ram));
}

static const struct guest_ram_region *region_of(const struct guest_ram *ram, uint64_t gpa,
                                                uint64_t len)
{
    for (unsigned i = 0; i < ram->region_count; i++) {
        const struct guest_ram_region *region = &ram->region[i];

        if (gpa >= region->gpa && gpa - region->gpa <= region->size &&
            len <= region->size - (gpa - region->gpa))
            return region;
    }
    fail_msg("0x%llx + %llu is not guest memory", (unsigned long long)gpa, (unsigned long long)len);
    return NULL;
}

void *guest_ram_at(const struct guest_ram *ram, uint64_t gpa, uint64_t len)
{
    const struct guest_ram_region *region = region_of(ram, gpa, len);

    return region->map + (gpa - region->gpa);
}

uint64_t guest_ram_alloc(struct guest_ram *ram, unsigned region_idx, uint64_t len, uint64_t align)
{
    struct guest_ram_region *region = &ram->region[region_idx];
    uint64_t start = (region->used + align - 1) / align * align;

    check(region_idx < ram->region_count && start + len <= region->size, "guest memory is full");
    region->used = start + len;
    return region->gpa + start;
}

uint64_t guest_ram_uva(const struct guest_ram *ram, uint64_t gpa)
{
    const struct guest_ram_region *region = region_of(ram, gpa, 1);

    return region->uva + (gpa - region->gpa);
}
