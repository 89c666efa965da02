/* SPDX-License-Identifier: MIT */
#include "swap_places.h"

#include <errno.h>
#include <poll.h>
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
    STREAM_PREFIX = 4,
    GENERATED_LEN = 300,
    SHORT_MS = 20,
};

static uint8_t frame[NET_FRAME_MAX];

/* ---- traffic ------------------------------------------------------------------------------ */

uint32_t swap_send(struct swap_bed *swap, uint32_t len)
{
    struct stamp stamp = {SWAP_GUEST, ++swap->sent};

    stamp_make(frame, len, swap->nic->mac, stamp);
    net_driver_send(&swap->nic->net[0], frame, len);
    return stamp.number;
}

/* What nobody stamped: null's own frames, and answers of the gateway. */
static void unstamped(struct swap_bed *swap, uint32_t len)
{
    static const uint8_t null_source[6] = {0x02, 0, 0, 0, 0, 1};

    swap->generated += len == GENERATED_LEN && memcmp(frame + 6, null_source, 6) == 0;
    swap->arps += len >= 42 && frame[12] == 0x08 && frame[13] == 0x06 && frame[21] == 2;
}

static void take_frame(struct swap_bed *swap, uint32_t len)
{
    static const uint8_t null_source[6] = {0x02, 0, 0, 0, 0, 1};
    struct stamp stamp = {0};
    enum stamp_verdict verdict = STAMP_NONE;

    if (memcmp(frame + 6, null_source, 6) != 0)
        verdict = stamp_read(frame, len, &stamp);
    check(verdict != STAMP_DAMAGED, "a frame of %u bytes came damaged", len);
    if (verdict == STAMP_NONE) {
        unstamped(swap, len);
    } else if (stamp.source == SWAP_WORLD) {
        check(stamp.number > swap->last_from_world, "frame %u came behind %u", stamp.number,
              swap->last_from_world);
        swap->last_from_world = stamp.number;
    } else {
        check(stamp.number > swap->last_echoed, "frame %u came back behind %u", stamp.number,
              swap->last_echoed);
        swap->last_echoed = stamp.number;
        swap->echoes++;
    }
}

void swap_receive(struct swap_bed *swap)
{
    struct net_driver *net = &swap->nic->net[0];
    int len;

    while ((len = net_driver_receive(net, frame, sizeof(frame), 0)) >= 0)
        take_frame(swap, (uint32_t)len);
}

void swap_pump(struct swap_bed *swap)
{
    struct net_driver *net = &swap->nic->net[0];

    net_driver_reap(net);
    while (net->tx_free_count > 0)
        swap_send(swap, 60 + swap->sent % 1400);
    swap_receive(swap);
}

/* The host's end of a place may be full: what is not read there stays in the ring until the card
 * is somewhere else. */
int swap_to(struct swap_bed *swap, const char *endpoint, char ret_refusal[512])
{
    uint64_t end = now_ms() + WAIT_LONG_MS;
    int fd;

    for (unsigned i = 0; i < 20; i++)
        swap_pump(swap);
    fd = daemon_set_begin(&swap->bed->daemon, "nic0.endpoint", endpoint);
    while (!wait_readable(fd, 0) && now_ms() < end)
        swap_pump(swap);
    return daemon_set_end(fd, ret_refusal);
}

static void wait_for(struct swap_bed *swap, const uint32_t *counter, uint32_t wanted,
                     const char *what)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while (*counter < wanted) {
        check(now_ms() < end, "%s: %u, not %u", what, *counter, wanted);
        swap_receive(swap);
        net_driver_reap(&swap->nic->net[0]);
    }
}

/* ---- null, loopback ----------------------------------------------------------------------- */

static void null_probe(struct swap_bed *swap)
{
    for (unsigned i = 0; i < 5; i++)
        swap_send(swap, 60 + 300 * i);
    net_driver_drain(&swap->nic->net[0]);
}

static void generator_probe(struct swap_bed *swap)
{
    wait_for(swap, &swap->generated, swap->generated + 20, "generated frames");
    null_probe(swap);
}

