/* SPDX-License-Identifier: MIT */
/*
 * Packets made by hand, header by header. Lengths and checksums in them stay 0 unless the caller
 * writes them.
 */
#pragma once

#include <stdint.h>

enum {
    PACKET_ROOM = 2048,
    PACKET_ETHERNET_LEN = 14,
    PACKET_IPV4_LEN = 20,
    PACKET_IPV6_LEN = 40,
    PACKET_PORTS_LEN = 20,
    PACKET_KEY_LEN = 40, /* of a Toeplitz hash */
    PACKET_TCP = 6,
    PACKET_UDP = 17,
    PACKET_GRE = 47,
    PACKET_NO_PORTS = 0xfd, /* a protocol that has none */
    PACKET_HOP_BY_HOP = 0,
    PACKET_ROUTING = 43,
    PACKET_FRAGMENT = 44,
    PACKET_DESTINATION = 60,
};

struct packet {
    uint8_t bytes[PACKET_ROOM];
    uint32_t len;
};

void packet_put(struct packet *packet, const void *bytes, uint32_t len);
void packet_put_be16(struct packet *packet, unsigned value);
void packet_put_zeros(struct packet *packet, uint32_t len);
/* `to` NULL: zeros. */
void packet_put_ethernet(struct packet *packet, const uint8_t to[6], unsigned ethertype);
/* An IPv4 or IPv6 header, whichever the addresses are of. */
void packet_put_ip(struct packet *packet, uint8_t protocol, const char *from, const char *to);
/* 4 or 16 bytes. */
void packet_put_address(struct packet *packet, const char *text);
/* Ports and zeros, as many bytes as a TCP header has. */
void packet_put_ports(struct packet *packet, unsigned from, unsigned to);
/* A UDP header. */
void packet_put_udp(struct packet *packet, unsigned to);
/* Writes the lengths and the header checksum of a whole packet of Ethernet, IPv4 without options
 * and UDP; UDP's checksum stays 0, which is none. */
void packet_finish_udp(struct packet *packet);

/* The key of the published answers. */
extern const uint8_t packet_known_key[PACKET_KEY_LEN];
/* The definition, bit by bit: where the input has a one, the key's 32 bits at that place count. */
uint32_t packet_toeplitz(const uint8_t key[PACKET_KEY_LEN], const uint8_t *input, unsigned len);
