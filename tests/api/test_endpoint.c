/* SPDX-License-Identifier: MIT */
/* Endpoints of the embedder: written against vionic_endpoint.h, used like any other. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "card.h"
#include "check.h"
#include "clockwork.h"
#include "echo_endpoint.h"

enum {
    EXCHANGES = 200
};

struct bed {
    struct echo echo;
    struct card card;
};

static void bed_begin(struct bed *bed, enum vionic_threads threads,
                      const struct vionic_endpoint_ops *ops)
{
    struct vionic_nic_config config = {.endpoint_ops = ops, .endpoint_context = &bed->echo};

    echo_init(&bed->echo);
    card_open(&bed->card, threads, &config);
    card_plug(&bed->card);
}

static void bed_end(struct bed *bed)
{
    card_unplug(&bed->card);
    card_close(&bed->card);
    echo_free(&bed->echo);
    assert_int_equal(bed->echo.opened, bed->echo.closed);
}

static void exchange_many(struct card *card)
{
    for (unsigned i = 0; i < EXCHANGES; i++)
        card_exchange(card, 60 + 7 * i);
}

/* ---- packets ---------------------------------------------------------------------------- */

static void the_smallest_endpoint_moves_packets(void **state)
{
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &echo_ops);
    exchange_many(&bed.card);
    bed_end(&bed);
}

static void an_asynchronous_endpoint_moves_packets(void **state)
{
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    exchange_many(&bed.card);
    bed_end(&bed);
    assert_true(bed.echo.quiesced >= 1);
    assert_int_equal(bed.echo.queues_opened, bed.echo.queues_closed);
}

static void packets_move_without_threads(void **state)
{
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_NONE, &mirror_ops);
    exchange_many(&bed.card);
    bed_end(&bed);
    bed_begin(&bed, VIONIC_THREADS_NONE, &echo_ops);
    exchange_many(&bed.card);
    bed_end(&bed);
}

/* Frames that an endpoint holds when it is closed come back to the guest, each once. */
static void V14_held_frames_are_completed_when_the_endpoint_restarts(void **state)
{
    uint8_t frame[100] = {0x52, 0x54, 0, 0, 0, 9};
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    __atomic_store_n(&bed.echo.asleep, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < ECHO_HELD_MAX / 2; i++)
        net_driver_send(&bed.card.net, frame, sizeof(frame));
    sleep_ms(WAIT_QUIET_MS);
    assert_int_equal(net_driver_reap(&bed.card.net), 0);
    echo_raise(&bed.echo, VIONIC_ENDPOINT_EVENT_RESTART);
    net_driver_drain(&bed.card.net);
    __atomic_store_n(&bed.echo.asleep, 0, __ATOMIC_RELAXED);
    card_exchange(&bed.card, 300);
    bed_end(&bed);
    assert_int_equal(bed.echo.opened, 1);
    assert_true(bed.echo.queues_opened >= 2);
}

/* ---- control ---------------------------------------------------------------------------- */

static void what_an_endpoint_says_of_itself_is_seen(void **state)
{
    struct bed bed;
    char text[256];

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    card_wait(&bed.card, "endpoint_type", "mirror");
    card_wait(&bed.card, "endpoint_max_queues", "2");
    card_wait(&bed.card, "mtu", "4000");
    card_wait(&bed.card, "speed_mbps", "12345");
    card_wait(&bed.card, "endpoint/glass/colour", "silver");
    card_wait(&bed.card, "endpoint/glass/opened", "1");
    card_wait(&bed.card, "endpoint/glass/clean", "yes");
    card_inspect(&bed.card, "endpoint/glass/nothing", text, sizeof(text));
    assert_string_equal(text, "");
    bed_end(&bed);
    assert_int_equal(bed.echo.queue_pairs, 1);
}

static void the_guest_s_offloads_are_told(void **state)
{
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    card_exchange(&bed.card, 100);
    card_hold(&bed.card);
    assert_int_equal(bed.echo.rx_offloads, 0); /* it agreed to CSUM only, for what it sends */
    card_release(&bed.card);
    bed_end(&bed);
}

