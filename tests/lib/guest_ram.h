/* SPDX-License-Identifier: MIT */
/*
 * A guest's memory, seen from the driver: up to eight memfds at chosen guest addresses, with a bump
 * allocator in each. The front-end hands the same memfds to the device.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    GUEST_RAM_REGIONS_MAX = 8
};

struct guest_ram_region {
    int fd; /* owned */
    uint64_t gpa;
    uint64_t uva; /* the front-end's user address: never equal to gpa */
    uint64_t size;
    uint64_t offset; /* of the region in the file */
    uint8_t *map;    /* owned: the region's first byte */
    uint64_t used;   /* bytes that the allocator gave out */
};

struct guest_ram {
    unsigned region_count;
    struct guest_ram_region region[GUEST_RAM_REGIONS_MAX];
};

void guest_ram_init(struct guest_ram *ram);
/* Zeroed memory at gpa; returns its index. `offset` bytes of the file lie before it. */
unsigned guest_ram_add(struct guest_ram *ram, uint64_t gpa, uint64_t size, uint64_t offset);
void guest_ram_free(struct guest_ram *ram);

/* Fails the test when the range is not inside one region. */
void *guest_ram_at(const struct guest_ram *ram, uint64_t gpa, uint64_t len);
uint64_t guest_ram_alloc(struct guest_ram *ram, unsigned region, uint64_t len, uint64_t align);
uint64_t guest_ram_uva(const struct guest_ram *ram, uint64_t gpa);
