/* SPDX-License-Identifier: MIT */
/* libvionic as its callers see it: handles, and structs that grow. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "vionic.h"

/* What a program that was built against a newer header hands in. */
struct newer_config {
    struct vionic_config known;
    uint64_t unknown;
};

static struct vionic *vionic_new(void)
{
    struct vionic_config config = {.size = sizeof(config)};
    struct vionic_error err;
    struct vionic *vionic;

    check(vionic_create(&config, &vionic, &err) == 0, "%s", err.text);
    return vionic;
}

static struct vionic_nic_config null_nic(const char *name, const char *path)
{
    return (struct vionic_nic_config){
        .size = sizeof(struct vionic_nic_config),
        .name = name,
        .socket_path = path,
        .endpoint = "null",
    };
}

static void a_newer_struct_is_taken_if_its_new_members_are_0(void **state)
{
    struct newer_config newer = {.known.size = sizeof(newer)};
    struct vionic_error err;
    struct vionic *vionic;

    (void)state;
    check(vionic_create(&newer.known, &vionic, &err) == 0, "%s", err.text);
    vionic_free(vionic);
    newer.unknown = 1ull << 63;
    vionic = NULL;
    assert_int_equal(vionic_create(&newer.known, &vionic, &err), -E2BIG);
    assert_null(vionic);
    assert_non_null(strstr(err.text, "vionic_config"));
}

static void an_older_struct_ends_early(void **state)
{
    struct vionic_config config = {
        .size = offsetof(struct vionic_config, workers),
        .workers = 100000, /* behind what the caller's header had */
        .poll_us = UINT32_MAX,
    };
    struct vionic_error err;
    struct vionic *vionic;

    (void)state;
    check(vionic_create(&config, &vionic, &err) == 0, "%s", err.text);
    vionic_free(vionic);
    config.size = sizeof(config);
    assert_int_equal(vionic_create(&config, &vionic, &err), -EINVAL);
}

static void a_size_that_was_never_set_is_refused(void **state)
{
    const size_t wrong[] = {0, 1, sizeof(size_t) - 1, 4097, SIZE_MAX};
    struct vionic_config config = {0};
    struct vionic_error err;
    struct vionic *vionic;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        config.size = wrong[i];
        assert_int_equal(vionic_create(&config, &vionic, &err), -EINVAL);
        assert_non_null(strstr(err.text, "sizeof(struct vionic_config)"));
        assert_int_equal(vionic_create(&config, &vionic, NULL), -EINVAL);
    }
}

static void a_struct_that_is_filled_in_ends_where_the_caller_said(void **state)
{
    struct vionic_endpoint_kind kind = {.size = sizeof(kind)};
    struct vionic_endpoint_kind older = {
        .size = offsetof(struct vionic_endpoint_kind, summary),
        .summary = "untouched",
    };

    (void)state;
    assert_int_equal(vionic_endpoint_kind(0, &kind), 0);
    assert_int_equal(kind.size, sizeof(kind));
    assert_non_null(kind.summary);
    assert_int_equal(vionic_endpoint_kind(0, &older), 0);
    assert_string_equal(older.kind, kind.kind);
    assert_string_equal(older.summary, "untouched");
    assert_int_equal(vionic_endpoint_kind(1000, &kind), -ENOENT);
    kind.size = 0;
    assert_int_equal(vionic_endpoint_kind(0, &kind), -EINVAL);
}

static void nics_are_handles_with_names(void **state)
{
    struct vionic *vionic = vionic_new();
    struct vionic_nic *nic[3];
    struct vionic_error err;
    char path[3][64];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path[i], sizeof(path[i]), "/tmp/vionic-api-%d-%u", (int)getpid(), i);
        struct vionic_nic_config config = null_nic(i == 1 ? "middle" : NULL, path[i]);

        check(vionic_add_nic(vionic, &config, &nic[i], &err) == 0, "%s", err.text);
        assert_int_equal(vionic_add_nic(vionic, &config, NULL, &err),
                         i == 1 ? -EEXIST : -EADDRINUSE);
    }
    assert_string_equal(vionic_nic_name(nic[0]), "nic0");
    assert_string_equal(vionic_nic_name(nic[1]), "middle");
    assert_ptr_equal(vionic_find_nic(vionic, "nic2"), nic[2]);
    vionic_remove_nic(nic[1]);
    assert_null(vionic_find_nic(vionic, "middle"));
    assert_ptr_equal(vionic_find_nic(vionic, "nic0"), nic[0]);
    assert_ptr_equal(vionic_find_nic(vionic, "nic2"), nic[2]);
    assert_int_equal(access(path[1], F_OK), -1);
    vionic_remove_nic(nic[0]);
    assert_ptr_equal(vionic_find_nic(vionic, "nic2"), nic[2]);
    vionic_remove_nic(NULL);
    vionic_free(vionic);
    vionic_free(NULL);
    assert_int_equal(access(path[2], F_OK), -1);
}

