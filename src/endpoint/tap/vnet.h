/* SPDX-License-Identifier: MIT */
/*
 * The header that a tap puts in front of each frame (IFF_VNET_HDR, 12 bytes, little-endian after
 * TUNSETVNETLE). It is laid out like virtio's, but it is between us and the kernel, never the
 * guest's.
 */
#pragma once

#include "base/byteorder.h"
#include "endpoint/endpoint.h"

struct vnet_hdr {
    uint8_t flags;
    uint8_t gso_type;
    le16 hdr_len;
    le16 gso_size;
    le16 csum_start;
    le16 csum_offset;
    le16 num_buffers; /* the kernel neither reads nor writes it */
};

static inline struct vnet_hdr vnet_hdr_from_offload(const struct frame_offload *offload)
{
    return (struct vnet_hdr){
        .flags = offload->flags,
        .gso_type = offload->gso_type,
        .hdr_len = le16_make(offload->hdr_len),
        .gso_size = le16_make(offload->gso_size),
        .csum_start = le16_make(offload->csum_start),
        .csum_offset = le16_make(offload->csum_offset),
    };
}

static inline struct frame_offload vnet_hdr_to_offload(const struct vnet_hdr *hdr)
{
    return (struct frame_offload){
        .flags = hdr->flags & (FRAME_NEEDS_CSUM | FRAME_DATA_VALID),
        .gso_type = hdr->gso_type,
        .hdr_len = le16_get(hdr->hdr_len),
        .gso_size = le16_get(hdr->gso_size),
        .csum_start = le16_get(hdr->csum_start),
        .csum_offset = le16_get(hdr->csum_offset),
    };
}
