/* SPDX-License-Identifier: MIT */
/* endpoint.h, said again as tests: one body that runs over every kind of endpoint. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "check.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "host.h"
#include "kinds.h"

static const char *no_namespace; /* why there is none, or NULL */

/* Opens the kind that the running test is for, or skips the test. */
static const struct kind *begin(void **state, struct guest *guest)
{
    const struct kind *kind = *state;

    if ((kind->traits & KIND_NEEDS_ETHERNET) != 0 && no_namespace != NULL) {
        print_message("skipped, %s\n", no_namespace);
        skip();
    }
    if (kind->prepare != NULL)
        kind->prepare();
    guest_open(guest, kind->spec);
    guest->reads_ahead = (kind->traits & KIND_READS_AHEAD) != 0;
    return kind;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void open_and_close_leak_no_fd(void **state)
{
    struct guest guest;
    unsigned before;

    begin(state, &guest);
    guest_close(&guest);
    before = count_fds();
    for (unsigned i = 0; i < 20; i++) {
        begin(state, &guest);
        guest_close(&guest);
    }
    assert_int_equal(count_fds(), before);
}

static void unknown_option_is_refused_by_name(void **state)
{
    const struct kind *kind = *state;
    struct endpoint *endpoint = NULL;
    struct endpoint_spec spec;
    struct error err = {""};
    unsigned before = count_fds();

    assert_int_equal(endpoint_spec_parse(&spec, kind->spec, &err), 0);
    assert_int_equal(endpoint_spec_add(&spec, "colour", "blue", &err), 0);
    assert_int_equal(guest_endpoint_open(&spec, &endpoint, &err), -EINVAL);
    assert_null(endpoint);
    assert_non_null(strstr(err.text, "colour"));
    assert_non_null(strstr(err.text, spec.kind));
    endpoint_spec_clear(&spec);
    assert_int_equal(count_fds(), before);
}

static void capabilities_are_sane(void **state)
{
    const uint32_t all = ENDPOINT_OFFLOADS_ALL;
    struct endpoint_caps caps;
    struct guest guest;
    const struct endpoint_ops *ops;

    begin(state, &guest);
    ops = guest.endpoint->ops;
    memset(&caps, 0xff, sizeof(caps));
    ops->capabilities(guest.endpoint, &caps);
    assert_int_equal(caps.tx_offloads & ~all, 0);
    assert_int_equal(caps.rx_offloads & ~all, 0);
    assert_true(caps.tx_offloads == 0 || (caps.tx_offloads & ENDPOINT_CSUM) != 0);
    assert_true(caps.rx_offloads == 0 || (caps.rx_offloads & ENDPOINT_CSUM) != 0);
    assert_true(caps.queue_pairs_max >= 1 && caps.queue_pairs_max <= 32768);
    assert_true(caps.mtu <= 65535);
    assert_int_equal(ops->set_offloads(guest.endpoint, caps.rx_offloads), 0);
    assert_int_equal(ops->set_offloads(guest.endpoint, 0), 0);
    assert_true((ops->event_fd == NULL) == (ops->events == NULL));
    assert_true(ops->link_up == NULL || ops->link_up(guest.endpoint));
    guest_close(&guest);
}

static void close_takes_null(void **state)
{
    (void)state;
    endpoint_close(NULL);
}

static void queue_restarts_many_times(void **state)
{
    struct guest guest;
    const struct kind *kind = begin(state, &guest);
    unsigned fds = count_fds();

    for (unsigned i = 0; i < 10; i++) {
        guest_queue_close(&guest);
        guest_queue_open(&guest, 0);
        assert_int_equal(count_fds(), fds);
        if (kind->provoke == NULL)
            continue;
        guest_forget_frames(&guest);
        kind->provoke(&guest, 3);
        assert_true(guest_receive_until(&guest, 3, 2000) >= 3);
    }
    guest_close(&guest);
}

static void close_with_frames_waiting(void **state)
{
    struct guest guest;
    const struct kind *kind = begin(state, &guest);

    guest.buffer_count = 0;
    if (kind->provoke != NULL)
        kind->provoke(&guest, 5);
    guest_receive(&guest, 64);
    guest_queue_close(&guest);
    guest_queue_open(&guest, 0);
    guest_close(&guest);
}

/* ---- send ---------------------------------------------------------------------------------------
 */

static void frames_of_every_shape_are_taken(void **state)
{
    static const unsigned spans[] = {1, 2, 3, 17, FRAME_SPANS_MAX};
    static const uint32_t lens[] = {14,   15,   59,   60,    64,           300,
                                    1513, 1514, 9014, 65535, FRAME_LEN_MAX};
    struct guest guest;
    const struct kind *kind = begin(state, &guest);

    for (unsigned s = 0; s < ARRAY_COUNT(spans); s++) {
        for (unsigned l = 0; l < ARRAY_COUNT(lens) && lens[l] <= kind->len_max; l++) {
            struct test_frame frame;

            guest_forget_frames(&guest);
            test_frame_make(&frame, lens[l], spans[s], s + l);
            assert_int_equal(guest_send(&guest, &frame.frame, 1), 1);
            test_frame_free(&frame);
            if ((kind->traits & KIND_ECHOES) == 0)
                continue;
            assert_int_equal(guest.frame_count, 1);
            assert_int_equal(guest.frame[0].len, lens[l]);
            test_frame_check(guest.frame[0].bytes, lens[l], s + l);
        }
    }
    guest_close(&guest);
}

enum {
    BURST = 64,
};

static void bursts_are_taken_in_order(void **state)
{
    struct guest guest;
    const struct kind *kind = begin(state, &guest);
    struct test_frame frame[BURST];
    struct frame burst[BURST];

    for (unsigned i = 0; i < BURST; i++) {
        test_frame_make(&frame[i], 64 + i, 1 + i % 5, i);
        burst[i] = frame[i].frame;
    }
    assert_int_equal(guest_send(&guest, burst, 0), 0);
    assert_int_equal(guest_send(&guest, burst, BURST), BURST);
    if ((kind->traits & KIND_ECHOES) != 0) {
        assert_int_equal(guest.frame_count, BURST);
        for (unsigned i = 0; i < BURST; i++) {
            assert_int_equal(guest.frame[i].len, 64 + i);
            test_frame_check(guest.frame[i].bytes, 64 + i, i);
        }
    }
    for (unsigned i = 0; i < BURST; i++)
        test_frame_free(&frame[i]);
    guest_close(&guest);
}

/* A guest without receive buffers: what is not taken now is taken when it has given some. */
static void frames_not_taken_are_taken_later(void **state)
{
    struct guest guest;
    const struct kind *kind = begin(state, &guest);
    struct test_frame frame[10];
    struct frame burst[10];
    unsigned taken = 0;

    for (unsigned i = 0; i < 10; i++) {
        test_frame_make(&frame[i], 1000, 2, i);
        burst[i] = frame[i].frame;
    }
    for (guest.buffer_count = 0; taken < 10; guest.buffer_count = 3) {
        unsigned n = guest_send(&guest, burst + taken, 10 - taken);

        if ((kind->traits & KIND_ECHOES) != 0)
            assert_int_equal(n, MIN(guest.reserve_count == 1 ? 0u : 3u, 10 - taken));
        taken += n;
        guest_receive(&guest, 64);
        assert_true(guest.reserve_count < 100);
    }
    for (unsigned i = 0; (kind->traits & KIND_ECHOES) != 0 && i < 10; i++)
        test_frame_check(guest.frame[i].bytes, 1000, i);
    for (unsigned i = 0; i < 10; i++)
        test_frame_free(&frame[i]);
    guest_close(&guest);
}

/* ---- receive ------------------------------------------------------------------------------------
 */

/* So many frames wait for a guest that has no buffers yet; 0: this kind makes none, and the guest
 * is closed. */
static int begin_with_frames(void **state, struct guest *guest, unsigned count)
{
    const struct kind *kind = begin(state, guest);

    if (kind->provoke == NULL || guest->endpoint->ops->receive == NULL) {
        guest_close(guest);
        return 0;
    }
    guest->buffer_count = 0;
    kind->provoke(guest, count);
    return 1;
}

static void receive_keeps_to_its_budget(void **state)
{
    struct guest guest;

    if (!begin_with_frames(state, &guest, 10))
        return;
    guest.buffer_count = GUEST_NO_LIMIT;
    assert_true(guest_wait(&guest, 1000));
    assert_int_equal(guest_receive(&guest, 0), 0);
    assert_int_equal(guest.frame_count, 0);
    while (guest.frame_count < 3) {
        assert_true(guest_wait(&guest, 1000));
        assert_true(guest_receive(&guest, 1) <= 1);
    }
    assert_int_equal(guest.frame_count, 3);
    while (guest.frame_count < 7) {
        assert_true(guest_wait(&guest, 1000));
        assert_true(guest_receive(&guest, 4) <= 4);
    }
    assert_true(guest_receive_until(&guest, 10, 2000) >= 10);
    guest_close(&guest);
}

static void no_room_loses_no_frame(void **state)
{
    struct guest guest;

    if (!begin_with_frames(state, &guest, 20))
        return;
    for (unsigned i = 0; i < 5; i++) {
        assert_true(guest_wait(&guest, 1000));
        guest_receive(&guest, 64);
    }
    assert_int_equal(guest.frame_count, 0);
    assert_int_equal(guest.drop_count, 0);
    assert_true(guest.again_count >= 1);
    assert_true(guest_wait(&guest, 1000)); /* level: they still wait */
    while (guest.frame_count < 20) {
        unsigned before = guest.frame_count;

        guest.buffer_count = 3;
        assert_true(guest_wait(&guest, 1000));
        guest_receive(&guest, 64);
        assert_in_range(guest.frame_count, before, before + 3);
    }
    assert_int_equal(guest.drop_count, 0);
    guest_close(&guest);
}

static void refusals_drop_and_count(void **state)
{
    static const int refusals[] = {-EMSGSIZE, -ENETDOWN};
    struct guest guest;
    const struct kind *kind = begin(state, &guest);

    for (unsigned r = 0; kind->provoke != NULL && r < ARRAY_COUNT(refusals); r++) {
        uint64_t end = clock_now_ns() + 2 * CLOCK_SECOND_NS;

        guest_forget_frames(&guest);
        guest.drop_count = 0;
        guest.refusal = refusals[r];
        kind->provoke(&guest, 5);
        while (guest.drop_count < 5 && clock_now_ns() < end) {
            if (guest_wait(&guest, 100))
                guest_receive(&guest, 64);
        }
        assert_true(guest.drop_count >= 5);
        assert_int_equal(guest.frame_count, 0);
        guest.refusal = 0;
        kind->provoke(&guest, 5);
        assert_true(guest_receive_until(&guest, 5, 2000) >= 5);
    }
    guest_close(&guest);
}

static void large_buffers_and_small_ones(void **state)
{
    static const uint32_t lens[] = {20, 64, 128, 1526, 70000};
    struct guest guest;
    const struct kind *kind = begin(state, &guest);

    for (unsigned i = 0; kind->provoke != NULL && i < ARRAY_COUNT(lens); i++) {
        guest_forget_frames(&guest);
        guest.buffer_len = lens[i];
        kind->provoke(&guest, 4);
        assert_true(guest_receive_until(&guest, 4, 2000) >= 4);
    }
    guest_close(&guest);
}

/* ---- waiting ------------------------------------------------------------------------------------
 */

/* Counts how often an idle queue would wake its worker in 300 ms. */
static void idle_queue_does_not_spin(void **state)
{
    struct guest guest;
    const struct kind *kind = begin(state, &guest);
    uint64_t end = clock_now_ns() + 300 * CLOCK_MILLISECOND_NS;
    unsigned wakes = 0;

    if ((kind->traits & KIND_ENDLESS) == 0 && kind->provoke != NULL) {
        kind->provoke(&guest, 5);
        assert_true(guest_receive_until(&guest, 5, 2000) >= 5);
    }
    while ((kind->traits & KIND_ENDLESS) == 0 && clock_now_ns() < end) {
        if (!guest_wait(&guest, 50))
            continue;
        wakes++;
        guest_receive(&guest, 64);
    }
    assert_in_range(wakes, 0, 5);
    guest_close(&guest);
}

static void wait_fd_is_stable(void **state)
{
    struct guest guest;
    const struct kind *kind = begin(state, &guest);
    int fd = guest.endpoint->ops->wait_fd(guest.queue);

    if (kind->provoke != NULL) {
        kind->provoke(&guest, 2);
        guest_receive_until(&guest, 2, 2000);
    }
    assert_int_equal(guest.endpoint->ops->wait_fd(guest.queue), fd);
    guest_close(&guest);
}

/* ---- inspect ------------------------------------------------------------------------------------
 */

struct depth {
    int now;
    unsigned names;
};

static void depth_name(void *context, const char *name)
{
    struct depth *depth = context;

    assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(name));
    depth->names++;
}

