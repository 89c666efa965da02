/* SPDX-License-Identifier: MIT */
/* The endpoint `user`, seen from a guest and from the host's loopback. Needs no privilege. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "host.h"
#include "peer.h"

#define GATEWAY PEER_IP(10, 0, 2, 2)

enum {
    BULK_LEN = 400000,
};

/* ---- the host's side ----------------------------------------------------------------------------
 */

static void host_expect(int fd, const char *text)
{
    char got[256] = "";

    assert_true(host_has_frame(fd, 2000));
    assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), (int)strlen(text));
    assert_string_equal(got, text);
}

static uint8_t bulk_byte(uint32_t i)
{
    return (uint8_t)(i * 3 + i / 251);
}

/* ---- the network itself -------------------------------------------------------------------------
 */

static void gateway_answers_arp_and_ping(void **state)
{
    static const uint8_t echo[] = {8, 0, 0, 0, 0x12, 0x34, 0, 1, 'p', 'i', 'n', 'g'};
    uint8_t data[sizeof(echo)];
    struct peer_packet packet = {.protocol = IPPROTO_ICMP, .destination = GATEWAY, .data = data};
    struct peer peer;
    uint16_t sum = internet_checksum(echo, sizeof(echo), 0);

    (void)state;
    peer_open(&peer, "user");
    memcpy(data, echo, sizeof(echo));
    data[2] = (uint8_t)(sum >> 8);
    data[3] = (uint8_t)sum;
    packet.data_len = sizeof(data);
    peer_send_packet(&peer, &packet);
    peer_expect(&peer, IPPROTO_ICMP, &packet);
    assert_int_equal(packet.source, GATEWAY);
    assert_int_equal(packet.data_len, sizeof(echo));
    assert_int_equal(packet.data[0], 0);
    assert_memory_equal(packet.data + 4, echo + 4, sizeof(echo) - 4);
    assert_int_equal(peer.arp_answered, 1); /* it had to ask for us */
    peer_close(&peer);
}

static const uint8_t *dhcp_option(const struct peer_packet *packet, uint8_t code)
{
    const uint8_t *at = packet->data + 240, *end = packet->data + packet->data_len;

    while (at + 1 < end && *at != 255) {
        if (*at == code)
            return at + 2;
        at += *at == 0 ? 1 : 2 + at[1];
    }
    fail_msg("DHCP option %u is missing", code);
    return NULL;
}

static uint32_t address_at(const uint8_t *at)
{
    return PEER_IP(at[0], at[1], at[2], at[3]);
}

/* Sends a request of the type and returns the answer, which must be of answer_type. */
static void dhcp_ask(struct peer *peer, uint8_t type, uint8_t answer_type,
                     struct peer_packet *ret_answer)
{
    uint8_t data[300] = {1, 1, 6, 0, 0xab, 0xcd, 0xef, 1};
    struct peer_packet packet = {.protocol = IPPROTO_UDP,
                                 .destination = 0xffffffff,
                                 .source_port = 68,
                                 .destination_port = 67,
                                 .data = data,
                                 .data_len = sizeof(data)};
    static const uint8_t mac[] = {0x52, 0x54, 0, 0, 0, 1}, magic[] = {0x63, 0x82, 0x53, 0x63};
    uint8_t options[] = {53, 1, type, 50, 4, 10, 0, 2, 15, 255};

    memcpy(data + 28, mac, sizeof(mac));
    memcpy(data + 236, magic, sizeof(magic));
    memcpy(data + 240, options, sizeof(options));
    if (type == 1)
        data[243] = 255;
    peer_send_packet(peer, &packet);
    peer_expect(peer, IPPROTO_UDP, ret_answer);
    assert_int_equal(ret_answer->source_port, 67);
    assert_int_equal(ret_answer->destination_port, 68);
    assert_memory_equal(ret_answer->data + 4, data + 4, 4);
    assert_int_equal(*dhcp_option(ret_answer, 53), answer_type);
}

static void dhcp_leads_to_a_lease(void **state)
{
    struct peer_packet answer;
    struct peer peer;

    (void)state;
    peer_open(&peer, "user:hostname=testbox");
    peer.ip = PEER_IP(0, 0, 0, 0);
    dhcp_ask(&peer, 1, 2, &answer);
    assert_int_equal(address_at(answer.data + 16), PEER_IP(10, 0, 2, 15));
    dhcp_ask(&peer, 3, 5, &answer);
    assert_int_equal(address_at(answer.data + 16), PEER_IP(10, 0, 2, 15));
    assert_int_equal(address_at(dhcp_option(&answer, 1)), PEER_IP(255, 255, 255, 0));
    assert_int_equal(address_at(dhcp_option(&answer, 3)), GATEWAY);
    assert_int_equal(address_at(dhcp_option(&answer, 6)), PEER_IP(10, 0, 2, 3));
    assert_memory_equal(dhcp_option(&answer, 12), "testbox", 7);
    peer_close(&peer);
}

