/* SPDX-License-Identifier: MIT */
#include "soak.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "check.h"
#include "clockwork.h"
#include "host.h"

enum {
    STORM = 24, /* questions at once; the daemon serves 32 clients */
};

static struct soak_card *any_card(struct soak *soak)
{
    return &soak->card[soak_random(soak, SOAK_CARDS)];
}

static enum soak_place any_place(struct soak *soak)
{
    return (enum soak_place)soak_random(soak, PLACE_COUNT);
}

/* ---- the daemon ends and begins anew ------------------------------------------------------ */

static void all_anew(struct soak *soak)
{
    soak_forget_counters(soak);
    soak_check_log(soak);
    daemon_start(&soak->bed->daemon);
    soak->daemons++;
    for (unsigned i = 0; i < SOAK_CARDS; i++) {
        soak_card_arrive(&soak->card[i], PLACE_LOOPBACK);
        soak_card_plug(&soak->card[i]);
    }
}

static void daemon_is_killed(struct soak *soak)
{
    daemon_kill(&soak->bed->daemon);
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_card_unplug(soak, &soak->card[i]);
    all_anew(soak);
}

static void daemon_is_ended(struct soak *soak)
{
    soak_check_counters(soak);
    daemon_stop(&soak->bed->daemon); /* with status 0, and nothing leaked */
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_card_unplug(soak, &soak->card[i]);
    all_anew(soak);
}

/* The configuration as the operator has it by now: where the card is, and its address. */
static void config_write(struct soak *soak, const struct soak_card *card, char *ret_line,
                         size_t len)
{
    const char *line = soak->bed->daemon.nic[card->index];
    const char *socket = strstr(line, ",socket="), *endpoint = strstr(line, "endpoint=");
    char path[32], mac[32], place[160];

    snprintf(path, sizeof(path), "nic%u/mac_address", card->index);
    daemon_text(&soak->bed->daemon, path, mac, sizeof(mac));
    soak_place_text(soak, card, card->place, place, sizeof(place));
    check((size_t)snprintf(ret_line, len, "mac=%s%.*sendpoint=%s", mac, (int)(endpoint - socket),
                           socket, place) < len,
          "card %u: no room for its line", card->index);
}

static void daemon_is_taken_over(struct soak *soak)
{
    struct daemon *daemon = &soak->bed->daemon;
    char before[SOAK_CARDS][sizeof(daemon->nic[0])], now[SOAK_CARDS][sizeof(daemon->nic[0])];
    uint64_t end = now_ms() + SOAK_PATIENCE_MS;
    pid_t next;
    int status;

    for (unsigned i = 0; i < SOAK_CARDS; i++)
        config_write(soak, &soak->card[i], now[i], sizeof(now[i]));
    memcpy(before, daemon->nic, sizeof(before));
    memcpy(daemon->nic, now, sizeof(now));
    next = daemon_start_takeover(daemon, getenv("VIONIC"));
    memcpy(daemon->nic, before, sizeof(before));
    while (waitpid(daemon->pid, &status, WNOHANG) == 0) {
        check(now_ms() < end, "the daemon before does not end");
        soak_turn(soak);
    }
    daemon->pid = next;
    check(status == 0, "the daemon before ended with wait status 0x%x", (unsigned)status);
    soak->daemons++;
}

/* ---- front-ends and drivers --------------------------------------------------------------- */

static void front_end_is_killed(struct soak *soak)
{
    struct soak_card *card = any_card(soak);

    soak_card_unplug(soak, card);
    soak_card_plug(card);
}

static void driver_resets(struct soak *soak)
{
    struct soak_card *card = any_card(soak);
    struct testbed_nic *nic = card->nic;

    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        front_end_stop_vring(&nic->fe, i);
    soak_card_take_back(soak, card);
    testbed_restart_rings(nic, nic->options.start_idx);
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        front_end_start_ring(&nic->fe, i, nic->ring[i]);
    for (unsigned i = 0; i < nic->options.pairs; i++)
        net_driver_post(&nic->net[i], nic->net[i].rx_slots);
}

/* ---- the operator ------------------------------------------------------------------------- */

static void link_is_pulled(struct soak *soak)
{
    struct soak_card *card = any_card(soak);

    soak_must_set(soak, card, "link", "down");
    soak_run_for(soak, 10 + soak_random(soak, 100));
    soak_must_set(soak, card, "link", "up");
}

static void card_is_set(struct soak *soak)
{
    static const char *const settings[][2] = {
        {"mtu", "1500"},      {"mtu", "9000"},    {"mac", "52:54:00:00:01:01"}, {"speed", "10000"},
        {"speed", "unknown"}, {"duplex", "half"}, {"duplex", "full"},           {"link", "up"},
    };
    struct soak_card *card = any_card(soak);
    unsigned which = soak_random(soak, sizeof(settings) / sizeof(settings[0]));

    soak_must_set(soak, card, settings[which][0], settings[which][1]);
}