static void without_threads_there_is_nothing_to_tune(void **state)
{
    struct vionic_config config = {.size = sizeof(config), .threads = VIONIC_THREADS_NONE};
    struct vionic_error err;
    struct vionic *vionic;

    (void)state;
    config.workers = 1;
    assert_int_equal(vionic_create(&config, &vionic, &err), -EINVAL);
    config.workers = 0;
    config.poll_us = 1;
    assert_int_equal(vionic_create(&config, &vionic, &err), -EINVAL);
    config.poll_us = 0;
    config.polling = VIONIC_POLLING_ADAPTIVE;
    assert_int_equal(vionic_create(&config, &vionic, &err), -EINVAL);
    config.polling = VIONIC_POLLING_FIXED;
    config.threads = (enum vionic_threads)7;
    assert_int_equal(vionic_create(&config, &vionic, &err), -EINVAL);
}

static void polling_that_contradicts_itself_is_refused(void **state)
{
    static const struct vionic_config bad[] = {
        {.polling = (enum vionic_polling)7},
        {.polling = VIONIC_POLLING_ADAPTIVE, .poll_us = 1},
        {.polling = VIONIC_POLLING_ADAPTIVE, .poll_budget = 101},
        {.polling = VIONIC_POLLING_ALWAYS, .poll_budget = 10},
    };
    struct vionic_error err;
    struct vionic *vionic;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vionic_config config = bad[i];

        config.size = sizeof(config);
        assert_int_equal(vionic_create(&config, &vionic, &err), -EINVAL);
    }
}

/* What worker_started() saw; the workers write it, vionic_create() orders that before its return.
 */
struct starts {
    pthread_t thread[3];
    unsigned count;
    int refuses; /* what the last of them answers */
};

static int note_start(void *context, unsigned worker)
{
    struct starts *starts = context;

    starts->thread[worker] = pthread_self();
    starts->count++;
    return worker == 2 ? starts->refuses : 0;
}

static void each_worker_calls_first_what_it_is_told_to(void **state)
{
    struct starts starts = {.count = 0};
    struct vionic_config config = {.size = sizeof(config),
                                   .workers = 3,
                                   .worker_started = note_start,
                                   .worker_context = &starts};
    struct vionic_error err;
    struct vionic *vionic;

    (void)state;
    check(vionic_create(&config, &vionic, &err) == 0, "%s", err.text);
    assert_int_equal(starts.count, 3);
    assert_false(pthread_equal(starts.thread[0], starts.thread[1]));
    assert_false(pthread_equal(starts.thread[2], pthread_self()));
    vionic_free(vionic);
    starts = (struct starts){.refuses = -EACCES};
    assert_int_equal(vionic_create(&config, &vionic, &err), -EACCES);
    config.workers = 0;
    config.threads = VIONIC_THREADS_NONE;
    assert_int_equal(vionic_create(&config, &vionic, &err), -EINVAL);
}

static int is_readable(int fd)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};

    return poll(&waiting, 1, 0);
}

static void poll_ends_by_itself_or_by_its_budget(void **state)
{
    struct vionic_config config = {.size = sizeof(config), .threads = VIONIC_THREADS_NONE};
    struct vionic_nic_config nic = null_nic(NULL, "/tmp/vionic-api-poll");
    struct vionic_error err;
    struct vionic *vionic;

    (void)state;
    check(vionic_create(&config, &vionic, &err) == 0, "%s", err.text);
    check(vionic_add_nic(vionic, &nic, NULL, &err) == 0, "%s", err.text);
    assert_int_equal(is_readable(vionic_fd(vionic)), 1); /* a pair that is new has a turn */
    assert_int_equal(vionic_poll(vionic, 0), 1);
    assert_int_equal(vionic_poll(vionic, 100), 0);
    assert_int_equal(is_readable(vionic_fd(vionic)), 0);
    assert_int_equal(vionic_poll(vionic, 1), 0);
    vionic_free(vionic);
}

