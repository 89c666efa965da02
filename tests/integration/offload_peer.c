/* SPDX-License-Identifier: MIT */
#include "offload_peer.h"

#include <arpa/inet.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "inet_words.h"

enum {
    ETHERNET = 14,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    WINDOW = 65535,
};

static uint32_t ip_header_len(const struct offload_peer *peer)
{
    return peer->version == 4 ? 20 : 40;
}

static uint32_t address_len(const struct offload_peer *peer)
{
    return peer->version == 4 ? 4 : 16;
}

/* Of the addresses in a packet, either way round. */
static uint32_t pseudo_of(const struct offload_peer *peer, uint32_t protocol, uint32_t len)
{
    uint32_t sum = inet_sum(peer->ip, address_len(peer), protocol);

    sum = inet_sum(peer->host_ip, address_len(peer), sum) + len;
    return (sum & 0xffff) + (sum >> 16);
}

void peer_address(struct offload_peer *peer, const char *ip, const char *host_ip)
{
    int family = strchr(ip, ':') != NULL ? AF_INET6 : AF_INET;

    peer->version = family == AF_INET6 ? 6 : 4;
    assert_int_equal(inet_pton(family, ip, peer->ip), 1);
    assert_int_equal(inet_pton(family, host_ip, peer->host_ip), 1);
    peer->port = PEER_GUEST_PORT;
}

/* ---- packets made -------------------------------------------------------------------------------
 */

static uint32_t make_headers(const struct offload_peer *peer, uint8_t protocol, uint32_t len,
                             uint8_t *frame)
{
    uint8_t *ip = frame + ETHERNET;

    memcpy(frame, peer->host_mac, 6);
    memcpy(frame + 6, peer->mac, 6);
    put_be16(frame + 12, peer->version == 4 ? 0x0800 : 0x86dd);
    memset(ip, 0, ip_header_len(peer));
    if (peer->version == 4) {
        ip[0] = 0x45;
        put_be16(ip + 2, 20 + len);
        ip[4] = 0x77;
        ip[8] = 64;
        ip[9] = protocol;
        memcpy(ip + 12, peer->ip, 4);
        memcpy(ip + 16, peer->host_ip, 4);
        put_be16(ip + 10, ~inet_sum(ip, 20, 0));
    } else {
        ip[0] = 0x60;
        put_be16(ip + 4, len);
        ip[6] = protocol;
        ip[7] = 64;
        memcpy(ip + 8, peer->ip, 16);
        memcpy(ip + 24, peer->host_ip, 16);
    }
    return ETHERNET + ip_header_len(peer);
}

static void ask_checksum(struct net_header *header, uint32_t start, uint16_t offset)
{
    *header = (struct net_header){
        .flags = NEEDS_CSUM, .csum_start = (uint16_t)start, .csum_offset = offset};
}

uint32_t peer_make_udp(const struct offload_peer *peer, const uint8_t *payload, uint32_t len,
                       uint8_t *ret_frame, struct net_header *ret_header)
{
    uint32_t start = make_headers(peer, PROTOCOL_UDP, 8 + len, ret_frame);
    uint8_t *udp = ret_frame + start;

    put_be16(udp, peer->port);
    put_be16(udp + 2, peer->host_port);
    put_be16(udp + 4, 8 + len);
    put_be16(udp + 6, pseudo_of(peer, PROTOCOL_UDP, 8 + len));
    memcpy(udp + 8, payload, len);
    ask_checksum(ret_header, start, 6);
    ret_header->hdr_len = (uint16_t)(start + 8);
    return start + 8 + len;
}

