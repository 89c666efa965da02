/* SPDX-License-Identifier: MIT */
#include "nic/offload.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

enum {
    PEEK_LEN = 14 + 2 * 4 + 60, /* Ethernet, two VLAN tags, the longest IPv4 header */
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88a8,
    IP_PROTOCOL_TCP = 6,
    IP_PROTOCOL_UDP = 17,
    TCP_HEADER_MIN = 20,
    UDP_HEADER_LEN = 8,
    /* One frame never becomes more segments than this: a gso_size of 1 would be an amplifier. */
    GSO_SEGMENTS_MAX = 1024,
};

/* Copies up to PEEK_LEN bytes: the guest may change them while we look. */
static uint32_t frame_peek(const struct iovec *iov, uint32_t iov_count, uint8_t ret_bytes[PEEK_LEN])
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < iov_count && done < PEEK_LEN; i++) {
        uint32_t part = (uint32_t)MIN(iov[i].iov_len, PEEK_LEN - done);

        memcpy(ret_bytes + done, iov[i].iov_base, part);
        done += part;
    }
    return done;
}

static uint16_t read_be16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* Ethertype behind up to two VLAN tags, and where the network header starts; 0 if cut short. */
static uint16_t network_protocol(const uint8_t *bytes, uint32_t len, uint32_t *ret_offset)
{
    uint32_t offset = 12;

    for (int tags = 0; tags <= 2 && offset + 2 <= len; tags++) {
        uint16_t type = read_be16(bytes + offset);

        if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ) {
            *ret_offset = offset + 2;
            return type;
        }
        offset += 4;
    }
    return 0;
}

uint32_t frame_vlan_len(const struct iovec *iov, uint32_t iov_count)
{
    uint8_t bytes[PEEK_LEN];
    uint32_t len = frame_peek(iov, iov_count, bytes);
    uint32_t network = FRAME_LEN_MIN;

    network_protocol(bytes, len, &network);
    return network - FRAME_LEN_MIN;
}

/* Is a frame that claims this GSO type what it says, as far as its fixed headers tell? IPv6
 * extension headers are left to whoever segments: they may stand before csum_start. */
static int gso_matches(const struct frame *frame, unsigned type, uint32_t csum_start)
{
    uint8_t bytes[PEEK_LEN];
    uint32_t len = frame_peek(frame->iov, frame->iov_count, bytes);
    uint32_t network = 0;
    uint16_t protocol = network_protocol(bytes, len, &network);

    if (protocol == ETHERTYPE_IPV4) {
        int transport = type == FRAME_GSO_TCPV4 ? IP_PROTOCOL_TCP : IP_PROTOCOL_UDP;

        return type != FRAME_GSO_TCPV6 && network + 20 <= len && bytes[network] >> 4 == 4 &&
               csum_start == network + (bytes[network] & 0xfu) * 4u && csum_start >= network + 20 &&
               bytes[network + 9] == transport;
    }
    if (protocol == ETHERTYPE_IPV6) {
        int transport = type == FRAME_GSO_TCPV6 ? IP_PROTOCOL_TCP : IP_PROTOCOL_UDP;

        return type != FRAME_GSO_TCPV4 && type != FRAME_GSO_UDP && network + 40 <= len &&
               bytes[network] >> 4 == 6 &&
               (csum_start > network + 40 ||
                (csum_start == network + 40 && bytes[network + 6] == transport));
    }
    return 0;
}

uint32_t offload_needs(const struct frame_offload *offload)
{
    uint32_t needs = offload->flags & FRAME_NEEDS_CSUM ? ENDPOINT_CSUM : 0;

    switch (offload->gso_type & ~FRAME_GSO_ECN) {
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

/* virtio 1.4, 5.1.6.2.1, and what Linux demands of a header before it believes it. */
static int gso_check(const struct frame_offload *offload, const struct frame *frame)
{
    unsigned type = offload->gso_type & ~FRAME_GSO_ECN;
    uint32_t transport_len = TCP_HEADER_MIN;

    if (type != FRAME_GSO_TCPV4 && type != FRAME_GSO_TCPV6 && type != FRAME_GSO_UDP_L4 &&
        type != FRAME_GSO_UDP)
        return -EINVAL;
    if (type == FRAME_GSO_UDP_L4 || type == FRAME_GSO_UDP)
        transport_len = UDP_HEADER_LEN;
    if (!(offload->flags & FRAME_NEEDS_CSUM) || offload->gso_size == 0)
        return -EINVAL;
    if (offload->gso_type & FRAME_GSO_ECN && transport_len == UDP_HEADER_LEN)
        return -EINVAL;
    if (!range_within(offload->csum_start, transport_len, frame->len))
        return -EINVAL;
    if (frame->len / offload->gso_size >= GSO_SEGMENTS_MAX)
        return -EINVAL;
    return gso_matches(frame, type, offload->csum_start) ? 0 : -EINVAL;
}

int offload_from_header(const struct net_header *header, enum byte_order order, uint32_t allowed,
                        const struct frame *frame, struct frame_offload *ret_offload)
{
    struct frame_offload offload = {0};
    uint32_t needs;

    if (offload_is_plain(header)) {
        *ret_offload = offload;
        return 0;
    }
    offload.flags = header->flags & FRAME_NEEDS_CSUM;
    offload.gso_type = header->gso_type == FRAME_GSO_ECN ? FRAME_GSO_NONE : header->gso_type;
    offload.hdr_len = (uint16_t)MIN(word16_get(header->hdr_len, order), frame->len); /* a hint */
    offload.gso_size = word16_get(header->gso_size, order);
    offload.csum_start = word16_get(header->csum_start, order);
    offload.csum_offset = word16_get(header->csum_offset, order);
    needs = offload_needs(&offload);
    if ((needs & ~allowed) != 0)
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
    header->flags = offload->flags;
    header->gso_type = offload->gso_type;
    header->hdr_len = word16_make(offload->hdr_len, order);
    header->gso_size = word16_make(offload->gso_size, order);
    header->csum_start = word16_make(offload->csum_start, order);
    header->csum_offset = word16_make(offload->csum_offset, order);
}
