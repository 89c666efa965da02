/* SPDX-License-Identifier: MIT */
/* Another endpoint behind a card that runs, through the library: endpoints of the embedder, of the
 * catalog, and from one to the other. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "card.h"
#include "check.h"
#include "clockwork.h"
#include "echo_endpoint.h"

struct bed {
    struct echo first, second;
    struct card card;
};

static void bed_begin(struct bed *bed, enum vionic_threads threads,
                      const struct vionic_endpoint_ops *ops)
{
    struct vionic_nic_config config = {.endpoint_ops = ops, .endpoint_context = &bed->first};

    echo_init(&bed->first);
    echo_init(&bed->second);
    card_open(&bed->card, threads, &config);
    card_plug(&bed->card);
    card_exchange(&bed->card, 100);
}

static void bed_end(struct bed *bed)
{
    card_unplug(&bed->card);
    card_close(&bed->card);
    assert_int_equal(bed->first.opened, bed->first.closed);
    assert_int_equal(bed->second.opened, bed->second.closed);
    assert_int_equal(bed->first.held_count + bed->second.held_count, 0);
    echo_free(&bed->first);
    echo_free(&bed->second);
}

static int swap(struct card *card, const struct vionic_endpoint_config *given,
                struct vionic_error *ret_err)
{
    struct vionic_endpoint_config config = *given;
    int result;

    config.size = sizeof(config);
    card_hold(card);
    result = vionic_nic_set_endpoint(card->nic, &config, ret_err);
    card_release(card);
    return result;
}

static void must_swap(struct card *card, const struct vionic_endpoint_config *config)
{
    struct vionic_error err = {""};

    check(swap(card, config, &err) == 0, "%s", err.text);
    card_wait(card, "link", "up"); /* behind the blip */
}

static void expect_refusal(struct card *card, const struct vionic_endpoint_config *config,
                           int error, const char *words)
{
    struct vionic_error err = {""};

    assert_int_equal(swap(card, config, &err), error);
    check(strstr(err.text, words) != NULL, "%s: does not say %s", err.text, words);
    card_exchange(card, 300);
}

/* ---- it goes on ---------------------------------------------------------------------------- */

static void ours_and_the_catalog_s_take_turns(void **state)
{
    static const struct vionic_option any[] = {{"rate", "1000"}};
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    for (unsigned i = 0; i < 3; i++) {
        must_swap(&bed.card, &(struct vionic_endpoint_config){.endpoint = "loopback"});
        card_wait(&bed.card, "endpoint_type", "loopback");
        card_exchange(&bed.card, 1000);
        must_swap(&bed.card,
                  &(struct vionic_endpoint_config){.ops = &echo_ops, .context = &bed.second});
        card_wait(&bed.card, "endpoint_type", "echo");
        card_exchange(&bed.card, 1000);
        must_swap(&bed.card,
                  &(struct vionic_endpoint_config){.ops = &mirror_ops, .context = &bed.second});
        card_exchange(&bed.card, 1000);
        must_swap(&bed.card,
                  &(struct vionic_endpoint_config){.ops = &mirror_ops, .context = &bed.first});
        card_exchange(&bed.card, 1000);
    }
    must_swap(&bed.card, &(struct vionic_endpoint_config){
                             .endpoint = "null:generate=300", .options = any, .option_count = 1});
    card_wait(&bed.card, "endpoint_type", "null");
    card_wait(&bed.card, "endpoint_swaps", "13");
    bed_end(&bed);
    assert_int_equal(bed.first.queues_opened, bed.first.queues_closed);
}

static void without_threads_too(void **state)
{
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_NONE, &echo_ops);
    must_swap(&bed.card,
              &(struct vionic_endpoint_config){.ops = &mirror_ops, .context = &bed.second});
    card_exchange(&bed.card, 1000);
    must_swap(&bed.card, &(struct vionic_endpoint_config){.endpoint = "loopback"});
    card_exchange(&bed.card, 1000);
    bed_end(&bed);
}

/* What the old one held is completed, each frame once; the new one never saw it. */
static void held_frames_are_completed_once(void **state)
{
    uint8_t frame[100] = {0x52, 0x54, 0, 0, 0, 9};
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    for (unsigned i = 0; i < 5; i++) {
        struct echo *old = i % 2 == 0 ? &bed.first : &bed.second;
        struct echo *next = i % 2 == 0 ? &bed.second : &bed.first;

        __atomic_store_n(&old->asleep, 1, __ATOMIC_RELAXED);
        for (unsigned j = 0; j < ECHO_HELD_MAX / 2; j++)
            net_driver_send(&bed.card.net, frame, sizeof(frame));
        sleep_ms(WAIT_QUIET_MS);
        assert_int_equal(net_driver_reap(&bed.card.net), 0);
        must_swap(&bed.card, &(struct vionic_endpoint_config){.ops = &mirror_ops, .context = next});
        net_driver_drain(&bed.card.net);
        __atomic_store_n(&old->asleep, 0, __ATOMIC_RELAXED);
        card_exchange(&bed.card, 300);
    }
    bed_end(&bed);
}

