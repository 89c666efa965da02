/* SPDX-License-Identifier: MIT */
/*
 * Every offload, between a driver double and sockets of the kernel: what the driver hands over as
 * one frame must come out of the socket byte for byte, whoever cuts it and finishes its checksum,
 * and the other way round. The endpoints are the real ones, in a network namespace of the test's
 * own.
 *
 *     driver ── tap ── kernel             segments made by the kernel, or by vionic (UFO)
 *     driver ── loopback ── driver ── tap ── kernel    segments made by vionic, judged by the
 * kernel driver ── user ── kernel            the endpoint that takes least
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "host.h"
#include "offload_peer.h"
#include "testbed.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define TAP_HOST_MAC "\x02\0\0\0\0\x99"

enum {
    PAYLOAD = 20000,
    DATAGRAM = 6000,
    GSO_SIZE = 1000,
    FRAMES_MAX = 64,
};

static const uint64_t usual = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
static const char *no_namespace; /* why there is none, or NULL */
static uint8_t payload[PAYLOAD];
static uint8_t made[NET_FRAME_MAX], got[NET_FRAME_MAX];

/* One thing that a driver may ask for. */
struct request {
    const char *name;
    unsigned version;
    int type; /* of the socket */
    uint8_t gso_type;
    uint32_t len;       /* of the payload */
    uint32_t datagrams; /* that come out; 0: a stream */
};

static const struct request requests[] = {
    {"checksum, UDP, IPv4", 4, SOCK_DGRAM, GSO_NONE, 777, 1},
    {"checksum, UDP, IPv6", 6, SOCK_DGRAM, GSO_NONE, 777, 1},
    {"checksum, TCP, IPv4", 4, SOCK_STREAM, GSO_NONE, 999, 0},
    {"checksum, TCP, IPv6", 6, SOCK_STREAM, GSO_NONE, 999, 0},
    {"TSO, IPv4", 4, SOCK_STREAM, GSO_TCPV4, PAYLOAD, 0},
    {"TSO, IPv6", 6, SOCK_STREAM, GSO_TCPV6, PAYLOAD, 0},
    {"USO, IPv4", 4, SOCK_DGRAM, GSO_UDP_L4, DATAGRAM + 7, DATAGRAM / GSO_SIZE + 1},
    {"USO, IPv6", 6, SOCK_DGRAM, GSO_UDP_L4, DATAGRAM + 7, DATAGRAM / GSO_SIZE + 1},
    {"UFO, IPv4", 4, SOCK_DGRAM, GSO_UDP, DATAGRAM, 1},
    {"UFO, IPv6", 6, SOCK_DGRAM, GSO_UDP, DATAGRAM, 1},
};

/* ---- the kernel's sockets -----------------------------------------------------------------------
 */

static int socket_at(int type, const char *ip, uint16_t *ret_port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    int family = strchr(ip, ':') != NULL ? AF_INET6 : AF_INET;
    struct sockaddr *address = family == AF_INET6 ? (void *)&six : (void *)&four;
    socklen_t len = family == AF_INET6 ? sizeof(six) : sizeof(four);
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    inet_pton(family, ip, family == AF_INET6 ? (void *)&six.sin6_addr : (void *)&four.sin_addr);
    assert_int_equal(bind(fd, address, len), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, address, &len), 0);
    *ret_port = ntohs(family == AF_INET6 ? six.sin6_port : four.sin_port);
    return fd;
}

static void expect_stream(int fd, const char *name, uint32_t len)
{
    uint32_t done = 0;

    while (done < len) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t part;

        check(poll(&wait, 1, WAIT_LONG_MS) > 0, "%s: %u of %u bytes came", name, done, len);
        part = recv(fd, got + done, sizeof(got) - done, 0);
        check(part > 0, "%s: the connection ended after %u bytes", name, done);
        done += (uint32_t)part;
    }
    assert_int_equal(done, len);
    assert_memory_equal(got, payload, len);
}

