/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "check.h"
#include "host.h"
#include "inet_words.h"

static const uint8_t peer_mac[6] = {0x52, 0x54, 0, 0, 0, 1};

void peer_open(struct peer *peer, const char *spec)
{
    *peer = (struct peer){.ip = PEER_IP(10, 0, 2, 15)};
    guest_open(&peer->guest, spec);
}

void peer_close(struct peer *peer)
{
    guest_close(&peer->guest);
}

/* ---- sending ------------------------------------------------------------------------------------
 */

void peer_send(struct peer *peer, const void *frame, uint32_t len)
{
    struct test_frame test_frame;

    test_frame_from(&test_frame, frame, len, 3);
    assert_int_equal(guest_send(&peer->guest, &test_frame.frame, 1), 1);
    test_frame_free(&test_frame);
}

static uint32_t transport_header(const struct peer_packet *packet, uint8_t *at)
{
    put_be16(at, packet->source_port);
    put_be16(at + 2, packet->destination_port);
    if (packet->protocol == IPPROTO_UDP) {
        put_be16(at + 4, 8 + packet->data_len);
        return 8;
    }
    if (packet->protocol == IPPROTO_ICMP)
        return 0;
    put_be32(at + 4, packet->seq);
    put_be32(at + 8, packet->ack);
    at[12] = 0x50;
    at[13] = packet->tcp_flags;
    put_be16(at + 14, 65535);
    return 20;
}

static uint32_t pseudo_header_sum(const uint8_t *ip, uint32_t len)
{
    return get_be16(ip + 12) + get_be16(ip + 14) + get_be16(ip + 16) + get_be16(ip + 18) + ip[9] +
           len;
}

void peer_send_packet(struct peer *peer, const struct peer_packet *packet)
{
    uint8_t frame[2048] = {0x52, 0x55, 10, 0, 2, 2};
    uint8_t *ip = frame + 14, *l4 = ip + 20;
    uint32_t header_len = transport_header(packet, l4);
    uint32_t l4_len = header_len + packet->data_len;

    memcpy(frame + 6, peer_mac, 6);
    put_be16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put_be16(ip + 2, 20 + l4_len);
    ip[8] = 64;
    ip[9] = packet->protocol;
    put_be32(ip + 12, packet->source != 0 ? packet->source : peer->ip);
    put_be32(ip + 16, packet->destination);
    put_be16(ip + 10, internet_checksum(ip, 20, 0));
    if (packet->data_len > 0)
        memcpy(l4 + header_len, packet->data, packet->data_len);
    if (packet->protocol == IPPROTO_TCP)
        put_be16(l4 + 16, internet_checksum(l4, l4_len, pseudo_header_sum(ip, l4_len)));
    if (packet->protocol == IPPROTO_UDP)
        put_be16(l4 + 6, internet_checksum(l4, l4_len, pseudo_header_sum(ip, l4_len)));
    peer_send(peer, frame, 14 + 20 + l4_len);
}

/* ---- receiving ----------------------------------------------------------------------------------
 */

static void answer_arp(struct peer *peer, const struct guest_frame *request)
{
    uint8_t answer[60];

    if (get_be16(request->bytes + 20) != 1 || get_be32(request->bytes + 38) != peer->ip)
        return;
    memcpy(answer, request->bytes, 42);
    memset(answer + 42, 0, sizeof(answer) - 42);
    memcpy(answer, request->bytes + 6, 6);
    memcpy(answer + 6, peer_mac, 6);
    answer[21] = 2;
    memcpy(answer + 22, peer_mac, 6);
    memcpy(answer + 28, request->bytes + 38, 4);
    memcpy(answer + 32, request->bytes + 22, 10);
    peer->arp_answered++;
    peer_send(peer, answer, sizeof(answer));
}

