/* SPDX-License-Identifier: MIT */
/* Another endpoint behind a card whose driver is at work. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "host.h"
#include "swap_places.h"

#define MODERN         (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define HOST_CSUM      (1ull << 0)
#define MTU            (1ull << 3)
#define HOST_TSO4      (1ull << 11)
#define STATUS         (1ull << 16)
#define GUEST_ANNOUNCE (1ull << 21)

static const char *no_namespace; /* why there is none, or NULL */

static struct testbed *start(void **state, const struct testbed_options *options)
{
    swap_allow_all(*state);
    return testbed_start(state, options);
}

/* ---- from everywhere to everywhere -------------------------------------------------------- */

static void go(struct swap_bed *swap, const struct swap_place *from, const struct swap_place *to)
{
    char text[256], refusal[512];

    swap_place_text(swap, to, text, sizeof(text));
    check(swap_to(swap, text, refusal), "%s to %s: %s", from->name, to->name, refusal);
    if (from->end != NULL)
        from->end(swap);
    if (to->begin != NULL)
        to->begin(swap);
    net_driver_reap(&swap->nic->net[0]);
    if (to->begin == NULL) /* the others wait for their world */
        net_driver_drain(&swap->nic->net[0]);
    to->probe(swap);
}

static int is_there(const struct swap_place *place)
{
    return !place->needs_namespace || no_namespace == NULL;
}

/* All that the driver sent was completed once; the daemon knows of each what became of it. */
static void check_sums(struct swap_bed *swap, uint32_t others)
{
    struct daemon *daemon = &swap->bed->daemon;
    uint64_t counted;

    net_driver_drain(&swap->nic->net[0]);
    counted = daemon_number(daemon, "nic0/queues/0/tx_packets") +
              daemon_number(daemon, "nic0/queues/0/tx_dropped");
    assert_int_equal(counted, swap->sent + others);
}

static void swap_everywhere(void **state, uint64_t features)
{
    struct testbed_options options = {
        .nic = "endpoint=null", .features = features, .workers = 2, .mergeable = 1};
    struct testbed *bed = start(state, &options);
    const struct swap_place *at = &swap_places[SWAP_NULL];
    struct swap_bed swap;
    unsigned swaps = 0;
    unsigned fds;

    swap_bed_init(&swap, bed);
    fds = daemon_fd_count_settled(&bed->daemon);
    for (unsigned i = 0; i < swap_place_count; i++) {
        for (unsigned j = 0; j < swap_place_count; j++) {
            const struct swap_place *from = &swap_places[i], *to = &swap_places[j];

            if (!is_there(from) || !is_there(to))
                continue;
            if (at != from)
                go(&swap, at, from), swaps++;
            go(&swap, from, to);
            swaps++;
            at = to;
        }
    }
    go(&swap, at, &swap_places[SWAP_NULL]);
    check_sums(&swap, swap.arps);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint_swaps"), swaps + 1);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint_failures"), 0);
    daemon_check_fds(&bed->daemon, fds);
    swap_bed_free(&swap);
    testbed_finish(bed);
}

static void every_kind_takes_the_place_of_every_kind_split(void **state)
{
    swap_everywhere(state, MODERN);
}

static void every_kind_takes_the_place_of_every_kind_packed(void **state)
{
    swap_everywhere(state, MODERN | VIRTIO_F_RING_PACKED);
}

/* A network with one queue pair behind a card with four: what goes out by any of them arrives. */
static void pairs_that_an_endpoint_lacks_send_by_those_it_has(void **state)
{
    static const unsigned order[] = {SWAP_STREAM, SWAP_TAP,      SWAP_STREAM,
                                     SWAP_USER,   SWAP_LOOPBACK, SWAP_STREAM};
    struct testbed_options options = {
        .nic = "queues=4,endpoint=loopback", .pairs = 4, .workers = 3, .mergeable = 1};
    struct testbed *bed = start(state, &options);
    const struct swap_place *at = &swap_places[SWAP_LOOPBACK];
    struct swap_bed swap;

    swap_bed_init(&swap, bed);
    for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        const struct swap_place *to = &swap_places[order[i] % swap_place_count];

        if (!is_there(to))
            continue;
        go(&swap, at, to);
        for (unsigned pair = 1; to == &swap_places[SWAP_STREAM] && pair < 4; pair++)
            swap_stream_of_pair(&swap, pair);
        at = to;
    }
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint/carried/3/tx_dropped"), 0);
    go(&swap, at, &swap_places[SWAP_LOOPBACK]);
    swap_bed_free(&swap);
    testbed_finish(bed);
}