static void expect_datagrams(int fd, const struct request *request)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < request->datagrams; i++) {
        uint32_t most = request->datagrams == 1 ? request->len : GSO_SIZE;
        uint32_t len = request->len - done < most ? request->len - done : most;
        struct pollfd wait = {.fd = fd, .events = POLLIN};

        check(poll(&wait, 1, WAIT_LONG_MS) > 0, "%s: datagram %u did not come", request->name, i);
        assert_int_equal(recv(fd, got, sizeof(got), 0), len);
        assert_memory_equal(got, payload + done, len);
        done += len;
    }
    assert_int_equal(done, request->len);
}

/* ---- set-up -------------------------------------------------------------------------------------
 */

static struct testbed *start(void **state, const char *nic, uint64_t guest)
{
    struct testbed_options options = {.nic = nic,
                                      .queue_size = 256,
                                      .features = usual | NET_CSUM | NET_HOST_GSO | guest,
                                      .mergeable = 1};
    struct testbed *bed;

    if (no_namespace != NULL)
        skip();
    bed = testbed_start_daemon(state, &options);
    bed->nic[BYSTANDER].setup.features |= NET_CSUM | NET_HOST_GSO;
    return bed;
}

static void connect_both(struct testbed *bed)
{
    testbed_connect(&bed->nic[VICTIM]);
    testbed_connect(&bed->nic[BYSTANDER]);
}

/* The kernel's end of the tap, with addresses; nobody has to be asked for a MAC. */
static void tap_settle(const char *ifname)
{
    host_command("sysctl -qw net.ipv6.conf.%s.disable_ipv6=0 net.ipv6.conf.%s.accept_dad=0", ifname,
                 ifname);
    host_command("ip link set dev %s address 02:00:00:00:00:99 up", ifname);
    host_command("ip addr add 10.9.0.1/24 dev %s", ifname);
    host_command("ip addr add fd09::1/64 dev %s nodad", ifname);
    host_command("ip neigh replace 10.9.0.2 lladdr 52:54:00:00:00:01 nud permanent dev %s", ifname);
    /* The address is there at once; that it is the kernel's own, some moments later. */
    host_command("for i in $(seq 200); do ip -6 route show table local dev %s | grep -q fd09::1 &&"
                 " exit 0; sleep 0.02; done; exit 1",
                 ifname);
    host_command("ip neigh replace fd09::2 lladdr 52:54:00:00:00:01 nud permanent dev %s", ifname);
}

static struct offload_peer tap_peer(struct testbed *bed, unsigned version)
{
    struct offload_peer peer = {.net = &bed->nic[VICTIM].net[0]};

    memcpy(peer.mac, bed->nic[VICTIM].mac, 6);
    memcpy(peer.host_mac, TAP_HOST_MAC, 6);
    if (version == 4)
        peer_address(&peer, "10.9.0.2", "10.9.0.1");
    else
        peer_address(&peer, "fd09::2", "fd09::1");
    return peer;
}

/* The packet that a request is about; TCP's connection is open. */
static uint32_t make_request(struct offload_peer *peer, const struct request *request,
                             struct net_header *header)
{
    uint32_t len;

    if (request->type == SOCK_STREAM)
        len = peer_make_tcp(peer, TCP_ACK | TCP_PSH, payload, request->len, made, header);
    else
        len = peer_make_udp(peer, payload, request->len, made, header);
    if (request->gso_type != GSO_NONE)
        peer_ask_gso(header, request->gso_type, GSO_SIZE);
    return len;
}

/* ---- from the driver to the kernel --------------------------------------------------------------
 */

typedef void carry(struct testbed *bed, struct offload_peer *peer, const struct request *request,
                   const struct net_header *header, uint32_t len);

static void check_request(struct testbed *bed, struct offload_peer *peer, const char *host_ip,
                          const struct request *request, carry *way)
{
    int listener = socket_at(request->type, host_ip, &peer->host_port);
    struct net_header header;
    int fd = listener;
    uint32_t len;

    peer->port++;
    if (request->type == SOCK_STREAM) {
        peer_connect(peer);
        fd = accept(listener, NULL, NULL);
        assert_true(fd >= 0);
    }
    len = make_request(peer, request, &header);
    way(bed, peer, request, &header, len);
    if (request->datagrams == 0)
        expect_stream(fd, request->name, request->len);
    else
        expect_datagrams(fd, request);
    close(listener);
    if (fd != listener)
        close(fd);
}