static void options_shape_the_network(void **state)
{
    struct endpoint_caps caps;
    struct peer_packet answer;
    struct peer peer;

    (void)state;
    peer_open(&peer, "user:net=192.168.77.0/25,host=192.168.77.1,dns=192.168.77.9,"
                     "dhcpstart=192.168.77.50,mtu=9000,ipv6=off");
    peer.guest.endpoint->ops->capabilities(peer.guest.endpoint, &caps);
    assert_int_equal(caps.mtu, 9000);
    assert_int_equal(caps.queue_pairs_max, 1);
    peer.ip = 0;
    dhcp_ask(&peer, 1, 2, &answer);
    assert_int_equal(address_at(answer.data + 16), PEER_IP(192, 168, 77, 50));
    assert_int_equal(address_at(dhcp_option(&answer, 1)), PEER_IP(255, 255, 255, 128));
    assert_int_equal(address_at(dhcp_option(&answer, 3)), PEER_IP(192, 168, 77, 1));
    assert_int_equal(address_at(dhcp_option(&answer, 6)), PEER_IP(192, 168, 77, 9));
    peer_close(&peer);
}

/* A router solicitation, which a guest sends when it looks for IPv6. */
static void ipv6_router_advertises_the_prefix(void **state)
{
    static const uint8_t prefix[] = {0xfd, 0x12, 0, 0, 0, 0, 0, 0};
    uint8_t frame[62] = {
        0x33, 0x33, 0, 0, 0, 2, 0x52, 0x54, 0,    0,    0, 1,    0x86, 0xdd, /* Ethernet */
        0x60, 0,    0, 0, 0, 8, 58,   255,                                   /* IPv6 */
        0xfe, 0x80, 0, 0, 0, 0, 0,    0,    0x50, 0x54, 0, 0xff, 0xfe, 0,    0,   1, 0xff, 2,
        0,    0,    0, 0, 0, 0, 0,    0,    0,    0,    0, 0,    0,    2,    133, 0, 0,    0,
    };
    const struct guest_frame *answer;
    struct peer peer;
    uint16_t sum = internet_checksum(frame + 22, 40, 8 + 58);

    (void)state;
    frame[56] = (uint8_t)(sum >> 8);
    frame[57] = (uint8_t)sum;
    peer_open(&peer, "user:net6=fd12::/64");
    peer_send(&peer, frame, sizeof(frame));
    do {
        answer = peer_wait_frame(&peer, 0x86dd, 2000);
        assert_non_null(answer);
    } while (answer->bytes[54] != 134);
    assert_non_null(memmem(answer->bytes, answer->len, prefix, sizeof(prefix)));
    peer_close(&peer);
}

/* ---- connections of the guest -------------------------------------------------------------------
 */

/* Connects the peer to a server that the test plays on 127.0.0.1; returns the accepted socket. */
static int connect_to_host(struct peer *peer, struct peer_tcp *tcp)
{
    uint16_t port;
    int listener = peer_bind_local(SOCK_STREAM, &port), fd;

    assert_return_code(listen(listener, 1), errno);
    peer_tcp_connect(tcp, peer, GATEWAY, port);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    close(listener);
    return fd;
}

static void tcp_to_the_host_carries_data_both_ways(void **state)
{
    struct peer_tcp tcp;
    struct peer peer;
    char data[2048];
    unsigned fds = count_fds();
    int fd;

    (void)state;
    peer_open(&peer, "user");
    fd = connect_to_host(&peer, &tcp);
    peer_tcp_send(&tcp, "from the guest", 14);
    host_expect(fd, "from the guest");
    assert_int_equal(send(fd, "from the host", 13, 0), 13);
    assert_int_equal(peer_tcp_receive(&tcp, data, sizeof(data), 2000), 13);
    assert_memory_equal(data, "from the host", 13);
    peer_close(&peer); /* with the connection open */
    close(fd);
    assert_int_equal(count_fds(), fds);
}

