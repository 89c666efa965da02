/* SPDX-License-Identifier: MIT */
/*
 * Which port an Ethernet address is behind. Any number of workers look up and learn at the same
 * time: an entry is one word that is changed by compare-and-swap, and who loses a race has learned
 * nothing, until its next frame. Of fixed size: what a guest sends makes it forget, never grow.
 *
 * Addresses are numbers of 48 bits, the first byte on the wire uppermost. All VLANs share the
 * table.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum {
    MAC_TABLE_SETS = 1024, /* a power of two */
    MAC_TABLE_WAYS = 8,
    MAC_TABLE_SIZE = MAC_TABLE_SETS * MAC_TABLE_WAYS,
    MAC_TABLE_PORTS_MAX = 0x7fff,
    MAC_TABLE_NONE = -1,
};

#define MAC_MULTICAST (1ull << 40)

struct mac_table {
    uint64_t secret;   /* no guest can choose addresses that meet in one set */
    uint32_t ageing_s; /* an entry not used for longer is forgotten; 0: never */
    _Atomic uint64_t learned, moved, aged, evicted, refused;
    /* By set and way. Entry: address, pinned, port + 1; 0: free. */
    _Alignas(64) _Atomic uint64_t entry[MAC_TABLE_SETS][MAC_TABLE_WAYS];
    _Atomic uint32_t seen_s[MAC_TABLE_SETS][MAC_TABLE_WAYS]; /* when it was last heard of */
};

static inline uint64_t mac_from_bytes(const uint8_t bytes[6])
{
    uint64_t mac = 0;

    for (unsigned i = 0; i < 6; i++)
        mac = mac << 8 | bytes[i];
    return mac;
}

/* Zeroed memory. */
void mac_table_init(struct mac_table *table, uint64_t secret, uint32_t ageing_s);

/* The port, or MAC_TABLE_NONE. */
int mac_table_find(struct mac_table *table, uint64_t mac, uint32_t now_s);
/* A frame from `mac` came by the port. A pinned address stays where it is. */
void mac_table_learn(struct mac_table *table, uint64_t mac, unsigned port, uint32_t now_s);

/* The control thread: an address that neither ages, nor is evicted, nor moves unless it is pinned
 * elsewhere. -ENOSPC: its set is full of such ones. */
int mac_table_pin(struct mac_table *table, uint64_t mac, unsigned port);
void mac_table_unpin(struct mac_table *table, uint64_t mac, unsigned port);
/* All of a port. */
void mac_table_forget(struct mac_table *table, unsigned port);

/* For reports: calls for each live entry until it returns 0. */
struct mac_entry {
    uint64_t mac;
    unsigned port;
    int pinned;
    uint32_t age_s;
};
void mac_table_walk(struct mac_table *table, uint32_t now_s,
                    int (*each)(void *context, const struct mac_entry *entry), void *context);
