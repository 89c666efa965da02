/* SPDX-License-Identifier: MIT */
/* Commands on which frames the driver wants (virtio 1.4, 5.1.6.5.1 to 5.1.6.5.4). */
#include "base/checked.h"
#include "nic/control_request.h"

enum {
    MAC_LEN = 6,
    VLAN_MAX = 4095,
};

/* ---- modes ------------------------------------------------------------------------------ */

static enum control_ack mode_set(struct control_request *request, enum rx_filter_mode mode)
{
    struct rx_filter *filter = &request->nic->rx_rules.filter;

    if (request->len < 1)
        return CONTROL_ERR;
    if (request->data[0] != 0)
        filter->modes |= (uint8_t)mode;
    else
        filter->modes &= (uint8_t)~mode;
    return CONTROL_OK;
}

enum control_ack control_rx_promisc(struct control_request *request)
{
    return mode_set(request, RX_MODE_PROMISC);
}

enum control_ack control_rx_allmulti(struct control_request *request)
{
    return mode_set(request, RX_MODE_ALLMULTI);
}

enum control_ack control_rx_alluni(struct control_request *request)
{
    return mode_set(request, RX_MODE_ALLUNI);
}

enum control_ack control_rx_nomulti(struct control_request *request)
{
    return mode_set(request, RX_MODE_NOMULTI);
}

enum control_ack control_rx_nouni(struct control_request *request)
{
    return mode_set(request, RX_MODE_NOUNI);
}

enum control_ack control_rx_nobcast(struct control_request *request)
{
    return mode_set(request, RX_MODE_NOBCAST);
}

/* ---- addresses -------------------------------------------------------------------------- */

/* One of the two tables of the command, which begins at *offset: its count, and where its addresses
 * begin. 0: it is cut short. */
static int table_read(const struct control_request *request, uint32_t *offset, uint32_t *ret_count,
                      const uint8_t **ret_addresses)
{
    if (!range_within(*offset, sizeof(le32), request->len))
        return 0;
    *ret_count = request_u32(request, *offset);
    *offset += sizeof(le32);
    if (!range_within(*offset, (uint64_t)*ret_count * MAC_LEN, request->len))
        return 0;
    *ret_addresses = request->data + *offset;
    *offset += *ret_count * MAC_LEN;
    return 1;
}

enum control_ack control_mac_table_set(struct control_request *request)
{
    struct rx_filter *filter = &request->nic->rx_rules.filter;
    const uint8_t *unicast, *multicast;
    uint32_t unicast_count, multicast_count;
    uint32_t offset = 0;

    if (!table_read(request, &offset, &unicast_count, &unicast) ||
        !table_read(request, &offset, &multicast_count, &multicast))
        return CONTROL_ERR;
    rx_filter_set_table(&filter->unicast, unicast, unicast_count);
    rx_filter_set_table(&filter->multicast, multicast, multicast_count);
    return CONTROL_OK;
}

/* virtio 1.4, 5.1.6.5.2.2: the config space shows it before the command is answered. */
enum control_ack control_mac_addr_set(struct control_request *request)
{
    static const uint8_t none[MAC_LEN];

    if (request->len < MAC_LEN || request->data[0] & 1 || memcmp(request->data, none, MAC_LEN) == 0)
        return CONTROL_ERR;
    nic_set_driver_mac(request->nic, request->data);
    return CONTROL_OK;
}

/* ---- VLANs, announcement ---------------------------------------------------------------- */

enum control_ack control_vlan_add(struct control_request *request)
{
    if (request->len < sizeof(le16) || request_u16(request, 0) > VLAN_MAX)
        return CONTROL_ERR;
    rx_filter_add_vlan(&request->nic->rx_rules.filter, request_u16(request, 0));
    return CONTROL_OK;
}

enum control_ack control_vlan_del(struct control_request *request)
{
    if (request->len < sizeof(le16) || request_u16(request, 0) > VLAN_MAX)
        return CONTROL_ERR;
    rx_filter_remove_vlan(&request->nic->rx_rules.filter, request_u16(request, 0));
    return CONTROL_OK;
}

enum control_ack control_announce_ack(struct control_request *request)
{
    nic_announced(request->nic);
    return CONTROL_OK;
}
