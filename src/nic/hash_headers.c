/* SPDX-License-Identifier: MIT */
#include "nic/hash_headers.h"

#include <string.h>

#include "base/checked.h"

enum {
    ETHERTYPE_ETHERNET = 0x6558, /* a whole frame in a tunnel */
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88a8,
    VLAN_TAGS_MAX = 2,

    IP_PROTOCOL_HOP_BY_HOP = 0,
    IP_PROTOCOL_IPV4 = 4,
    IP_PROTOCOL_ROUTING = 43,
    IP_PROTOCOL_FRAGMENT = 44,
    IP_PROTOCOL_GRE = 47,
    IP_PROTOCOL_AUTHENTICATION = 51,
    IP_PROTOCOL_DESTINATION = 60,
    IP_PROTOCOL_MOBILITY = 135,
    IP_PROTOCOL_HIP = 139,
    IP_PROTOCOL_SHIM6 = 140,

    IPV4_FRAGMENT = 0x3fff, /* more fragments, or an offset */
    EXTENSION_MIN = 8,
    OPTION_PAD1 = 0,
    OPTION_HOME_ADDRESS = 201,
    ROUTING_TYPE2_LEN = 24,

    UDP_PORT_GRE = 4754,
    UDP_PORT_VXLAN = 4789,
    UDP_PORT_VXLAN_GPE = 4790,
    UDP_PORT_GENEVE = 6081,

    GRE_CHECKSUM = 0x8000,
    GRE_ROUTING = 0x4000, /* RFC 1701 only */
    GRE_KEY = 0x2000,
    GRE_SEQUENCE = 0x1000,
    GRE_VERSION = 0x7,
    VXLAN_HEADER_LEN = 8,
    VXLAN_ID_VALID = 0x08,
    VXLAN_GPE_VERSION = 0x30,
    VXLAN_GPE_PROTOCOL_VALID = 0x04,
    VXLAN_GPE_CONTROL = 0x01,
    GENEVE_HEADER_MIN = 8,
    GENEVE_VERSION = 0xc0,
    GENEVE_OPTIONS = 0x3f, /* in words of 4 bytes */
    GENEVE_CONTROL = 0x80,
};

/* A tunnel's payload. */
struct inner {
    uint32_t types;    /* HASH_TUNNEL_… that this tunnel is; 0: none */
    uint32_t at;       /* where the payload starts */
    uint16_t protocol; /* its ethertype */
};

static void read_ipv4(const uint8_t *bytes, uint32_t at, uint32_t len, struct hash_headers *headers)
{
    uint32_t header_len, total;

    if (!range_within(at, IPV4_HEADER_MIN, len) || bytes[at] >> 4 != 4)
        return;
    header_len = (bytes[at] & 0xfu) * 4;
    if (header_len < IPV4_HEADER_MIN)
        return;
    headers->version = 4;
    headers->address = bytes + at + 12;
    total = be16_read(bytes + at + 2); /* 0: longer than the field can tell */
    headers->end = total != 0 ? MIN(at + total, len) : len;
    if (!range_within(at, header_len, headers->end))
        return;
    if (be16_read(bytes + at + 6) & IPV4_FRAGMENT)
        return;
    headers->protocol = bytes[at + 9];
    headers->transport = at + header_len;
}

static int is_extension(uint8_t protocol)
{
    switch (protocol) {
    case IP_PROTOCOL_HOP_BY_HOP:
    case IP_PROTOCOL_ROUTING:
    case IP_PROTOCOL_FRAGMENT:
    case IP_PROTOCOL_AUTHENTICATION:
    case IP_PROTOCOL_DESTINATION:
    case IP_PROTOCOL_MOBILITY:
    case IP_PROTOCOL_HIP:
    case IP_PROTOCOL_SHIM6:
        return 1;
    default:
        return 0;
    }
}

/* RFC 6275, 6.3. Returns the address, or NULL. */
static const uint8_t *find_home_address(const uint8_t *options, uint32_t len)
{
    uint32_t at = 2;

    while (at + 2 <= len) {
        uint32_t option_len = options[at + 1];

        if (options[at] == OPTION_PAD1) {
            at++;
            continue;
        }
        if (options[at] == OPTION_HOME_ADDRESS && option_len == 16)
            return at + 2 + 16 <= len ? options + at + 2 : NULL;
        at += 2 + option_len;
    }
    return NULL;
}