static void straight(struct testbed *bed, struct offload_peer *peer, const struct request *request,
                     const struct net_header *header, uint32_t len)
{
    (void)bed;
    (void)request;
    peer_send(peer, header, made, len);
}

/* Through a loopback whose driver takes nothing, or partial checksums only; what comes is plain,
 * and goes on to the kernel as it came. */
static void by_way_of_loopback(struct testbed *bed, struct offload_peer *peer,
                               const struct request *request, const struct net_header *header,
                               uint32_t len)
{
    static uint8_t frame[FRAMES_MAX][2048];
    struct net_driver *other = &bed->nic[BYSTANDER].net[0];
    int partial = (bed->nic[BYSTANDER].setup.features & NET_GUEST_CSUM) != 0;
    struct net_header came[FRAMES_MAX];
    int frame_len[FRAMES_MAX];
    unsigned count = 0;

    net_driver_queue_with(other, header, made, len);
    driver_ring_flush(other->tx);
    while (count < FRAMES_MAX) {
        frame_len[count] = net_driver_receive(other, frame[count], sizeof(frame[0]),
                                              count == 0 ? WAIT_LONG_MS : WAIT_QUIET_MS);
        if (frame_len[count] < 0)
            break;
        came[count] = other->last_header;
        check(came[count].gso_type == GSO_NONE && frame_len[count] <= PEER_FRAME_PLAIN,
              "%s: a frame of %d bytes, type %u", request->name, frame_len[count],
              came[count].gso_type);
        assert_int_equal(came[count].flags & ~(partial ? NEEDS_CSUM : 0), 0);
        count++;
    }
    net_driver_drain(other);
    check(request->gso_type == GSO_NONE ? count == 1 : count >= DATAGRAM / GSO_SIZE,
          "%s: %u frames", request->name, count);
    for (unsigned i = 0; i < count; i++)
        peer_send(peer, &came[i], frame[i], (uint32_t)frame_len[i]);
}

static void check_all_requests(struct testbed *bed, carry *way)
{
    for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct offload_peer peer = tap_peer(bed, requests[i].version);

        peer.port = (uint16_t)(PEER_GUEST_PORT + i);
        check_request(bed, &peer, requests[i].version == 4 ? "10.9.0.1" : "fd09::1", &requests[i],
                      way);
    }
}

static void NET_TX_10_what_a_driver_asks_of_a_tap(void **state)
{
    struct testbed *bed = start(state, "endpoint=tap:ifname=asks0", 0);

    connect_both(bed);
    tap_settle("asks0");
    check_all_requests(bed, straight);
    assert_int_equal(testbed_tx_drops(bed), 0);
    testbed_finish(bed);
}

static void NET_RX_07_segments_made_for_a_driver_are_believed_by_the_kernel(void **state)
{
    struct testbed *bed = start(state, "endpoint=tap:ifname=cuts0", 0);

    connect_both(bed);
    tap_settle("cuts0");
    check_all_requests(bed, by_way_of_loopback);
    testbed_finish(bed);
}

static void NET_RX_06_segments_with_partial_checksums(void **state)
{
    struct testbed *bed = start(state, "endpoint=tap:ifname=part0", 0);

    bed->nic[BYSTANDER].setup.features |= NET_GUEST_CSUM;
    connect_both(bed);
    tap_settle("part0");
    check_all_requests(bed, by_way_of_loopback);
    testbed_finish(bed);
}

/* The endpoint `user` speaks to sockets of the host: it does TSO, the rest is done in front of it.
 */
static void NET_TX_09_what_a_driver_asks_of_user(void **state)
{
    struct testbed *bed = start(state, "endpoint=user", 0);
    struct offload_peer peer = {.net = &bed->nic[VICTIM].net[0]};

    connect_both(bed);
    memcpy(peer.mac, bed->nic[VICTIM].mac, 6);
    peer_address(&peer, "10.0.2.15", "10.0.2.2");
    peer_resolve(&peer);
    for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (requests[i].version == 4)
            check_request(bed, &peer, "127.0.0.1", &requests[i], straight);
    }
    assert_int_equal(testbed_tx_drops(bed), 0);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 600);
    daemon_stop(&bed->daemon); /* sockets of connections live on until then */
}