static void loopback_probe(struct swap_bed *swap)
{
    uint32_t number = swap_send(swap, 1000);

    wait_for(swap, &swap->last_echoed, number, "the loopback's last frame");
    net_driver_drain(&swap->nic->net[0]);
}

/* ---- stream ------------------------------------------------------------------------------- */

static void stream_begin(struct swap_bed *swap)
{
    check(wait_readable(swap->listener, WAIT_LONG_MS), "the stream does not connect");
    swap->peer = accept(swap->listener, NULL, NULL);
    assert_true(swap->peer >= 0);
    daemon_wait_number(&swap->bed->daemon, "nic0/endpoint/connections", 1);
}

static void read_all(struct swap_bed *swap, uint8_t *bytes, size_t len)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while (len > 0) {
        ssize_t n = recv(swap->peer, bytes, len, MSG_DONTWAIT);

        check(n > 0 || (n < 0 && errno == EAGAIN), "the stream ended");
        check(now_ms() < end, "the stream does not go on");
        if (n < 0) {
            poll(&(struct pollfd){.fd = swap->peer, .events = POLLIN}, 1, SHORT_MS);
            continue;
        }
        bytes += n;
        len -= (size_t)n;
    }
}

static struct stamp stream_read_one(struct swap_bed *swap)
{
    enum stamp_verdict verdict;
    uint8_t prefix[STREAM_PREFIX];
    struct stamp stamp;
    uint32_t len;

    do { /* the card announces its driver first */
        read_all(swap, prefix, sizeof(prefix));
        len = wire_get32(prefix, WIRE_BIG);
        check(len <= sizeof(frame), "a frame of %u bytes on the stream", len);
        read_all(swap, frame, len);
        verdict = stamp_read(frame, len, &stamp);
    } while (verdict == STAMP_NONE);
    check(verdict == STAMP_WHOLE, "a damaged frame on the stream");
    return stamp;
}

/* The peer reads up to the frame with this number; each comes once and in order. */
static void stream_read_until(struct swap_bed *swap, uint32_t number)
{
    uint32_t last = 0;

    while (last < number) {
        uint32_t next = stream_read_one(swap).number;

        check(next > last, "frame %u behind %u on the stream", next, last);
        last = next;
    }
}

/* What came while the card moved here may fill the socket and the ring. */
static void stream_make_room(struct swap_bed *swap)
{
    while (swap->nic->net[0].tx_free_count == 0) {
        if (net_driver_reap(&swap->nic->net[0]) == 0)
            stream_read_one(swap);
    }
}

static void stream_probe(struct swap_bed *swap)
{
    struct stamp stamp = {SWAP_WORLD, ++swap->answered};
    uint8_t prefix[STREAM_PREFIX];

    stream_make_room(swap);
    stream_read_until(swap, swap_send(swap, 1200));
    wire_put32(prefix, 800, WIRE_BIG);
    stamp_make(frame, 800, swap->nic->mac, stamp);
    assert_int_equal(send(swap->peer, prefix, sizeof(prefix), MSG_NOSIGNAL), sizeof(prefix));
    assert_int_equal(send(swap->peer, frame, 800, MSG_NOSIGNAL), 800);
    wait_for(swap, &swap->last_from_world, stamp.number, "the stream's frame");
    net_driver_drain(&swap->nic->net[0]);
}

void swap_stream_of_pair(struct swap_bed *swap, unsigned pair)
{
    enum {
        FRAMES = 120,
        LEN = 9000,
    };
    struct net_driver *net = &swap->nic->net[pair];
    uint32_t sent = 0, got = 0;

    while (got < FRAMES) {
        struct stamp stamp = {SWAP_GUEST + 8 * pair, sent + 1};

        net_driver_reap(net);
        if (sent < FRAMES && net->tx_free_count > 0) {
            stamp_make(frame, LEN, swap->nic->mac, stamp);
            net_driver_send(net, frame, LEN);
            sent++;
            continue;
        }
        stamp = stream_read_one(swap);
        if (stamp.source != SWAP_GUEST + 8 * pair)
            continue; /* the first pair's, from before */
        check(stamp.number == ++got, "frame %u of pair %u, not %u", stamp.number, pair, got);
    }
    net_driver_drain(net);
}