static void read_whole(int peer, uint8_t *bytes, size_t len)
{
    size_t have = 0;

    while (have < len) {
        ssize_t n;

        check(wait_readable(peer, WAIT_LONG_MS), "the stream is silent");
        n = recv(peer, bytes + have, len - have, 0);
        assert_true(n > 0);
        have += (size_t)n;
    }
}

/* The card's own announcement may come in between. */
static void expect_on_the_wire(const struct swap_bed *swap, uint32_t len, uint32_t seed)
{
    static uint8_t wire[4 + NET_FRAME_MAX], frame[NET_FRAME_MAX];

    do {
        read_whole(swap->peer, wire, 4);
        assert_true(wire_get32(wire, WIRE_BIG) <= NET_FRAME_MAX);
        read_whole(swap->peer, wire + 4, wire_get32(wire, WIRE_BIG));
    } while (wire_get16(wire + 4 + 12, WIRE_BIG) == 0x8035);
    net_frame_make(frame, len, swap->nic->mac, seed);
    assert_int_equal(wire_get32(wire, WIRE_BIG), len);
    assert_memory_equal(wire + 4, frame, len);
}

/* The other pair fills the socket, and what waits behind it comes when there is room. */
static void full_stream_goes_on(struct swap_bed *swap)
{
    struct daemon *daemon = &swap->bed->daemon;
    struct net_driver *net = &swap->nic->net[1];
    uint8_t frame[9000];
    unsigned sent = 0;

    while (daemon_number(daemon, "nic0/endpoint/carried/1/tx_full") == 0) {
        net_frame_make(frame, sizeof(frame), swap->nic->mac, sent);
        net_driver_send(net, frame, sizeof(frame));
        sent++;
        for (uint64_t end = now_ms() + WAIT_QUIET_MS; net->tx_free_count < 2 && now_ms() < end;)
            net_driver_reap(net);
    }
    daemon_check_idle(daemon);
    for (unsigned i = 0; i < sent; i++)
        expect_on_the_wire(swap, sizeof(frame), i);
    net_driver_drain(net);
}

/* … also while the guest takes nothing by the pair that sends for the others. */
static void pair_without_buffers_sends_for_the_others(void **state)
{
    struct testbed_options options = {
        .nic = "queues=2,endpoint=loopback", .pairs = 2, .rx_unposted = 1};
    const struct swap_place *stream = &swap_places[SWAP_STREAM];
    struct testbed *bed = start(state, &options);
    uint8_t wire[4 + 100] = {0, 0, 0, 100}, frame[777];
    struct swap_bed swap;
    char text[512];

    swap_bed_init(&swap, bed);
    swap_place_text(&swap, stream, text, sizeof(text));
    assert_true(daemon_set_end(daemon_set_begin(&bed->daemon, "nic0.endpoint", text), text));
    stream->begin(&swap);
    net_frame_make(wire + 4, 100, bed->nic[VICTIM].mac, 1);
    assert_int_equal(send(swap.peer, wire, sizeof(wire), 0), sizeof(wire));
    daemon_wait_number(&bed->daemon, "nic0/queues/0/rx_starved", 1);
    daemon_check_idle(&bed->daemon);
    net_frame_make(frame, sizeof(frame), bed->nic[VICTIM].mac, 2);
    for (unsigned i = 0; i < 20; i++)
        net_driver_send(&bed->nic[VICTIM].net[1], frame, sizeof(frame));
    for (unsigned i = 0; i < 20; i++)
        expect_on_the_wire(&swap, sizeof(frame), 2);
    full_stream_goes_on(&swap);
    assert_true(daemon_set_end(daemon_set_begin(&bed->daemon, "nic0.endpoint", "loopback"), text));
    swap_bed_free(&swap);
    testbed_finish(bed);
}

/* ---- what is refused changes nothing ------------------------------------------------------ */

static void expect_refusal(struct swap_bed *swap, const char *endpoint, const char *words)
{
    char refusal[512];
    char kind[64];

    check(!swap_to(swap, endpoint, refusal), "%s was not refused", endpoint);
    check(strstr(refusal, words) != NULL, "%s: \"%s\" is not in: %s", endpoint, words, refusal);
    check(strstr(refusal, "nic0.endpoint") == refusal, "%s: whose is it: %s", endpoint, refusal);
    daemon_text(&swap->bed->daemon, "nic0/endpoint_type", kind, sizeof(kind));
    assert_string_equal(kind, "loopback");
    net_driver_drain(&swap->nic->net[0]);
    swap_places[SWAP_LOOPBACK].probe(swap);
}