const struct guest_frame *peer_wait_frame(struct peer *peer, uint16_t ethertype, int timeout_ms)
{
    uint64_t end = clock_now_ns() + (uint64_t)timeout_ms * CLOCK_MILLISECOND_NS;

    for (;;) {
        const struct guest_frame *frame = &peer->guest.frame[peer->next];

        if (peer->next < peer->guest.frame_count) {
            peer->next++;
            if (get_be16(frame->bytes + 12) == 0x0806)
                answer_arp(peer, frame);
            if (get_be16(frame->bytes + 12) == ethertype)
                return frame;
            continue;
        }
        guest_forget_frames(&peer->guest);
        peer->next = 0;
        if (clock_now_ns() >= end)
            return NULL;
        if (guest_wait(&peer->guest, 10))
            guest_receive(&peer->guest, 64);
    }
}

/* A segment larger than the guest asked for has only its pseudo header summed. */
static void check_large_segment(const struct frame_offload *offload, const uint8_t *ip,
                                uint32_t ip_len, uint32_t l4_len)
{
    uint32_t sum = pseudo_header_sum(ip, l4_len);

    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    assert_int_equal(offload->flags, FRAME_NEEDS_CSUM);
    assert_int_equal(offload->gso_type, FRAME_GSO_TCPV4);
    assert_true(offload->gso_size <= 1460 && offload->gso_size < l4_len);
    assert_int_equal(offload->csum_start, 14 + ip_len);
    assert_int_equal(offload->csum_offset, 16);
    assert_int_equal(get_be16(ip + ip_len + 16), sum);
}

static void parse(const struct guest_frame *frame, struct peer_packet *ret)
{
    const uint8_t *ip = frame->bytes + 14;
    uint32_t ip_len = (ip[0] & 15u) * 4, header_len;
    const uint8_t *l4 = ip + ip_len;
    uint32_t l4_len = get_be16(ip + 2) - ip_len;

    assert_int_equal(internet_checksum(ip, ip_len, 0), 0);
    *ret = (struct peer_packet){.protocol = ip[9]};
    ret->source = get_be32(ip + 12);
    ret->destination = get_be32(ip + 16);
    header_len = ip[9] == IPPROTO_UDP ? 8 : ip[9] == IPPROTO_TCP ? (l4[12] >> 4) * 4u : 0;
    ret->data = l4 + header_len;
    ret->data_len = l4_len - header_len;
    if (ip[9] == IPPROTO_ICMP) {
        assert_int_equal(internet_checksum(l4, l4_len, 0), 0);
        return;
    }
    if (frame->offload.gso_type != FRAME_GSO_NONE)
        check_large_segment(&frame->offload, ip, ip_len, l4_len);
    else if (ip[9] == IPPROTO_TCP || get_be16(l4 + 6) != 0)
        assert_int_equal(internet_checksum(l4, l4_len, pseudo_header_sum(ip, l4_len)), 0);
    ret->source_port = (uint16_t)get_be16(l4);
    ret->destination_port = (uint16_t)get_be16(l4 + 2);
    if (ip[9] != IPPROTO_TCP)
        return;
    ret->seq = get_be32(l4 + 4);
    ret->ack = get_be32(l4 + 8);
    ret->tcp_flags = l4[13];
    ret->window = (uint16_t)get_be16(l4 + 14);
}

int peer_wait(struct peer *peer, uint8_t protocol, int timeout_ms, struct peer_packet *ret_packet)
{
    const struct guest_frame *frame;

    *ret_packet = (struct peer_packet){0};
    while ((frame = peer_wait_frame(peer, 0x0800, timeout_ms)) != NULL) {
        parse(frame, ret_packet);
        if (ret_packet->protocol == protocol)
            return 1;
    }
    return 0;
}

void peer_expect(struct peer *peer, uint8_t protocol, struct peer_packet *ret_packet)
{
    check(peer_wait(peer, protocol, 2000, ret_packet), "no packet of protocol %u came", protocol);
}

/* ---- TCP ----------------------------------------------------------------------------------------
 */

static void tcp_send(struct peer_tcp *tcp, uint8_t flags, const void *data, uint32_t len)
{
    struct peer_packet packet = {
        .protocol = IPPROTO_TCP,
        .destination = tcp->remote,
        .source_port = tcp->port,
        .destination_port = tcp->remote_port,
        .tcp_flags = flags,
        .seq = tcp->seq,
        .ack = tcp->ack,
        .data = data,
        .data_len = len,
    };

    peer_send_packet(tcp->peer, &packet);
    tcp->seq += len + ((flags & (PEER_TCP_SYN | PEER_TCP_FIN)) != 0);
}

