/* SPDX-License-Identifier: MIT */
/*
 * The daemon is killed (SIGKILL) under checked traffic and started again, KILLS times (environment,
 * usual: see below). Its front-ends live on and go on with the same rings. And the other way round:
 * front-ends that die leave nothing behind in the daemon.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "kill_bed.h"

enum {
    KILLS_USUAL = 120,
    PROGRESS_MS = 20000, /* for some frames, on a machine that does other things too */
    BURST = 12,
    FRONT_ENDS = 1000,     /* that die */
    FRONT_ENDS_WARM = 300, /* from here on nothing may grow */
    CLIENT_CARDS = 2,
    TAKEOVERS = 12,
};

#define COMMON (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
#define NIC    "queues=2,endpoint=loopback"

/* Formats, with and without IN_ORDER, with and without an area, and all that front-ends say about
 * where a ring stands. */
static const struct card_options kinds[CARDS] = {
    {NIC, COMMON, CHAIN_DIRECT, BASE_BEHIND, 0, front_end_start_cloud_hypervisor},
    {NIC, COMMON | VIRTIO_F_RING_PACKED, CHAIN_DIRECT, BASE_FIRST, 0, front_end_start_qemu},
    {NIC, COMMON | VIRTIO_F_IN_ORDER, CHAIN_INDIRECT, BASE_FIRST, 1, front_end_start_qemu},
    {NIC, COMMON | VIRTIO_F_RING_PACKED | VIRTIO_F_IN_ORDER, CHAIN_DIRECT, BASE_FIRST, 1,
     front_end_start_qemu},
};

struct kill_bed {
    struct daemon daemon;
    struct card card[CARDS];
    unsigned cards;
};

static int setup(void **state)
{
    struct kill_bed *bed = calloc(1, sizeof(*bed));

    if (bed == NULL)
        return -1;
    daemon_init(&bed->daemon);
    *state = bed;
    return 0;
}

static int teardown(void **state)
{
    struct kill_bed *bed = *state;

    for (unsigned i = 0; i < bed->cards; i++)
        card_free(&bed->card[i]);
    daemon_free(&bed->daemon);
    free(bed);
    return 0;
}

static void add_card(struct kill_bed *bed, const struct card_options *options)
{
    card_init(&bed->card[bed->cards++], &bed->daemon, options);
}

static void pump_all(struct kill_bed *bed, unsigned most)
{
    for (unsigned c = 0; c < bed->cards; c++) {
        for (unsigned p = 0; p < CARD_PAIRS; p++)
            flow_pump(&bed->card[c].flow[p], &bed->card[c], (unsigned)rand() % (most + 1));
    }
}

/* The pair that is furthest behind the frames that it should have seen, or 0. */
static unsigned behind(const struct kill_bed *bed, uint64_t goal[CARDS][CARD_PAIRS])
{
    unsigned count = 0;

    for (unsigned c = 0; c < bed->cards; c++) {
        for (unsigned p = 0; p < CARD_PAIRS; p++)
            count += bed->card[c].flow[p].received < goal[c][p];
    }
    return count;
}

/* Traffic until every pair has received some frames more. */
static void run_some(struct kill_bed *bed)
{
    uint64_t end = now_ms() + PROGRESS_MS;
    uint64_t goal[CARDS][CARD_PAIRS];

    for (unsigned c = 0; c < bed->cards; c++) {
        for (unsigned p = 0; p < CARD_PAIRS; p++)
            goal[c][p] = bed->card[c].flow[p].received + 5 + (unsigned)rand() % 40;
    }
    while (behind(bed, goal) != 0) {
        check(now_ms() < end, "%u pairs move nothing", behind(bed, goal));
        pump_all(bed, BURST);
    }
}

static void spin_us(unsigned us)
{
    struct timespec from, now;

    clock_gettime(CLOCK_MONOTONIC, &from);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000 < us);
}

/* Numbers of this name anywhere in the tree. */
static uint64_t sum_named(const json_t *node, const char *wanted)
{
    const char *name;
    json_t *child;
    uint64_t sum = 0;

    json_object_foreach((json_t *)node, name, child)
    {
        if (json_is_integer(child) && strcmp(name, wanted) == 0)
            sum += (uint64_t)json_integer_value(child);
        else
            sum += sum_named(child, wanted);
    }
    return sum;
}