static void what_is_refused_changes_nothing(void **state)
{
    struct testbed *bed = start(state, NULL);
    struct swap_bed swap;
    char text[256];

    swap_bed_init(&swap, bed);
    expect_refusal(&swap, "looopback", "no endpoint kind");
    expect_refusal(&swap, "", "kind is missing");
    expect_refusal(&swap, "null:colour=blue", "colour");
    expect_refusal(&swap, "null:rate", "key=value");
    snprintf(text, sizeof(text), "stream:path=%s/no/such,mode=server", bed->daemon.directory);
    expect_refusal(&swap, text, "/no/such");
    expect_refusal(&swap, "tap:ifname=much-too-long-a-name", "ifname=");
    snprintf(text, sizeof(text), "stream:path=%s/wire,mode=server", bed->daemon.directory);
    expect_refusal(&swap, text, "somebody listens");
    check_sums(&swap, 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint_swaps"), 0);
    swap_bed_free(&swap);
    testbed_finish(bed);
}

static void what_the_sandbox_has_no_room_for_is_refused(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct swap_bed swap;

    swap_bed_init(&swap, bed);
    expect_refusal(&swap, "tap:ifname=any0", "--sandbox-allow tap");
    expect_refusal(&swap, "stream:path=/tmp/any", "--sandbox-allow stream");
    swap_bed_free(&swap);
    testbed_finish(bed);
}

/* `null` needs no fd until its queue opens: then the pairs are with it already. */
static void a_queue_that_can_not_be_opened_brings_the_old_endpoint_back(void **state)
{
    struct testbed *bed = start(state, NULL);
    struct swap_bed swap;
    char error[512];

    swap_bed_init(&swap, bed);
    daemon_fd_count_settled(&bed->daemon);
    daemon_limit_fds(&bed->daemon, 1); /* the request's own connection */
    expect_refusal(&swap, "null:generate=300", "Too many open files");
    daemon_text(&bed->daemon, "nic0/endpoint_error", error, sizeof(error));
    check(strstr(error, "queue 0: Too many open files") != NULL, "endpoint_error: %s", error);
    daemon_wait_text(&bed->daemon, "nic0/endpoint_state", "open");
    daemon_limit_fds(&bed->daemon, DAEMON_FDS_ENOUGH);
    check_sums(&swap, 0);
    swap_bed_free(&swap);
    testbed_finish(bed);
}

static void swap_or_fail(struct swap_bed *swap, const char *endpoint)
{
    char refusal[512];

    check(swap_to(swap, endpoint, refusal), "%s: %s", endpoint, refusal);
}

static void tap_is_alive(struct swap_bed *swap)
{
    swap->packet_socket = host_socket("swap0", 0x88b5, HOST_PLAIN);
    net_driver_drain(&swap->nic->net[0]);
    swap_places[SWAP_TAP].probe(swap);
    swap_places[SWAP_TAP].end(swap);
}

/* ---- what was agreed is kept ---------------------------------------------------------------- */

enum {
    TSO_HEADERS = 14 + 20 + 20,
    TSO_PAYLOAD = 4000,
    TSO_SIZE = 1000,
};

/* Ethernet, IPv4 and TCP in front of the payload, the checksum begun. */
static void make_tso_frame(uint8_t *bytes)
{
    static const uint8_t headers[TSO_HEADERS] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,  0, 0, 1, 0x08, 0x00, /* */
        0x45, 0,    0,    0,    0,    1,    0x40, 0,    64, 6, 0, 0, 10,   0,    0,    1, 10, 0, 0,
        2,    0x30, 0x39, 0,    80,   0,    0,    0,    1,  0, 0, 0, 1,    0x50, 0x10, 1, 0, /* */
    };
    uint16_t sum;

    memcpy(bytes, headers, sizeof(headers));
    for (uint32_t i = 0; i < TSO_PAYLOAD; i++)
        bytes[TSO_HEADERS + i] = (uint8_t)(i * 5 + i / 256);
    wire_put16(bytes + 16, 20 + 20 + TSO_PAYLOAD, WIRE_BIG);
    wire_put16(bytes + 24, internet_checksum(bytes + 14, 20, 0), WIRE_BIG);
    sum = (uint16_t)~internet_checksum(bytes + 26, 8, 6 + 20 + TSO_PAYLOAD);
    wire_put16(bytes + 50, sum, WIRE_BIG);
}

