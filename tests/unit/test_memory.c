/* SPDX-License-Identifier: MIT */
/* memory: every bound of the region table, and the cache against a naive model. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "memory/guest_memory.h"

enum {
    PAGE = 4096
};

static uint8_t host[16 * PAGE];

static int set_up(void **state)
{
    return guest_memory_create((struct guest_memory **)state);
}

static int tear_down(void **state)
{
    guest_memory_free(*state);
    return 0;
}

static int add(struct guest_memory *memory, uint64_t gpa, uint64_t uva, uint64_t size)
{
    struct memory_region region = {.gpa = gpa, .uva = uva, .size = size, .hva = host};

    return guest_memory_add(memory, &region, NULL);
}

static size_t span(struct guest_memory *memory, uint64_t gpa, uint64_t len,
                   enum memory_access access, uint8_t **ret_hva)
{
    struct memory_cache cache = {0};

    return guest_memory_span(memory, &cache, gpa, len, access, ret_hva);
}

static void memory_refuses_empty_and_wrapping_regions(void **state)
{
    assert_int_equal(add(*state, 0x1000, 0, 0), -EINVAL);
    assert_int_equal(add(*state, UINT64_MAX, 0, 2), -EINVAL);
    assert_int_equal(add(*state, 0x1000, UINT64_MAX, 2), -EINVAL);
    assert_int_equal(add(*state, 2, 0, UINT64_MAX), -EINVAL);
    assert_int_equal(((struct guest_memory *)*state)->region_count, 0);
}

static void memory_refuses_overlap_in_either_address_space(void **state)
{
    assert_int_equal(add(*state, 0x10000, 0x70000, 0x1000), 0);
    assert_int_equal(add(*state, 0x10fff, 0x90000, 0x1000), -EEXIST);
    assert_int_equal(add(*state, 0xf001, 0x90000, 0x1000), -EEXIST);
    assert_int_equal(add(*state, 0x10100, 0x90000, 0x10), -EEXIST);
    assert_int_equal(add(*state, 0, 0x90000, 0x100000), -EEXIST);
    assert_int_equal(add(*state, 0x20000, 0x70fff, 0x1000), -EEXIST);
    assert_int_equal(add(*state, 0x20000, 0x6f001, 0x1000), -EEXIST);
    assert_int_equal(add(*state, 0x11000, 0x71000, 0x1000), 0); /* next to it is fine */
    assert_int_equal(add(*state, 0xf000, 0x6f000, 0x1000), 0);
    assert_int_equal(((struct guest_memory *)*state)->region_count, 3);
}

static void memory_regions_without_user_address_never_overlap_there(void **state)
{
    assert_int_equal(add(*state, 0x10000, 0, 0x1000), 0);
    assert_int_equal(add(*state, 0x20000, 0, 0x1000), 0);
}

static void memory_table_has_an_end(void **state)
{
    for (unsigned i = 0; i < GUEST_MEMORY_REGIONS_MAX; i++)
        assert_int_equal(add(*state, (uint64_t)i * 0x1000, 0, 0x1000), 0);
    assert_int_equal(add(*state, (uint64_t)GUEST_MEMORY_REGIONS_MAX * 0x1000, 0, 0x1000), -ENOSPC);
}

static void memory_span_ends_at_the_region(void **state)
{
    uint8_t *hva = NULL;

    assert_int_equal(add(*state, 0x10000, 0, 0x1000), 0);
    assert_int_equal(span(*state, 0x10000, 0x1000, MEMORY_WRITE, &hva), 0x1000);
    assert_ptr_equal(hva, host);
    assert_int_equal(span(*state, 0x10fff, 1, MEMORY_WRITE, &hva), 1);
    assert_ptr_equal(hva, host + 0xfff);
    assert_int_equal(span(*state, 0x10ff0, 0x100, MEMORY_WRITE, &hva), 0x10);
    assert_int_equal(span(*state, 0xffff, 2, MEMORY_WRITE, &hva), 0);
    assert_int_equal(span(*state, 0x11000, 1, MEMORY_WRITE, &hva), 0);
    assert_int_equal(span(*state, 0x10000, 0, MEMORY_WRITE, &hva), 0);
}

