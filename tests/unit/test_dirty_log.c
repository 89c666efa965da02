/* SPDX-License-Identifier: MIT */
/* dirty_log: which bit stands for which page, where the log ends, and that no bit is lost to a
 * front-end that clears others. And the way back from host pointers, which finds the pages. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "memory/dirty_log.h"
#include "memory/guest_memory.h"

enum {
    PAGE = 4096,
    FILE_LEN = 2 * PAGE,
    ROUNDS = 200000,
};

struct log_bed {
    int fd;
    uint8_t *file;
    struct dirty_log *log;
};

static int set_up_part(struct log_bed *bed, uint64_t offset, uint64_t size)
{
    struct memory_part part = {.offset = offset, .size = size};

    bed->fd = part.fd = memfd_create("log", MFD_CLOEXEC);
    if (part.fd < 0 || ftruncate(part.fd, FILE_LEN) < 0)
        return -errno;
    bed->file = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, part.fd, 0);
    return dirty_log_create(&part, &bed->log, NULL);
}

static void tear_down(struct log_bed *bed)
{
    dirty_log_free(bed->log);
    munmap(bed->file, FILE_LEN);
    close(bed->fd);
}

static void VU_LOG_01_bit_of_a_page(void **state)
{
    struct log_bed bed;

    (void)state;
    assert_int_equal(set_up_part(&bed, 3, 100), 0);
    dirty_log_mark(bed.log, 0, 1);
    assert_int_equal(bed.file[3], 1);
    dirty_log_mark(bed.log, 11 * PAGE + 5, 100);
    assert_int_equal(bed.file[4], 1 << 3);
    dirty_log_mark(bed.log, 17 * PAGE - 1, 2); /* over a border */
    assert_int_equal(bed.file[5], 3);
    dirty_log_mark(bed.log, 24 * PAGE, 16 * PAGE); /* whole pages, and none behind them */
    assert_int_equal(bed.file[6], 0xff);
    assert_int_equal(bed.file[7], 0xff);
    assert_int_equal(bed.file[8], 0);
    dirty_log_mark(bed.log, 50 * PAGE, 0);
    assert_int_equal(bed.file[9], 0);
    tear_down(&bed);
}

static void VU_LOG_01_nothing_is_written_beyond_the_log(void **state)
{
    static const uint64_t beyond[][2] = {
        {80 * PAGE, 1},        {80 * PAGE, UINT64_MAX},  {UINT64_MAX, 1},
        {UINT64_MAX, 2},       {1ull << 63, 1ull << 63}, {UINT64_MAX - PAGE, UINT64_MAX},
        {79 * PAGE, 3 * PAGE}, /* its first page has a bit */
    };
    struct log_bed bed;
    unsigned set = 0;

    (void)state;
    assert_int_equal(set_up_part(&bed, PAGE - 5, 10), 0);
    for (unsigned i = 0; i < 7; i++) {
        assert_false(dirty_log_covers(bed.log, beyond[i][0], beyond[i][1]));
        dirty_log_mark(bed.log, beyond[i][0], beyond[i][1]);
        assert_int_equal(bed.log->outside, i + 1);
    }
    for (unsigned i = 0; i < FILE_LEN; i++)
        set += bed.file[i];
    assert_int_equal(set, 0x80);
    assert_int_equal(bed.file[PAGE + 4], 0x80);
    assert_true(dirty_log_covers(bed.log, 0, 80 * PAGE));
    assert_true(dirty_log_covers(bed.log, UINT64_MAX, 0));
    tear_down(&bed);
}

static void VU_LOG_03_log_must_lie_in_its_file(void **state)
{
    static const uint64_t bad[][2] = {
        {0, 0}, {0, FILE_LEN + 1}, {FILE_LEN, 1}, {1, UINT64_MAX}, {UINT64_MAX, 1}, {FILE_LEN, 0},
    };

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct log_bed bed = {0};

        assert_int_equal(set_up_part(&bed, bad[i][0], bad[i][1]), -EINVAL);
        tear_down(&bed);
    }
}

/* A file without blocks costs a front-end nothing, and would take this process's address space. */
static void VU_SEC_10_a_log_is_no_longer_than_memory_can_be(void **state)
{
    struct memory_part part = {.size = DIRTY_LOG_LEN_MAX + 1};
    struct dirty_log *log;

    (void)state;
    part.fd = memfd_create("log", MFD_CLOEXEC);
    assert_return_code(ftruncate(part.fd, (off_t)part.size), errno);
    assert_int_equal(dirty_log_create(&part, &log, NULL), -EINVAL);
    close(part.fd);
}

/* A front-end: clears its bit of the byte, and must find it as it left it. */
static void *clear_often(void *context)
{
    uint8_t *byte = context;

    for (unsigned i = 0; i < ROUNDS; i++) {
        __atomic_fetch_or(byte, 2, __ATOMIC_SEQ_CST);
        if (!(__atomic_fetch_and(byte, (uint8_t)~2, __ATOMIC_SEQ_CST) & 2))
            return byte;
    }
    return NULL;
}

static void VU_LOG_01_marks_are_atomic(void **state)
{
    struct log_bed bed;
    pthread_t thread;
    void *lost;

    (void)state;
    assert_int_equal(set_up_part(&bed, 0, 100), 0);
    assert_int_equal(pthread_create(&thread, NULL, clear_often, bed.file), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        dirty_log_mark(bed.log, 0, 1);
        assert_true(__atomic_fetch_and(bed.file, (uint8_t)~1, __ATOMIC_SEQ_CST) & 1);
    }
    pthread_join(thread, &lost);
    assert_null(lost);
    tear_down(&bed);
}

static void memory_way_back_from_host_pointers(void **state)
{
    static uint8_t host[3 * PAGE];
    struct memory_region low = {.gpa = 0x10000, .size = PAGE, .hva = host + PAGE};
    struct memory_region high = {.gpa = 0x40000, .size = PAGE, .hva = host};
    struct memory_cache cache = {0};
    struct guest_memory *memory;
    uint64_t gpa;

    (void)state;
    assert_int_equal(guest_memory_create(&memory), 0);
    assert_int_equal(guest_memory_hva_to_gpa(memory, &cache, host, &gpa), -EFAULT);
    assert_int_equal(guest_memory_add(memory, &low, NULL), 0);
    assert_int_equal(guest_memory_add(memory, &high, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(guest_memory_hva_to_gpa(memory, &cache, host + PAGE - 1, &gpa), 0);
        assert_int_equal(gpa, 0x40fff);
        assert_int_equal(guest_memory_hva_to_gpa(memory, &cache, host + PAGE, &gpa), 0);
        assert_int_equal(gpa, 0x10000);
        assert_int_equal(guest_memory_hva_to_gpa(memory, &cache, host + 2 * PAGE, &gpa), -EFAULT);
    }
    guest_memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(VU_LOG_01_bit_of_a_page),
        cmocka_unit_test(VU_LOG_01_nothing_is_written_beyond_the_log),
        cmocka_unit_test(VU_LOG_03_log_must_lie_in_its_file),
        cmocka_unit_test(VU_SEC_10_a_log_is_no_longer_than_memory_can_be),
        cmocka_unit_test(VU_LOG_01_marks_are_atomic),
        cmocka_unit_test(memory_way_back_from_host_pointers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