/* The card itself says where its driver is now, because the driver can't be asked to. */
static void expect_announcement(const struct swap_bed *swap)
{
    uint8_t bytes[4 + 60];

    read_whole(swap->peer, bytes, sizeof(bytes));
    assert_int_equal(wire_get32(bytes, WIRE_BIG), 60);
    assert_memory_equal(bytes + 4 + 6, swap->nic->mac, 6);
    assert_int_equal(wire_get16(bytes + 4 + 12, WIRE_BIG), 0x8035);
}

/* The next frame on the stream is segment `number`, with its checksums. */
static void expect_segment(int peer, unsigned number, const uint8_t *whole)
{
    uint8_t bytes[4 + TSO_HEADERS + TSO_SIZE];

    read_whole(peer, bytes, sizeof(bytes));
    assert_int_equal(wire_get32(bytes, WIRE_BIG), TSO_HEADERS + TSO_SIZE);
    assert_int_equal(wire_get32(bytes + 4 + 38, WIRE_BIG), 1 + number * TSO_SIZE);
    assert_int_equal(internet_checksum(bytes + 4 + 14, 20, 0), 0);
    assert_int_equal(
        internet_checksum(bytes + 4 + 34, 20 + TSO_SIZE,
                          (uint16_t)~internet_checksum(bytes + 4 + 26, 8, 6 + 20 + TSO_SIZE)),
        0);
    assert_memory_equal(bytes + 4 + TSO_HEADERS, whole + TSO_HEADERS + number * TSO_SIZE, TSO_SIZE);
}

/* The driver agreed to TSO with an endpoint that does it; the next one takes plain frames only. */
static void segmentation_that_the_next_lacks_is_done_in_software(void **state)
{
    struct testbed_options options = {.nic = "endpoint=null"};
    struct net_header header = {.flags = 1,
                                .gso_type = 1,
                                .hdr_len = TSO_HEADERS,
                                .gso_size = TSO_SIZE,
                                .csum_start = 34,
                                .csum_offset = 16};
    static uint8_t whole[TSO_HEADERS + TSO_PAYLOAD];
    struct testbed *bed;
    struct swap_bed swap;
    char refusal[512], text[256];

    options.features = MODERN | HOST_CSUM | HOST_TSO4;
    bed = start(state, &options);
    swap_bed_init(&swap, bed);
    swap_place_text(&swap, &swap_places[SWAP_STREAM], text, sizeof(text));
    check(daemon_set(&bed->daemon, "nic0.endpoint", text, refusal), "%s", refusal);
    swap_places[SWAP_STREAM].begin(&swap);
    expect_announcement(&swap);
    make_tso_frame(whole);
    net_driver_queue_with(&swap.nic->net[0], &header, whole, sizeof(whole));
    driver_ring_flush(swap.nic->net[0].tx);
    for (unsigned i = 0; i < TSO_PAYLOAD / TSO_SIZE; i++)
        expect_segment(swap.peer, i, whole);
    net_driver_drain(&swap.nic->net[0]);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_segmented"), 1);
    swap_places[SWAP_STREAM].end(&swap);
    swap_or_fail(&swap, "null");
    swap_bed_free(&swap);
    testbed_finish(bed);
}

static uint16_t config_mtu(struct front_end *fe)
{
    uint8_t bytes[12];

    assert_int_equal(front_end_get_config(fe, 0, sizeof(bytes), bytes), sizeof(bytes));
    return wire_get16(bytes + 10, WIRE_LITTLE);
}

/* virtio 1.4, 5.1.4.1: an MTU never changes under the driver that negotiated it. */
static void NET_CFG_03_the_MTU_is_the_new_endpoint_s_for_the_next_driver(void **state)
{
    struct testbed_options options = {.nic = "endpoint=tap:ifname=swap1,mtu=4000"};
    struct testbed *bed;
    struct testbed_nic *nic;
    struct swap_bed swap;

    if (no_namespace != NULL)
        skip();
    options.features = MODERN | MTU;
    bed = start(state, &options);
    nic = &bed->nic[VICTIM];
    swap_bed_init(&swap, bed);
    assert_int_equal(config_mtu(&nic->fe), 4000);
    swap_or_fail(&swap, "tap:ifname=swap0,mtu=1300");
    assert_int_equal(config_mtu(&nic->fe), 4000);
    tap_is_alive(&swap);
    testbed_disconnect(nic);
    testbed_connect(nic);
    assert_int_equal(config_mtu(&nic->fe), 1300);
    swap_or_fail(&swap, "loopback");
    assert_int_equal(config_mtu(&nic->fe), 1300); /* it has no opinion */
    swap_bed_free(&swap);
    testbed_finish(bed);
}