/* ---- from the kernel to the driver --------------------------------------------------------------
 */

/* What came of a stream or of datagrams. */
struct arrival {
    unsigned large;   /* frames that are more than one segment */
    unsigned partial; /* frames with a partial checksum */
    unsigned frames;
};

static struct arrival receive_stream(struct offload_peer *peer, uint32_t len)
{
    static struct peer_packet packet;
    struct arrival arrival = {0};
    uint32_t first = peer->ack;

    while (peer->ack - first < len) {
        check(peer_receive(peer, &packet, WAIT_LONG_MS), "%u of %u bytes came", peer->ack - first,
              len);
        if (packet.payload_len == 0 || packet.seq != peer->ack)
            continue;
        assert_true(peer->ack - first + packet.payload_len <= len);
        assert_memory_equal(packet.payload, payload + (peer->ack - first), packet.payload_len);
        peer->ack += packet.payload_len;
        arrival.frames++;
        arrival.large += packet.header.gso_type != GSO_NONE;
        arrival.partial += packet.header.flags & NEEDS_CSUM;
        if (packet.header.gso_type != GSO_NONE)
            assert_int_equal(packet.header.gso_type, peer->version == 4 ? GSO_TCPV4 : GSO_TCPV6);
        peer_acknowledge(peer);
    }
    return arrival;
}

static struct arrival stream_to_driver(struct offload_peer *peer, const char *host_ip)
{
    int listener = socket_at(SOCK_STREAM, host_ip, &peer->host_port);
    struct arrival arrival;
    int fd;

    peer->port++;
    peer_connect(peer);
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, payload, PAYLOAD, 0), PAYLOAD);
    arrival = receive_stream(peer, PAYLOAD);
    close(fd);
    close(listener);
    return arrival;
}

static struct arrival datagrams_to_driver(struct offload_peer *peer, const char *host_ip)
{
    static struct peer_packet packet;
    int fd = socket_at(SOCK_DGRAM, host_ip, &peer->host_port);
    struct arrival arrival = {0};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(++peer->port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(peer->port)};
    uint32_t done = 0;
    int size = GSO_SIZE;

    memcpy(&six.sin6_addr, peer->ip, 16);
    memcpy(&four.sin_addr, peer->ip, 4);
    assert_int_equal(connect(fd, peer->version == 6 ? (void *)&six : (void *)&four,
                             peer->version == 6 ? sizeof(six) : sizeof(four)),
                     0);
    assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
    assert_int_equal(send(fd, payload, DATAGRAM, 0), DATAGRAM);
    while (done < DATAGRAM) {
        check(peer_receive(peer, &packet, WAIT_LONG_MS), "%u bytes of datagrams came", done);
        assert_true(done + packet.payload_len <= DATAGRAM);
        assert_memory_equal(packet.payload, payload + done, packet.payload_len);
        done += packet.payload_len;
        arrival.frames++;
        arrival.large += packet.header.gso_type == GSO_UDP_L4;
        arrival.partial += packet.header.flags & NEEDS_CSUM;
        assert_int_equal(packet.header.gso_type == GSO_UDP_L4 ? packet.header.gso_size
                                                              : packet.payload_len,
                         GSO_SIZE);
    }
    close(fd);
    return arrival;
}

/* Features of the driver, and what the kernel's frames become. */
static void kernel_to_driver(void **state, const char *ifname, uint64_t guest)
{
    char nic[64];
    struct testbed *bed;

    snprintf(nic, sizeof(nic), "endpoint=tap:ifname=%s", ifname);
    bed = start(state, nic, guest);
    connect_both(bed);
    tap_settle(ifname);
    for (unsigned version = 4; version <= 6; version += 2) {
        const char *host_ip = version == 4 ? "10.9.0.1" : "fd09::1";
        struct offload_peer peer = tap_peer(bed, version);
        struct arrival stream = stream_to_driver(&peer, host_ip);
        struct arrival datagrams = datagrams_to_driver(&peer, host_ip);

        if (guest & NET_GUEST_GSO) {
            assert_true(stream.large > 0 && stream.frames < PAYLOAD / PEER_MSS);
            assert_int_equal(datagrams.large, 1);
            assert_int_equal(datagrams.frames, 1);
        } else {
            assert_int_equal(stream.large + datagrams.large, 0);
            assert_int_equal(datagrams.frames, DATAGRAM / GSO_SIZE);
        }
        if (!(guest & NET_GUEST_CSUM))
            assert_int_equal(stream.partial + datagrams.partial, 0);
        else
            assert_true(stream.partial != 0);
    }
    testbed_finish(bed);
}

