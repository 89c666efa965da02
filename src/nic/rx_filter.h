/* SPDX-License-Identifier: MIT */
/*
 * Which frames the driver wants (virtio 1.4, 5.1.6.5.1 to 5.1.6.5.3): modes, MAC addresses, VLANs.
 * Plain data that is copied whole from the control plane to the data plane.
 */
#pragma once

#include <stdint.h>

enum {
    RX_FILTER_TABLE_MAX = 64, /* addresses of each kind; more: all of that kind are taken */
    RX_FILTER_VLANS = 4096,
    RX_FILTER_PEEK_LEN = 18, /* first bytes of a frame that are ever looked at */
};

/* virtio 1.4, 5.1.6.5.1: the bit is the number of the command. */
enum rx_filter_mode {
    RX_MODE_PROMISC = 1u << 0,
    RX_MODE_ALLMULTI = 1u << 1,
    RX_MODE_ALLUNI = 1u << 2,
    RX_MODE_NOMULTI = 1u << 3,
    RX_MODE_NOUNI = 1u << 4,
    RX_MODE_NOBCAST = 1u << 5,
};

struct rx_filter_table {
    uint16_t count;
    uint8_t overflow; /* the driver gave more than fit: every address of this kind is in it */
    uint8_t address[RX_FILTER_TABLE_MAX][6];
};

struct rx_filter {
    uint8_t
        by_address;  /* CTRL_RX was agreed and its commands reach us; else every address passes */
    uint8_t by_vlan; /* the same for CTRL_VLAN */
    uint8_t modes;   /* RX_MODE_… */
    uint8_t mac[6];  /* the card's own address */
    struct rx_filter_table unicast, multicast;
    uint64_t vlan[RX_FILTER_VLANS / 64];
};

/* Nothing is let through but what every driver gets: own address, broadcast, untagged. */
void rx_filter_init(struct rx_filter *filter, const uint8_t mac[6]);
/* Replaces one table; addresses are count times 6 bytes. */
void rx_filter_set_table(struct rx_filter_table *table, const uint8_t *addresses, uint32_t count);
void rx_filter_add_vlan(struct rx_filter *filter, uint16_t vid);
void rx_filter_remove_vlan(struct rx_filter *filter, uint16_t vid);

/* bytes: a private copy of the first len bytes of the frame (at least 14), up to
 * RX_FILTER_PEEK_LEN of them. 1: the driver wants it. */
int rx_filter_passes(const struct rx_filter *filter, const uint8_t *bytes, uint32_t len);