/* ---- both want the same ------------------------------------------------------------------- */

static void a_tap_gives_its_interface_to_the_next(void **state)
{
    struct testbed_options options = {.nic = "endpoint=tap:ifname=swap0"};
    struct testbed *bed;
    struct swap_bed swap;

    if (no_namespace != NULL)
        skip();
    host_command("ip tuntap add dev swap0 mode tap vnet_hdr");
    host_command("ip link set swap0 up");
    bed = start(state, &options);
    swap_bed_init(&swap, bed);
    swap_or_fail(&swap, "tap:ifname=swap0,mtu=1300");
    tap_is_alive(&swap);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint/mtu"), 1300);
    swap_or_fail(&swap, "loopback");
    host_command("ip tuntap del dev swap0 mode tap");
    swap_bed_free(&swap);
    testbed_finish(bed);
}

static void a_listening_stream_gives_its_path_to_the_next(void **state)
{
    struct testbed *bed = start(state, NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct swap_bed swap;
    char text[256];

    swap_bed_init(&swap, bed);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/far", bed->daemon.directory);
    snprintf(text, sizeof(text), "stream:mode=server,path=%s", address.sun_path);
    swap_or_fail(&swap, text);
    for (unsigned i = 0; i < 3; i++) {
        swap_or_fail(&swap, text);
        swap.peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_return_code(connect(swap.peer, (struct sockaddr *)&address, sizeof(address)), errno);
        daemon_wait_text(&bed->daemon, "nic0/link", "up");
        net_driver_reap(&swap.nic->net[0]);
        swap_places[SWAP_STREAM].probe(&swap);
        close(swap.peer);
        daemon_wait_text(&bed->daemon, "nic0/link", "down");
        net_driver_drain(&swap.nic->net[0]);
    }
    swap.peer = -1;
    swap_or_fail(&swap, "loopback");
    swap_bed_free(&swap);
    testbed_finish(bed);
}

#ifdef TEST_HAVE_USER
static void a_nat_network_gives_its_ports_to_the_next(void **state)
{
    struct testbed *bed = start(state, NULL);
    struct swap_bed swap;

    if (no_namespace != NULL)
        skip();
    host_command("ip link set lo up");
    swap_bed_init(&swap, bed);
    swap_or_fail(&swap, "user:hostfwd=tcp:127.0.0.1:2222-:22");
    swap_or_fail(&swap, "user:hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:2223-:23");
    net_driver_drain(&swap.nic->net[0]);
    swap_places[SWAP_USER].probe(&swap);
    swap_or_fail(&swap, "loopback");
    swap_bed_free(&swap);
    testbed_finish(bed);
}

/* The next one can't be opened after all: the one before is there again. */
static void one_that_gave_way_comes_back(void **state)
{
    struct sockaddr_in taken = {.sin_family = AF_INET, .sin_port = htons(2225)};
    struct testbed *bed = start(state, NULL);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct swap_bed swap;
    char refusal[512];

    if (no_namespace != NULL)
        skip();
    host_command("ip link set lo up");
    assert_return_code(bind(other, (struct sockaddr *)&taken, sizeof(taken)), errno);
    assert_return_code(listen(other, 1), errno);
    swap_bed_init(&swap, bed);
    swap_or_fail(&swap, "user:hostfwd=tcp:127.0.0.1:2224-:22");
    assert_false(swap_to(
        &swap, "user:hostfwd=tcp:127.0.0.1:2224-:22,hostfwd=tcp:127.0.0.1:2225-:23", refusal));
    check(strstr(refusal, "2225") != NULL, "%s", refusal);
    daemon_wait_text(&bed->daemon, "nic0/endpoint_state", "open");
    net_driver_drain(&swap.nic->net[0]);
    swap_places[SWAP_USER].probe(&swap);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/endpoint_swaps"), 1);
    close(other);
    swap_or_fail(&swap, "loopback");
    swap_bed_free(&swap);
    testbed_finish(bed);
}
#endif

/* ---- what the driver sees ----------------------------------------------------------------- */

static uint16_t config_status(struct front_end *fe)
{
    uint8_t bytes[8];

    assert_int_equal(front_end_get_config(fe, 0, sizeof(bytes), bytes), sizeof(bytes));
    return wire_get16(bytes + 6, WIRE_LITTLE);
}

static void expect_status(struct front_end *fe, uint16_t wanted)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;
    uint16_t status;

    while ((status = config_status(fe)) != wanted)
        check(now_ms() < end, "config status is %u, not %u", status, wanted);
}

