/* SPDX-License-Identifier: MIT */
#include "soak.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "host.h"

enum {
    TEST_ETHERTYPE = 0x88b5,
    GENERATED_LEN = 300,
    TURN_FRAMES = 12, /* that a driver sends in one turn */
    TAP_FRAMES = 32,  /* that the host echoes in one turn */
    LOOK_MS = 5,      /* between two looks whether the world's end is still there */
    ASK_MS = 20,      /* between two questions to the gateway */
    STREAM_PREFIX = 4,
};

static const uint8_t null_source[6] = {0x02, 0, 0, 0, 0, 1};
static uint8_t frame[NET_FRAME_MAX];

uint32_t soak_random(struct soak *soak, uint32_t below)
{
    soak->random ^= soak->random << 13;
    soak->random ^= soak->random >> 7;
    soak->random ^= soak->random << 17;
    return (uint32_t)(soak->random >> 32) % below;
}

/* ---- the driver --------------------------------------------------------------------------- */

static unsigned reap(struct soak_card *card, unsigned pair)
{
    unsigned count = net_driver_reap(&card->nic->net[pair]);

    card->pair[pair].completed += count;
    return count;
}

/* On a switch the next card's, wherever that is. */
static const uint8_t *destination(const struct soak *soak, const struct soak_card *card)
{
    if (card->place != PLACE_SWITCH)
        return card->nic->mac;
    return soak->card[(card->index + 1) % SOAK_CARDS].nic->mac;
}

static void send_some(struct soak *soak, struct soak_card *card, unsigned index)
{
    struct net_driver *net = &card->nic->net[index];
    struct soak_pair *pair = &card->pair[index];
    unsigned count = 1 + soak_random(soak, TURN_FRAMES);

    for (; count > 0 && net->tx_free_count > 0; count--) {
        uint32_t len = soak_random(soak, 40) == 0 ? 1500 + soak_random(soak, 6000)
                                                  : STAMP_LEN_MIN + soak_random(soak, 1400);

        if (card->place != PLACE_LOOPBACK && card->place != PLACE_STREAM && len > 1514)
            len = 1514;
        stamp_make(frame, len, destination(soak, card),
                   (struct stamp){card->index * SOAK_PAIRS_MAX + index, ++pair->sent});
        net_driver_queue(net, frame, len);
    }
    driver_ring_flush(net->tx);
}

static void take_stamped(struct soak *soak, struct soak_card *card, unsigned index,
                         struct stamp stamp)
{
    struct soak_pair *pair = &card->pair[index];
    unsigned from = stamp.source / SOAK_PAIRS_MAX;

    check(stamp.source < SOAK_SOURCES, "card %u: a frame of source %u", card->index, stamp.source);
    check(from == card->index || soak->switched, "card %u: a frame of card %u", card->index, from);
    check(stamp.number > pair->last_of[stamp.source],
          "card %u: frame %u of source %u came behind %u", card->index, stamp.number, stamp.source,
          pair->last_of[stamp.source]);
    check(stamp.number <= soak->card[from].pair[stamp.source % SOAK_PAIRS_MAX].sent,
          "card %u: frame %u was never sent", card->index, stamp.number);
    pair->last_of[stamp.source] = stamp.number;
    card->echoed += from == card->index;
    soak->switched_in += from != card->index;
}

static void take_frame(struct soak *soak, struct soak_card *card, unsigned index, uint32_t len)
{
    struct stamp stamp;

    card->pair[index].received++;
    if (memcmp(frame + 6, null_source, 6) == 0) {
        check(len == GENERATED_LEN, "card %u: a generated frame of %u bytes", card->index, len);
        card->generated++;
        return;
    }
    switch (stamp_read(frame, len, &stamp)) {
    case STAMP_WHOLE:
        take_stamped(soak, card, index, stamp);
        break;
    case STAMP_NONE: /* the gateway's, for one */
        card->answered += len >= 42 && frame[12] == 0x08 && frame[13] == 0x06 && frame[21] == 2;
        break;
    case STAMP_DAMAGED:
        fail_msg("card %u: a frame of %u bytes came damaged", card->index, len);
    }
}

void soak_card_receive(struct soak *soak, struct soak_card *card)
{
    for (unsigned i = 0; i < card->nic->options.pairs; i++) {
        int len;

        while ((len = net_driver_receive(&card->nic->net[i], frame, sizeof(frame), 0)) >= 0)
            take_frame(soak, card, i, (uint32_t)len);
    }
}

void soak_card_drain(struct soak *soak, struct soak_card *card)
{
    uint64_t end = now_ms() + SOAK_PATIENCE_MS;

    for (unsigned i = 0; i < card->nic->options.pairs; i++) {
        while (card->nic->net[i].tx_free_count < NET_TX_SLOTS) {
            reap(card, i);
            soak_card_receive(soak, card); /* a loopback goes on only with room */
            check(now_ms() < end, "card %u pair %u: %u sent frames never came back", card->index, i,
                  NET_TX_SLOTS - card->nic->net[i].tx_free_count);
        }
    }
}

/* ---- the world ---------------------------------------------------------------------------- */

