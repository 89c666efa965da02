/* SPDX-License-Identifier: MIT */
/* iotlb: against a naive model, byte by byte; and at its limits. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "memory/iotlb.h"

enum {
    LEN = 512,        /* bytes of iova, and of each region, that the model knows */
    UVA = 0x70000000, /* of the first region; the second is right behind it here and there */
    BASE = 0x1000,    /* gpa, likewise */
};

struct bed {
    struct guest_memory *physical;
    struct iotlb *iotlb;
    struct memory_cache cache;
    /* The model: for each iova what was told of it. */
    uint8_t *hva[LEN];
    uint8_t allowed[LEN];
};

static uint8_t host[2 * LEN];

static void region_add(struct bed *bed, unsigned index)
{
    struct memory_region region = {.gpa = BASE + index * LEN,
                                   .uva = UVA + index * LEN,
                                   .size = LEN,
                                   .hva = host + index * LEN};

    assert_int_equal(guest_memory_add(bed->physical, &region, NULL), 0);
}

static int set_up(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    *state = bed;
    if (bed == NULL || guest_memory_create(&bed->physical) < 0 || iotlb_create(&bed->iotlb) < 0)
        return -1;
    region_add(bed, 0);
    region_add(bed, 1);
    iotlb_set_physical(bed->iotlb, bed->physical);
    return 0;
}

static int tear_down(void **state)
{
    struct bed *bed = *state;

    iotlb_free(bed->iotlb);
    guest_memory_free(bed->physical);
    free(bed);
    return 0;
}

static uint32_t random_below(uint32_t limit)
{
    static uint32_t state = 1;

    state = state * 1664525u + 1013904223u;
    return (state >> 8) % limit;
}

static int map(struct bed *bed, struct iotlb_mapping mapping)
{
    if (iotlb_check(bed->iotlb, &mapping, NULL) < 0)
        return -1;
    iotlb_map(bed->iotlb, &mapping);
    return 0;
}

static void map_some(struct bed *bed)
{
    uint32_t iova = random_below(LEN), uva = random_below(2 * LEN);
    uint32_t size = 1 + random_below(60);
    uint8_t allowed = (uint8_t)(1 + random_below(3));
    int fits;

    if (size > LEN - iova)
        size = LEN - iova;
    fits = uva / LEN == (uva + size - 1) / LEN;
    assert_int_equal(map(bed, (struct iotlb_mapping){iova, size, UVA + uva, allowed}),
                     fits ? 0 : -1);
    for (uint32_t i = 0; fits && i < size; i++) {
        bed->hva[iova + i] = host + uva + i;
        bed->allowed[iova + i] = allowed;
    }
}

static void unmap_some(struct bed *bed)
{
    uint32_t first = random_below(LEN);
    uint32_t last = first + random_below(LEN - first);

    iotlb_unmap(bed->iotlb, first, last);
    memset(bed->allowed + first, 0, last - first + 1);
}

/* Every byte is found where it lies, for what it allows, as far as it goes on. */
static void compare(struct bed *bed)
{
    const struct guest_memory *view = iotlb_view(bed->iotlb);

    for (uint32_t iova = 0; iova < LEN; iova++) {
        enum memory_access access = random_below(2) ? MEMORY_WRITE : MEMORY_READ;
        uint8_t bit = access == MEMORY_WRITE ? IOTLB_WRITE : IOTLB_READ;
        uint32_t len = 1 + random_below(40);
        uint8_t *hva = NULL;
        size_t got = guest_memory_span(view, &bed->cache, iova, len, access, &hva);
        uint64_t gpa;

        if (!(bed->allowed[iova] & bit)) {
            assert_int_equal(got, 0);
            assert_true(guest_memory_may_come(view, iova, access));
            continue;
        }
        check(got >= 1 && got <= len && hva == bed->hva[iova], "iova %u: %zu bytes", iova, got);
        assert_false(guest_memory_may_come(view, iova, access));
        for (size_t i = 0; i < got; i++)
            check(bed->allowed[iova + i] & bit && bed->hva[iova + i] == hva + i,
                  "byte %zu behind iova %u", i, iova);
        assert_int_equal(guest_memory_hva_to_gpa(view, &(struct memory_cache){0}, hva, &gpa), 0);
        assert_int_equal(gpa, BASE + (uint64_t)(hva - host));
    }
}

static void iotlb_agrees_with_a_naive_model(void **state)
{
    struct bed *bed = *state;

    for (unsigned i = 0; i < 4000; i++) {
        if (random_below(4) == 0)
            unmap_some(bed);
        else
            map_some(bed);
        bed->cache = (struct memory_cache){0}; /* as after each change */
        compare(bed);
    }
}

static void iotlb_joins_what_goes_on_and_nothing_else(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(map(bed, (struct iotlb_mapping){100, 10, UVA + 50, 3}), 0);
    assert_int_equal(map(bed, (struct iotlb_mapping){120, 10, UVA + 70, 3}), 0);
    assert_int_equal(bed->iotlb->count, 2);
    assert_int_equal(map(bed, (struct iotlb_mapping){110, 10, UVA + 60, 3}), 0);
    assert_int_equal(bed->iotlb->count, 1);
    assert_int_equal(map(bed, (struct iotlb_mapping){130, 10, UVA + 80, 1}), 0);
    assert_int_equal(map(bed, (struct iotlb_mapping){90, 10, UVA + 41, 3}), 0);
    assert_int_equal(bed->iotlb->count, 3);
    iotlb_unmap(bed->iotlb, 105, 105);
    assert_int_equal(bed->iotlb->count, 4);
    iotlb_unmap(bed->iotlb, 0, UINT64_MAX);
    assert_int_equal(bed->iotlb->count, 0);
}

