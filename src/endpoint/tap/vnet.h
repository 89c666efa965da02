/* SPDX-License-Identifier: MIT */
/*
 * The header that a tap puts in front of each frame (IFF_VNET_HDR, little-endian after
 * TUNSETVNETLE): 12 bytes, or all of it where the kernel knows tunnels. It is laid out like
 * virtio's, but it is between us and the kernel, never the guest's.
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
    le16 num_buffers; /* the kernel neither reads nor writes it, nor the hash */
    le16 hash[4];
    le16 outer_th_offset;
    le16 inner_nh_offset;
};

enum {
    VNET_HDR_LEN = 12,
    VNET_HDR_LEN_TUNNEL = 24,
};

_Static_assert(sizeof(struct vnet_hdr) == VNET_HDR_LEN_TUNNEL, "virtio_net_hdr_v1_hash_tunnel");

static inline struct vnet_hdr vnet_hdr_from_offload(const struct frame_offload *offload)
{
    return (struct vnet_hdr){
        .flags = offload->flags,
        .gso_type = offload->gso_type,
        .hdr_len = le16_make(offload->hdr_len),
        .gso_size = le16_make(offload->gso_size),
        .csum_start = le16_make(offload->csum_start),
        .csum_offset = le16_make(offload->csum_offset),
        .outer_th_offset = le16_make(offload->outer_th_offset),
        .inner_nh_offset = le16_make(offload->inner_nh_offset),
    };
}

static inline struct frame_offload vnet_hdr_to_offload(const struct vnet_hdr *hdr)
{
    return (struct frame_offload){
        .flags = hdr->flags & (FRAME_NEEDS_CSUM | FRAME_DATA_VALID | FRAME_UDP_TUNNEL_CSUM),
        .gso_type = hdr->gso_type,
        .hdr_len = le16_get(hdr->hdr_len),
        .gso_size = le16_get(hdr->gso_size),
        .csum_start = le16_get(hdr->csum_start),
        .csum_offset = le16_get(hdr->csum_offset),
        .outer_th_offset = le16_get(hdr->outer_th_offset),
        .inner_nh_offset = le16_get(hdr->inner_nh_offset),
    };
}
