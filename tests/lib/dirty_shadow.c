/* SPDX-License-Identifier: MIT */
#include "dirty_shadow.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

void dirty_shadow_init(struct dirty_shadow *shadow, const struct guest_ram *ram, uint64_t end)
{
    memset(shadow, 0, sizeof(*shadow));
    shadow->ram = ram;
    shadow->len = (end / DIRTY_SHADOW_PAGE + 8) / 8;
    shadow->fd = memfd_create("dirty-log", MFD_CLOEXEC);
    check(shadow->fd >= 0 && ftruncate(shadow->fd, (off_t)shadow->len) == 0, "no memfd");
    shadow->bits = mmap(NULL, shadow->len, PROT_READ | PROT_WRITE, MAP_SHARED, shadow->fd, 0);
    check(shadow->bits != MAP_FAILED, "no mapping");
}

void dirty_shadow_free(struct dirty_shadow *shadow)
{
    munmap(shadow->bits, shadow->len);
    close(shadow->fd);
    for (unsigned i = 0; i < GUEST_RAM_REGIONS_MAX; i++)
        free(shadow->before[i]);
    memset(shadow, 0, sizeof(*shadow));
}

void dirty_shadow_begin(struct dirty_shadow *shadow)
{
    for (unsigned i = 0; i < shadow->ram->region_count; i++) {
        const struct guest_ram_region *region = &shadow->ram->region[i];

        free(shadow->before[i]);
        shadow->before_len[i] = region->used;
        shadow->before[i] = malloc(region->used + 1);
        check(shadow->before[i] != NULL, "out of memory");
        memcpy(shadow->before[i], region->map, region->used);
    }
    for (uint64_t i = 0; i < shadow->len; i++)
        __atomic_exchange_n(&shadow->bits[i], 0, __ATOMIC_SEQ_CST);
}

void dirty_shadow_add_same(struct dirty_shadow *shadow, uint64_t gpa)
{
    check(shadow->same_count < DIRTY_SHADOW_SAME_MAX, "too many words");
    shadow->same[shadow->same_count++] = gpa;
}

/* Would a write to this page that changes nothing be as it should be? */
static int may_be_same(const struct dirty_shadow *shadow, uint64_t gpa)
{
    for (unsigned i = 0; i < shadow->same_count; i++) {
        if (shadow->same[i] / DIRTY_SHADOW_PAGE == gpa / DIRTY_SHADOW_PAGE)
            return 1;
    }
    return 0;
}

static uint64_t page_end(uint64_t gpa, uint64_t end)
{
    uint64_t next = (gpa / DIRTY_SHADOW_PAGE + 1) * DIRTY_SHADOW_PAGE;

    return next < end ? next : end;
}

/* Returns how many pages of the region were written, which is known for each. */
static unsigned region_check(const struct dirty_shadow *shadow, unsigned index)
{
    const struct guest_ram_region *region = &shadow->ram->region[index];
    uint64_t end = region->gpa + shadow->before_len[index];
    unsigned written = 0;

    for (uint64_t gpa = region->gpa; gpa < end; gpa = page_end(gpa, end)) {
        uint64_t offset = gpa - region->gpa;
        int differs = memcmp(region->map + offset, shadow->before[index] + offset,
                             page_end(gpa, end) - gpa) != 0;
        int logged = dirty_shadow_has(shadow, gpa);

        check(logged == differs || (logged && may_be_same(shadow, gpa)),
              "page 0x%llx was %s and is %s the log", (unsigned long long)gpa,
              differs ? "written" : "left alone", logged ? "in" : "not in");
        written += (unsigned)logged;
    }
    return written;
}

void dirty_shadow_check(const struct dirty_shadow *shadow)
{
    unsigned written = 0;

    for (unsigned i = 0; i < shadow->ram->region_count; i++)
        written += region_check(shadow, i);
    check(written != 0, "nothing was written");
    check(dirty_shadow_count(shadow) == written, "%u pages were written, %u are in the log",
          written, dirty_shadow_count(shadow));
}

int dirty_shadow_has(const struct dirty_shadow *shadow, uint64_t gpa)
{
    uint64_t page = gpa / DIRTY_SHADOW_PAGE;

    check(page / 8 < shadow->len, "0x%llx is beyond the log", (unsigned long long)gpa);
    return shadow->bits[page / 8] >> (page % 8) & 1;
}

unsigned dirty_shadow_count(const struct dirty_shadow *shadow)
{
    unsigned count = 0;

    for (uint64_t i = 0; i < shadow->len; i++)
        count += (unsigned)__builtin_popcount(shadow->bits[i]);
    return count;
}
