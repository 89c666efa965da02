/* SPDX-License-Identifier: MIT */
#include "nic/offload.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "nic/packet.h"

enum {
    VLAN_PEEK_LEN = 14 + 2 * 4,
};

uint32_t frame_vlan_len(const struct iovec *iov, uint32_t iov_count)
{
    uint8_t bytes[VLAN_PEEK_LEN];
    uint32_t len = packet_peek(iov, iov_count, bytes, sizeof(bytes));
    uint32_t network = FRAME_LEN_MIN;

    packet_ethertype(bytes, len, &network);
    return network - FRAME_LEN_MIN;
}

/* The type without what is or-ed to it. */
static unsigned gso_inner(const struct frame_offload *offload)
{
    return offload->gso_type & ~(unsigned)(FRAME_GSO_ECN | FRAME_GSO_UDP_TUNNEL);
}

static unsigned gso_protocol(unsigned type)
{
    return type == FRAME_GSO_TCPV4 || type == FRAME_GSO_TCPV6 ? IP_PROTOCOL_TCP : IP_PROTOCOL_UDP;
}

/* Bytes of headers of a packet that is what its GSO type claims; 0 if it is something else. */
static uint32_t headers_end(const uint8_t *bytes, uint32_t len, const struct packet *packet,
                            const struct frame_offload *offload)
{
    unsigned type = gso_inner(offload);
    uint32_t transport = packet->transport;

    if (transport != offload->csum_start || packet->protocol != gso_protocol(type))
        return 0;
    if ((type == FRAME_GSO_TCPV4 && packet->ethertype != ETHERTYPE_IPV4) ||
        (type == FRAME_GSO_TCPV6 && packet->ethertype != ETHERTYPE_IPV6))
        return 0;
    if (packet->protocol == IP_PROTOCOL_UDP)
        return transport + UDP_HEADER_LEN;
    if (!range_within(transport, TCP_HEADER_MIN, len))
        return 0;
    return transport + MAX(TCP_HEADER_MIN, (uint32_t)(bytes[transport + 12] >> 4) * 4);
}

static uint32_t plain_header_len(const struct frame *frame, const struct frame_offload *offload)
{
    uint32_t wanted = offload->csum_start + TCP_HEADER_MIN;
    uint8_t bytes[PACKET_HEADER_MAX];
    struct packet packet;
    uint32_t len;

    if (offload->csum_start > sizeof(bytes))
        return 0;
    len = packet_peek(frame->iov, frame->iov_count, bytes, MIN(wanted, sizeof(bytes)));
    if (packet_parse(bytes, len, &packet) < 0)
        return 0;
    return headers_end(bytes, len, &packet, offload);
}

static unsigned tunnel_bit(const struct packet *packet)
{
    return packet->ethertype == ETHERTYPE_IPV4 ? FRAME_GSO_UDP_TUNNEL_IPV4
                                               : FRAME_GSO_UDP_TUNNEL_IPV6;
}

/* The same through a UDP tunnel. What lies between its UDP header and the packet inside is its own
 * affair. The family bit may be the outer header's or the inner one's, and becomes the outer one's
 * (checklist X-08). */
static uint32_t tunnel_header_len(const struct frame *frame, struct frame_offload *offload)
{
    unsigned told = offload->gso_type & FRAME_GSO_UDP_TUNNEL;
    uint8_t bytes[PACKET_TUNNEL_MAX];
    uint32_t len = packet_peek(frame->iov, frame->iov_count, bytes, sizeof(bytes));
    struct packet outer, inner;

    if (packet_parse(bytes, len, &outer) < 0 || outer.protocol != IP_PROTOCOL_UDP ||
        outer.transport != offload->outer_th_offset ||
        offload->inner_nh_offset < outer.transport + UDP_HEADER_LEN)
        return 0;
    if (packet_parse_at(bytes, len, offload->inner_nh_offset, &inner) < 0)
        return 0;
    if (told != tunnel_bit(&outer) && told != tunnel_bit(&inner)) /* both at once are neither */
        return 0;
    offload->gso_type = (uint8_t)((offload->gso_type ^ told) | tunnel_bit(&outer));
    return headers_end(bytes, len, &inner, offload);
}

uint32_t offload_needs(const struct frame_offload *offload)
{
    uint32_t needs = offload->flags & FRAME_NEEDS_CSUM ? ENDPOINT_CSUM : 0;

    if (offload->gso_type & FRAME_GSO_UDP_TUNNEL)
        needs |=
            offload->flags & FRAME_UDP_TUNNEL_CSUM ? ENDPOINT_UDP_TUNNELS : ENDPOINT_UDP_TUNNEL;
    switch (gso_inner(offload)) {
    case FRAME_GSO_NONE:
        return needs;
    case FRAME_GSO_TCPV4:
        needs |= ENDPOINT_TSO4;
        break;
    case FRAME_GSO_TCPV6:
        needs |= ENDPOINT_TSO6;
        break;
    case FRAME_GSO_UDP:
        needs |= ENDPOINT_UFO;
        break;
    default:
        needs |= ENDPOINT_USO4 | ENDPOINT_USO6;
        break;
    }
    if (offload->gso_type & FRAME_GSO_ECN)
        needs |= ENDPOINT_ECN;
    return needs;
}