static void depth_enter(void *context, const char *name)
{
    depth_name(context, name);
    ((struct depth *)context)->now++;
}

static void depth_leave(void *context)
{
    ((struct depth *)context)->now--;
}

static void depth_text(void *context, const char *name, const char *value)
{
    depth_name(context, name);
    assert_non_null(value);
}

static void depth_number(void *context, const char *name, uint64_t value, enum inspect_style style)
{
    (void)value;
    (void)style;
    depth_name(context, name);
}

static void depth_flag(void *context, const char *name, int value)
{
    (void)value;
    depth_name(context, name);
}

static void inspect_is_balanced_and_lower_case(void **state)
{
    static const struct inspect_ops ops = {depth_enter, depth_leave, depth_text, depth_number,
                                           depth_flag};
    struct depth depth = {0};
    struct inspect visitor = {&ops, &depth};
    struct guest guest;

    begin(state, &guest);
    if (guest.endpoint->ops->inspect != NULL) {
        guest.endpoint->ops->inspect(guest.endpoint, &visitor);
        assert_true(depth.names > 0);
    }
    assert_int_equal(depth.now, 0);
    guest_close(&guest);
}

/* ---- the run ------------------------------------------------------------------------------------
 */

#define CONTRACT_TEST(f)                                                                           \
    {                                                                                              \
#f, f                                                                                      \
    }

