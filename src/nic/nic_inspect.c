/* SPDX-License-Identifier: MIT */
/* What the device model shows: identity, agreement, and what the driver's commands set. */
#include <stdio.h>

#include "base/checked.h"
#include "nic/nic.h"

static void inspect_modes(uint8_t modes, struct inspect *visitor)
{
    static const char *const names[] = {"promisc", "allmulti", "alluni",
                                        "nomulti", "nouni",    "nobcast"};
    char text[64] = "";
    size_t len = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
        if (modes & 1u << i)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len == 0 ? "" : " ",
                                    names[i]);
    }
    inspect_text(visitor, "modes", "%s", text);
}

static void inspect_table(const struct rx_filter_table *table, const char *name,
                          struct inspect *visitor)
{
    inspect_enter(visitor, name);
    inspect_number(visitor, "addresses", table->count);
    inspect_flag(visitor, "overflow", table->overflow);
    inspect_leave(visitor);
}

static void inspect_filter(const struct rx_filter *filter, struct inspect *visitor)
{
    unsigned vlans = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(filter->vlan); i++)
        vlans += (unsigned)__builtin_popcountll(filter->vlan[i]);
    inspect_enter(visitor, "filter");
    inspect_flag(visitor, "by_address", filter->by_address);
    inspect_flag(visitor, "by_vlan", filter->by_vlan);
    inspect_modes(filter->modes, visitor);
    inspect_table(&filter->unicast, "unicast", visitor);
    inspect_table(&filter->multicast, "multicast", visitor);
    inspect_number(visitor, "vlans", vlans);
    inspect_leave(visitor);
}

static void inspect_rules(const struct nic *nic, struct inspect *visitor)
{
    const struct rx_rules *rules = &nic->rx_rules;

    inspect_filter(&rules->filter, visitor);
    inspect_enter(visitor, "rss");
    inspect_flag(visitor, "active", rules->rss.active);
    inspect_number(visitor, "table_entries", rules->rss.active ? rules->rss.mask + 1u : 0);
    inspect_number(visitor, "unclassified_pair", rules->rss.unclassified);
    inspect_hex(visitor, "hash_types", rules->hash.types);
    inspect_hex(visitor, "hash_tunnels", rules->hash.tunnels);
    inspect_leave(visitor);
    inspect_hex(visitor, "rx_offloads_off", nic->rx_offloads_off);
}

static void inspect_coalesce(const struct nic_coalesce *coalesce, struct inspect *visitor)
{
    inspect_number(visitor, "max_packets", coalesce->max_packets);
    inspect_number(visitor, "max_usecs", coalesce->max_usecs);
    inspect_leave(visitor);
}

static int coalesces(const struct nic_coalesce *coalesce)
{
    return (coalesce->max_packets | coalesce->max_usecs) != 0;
}

/* Of the queues only those that have something set. */
static void inspect_coalescing(const struct nic *nic, struct inspect *visitor)
{
    inspect_enter(visitor, "coalescing");
    inspect_enter(visitor, "rx");
    inspect_coalesce(&nic->coalesce_rx, visitor);
    inspect_enter(visitor, "tx");
    inspect_coalesce(&nic->coalesce_tx, visitor);
    inspect_enter(visitor, "queues");
    for (unsigned i = 0; i < 2 * nic->config.queue_pairs; i++) {
        if (!coalesces(&nic->coalesce[i]))
            continue;
        inspect_enter_index(visitor, i);
        inspect_coalesce(&nic->coalesce[i], visitor);
    }
    inspect_leave(visitor);
    inspect_leave(visitor);
}

void nic_inspect(const struct nic *nic, struct inspect *visitor)
{
    const uint8_t *mac = nic->mac;

    inspect_text(visitor, "mac_address", "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
                 mac[3], mac[4], mac[5]);
    inspect_number(visitor, "max_queues", nic->config.queue_pairs);
    inspect_number(visitor, "active_queues", nic->active_pairs);
    inspect_text(visitor, "link", "%s", nic_link_up(nic) ? "up" : "down");
    inspect_text(visitor, "link_wanted", "%s", nic->link_admin ? "up" : "down");
    if (nic->config.mtu != 0)
        inspect_number(visitor, "mtu", nic->config.mtu);
    if (nic->config.speed_mbps != 0)
        inspect_number(visitor, "speed_mbps", nic->config.speed_mbps);
    inspect_text(visitor, "duplex", "%s", nic->duplex == NIC_DUPLEX_FULL ? "full" : "half");
    inspect_flag(visitor, "announce_pending", nic->announce);
    inspect_hex(visitor, "device_status", nic->status);
    inspect_number(visitor, "config_generation", nic->generation);
    features_inspect(&nic->offered, "offered_features", visitor);
    features_inspect(&nic->agreed, "agreed_features", visitor);
    inspect_rules(nic, visitor);
    inspect_coalescing(nic, visitor);
}
