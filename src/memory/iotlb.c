/* SPDX-License-Identifier: MIT */
#include "memory/iotlb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

int iotlb_create(struct iotlb **ret_iotlb)
{
    /* As a memory table: what is not used is not touched. */
    struct iotlb *iotlb = malloc(sizeof(*iotlb));

    if (iotlb == NULL)
        return -ENOMEM;
    if (guest_memory_create(&iotlb->view) < 0) {
        free(iotlb);
        return -ENOMEM;
    }
    iotlb->view->iotlb = iotlb;
    iotlb->physical = NULL;
    iotlb->count = 0;
    iotlb->hand = 0;
    iotlb->evicted = 0;
    *ret_iotlb = iotlb;
    return 0;
}

void iotlb_free(struct iotlb *iotlb)
{
    if (iotlb == NULL)
        return;
    guest_memory_free(iotlb->view);
    free(iotlb);
}

const struct guest_memory *iotlb_view(const struct iotlb *iotlb)
{
    return iotlb->view;
}

static uint64_t last_of(const struct iotlb_entry *entry)
{
    return entry->iova + (entry->size - 1);
}

/* The first entry that does not end in front of the address; count: all do. */
static unsigned place_of(const struct iotlb *iotlb, uint64_t iova)
{
    unsigned low = 0;
    unsigned high = iotlb->count;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (last_of(&iotlb->entry[middle]) < iova)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct iotlb_entry *entry_at(const struct iotlb *iotlb, uint64_t iova)
{
    unsigned at = place_of(iotlb, iova);

    if (at == iotlb->count || iotlb->entry[at].iova > iova)
        return NULL;
    return &iotlb->entry[at];
}

static uint8_t bit_of(enum memory_access access)
{
    return access == MEMORY_WRITE ? IOTLB_WRITE : IOTLB_READ;
}

const struct iotlb_entry *iotlb_find(const struct iotlb *iotlb, uint64_t iova,
                                     enum memory_access access)
{
    const struct iotlb_entry *entry = entry_at(iotlb, iova);

    return entry != NULL && entry->allowed & bit_of(access) ? entry : NULL;
}

int iotlb_may_come(const struct iotlb *iotlb, uint64_t iova, enum memory_access access)
{
    const struct iotlb_entry *entry = entry_at(iotlb, iova);

    return entry == NULL || !((entry->allowed | entry->denied) & bit_of(access));
}

/* ---- changes ---------------------------------------------------------------------------- */

/* Puts `count` entries in the place of those from `begin` to in front of `end`. */
static void entries_replace(struct iotlb *iotlb, unsigned begin, unsigned end,
                            const struct iotlb_entry *entries, unsigned count)
{
    memmove(&iotlb->entry[begin + count], &iotlb->entry[end],
            (iotlb->count - end) * sizeof(*entries));
    if (count != 0)
        memcpy(&iotlb->entry[begin], entries, count * sizeof(*entries));
    iotlb->count = iotlb->count - (end - begin) + count;
}

static struct iotlb_entry entry_part(const struct iotlb_entry *entry, uint64_t first, uint64_t last)
{
    uint64_t offset = first - entry->iova;
    struct iotlb_entry part = *entry;

    part.iova = first;
    part.size = last - first + 1;
    part.gpa += offset;
    part.hva += offset;
    return part;
}

/* Of entries that reach out of the range, what is outside stays: one more entry at most. */
static void range_clear(struct iotlb *iotlb, uint64_t first, uint64_t last)
{
    unsigned begin = place_of(iotlb, first);
    unsigned end = begin;
    struct iotlb_entry kept[2];
    unsigned count = 0;

    while (end < iotlb->count && iotlb->entry[end].iova <= last)
        end++;
    if (begin == end)
        return;
    if (iotlb->entry[begin].iova < first)
        kept[count++] = entry_part(&iotlb->entry[begin], iotlb->entry[begin].iova, first - 1);
    if (last_of(&iotlb->entry[end - 1]) > last)
        kept[count++] =
            entry_part(&iotlb->entry[end - 1], last + 1, last_of(&iotlb->entry[end - 1]));
    entries_replace(iotlb, begin, end, kept, count);
}

/* Does the second go on where the first ends, in every respect? */
static int goes_on(const struct iotlb_entry *first, const struct iotlb_entry *second)
{
    return first->iova + first->size == second->iova && first->gpa + first->size == second->gpa &&
           first->hva + first->size == second->hva && first->allowed == second->allowed &&
           first->denied == second->denied;
}

/* Nothing is in the entry's range. */
static void entry_insert(struct iotlb *iotlb, struct iotlb_entry entry)
{
    unsigned begin = place_of(iotlb, entry.iova);
    unsigned end = begin;

    if (begin != 0 && goes_on(&iotlb->entry[begin - 1], &entry)) {
        begin--;
        entry.iova = iotlb->entry[begin].iova;
        entry.gpa = iotlb->entry[begin].gpa;
        entry.hva = iotlb->entry[begin].hva;
        entry.size += iotlb->entry[begin].size;
    }
    if (end != iotlb->count && goes_on(&entry, &iotlb->entry[end]))
        entry.size += iotlb->entry[end++].size;
    entries_replace(iotlb, begin, end, &entry, 1);
}

/* All but the one at the address, which is wanted now. */
static void room_make(struct iotlb *iotlb, uint64_t wanted)
{
    while (iotlb->count > IOTLB_ENTRIES_MAX) {
        const struct iotlb_entry *entry;

        iotlb->hand = iotlb->hand < iotlb->count ? iotlb->hand : 0;
        entry = &iotlb->entry[iotlb->hand];
        if (wanted - entry->iova < entry->size) {
            iotlb->hand++;
            continue;
        }
        entries_replace(iotlb, iotlb->hand, iotlb->hand + 1, NULL, 0);
        iotlb->evicted++;
    }
}

/* A range that lies in one region. */
static int entry_make(const struct iotlb *iotlb, const struct iotlb_mapping *mapping,
                      struct iotlb_entry *ret_entry)
{
    struct iotlb_entry entry = {
        .iova = mapping->iova, .size = mapping->size, .allowed = mapping->allowed};

    if (iotlb->physical == NULL ||
        guest_memory_uva_to_gpa(iotlb->physical, mapping->uva, &entry.gpa) < 0)
        return -EFAULT;
    entry.hva = guest_memory_pointer(iotlb->physical, entry.gpa, entry.size,
                                     entry.allowed & IOTLB_WRITE ? MEMORY_WRITE : MEMORY_READ);
    *ret_entry = entry;
    return entry.hva == NULL ? -EFAULT : 0;
}

int iotlb_check(const struct iotlb *iotlb, const struct iotlb_mapping *mapping, struct error *err)
{
    struct iotlb_entry entry;

    if (mapping->size == 0)
        return error_set(err, EINVAL, "a mapping of nothing at iova 0x%" PRIx64, mapping->iova);
    if (range_wraps(mapping->iova, mapping->size))
        return error_set(err, EINVAL, "a mapping at iova 0x%" PRIx64 " runs past the address space",
                         mapping->iova);
    if (mapping->allowed == 0 || mapping->allowed & ~(IOTLB_READ | IOTLB_WRITE))
        return error_set(err, EINVAL, "a mapping at iova 0x%" PRIx64 " that allows 0x%x",
                         mapping->iova, mapping->allowed);
    if (entry_make(iotlb, mapping, &entry) < 0)
        return error_set(err, EINVAL,
                         "a mapping at iova 0x%" PRIx64 " of 0x%" PRIx64 " bytes that do not lie in"
                         " one region of the memory that was shared",
                         mapping->iova, mapping->size);
    return 0;
}

void iotlb_map(struct iotlb *iotlb, const struct iotlb_mapping *mapping)
{
    struct iotlb_entry entry;

    if (entry_make(iotlb, mapping, &entry) < 0)
        return;
    range_clear(iotlb, entry.iova, last_of(&entry));
    entry_insert(iotlb, entry);
    room_make(iotlb, entry.iova);
}

void iotlb_unmap(struct iotlb *iotlb, uint64_t first, uint64_t last)
{
    range_clear(iotlb, first, last);
    room_make(iotlb, first); /* which is not there any more */
}

struct iotlb_mapping iotlb_mapping_of(const struct iotlb *iotlb, unsigned index)
{
    const struct iotlb_entry *entry = &iotlb->entry[index];
    struct iotlb_mapping mapping = {
        .iova = entry->iova, .size = entry->size, .allowed = entry->allowed};

    guest_memory_gpa_to_uva(iotlb->physical, entry->gpa, &mapping.uva);
    return mapping;
}

int iotlb_deny(struct iotlb *iotlb, uint64_t iova, uint8_t access)
{
    const struct iotlb_entry *entry = entry_at(iotlb, iova);
    struct iotlb_entry page;
    uint64_t last;

    if (entry == NULL || entry->allowed & access)
        return 0;
    last = MIN(iova | (IOTLB_PAGE_SIZE - 1), last_of(entry));
    page = entry_part(entry, iova, last);
    page.denied |= access;
    range_clear(iotlb, iova, last);
    entry_insert(iotlb, page);
    room_make(iotlb, iova);
    return 1;
}

/* Tables share their mappings: where a region stayed, so did its host addresses. */
static int lies_there(const struct iotlb_entry *entry, const struct guest_memory *physical)
{
    return physical != NULL &&
           guest_memory_pointer(physical, entry->gpa, entry->size, MEMORY_READ) == entry->hva;
}

void iotlb_set_physical(struct iotlb *iotlb, const struct guest_memory *physical)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < iotlb->count; i++) {
        if (lies_there(&iotlb->entry[i], physical))
            iotlb->entry[kept++] = iotlb->entry[i];
    }
    iotlb->count = kept;
    iotlb->physical = physical;
}