static void note_addresses(const uint8_t *extension, uint8_t type, uint32_t len,
                           struct hash_headers *headers)
{
    if (type == IP_PROTOCOL_DESTINATION) {
        const uint8_t *home = find_home_address(extension, len);

        if (home != NULL)
            headers->home = home;
    }
    if (type == IP_PROTOCOL_ROUTING && extension[2] == 2 && len == ROUTING_TYPE2_LEN)
        headers->routed = extension + 8;
}

/* Leaves `headers` alone if the extension headers do not end within the packet: an address among
 * those that are missing would have counted. */
static void read_extensions(const uint8_t *bytes, uint8_t protocol, struct hash_headers *headers)
{
    struct hash_headers found = *headers;
    uint32_t at = headers->transport;

    found.extended = 1;
    while (is_extension(protocol)) {
        uint32_t len;

        if (!range_within(at, EXTENSION_MIN, headers->end))
            return;
        if (protocol == IP_PROTOCOL_FRAGMENT) { /* ports of a fragment are never used */
            *headers = found;
            return;
        }
        len = protocol == IP_PROTOCOL_AUTHENTICATION ? (bytes[at + 1] + 2u) * 4
                                                     : (bytes[at + 1] + 1u) * 8;
        if (!range_within(at, len, headers->end))
            return;
        note_addresses(bytes + at, protocol, len, &found);
        protocol = bytes[at];
        at += len;
    }
    found.protocol = protocol;
    found.transport = at;
    *headers = found;
}

static void read_ipv6(const uint8_t *bytes, uint32_t at, uint32_t len, struct hash_headers *headers)
{
    uint32_t payload_len;
    uint8_t protocol;

    if (!range_within(at, IPV6_HEADER_LEN, len) || bytes[at] >> 4 != 6)
        return;
    headers->version = 6;
    headers->address = bytes + at + 8;
    headers->home = headers->address;
    headers->routed = headers->address + 16;
    headers->transport = at + IPV6_HEADER_LEN;
    payload_len = be16_read(bytes + at + 4); /* 0: longer than the field can tell */
    headers->end = payload_len != 0 ? MIN(headers->transport + payload_len, len) : len;
    protocol = bytes[at + 6];
    if (is_extension(protocol))
        read_extensions(bytes, protocol, headers);
    else
        headers->protocol = protocol;
}

static void read_network(const uint8_t *bytes, const struct inner *from, uint32_t len,
                         struct hash_headers *ret_headers)
{
    *ret_headers = (struct hash_headers){.protocol = IP_PROTOCOL_UNKNOWN};
    if (from->protocol == ETHERTYPE_IPV4)
        read_ipv4(bytes, from->at, len, ret_headers);
    else if (from->protocol == ETHERTYPE_IPV6)
        read_ipv6(bytes, from->at, len, ret_headers);
}

static void read_ethernet(const uint8_t *bytes, uint32_t at, uint32_t len,
                          struct hash_headers *ret_headers)
{
    struct inner network = {.protocol = ETHERTYPE_VLAN, .at = at + 12};

    for (int tags = 0; tags <= VLAN_TAGS_MAX && range_within(network.at, 2, len); tags++) {
        network.protocol = be16_read(bytes + network.at);
        network.at += 2;
        if (network.protocol != ETHERTYPE_VLAN && network.protocol != ETHERTYPE_QINQ)
            break;
        network.at += 2;
    }
    read_network(bytes, &network, len, ret_headers);
}

void hash_headers_read(const uint8_t *bytes, uint32_t len, struct hash_headers *ret_headers)
{
    read_ethernet(bytes, 0, len, ret_headers);
}

/* ---- tunnels (virtio 1.4, 5.1.6.4.4) ---- */

/* GRE over IPv4 that carries no IPv6 is one of two kinds, by its fields; with IPv6 on either side
 * it is the third. NVGRE is also what its header looks like. */
static uint32_t gre_types(uint16_t flags, uint16_t payload, uint8_t delivery_version)
{
    unsigned fields = flags & (GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE);
    uint32_t types = payload == ETHERTYPE_ETHERNET && fields == GRE_KEY ? HASH_TUNNEL_NVGRE : 0;

    if (delivery_version == 6 || payload == ETHERTYPE_IPV6)
        return types | HASH_TUNNEL_GRE_7676;
    return types |
           (fields & (GRE_KEY | GRE_SEQUENCE) ? HASH_TUNNEL_GRE_2890 : HASH_TUNNEL_GRE_2784);
}

