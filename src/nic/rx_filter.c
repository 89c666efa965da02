/* SPDX-License-Identifier: MIT */
#include "nic/rx_filter.h"

#include <string.h>

enum {
    ETHERTYPE_AT = 12,
    VLAN_ID_AT = 14,
    VLAN_ID_MASK = 0xfff,
    MULTICAST = 0x01, /* in an address' first byte */
};

void rx_filter_init(struct rx_filter *filter, const uint8_t mac[6])
{
    memset(filter, 0, sizeof(*filter));
    filter->by_address = 1;
    filter->by_vlan = 1;
    memcpy(filter->mac, mac, 6);
}

void rx_filter_set_table(struct rx_filter_table *table, const uint8_t *addresses, uint32_t count)
{
    memset(table, 0, sizeof(*table));
    if (count > RX_FILTER_TABLE_MAX) {
        table->overflow = 1;
        return;
    }
    table->count = (uint16_t)count;
    if (count != 0)
        memcpy(table->address, addresses, (size_t)count * 6);
}

void rx_filter_add_vlan(struct rx_filter *filter, uint16_t vid)
{
    filter->vlan[(vid & VLAN_ID_MASK) / 64] |= 1ull << vid % 64;
}

void rx_filter_remove_vlan(struct rx_filter *filter, uint16_t vid)
{
    filter->vlan[(vid & VLAN_ID_MASK) / 64] &= ~(1ull << vid % 64);
}

static int table_has(const struct rx_filter_table *table, const uint8_t *address)
{
    if (table->overflow)
        return 1;
    for (unsigned i = 0; i < table->count; i++) {
        if (memcmp(table->address[i], address, 6) == 0)
            return 1;
    }
    return 0;
}

/* virtio 1.4, 5.1.6.5.1.1: of modes that contradict each other the one that drops wins. */
static int address_passes(const struct rx_filter *filter, const uint8_t *address)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    unsigned modes = filter->modes;

    if (!(address[0] & MULTICAST)) {
        if (modes & (RX_MODE_NOUNI | RX_MODE_ALLUNI))
            return !(modes & RX_MODE_NOUNI);
        return memcmp(address, filter->mac, 6) == 0 || table_has(&filter->unicast, address);
    }
    if (memcmp(address, broadcast, 6) == 0)
        return !(modes & RX_MODE_NOBCAST);
    if (modes & (RX_MODE_NOMULTI | RX_MODE_ALLMULTI))
        return !(modes & RX_MODE_NOMULTI);
    return table_has(&filter->multicast, address);
}

/* Only an 802.1Q tag that comes first counts; 0 in it means priority without a VLAN (802.1Q, 9.6),
 * so that the frame is one of the untagged. */
static int vlan_passes(const struct rx_filter *filter, const uint8_t *bytes, uint32_t len)
{
    unsigned vid;

    if (bytes[ETHERTYPE_AT] != 0x81 || bytes[ETHERTYPE_AT + 1] != 0x00)
        return 1;
    if (len < VLAN_ID_AT + 2)
        return 0;
    vid = (unsigned)(bytes[VLAN_ID_AT] << 8 | bytes[VLAN_ID_AT + 1]) & VLAN_ID_MASK;
    return vid == 0 || filter->vlan[vid / 64] >> vid % 64 & 1;
}

int rx_filter_passes(const struct rx_filter *filter, const uint8_t *bytes, uint32_t len)
{
    /* virtio 1.4, 5.1.6.5.1.1: promiscuous is all frames, those of other VLANs too */
    if (filter->by_address && filter->modes & RX_MODE_PROMISC)
        return 1;
    if (filter->by_vlan && !vlan_passes(filter, bytes, len))
        return 0;
    return !filter->by_address || address_passes(filter, bytes);
}
