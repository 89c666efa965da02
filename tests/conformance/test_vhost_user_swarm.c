/* SPDX-License-Identifier: MIT */
/*
 * Twenty NICs in one daemon, one of them with a front-end that means harm, in every way that
 * hostile_moves.c knows. The nineteen others move frames all the while: none is lost, none takes
 * long. Then the other way round: of twenty, four mean no harm.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "hostile_moves.h"

enum {
    NICS = 20,
    GOOD = NICS - 1,
    BAD = NICS - 1, /* index: the last */
    THREADS = 2,
    QUIET_MS = 1000,
    HOSTILE_MS = 7000,
    LATENCY_MAX_MS = 2000, /* of a frame there and back, on a machine that does much else */
    FRAME_MAX = 1514,
    FEW = 4,          /* good ones among the bad: the last of them asks, the others carry */
    MOVES_OF_ALL = 5, /* the first moves flood with messages that are right */
    ALL_BAD_MS = 5000,
    SETTLE_FDS = 1, /* a control client that is just going */
};

/* Some of the good NICs, in turn. Written by its thread; `worst_ms` is begun anew by the test. */
struct carrier {
    struct testbed_nic *nic; /* borrowed: an array */
    unsigned count;
    _Atomic int ends;
    _Atomic unsigned frames;
    _Atomic unsigned worst_ms;
    const char *_Atomic wrong; /* NULL: nothing */
    unsigned wrong_nic;
};

struct swarm {
    struct testbed *bed; /* borrowed */
    struct carrier carrier[THREADS];
    pthread_t thread[THREADS];
};

/* NULL: the frame came back as it went out. */
static const char *carry(struct testbed_nic *nic)
{
    static _Thread_local uint8_t sent[FRAME_MAX], got[NET_FRAME_MAX];
    uint32_t len = 60 + ++nic->seed * 131 % (FRAME_MAX - 60);
    uint64_t end = now_ms() + WAIT_LONG_MS;

    net_frame_make(sent, len, nic->mac, nic->seed);
    net_driver_send(&nic->net[0], sent, len);
    if (net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS) != (int)len)
        return "a frame was lost";
    if (memcmp(sent, got, len) != 0)
        return "a frame came back different";
    while (nic->net[0].tx_free_count < NET_TX_SLOTS) {
        if (net_driver_reap(&nic->net[0]) == 0 && now_ms() > end)
            return "a sent buffer never came back";
    }
    return NULL;
}

static void *carrier_run(void *context)
{
    struct carrier *carrier = context;

    for (unsigned i = 0; !carrier->ends && carrier->wrong == NULL; i = (i + 1) % carrier->count) {
        uint64_t begin = now_ms();

        carrier->wrong_nic = carrier->nic[i].index;
        carrier->wrong = carry(&carrier->nic[i]);
        carrier->frames++;
        if (now_ms() - begin > carrier->worst_ms)
            carrier->worst_ms = (unsigned)(now_ms() - begin);
    }
    return NULL;
}

static void swarm_start(struct swarm *swarm, unsigned good)
{
    struct testbed_options options = {0};

    for (unsigned i = 0; i < NICS; i++)
        testbed_prepare_nic(swarm->bed, i, &options);
    swarm->bed->daemon.workers = 2; /* so that the bad one shares its worker */
    daemon_start(&swarm->bed->daemon);
    for (unsigned i = 0; i < NICS; i++)
        testbed_connect(&swarm->bed->nic[i]);
    for (unsigned i = 0; i < THREADS; i++) {
        struct carrier *carrier = &swarm->carrier[i];

        carrier->nic = &swarm->bed->nic[i * good / THREADS];
        carrier->count = (i + 1) * good / THREADS - i * good / THREADS;
        check(pthread_create(&swarm->thread[i], NULL, carrier_run, carrier) == 0, "no thread");
    }
}

static void swarm_check(struct swarm *swarm, const char *during)
{
    daemon_check_alive(&swarm->bed->daemon);
    for (unsigned i = 0; i < THREADS; i++)
        check(swarm->carrier[i].wrong == NULL, "%s: nic%u: %s", during, swarm->carrier[i].wrong_nic,
              swarm->carrier[i].wrong);
}

struct figures {
    unsigned frames, worst_ms;
};

static struct figures swarm_figures(struct swarm *swarm)
{
    struct figures figures = {0};

    for (unsigned i = 0; i < THREADS; i++) {
        figures.frames += atomic_exchange(&swarm->carrier[i].frames, 0);
        if (swarm->carrier[i].worst_ms > figures.worst_ms)
            figures.worst_ms = swarm->carrier[i].worst_ms;
        swarm->carrier[i].worst_ms = 0;
    }
    return figures;
}

static void swarm_end(struct swarm *swarm)
{
    for (unsigned i = 0; i < THREADS; i++) {
        swarm->carrier[i].ends = 1;
        pthread_join(swarm->thread[i], NULL);
    }
    swarm_check(swarm, "at the end");
}

/* Every move at least once, and on until the time is over. Returns how many. */
static unsigned be_hostile(struct swarm *swarm, unsigned *ret_control_ms)
{
    uint64_t end = now_ms() + HOSTILE_MS;
    unsigned done = 0;

    *ret_control_ms = 0;
    for (unsigned round = 0; round == 0 || now_ms() < end; round++) {
        for (unsigned i = 0; hostile_moves[i].name != NULL; i++) {
            uint64_t begin;

            hostile_moves[i].move(&swarm->bed->nic[BAD], round * 1000 + i);
            begin = now_ms();
            daemon_number(&swarm->bed->daemon, "nic0/queues/0/tx_packets");
            if (now_ms() - begin > *ret_control_ms)
                *ret_control_ms = (unsigned)(now_ms() - begin);
            swarm_check(swarm, hostile_moves[i].name);
            done++;
        }
    }
    return done;
}