/* Takes in one segment of this connection; returns its data's length. */
static uint32_t tcp_take(struct peer_tcp *tcp, const struct peer_packet *segment)
{
    if (segment->destination_port != tcp->port || segment->source_port != tcp->remote_port)
        return 0;
    check((segment->tcp_flags & PEER_TCP_RST) == 0, "the connection was reset");
    if ((segment->tcp_flags & PEER_TCP_ACK) != 0)
        tcp->acked = segment->ack;
    tcp->window = segment->window;
    if (segment->data_len == 0 || segment->seq != tcp->ack)
        return 0; /* an acknowledgement, or something sent again */
    tcp->ack += segment->data_len;
    return segment->data_len;
}

void peer_tcp_connect(struct peer_tcp *tcp, struct peer *peer, uint32_t remote,
                      uint16_t remote_port)
{
    struct peer_packet answer;

    *tcp = (struct peer_tcp){peer, remote, 40000, remote_port, 1000, 0, 1000, 0};
    tcp_send(tcp, PEER_TCP_SYN, NULL, 0);
    peer_expect(peer, IPPROTO_TCP, &answer);
    assert_int_equal(answer.tcp_flags, PEER_TCP_SYN | PEER_TCP_ACK);
    assert_int_equal(answer.source, remote);
    assert_int_equal(answer.source_port, remote_port);
    assert_int_equal(answer.ack, 1001);
    tcp->ack = answer.seq + 1;
    tcp->acked = answer.ack;
    tcp->window = answer.window;
    tcp_send(tcp, PEER_TCP_ACK, NULL, 0);
}

void peer_tcp_accept(struct peer_tcp *tcp, struct peer *peer, uint16_t port)
{
    struct peer_packet syn = {0};

    do /* the last words of an older connection may come first */
        peer_expect(peer, IPPROTO_TCP, &syn);
    while (syn.tcp_flags != PEER_TCP_SYN);
    assert_int_equal(syn.destination, peer->ip);
    assert_int_equal(syn.destination_port, port);
    *tcp = (struct peer_tcp){peer, syn.source,  port, syn.source_port,
                             5000, syn.seq + 1, 5000, syn.window};
    tcp_send(tcp, PEER_TCP_SYN | PEER_TCP_ACK, NULL, 0);
    while (tcp->acked != 5001) {
        peer_expect(peer, IPPROTO_TCP, &syn);
        tcp_take(tcp, &syn);
    }
}

void peer_tcp_send(struct peer_tcp *tcp, const void *data, uint32_t len)
{
    struct peer_packet segment = {0};

    while (tcp->seq - tcp->acked + len > tcp->window) {
        peer_expect(tcp->peer, IPPROTO_TCP, &segment);
        assert_int_equal(tcp_take(tcp, &segment), 0);
    }
    tcp_send(tcp, PEER_TCP_PSH | PEER_TCP_ACK, data, len);
}

uint32_t peer_tcp_receive(struct peer_tcp *tcp, void *data, uint32_t len, int timeout_ms)
{
    struct peer_packet segment = {0};

    while (peer_wait(tcp->peer, IPPROTO_TCP, timeout_ms, &segment)) {
        uint32_t n = tcp_take(tcp, &segment);

        if (n == 0)
            continue;
        assert_true(n <= len);
        memcpy(data, segment.data, n);
        tcp_send(tcp, PEER_TCP_ACK, NULL, 0);
        return n;
    }
    return 0;
}

/* ---- the host -----------------------------------------------------------------------------------
 */

int peer_bind_local(int type, uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    assert_return_code(bind(fd, (struct sockaddr *)&address, len), errno);
    assert_return_code(getsockname(fd, (struct sockaddr *)&address, &len), errno);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

uint16_t peer_free_port(int type)
{
    uint16_t port;

    close(peer_bind_local(type, &port));
    return port;
}

int peer_connect_local(int type, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}