/* It went away and is waited for; another one ends the wait. */
static void one_that_has_gone_is_replaced(void **state)
{
    struct bed bed;

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    bed.first.open_error = -EBUSY;
    echo_raise(&bed.first, VIONIC_ENDPOINT_EVENT_GONE);
    card_wait(&bed.card, "endpoint_error",
              "endpoint mirror: the glass is broken; take another one");
    card_wait(&bed.card, "endpoint_state", "gone");
    card_wait(&bed.card, "link", "down");
    must_swap(&bed.card,
              &(struct vionic_endpoint_config){.ops = &mirror_ops, .context = &bed.second});
    card_wait(&bed.card, "endpoint_state", "open");
    card_wait(&bed.card, "endpoint_error", "");
    card_exchange(&bed.card, 300);
    bed_end(&bed);
    assert_int_equal(bed.first.opened, 1);
}

/* A swap that fails leaves what it found: an endpoint that is waited for, and a link that is down.
 */
static void one_that_waits_goes_on_waiting(void **state)
{
    struct vionic_error err = {""};
    struct bed bed;
    struct vionic_endpoint_config config = {.ops = &mirror_ops, .context = &bed.second};

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    bed.second.queue_error = -ENFILE;
    bed.first.queue_error = -ENFILE;
    echo_raise(&bed.first, VIONIC_ENDPOINT_EVENT_RESTART);
    card_wait(&bed.card, "endpoint_state", "unconnected");
    assert_int_equal(swap(&bed.card, &config, &err), -EIO);
    card_wait(&bed.card, "link", "down");
    bed.first.queue_error = 0;
    card_wait(&bed.card, "endpoint_state", "open");
    card_wait(&bed.card, "link", "up");
    card_exchange(&bed.card, 300);
    bed.first.open_error = -EBUSY;
    echo_raise(&bed.first, VIONIC_ENDPOINT_EVENT_GONE);
    card_wait(&bed.card, "endpoint_state", "gone");
    assert_int_equal(swap(&bed.card, &config, &err), -EIO);
    card_wait(&bed.card, "link", "down");
    bed.first.open_error = 0;
    card_wait(&bed.card, "endpoint_state", "open");
    card_wait(&bed.card, "link", "up");
    card_exchange(&bed.card, 300);
    bed_end(&bed);
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void what_is_refused_changes_nothing(void **state)
{
    struct bed bed;
    struct vionic_endpoint_config config = {.ops = &mirror_ops, .context = &bed.second};

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &echo_ops);
    bed.second.open_error = -EBUSY;
    expect_refusal(&bed.card, &config, -EBUSY, "the glass is broken");
    bed.second.open_error = 0;
    bed.second.queue_error = -ENFILE;
    expect_refusal(&bed.card, &config, -EIO, "endpoint mirror: queue pair 0: the frame is bent");
    bed.second.queue_error = 0;
    /* The driver agreed to leave checksums to the card, and mirror is asynchronous. */
    bed.second.lacks = VIONIC_ENDPOINT_CSUM | VIONIC_ENDPOINT_TSO4;
    expect_refusal(&bed.card, &config, -EOPNOTSUPP, "mirror: it lacks csum");
    config.endpoint = "null";
    expect_refusal(&bed.card, &config, -EINVAL, "one endpoint");
    expect_refusal(&bed.card, &(struct vionic_endpoint_config){0}, -EINVAL, "no endpoint is named");
    expect_refusal(&bed.card, &(struct vionic_endpoint_config){.endpoint = "nul"}, -EINVAL,
                   "no endpoint kind 'nul'");
    bed_end(&bed);
}

/* What comes back with less than was promised is not taken; it is asked again and again. */
static void one_that_comes_back_with_less_waits(void **state)
{
    struct bed bed;
    char error[256];

    (void)state;
    bed_begin(&bed, VIONIC_THREADS_WORKERS, &mirror_ops);
    bed.first.lacks = VIONIC_ENDPOINT_TSO4; /* nobody agreed to that */
    echo_raise(&bed.first, VIONIC_ENDPOINT_EVENT_GONE);
    card_wait(&bed.card, "endpoint_failures", "1");
    card_wait(&bed.card, "endpoint_state", "open");
    card_exchange(&bed.card, 300);
    bed.first.lacks = VIONIC_ENDPOINT_TSO4 | VIONIC_ENDPOINT_CSUM;
    echo_raise(&bed.first, VIONIC_ENDPOINT_EVENT_GONE);
    card_wait(&bed.card, "endpoint_tries", "2");
    card_wait(&bed.card, "endpoint_state", "gone");
    card_inspect(&bed.card, "endpoint_error", error, sizeof(error));
    check(strstr(error, "it lacks csum") != NULL, "%s", error);
    bed.first.lacks = 0;
    card_wait(&bed.card, "endpoint_state", "open");
    card_exchange(&bed.card, 300);
    bed_end(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ours_and_the_catalog_s_take_turns),
        cmocka_unit_test(without_threads_too),
        cmocka_unit_test(held_frames_are_completed_once),
        cmocka_unit_test(one_that_has_gone_is_replaced),
        cmocka_unit_test(one_that_waits_goes_on_waiting),
        cmocka_unit_test(what_is_refused_changes_nothing),
        cmocka_unit_test(one_that_comes_back_with_less_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