static void V13_VU_SEC_12_one_hostile_front_end_among_twenty(void **state)
{
    struct swarm swarm_of_nics = {.bed = *state};
    struct swarm *swarm = &swarm_of_nics;
    struct figures quiet, hostile;
    unsigned control_ms, moves, fds;

    swarm_start(swarm, GOOD);
    sleep_ms(QUIET_MS);
    quiet = swarm_figures(swarm);
    fds = daemon_fd_count(&swarm->bed->daemon);
    moves = be_hostile(swarm, &control_ms);
    hostile = swarm_figures(swarm);
    testbed_disconnect(&swarm->bed->nic[BAD]);
    testbed_connect(&swarm->bed->nic[BAD]);
    check(carry(&swarm->bed->nic[BAD]) == NULL,
          "the next front-end of the hostile one's NIC is not served");
    swarm_end(swarm);
    print_message(
        "quiet: %u frames in %u ms, worst %u ms; hostile: %u moves, %u frames, worst %u ms, "
        "control socket %u ms\n",
        quiet.frames, QUIET_MS, quiet.worst_ms, moves, hostile.frames, hostile.worst_ms,
        control_ms);
    check(hostile.worst_ms <= LATENCY_MAX_MS, "a frame took %u ms", hostile.worst_ms);
    check(control_ms <= LATENCY_MAX_MS, "the control socket took %u ms", control_ms);
    daemon_check_fds(&swarm->bed->daemon, fds + SETTLE_FDS);
    daemon_stop(&swarm->bed->daemon);
}

/* ---- many of them ------------------------------------------------------------------------ */

struct attacker {
    struct testbed_nic *nic; /* borrowed */
    pthread_t thread;
};

static _Atomic int attack_ends;

static void *attack(void *context)
{
    struct attacker *attacker = context;

    for (unsigned i = 0; !attack_ends; i++)
        hostile_moves[(attacker->nic->index + i) % MOVES_OF_ALL].move(attacker->nic, i);
    return NULL;
}

static void note_worst(uint64_t begin_ms, unsigned *worst_ms)
{
    unsigned took_ms = (unsigned)(now_ms() - begin_ms);

    if (took_ms > *worst_ms)
        *worst_ms = took_ms;
}

/* How long the slowest of these took: a good front-end's message, a question to the daemon. */
static void ask(struct swarm *swarm, unsigned *worst_message_ms, unsigned *worst_control_ms)
{
    uint64_t begin = now_ms();
    uint64_t features;

    check(front_end_get_u64(&swarm->bed->nic[FEW - 1].fe, VU_GET_FEATURES, &features) == 0,
          "a good front-end has no answer");
    note_worst(begin, worst_message_ms);
    begin = now_ms();
    daemon_number(&swarm->bed->daemon, "nic0/queues/0/tx_packets");
    note_worst(begin, worst_control_ms);
    sleep_ms(20);
}

static uint64_t left_alone_for_others(struct swarm *swarm)
{
    uint64_t times = 0;
    char path[80];

    for (unsigned i = FEW; i < NICS; i++) {
        snprintf(path, sizeof(path), "nic%u/vhost_user/left_alone_for_others", i);
        times += daemon_number(&swarm->bed->daemon, path);
    }
    return times;
}

static void VU_SEC_12_a_few_among_many_hostile_front_ends(void **state)
{
    struct swarm swarm_of_nics = {.bed = *state};
    struct swarm *swarm = &swarm_of_nics;
    struct attacker attacker[NICS];
    unsigned message_ms = 0, control_ms = 0;
    struct figures figures;
    uint64_t end, times;

    swarm_start(swarm, FEW - 1);
    attack_ends = 0;
    for (unsigned i = FEW; i < NICS; i++) {
        attacker[i].nic = &swarm->bed->nic[i];
        check(pthread_create(&attacker[i].thread, NULL, attack, &attacker[i]) == 0, "no thread");
    }
    for (end = now_ms() + ALL_BAD_MS; now_ms() < end;)
        ask(swarm, &message_ms, &control_ms);
    times = left_alone_for_others(swarm);
    attack_ends = 1;
    for (unsigned i = FEW; i < NICS; i++)
        pthread_join(attacker[i].thread, NULL);
    figures = swarm_figures(swarm);
    swarm_end(swarm);
    print_message("%u frames, worst %u ms; messages %u ms, control socket %u ms; %llu rests\n",
                  figures.frames, figures.worst_ms, message_ms, control_ms,
                  (unsigned long long)times);
    check(figures.worst_ms <= LATENCY_MAX_MS, "a frame took %u ms", figures.worst_ms);
    check(message_ms <= LATENCY_MAX_MS, "a message took %u ms", message_ms);
    check(control_ms <= LATENCY_MAX_MS, "the control socket took %u ms", control_ms);
    daemon_stop(&swarm->bed->daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(V13_VU_SEC_12_one_hostile_front_end_among_twenty),
        TESTBED_TEST(VU_SEC_12_a_few_among_many_hostile_front_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