static void SPL_BAD_10_address_wraps(void **state)
{
    uint8_t *hva = NULL;

    assert_int_equal(add(*state, UINT64_MAX - 0xfff, 0, 0x1000), 0); /* up to the very top */
    assert_int_equal(span(*state, UINT64_MAX, 1, MEMORY_READ, &hva), 1);
    assert_int_equal(span(*state, UINT64_MAX - 0xfff, 0x1000, MEMORY_READ, &hva), 0x1000);
    assert_int_equal(span(*state, UINT64_MAX, 2, MEMORY_READ, &hva), 0);
    assert_int_equal(span(*state, UINT64_MAX - 1, UINT64_MAX, MEMORY_READ, &hva), 0);
    assert_null(guest_memory_pointer(*state, UINT64_MAX, 2, MEMORY_READ));
}

static void memory_adjacent_regions_are_walked_piece_by_piece(void **state)
{
    struct memory_region low = {.gpa = 0x1000, .size = 0x1000, .hva = host + 0x8000};
    struct memory_region high = {.gpa = 0x2000, .size = 0x1000, .hva = host};
    uint8_t *hva = NULL;

    assert_int_equal(guest_memory_add(*state, &high, NULL), 0);
    assert_int_equal(guest_memory_add(*state, &low, NULL), 0);
    assert_int_equal(span(*state, 0x1800, 0x1000, MEMORY_READ, &hva), 0x800);
    assert_ptr_equal(hva, host + 0x8800);
    assert_int_equal(span(*state, 0x2000, 0x800, MEMORY_READ, &hva), 0x800);
    assert_ptr_equal(hva, host);
    assert_null(guest_memory_pointer(*state, 0x1800, 0x1000, MEMORY_READ));
    assert_non_null(guest_memory_pointer(*state, 0x1800, 0x800, MEMORY_READ));
}

static void SPL_BAD_12_read_only_region_is_never_written(void **state)
{
    struct memory_region rom = {
        .gpa = 0x1000, .size = 0x1000, .hva = host, .flags = MEMORY_REGION_READ_ONLY};
    struct memory_cache cache = {0};
    uint8_t *hva = NULL;

    assert_int_equal(guest_memory_add(*state, &rom, NULL), 0);
    assert_int_equal(guest_memory_span(*state, &cache, 0x1000, 16, MEMORY_READ, &hva), 16);
    assert_int_equal(guest_memory_span(*state, &cache, 0x1000, 16, MEMORY_WRITE, &hva), 0);
    assert_int_equal(guest_memory_span(*state, &cache, 0x1000, 16, MEMORY_READ, &hva), 16);
    assert_null(guest_memory_pointer(*state, 0x1000, 16, MEMORY_WRITE));
    assert_non_null(guest_memory_pointer(*state, 0x1000, 16, MEMORY_READ));
}

static void memory_pointer_of_nothing_is_null(void **state)
{
    assert_int_equal(add(*state, 0x1000, 0, 0x1000), 0);
    assert_null(guest_memory_pointer(*state, 0x1000, 0, MEMORY_READ));
    assert_null(guest_memory_pointer(*state, 0x1000, UINT64_MAX, MEMORY_READ));
}

static void memory_translates_user_addresses(void **state)
{
    uint64_t gpa = 0;

    assert_int_equal(add(*state, 0x1000, 0x7f0000001000, 0x1000), 0);
    assert_int_equal(add(*state, 0x9000, 0x7f0000002000, 0x1000), 0);
    assert_int_equal(guest_memory_uva_to_gpa(*state, 0x7f0000001000, &gpa), 0);
    assert_int_equal(gpa, 0x1000);
    assert_int_equal(guest_memory_uva_to_gpa(*state, 0x7f0000002fff, &gpa), 0);
    assert_int_equal(gpa, 0x9fff);
    assert_int_equal(guest_memory_uva_to_gpa(*state, 0x7f0000003000, &gpa), -EFAULT);
    assert_int_equal(guest_memory_uva_to_gpa(*state, 0x7f0000000fff, &gpa), -EFAULT);
    assert_int_equal(guest_memory_uva_to_gpa(*state, 0x1000, &gpa), -EFAULT);
}

static void memory_region_without_user_address_is_not_found_by_one(void **state)
{
    uint64_t gpa;

    assert_int_equal(add(*state, 0x1000, 0, 0x1000), 0);
    assert_int_equal(guest_memory_uva_to_gpa(*state, 0x10, &gpa), -EFAULT);
}