static void expect_notice(struct front_end *fe)
{
    uint32_t message[3];

    check(wait_readable(fe->backend_fd, WAIT_LONG_MS), "no notice of a changed config space");
    assert_int_equal(read(fe->backend_fd, message, sizeof(message)), sizeof(message));
}

/* The link goes and comes, the driver is asked to announce itself, and is not reset. */
static void CTL_ANN_01_the_driver_sees_a_blip_and_announces_itself(void **state)
{
    struct testbed_options options = {
        .nic = "endpoint=loopback", .control = 1, .start = front_end_start_crosvm};
    struct control_driver control;
    struct testbed *bed;
    struct testbed_nic *nic;
    struct swap_bed swap;

    options.features = MODERN | STATUS | GUEST_ANNOUNCE;
    bed = start(state, &options);
    nic = &bed->nic[VICTIM];
    swap_bed_init(&swap, bed);
    control_driver_init(&control, nic->ring[2], 0);
    assert_int_equal(front_end_set_backend_req_fd(&nic->fe), 0);
    for (unsigned i = 0; i < 3; i++) {
        char refusal[512];

        check(daemon_set(&bed->daemon, "nic0.endpoint", "loopback", refusal), "%s", refusal);
        expect_notice(&nic->fe);
        assert_int_equal(config_status(&nic->fe), 0);
        expect_notice(&nic->fe);
        expect_status(&nic->fe, 3); /* LINK_UP and ANNOUNCE */
        assert_int_equal(control_driver_ask(&control, (uint8_t[]){3, 0}, 2), CONTROL_ACK_OK);
        expect_status(&nic->fe, 1);
        testbed_exchange(nic, 0, 500);
    }
    check(!wait_readable(nic->fe.backend_fd, WAIT_QUIET_MS), "one notice too many");
    swap_bed_free(&swap);
    testbed_finish(bed);
}

/* A driver that does not watch the link loses no frame. */
static void without_STATUS_no_frame_is_lost(void **state)
{
    struct testbed *bed = start(state, NULL);
    struct swap_bed swap;

    swap_bed_init(&swap, bed);
    for (unsigned i = 0; i < 20; i++)
        swap_or_fail(&swap, "loopback");
    net_driver_drain(&swap.nic->net[0]);
    swap_places[SWAP_LOOPBACK].probe(&swap);
    check_sums(&swap, 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_dropped"), 0);
    assert_int_equal(swap.echoes, swap.sent);
    swap_bed_free(&swap);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(every_kind_takes_the_place_of_every_kind_split),
        TESTBED_TEST(every_kind_takes_the_place_of_every_kind_packed),
        TESTBED_TEST(pairs_that_an_endpoint_lacks_send_by_those_it_has),
        TESTBED_TEST(pair_without_buffers_sends_for_the_others),
        TESTBED_TEST(what_is_refused_changes_nothing),
        TESTBED_TEST(what_the_sandbox_has_no_room_for_is_refused),
        TESTBED_TEST(a_queue_that_can_not_be_opened_brings_the_old_endpoint_back),
        TESTBED_TEST(segmentation_that_the_next_lacks_is_done_in_software),
        TESTBED_TEST(NET_CFG_03_the_MTU_is_the_new_endpoint_s_for_the_next_driver),
        TESTBED_TEST(a_tap_gives_its_interface_to_the_next),
        TESTBED_TEST(a_listening_stream_gives_its_path_to_the_next),
#ifdef TEST_HAVE_USER
        TESTBED_TEST(a_nat_network_gives_its_ports_to_the_next),
        TESTBED_TEST(one_that_gave_way_comes_back),
#endif
        TESTBED_TEST(CTL_ANN_01_the_driver_sees_a_blip_and_announces_itself),
        TESTBED_TEST(without_STATUS_no_frame_is_lost),
    };

    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("skipping what needs one: %s\n", no_namespace);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
