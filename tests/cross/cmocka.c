/* SPDX-License-Identifier: MIT */
#include "cmocka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf back; /* where the running test or fixture ends when it fails, or skips itself */

enum {
    BACK_FAILED = 1,
    BACK_SKIPPED,
};

void cross_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    printf("# %s:%d: ", file, line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    longjmp(back, BACK_FAILED);
}

void cross_skip(void)
{
    longjmp(back, BACK_SKIPPED);
}

void cross_equal(const char *file, int line, unsigned long long a, unsigned long long b)
{
    if (a != b)
        cross_fail(file, line, "0x%llx != 0x%llx", a, b);
}

void cross_memory_equal(const char *file, int line, const void *a, const void *b, size_t len)
{
    if (memcmp(a, b, len) != 0)
        cross_fail(file, line, "%zu bytes differ", len);
}

void cross_string_equal(const char *file, int line, const char *a, const char *b)
{
    if (strcmp(a, b) != 0)
        cross_fail(file, line, "\"%s\" != \"%s\"", a, b);
}

/* 1: it came to its end and, being a fixture, said 0. */
static int fixture_run(cross_fixture_fn fixture, void **state)
{
    if (fixture == NULL)
        return 1;
    return setjmp(back) == 0 && fixture(state) == 0;
}

static int test_run(const struct CMUnitTest *test, void **state)
{
    volatile int good = 1;

    if (!fixture_run(test->setup, state))
        return 0;
    switch (setjmp(back)) {
    case 0:
        test->test(state);
        break;
    case BACK_FAILED:
        good = 0;
        break;
    default: /* skipped */
        break;
    }
    return fixture_run(test->teardown, state) && good;
}

int cross_run(const struct CMUnitTest *tests, size_t count, cross_fixture_fn setup,
              cross_fixture_fn teardown)
{
    void *group_state = NULL;
    int failed = 0;

    printf("1..%zu\n", count);
    if (!fixture_run(setup, &group_state)) {
        printf("Bail out! the group's set-up failed\n");
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        void *state = tests[i].setup == NULL ? group_state : tests[i].initial_state;
        int good = test_run(&tests[i], &state);

        printf("%s %zu - %s\n", good ? "ok" : "not ok", i + 1, tests[i].name);
        failed += !good;
    }
    return failed + !fixture_run(teardown, &group_state);
}