static void iotlb_denies_after_the_answer(void **state)
{
    struct bed *bed = *state;
    const struct guest_memory *view = iotlb_view(bed->iotlb);

    assert_int_equal(iotlb_deny(bed->iotlb, 100, IOTLB_WRITE), 0); /* nothing came */
    assert_true(guest_memory_may_come(view, 100, MEMORY_WRITE));
    assert_int_equal(map(bed, (struct iotlb_mapping){100, 10, UVA, IOTLB_READ}), 0);
    assert_true(guest_memory_may_come(view, 100, MEMORY_WRITE));
    assert_int_equal(iotlb_deny(bed->iotlb, 100, IOTLB_READ), 0);
    assert_int_equal(iotlb_deny(bed->iotlb, 100, IOTLB_WRITE), 1);
    assert_false(guest_memory_may_come(view, 100, MEMORY_WRITE));
    assert_int_equal(map(bed, (struct iotlb_mapping){100, 10, UVA, IOTLB_READ}), 0);
    assert_true(guest_memory_may_come(view, 100, MEMORY_WRITE)); /* another answer */
    /* A page was asked for; nothing was said of the one behind it. */
    assert_int_equal(map(bed, (struct iotlb_mapping){IOTLB_PAGE_SIZE - 8, 16, UVA, IOTLB_READ}), 0);
    assert_int_equal(iotlb_deny(bed->iotlb, IOTLB_PAGE_SIZE - 8, IOTLB_WRITE), 1);
    assert_false(guest_memory_may_come(view, IOTLB_PAGE_SIZE - 1, MEMORY_WRITE));
    assert_true(guest_memory_may_come(view, IOTLB_PAGE_SIZE, MEMORY_WRITE));
}

/* The last address there is, and no farther. */
static void iotlb_reaches_to_the_end(void **state)
{
    struct bed *bed = *state;
    struct memory_cache cache = {0};
    uint8_t *hva;

    assert_int_equal(map(bed, (struct iotlb_mapping){UINT64_MAX - 9, 11, UVA, 3}), -1);
    assert_int_equal(map(bed, (struct iotlb_mapping){UINT64_MAX - 9, 10, UVA, 3}), 0);
    assert_int_equal(
        guest_memory_span(iotlb_view(bed->iotlb), &cache, UINT64_MAX, 1, MEMORY_WRITE, &hva), 1);
    assert_ptr_equal(hva, host + 9);
    assert_int_equal(
        guest_memory_span(iotlb_view(bed->iotlb), &cache, UINT64_MAX, 2, MEMORY_WRITE, &hva), 0);
    iotlb_unmap(bed->iotlb, UINT64_MAX, UINT64_MAX);
    assert_int_equal(bed->iotlb->entry[0].size, 9);
}

static void VU_MEM_07_cache_is_bounded(void **state)
{
    struct bed *bed = *state;

    for (unsigned i = 0; i < 3 * IOTLB_ENTRIES_MAX; i++) {
        struct iotlb_mapping mapping = {random_below(1 << 20) * 16ull, 8,
                                        UVA + random_below(LEN - 8), 3};

        assert_int_equal(map(bed, mapping), 0);
        assert_true(bed->iotlb->count <= IOTLB_ENTRIES_MAX);
        assert_non_null(iotlb_find(bed->iotlb, mapping.iova, MEMORY_WRITE)); /* the new one stays */
        iotlb_unmap(bed->iotlb, mapping.iova + 3, mapping.iova + 3);         /* one becomes two */
        assert_true(bed->iotlb->count <= IOTLB_ENTRIES_MAX);
    }
    assert_true(bed->iotlb->evicted >= IOTLB_ENTRIES_MAX);
    for (unsigned i = 1; i < bed->iotlb->count; i++)
        assert_true(bed->iotlb->entry[i - 1].iova + bed->iotlb->entry[i - 1].size <=
                    bed->iotlb->entry[i].iova);
}

static void iotlb_forgets_what_lies_in_no_region_any_more(void **state)
{
    struct bed *bed = *state;

    assert_int_equal(map(bed, (struct iotlb_mapping){100, 10, UVA, 3}), 0);
    assert_int_equal(map(bed, (struct iotlb_mapping){200, 10, UVA + LEN, 3}), 0);
    assert_int_equal(guest_memory_remove(bed->physical, BASE, UVA, LEN), 0);
    iotlb_set_physical(bed->iotlb, bed->physical);
    assert_null(iotlb_find(bed->iotlb, 100, MEMORY_READ));
    assert_non_null(iotlb_find(bed->iotlb, 200, MEMORY_READ));
    iotlb_set_physical(bed->iotlb, NULL);
    assert_int_equal(bed->iotlb->count, 0);
    assert_int_equal(map(bed, (struct iotlb_mapping){100, 10, UVA, 3}), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(iotlb_agrees_with_a_naive_model), TEST(iotlb_joins_what_goes_on_and_nothing_else),
        TEST(iotlb_denies_after_the_answer),   TEST(iotlb_reaches_to_the_end),
        TEST(VU_MEM_07_cache_is_bounded),      TEST(iotlb_forgets_what_lies_in_no_region_any_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