static uint64_t sum_of_all(struct kill_bed *bed, const char *name)
{
    uint64_t sum = 0;

    for (unsigned c = 0; c < bed->cards; c++) {
        char path[16];
        json_t *tree;

        snprintf(path, sizeof(path), "nic%u", c);
        tree = daemon_inspect(&bed->daemon, path);
        sum += sum_named(tree, name);
        json_decref(tree);
    }
    return sum;
}

/* No ring was made anew, and each holds all its buffers: they go round once more, in order. */
static void expect_all_there(struct kill_bed *bed)
{
    for (unsigned c = 0; c < bed->cards; c++) {
        for (unsigned p = 0; p < CARD_PAIRS; p++) {
            struct flow *flow = &bed->card[c].flow[p];
            uint64_t goal = flow->received + 2 * RING_SIZE;
            uint64_t end = now_ms() + PROGRESS_MS;

            while (flow->received < goal) {
                check(now_ms() < end, "card %u pair %u moves nothing", c, p);
                flow_pump(flow, &bed->card[c], BURST);
            }
            flow_drain(flow, &bed->card[c]);
            assert_int_equal(flow->rx_given.count, flow->rx_slots);
        }
    }
}

struct tally {
    uint64_t completed_late, taken_up, refused;
    uint64_t slowest_ms;
};

static void kill_once(struct kill_bed *bed, struct tally *tally)
{
    uint64_t begin;

    tally->completed_late += sum_of_all(bed, "completed_late");
    tally->taken_up += sum_of_all(bed, "taken_up");
    tally->refused += sum_of_all(bed, "records_refused");
    pump_all(bed, RING_SIZE);
    spin_us((unsigned)rand() % 100);
    daemon_kill(&bed->daemon);
    for (unsigned i = (unsigned)rand() % 3; i > 0; i--)
        pump_all(bed, BURST); /* drivers do not know yet */
    daemon_start(&bed->daemon);
    begin = now_ms();
    for (unsigned c = 0; c < bed->cards; c++)
        card_connect(&bed->card[c]);
    run_some(bed);
    if (now_ms() - begin > tally->slowest_ms)
        tally->slowest_ms = now_ms() - begin;
}

static uint64_t frames_received(const struct kill_bed *bed)
{
    uint64_t sum = 0;

    for (unsigned c = 0; c < bed->cards; c++) {
        for (unsigned p = 0; p < CARD_PAIRS; p++)
            sum += bed->card[c].flow[p].received;
    }
    return sum;
}

static void VU_RC_03_VU_RC_06_killed_again_and_again(void **state)
{
    struct kill_bed *bed = *state;
    const char *wanted = getenv("KILLS");
    unsigned kills = wanted != NULL ? (unsigned)atoi(wanted) : KILLS_USUAL;
    struct tally tally = {0};

    srand(wanted != NULL ? (unsigned)time(NULL) : 7);
    for (unsigned c = 0; c < CARDS; c++)
        add_card(bed, &kinds[c]);
    daemon_start(&bed->daemon);
    for (unsigned c = 0; c < CARDS; c++)
        card_connect(&bed->card[c]);
    run_some(bed);
    for (unsigned i = 0; i < kills; i++)
        kill_once(bed, &tally);
    expect_all_there(bed);
    tally.refused += sum_of_all(bed, "records_refused");
    assert_int_equal(tally.refused, 0);
    print_message(
        "%u kills of %u cards of %d pairs, %llu frames: %llu batches were shown late, the "
        "slowest card moved frames again %llu ms after the daemon answered\n",
        kills, bed->cards, CARD_PAIRS, (unsigned long long)frames_received(bed),
        (unsigned long long)tally.completed_late, (unsigned long long)tally.slowest_ms);
    daemon_stop(&bed->daemon);
}

/* ---- a daemon that took over is killed ---- */

/* Frames move until the daemon before has ended. */
static void take_over(struct kill_bed *bed)
{
    pid_t next = daemon_start_takeover(&bed->daemon, getenv("VIONIC"));
    uint64_t end = now_ms() + PROGRESS_MS;
    int status;

    while (waitpid(bed->daemon.pid, &status, WNOHANG) == 0) {
        check(now_ms() < end, "the daemon before does not end");
        pump_all(bed, BURST);
    }
    bed->daemon.pid = next;
    check(status == 0, "the daemon before ended with wait status 0x%x", (unsigned)status);
}

/* What is recorded of the rings goes over too: who starts after the kill has had it from neither
 * daemon. */