static void upload_arrives_whole(void **state)
{
    static uint8_t data[BULK_LEN], got[65536];
    struct peer_tcp tcp;
    struct peer peer;
    uint32_t received = 0;
    int fd;

    (void)state;
    for (uint32_t i = 0; i < BULK_LEN; i++)
        data[i] = bulk_byte(i);
    peer_open(&peer, "user");
    fd = connect_to_host(&peer, &tcp);
    for (uint32_t sent = 0; received < BULK_LEN;) {
        uint32_t n = BULK_LEN - sent < PEER_TCP_SEGMENT ? BULK_LEN - sent : PEER_TCP_SEGMENT;
        ssize_t m;

        if (n > 0)
            peer_tcp_send(&tcp, data + sent, n);
        sent += n;
        assert_true(n > 0 || host_has_frame(fd, 2000));
        m = recv(fd, got, sizeof(got), MSG_DONTWAIT);
        if (m <= 0)
            continue;
        assert_memory_equal(got, data + received, m);
        received += (uint32_t)m;
    }
    close(fd);
    peer_close(&peer);
}

/* Writes what the socket takes now; returns how far it got. */
static uint32_t host_write_bulk(int fd, uint32_t from)
{
    uint8_t chunk[4096];

    while (from < BULK_LEN) {
        uint32_t n = BULK_LEN - from < sizeof(chunk) ? BULK_LEN - from : sizeof(chunk);
        ssize_t sent;

        for (uint32_t i = 0; i < n; i++)
            chunk[i] = bulk_byte(from + i);
        sent = send(fd, chunk, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        from += (uint32_t)sent;
    }
    return from;
}

/* `buffers` is what the guest gives each time: a slow guest holds the sender back and loses
 * nothing. Returns the length of the largest segment. */
static uint32_t download(const char *spec, uint32_t buffers)
{
    struct peer_tcp tcp;
    struct peer peer;
    uint8_t data[65536];
    uint32_t written = 0, received = 0, largest = 0;
    int fd;

    peer_open(&peer, spec);
    fd = connect_to_host(&peer, &tcp);
    peer.guest.buffer_count = 0;
    written = host_write_bulk(fd, written);
    for (unsigned i = 0; buffers != GUEST_NO_LIMIT && i < 20; i++) {
        guest_wait(&peer.guest, 5);
        guest_receive(&peer.guest, 64);
    }
    while (received < BULK_LEN) {
        uint32_t n;

        written = host_write_bulk(fd, written);
        peer.guest.buffer_count = buffers;
        n = peer_tcp_receive(&tcp, data, sizeof(data), 3000);
        assert_true(n > 0);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(data[i], bulk_byte(received + i));
        received += n;
        largest = n > largest ? n : largest;
    }
    close(fd);
    peer_close(&peer);
    return largest;
}

static void download_arrives_whole(void **state)
{
    (void)state;
    download("user", GUEST_NO_LIMIT);
}

static void download_arrives_whole_with_few_buffers(void **state)
{
    (void)state;
    download("user", 33); /* one of the largest segments */
}

/* The largest segments are half of the guest's window, in whole segments of its own. */
static void download_comes_in_halves_of_the_window(void **state)
{
    static const struct {
        const char *spec;
        uint32_t segment;
    } way[] = {{"user", 22 * 1460}, {"user:mtu=576,ipv6=off", 61 * 536}};

    (void)state;
    for (unsigned i = 0; i < sizeof(way) / sizeof(*way); i++)
        assert_int_equal(download(way[i].spec, GUEST_NO_LIMIT), way[i].segment);
}

static void download_arrives_whole_in_jumbo_frames(void **state)
{
    (void)state;
    download("user:mtu=65521", GUEST_NO_LIMIT);
}

static void connection_survives_a_restart_of_the_queue(void **state)
{
    struct peer_tcp tcp;
    struct peer peer;
    char data[2048];
    int fd;

    (void)state;
    peer_open(&peer, "user");
    fd = connect_to_host(&peer, &tcp);
    for (unsigned i = 0; i < 3; i++) {
        guest_queue_close(&peer.guest);
        assert_int_equal(send(fd, "back", 4, 0), 4);
        guest_queue_open(&peer.guest, 0);
        assert_int_equal(peer_tcp_receive(&tcp, data, sizeof(data), 2000), 4);
        peer_tcp_send(&tcp, "again", 5);
        host_expect(fd, "again");
    }
    close(fd);
    peer_close(&peer);
}

static void reset_peers_raise_no_signal(void **state)
{
    struct linger reset = {1, 0};
    struct peer_tcp tcp;
    struct peer peer;
    int fd;

    (void)state;
    peer_open(&peer, "user");
    fd = connect_to_host(&peer, &tcp);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    for (unsigned i = 0; i < 3; i++)
        peer_tcp_send(&tcp, "into the void", 13);
    guest_receive(&peer.guest, 64);
    peer_close(&peer);
}

static void restrict_keeps_the_guest_inside(void **state)
{
    struct peer_packet packet = {.protocol = IPPROTO_TCP,
                                 .destination = GATEWAY,
                                 .source_port = 40000,
                                 .tcp_flags = PEER_TCP_SYN};
    struct peer peer;
    int listener;

    (void)state;
    listener = peer_bind_local(SOCK_STREAM, &packet.destination_port);
    assert_return_code(listen(listener, 1), errno);
    peer_open(&peer, "user:restrict=on");
    peer_send_packet(&peer, &packet);
    assert_false(host_has_frame(listener, 200));
    if (peer_wait(&peer, IPPROTO_TCP, 100, &packet))
        assert_int_equal(packet.tcp_flags & PEER_TCP_SYN, 0);
    close(listener);
    peer_close(&peer);
}

/* ---- forwards -----------------------------------------------------------------------------------
 */

static void tcp_forward_leads_to_the_guest(void **state)
{
    uint16_t port = peer_free_port(SOCK_STREAM);
    struct peer_tcp tcp;
    struct peer peer;
    char text[96], data[2048];
    int fd;

    (void)state;
    snprintf(text, sizeof(text), "user:hostfwd=tcp:127.0.0.1:%u-:22", port);
    peer_open(&peer, text);
    for (unsigned i = 0; i < 3; i++) {
        fd = peer_connect_local(SOCK_STREAM, port);
        peer_tcp_accept(&tcp, &peer, 22);
        assert_int_equal(send(fd, "SSH", 3, 0), 3);
        assert_int_equal(peer_tcp_receive(&tcp, data, sizeof(data), 2000), 3);
        assert_memory_equal(data, "SSH", 3);
        peer_tcp_send(&tcp, "welcome", 7);
        host_expect(fd, "welcome");
        close(fd);
    }
    peer_close(&peer);
    /* The port is free again. */
    fd = peer_connect_local(SOCK_DGRAM, port);
    close(fd);
    peer_open(&peer, text);
    peer_close(&peer);
}

static void udp_forward_leads_to_the_guest(void **state)
{
    uint16_t port = peer_free_port(SOCK_DGRAM);
    struct peer_packet packet;
    struct peer peer;
    char text[128];
    int fd;

    (void)state;
    snprintf(text, sizeof(text), "user:hostfwd=udp:127.0.0.1:%u-10.0.2.15:53", port);
    peer_open(&peer, text);
    fd = peer_connect_local(SOCK_DGRAM, port);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(send(fd, "question", 8, 0), 8);
        peer_expect(&peer, IPPROTO_UDP, &packet);
        assert_int_equal(packet.destination_port, 53);
        assert_int_equal(packet.data_len, 8);
        assert_memory_equal(packet.data, "question", 8);
        packet = (struct peer_packet){.protocol = IPPROTO_UDP,
                                      .destination = packet.source,
                                      .source_port = 53,
                                      .destination_port = packet.source_port,
                                      .data = (const uint8_t *)"answer",
                                      .data_len = 6};
        peer_send_packet(&peer, &packet);
        host_expect(fd, "answer");
    }
    close(fd);
    peer_close(&peer);
}

