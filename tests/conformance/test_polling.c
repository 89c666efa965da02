/* SPDX-License-Identifier: MIT */
/* Workers that look on at their rings: they need no kicks, keep to their budget, and rest. */
#include "check.h"
#include "clockwork.h"
#include "testbed.h"

enum {
    FRAMES = 200,
    BURST_ROUNDS = 10,
    PATIENCE_MS = 30000,
    WINDOW_NS = 100000000, /* of the budget */
};

/* The traffic goes its way, on a ring that is always looked at, and the driver is never asked for a
 * kick. */
static void goes_without_a_kick(void **state, void (*traffic)(struct testbed_nic *nic))
{
    struct testbed_options options = {.poll = "always", .workers = 1};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    unsigned kicks;

    testbed_exchange(nic, 0, 200);
    kicks = nic->ring[1]->kick_count;
    traffic(nic);
    assert_int_equal(nic->ring[1]->kick_count, kicks);
    /* Without rings there is nothing to look at. */
    front_end_close(&nic->fe);
    front_end_close(&bed->nic[BYSTANDER].fe);
    daemon_check_idle(&bed->daemon);
    daemon_stop(&bed->daemon);
}

static void lone_frames(struct testbed_nic *nic)
{
    for (unsigned i = 0; i < FRAMES; i++)
        testbed_exchange(nic, 0, 200);
}

static void bursts(struct testbed_nic *nic)
{
    for (unsigned k = 0; k < BURST_ROUNDS * NET_TX_SLOTS; k++) {
        unsigned burst = 1 + k % NET_TX_SLOTS;

        for (unsigned i = 0; i < burst; i++)
            testbed_send(nic, 60 + i);
        for (unsigned i = 0; i < burst; i++)
            testbed_receive(nic, 60 + i);
        net_driver_drain(&nic->net[0]);
    }
}

static void a_ring_that_is_always_looked_at_needs_no_kick(void **state)
{
    goes_without_a_kick(state, lone_frames);
}

/* A driver that adds frames is left alone for a moment, whatever it has added: none is left lying.
 */
static void bursts_of_any_length_are_taken_without_a_kick(void **state)
{
    goes_without_a_kick(state, bursts);
}

/* Sends a frame and waits for it without sleeping: the next one comes at once. */
static void exchange_at_once(struct testbed_nic *nic)
{
    struct net_driver *net = &nic->net[0];
    uint8_t frame[200], got[200];
    uint64_t end = now_ms() + PATIENCE_MS;

    net_frame_make(frame, sizeof(frame), nic->mac, ++nic->seed);
    net_driver_send(net, frame, sizeof(frame));
    while (net_driver_reap(net) == 0)
        assert_true(now_ms() < end);
    assert_int_equal(net_driver_receive(net, got, sizeof(got), PATIENCE_MS), sizeof(got));
    assert_memory_equal(got, frame, sizeof(got));
}

static void adaptive_polling_finds_frames_and_rests_within_its_budget(void **state)
{
    struct testbed_options options = {.poll = "adaptive", .poll_budget = "10", .workers = 1};
    struct testbed *bed = testbed_start(state, &options);
    static const char *const worker = "nic0/queues/0/worker/polling/";
    uint64_t begun = now_ms(), end = begun + PATIENCE_MS;
    uint64_t spent, elapsed_ns;
    char path[96];

    snprintf(path, sizeof(path), "%shits", worker);
    while (daemon_number(&bed->daemon, path) == 0) {
        assert_true(now_ms() < end);
        for (unsigned i = 0; i < FRAMES; i++)
            exchange_at_once(&bed->nic[VICTIM]);
    }
    snprintf(path, sizeof(path), "%sspent_ns", worker);
    spent = daemon_number(&bed->daemon, path);
    elapsed_ns = (now_ms() - begun + 1) * 1000000;
    assert_true(spent <= (elapsed_ns + 2 * WINDOW_NS) / 10);
    testbed_finish(bed); /* comes to rest */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TESTBED_TEST(a_ring_that_is_always_looked_at_needs_no_kick),
        TESTBED_TEST(bursts_of_any_length_are_taken_without_a_kick),
        TESTBED_TEST(adaptive_polling_finds_frames_and_rests_within_its_budget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
