/* SPDX-License-Identifier: MIT */
/* Link and identity, which the operator and the endpoint change while a driver is there. */
#include <string.h>

#include "nic/nic.h"

/* A changed config space is read under a new generation (GEN-CFG-03). */
static int changed(struct nic *nic, enum feature_bit seen_by)
{
    nic->config_changed = 1;
    return features_has(&nic->agreed, seen_by);
}

int nic_link_up(const struct nic *nic)
{
    return nic->link_admin && nic->link_endpoint && !nic->link_blip;
}

static int link_changed(struct nic *nic, int before)
{
    if (nic_link_up(nic) == before)
        return 0;
    nic->link_read = 0;
    return changed(nic, NET_F_STATUS);
}

int nic_set_link(struct nic *nic, int endpoint_up)
{
    int before = nic_link_up(nic);

    nic->link_endpoint = endpoint_up != 0;
    return link_changed(nic, before);
}

int nic_set_link_admin(struct nic *nic, enum nic_link link)
{
    int before = nic_link_up(nic);

    nic->link_admin = link == NIC_LINK_UP;
    return link_changed(nic, before);
}

int nic_set_link_blip(struct nic *nic, enum nic_link link)
{
    int before = nic_link_up(nic);

    nic->link_blip = link == NIC_LINK_DOWN;
    return link_changed(nic, before);
}

int nic_set_speed(struct nic *nic, uint32_t mbps, enum nic_duplex duplex)
{
    if (nic->config.speed_mbps == mbps && nic->duplex == duplex)
        return 0;
    nic->config.speed_mbps = mbps;
    nic->duplex = (uint8_t)duplex;
    return changed(nic, NET_F_SPEED_DUPLEX);
}

/* Linux never looks at the address again once it works with one: the filter keeps that until the
 * driver is reset or commands another. */
int nic_set_mac(struct nic *nic, const uint8_t mac[6])
{
    static const struct features none;
    int driver_has_own = memcmp(nic->mac, nic->config.mac, sizeof(nic->mac)) != 0;

    memcpy(nic->config.mac, mac, sizeof(nic->config.mac));
    if (driver_has_own || memcmp(nic->mac, mac, sizeof(nic->mac)) == 0)
        return 0;
    memcpy(nic->mac, mac, sizeof(nic->mac));
    if (features_equal(&nic->agreed, &none))
        memcpy(nic->rx_rules.filter.mac, mac, sizeof(nic->rx_rules.filter.mac));
    return changed(nic, NET_F_MAC);
}

int nic_set_announce(struct nic *nic)
{
    if (nic->announce)
        return 0;
    nic->announce = 1;
    return changed(nic, NET_F_STATUS);
}

void nic_set_mtu(struct nic *nic, uint16_t mtu)
{
    if (nic->config.mtu == mtu)
        return;
    nic->config.mtu = mtu;
    nic->config_changed = 1;
    if (!features_has(&nic->config.masked, NET_F_MTU))
        features_add(&nic->offered, NET_F_MTU);
}