static void memory_remove_wants_exact_bounds(void **state)
{
    uint8_t *hva = NULL;

    assert_int_equal(add(*state, 0x1000, 0x71000, 0x1000), 0);
    assert_int_equal(add(*state, 0x2000, 0x72000, 0x1000), 0);
    assert_int_equal(guest_memory_remove(*state, 0x1000, 0x71000, 0x2000), -ENOENT);
    assert_int_equal(guest_memory_remove(*state, 0x1000, 0x72000, 0x1000), -ENOENT);
    assert_int_equal(guest_memory_remove(*state, 0x1001, 0x71000, 0x1000), -ENOENT);
    assert_int_equal(guest_memory_remove(*state, 0x1000, 0x71000, 0x1000), 0);
    assert_int_equal(span(*state, 0x1000, 1, MEMORY_READ, &hva), 0);
    assert_int_equal(span(*state, 0x2000, 1, MEMORY_READ, &hva), 1);
    assert_int_equal(guest_memory_remove(*state, 0x1000, 0x71000, 0x1000), -ENOENT);
}

/* ---- files ---- */

static int file_of(uint64_t len)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    return fd;
}

static int map(struct guest_memory *memory, int fd, uint64_t offset, uint64_t size)
{
    struct memory_file file = {.fd = fd, .offset = offset, .gpa = 0x100000, .size = size};

    return guest_memory_map(memory, &file, NULL);
}

static void VU_MEM_02_file_must_hold_the_region(void **state)
{
    int fd = file_of(2 * PAGE);

    assert_int_equal(map(*state, fd, 0, 2 * PAGE + 1), -EINVAL);
    assert_int_equal(map(*state, fd, PAGE, PAGE + 1), -EINVAL);
    assert_int_equal(map(*state, fd, 3 * PAGE, 1), -EINVAL);
    assert_int_equal(map(*state, fd, UINT64_MAX, 1), -EINVAL);
    assert_int_equal(map(*state, fd, UINT64_MAX - 1, PAGE), -EINVAL);
    assert_int_equal(map(*state, fd, 0, 1ull << 63), -EINVAL);
    assert_int_equal(map(*state, fd, 0, 0), -EINVAL);
    assert_int_equal(((struct guest_memory *)*state)->region_count, 0);
    assert_int_equal(map(*state, fd, PAGE, PAGE), 0);
    close(fd);
}

static void VU_MEM_02_unaligned_offset_is_found_in_the_file(void **state)
{
    int fd = file_of(2 * PAGE);
    const char text[] = "behind an unaligned offset";
    uint8_t *at;

    assert_int_equal(pwrite(fd, text, sizeof(text), PAGE + 0x230), sizeof(text));
    assert_int_equal(map(*state, fd, 0x230, PAGE + 0x400), 0);
    close(fd); /* the mapping outlives the descriptor */
    at = guest_memory_pointer(*state, 0x100000 + PAGE, sizeof(text), MEMORY_WRITE);
    assert_non_null(at);
    assert_memory_equal(at, text, sizeof(text));
    assert_null(guest_memory_pointer(*state, 0x100000 + PAGE + 0x400, 1, MEMORY_READ));
}

static void VU_SEC_04_what_is_no_memory_file_is_refused(void **state)
{
    int ends[2];
    int directory = open("/tmp", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(map(*state, ends[0], 0, PAGE) < 0);
    assert_true(map(*state, directory, 0, PAGE) < 0);
    assert_true(map(*state, null, 0, PAGE) < 0);
    assert_true(map(*state, -1, 0, PAGE) < 0);
    assert_int_equal(((struct guest_memory *)*state)->region_count, 0);
    close(ends[0]);
    close(ends[1]);
    close(directory);
    close(null);
}

static void VU_MEM_02_read_only_file_can_not_be_guest_memory(void **state)
{
    int fd = file_of(PAGE);
    char path[64];
    int read_only;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    read_only = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read_only >= 0);
    assert_true(map(*state, read_only, 0, PAGE) < 0);
    assert_int_equal(((struct guest_memory *)*state)->region_count, 0);
    close(read_only);
    close(fd);
}

/* On a machine of 32 bits the whole pages around this region are more than the address space. */
static void VU_MEM_02_region_is_mapped_whole_or_not_at_all(void **state)
{
    struct guest_memory *memory = *state;
    uint64_t size = UINT32_MAX - 0x7ff;
    int fd = memfd_create("test", MFD_CLOEXEC);
    struct memory_file file = {.fd = fd, .offset = 0x900, .gpa = 0, .uva = 0, .size = size};
    uint8_t *last;

    assert_int_equal(ftruncate(fd, (off_t)(size + 2 * PAGE)), 0);
    if (guest_memory_map(memory, &file, NULL) == 0) {
        last = guest_memory_pointer(memory, size - 1, 1, MEMORY_WRITE);
        assert_non_null(last);
        *last = 1;
        assert_int_equal(pread(fd, &host[0], 1, (off_t)(file.offset + size - 1)), 1);
        assert_int_equal(host[0], 1);
    } else {
        assert_int_equal(memory->region_count, 0);
    }
    close(fd);
}

