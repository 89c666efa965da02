/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: a table of regions, and the only way from a guest address to a host pointer.
 *
 * A table is immutable once data threads use it. To change memory, build another table, pause the
 * workers, swap, resume, free the old one (run/coordinator does that).
 *
 * Two address spaces lead into a region: the guest-physical address (gpa), which descriptors hold,
 * and the front-end's user address (uva), which vhost-user uses for ring addresses.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "memory/mapping.h"

enum {
    GUEST_MEMORY_REGIONS_MAX = 512
};

enum memory_access {
    MEMORY_READ,
    MEMORY_WRITE,
};

enum memory_region_flags {
    MEMORY_REGION_READ_ONLY = 1u << 0, /* ROM: the device never writes there */
};

struct memory_region {
    uint64_t gpa;
    uint64_t uva; /* 0 where the embedder has no such space */
    uint64_t size;
    uint8_t *hva;                   /* borrowed from the embedder, or inside the mapping */
    uint64_t file_id;               /* of the file that was mapped: as good as its inode */
    uint32_t flags;                 /* MEMORY_REGION_… */
    uint32_t shares;                /* times it was added again: see guest_memory_share */
    struct memory_mapping *mapping; /* held, shared by the tables; NULL: the embedder's memory */
};

struct iotlb;

struct guest_memory {
    unsigned region_count;
    /* Back-pointer; not NULL: there are no regions, and the guest addresses of this table are the
     * iovas of that one (memory/iotlb.h). */
    struct iotlb *iotlb;
    struct memory_region region[GUEST_MEMORY_REGIONS_MAX]; /* ordered by gpa */
};

/* The last region hit by one reader; makes the common translation one compare. Zero it to forget.
 */
struct memory_cache {
    uint64_t gpa;
    uint64_t size; /* 0: nothing cached */
    uint8_t *hva;
    uint32_t flags;
};

int guest_memory_create(struct guest_memory **ret_memory);
/* Another table with the same regions, to be changed and swapped in. */
int guest_memory_copy(const struct guest_memory *from, struct guest_memory **ret_copy);
/* Unmaps what no other table holds. NULL is fine. */
void guest_memory_free(struct guest_memory *memory);

/* Adds memory that the caller keeps alive (region->mapping is NULL). -EINVAL: empty or wraps;
 * -EEXIST: overlaps in gpa (or in uva, when that is not 0); -ENOSPC: the table is full. */
int guest_memory_add(struct guest_memory *memory, const struct memory_region *region,
                     struct error *err);

/* Where a file descriptor holds guest memory (vhost-user, or an embedder with memfds). */
struct memory_file {
    int fd; /* borrowed; may be closed after the call */
    uint64_t offset;
    uint64_t gpa;
    uint64_t uva;
    uint64_t size;
};

/* Maps a file into the table. Refuses a size or offset beyond the file's end, and what
 * guest_memory_add refuses; the table is unchanged then. */
int guest_memory_map(struct guest_memory *memory, const struct memory_file *file,
                     struct error *err);

/* Where region number `index` is, as guest_memory_map was told; its fd is borrowed, and -1 for the
 * embedder's memory. */
struct memory_file guest_memory_file(const struct guest_memory *memory, unsigned index);

/* Tells the file that holds the address from all other files; 0: it was not mapped here. */
uint64_t guest_memory_file_id(const struct guest_memory *memory, uint64_t gpa);
/* 1 if a file was truncated under its mapping and empty pages stand there now (memory/guard.h). */
int guest_memory_lost(const struct guest_memory *memory);

/* A region that is added again with exactly the same bounds is one more holder of it; it goes with
 * its last one. (QEMU adds every region once a queue pair.) -ENOENT: no such region, or no second
 * holder. May be called while data threads use the table. */
int guest_memory_share(struct guest_memory *memory, uint64_t gpa, uint64_t uva, uint64_t size);
int guest_memory_unshare(struct guest_memory *memory, uint64_t gpa, uint64_t uva, uint64_t size);

/* The region that begins there was added so many times more. */
void guest_memory_set_shares(struct guest_memory *memory, uint64_t gpa, uint32_t shares);

/* Takes the region with exactly these bounds out of the table. -ENOENT: there is none. */
int guest_memory_remove(struct guest_memory *memory, uint64_t gpa, uint64_t uva, uint64_t size);

/* Host pointer for [gpa, gpa + len) if one region holds all of it and allows the access, else NULL.
 * len 0 gives NULL. */
uint8_t *guest_memory_pointer(const struct guest_memory *memory, uint64_t gpa, uint64_t len,
                              enum memory_access access);

/* 1: there is nothing at the address now, but an IOMMU may yet allow this access. */
int guest_memory_may_come(const struct guest_memory *memory, uint64_t gpa,
                          enum memory_access access);

/* Guest address for a front-end's user address; -EFAULT if no region holds it. */
int guest_memory_uva_to_gpa(const struct guest_memory *memory, uint64_t uva, uint64_t *ret_gpa);
/* The other way round. */
int guest_memory_gpa_to_uva(const struct guest_memory *memory, uint64_t gpa, uint64_t *ret_uva);

/* The way back, for host pointers that guest_memory_span gave: the guest-physical address of hva.
 * The cache is for this way only. -EFAULT: it is in no region. */
int guest_memory_hva_to_gpa(const struct guest_memory *memory, struct memory_cache *cache,
                            const void *hva, uint64_t *ret_gpa);

/* Slow path of guest_memory_span: finds the region, refills the cache. */
size_t guest_memory_span_lookup(const struct guest_memory *memory, struct memory_cache *cache,
                                uint64_t gpa, uint64_t len, enum memory_access access,
                                uint8_t **ret_hva);

/*
 * The contiguous host span at the start of [gpa, gpa + len): returns its length, which is len
 * unless the range runs on into the next region (call again for the rest), and 0 if gpa is in no
 * region, the region forbids the access, or the range wraps.
 */
static inline size_t guest_memory_span(const struct guest_memory *memory,
                                       struct memory_cache *cache, uint64_t gpa, uint64_t len,
                                       enum memory_access access, uint8_t **ret_hva)
{
    uint64_t offset = gpa - cache->gpa;

    if (__builtin_expect(offset < cache->size && len <= cache->size - offset && len != 0 &&
                             (cache->flags == 0 || access == MEMORY_READ),
                         1)) {
        *ret_hva = cache->hva + offset;
        return len;
    }
    return guest_memory_span_lookup(memory, cache, gpa, len, access, ret_hva);
}
