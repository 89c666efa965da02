/* SPDX-License-Identifier: MIT */
#include "packet.h"

#include <arpa/inet.h>
#include <string.h>

#include "check.h"

void packet_put(struct packet *packet, const void *bytes, uint32_t len)
{
    assert_true(len <= PACKET_ROOM - packet->len);
    if (bytes != NULL)
        memcpy(packet->bytes + packet->len, bytes, len);
    else
        memset(packet->bytes + packet->len, 0, len);
    packet->len += len;
}

void packet_put_be16(struct packet *packet, unsigned value)
{
    packet_put(packet, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

void packet_put_zeros(struct packet *packet, uint32_t len)
{
    packet_put(packet, NULL, len);
}

void packet_put_ethernet(struct packet *packet, const uint8_t to[6], unsigned ethertype)
{
    packet_put(packet, to, 6);
    packet_put_zeros(packet, 6);
    packet_put_be16(packet, ethertype);
}

void packet_put_address(struct packet *packet, const char *text)
{
    int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    uint8_t address[16];

    assert_int_equal(inet_pton(family, text, address), 1);
    packet_put(packet, address, family == AF_INET6 ? 16 : 4);
}

void packet_put_ip(struct packet *packet, uint8_t protocol, const char *from, const char *to)
{
    if (strchr(from, ':') != NULL)
        packet_put(packet, (uint8_t[]){0x60, 0, 0, 0, 0, 0, protocol, 64}, 8);
    else
        packet_put(packet, (uint8_t[]){0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}, 12);
    packet_put_address(packet, from);
    packet_put_address(packet, to);
}

void packet_put_ports(struct packet *packet, unsigned from, unsigned to)
{
    packet_put_be16(packet, from);
    packet_put_be16(packet, to);
    packet_put_zeros(packet, PACKET_PORTS_LEN - 4);
}

void packet_put_udp(struct packet *packet, unsigned to)
{
    packet_put_be16(packet, 50000);
    packet_put_be16(packet, to);
    packet_put_zeros(packet, 4);
}

void packet_finish_udp(struct packet *packet)
{
    uint8_t *network = packet->bytes + PACKET_ETHERNET_LEN;
    uint32_t len = packet->len - PACKET_ETHERNET_LEN;
    uint32_t sum = 0;

    network[2] = (uint8_t)(len >> 8);
    network[3] = (uint8_t)len;
    network[24] = (uint8_t)((len - PACKET_IPV4_LEN) >> 8);
    network[25] = (uint8_t)(len - PACKET_IPV4_LEN);
    network[10] = network[11] = 0;
    for (unsigned i = 0; i < PACKET_IPV4_LEN; i += 2)
        sum += (uint32_t)network[i] << 8 | network[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    network[10] = (uint8_t)(sum >> 8);
    network[11] = (uint8_t)sum;
}

const uint8_t packet_known_key[PACKET_KEY_LEN] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

uint32_t packet_toeplitz(const uint8_t key[PACKET_KEY_LEN], const uint8_t *input, unsigned len)
{
    uint32_t sum = 0;

    for (unsigned bit = 0; bit < len * 8; bit++) {
        if (!(input[bit / 8] >> (7 - bit % 8) & 1))
            continue;
        for (unsigned i = 0; i < 32; i++) {
            unsigned at = bit + i;

            sum ^= (uint32_t)(key[at / 8] >> (7 - at % 8) & 1) << (31 - i);
        }
    }
    return sum;
}
