/* SPDX-License-Identifier: MIT */
/*
 * The far end of a kernel's socket, behind a driver double: makes packets of TCP and UDP as large
 * as an offload allows, with partial checksums, and looks into every packet that comes. Shares no
 * code with src/.
 */
#pragma once

#include "net_driver.h"

#define NET_CSUM       (1ull << 0)
#define NET_GUEST_CSUM (1ull << 1)
#define NET_GUEST_GSO  (0xfull << 7 | 3ull << 54) /* TSO4, TSO6, ECN, UFO; USO4, USO6 */
#define NET_GUEST_TSO4 (1ull << 7)
#define NET_GUEST_ECN  (1ull << 9)
#define NET_HOST_GSO   (0xfull << 11 | 1ull << 56)

enum {
    GSO_NONE = 0,
    GSO_TCPV4 = 1,
    GSO_UDP = 3,
    GSO_TCPV6 = 4,
    GSO_UDP_L4 = 5,
    GSO_ECN = 0x80,
    NEEDS_CSUM = 1,
    TCP_SYN = 2,
    TCP_PSH = 8,
    TCP_ACK = 16,
    TCP_CWR = 128,
    PEER_MSS = 1400,
    PEER_GUEST_PORT = 4000,
    PEER_FRAME_PLAIN = 1514,
};

struct offload_peer {
    struct net_driver *net; /* borrowed */
    uint8_t mac[6];
    uint8_t host_mac[6];
    unsigned version; /* of IP */
    uint8_t ip[16];   /* 4 of them for version 4 */
    uint8_t host_ip[16];
    uint16_t port, host_port;
    uint32_t seq, ack; /* TCP: what we send next, what we expect next */
};

/* A packet as it came. */
struct peer_packet {
    uint8_t bytes[NET_FRAME_MAX];
    uint32_t len;
    struct net_header header;
    uint8_t protocol;
    uint8_t tcp_flags;
    uint32_t seq, ack;
    const uint8_t *payload; /* into bytes */
    uint32_t payload_len;
};

/* Addresses as text; they say which version. */
void peer_address(struct offload_peer *peer, const char *ip, const char *host_ip);
/* Asks for the MAC of host_ip with ARP, as the endpoint `user` wants to be asked. */
void peer_resolve(struct offload_peer *peer);

/* A packet of the peer's connection, and a header for it that asks for the checksum, and for
 * segments of gso_size if that is not 0. Returns its length. */
uint32_t peer_make_udp(const struct offload_peer *peer, const uint8_t *payload, uint32_t len,
                       uint8_t *ret_frame, struct net_header *ret_header);
uint32_t peer_make_tcp(struct offload_peer *peer, uint8_t flags, const uint8_t *payload,
                       uint32_t len, uint8_t *ret_frame, struct net_header *ret_header);
void peer_ask_gso(struct net_header *header, uint8_t gso_type, uint16_t gso_size);
void peer_send(struct offload_peer *peer, const struct net_header *header, const uint8_t *frame,
               uint32_t len);

/* The next packet of the connection, checked: lengths, checksums, and that its net header says what
 * it is. 0: none came in time. */
int peer_receive(struct offload_peer *peer, struct peer_packet *ret_packet, int timeout_ms);

/* Opens the connection to a listening socket. */
void peer_connect(struct offload_peer *peer);
void peer_acknowledge(struct offload_peer *peer);