static void VU_RC_03_VU_RC_06_taken_over_and_killed(void **state)
{
    struct kill_bed *bed = *state;
    struct tally tally = {0};

    srand(11);
    for (unsigned c = 0; c < CARDS; c++)
        add_card(bed, &kinds[c]);
    daemon_start(&bed->daemon);
    for (unsigned c = 0; c < CARDS; c++)
        card_connect(&bed->card[c]);
    run_some(bed);
    for (unsigned i = 0; i < TAKEOVERS; i++) {
        for (unsigned times = 1 + (unsigned)rand() % 2; times > 0; times--)
            take_over(bed);
        if (i % 2 == 0)
            run_some(bed);
        kill_once(bed, &tally);
    }
    expect_all_there(bed);
    tally.refused += sum_of_all(bed, "records_refused");
    assert_int_equal(tally.refused, 0);
    print_message("%d daemons that had taken over were killed, %llu frames\n", TAKEOVERS,
                  (unsigned long long)frames_received(bed));
    daemon_stop(&bed->daemon);
}

/* ---- front-ends that die ---- */

/* A front-end that is a new machine each time: brought up, some frames, and gone in their midst. */
static void live_and_die(struct card *card, unsigned round)
{
    for (unsigned i = 0; i < CARD_RINGS; i++)
        card->ring[i]->ops->restart(card->ring[i]);
    for (unsigned p = 0; p < CARD_PAIRS; p++) {
        card->flow[p].rx_given.count = card->flow[p].tx_given.count = 0;
        card->flow[p].seed = 0;
    }
    if (card->area.fd > 0)
        close(card->area.fd);
    card->area.fd = -1;
    card->options.start(&card->fe, &card->setup);
    for (unsigned i = 0; i < 1 + round % 3; i++)
        flow_pump(&card->flow[0], card, BURST);
    if (round % 2)
        flow_drain(&card->flow[0], card);
    front_end_close(&card->fe);
}

static void VU_RC_01_a_thousand_front_ends_die(void **state)
{
    struct kill_bed *bed = *state;
    int listener[CLIENT_CARDS];
    unsigned clients = 0;
    unsigned fds = 0, maps = 0;
    uint64_t rss = 0;

    /* What a sanitizer keeps for later looks like a leak. */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=1:malloc_context_size=2", 0);
    for (unsigned c = 0; c < CARDS; c++) {
        struct card_options options = kinds[(c + 1) % CARDS];

        if (c >= CARDS - CLIENT_CARDS)
            options.nic = "mode=client," NIC;
        add_card(bed, &options);
    }
    for (unsigned i = 0; i < CLIENT_CARDS; i++)
        listener[i] = front_end_listen(bed->card[CARDS - CLIENT_CARDS + i].socket);
    daemon_start(&bed->daemon);
    for (unsigned round = 0; round < FRONT_ENDS; round++) {
        struct card *card = &bed->card[round % (CARDS - CLIENT_CARDS)];
        unsigned client = round % CLIENT_CARDS;

        front_end_connect(&card->fe, card->socket);
        live_and_die(card, round);
        if (wait_readable(listener[client], 0)) { /* vionic comes again when it is time */
            card = &bed->card[CARDS - CLIENT_CARDS + client];
            front_end_accept(&card->fe, listener[client]);
            live_and_die(card, round);
            clients++;
        }
        if (round == FRONT_ENDS_WARM) {
            fds = daemon_fd_count_settled(&bed->daemon);
            maps = daemon_map_count(&bed->daemon);
            rss = daemon_rss_kib(&bed->daemon);
        }
    }
    daemon_check_fds(&bed->daemon, fds + CLIENT_CARDS); /* clients may be connected, or not yet */
    assert_in_range(daemon_map_count(&bed->daemon), 0, maps + 16);
    assert_in_range(daemon_rss_kib(&bed->daemon), 0, rss + 8192);
    assert_true(clients >= 10);
    print_message(
        "%d front-ends died, and %u that were connected to: %u fds, %u maps, %lld KiB more "
        "than after %d\n",
        FRONT_ENDS, clients, daemon_fd_count(&bed->daemon) - fds,
        daemon_map_count(&bed->daemon) - maps, (long long)(daemon_rss_kib(&bed->daemon) - rss),
        FRONT_ENDS_WARM);
    daemon_stop(&bed->daemon);
    for (unsigned i = 0; i < CLIENT_CARDS; i++) {
        close(listener[i]);
        unlink(bed->card[CARDS - CLIENT_CARDS + i].socket);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(VU_RC_03_VU_RC_06_killed_again_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(VU_RC_03_VU_RC_06_taken_over_and_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(VU_RC_01_a_thousand_front_ends_die, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
