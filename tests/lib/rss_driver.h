/* SPDX-License-Identifier: MIT */
/* The driver's side of receive steering (virtio 1.4, 5.1.6.5.7): the commands, and what must come
 * of them, computed anew. All use the key of the published answers. */
#pragma once

#include "control_driver.h"
#include "packet.h"

enum {
    RSS_HASH_IPV4 = 1 << 0,
    RSS_HASH_TCPV4 = 1 << 1,
    RSS_HASH_UDPV4 = 1 << 2,
    RSS_HASH_IPV6 = 1 << 3,
    RSS_HASH_TCPV6 = 1 << 4,
    RSS_HASH_UDPV6 = 1 << 5,
    RSS_HASH_ALL = 0x1ff,
    RSS_ENTRIES_MAX = 128,
};

struct rss_setup {
    uint32_t types;
    uint16_t mask;
    uint16_t unclassified;
    uint16_t table[RSS_ENTRIES_MAX];
    uint16_t pairs; /* max_tx_vq */
};

/* Each returns the ack. */
unsigned rss_driver_config(struct control_driver *driver, const struct rss_setup *setup);
unsigned rss_driver_hash_config(struct control_driver *driver, uint32_t types);
unsigned rss_driver_hash_tunnels(struct control_driver *driver, uint32_t tunnels);

/* One of many flows: even numbers are IPv4, odd ones IPv6; every other pair of them TCP, UDP. The
 * bytes behind the headers are `sequence`. */
void rss_flow_make(struct packet *packet, const uint8_t to[6], unsigned flow, uint32_t sequence);
uint32_t rss_flow_hash(const struct packet *packet);
uint32_t rss_flow_sequence(const uint8_t *frame, uint32_t len);