static void stream_end(struct swap_bed *swap)
{
    close(swap->peer);
    swap->peer = -1;
}

/* ---- tap ---------------------------------------------------------------------------------- */

static void tap_begin(struct swap_bed *swap)
{
    swap->packet_socket = host_socket("swap0", TEST_ETHERTYPE, HOST_PLAIN);
    net_driver_drain(&swap->nic->net[0]);
}

static void tap_probe(struct swap_bed *swap)
{
    struct stamp stamp = {SWAP_WORLD, ++swap->answered};
    uint32_t number = swap_send(swap, 1400);
    struct stamp got = {0};

    while (got.number < number) {
        size_t len = host_receive(swap->packet_socket, frame, sizeof(frame));

        check(stamp_read(frame, (uint32_t)len, &got) == STAMP_WHOLE, "a damaged frame on the tap");
    }
    stamp_make(frame, 900, swap->nic->mac, stamp);
    host_send(swap->packet_socket, frame, 900);
    wait_for(swap, &swap->last_from_world, stamp.number, "the host's frame");
    net_driver_drain(&swap->nic->net[0]);
}

static void tap_end(struct swap_bed *swap)
{
    close(swap->packet_socket);
    swap->packet_socket = -1;
}

/* ---- user --------------------------------------------------------------------------------- */

/* Who has 10.0.2.2? */
static void user_probe(struct swap_bed *swap)
{
    static const uint8_t request[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0,    0,  1, 0x08, 0x06,
        0,    1,    0x08, 0,    6,    4,    0,    1,    0x52, 0x54, 0,  0, 0,    1,
        10,   0,    2,    15,   0,    0,    0,    0,    0,    0,    10, 0, 2,    2,
    };

    net_driver_send(&swap->nic->net[0], request, sizeof(request));
    wait_for(swap, &swap->arps, swap->arps + 1, "answers of the gateway");
    net_driver_drain(&swap->nic->net[0]);
}

/* ---- all of them -------------------------------------------------------------------------- */

const struct swap_place swap_places[] = {
    {"null", "null", 0, NULL, null_probe, NULL},
    {"generator", "null:generate=300,rate=2000", 0, NULL, generator_probe, NULL},
    {"loopback", "loopback", 0, NULL, loopback_probe, NULL},
    {"stream", "stream:path=%s/wire,reconnect=5", 0, stream_begin, stream_probe, stream_end},
    {"tap", "tap:ifname=swap0", 1, tap_begin, tap_probe, tap_end},
    {"switch", "switch:name=swap", 0, NULL, null_probe, NULL},
#ifdef TEST_HAVE_USER
    {"user", "user", 0, NULL, user_probe, NULL},
#endif
};

const unsigned swap_place_count = sizeof(swap_places) / sizeof(swap_places[0]);

/* What else it may be asked for. */
void swap_allow_all(struct testbed *bed)
{
    snprintf(bed->daemon.sandbox, sizeof(bed->daemon.sandbox), "tap,user,stream,%s",
             bed->daemon.directory);
}

void swap_bed_init(struct swap_bed *swap, struct testbed *bed)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *swap =
        (struct swap_bed){.bed = bed, .nic = &bed->nic[VICTIM], .peer = -1, .packet_socket = -1};
    swap->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/wire", bed->daemon.directory);
    assert_return_code(bind(swap->listener, (struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(listen(swap->listener, 1), errno);
}

void swap_bed_free(struct swap_bed *swap)
{
    close(swap->listener);
    if (swap->peer >= 0)
        close(swap->peer);
    if (swap->packet_socket >= 0)
        close(swap->packet_socket);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the texts stand in the table above */
void swap_place_text(const struct swap_bed *swap, const struct swap_place *place, char *ret_text,
                     size_t len)
{
    snprintf(ret_text, len, place->endpoint, swap->bed->daemon.directory);
}
#pragma GCC diagnostic pop
