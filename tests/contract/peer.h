/* SPDX-License-Identifier: MIT */
/*
 * A guest with just enough of IP to talk through the endpoint `user`: it answers ARP, speaks UDP,
 * ICMP and TCP without loss, and checks every checksum of what comes. Shares no code with src/.
 */
#pragma once

#include "guest.h"

enum {
    PEER_TCP_FIN = 1,
    PEER_TCP_SYN = 2,
    PEER_TCP_RST = 4,
    PEER_TCP_PSH = 8,
    PEER_TCP_ACK = 16,
    PEER_TCP_SEGMENT = 1400,
};

#define PEER_IP(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

struct peer {
    struct guest guest;
    uint32_t ip;
    unsigned next; /* the first frame of guest that was not looked at */
    uint64_t arp_answered;
};

/* A packet that came, or what goes into one. */
struct peer_packet {
    uint8_t protocol; /* IPPROTO_…; 0: not IPv4 */
    uint32_t source, destination;
    uint16_t source_port, destination_port;
    uint8_t tcp_flags;
    uint32_t seq, ack;
    uint16_t window;
    const uint8_t *data; /* borrowed: valid until the next wait */
    uint32_t data_len;
};

void peer_open(struct peer *peer, const char *spec);
void peer_close(struct peer *peer);

void peer_send(struct peer *peer, const void *frame, uint32_t len);
/* Completes source and checksums. */
void peer_send_packet(struct peer *peer, const struct peer_packet *packet);

/* The next packet of the protocol within the time, others are passed over; 0 if none came. */
int peer_wait(struct peer *peer, uint8_t protocol, int timeout_ms, struct peer_packet *ret_packet);
/* The same, and a test that fails if none came in two seconds. */
void peer_expect(struct peer *peer, uint8_t protocol, struct peer_packet *ret_packet);
/* The next frame of the ethertype, or NULL. */
const struct guest_frame *peer_wait_frame(struct peer *peer, uint16_t ethertype, int timeout_ms);

/* ---- one TCP connection -------------------------------------------------------------------------
 */

struct peer_tcp {
    struct peer *peer; /* borrowed */
    uint32_t remote;
    uint16_t port, remote_port;
    uint32_t seq, ack; /* what we send next, what we expect next */
    uint32_t acked;    /* what the other side has */
    uint16_t window;   /* of the other side */
};

void peer_tcp_connect(struct peer_tcp *tcp, struct peer *peer, uint32_t remote,
                      uint16_t remote_port);
/* Answers a connection that somebody opens to `port`. */
void peer_tcp_accept(struct peer_tcp *tcp, struct peer *peer, uint16_t port);
/* Sends one segment. */
void peer_tcp_send(struct peer_tcp *tcp, const void *data, uint32_t len);
/* Waits for the next segment with data, acknowledges it, returns its length; 0: none came. */
uint32_t peer_tcp_receive(struct peer_tcp *tcp, void *data, uint32_t len, int timeout_ms);

/* ---- the host: sockets of its loopback interface, SOCK_STREAM or SOCK_DGRAM --------------------
 */

int peer_bind_local(int type, uint16_t *ret_port);
uint16_t peer_free_port(int type);
int peer_connect_local(int type, uint16_t port);