static void stream_end(struct soak_card *card)
{
    if (card->peer >= 0)
        close(card->peer);
    card->peer = -1;
    card->echo_at = card->echo_len = 0;
    card->echo_prefix_len = card->echo_left = 0;
}

/* Follows the frames in the next n bytes that went back. */
static void stream_follow(struct soak_card *card, uint32_t n)
{
    const uint8_t *byte = card->echo + card->echo_at;

    while (n > 0) {
        uint32_t part = n < card->echo_left ? n : card->echo_left;

        if (part == 0) {
            part = 1;
            card->echo_prefix = card->echo_prefix << 8 | *byte;
            if (++card->echo_prefix_len == STREAM_PREFIX) {
                card->echo_left = card->echo_prefix;
                card->echo_prefix_len = 0;
            }
        } else {
            card->echo_left -= part;
        }
        byte += part;
        n -= part;
    }
}

int soak_card_between_frames(const struct soak_card *card)
{
    return card->echo_left == 0 && card->echo_prefix_len == 0;
}

/* What comes goes back, byte for byte. */
static void stream_turn(struct soak_card *card)
{
    ssize_t n;

    if (card->peer < 0)
        card->peer = accept4(card->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (card->peer < 0)
        return;
    if (card->echo_len == 0) {
        n = recv(card->peer, card->echo, sizeof(card->echo), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            stream_end(card);
        card->echo_at = 0;
        card->echo_len = n < 0 ? 0 : (uint32_t)n;
    }
    if (card->echo_len == 0)
        return;
    n = send(card->peer, card->echo + card->echo_at, card->echo_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        stream_end(card);
    } else if (n > 0) {
        stream_follow(card, (uint32_t)n);
        card->echo_at += (uint32_t)n;
        card->echo_len -= (uint32_t)n;
    }
}

static void tap_name(const struct soak_card *card, char ret_name[IFNAMSIZ])
{
    snprintf(ret_name, IFNAMSIZ, "soak%u", card->index);
}

static void tap_end(struct soak_card *card)
{
    if (card->packet_socket >= 0)
        close(card->packet_socket);
    card->packet_socket = -1;
    card->ifindex = 0;
}

/* The interface may be another one of the same name by now. */
static void tap_look(struct soak_card *card)
{
    char name[IFNAMSIZ];
    unsigned ifindex;

    tap_name(card, name);
    ifindex = if_nametoindex(name);
    if (ifindex == card->ifindex)
        return;
    tap_end(card);
    if (ifindex == 0)
        return;
    card->packet_socket = host_socket(name, TEST_ETHERTYPE, HOST_PLAIN);
    card->ifindex = ifindex;
}

static void tap_turn(struct soak_card *card)
{
    for (unsigned i = 0; i < TAP_FRAMES && card->packet_socket >= 0; i++) {
        ssize_t n = recv(card->packet_socket, frame, sizeof(frame), MSG_DONTWAIT);

        if (n < 0)
            return;
        if (send(card->packet_socket, frame, (size_t)n, MSG_DONTWAIT) < 0 && errno == ENXIO)
            tap_end(card);
    }
}

/* Who has 10.0.2.2? */
static void ask_gateway(struct soak_card *card)
{
    static const uint8_t request[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0,    0,  1, 0x08, 0x06,
        0,    1,    0x08, 0,    6,    4,    0,    1,    0x52, 0x54, 0,  0, 0,    1,
        10,   0,    2,    15,   0,    0,    0,    0,    0,    0,    10, 0, 2,    2,
    };

    if (card->nic->net[0].tx_free_count == 0 || now_ms() < card->ask_ms)
        return;
    net_driver_send(&card->nic->net[0], request, sizeof(request));
    card->ask_ms = now_ms() + ASK_MS;
}

static void world_turn(struct soak_card *card)
{
    if (card->place == PLACE_STREAM) {
        stream_turn(card);
    } else if (card->place == PLACE_TAP) {
        if (now_ms() >= card->look_ms) {
            card->look_ms = now_ms() + LOOK_MS;
            tap_look(card);
        }
        tap_turn(card);
    } else if (card->place == PLACE_USER) {
        ask_gateway(card);
    }
}

void soak_card_arrive(struct soak_card *card, enum soak_place place)
{
    int fd;

    stream_end(card);
    tap_end(card);
    if (place != PLACE_STREAM) { /* one that is gone already */
        while ((fd = accept4(card->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            close(fd);
    }
    card->look_ms = card->ask_ms = 0;
    card->place = place;
}

void soak_place_text(const struct soak *soak, const struct soak_card *card, enum soak_place place,
                     char *ret_text, size_t len)
{
    static const char *const texts[PLACE_COUNT] = {
        [PLACE_LOOPBACK] = "loopback",
        [PLACE_NULL] = "null",
        [PLACE_GENERATOR] = "null:generate=300,rate=3000",
        [PLACE_SWITCH] = "switch:name=soak",
        [PLACE_USER] = "user",
    };

    if (place == PLACE_STREAM)
        snprintf(ret_text, len, "stream:path=%s/world%u,reconnect=5", soak->bed->daemon.directory,
                 card->index);
    else if (place == PLACE_TAP)
        snprintf(ret_text, len, "tap:ifname=soak%u", card->index);
    else
        snprintf(ret_text, len, "%s", texts[place]);
}

/* ---- turns -------------------------------------------------------------------------------- */

void soak_card_turn(struct soak *soak, struct soak_card *card)
{
    for (unsigned i = 0; i < card->nic->options.pairs; i++) {
        reap(card, i);
        send_some(soak, card, i);
    }
    world_turn(card);
    soak_card_receive(soak, card);
}

void soak_turn(struct soak *soak)
{
    for (unsigned i = 0; i < SOAK_CARDS; i++)
        soak_card_turn(soak, &soak->card[i]);
}

void soak_run_for(struct soak *soak, unsigned ms)
{
    for (uint64_t end = now_ms() + ms; now_ms() < end;)
        soak_turn(soak);
}

/* What has to grow while frames move at this place. */
static uint64_t progress(const struct soak_card *card)
{
    switch (card->place) {
    case PLACE_NULL:
    case PLACE_SWITCH: /* it may be alone there */
        return card->pair[0].completed;
    case PLACE_GENERATOR:
        return card->generated;
    case PLACE_USER:
        return card->answered;
    default:
        return card->echoed;
    }
}

void soak_expect_moving(struct soak *soak, struct soak_card *card)
{
    uint64_t begin = now_ms();
    uint64_t before = progress(card);
    uint64_t completed = card->pair[card->nic->options.pairs - 1].completed;

    while (progress(card) < before + 2 ||
           card->pair[card->nic->options.pairs - 1].completed == completed) {
        check(now_ms() < begin + SOAK_PATIENCE_MS, "card %u at place %d does not move frames",
              card->index, (int)card->place);
        soak_turn(soak);
    }
    if (now_ms() - begin > soak->longest_ms)
        soak->longest_ms = now_ms() - begin;
}

int soak_set(struct soak *soak, struct soak_card *card, const char *name, const char *value,
             char ret_refusal[512])
{
    uint64_t end = now_ms() + SOAK_PATIENCE_MS;
    char full[64];
    int fd;

    snprintf(full, sizeof(full), "nic%u.%s", card->index, name);
    fd = daemon_set_begin(&soak->bed->daemon, full, value);
    while (!wait_readable(fd, 0) && now_ms() < end)
        soak_turn(soak);
    return daemon_set_end(fd, ret_refusal);
}

void soak_must_set(struct soak *soak, struct soak_card *card, const char *name, const char *value)
{
    char refusal[512];

    check(soak_set(soak, card, name, value, refusal), "%s=%s: %s", name, value, refusal);
}

void soak_move(struct soak *soak, struct soak_card *card, enum soak_place place)
{
    char text[256];

    soak_place_text(soak, card, place, text, sizeof(text));
    soak->switched |= place == PLACE_SWITCH; /* frames of others may come from now on */
    soak_must_set(soak, card, "endpoint", text);
    soak_card_arrive(card, place);
}

/* ---- life --------------------------------------------------------------------------------- */

void soak_card_init(struct soak *soak, unsigned index, const struct testbed_options *options)
{
    struct soak_card *card = &soak->card[index];
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *card = (struct soak_card){.index = index, .peer = -1, .packet_socket = -1};
    card->nic = &soak->bed->nic[index];
    testbed_prepare_nic(soak->bed, index, options);
    card->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/world%u",
             soak->bed->daemon.directory, index);
    assert_return_code(bind(card->listener, (struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(listen(card->listener, 4), errno);
}

void soak_card_free(struct soak_card *card)
{
    stream_end(card);
    tap_end(card);
    close(card->listener);
}

void soak_card_plug(struct soak_card *card)
{
    testbed_connect(card->nic);
}

/* Who has let go of the rings writes to them no more. */
static void wait_for_daemon(struct soak *soak, struct soak_card *card)
{
    uint64_t end = now_ms() + SOAK_PATIENCE_MS;
    char path[64];
    int connected = 1;

    snprintf(path, sizeof(path), "nic%u/vhost_user", card->index);
    while (connected) {
        json_t *node = daemon_inspect(&soak->bed->daemon, path);

        connected = !json_is_false(json_object_get(node, "connected"));
        json_decref(node);
        check(now_ms() < end, "card %u: the daemon does not notice that its front-end has gone",
              card->index);
    }
}

static void kick_nobody(void *context)
{
    (void)context;
}

void soak_card_take_back(struct soak *soak, struct soak_card *card)
{
    struct testbed_nic *nic = card->nic;

    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        nic->ring[i]->kick = kick_nobody;
    for (unsigned i = 0; i < nic->options.pairs; i++)
        reap(card, i);
    soak_card_receive(soak, card);
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        nic->ring[i]->kick = NULL;
}

void soak_card_unplug(struct soak *soak, struct soak_card *card)
{
    front_end_close(&card->nic->fe);
    if (soak->bed->daemon.pid != 0)
        wait_for_daemon(soak, card);
    soak_card_take_back(soak, card);
    testbed_restart_rings(card->nic, card->nic->options.start_idx);
}