/* Larger than the guest's MTU: it comes in fragments of IPv4, whatever libslirp makes of it. */
static void large_datagram_comes_in_fragments(void **state)
{
    enum {
        LEN = 5000
    };
    uint16_t port = peer_free_port(SOCK_DGRAM);
    uint8_t data[LEN], whole[LEN + 8 + 64];
    uint32_t have = 0;
    struct peer peer;
    char text[128];
    int fd, last = 0;

    (void)state;
    for (uint32_t i = 0; i < LEN; i++)
        data[i] = bulk_byte(i);
    snprintf(text, sizeof(text), "user:hostfwd=udp:127.0.0.1:%u-10.0.2.15:53", port);
    peer_open(&peer, text);
    fd = peer_connect_local(SOCK_DGRAM, port);
    assert_int_equal(send(fd, data, LEN, 0), LEN);
    while (!last) {
        const struct guest_frame *frame = peer_wait_frame(&peer, 0x0800, 2000);
        uint32_t part, at;

        assert_non_null(frame);
        assert_true(frame->len <= 14 + 1500);
        assert_int_equal(internet_checksum(frame->bytes + 14, 20, 0), 0);
        part = (frame->bytes[16] << 8 | frame->bytes[17]) - 20u;
        at = ((frame->bytes[20] & 0x1fu) << 8 | frame->bytes[21]) * 8;
        last = !(frame->bytes[20] & 0x20);
        assert_int_equal(at, have);
        assert_true(at + part <= sizeof(whole));
        memcpy(whole + at, frame->bytes + 34, part);
        have += part;
    }
    assert_int_equal(have, 8 + LEN);
    assert_memory_equal(whole + 8, data, LEN);
    close(fd);
    peer_close(&peer);
}