static const struct {
    const char *name;
    CMUnitTestFunction run;
} contract_tests[] = {
    CONTRACT_TEST(open_and_close_leak_no_fd),
    CONTRACT_TEST(unknown_option_is_refused_by_name),
    CONTRACT_TEST(capabilities_are_sane),
    CONTRACT_TEST(close_takes_null),
    CONTRACT_TEST(queue_restarts_many_times),
    CONTRACT_TEST(close_with_frames_waiting),
    CONTRACT_TEST(frames_of_every_shape_are_taken),
    CONTRACT_TEST(bursts_are_taken_in_order),
    CONTRACT_TEST(frames_not_taken_are_taken_later),
    CONTRACT_TEST(receive_keeps_to_its_budget),
    CONTRACT_TEST(no_room_loses_no_frame),
    CONTRACT_TEST(refusals_drop_and_count),
    CONTRACT_TEST(large_buffers_and_small_ones),
    CONTRACT_TEST(idle_queue_does_not_spin),
    CONTRACT_TEST(wait_fd_is_stable),
    CONTRACT_TEST(inspect_is_balanced_and_lower_case),
};

enum {
    TEST_COUNT = ARRAY_COUNT(contract_tests),
};

static int run_kind(const struct kind *kind)
{
    struct CMUnitTest tests[TEST_COUNT];
    char names[TEST_COUNT][96];

    for (unsigned i = 0; i < TEST_COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "%s: %s", kind->name, contract_tests[i].name);
        tests[i] = (struct CMUnitTest){
            .name = names[i],
            .test_func = contract_tests[i].run,
            .initial_state = (void *)kind,
        };
    }
    return _cmocka_run_group_tests(kind->name, tests, TEST_COUNT, NULL, NULL);
}

int main(void)
{
    int failed = 0;

    no_namespace = host_enter_namespace();
    for (unsigned i = 0; i < kind_count; i++)
        failed += run_kind(&kinds[i]);
    return failed;
}
