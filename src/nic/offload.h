/* SPDX-License-Identifier: MIT */
/* The virtio net header: from the guest's bytes to a checked struct frame_offload, and back. */
#pragma once

#include <string.h>

#include "base/byteorder.h"
#include "endpoint/endpoint.h"

/* virtio 1.4, 5.1.6. Legacy guests use their own byte order and, without MRG_RXBUF, 10 bytes. The
 * hash is there with HASH_REPORT or what stands behind it, and that with UDP tunnels only. */
struct net_header {
    uint8_t flags;
    uint8_t gso_type;
    le16 hdr_len;
    le16 gso_size;
    le16 csum_start;
    le16 csum_offset;
    le16 num_buffers;
    le16 hash_value_low, hash_value_high; /* halves: le32 would ask for an alignment of its own */
    le16 hash_report;
    le16 padding;
    le16 outer_th_offset;
    le16 inner_nh_offset;
};

enum {
    NET_HEADER_LEN_LEGACY = 10,
    NET_HEADER_LEN = 12,
    NET_HEADER_LEN_HASH = 20,
    NET_HEADER_LEN_TUNNEL = 24,
    NET_HEADER_LEN_MAX = NET_HEADER_LEN_TUNNEL,
    /* One frame never becomes more segments than this: a gso_size of 1 would be an amplifier. */
    GSO_SEGMENTS_MAX = 1024,
};

/* Asks for nothing: flags we don't know, DATA_VALID and a lone ECN bit mean nothing on this way
 * (virtio 1.4, 5.1.6.2.2). */
static inline int offload_is_plain(const struct net_header *header)
{
    return !(header->flags & (FRAME_NEEDS_CSUM | FRAME_UDP_TUNNEL_CSUM)) &&
           (header->gso_type & ~FRAME_GSO_ECN) == 0;
}

/* The same of a header that still lies in guest memory; 0 says only that it has to be copied and
 * looked at. */
static inline int offload_is_plain_at(const void *header)
{
    uint16_t word;

    memcpy(&word, header, sizeof(word));
    return (word & htole16((FRAME_NEEDS_CSUM | FRAME_UDP_TUNNEL_CSUM) | (0xff & ~FRAME_GSO_ECN)
                                                                            << 8)) == 0;
}

/* The common header of a received frame: zero but for num_buffers, as words that never were in
 * memory. A load of what was just stored in parts waits for all stores before it to reach the
 * cache, those of the frame among them. Most often the same stands there from the last time: a line
 * that is not written does not have to change caches. */
static inline void net_header_put_plain(void *header, le16 num_buffers)
{
    uint32_t rest = htole32((uint32_t)le16toh(num_buffers.raw) << 16);
    uint8_t *to = header;
    uint32_t there_rest;
    uint64_t there;

    memcpy(&there, to, sizeof(there));
    memcpy(&there_rest, to + sizeof(there), sizeof(rest));
    if (__builtin_expect(there == 0 && there_rest == rest, 1))
        return;
    memset(to, 0, sizeof(there));
    memcpy(to + sizeof(there), &rest, sizeof(rest));
}

/* The header of a frame of len bytes whose first spans are iov, checked against what was agreed
 * (allowed: ENDPOINT_… bits). 0, or -EINVAL: the frame must be dropped. */
int offload_from_header(const struct net_header *header, enum byte_order order, uint32_t allowed,
                        const struct frame *frame, struct frame_offload *ret_offload);

/* Bytes of the VLAN tags (up to two) of the frame whose first spans are iov: 0, 4 or 8. */
uint32_t frame_vlan_len(const struct iovec *iov, uint32_t iov_count);

/* Which ENDPOINT_… bits delivering such a frame needs; 0 for a plain one. USO needs those of both
 * families here; frame_needs looks which it is. */
uint32_t offload_needs(const struct frame_offload *offload);
uint32_t frame_needs(const struct frame *frame);

/* Fills all of the header but num_buffers. */
void offload_to_header(const struct frame_offload *offload, enum byte_order order,
                       struct net_header *header);