static void forward_to_a_port_in_use_is_explained(void **state)
{
    static const struct {
        const char *name;
        int type;
    } protocols[] = {{"tcp", SOCK_STREAM}, {"udp", SOCK_DGRAM}};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct endpoint *endpoint = NULL;
        struct endpoint_spec spec;
        struct error err;
        uint16_t port;
        char text[96];
        int fd = peer_bind_local(protocols[i].type, &port);
        unsigned fds = count_fds();

        if (i == 0)
            assert_return_code(listen(fd, 1), errno);
        snprintf(text, sizeof(text), "user:hostfwd=%s:127.0.0.1:%u-:22", protocols[i].name, port);
        assert_int_equal(endpoint_spec_parse(&spec, text, &err), 0);
        assert_int_equal(endpoint_open(&spec, &endpoint, &err), -EADDRINUSE);
        assert_non_null(strstr(err.text, text + 5));
        assert_non_null(strstr(err.text, "in use"));
        endpoint_spec_clear(&spec);
        assert_int_equal(count_fds(), fds);
        close(fd);
    }
}

static void ipv6_forward_is_accepted(void **state)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(address);
    struct peer peer;
    char text[96];

    (void)state;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0) {
        print_message("skipped, the host has no ::1\n");
        skip();
    }
    assert_return_code(getsockname(fd, (struct sockaddr *)&address, &len), errno);
    close(fd);
    snprintf(text, sizeof(text), "user:hostfwd=tcp:[::1]:%u-[fec0::15]:22",
             ntohs(address.sin6_port));
    peer_open(&peer, text);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(fd, (struct sockaddr *)&address, len), errno);
    close(fd);
    peer_close(&peer);
}

/* ---- waiting ------------------------------------------------------------------------------------
 */

static void open_connection_does_not_spin(void **state)
{
    uint64_t end;
    unsigned wakes = 0;
    struct peer_tcp tcp;
    struct peer peer;
    int fd;

    (void)state;
    peer_open(&peer, "user");
    fd = connect_to_host(&peer, &tcp);
    peer_tcp_send(&tcp, "hello", 5);
    host_expect(fd, "hello");
    assert_false(peer_wait(&peer, IPPROTO_UDP, 300, &(struct peer_packet){0}));
    end = clock_now_ns() + 500 * CLOCK_MILLISECOND_NS;
    while (clock_now_ns() < end) {
        if (!guest_wait(&peer.guest, 50))
            continue;
        wakes++;
        guest_receive(&peer.guest, 64);
    }
    assert_in_range(wakes, 0, 5);
    close(fd);
    peer_close(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gateway_answers_arp_and_ping),
        cmocka_unit_test(dhcp_leads_to_a_lease),
        cmocka_unit_test(options_shape_the_network),
        cmocka_unit_test(ipv6_router_advertises_the_prefix),
        cmocka_unit_test(tcp_to_the_host_carries_data_both_ways),
        cmocka_unit_test(upload_arrives_whole),
        cmocka_unit_test(download_arrives_whole),
        cmocka_unit_test(download_arrives_whole_with_few_buffers),
        cmocka_unit_test(download_comes_in_halves_of_the_window),
        cmocka_unit_test(download_arrives_whole_in_jumbo_frames),
        cmocka_unit_test(connection_survives_a_restart_of_the_queue),
        cmocka_unit_test(reset_peers_raise_no_signal),
        cmocka_unit_test(restrict_keeps_the_guest_inside),
        cmocka_unit_test(tcp_forward_leads_to_the_guest),
        cmocka_unit_test(udp_forward_leads_to_the_guest),
        cmocka_unit_test(large_datagram_comes_in_fragments),
        cmocka_unit_test(forward_to_a_port_in_use_is_explained),
        cmocka_unit_test(ipv6_forward_is_accepted),
        cmocka_unit_test(open_connection_does_not_spin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
