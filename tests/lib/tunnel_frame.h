/* SPDX-License-Identifier: MIT */
/*
 * Segments to be cut inside a VXLAN tunnel, as a driver with UDP tunnel GSO hands them over: TCP or
 * UDP in IP in Ethernet in VXLAN in UDP in IP in Ethernet.
 */
#pragma once

#include <stdint.h>

#include "packet.h"

enum {
    TUNNEL_FRAME_MAX = 65550,
    TUNNEL_PORT = 4789,
    TUNNEL_VXLAN_LEN = 8,
    TUNNEL_BETWEEN = TUNNEL_VXLAN_LEN + PACKET_ETHERNET_LEN, /* outer UDP header to inner IP */
};

/* Zero means the usual thing everywhere. */
struct tunnel_shape {
    unsigned outer, inner; /* IP version; usual: 4 */
    uint8_t protocol;      /* inside; usual: TCP */
    uint32_t extra;        /* bytes more of the tunnel's own header, as of Geneve's options */
    unsigned vlan;         /* id of a tag outside; usual: no tag */
    uint32_t payload_len;
    const uint8_t *to;       /* outer Ethernet address; usual: 52:54:00:00:00:01 */
    const uint8_t *inner_to; /* usual: 52:54:00:00:00:11 */
};

struct tunnel_frame {
    struct tunnel_shape shape;
    uint32_t len;
    uint16_t outer_nh, outer_th, inner_nh, inner_th, payload; /* where they begin */
    uint8_t bytes[TUNNEL_FRAME_MAX];
};

/* From 10.77.0.2 to 10.77.0.1, inside from 10.78.0.2 to 10.78.0.1, or the like of IPv6; payload
 * that follows from its place. Finished. */
void tunnel_frame_make(const struct tunnel_shape *shape, struct tunnel_frame *ret);
/* Writes lengths, IP checksums and the begun checksum inside; UDP's outside is none. */
void tunnel_frame_finish(struct tunnel_frame *frame);
/* A begun checksum in the outer UDP header. */
void tunnel_frame_begin_outer_checksum(struct tunnel_frame *frame);
uint8_t tunnel_frame_payload_byte(uint32_t at);