static void NET_RX_05_NET_RX_07_driver_that_agreed_to_nothing(void **state)
{
    kernel_to_driver(state, "none0", 0);
}

static void NET_RX_06_driver_that_agreed_to_checksums(void **state)
{
    kernel_to_driver(state, "csum0", NET_GUEST_CSUM);
}

static void NET_RX_08_driver_that_agreed_to_all(void **state)
{
    kernel_to_driver(state, "every0", NET_GUEST_CSUM | NET_GUEST_GSO);
}

/* A GSO frame of one guest reaches another that takes it as it is. */
static void NET_RX_08_gso_frames_cross_a_loopback_whole(void **state)
{
    struct testbed *bed = start(state, NULL, NET_GUEST_CSUM | NET_GUEST_GSO);
    struct net_driver *net = &bed->nic[VICTIM].net[0];

    connect_both(bed);
    for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct offload_peer peer = tap_peer(bed, requests[i].version);
        struct net_header header;
        uint32_t len = make_request(&peer, &requests[i], &header);
        uint16_t header_len = header.hdr_len;

        header.hdr_len = (uint16_t)(17 * i); /* a hint, and often a bad one */
        peer_send(&peer, &header, made, len);
        assert_int_equal(net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS), len);
        assert_memory_equal(got, made, len);
        assert_int_equal(net->last_header.flags, NEEDS_CSUM);
        assert_int_equal(net->last_header.gso_type, requests[i].gso_type);
        assert_int_equal(net->last_header.gso_size, requests[i].gso_type ? GSO_SIZE : 0);
        if (requests[i].gso_type != GSO_NONE)
            assert_int_equal(net->last_header.hdr_len, header_len);
    }
    testbed_finish(bed);
}

/* With GUEST_ECN a frame that says CWR comes whole; without, in segments of which the first says
 * it. */
static void NET_RX_09_congestion_of_large_frames(void **state)
{
    for (unsigned ecn = 0; ecn < 2; ecn++) {
        struct testbed *bed =
            start(state, NULL, NET_GUEST_CSUM | NET_GUEST_TSO4 | (ecn ? NET_GUEST_ECN : 0));
        struct net_driver *net = &bed->nic[VICTIM].net[0];
        struct offload_peer peer = tap_peer(bed, 4);
        struct net_header header;
        uint32_t len, done = 0;

        connect_both(bed);
        len = peer_make_tcp(&peer, TCP_ACK | TCP_CWR, payload, 5 * GSO_SIZE, made, &header);
        peer_ask_gso(&header, GSO_TCPV4 | GSO_ECN, GSO_SIZE);
        peer_send(&peer, &header, made, len);
        while (done < 5 * GSO_SIZE) {
            int part = net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS) - header.hdr_len;

            assert_int_equal(part, ecn ? 5 * GSO_SIZE : GSO_SIZE);
            assert_int_equal(net->last_header.gso_type, ecn ? GSO_TCPV4 | GSO_ECN : GSO_NONE);
            assert_int_equal(got[47], TCP_ACK | (done == 0 ? TCP_CWR : 0));
            assert_memory_equal(got + header.hdr_len, payload + done, part);
            done += (uint32_t)part;
        }
        testbed_finish(bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

/* The bytes of a frame behind what segments and fragments of a request begin with, but UDP's header
 * in the first fragment; fragments have one identification. */
static uint32_t piece_len(const struct request *request, uint32_t header_len, int len,
                          unsigned index)
{
    static uint8_t identification[4];
    uint32_t id_at = request->version == 4 ? 18 : 58, id_len = request->version == 4 ? 2 : 4;

    if (request->gso_type != GSO_UDP)
        return (uint32_t)len - header_len;
    if (index == 0)
        memcpy(identification, got + id_at, id_len);
    assert_memory_equal(identification, got + id_at, id_len);
    return (uint32_t)len - (header_len - 8) - (request->version == 6 ? 8 : 0) -
           (index == 0 ? 8 : 0);
}

/* The driver has room for one segment at a time: all of a frame come, in order, once. */
static void NET_RX_07_segments_wait_for_room(void **state)
{
    struct testbed *bed = start(state, NULL, 0);
    struct net_driver *net = &bed->nic[VICTIM].net[0];

    bed->nic[VICTIM].options.rx_unposted = 1;
    connect_both(bed);
    net_driver_post(net, 1);
    for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct offload_peer peer = tap_peer(bed, requests[i].version);
        struct net_header header;
        uint32_t len = make_request(&peer, &requests[i], &header);
        uint32_t done = 0;

        net_driver_queue_with(net, &header, made, len);
        driver_ring_flush(net->tx);
        for (unsigned index = 0; done < requests[i].len; index++) {
            int frame_len = net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS);
            uint32_t part;

            check(frame_len >= header.hdr_len && frame_len <= PEER_FRAME_PLAIN,
                  "%s: frame %u has %d bytes", requests[i].name, index, frame_len);
            part = piece_len(&requests[i], header.hdr_len, frame_len, index);
            assert_true(part <= requests[i].len - done);
            assert_memory_equal(got + frame_len - part, payload + done, part);
            done += part;
        }
        net_driver_drain(net);
    }
    assert_int_equal(net_driver_receive(net, got, sizeof(got), WAIT_QUIET_MS), -1);
    assert_true(daemon_number(&bed->daemon, "nic0/queues/0/rx_starved") > 0);
    testbed_finish(bed);
}

