/* SPDX-License-Identifier: MIT */
#include "rss_driver.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

static void put_le16(struct packet *packet, unsigned value)
{
    uint8_t bytes[2];

    wire_put16(bytes, (uint16_t)value, WIRE_LITTLE);
    packet_put(packet, bytes, sizeof(bytes));
}

static void put_le32(struct packet *packet, uint32_t value)
{
    put_le16(packet, value & 0xffff);
    put_le16(packet, value >> 16);
}

static void put_key(struct packet *packet)
{
    packet_put(packet, (uint8_t[]){PACKET_KEY_LEN}, 1);
    packet_put(packet, packet_known_key, PACKET_KEY_LEN);
}

unsigned rss_driver_config(struct control_driver *driver, const struct rss_setup *setup)
{
    struct packet message = {.len = 0};

    packet_put(&message, (uint8_t[]){4, 1}, 2);
    put_le32(&message, setup->types);
    put_le16(&message, setup->mask);
    put_le16(&message, setup->unclassified);
    for (unsigned i = 0; i <= setup->mask; i++)
        put_le16(&message, setup->table[i]);
    put_le16(&message, setup->pairs);
    put_key(&message);
    return control_driver_ask(driver, message.bytes, message.len);
}

unsigned rss_driver_hash_config(struct control_driver *driver, uint32_t types)
{
    struct packet message = {.len = 0};

    packet_put(&message, (uint8_t[]){4, 2}, 2);
    put_le32(&message, types);
    packet_put_zeros(&message, 8);
    put_key(&message);
    return control_driver_ask(driver, message.bytes, message.len);
}

unsigned rss_driver_hash_tunnels(struct control_driver *driver, uint32_t tunnels)
{
    struct packet message = {.len = 0};

    packet_put(&message, (uint8_t[]){7, 0}, 2);
    put_le32(&message, tunnels);
    return control_driver_ask(driver, message.bytes, message.len);
}

/* ---- flows ---- */

void rss_flow_make(struct packet *packet, const uint8_t to[6], unsigned flow, uint32_t sequence)
{
    uint8_t protocol = flow & 2 ? PACKET_UDP : PACKET_TCP;
    char from[32];

    packet->len = 0;
    if (flow & 1) {
        snprintf(from, sizeof(from), "2001:db8::%x", flow + 1);
        packet_put_ethernet(packet, to, 0x86dd);
        packet_put_ip(packet, protocol, from, "2001:db8:1::1");
    } else {
        snprintf(from, sizeof(from), "10.1.%u.%u", flow / 250, flow % 250 + 1);
        packet_put_ethernet(packet, to, 0x0800);
        packet_put_ip(packet, protocol, from, "10.2.0.1");
    }
    packet_put_ports(packet, 1024 + flow * 7, 80);
    put_le32(packet, sequence);
}

uint32_t rss_flow_hash(const struct packet *packet)
{
    const uint8_t *network = packet->bytes + PACKET_ETHERNET_LEN;

    return network[0] >> 4 == 6 ? packet_toeplitz(packet_known_key, network + 8, 36)
                                : packet_toeplitz(packet_known_key, network + 12, 12);
}

uint32_t rss_flow_sequence(const uint8_t *frame, uint32_t len)
{
    assert_true(len >= PACKET_ETHERNET_LEN + 4);
    return wire_get32(frame + len - 4, WIRE_LITTLE);
}
