/* SPDX-License-Identifier: MIT */
/*
 * A long day (soak.h). SOAK_SECONDS says how long, SOAK_SEED what happens; the seed is printed, so
 * that a bad day can be had again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "check.h"
#include "clockwork.h"
#include "host.h"
#include "soak.h"

#define MODERN (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

enum {
    SECONDS = 20,
    CHECK_EVERY = 12, /* events */
};

static const char *no_namespace; /* why there is none, or NULL */

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

static void cards_make(struct soak *soak)
{
    const struct testbed_options options[SOAK_CARDS] = {
        {.nic = "endpoint=loopback", .features = MODERN, .mergeable = 1},
        {.nic = "endpoint=loopback",
         .features = MODERN | VIRTIO_F_RING_PACKED,
         .mergeable = 1,
         .start = front_end_start_dpdk},
        {.nic = "queues=2,endpoint=loopback",
         .features = MODERN,
         .pairs = 2,
         .mergeable = 1,
         .queue_size = 128,
         .start = front_end_start_cloud_hypervisor},
        {.nic = "endpoint=loopback",
         .features = MODERN | VIRTIO_F_RING_PACKED | VIRTIO_F_IN_ORDER,
         .mergeable = 1,
         .queue_size = 256},
    };

    soak->bed->daemon.workers = 3;
    snprintf(soak->bed->daemon.sandbox, sizeof(soak->bed->daemon.sandbox), "tap,user,stream,%s",
             soak->bed->daemon.directory);
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_card_init(soak, i, &options[i]);
}

static void tell(const struct soak *soak, uint64_t begin, unsigned events)
{
    print_message("soak: %" PRIu64 " s, %u events, %u checks, %u daemons\n",
                  (now_ms() - begin) / 1000, events, soak->checks, soak->daemons);
    soak_events_tell();
    print_message("soak: %" PRIu64 " frames out, %" PRIu64 " in, %" PRIu64
                  " from card to card; frames moved again after %" PRIu64 " ms at the most\n",
                  soak->frames_out, soak->frames_in, soak->switched_in, soak->longest_ms);
    print_message("soak: %u fds, %u mappings, %" PRIu64 " KiB at first, %" PRIu64
                  " KiB at the most\n",
                  soak->fds, soak->maps, soak->rss_kib, soak->rss_most_kib);
}

static void a_long_day(void **state)
{
    uint64_t seconds = from_environment("SOAK_SECONDS", SECONDS);
    uint64_t seed = now_ms() ^ (uint64_t)(uintptr_t)state << 20;
    static struct soak day;
    struct soak *soak = &day;
    uint64_t begin = now_ms();
    unsigned events = 0;

    if (no_namespace != NULL)
        skip();
    seed = from_environment("SOAK_SEED", seed % 1000000 + 1);
    print_message("soak: SEED=%" PRIu64 " TIME=%" PRIu64 "\n", seed, seconds);
    soak->random = seed * 0x9e3779b97f4a7c15ull;
    soak->bed = *state;
    cards_make(soak);
    daemon_start(&soak->bed->daemon);
    soak->daemons = 1;
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_card_plug(&soak->card[i]);
    soak_run_for(soak, 200);
    soak_check(soak);
    while (now_ms() - begin < seconds * 1000) {
        soak_event(soak);
        if (++events % CHECK_EVERY == 0)
            soak_check(soak);
    }
    soak_check(soak);
    soak_forget_counters(soak);
    tell(soak, begin, events);
    daemon_stop(&soak->bed->daemon);
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_card_free(&soak->card[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TESTBED_TEST(a_long_day)};

    setvbuf(stdout, NULL, _IOLBF, 0);
    setenv("ASAN_OPTIONS", "quarantine_size_mb=8", 0); /* else what was freed counts as kept */
    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("skipping: %s\n", no_namespace);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
