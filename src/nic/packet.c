/* SPDX-License-Identifier: MIT */
#include "nic/packet.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

enum {
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88a8,
    EXTENSION_HOP_BY_HOP = 0,
    EXTENSION_ROUTING = 43,
    EXTENSION_DESTINATION = 60,
    OPTION_PAD1 = 0,
    OPTION_HOME_ADDRESS = 201,   /* RFC 6275, 6.3 */
    IPV4_FRAGMENT_BITS = 0x3fff, /* more fragments, and the offset */
};

uint32_t packet_peek(const struct iovec *iov, uint32_t iov_count, uint8_t *ret_bytes, uint32_t max)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < iov_count && done < max; i++) {
        uint32_t part = (uint32_t)MIN(iov[i].iov_len, max - done);

        memcpy(ret_bytes + done, iov[i].iov_base, part);
        done += part;
    }
    return done;
}

uint16_t packet_ethertype(const uint8_t *bytes, uint32_t len, uint32_t *ret_network)
{
    uint32_t offset = 12;

    for (int tags = 0; tags <= 2 && offset + 2 <= len; tags++) {
        uint16_t type = be16_read(bytes + offset);

        if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ) {
            *ret_network = offset + 2;
            return type;
        }
        offset += 4;
    }
    return 0;
}

static int parse_ipv4(const uint8_t *bytes, uint32_t len, struct packet *packet)
{
    const uint8_t *ip = bytes + packet->network;
    uint32_t header_len;

    if (!range_within(packet->network, IPV4_HEADER_MIN, len))
        return -EINVAL;
    header_len = (ip[0] & 0xfu) * 4;
    if (ip[0] >> 4 != 4 || header_len < IPV4_HEADER_MIN ||
        !range_within(packet->network, header_len, len))
        return -EINVAL;
    if (be16_read(ip + 6) & IPV4_FRAGMENT_BITS)
        return -EINVAL;
    packet->protocol = ip[9];
    packet->next_header = (uint16_t)(packet->network + 9);
    packet->transport = (uint16_t)(packet->network + header_len);
    packet->fragmentable = packet->transport;
    return 0;
}

/* Whether pseudo-header sums are over other addresses than those of the IPv6 header: with a routing
 * header that has hops left (RFC 8200, 8.1), and away from home. */
static uint8_t is_readdressed(uint8_t type, const uint8_t *extension, uint32_t len)
{
    uint32_t at = 2;

    if (type == EXTENSION_ROUTING)
        return extension[3] != 0;
    while (type == EXTENSION_DESTINATION && at + 1 < len) {
        if (extension[at] == OPTION_HOME_ADDRESS)
            return 1;
        at += extension[at] == OPTION_PAD1 ? 1 : 2u + extension[at + 1];
    }
    return 0;
}

/* The walk ends: each header is at least 8 bytes long, and there are at most PACKET_HEADER_MAX.
 * Headers that Linux does not step over when it segments end it as if they were the transport. */
static int parse_ipv6(const uint8_t *bytes, uint32_t len, struct packet *packet)
{
    uint32_t next_header = packet->network + 6u;
    uint32_t offset = packet->network + (uint32_t)IPV6_HEADER_LEN;

    if (!range_within(packet->network, IPV6_HEADER_LEN, len) || bytes[packet->network] >> 4 != 6)
        return -EINVAL;
    packet->next_header = (uint16_t)next_header;
    packet->fragmentable = (uint16_t)offset;
    while (bytes[next_header] == EXTENSION_HOP_BY_HOP || bytes[next_header] == EXTENSION_ROUTING ||
           bytes[next_header] == EXTENSION_DESTINATION) {
        uint8_t type = bytes[next_header];

        if (!range_within(offset, 8, len))
            return -EINVAL;
        next_header = offset;
        offset += (bytes[offset + 1] + 1u) * 8;
        if (offset > len)
            return -EINVAL;
        packet->readdressed |= is_readdressed(type, bytes + next_header, offset - next_header);
        if (type == EXTENSION_DESTINATION) /* routers need it only in front of a routing header */
            continue;
        packet->next_header = (uint16_t)next_header;
        packet->fragmentable = (uint16_t)offset;
    }
    packet->protocol = bytes[next_header];
    packet->transport = (uint16_t)offset;
    return 0;
}

static int parse_ip(const uint8_t *bytes, uint32_t len, struct packet *packet)
{
    if (packet->ethertype == ETHERTYPE_IPV4)
        return parse_ipv4(bytes, len, packet);
    if (packet->ethertype == ETHERTYPE_IPV6)
        return parse_ipv6(bytes, len, packet);
    return -EINVAL;
}

int packet_parse(const uint8_t *bytes, uint32_t len, struct packet *ret_packet)
{
    uint32_t network = 0;

    len = MIN(len, PACKET_HEADER_MAX);
    *ret_packet = (struct packet){.ethertype = packet_ethertype(bytes, len, &network)};
    ret_packet->network = (uint16_t)network;
    return parse_ip(bytes, len, ret_packet);
}

int packet_parse_at(const uint8_t *bytes, uint32_t len, uint32_t network, struct packet *ret_packet)
{
    len = MIN(len, PACKET_TUNNEL_MAX);
    if (network >= len)
        return -EINVAL;
    *ret_packet =
        (struct packet){.ethertype = bytes[network] >> 4 == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6,
                        .network = (uint16_t)network};
    return parse_ip(bytes, len, ret_packet);
}