/* A frame that only looks like one until somebody has to cut it. */
static void NET_TX_09_frames_that_can_not_be_cut_are_dropped(void **state)
{
    struct testbed *bed = start(state, "endpoint=user", 0);
    struct offload_peer peer = {.net = &bed->nic[VICTIM].net[0]};
    int fd = socket_at(SOCK_DGRAM, "127.0.0.1", &peer.host_port);

    connect_both(bed);
    memcpy(peer.mac, bed->nic[VICTIM].mac, 6);
    peer_address(&peer, "10.0.2.15", "10.0.2.2");
    peer_resolve(&peer);
    for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        uint64_t drops = testbed_tx_drops(bed);
        struct net_header header;
        uint32_t len;

        if (requests[i].version != 4 || requests[i].type != SOCK_DGRAM ||
            requests[i].gso_type == GSO_NONE)
            continue;
        len = make_request(&peer, &requests[i], &header);
        made[17]++; /* the length in the IP header */
        peer_send(&peer, &header, made, len);
        assert_int_equal(testbed_tx_drops(bed), drops + 1);
        made[17]--;
        peer_send(&peer, &header, made, len);
        expect_datagrams(fd, &requests[i]);
        assert_int_equal(testbed_tx_drops(bed), drops + 1);
    }
    close(fd);
    daemon_stop(&bed->daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_TX_10_what_a_driver_asks_of_a_tap),
        TESTBED_TEST(NET_TX_09_what_a_driver_asks_of_user),
        TESTBED_TEST(NET_TX_09_frames_that_can_not_be_cut_are_dropped),
        TESTBED_TEST(NET_RX_07_segments_wait_for_room),
        TESTBED_TEST(NET_RX_07_segments_made_for_a_driver_are_believed_by_the_kernel),
        TESTBED_TEST(NET_RX_06_segments_with_partial_checksums),
        TESTBED_TEST(NET_RX_05_NET_RX_07_driver_that_agreed_to_nothing),
        TESTBED_TEST(NET_RX_06_driver_that_agreed_to_checksums),
        TESTBED_TEST(NET_RX_08_driver_that_agreed_to_all),
        TESTBED_TEST(NET_RX_09_congestion_of_large_frames),
        TESTBED_TEST(NET_RX_08_gso_frames_cross_a_loopback_whole),
    };

    for (uint32_t i = 0; i < PAYLOAD; i++)
        payload[i] = (uint8_t)(i * 7 + i / 251 * 13);
    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("skipping: %s\n", no_namespace);
    else
        host_command("ip link set lo up");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
