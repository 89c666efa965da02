/* SPDX-License-Identifier: MIT */
/* The endpoint `user` when there are no more files, or a guest has as many sockets as it may. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "peer.h"

/* A connection that finds no file waits; nobody spins for it, and it is served when there is one.
 */
static void without_files_a_connection_waits(void **state)
{
    uint16_t port = peer_free_port(SOCK_STREAM);
    struct rlimit limit, none;
    struct peer_tcp tcp;
    struct peer peer;
    unsigned wakes = 0;
    char text[96];
    int fd, lowest;

    (void)state;
    snprintf(text, sizeof(text), "user:hostfwd=tcp:127.0.0.1:%u-:22", port);
    peer_open(&peer, text);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    fd = peer_connect_local(SOCK_STREAM, port);
    lowest = dup(fd);
    close(lowest);
    none = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (uint64_t end = clock_now_ns() + 500 * CLOCK_MILLISECOND_NS; clock_now_ns() < end;) {
        if (!guest_wait(&peer.guest, 10))
            continue;
        wakes++;
        guest_receive(&peer.guest, 64);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_in_range(wakes, 1, 450);
    peer_tcp_accept(&tcp, &peer, 22);
    close(fd);
    peer_close(&peer);
}

/* ---- sockets-max ---------------------------------------------------------------------------- */

enum {
    NOTHING_MS = 200,
};

#define GATEWAY PEER_IP(10, 0, 2, 2)

static void syn(struct peer *peer, uint16_t from, uint16_t to)
{
    peer_send_packet(peer, &(struct peer_packet){.protocol = IPPROTO_TCP,
                                                 .destination = GATEWAY,
                                                 .source_port = from,
                                                 .destination_port = to,
                                                 .tcp_flags = PEER_TCP_SYN,
                                                 .seq = 1,
                                                 .window = 1000});
}

static void datagram(struct peer *peer, uint16_t from, uint16_t to)
{
    peer_send_packet(peer, &(struct peer_packet){.protocol = IPPROTO_UDP,
                                                 .destination = GATEWAY,
                                                 .source_port = from,
                                                 .destination_port = to,
                                                 .data = (const uint8_t *)"x",
                                                 .data_len = 1});
}

static void reset(struct peer *peer, const struct peer_tcp *tcp)
{
    peer_send_packet(peer, &(struct peer_packet){.protocol = IPPROTO_TCP,
                                                 .destination = tcp->remote,
                                                 .source_port = tcp->port,
                                                 .destination_port = tcp->remote_port,
                                                 .tcp_flags = PEER_TCP_RST,
                                                 .seq = tcp->seq});
}

static int comes(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, timeout_ms) == 1;
}

/* A guest that opens all it can: its next connection and its next sender of datagrams are refused,
 * the connection that it has goes on, and when that is over there is room for another one. */
static void a_guest_has_so_many_sockets(void **state)
{
    uint16_t tcp_port, udp_port;
    int listener = peer_bind_local(SOCK_STREAM, &tcp_port);
    int receiver = peer_bind_local(SOCK_DGRAM, &udp_port);
    struct peer_packet packet;
    struct peer_tcp tcp;
    struct peer peer;
    char byte;
    int fd;

    (void)state;
    assert_return_code(listen(listener, 4), errno);
    peer_open(&peer, "user:sockets-max=2");
    peer_tcp_connect(&tcp, &peer, GATEWAY, tcp_port);
    fd = accept(listener, NULL, NULL);
    assert_return_code(fd, errno);
    datagram(&peer, 5000, udp_port);
    assert_true(comes(receiver, 2000));
    assert_int_equal(read(receiver, &byte, 1), 1);
    assert_int_equal(guest_counter(&peer.guest, "sockets"), 2);

    syn(&peer, 40001, tcp_port);
    datagram(&peer, 5001, udp_port);
    assert_false(peer_wait(&peer, IPPROTO_TCP, NOTHING_MS, &packet));
    assert_false(comes(receiver, 0));
    assert_false(comes(listener, 0));
    assert_int_equal(guest_counter(&peer.guest, "over_sockets_max"), 2);
    assert_int_equal(guest_counter(&peer.guest, "sockets"), 2);
    peer_tcp_send(&tcp, "y", 1);
    assert_true(comes(fd, 2000));

    reset(&peer, &tcp);
    assert_int_equal(guest_counter(&peer.guest, "sockets"), 1);
    tcp.port = 40002;
    syn(&peer, tcp.port, tcp_port);
    do
        peer_expect(&peer, IPPROTO_TCP, &packet);
    while (packet.destination_port != tcp.port);
    assert_int_equal(packet.tcp_flags, PEER_TCP_SYN | PEER_TCP_ACK);
    close(fd);
    close(listener);
    close(receiver);
    peer_close(&peer);
}

