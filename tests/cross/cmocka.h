/* SPDX-License-Identifier: MIT */
/*
 * As much of cmocka as the unit tests use, for machines that Debian has no cmocka for: the same
 * names, the same order of set-up, test and tear-down, results as TAP.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef void (*cross_test_fn)(void **state);
typedef int (*cross_fixture_fn)(void **state);

struct CMUnitTest {
    const char *name;
    cross_test_fn test;
    cross_fixture_fn setup; /* NULL: none */
    cross_fixture_fn teardown;
    void *initial_state;
};

#define cmocka_unit_test(f)                                                                        \
    {                                                                                              \
#f, f, NULL, NULL, NULL                                                                    \
    }
#define cmocka_unit_test_setup_teardown(f, s, t)                                                   \
    {                                                                                              \
#f, f, s, t, NULL                                                                          \
    }
#define cmocka_run_group_tests(group, s, t)                                                        \
    cross_run(group, sizeof(group) / sizeof((group)[0]), s, t)

int cross_run(const struct CMUnitTest *tests, size_t count, cross_fixture_fn setup,
              cross_fixture_fn teardown);
/* Ends the running test. */
_Noreturn void cross_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends it too, and it counts as passed: it says why it can't be tried on an emulator. */
_Noreturn void cross_skip(void);
void cross_equal(const char *file, int line, unsigned long long a, unsigned long long b);
void cross_memory_equal(const char *file, int line, const void *a, const void *b, size_t len);
void cross_string_equal(const char *file, int line, const char *a, const char *b);

#define fail_msg(...) cross_fail(__FILE__, __LINE__, __VA_ARGS__)
#define fail()        cross_fail(__FILE__, __LINE__, "failed")
#define skip()        cross_skip()
#define assert_true(c)                                                                             \
    do {                                                                                           \
        if (!(c))                                                                                  \
            cross_fail(__FILE__, __LINE__, "%s", #c);                                              \
    } while (0)
#define assert_false(c)            assert_true(!(c))
#define assert_null(p)             assert_true((p) == NULL)
#define assert_non_null(p)         assert_true((p) != NULL)
#define assert_ptr_equal(a, b)     assert_true((const void *)(a) == (const void *)(b))
#define assert_ptr_not_equal(a, b) assert_true((const void *)(a) != (const void *)(b))
#define assert_in_range(v, least, most)                                                            \
    assert_true((unsigned long long)(v) >= (unsigned long long)(least) &&                          \
                (unsigned long long)(v) <= (unsigned long long)(most))
#define assert_return_code(code, error) assert_true((code) >= 0)
#define assert_int_equal(a, b)                                                                     \
    cross_equal(__FILE__, __LINE__, (unsigned long long)(a), (unsigned long long)(b))
#define assert_int_not_equal(a, b)   assert_true((unsigned long long)(a) != (unsigned long long)(b))
#define test_malloc(n)               malloc(n)
#define test_free(p)                 free(p)
#define assert_memory_equal(a, b, n) cross_memory_equal(__FILE__, __LINE__, a, b, n)
#define assert_string_equal(a, b)    cross_string_equal(__FILE__, __LINE__, a, b)
