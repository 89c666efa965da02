/* SPDX-License-Identifier: MIT */
#include "endpoint/user/opening.h"

#include <netinet/in.h>

#include "base/byteorder.h"
#include "endpoint/user/headers.h"

enum {
    UDP_LEN = 8,
    UDP_DESTINATION = 2,
    DHCP_SERVER_PORT = 67,
    DHCPV6_SERVER_PORT = 547,
    /* Router and neighbour discovery and what else has no identifier (RFC 4861). */
    ICMPV6_ROUTER_SOLICITATION = 133,
};

/* The transport header and what is there of it. */
static int transport_may_open(unsigned protocol, const uint8_t *bytes, uint32_t len)
{
    if (protocol == IPPROTO_TCP)
        return len < TCP_LEN || (bytes[TCP_FLAGS] & TCP_FLAG_SYN) != 0;
    if (protocol == IPPROTO_ICMPV6)
        return len == 0 || bytes[0] < ICMPV6_ROUTER_SOLICITATION;
    return protocol != IPPROTO_UDP || len < UDP_LEN ||
           (be16_read(bytes + UDP_DESTINATION) != DHCP_SERVER_PORT &&
            be16_read(bytes + UDP_DESTINATION) != DHCPV6_SERVER_PORT);
}

int frame_may_open_socket(const uint8_t *bytes, uint32_t len)
{
    const uint8_t *ip = bytes + ETHERNET_LEN;
    uint32_t header_len;

    if (len < ETHERNET_LEN + IPV4_LEN)
        return 0;
    len -= ETHERNET_LEN;
    if (be16_read(bytes + ETHERNET_TYPE) == ETHERTYPE_IPV4) {
        header_len = (ip[0] & 0xfu) * 4u;
        /* A part of a packet may be its last. */
        return header_len < IPV4_LEN || header_len > len ||
               (be16_read(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_BITS) != 0 ||
               transport_may_open(ip[IPV4_PROTOCOL], ip + header_len, len - header_len);
    }
    if (be16_read(bytes + ETHERNET_TYPE) == ETHERTYPE_IPV6)
        return len < IPV6_LEN || transport_may_open(ip[IPV6_NEXT], ip + IPV6_LEN, len - IPV6_LEN);
    return 0;
}
