/* SPDX-License-Identifier: MIT */
#include "memory/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "memory/backing.h"
#include "memory/guard.h"

struct memory_mapping {
    unsigned references; /* written by the control thread only */
    void *base;          /* owned */
    size_t len;
    int guard;       /* memory_guard_add's */
    int fd;          /* owned: the file, so that another process can be given it */
    uint64_t offset; /* of base in the file */
};

/* A file that ends inside the mapping would be a SIGBUS later. */
int memory_part_check(const struct memory_part *part, struct error *err)
{
    struct stat status;
    int result = memory_backing_check(part->fd, err);

    if (result < 0)
        return result;
    if (fstat(part->fd, &status) < 0)
        return error_set(err, errno, "its file can't be looked at");
    if (!range_within(part->offset, part->size, (uint64_t)status.st_size))
        return error_set(err, EINVAL, "it runs past the end of its file");
    return 0;
}

/* mmap wants whole pages of the file, and those of hugetlbfs are large: from the last boundary
 * below the offset to the first one behind the end. */
static int whole_pages(const struct memory_part *part, uint64_t *ret_delta, size_t *ret_len)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct stat status;
    uint64_t len;

    if (fstat(part->fd, &status) == 0 && is_power_of_two((uint64_t)status.st_blksize))
        page = MAX(page, (uint64_t)status.st_blksize);
    *ret_delta = part->offset & (page - 1);
    len = (part->size + *ret_delta + page - 1) & ~(page - 1);
    if (len > SIZE_MAX) /* a machine of 32 bits */
        return -ENOMEM;
    *ret_len = (size_t)len;
    return 0;
}

int memory_mapping_create(const struct memory_part *part, struct memory_mapping **ret_mapping,
                          uint8_t **ret_first)
{
    struct memory_mapping *mapping = calloc(1, sizeof(*mapping));
    uint64_t delta;
    int result;

    if (mapping == NULL)
        return -ENOMEM;
    result = whole_pages(part, &delta, &mapping->len);
    if (result < 0)
        goto fail;
    mapping->references = 1;
    mapping->offset = part->offset - delta;
    mapping->fd = fcntl(part->fd, F_DUPFD_CLOEXEC, 3);
    if (mapping->fd < 0) {
        result = -errno;
        goto fail;
    }
    mapping->base = mmap(NULL, mapping->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                         part->fd, (off_t)mapping->offset);
    if (mapping->base == MAP_FAILED) {
        result = -errno;
        goto fail_mapped;
    }
    mapping->guard = memory_guard_add(mapping->base, mapping->len);
    if (mapping->guard < 0) {
        result = mapping->guard;
        munmap(mapping->base, mapping->len);
        goto fail_mapped;
    }
    madvise(mapping->base, mapping->len, MADV_DONTDUMP);
    *ret_mapping = mapping;
    *ret_first = (uint8_t *)mapping->base + delta;
    return 0;
fail_mapped:
    fd_close(&mapping->fd);
fail:
    free(mapping);
    return result;
}

void memory_mapping_hold(struct memory_mapping *mapping)
{
    mapping->references++;
}

void memory_mapping_release(struct memory_mapping *mapping)
{
    if (mapping == NULL || --mapping->references != 0)
        return;
    memory_guard_remove(mapping->guard);
    munmap(mapping->base, mapping->len);
    fd_close(&mapping->fd);
    free(mapping);
}

struct memory_part memory_mapping_part(const struct memory_mapping *mapping, const uint8_t *first)
{
    return (struct memory_part){.fd = mapping->fd,
                                .offset = mapping->offset +
                                          (uint64_t)(first - (const uint8_t *)mapping->base)};
}

int memory_mapping_lost(const struct memory_mapping *mapping)
{
    return memory_guard_lost(mapping->guard);
}