enum {
    OUTSIDE_MAX = 3,
};

/* 1: the connection was ended from the other side. */
static int is_reset(int fd)
{
    struct pollfd wait = {.fd = fd};

    return poll(&wait, 1, 0) == 1 && (wait.revents & POLLERR) != 0;
}

static void serve_until(struct peer *peer, const char *name, uint64_t wanted)
{
    uint64_t end = clock_now_ns() + 2 * CLOCK_SECOND_NS;

    while (guest_counter(&peer->guest, name) != wanted && clock_now_ns() < end) {
        guest_wait(&peer->guest, 10);
        guest_receive(&peer->guest, 64);
    }
    assert_int_equal(guest_counter(&peer->guest, name), wanted);
}

/* Those who connect to a port of the host that leads to the guest take of the same sockets, whether
 * the guest answers or not; who comes when there is none left is turned away at once. */
static void connections_from_outside_count(void **state)
{
    uint16_t port = peer_free_port(SOCK_STREAM);
    int fd[OUTSIDE_MAX], refused;
    struct peer_tcp tcp;
    struct peer peer;
    char text[96];

    (void)state;
    snprintf(text, sizeof(text), "user:sockets-max=%u,hostfwd=tcp:127.0.0.1:%u-:22", OUTSIDE_MAX,
             port);
    peer_open(&peer, text);
    for (unsigned i = 0; i < 3 * OUTSIDE_MAX; i++) {
        assert_int_equal(guest_counter(&peer.guest, "sockets"), 0);
        fd[0] = peer_connect_local(SOCK_STREAM, port);
        peer_tcp_accept(&tcp, &peer, 22);
        assert_int_equal(guest_counter(&peer.guest, "sockets"), 1);
        reset(&peer, &tcp);
        close(fd[0]);
    }
    fd[0] = peer_connect_local(SOCK_STREAM, port);
    peer_tcp_accept(&tcp, &peer, 22);
    for (unsigned i = 1; i < OUTSIDE_MAX; i++) {
        fd[i] = peer_connect_local(SOCK_STREAM, port);
        serve_until(&peer, "sockets", i + 1);
    }
    for (unsigned i = 0; i < OUTSIDE_MAX; i++) {
        refused = peer_connect_local(SOCK_STREAM, port);
        serve_until(&peer, "turned_away", i + 1);
        assert_true(is_reset(refused));
        close(refused);
    }
    syn(&peer, 40001, port);
    assert_int_equal(guest_counter(&peer.guest, "over_sockets_max"), 1);
    assert_int_equal(guest_counter(&peer.guest, "sockets"), OUTSIDE_MAX);
    for (unsigned i = 0; i < OUTSIDE_MAX; i++)
        assert_false(is_reset(fd[i]));
    peer_tcp_send(&tcp, "y", 1);
    assert_true(comes(fd[0], 2000));

    reset(&peer, &tcp);
    assert_int_equal(guest_counter(&peer.guest, "sockets"), OUTSIDE_MAX - 1);
    close(fd[0]);
    fd[0] = peer_connect_local(SOCK_STREAM, port);
    serve_until(&peer, "sockets", OUTSIDE_MAX);
    assert_int_equal(guest_counter(&peer.guest, "turned_away"), OUTSIDE_MAX);
    for (unsigned i = 0; i < OUTSIDE_MAX; i++)
        close(fd[i]);
    peer_close(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_files_a_connection_waits),
        cmocka_unit_test(a_guest_has_so_many_sockets),
        cmocka_unit_test(connections_from_outside_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