static void the_link_follows_the_endpoint(void **state)
{
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    card_wait(&bed.card, "link", "up");
    __atomic_store_n(&bed.echo.link_down, 1, __ATOMIC_RELAXED);
    echo_raise(&bed.echo, VIONIC_ENDPOINT_EVENT_LINK);
    card_wait(&bed.card, "link", "down");
    __atomic_store_n(&bed.echo.link_down, 0, __ATOMIC_RELAXED);
    echo_raise(&bed.echo, VIONIC_ENDPOINT_EVENT_LINK);
    card_wait(&bed.card, "link", "up");
    card_exchange(&bed.card, 300);
    bed_end(&bed);
}

static void an_endpoint_that_goes_away_is_opened_again(void **state)
{
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    card_exchange(&bed.card, 300);
    echo_raise(&bed.echo, VIONIC_ENDPOINT_EVENT_GONE);
    card_wait(&bed.card, "endpoint_failures", "1");
    card_wait(&bed.card, "endpoint_state", "open");
    card_exchange(&bed.card, 300);
    bed_end(&bed);
    assert_int_equal(bed.echo.opened, 2);
}

/* ---- refusals --------------------------------------------------------------------------- */

static void expect_refusal(struct vionic *vionic, const struct vionic_nic_config *config, int error,
                           const char *words)
{
    struct vionic_error err = {""};

    assert_int_equal(vionic_add_nic(vionic, config, NULL, &err), error);
    check(strstr(err.text, words) != NULL, "%s: does not say %s", err.text, words);
    assert_int_equal(vionic_add_nic(vionic, config, NULL, NULL), error);
}

static void an_endpoint_that_is_not_whole_is_refused(void **state)
{
    struct vionic_config library = {.size = sizeof(library)};
    struct vionic_endpoint_ops ops = mirror_ops;
    struct echo echo;
    struct vionic_nic_config config = {.size = sizeof(config),
                                       .socket_path = "/tmp/vionic-never",
                                       .endpoint_ops = &ops,
                                       .endpoint_context = &echo};
    struct vionic *vionic;

    (void)state;
    echo_init(&echo);
    assert_int_equal(vionic_create(&library, &vionic, NULL), 0);
    ops.send = NULL;
    expect_refusal(vionic, &config, -EINVAL, "send()");
    ops = mirror_ops;
    ops.quiesce = NULL;
    expect_refusal(vionic, &config, -EINVAL, "quiesce()");
    ops = mirror_ops;
    ops.events = NULL;
    expect_refusal(vionic, &config, -EINVAL, "events()");
    ops = mirror_ops;
    ops.kind = "tap:ifname=tap0";
    expect_refusal(vionic, &config, -EINVAL, "kind");
    ops = mirror_ops;
    ops.size = 0;
    expect_refusal(vionic, &config, -EINVAL, "sizeof(struct vionic_endpoint_ops)");
    ops = mirror_ops;
    config.endpoint = "null";
    expect_refusal(vionic, &config, -EINVAL, "one endpoint");
    config.endpoint = NULL;
    config.queue_pairs = 3;
    expect_refusal(vionic, &config, -EINVAL, "queues=2");
    config.queue_pairs = 1;
    echo.open_error = -EBUSY;
    expect_refusal(vionic, &config, -EBUSY, "mirror: the glass is broken");
    vionic_free(vionic);
    assert_int_equal(echo.opened, echo.closed);
    echo_free(&echo);
}

/* What an older header did not have ends the struct. */
static void an_older_endpoint_is_taken(void **state)
{
    struct vionic_endpoint_ops older = mirror_ops;
    struct bed bed;
    char text[64];

    (void)state;
    older.size = offsetof(struct vionic_endpoint_ops, inspect);
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &older);
    card_exchange(&bed.card, 300);
    card_inspect(&bed.card, "endpoint/glass/colour", text, sizeof(text));
    assert_string_equal(text, "");
    bed_end(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_endpoint_moves_packets),
        cmocka_unit_test(an_asynchronous_endpoint_moves_packets),
        cmocka_unit_test(packets_move_without_threads),
        cmocka_unit_test(V14_held_frames_are_completed_when_the_endpoint_restarts),
        cmocka_unit_test(what_an_endpoint_says_of_itself_is_seen),
        cmocka_unit_test(the_guest_s_offloads_are_told),
        cmocka_unit_test(the_link_follows_the_endpoint),
        cmocka_unit_test(an_endpoint_that_goes_away_is_opened_again),
        cmocka_unit_test(an_endpoint_that_is_not_whole_is_refused),
        cmocka_unit_test(an_older_endpoint_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