static void setting_is_refused(struct soak *soak)
{
    static const char *const settings[][2] = {
        {"announce", "now"},
        {"mtu", "1"},
        {"endpoint", "nowhere"},
        {"endpoint", "null:colour=blue"},
        {"endpoint", "tap:ifname=much-too-long-a-name"},
    };
    struct soak_card *card = any_card(soak);
    unsigned which = soak_random(soak, sizeof(settings) / sizeof(settings[0]));
    char refusal[512];

    check(!soak_set(soak, card, settings[which][0], settings[which][1], refusal),
          "%s=%s was not refused", settings[which][0], settings[which][1]);
    check(strlen(refusal) > 20, "%s=%s: %s", settings[which][0], settings[which][1], refusal);
    soak->refusals++;
}

static void card_is_moved(struct soak *soak)
{
    struct soak_card *card = any_card(soak);

    soak_move(soak, card, any_place(soak));
}

/* All that a daemon can be asked, all at once. */
static void inspect_storm(struct soak *soak)
{
    static const char *const paths[] = {"", "nic0", "nic1/queues", "nic2/endpoint",
                                        "nic3/queues/0/tx_ring"};
    int fd[STORM];

    for (unsigned i = 0; i < STORM; i++)
        fd[i] = daemon_inspect_begin(&soak->bed->daemon,
                                     paths[soak_random(soak, sizeof(paths) / sizeof(paths[0]))]);
    for (unsigned i = 0; i < STORM; i++) {
        json_t *node;

        soak_turn(soak);
        node = daemon_inspect_end(fd[i]);
        check(json_is_object(node), "inspect gives no tree");
        json_decref(node);
    }
}

/* ---- endpoints that die ------------------------------------------------------------------- */

static void tap_dies(struct soak *soak)
{
    struct soak_card *card = any_card(soak);

    if (card->place != PLACE_TAP)
        soak_move(soak, card, PLACE_TAP);
    soak_expect_moving(soak, card);
    host_command("ip link del soak%u", card->index);
}

static void stream_dies(struct soak *soak)
{
    static const uint8_t rubbish[8] = {0xff, 0xff, 0xff, 0xff};
    struct soak_card *card = any_card(soak);

    if (card->place != PLACE_STREAM)
        soak_move(soak, card, PLACE_STREAM);
    soak_expect_moving(soak, card);
    /* In the middle of a frame the rubbish would be the frame's. */
    if (soak_random(soak, 2) == 0 || !soak_card_between_frames(card))
        shutdown(card->peer, SHUT_RDWR);
    else
        send(card->peer, rubbish, sizeof(rubbish), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* While there are none, a tap can't be made again. */
static void files_run_out(struct soak *soak)
{
    struct soak_card *card = any_card(soak);

    if (card->place != PLACE_TAP)
        soak_move(soak, card, PLACE_TAP);
    soak_expect_moving(soak, card);
    daemon_limit_fds(&soak->bed->daemon, soak_random(soak, 3));
    host_command("ip link del soak%u", card->index);
    soak_run_for(soak, 100 + soak_random(soak, 400));
    daemon_limit_fds(&soak->bed->daemon, DAEMON_FDS_ENOUGH);
}

/* ---- all of them -------------------------------------------------------------------------- */

static struct {
    const char *name;
    unsigned weight;
    void (*happen)(struct soak *soak);
    unsigned count;
} events[] = {
    {"daemon killed", 3, daemon_is_killed, 0},
    {"daemon ended and started", 2, daemon_is_ended, 0},
    {"daemon taken over", 8, daemon_is_taken_over, 0},
    {"front-end killed", 8, front_end_is_killed, 0},
    {"driver reset", 8, driver_resets, 0},
    {"link pulled", 5, link_is_pulled, 0},
    {"card set", 5, card_is_set, 0},
    {"setting refused", 4, setting_is_refused, 0},
    {"endpoint swapped", 20, card_is_moved, 0},
    {"tap died", 5, tap_dies, 0},
    {"stream died", 5, stream_dies, 0},
    {"out of files", 2, files_run_out, 0},
    {"inspect storm", 4, inspect_storm, 0},
};

enum {
    EVENTS = sizeof(events) / sizeof(events[0])
};

void soak_event(struct soak *soak)
{
    unsigned total = 0, which = 0;
    uint32_t draw;

    for (unsigned i = 0; i < EVENTS; i++)
        total += events[i].weight;
    for (draw = soak_random(soak, total); draw >= events[which].weight; which++)
        draw -= events[which].weight;
    events[which].happen(soak);
    events[which].count++;
    daemon_check_alive(&soak->bed->daemon);
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_expect_moving(soak, &soak->card[i]);
    soak_run_for(soak, soak_random(soak, 30));
}

void soak_events_tell(void)
{
    for (unsigned i = 0; i < EVENTS; i++)
        print_message("soak: %5u times: %s\n", events[i].count, events[i].name);
}
