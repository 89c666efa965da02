/* SPDX-License-Identifier: MIT */
#include "tunnel_frame.h"

#include <string.h>

#include "check.h"
#include "inet_words.h"

static const uint8_t usual_to[6] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t usual_inner_to[6] = {0x52, 0x54, 0, 0, 0, 0x11};

uint8_t tunnel_frame_payload_byte(uint32_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

static unsigned ethertype_of(unsigned version)
{
    return version == 4 ? 0x0800 : 0x86dd;
}

static void put_inside(struct packet *packet, const struct tunnel_shape *shape)
{
    if (shape->inner == 4)
        packet_put_ip(packet, shape->protocol, "10.78.0.2", "10.78.0.1");
    else
        packet_put_ip(packet, shape->protocol, "fd78::2", "fd78::1");
}

static void put_transport(struct packet *packet, uint8_t protocol)
{
    uint32_t at = packet->len;

    if (protocol == PACKET_UDP) {
        packet_put_udp(packet, 7);
        return;
    }
    packet_put_ports(packet, 50000, 7);
    packet->bytes[at + 12] = 0x50;
    packet->bytes[at + 13] = 0x10; /* ACK */
    packet->bytes[at + 14] = 0x80; /* window */
}

static void put_headers(struct packet *packet, struct tunnel_frame *frame)
{
    static const uint8_t vxlan[TUNNEL_VXLAN_LEN] = {0x08, 0, 0, 0, 0, 0, 1, 0};
    const struct tunnel_shape *shape = &frame->shape;

    packet_put_ethernet(packet, shape->to, shape->vlan ? 0x8100 : ethertype_of(shape->outer));
    packet->bytes[6] = 2; /* a source that is none's */
    if (shape->vlan) {
        packet_put_be16(packet, shape->vlan);
        packet_put_be16(packet, ethertype_of(shape->outer));
    }
    frame->outer_nh = (uint16_t)packet->len;
    if (shape->outer == 4)
        packet_put_ip(packet, PACKET_UDP, "10.77.0.2", "10.77.0.1");
    else
        packet_put_ip(packet, PACKET_UDP, "fd77::2", "fd77::1");
    frame->outer_th = (uint16_t)packet->len;
    packet_put_udp(packet, TUNNEL_PORT);
    packet_put(packet, vxlan, sizeof(vxlan));
    packet_put_zeros(packet, shape->extra);
    packet_put_ethernet(packet, shape->inner_to, ethertype_of(shape->inner));
    packet->bytes[packet->len - 8] = 2;
    frame->inner_nh = (uint16_t)packet->len;
    put_inside(packet, shape);
    frame->inner_th = (uint16_t)packet->len;
    put_transport(packet, shape->protocol);
    frame->payload = (uint16_t)packet->len;
}

void tunnel_frame_make(const struct tunnel_shape *shape, struct tunnel_frame *ret)
{
    struct packet packet = {.len = 0};

    ret->shape = *shape;
    if (shape->outer == 0)
        ret->shape.outer = 4;
    if (shape->inner == 0)
        ret->shape.inner = 4;
    if (shape->protocol == 0)
        ret->shape.protocol = PACKET_TCP;
    if (shape->to == NULL)
        ret->shape.to = usual_to;
    if (shape->inner_to == NULL)
        ret->shape.inner_to = usual_inner_to;
    put_headers(&packet, ret);
    check(packet.len + shape->payload_len <= TUNNEL_FRAME_MAX, "payload of %u bytes",
          shape->payload_len);
    memcpy(ret->bytes, packet.bytes, packet.len);
    for (uint32_t i = 0; i < shape->payload_len; i++)
        ret->bytes[packet.len + i] = tunnel_frame_payload_byte(i);
    ret->len = packet.len + shape->payload_len;
    tunnel_frame_finish(ret);
}

static void ip_finish(uint8_t *ip, unsigned version, uint32_t len)
{
    if (version == 6) {
        put_be16(ip + 4, len - PACKET_IPV6_LEN);
        return;
    }
    put_be16(ip + 2, len);
    put_be16(ip + 10, 0);
    put_be16(ip + 10, ~inet_sum(ip, PACKET_IPV4_LEN, 0));
}

static uint16_t pseudo_sum(const uint8_t *ip, unsigned version, uint8_t protocol, uint32_t len)
{
    const uint8_t *addresses = ip + (version == 4 ? 12 : 8);

    return (uint16_t)inet_sum(addresses, version == 4 ? 8 : 32, protocol + len);
}

void tunnel_frame_finish(struct tunnel_frame *frame)
{
    const struct tunnel_shape *shape = &frame->shape;
    uint8_t *transport = frame->bytes + frame->inner_th;
    uint8_t *inner = frame->bytes + frame->inner_nh;
    uint32_t len = frame->len - frame->inner_th;
    uint16_t pseudo = pseudo_sum(inner, shape->inner, shape->protocol, len);

    ip_finish(frame->bytes + frame->outer_nh, shape->outer, frame->len - frame->outer_nh);
    put_be16(frame->bytes + frame->outer_th + 4, frame->len - frame->outer_th);
    ip_finish(inner, shape->inner, frame->len - frame->inner_nh);
    if (shape->protocol == PACKET_UDP)
        put_be16(transport + 4, len);
    put_be16(transport + (shape->protocol == PACKET_UDP ? 6 : 16), pseudo);
}

void tunnel_frame_begin_outer_checksum(struct tunnel_frame *frame)
{
    put_be16(frame->bytes + frame->outer_th + 6,
             pseudo_sum(frame->bytes + frame->outer_nh, frame->shape.outer, PACKET_UDP,
                        frame->len - frame->outer_th));
}
