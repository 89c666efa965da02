/* SPDX-License-Identifier: MIT */
#include "soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"

enum {
    MAPS_MORE = 96,           /* arenas and stacks that come and go */
    RSS_MORE_KIB = 96 * 1024, /* a sanitizer's bookkeeping */
};

/* ---- counters ----------------------------------------------------------------------------- */

static uint64_t counted(struct soak *soak, const struct soak_card *card, unsigned pair,
                        const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "nic%u/queues/%u/%s", card->index, pair, name);
    return daemon_number(&soak->bed->daemon, path);
}

/* Every frame that the driver got back was sent or dropped for a reason; every frame that was
 * received came to the driver. Counters are written behind the rings. */
static void check_pair(struct soak *soak, struct soak_card *card, unsigned index)
{
    const struct soak_pair *pair = &card->pair[index];
    uint64_t end = now_ms() + SOAK_PATIENCE_MS;
    uint64_t out, dropped, in;

    do {
        check(now_ms() < end,
              "card %u pair %u: %" PRIu64 " frames came back, %" PRIu64 " were sent and %" PRIu64
              " dropped; %" PRIu64 " came, %" PRIu64 " are counted",
              card->index, index, pair->completed, out, dropped, pair->received, in);
        soak_card_receive(soak, card);
        out = counted(soak, card, index, "tx_packets");
        dropped = counted(soak, card, index, "tx_dropped");
        in = counted(soak, card, index, "rx_packets");
    } while (pair->completed != out + dropped || pair->received != in);
}

void soak_check_counters(struct soak *soak)
{
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_move(soak, &soak->card[i], PLACE_LOOPBACK);
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_card_drain(soak, &soak->card[i]);
    for (unsigned i = 0; i < SOAK_CARDS; i++) {
        for (unsigned j = 0; j < soak->card[i].nic->options.pairs; j++)
            check_pair(soak, &soak->card[i], j);
    }
}

void soak_forget_counters(struct soak *soak)
{
    for (unsigned i = 0; i < SOAK_CARDS; i++) {
        for (unsigned j = 0; j < SOAK_PAIRS_MAX; j++) {
            struct soak_pair *pair = &soak->card[i].pair[j];

            soak->frames_out += pair->completed;
            soak->frames_in += pair->received;
            pair->completed = pair->received = 0;
        }
    }
}

/* ---- what may not grow -------------------------------------------------------------------- */

/* All cards are on a loopback; front-ends that begin anew have given as many files as the first. */
static void check_leaks(struct soak *soak)
{
    const struct daemon *daemon = &soak->bed->daemon;
    uint64_t rss_kib;
    unsigned maps;

    for (unsigned i = 0; i < SOAK_CARDS; i++) {
        soak_card_unplug(soak, &soak->card[i]);
        soak_card_plug(&soak->card[i]);
    }
    maps = daemon_map_count(daemon);
    rss_kib = daemon_rss_kib(daemon);
    if (soak->checks == 0) {
        soak->fds = daemon_fd_count_settled(daemon);
        soak->maps = maps;
        soak->rss_kib = rss_kib;
    }
    daemon_check_fds(&soak->bed->daemon, soak->fds);
    check(maps <= soak->maps + MAPS_MORE, "%u mappings, at first %u", maps, soak->maps);
    check(rss_kib <= soak->rss_kib + RSS_MORE_KIB, "%" PRIu64 " KiB in memory, at first %" PRIu64,
          rss_kib, soak->rss_kib);
    if (rss_kib > soak->rss_most_kib)
        soak->rss_most_kib = rss_kib;
}

void soak_check(struct soak *soak)
{
    soak_check_counters(soak);
    check_leaks(soak);
    soak_check_log(soak);
    daemon_check_idle(&soak->bed->daemon);
    soak->checks++;
}

/* ---- the log ------------------------------------------------------------------------------ */

/* What was done to it is what it may complain about. */
static int has_a_cause(const char *line)
{
    static const char *const causes[] = {
        "went away; trying to open it again", /* a tap was deleted */
        "trying again",                       /* … and could not be made again at once */
        "carries packets of up to",           /* an MTU was set, then an endpoint */
    };

    for (unsigned i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        if (strstr(line, causes[i]) != NULL)
            return 1;
    }
    return 0;
}

void soak_check_log(struct soak *soak)
{
    static long read_up_to;
    FILE *file = fopen(soak->bed->daemon.log, "r");
    char *line = NULL;
    size_t room = 0;

    check(file != NULL, "no log");
    fseek(file, read_up_to, SEEK_SET);
    while (getline(&line, &room, file) > 0) {
        int bad = strstr(line, "error") != NULL || strstr(line, "Sanitizer") != NULL ||
                  (strstr(line, "warning") != NULL && !has_a_cause(line));

        check(!bad, "the daemon said: %s", line);
    }
    read_up_to = ftell(file);
    free(line);
    fclose(file);
}