uint32_t peer_make_tcp(struct offload_peer *peer, uint8_t flags, const uint8_t *payload,
                       uint32_t len, uint8_t *ret_frame, struct net_header *ret_header)
{
    uint32_t options = flags & TCP_SYN ? 4 : 0;
    uint32_t start = make_headers(peer, PROTOCOL_TCP, 20 + options + len, ret_frame);
    uint8_t *tcp = ret_frame + start;

    memset(tcp, 0, 24);
    put_be16(tcp, peer->port);
    put_be16(tcp + 2, peer->host_port);
    put_be32(tcp + 4, peer->seq);
    put_be32(tcp + 8, flags & TCP_ACK ? peer->ack : 0);
    tcp[12] = (uint8_t)((20 + options) << 2);
    tcp[13] = flags;
    put_be16(tcp + 14, WINDOW);
    put_be16(tcp + 16, pseudo_of(peer, PROTOCOL_TCP, 20 + options + len));
    if (options != 0)
        put_be32(tcp + 20, 0x02040000u | PEER_MSS);
    if (len != 0)
        memcpy(tcp + 20 + options, payload, len);
    ask_checksum(ret_header, start, 16);
    ret_header->hdr_len = (uint16_t)(start + 20 + options);
    peer->seq += len + (flags & TCP_SYN ? 1 : 0);
    return start + 20 + options + len;
}

void peer_ask_gso(struct net_header *header, uint8_t gso_type, uint16_t gso_size)
{
    header->gso_type = gso_type;
    header->gso_size = gso_size;
}

void peer_send(struct offload_peer *peer, const struct net_header *header, const uint8_t *frame,
               uint32_t len)
{
    net_driver_queue_with(peer->net, header, frame, len);
    driver_ring_flush(peer->net->tx);
    net_driver_drain(peer->net);
}

/* ---- packets that came --------------------------------------------------------------------------
 */

/* A device says NEEDS_CSUM only of a sum that is begun right, and of GSO frames; a frame without it
 * has a whole one. */
static void check_transport(const struct offload_peer *peer, const struct peer_packet *packet,
                            uint32_t start, uint32_t len)
{
    const uint8_t *transport = packet->bytes + start;
    uint32_t field = packet->protocol == PROTOCOL_TCP ? 16 : 6;
    uint32_t sum = pseudo_of(peer, packet->protocol, len);

    if (packet->header.flags & NEEDS_CSUM) {
        assert_int_equal(packet->header.csum_start, start);
        assert_int_equal(packet->header.csum_offset, field);
        assert_int_equal(get_be16(transport + field), sum);
    } else {
        assert_int_equal(inet_sum(transport, len, sum), 0xffff);
    }
}

static void check_header(const struct peer_packet *packet)
{
    const struct net_header *header = &packet->header;

    if (header->gso_type == GSO_NONE) {
        check(packet->len <= PEER_FRAME_PLAIN, "a frame of %u bytes without GSO", packet->len);
        return;
    }
    assert_int_equal(header->flags, NEEDS_CSUM); /* NET-RX-08 */
    assert_int_equal(header->hdr_len, packet->payload - packet->bytes);
    assert_true(header->gso_size != 0 && header->gso_size < packet->payload_len);
}

/* 1: it belongs to the connection. */
static int dissect(const struct offload_peer *peer, struct peer_packet *packet)
{
    const uint8_t *ip = packet->bytes + ETHERNET;
    uint32_t start = ETHERNET + ip_header_len(peer);
    const uint8_t *transport = packet->bytes + start;
    uint32_t ip_len, header_len = 8;

    if (get_be16(packet->bytes + 12) != (peer->version == 4 ? 0x0800 : 0x86dd))
        return 0;
    packet->protocol = peer->version == 4 ? ip[9] : ip[6];
    ip_len = peer->version == 4 ? get_be16(ip + 2) : 40 + get_be16(ip + 4);
    if (memcmp(ip + (peer->version == 4 ? 16 : 24), peer->ip, address_len(peer)) != 0 ||
        (packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP) ||
        get_be16(transport) != peer->host_port || get_be16(transport + 2) != peer->port)
        return 0;
    assert_true(ip_len <= packet->len - ETHERNET);
    if (peer->version == 4)
        assert_int_equal(inet_sum(ip, 20, 0), 0xffff);
    if (packet->protocol == PROTOCOL_TCP) {
        header_len = (transport[12] >> 4) * 4u;
        packet->seq = get_be32(transport + 4);
        packet->ack = get_be32(transport + 8);
        packet->tcp_flags = transport[13];
    } else {
        assert_int_equal(get_be16(transport + 4), ip_len - ip_header_len(peer));
    }
    packet->payload = transport + header_len;
    packet->payload_len = ip_len - ip_header_len(peer) - header_len;
    check_transport(peer, packet, start, ip_len - ip_header_len(peer));
    check_header(packet);
    return 1;
}