static void memory_copy_keeps_mappings_alive(void **state)
{
    struct guest_memory *copy;
    int fd = file_of(PAGE);
    uint8_t *at;

    assert_int_equal(map(*state, fd, 0, PAGE), 0);
    close(fd);
    assert_int_equal(guest_memory_copy(*state, &copy), 0);
    assert_int_equal(guest_memory_remove(*state, 0x100000, 0, PAGE), 0);
    at = guest_memory_pointer(copy, 0x100000, PAGE, MEMORY_WRITE);
    assert_non_null(at);
    memset(at, 1, PAGE); /* a fault here: the mapping died with the first table */
    guest_memory_free(copy);
}

/* ---- the cache ---- */

static uint64_t seed = 1;

static uint64_t random_below(uint64_t limit)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (seed >> 33) % limit;
}

/* The naive model: the length of the first piece, by looking at every region. */
static size_t model_span(const struct guest_memory *memory, uint64_t gpa, uint64_t len,
                         enum memory_access access, uint8_t **ret_hva)
{
    if (len == 0 || len - 1 > UINT64_MAX - gpa)
        return 0;
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct memory_region *region = &memory->region[i];
        uint64_t left = region->size - (gpa - region->gpa);

        if (gpa < region->gpa || gpa - region->gpa >= region->size)
            continue;
        if (access == MEMORY_WRITE && (region->flags & MEMORY_REGION_READ_ONLY))
            return 0;
        *ret_hva = region->hva + (gpa - region->gpa);
        return len < left ? len : left;
    }
    return 0;
}

static void memory_cache_agrees_with_a_naive_model(void **state)
{
    struct memory_cache cache = {0};

    for (unsigned i = 0; i < 40; i++) {
        struct memory_region region = {
            .gpa = random_below(200) * 0x100,
            .size = (1 + random_below(8)) * 0x80,
            .hva = host + random_below(8 * PAGE),
            .flags = random_below(4) == 0 ? MEMORY_REGION_READ_ONLY : 0,
        };

        guest_memory_add(*state, &region, NULL); /* overlaps are refused, which is fine */
    }
    assert_true(((struct guest_memory *)*state)->region_count > 10);
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t gpa = random_below(220 * 0x100);
        uint64_t len = random_below(0x300);
        enum memory_access access = random_below(2) ? MEMORY_WRITE : MEMORY_READ;
        uint8_t *hva = NULL;
        uint8_t *model_hva = NULL;
        size_t model;

        if (random_below(50) == 0)
            gpa = UINT64_MAX - random_below(4);
        model = model_span(*state, gpa, len, access, &model_hva);
        check(guest_memory_span(*state, &cache, gpa, len, access, &hva) == model &&
                  (model == 0 || hva == model_hva),
              "look-up %u: 0x%llx + %llu", i, (unsigned long long)gpa, (unsigned long long)len);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_refuses_empty_and_wrapping_regions),
        TEST(memory_refuses_overlap_in_either_address_space),
        TEST(memory_regions_without_user_address_never_overlap_there),
        TEST(memory_table_has_an_end),
        TEST(memory_span_ends_at_the_region),
        TEST(SPL_BAD_10_address_wraps),
        TEST(memory_adjacent_regions_are_walked_piece_by_piece),
        TEST(SPL_BAD_12_read_only_region_is_never_written),
        TEST(memory_pointer_of_nothing_is_null),
        TEST(memory_translates_user_addresses),
        TEST(memory_region_without_user_address_is_not_found_by_one),
        TEST(memory_remove_wants_exact_bounds),
        TEST(VU_MEM_02_file_must_hold_the_region),
        TEST(VU_MEM_02_unaligned_offset_is_found_in_the_file),
        TEST(VU_SEC_04_what_is_no_memory_file_is_refused),
        TEST(VU_MEM_02_read_only_file_can_not_be_guest_memory),
        TEST(VU_MEM_02_region_is_mapped_whole_or_not_at_all),
        TEST(memory_copy_keeps_mappings_alive),
        TEST(memory_cache_agrees_with_a_naive_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