/* No global state: what one holds, the other does not see. */
static void two_libraries_live_side_by_side(void **state)
{
    struct vionic *one = vionic_new();
    struct vionic *other = vionic_new();
    struct vionic_nic_config config = null_nic("same", "/tmp/vionic-api-side-one");
    struct vionic_error err;

    (void)state;
    check(vionic_add_nic(one, &config, NULL, &err) == 0, "%s", err.text);
    assert_null(vionic_find_nic(other, "same"));
    config.socket_path = "/tmp/vionic-api-side-other";
    check(vionic_add_nic(other, &config, NULL, &err) == 0, "%s", err.text);
    vionic_free(one);
    assert_non_null(vionic_find_nic(other, "same"));
    assert_int_equal(vionic_dispatch(other, 0), 0);
    vionic_free(other);
}

struct lines {
    unsigned count;
    int priority;
    char text[256];
};

static void take_line(void *context, int priority, const char *text)
{
    struct lines *lines = context;

    lines->count++;
    lines->priority = priority;
    snprintf(lines->text, sizeof(lines->text), "%s", text);
}

/* A front-end that connects and goes is worth a line at priority 6. */
static void the_log_goes_where_it_is_sent(void **state)
{
    struct vionic_nic_config config = null_nic("logged", "/tmp/vionic-api-log");
    struct lines lines = {0};
    struct vionic *vionic;
    struct vionic_error err;
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/tmp/vionic-api-log"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    vionic_set_log(6, take_line, &lines);
    vionic = vionic_new();
    check(vionic_add_nic(vionic, &config, NULL, &err) == 0, "%s", err.text);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(vionic_dispatch(vionic, 1000), 0);
    assert_int_equal(lines.count, 1);
    assert_int_equal(lines.priority, 6);
    assert_string_equal(lines.text, "logged: a front-end has connected");
    vionic_set_log(4, take_line, &lines);
    close(fd);
    assert_int_equal(vionic_dispatch(vionic, 1000), 0);
    assert_int_equal(lines.count, 1);
    vionic_free(vionic);
    vionic_set_log(6, NULL, NULL);
}

static void count_enter(void *context, const char *name)
{
    unsigned *count = context;

    (void)name;
    ++*count;
}

static void inspect_calls_only_what_the_visitor_has(void **state)
{
    struct vionic *vionic = vionic_new();
    struct vionic_nic_config config = null_nic(NULL, "/tmp/vionic-api-inspect");
    unsigned entered = 0, entered_nic = 0;
    struct vionic_visitor visitor = {
        sizeof(visitor), &entered, count_enter, NULL, NULL, NULL, NULL};
    struct vionic_nic *nic;
    struct vionic_error err;

    (void)state;
    check(vionic_add_nic(vionic, &config, &nic, &err) == 0, "%s", err.text);
    assert_int_equal(vionic_inspect(vionic, &visitor), 0);
    visitor.context = &entered_nic;
    assert_int_equal(vionic_nic_inspect(nic, &visitor), 0);
    assert_true(entered > 1);
    assert_int_equal(entered, entered_nic + 1);
    visitor.size = 3;
    assert_int_equal(vionic_inspect(vionic, &visitor), -EINVAL);
    assert_int_equal(vionic_nic_inspect(nic, &visitor), -EINVAL);
    vionic_free(vionic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newer_struct_is_taken_if_its_new_members_are_0),
        cmocka_unit_test(an_older_struct_ends_early),
        cmocka_unit_test(a_size_that_was_never_set_is_refused),
        cmocka_unit_test(a_struct_that_is_filled_in_ends_where_the_caller_said),
        cmocka_unit_test(nics_are_handles_with_names),
        cmocka_unit_test(without_threads_there_is_nothing_to_tune),
        cmocka_unit_test(polling_that_contradicts_itself_is_refused),
        cmocka_unit_test(each_worker_calls_first_what_it_is_told_to),
        cmocka_unit_test(poll_ends_by_itself_or_by_its_budget),
        cmocka_unit_test(two_libraries_live_side_by_side),
        cmocka_unit_test(the_log_goes_where_it_is_sent),
        cmocka_unit_test(inspect_calls_only_what_the_visitor_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