/* The endpoint `user` asks too. */
static void answer_arp(struct offload_peer *peer, const struct peer_packet *packet)
{
    struct net_header header = {0};
    uint8_t answer[42];

    if (get_be16(packet->bytes + 12) != 0x0806 || get_be16(packet->bytes + 20) != 1 ||
        memcmp(packet->bytes + 38, peer->ip, 4) != 0)
        return;
    memcpy(answer, packet->bytes, sizeof(answer));
    memcpy(answer, packet->bytes + 6, 6);
    memcpy(answer + 6, peer->mac, 6);
    answer[21] = 2;
    memcpy(answer + 22, peer->mac, 6);
    memcpy(answer + 28, peer->ip, 4);
    memcpy(answer + 32, packet->bytes + 22, 10);
    peer_send(peer, &header, answer, sizeof(answer));
}

int peer_receive(struct offload_peer *peer, struct peer_packet *ret_packet, int timeout_ms)
{
    uint64_t end = now_ms() + (uint64_t)timeout_ms;

    while (now_ms() < end) {
        int len = net_driver_receive(peer->net, ret_packet->bytes, sizeof(ret_packet->bytes),
                                     (int)(end - now_ms()));

        if (len < 0)
            return 0;
        ret_packet->len = (uint32_t)len;
        ret_packet->header = peer->net->last_header;
        if (dissect(peer, ret_packet))
            return 1;
        answer_arp(peer, ret_packet);
    }
    return 0;
}

void peer_resolve(struct offload_peer *peer)
{
    static const uint8_t fixed[] = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1};
    struct net_header header = {0};
    uint8_t frame[42] = {0}, got[NET_FRAME_MAX];
    int len;

    memset(frame, 0xff, 6);
    memcpy(frame + 6, peer->mac, 6);
    memcpy(frame + 12, fixed, sizeof(fixed));
    memcpy(frame + 22, peer->mac, 6);
    memcpy(frame + 28, peer->ip, 4);
    memcpy(frame + 38, peer->host_ip, 4);
    peer_send(peer, &header, frame, sizeof(frame));
    do {
        len = net_driver_receive(peer->net, got, sizeof(got), WAIT_LONG_MS);
        check(len >= 0, "nobody answers ARP");
    } while (len < 42 || get_be16(got + 12) != 0x0806 || get_be16(got + 20) != 2);
    memcpy(peer->host_mac, got + 22, 6);
}

/* ---- a TCP connection ---------------------------------------------------------------------------
 */

void peer_acknowledge(struct offload_peer *peer)
{
    struct net_header header;
    uint8_t frame[100];
    uint32_t len = peer_make_tcp(peer, TCP_ACK, NULL, 0, frame, &header);

    peer_send(peer, &header, frame, len);
}

void peer_connect(struct offload_peer *peer)
{
    static struct peer_packet packet;
    struct net_header header;
    uint8_t frame[100];
    uint32_t len;

    peer->seq = 0x10000000;
    len = peer_make_tcp(peer, TCP_SYN, NULL, 0, frame, &header);
    peer_send(peer, &header, frame, len);
    check(peer_receive(peer, &packet, WAIT_LONG_MS), "no answer to SYN");
    assert_int_equal(packet.tcp_flags & (TCP_SYN | TCP_ACK), TCP_SYN | TCP_ACK);
    assert_int_equal(packet.ack, peer->seq);
    peer->ack = packet.seq + 1;
    peer_acknowledge(peer);
}