uint32_t frame_needs(const struct frame *frame)
{
    uint32_t needs = offload_needs(&frame->offload);
    uint8_t bytes[VLAN_PEEK_LEN];
    uint32_t network, len;

    if (__builtin_expect(frame->offload.gso_type != FRAME_GSO_UDP_L4, 1))
        return needs;
    len = packet_peek(frame->iov, frame->iov_count, bytes, sizeof(bytes));
    return needs &
           ~(packet_ethertype(bytes, len, &network) == ETHERTYPE_IPV6 ? (uint32_t)ENDPOINT_USO4
                                                                      : (uint32_t)ENDPOINT_USO6);
}

/* virtio 1.4, 5.1.6.2.1, and what Linux demands of a header before it believes it
 * (virtio_net_hdr_to_skb). hdr_len becomes what it really is: it may be anything. */
static int gso_check(struct frame_offload *offload, const struct frame *frame)
{
    unsigned tunnel = offload->gso_type & FRAME_GSO_UDP_TUNNEL;
    unsigned type = gso_inner(offload);
    uint32_t header_len;

    if (type != FRAME_GSO_TCPV4 && type != FRAME_GSO_TCPV6 && type != FRAME_GSO_UDP_L4 &&
        (type != FRAME_GSO_UDP || tunnel))
        return -EINVAL;
    if (!(offload->flags & FRAME_NEEDS_CSUM) || offload->gso_size == 0)
        return -EINVAL;
    if (offload->csum_offset !=
        (gso_protocol(type) == IP_PROTOCOL_TCP ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET))
        return -EINVAL;
    if (offload->gso_type & FRAME_GSO_ECN && gso_protocol(type) == IP_PROTOCOL_UDP)
        return -EINVAL;
    if (frame->len / offload->gso_size >= GSO_SEGMENTS_MAX)
        return -EINVAL;
    header_len = tunnel ? tunnel_header_len(frame, offload) : plain_header_len(frame, offload);
    if (header_len == 0 || header_len > frame->len)
        return -EINVAL;
    offload->hdr_len = (uint16_t)header_len;
    return 0;
}

/* virtio 1.4, 5.1.6.2.2. To a driver that was not offered tunnels, their flag is unknown. */
static int tunnel_from_header(const struct net_header *header, enum byte_order order,
                              uint32_t allowed, struct frame_offload *offload)
{
    unsigned csum = header->flags & FRAME_UDP_TUNNEL_CSUM;

    if (!(allowed & ENDPOINT_UDP_TUNNEL))
        return 0;
    if (!(header->gso_type & FRAME_GSO_UDP_TUNNEL))
        return csum ? -EINVAL : 0;
    if (header->flags & FRAME_DATA_VALID)
        return -EINVAL;
    offload->flags |= (uint8_t)csum;
    offload->outer_th_offset = word16_get(header->outer_th_offset, order);
    offload->inner_nh_offset = word16_get(header->inner_nh_offset, order);
    return 0;
}

/* Nothing is asked for: the other fields mean nothing (virtio 1.4, 5.1.6.2.2). */
static int is_nothing(const struct frame_offload *offload)
{
    return !(offload->flags & FRAME_NEEDS_CSUM) && offload->gso_type == FRAME_GSO_NONE;
}

int offload_from_header(const struct net_header *header, enum byte_order order, uint32_t allowed,
                        const struct frame *frame, struct frame_offload *ret_offload)
{
    struct frame_offload offload = {0};
    struct frame whole = *frame;

    *ret_offload = offload;
    if (offload_is_plain(header))
        return 0;
    offload.flags = header->flags & FRAME_NEEDS_CSUM;
    offload.gso_type = header->gso_type == FRAME_GSO_ECN ? FRAME_GSO_NONE : header->gso_type;
    offload.hdr_len = (uint16_t)MIN(word16_get(header->hdr_len, order), frame->len); /* a hint */
    offload.gso_size = word16_get(header->gso_size, order);
    offload.csum_start = word16_get(header->csum_start, order);
    offload.csum_offset = word16_get(header->csum_offset, order);
    if (tunnel_from_header(header, order, allowed, &offload) < 0)
        return -EINVAL;
    if (is_nothing(&offload))
        return 0;
    whole.offload = offload;
    if ((frame_needs(&whole) & ~allowed) != 0)
        return -EINVAL;
    if (offload.flags & FRAME_NEEDS_CSUM &&
        (offload.csum_start < FRAME_LEN_MIN ||
         !range_within((uint64_t)offload.csum_start + offload.csum_offset, 2, frame->len)))
        return -EINVAL;
    if (offload.gso_type == FRAME_GSO_NONE)
        offload.gso_size = 0;
    else if (gso_check(&offload, frame) < 0)
        return -EINVAL;
    *ret_offload = offload;
    return 0;
}

void offload_to_header(const struct frame_offload *offload, enum byte_order order,
                       struct net_header *header)
{
    header->flags = offload->flags & (FRAME_NEEDS_CSUM | FRAME_DATA_VALID);
    header->gso_type = offload->gso_type;
    header->hdr_len = word16_make(offload->hdr_len, order);
    header->gso_size = word16_make(offload->gso_size, order);
    header->csum_start = word16_make(offload->csum_start, order);
    header->csum_offset = word16_make(offload->csum_offset, order);
    if (__builtin_expect(!(offload->gso_type & FRAME_GSO_UDP_TUNNEL), 1))
        return;
    /* A tunnel's frame is never marked as verified (virtio 1.4, 5.1.6.4.1). */
    header->flags = offload->flags & (FRAME_NEEDS_CSUM | FRAME_UDP_TUNNEL_CSUM);
    header->outer_th_offset = word16_make(offload->outer_th_offset, order);
    header->inner_nh_offset = word16_make(offload->inner_nh_offset, order);
}