static void read_gre(const uint8_t *bytes, uint32_t at, const struct hash_headers *outer,
                     struct inner *ret_inner)
{
    uint16_t flags;

    if (!range_within(at, 4, outer->end))
        return;
    flags = be16_read(bytes + at);
    if (flags & (GRE_ROUTING | GRE_VERSION))
        return;
    ret_inner->protocol = be16_read(bytes + at + 2);
    ret_inner->types = outer->protocol == IP_PROTOCOL_UDP
                           ? HASH_TUNNEL_GRE_UDP
                           : gre_types(flags, ret_inner->protocol, outer->version);
    ret_inner->at = at + 4;
    for (unsigned field = GRE_CHECKSUM; field >= GRE_SEQUENCE; field >>= 1)
        ret_inner->at += flags & field ? 4 : 0;
}

static uint16_t vxlan_gpe_protocol(const uint8_t *header)
{
    static const uint16_t protocols[] = {0, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ETHERNET};

    if (!(header[0] & VXLAN_GPE_PROTOCOL_VALID))
        return ETHERTYPE_ETHERNET;
    return header[3] < ARRAY_COUNT(protocols) ? protocols[header[3]] : 0;
}

static void read_vxlan(const uint8_t *bytes, uint32_t at, uint32_t type, struct inner *ret_inner)
{
    const uint8_t *header = bytes + at;

    if (!(header[0] & VXLAN_ID_VALID))
        return;
    ret_inner->at = at + VXLAN_HEADER_LEN;
    ret_inner->protocol = ETHERTYPE_ETHERNET;
    ret_inner->types = type;
    if (type == HASH_TUNNEL_VXLAN)
        return;
    if (header[0] & (VXLAN_GPE_VERSION | VXLAN_GPE_CONTROL))
        ret_inner->types = 0;
    ret_inner->protocol = vxlan_gpe_protocol(header);
}

static void read_geneve(const uint8_t *bytes, uint32_t at, struct inner *ret_inner)
{
    const uint8_t *header = bytes + at;

    if (header[0] & GENEVE_VERSION || header[1] & GENEVE_CONTROL)
        return;
    ret_inner->at = at + GENEVE_HEADER_MIN + (header[0] & GENEVE_OPTIONS) * 4u;
    ret_inner->protocol = be16_read(header + 2);
    ret_inner->types = HASH_TUNNEL_GENEVE;
}

static void read_udp_tunnel(const uint8_t *bytes, const struct hash_headers *outer,
                            struct inner *ret_inner)
{
    uint32_t payload = outer->transport + UDP_HEADER_LEN;

    /* 4 bytes of a tunnel's header say what it carries. */
    if (!range_within(outer->transport, UDP_HEADER_LEN + 4, outer->end))
        return;
    switch (be16_read(bytes + outer->transport + 2)) {
    case UDP_PORT_GRE:
        read_gre(bytes, payload, outer, ret_inner);
        break;
    case UDP_PORT_VXLAN:
        read_vxlan(bytes, payload, HASH_TUNNEL_VXLAN, ret_inner);
        break;
    case UDP_PORT_VXLAN_GPE:
        read_vxlan(bytes, payload, HASH_TUNNEL_VXLAN_GPE, ret_inner);
        break;
    case UDP_PORT_GENEVE:
        read_geneve(bytes, payload, ret_inner);
        break;
    default:
        break;
    }
}

int hash_headers_read_inner(const uint8_t *bytes, const struct hash_headers *outer,
                            uint32_t tunnels, struct hash_headers *ret_inner)
{
    struct inner inner = {0};

    if (outer->version == 0)
        return 0;
    if (outer->protocol == IP_PROTOCOL_UDP)
        read_udp_tunnel(bytes, outer, &inner);
    else if (outer->protocol == IP_PROTOCOL_GRE)
        read_gre(bytes, outer->transport, outer, &inner);
    else if (outer->protocol == IP_PROTOCOL_IPV4 && outer->version == 4)
        inner = (struct inner){HASH_TUNNEL_IPIP, outer->transport, ETHERTYPE_IPV4};
    if ((inner.types & tunnels) == 0)
        return 0;
    if (inner.protocol == ETHERTYPE_ETHERNET)
        read_ethernet(bytes, inner.at, outer->end, ret_inner);
    else
        read_network(bytes, &inner, outer->end, ret_inner);
    return ret_inner->version != 0;
}
