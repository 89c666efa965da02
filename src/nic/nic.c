/* SPDX-License-Identifier: MIT */
#include "nic/nic.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

/* Which endpoint capability stands behind which feature. */
static const struct {
    enum feature_bit bit;
    uint32_t tx, rx; /* ENDPOINT_…, all of them */
} offload_features[] = {
    {NET_F_CSUM, ENDPOINT_CSUM, 0},
    {NET_F_HOST_TSO4, ENDPOINT_TSO4, 0},
    {NET_F_HOST_TSO6, ENDPOINT_TSO6, 0},
    {NET_F_HOST_ECN, ENDPOINT_ECN, 0},
    {NET_F_HOST_USO, ENDPOINT_USO4 | ENDPOINT_USO6, 0},
    {NET_F_HOST_UFO, ENDPOINT_UFO, 0},
    {NET_F_HOST_UDP_TUNNEL_GSO, ENDPOINT_UDP_TUNNEL, 0},
    {NET_F_HOST_UDP_TUNNEL_GSO_CSUM, ENDPOINT_UDP_TUNNEL_CSUM, 0},
    {NET_F_GUEST_CSUM, 0, ENDPOINT_CSUM},
    {NET_F_GUEST_TSO4, 0, ENDPOINT_TSO4},
    {NET_F_GUEST_TSO6, 0, ENDPOINT_TSO6},
    {NET_F_GUEST_ECN, 0, ENDPOINT_ECN},
    {NET_F_GUEST_USO4, 0, ENDPOINT_USO4},
    {NET_F_GUEST_USO6, 0, ENDPOINT_USO6},
    {NET_F_GUEST_UFO, 0, ENDPOINT_UFO},
    {NET_F_GUEST_UDP_TUNNEL_GSO, 0, ENDPOINT_UDP_TUNNEL},
    {NET_F_GUEST_UDP_TUNNEL_GSO_CSUM, 0, ENDPOINT_UDP_TUNNEL_CSUM},
};

enum {
    OFFLOAD_FEATURES_TX = 8, /* the first ones of the table */
    OFFLOADS_IN_TUNNELS = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6 | ENDPOINT_ECN |
                          ENDPOINT_USO4 | ENDPOINT_USO6,
    OFFLOADS_OF_SOFTWARE = ENDPOINT_OFFLOADS_ALL & ~ENDPOINT_UDP_TUNNELS,
    TUNNEL_COMMAND_BIT = 46,
};

static int offload_offered(const struct nic *nic, size_t index)
{
    uint32_t lacks = (offload_features[index].tx & ~nic->caps.tx_offloads) |
                     (offload_features[index].rx & ~nic->caps.rx_offloads);

    return (lacks & ~(nic->config.software_offloads ? (uint32_t)OFFLOADS_OF_SOFTWARE : 0)) == 0;
}

/* What is in a tunnel may be of any type, and no software can take a part of it over. */
static uint32_t tunnels_whole(uint32_t offloads)
{
    return (OFFLOADS_IN_TUNNELS & ~offloads) == 0 ? offloads
                                                  : offloads & ~(uint32_t)ENDPOINT_UDP_TUNNELS;
}

static struct features features_offer(const struct nic *nic)
{
    static const enum feature_bit always[] = {
        NET_F_MAC,
        NET_F_STATUS,
        NET_F_MRG_RXBUF,
        NET_F_SPEED_DUPLEX,
        NET_F_CTRL_VQ,
        NET_F_CTRL_RX,
        NET_F_CTRL_RX_EXTRA,
        NET_F_CTRL_VLAN,
        NET_F_CTRL_MAC_ADDR,
        NET_F_CTRL_GUEST_OFFLOADS,
        NET_F_GUEST_ANNOUNCE,
        NET_F_NOTF_COAL,
        NET_F_VQ_NOTF_COAL,
        NET_F_DEVICE_STATS,
        NET_F_HASH_REPORT,
        NET_F_HASH_TUNNEL,
        NET_F_GUEST_HDRLEN,
        F_ANY_LAYOUT,
        F_INDIRECT_DESC,
        F_EVENT_IDX,
        F_VERSION_1,
        F_RING_RESET,
        F_RING_PACKED,
        F_IN_ORDER,
        F_NOTIFICATION_DATA,
    };
    struct features offer = {0};

    for (size_t i = 0; i < ARRAY_COUNT(always); i++)
        features_add(&offer, always[i]);
    for (size_t i = 0; i < ARRAY_COUNT(offload_features); i++) {
        if (offload_offered(nic, i))
            features_add(&offer, offload_features[i].bit);
    }
    if (nic->config.mtu != 0)
        features_add(&offer, NET_F_MTU);
    if (nic->config.queue_pairs > 1) {
        features_add(&offer, NET_F_MQ);
        features_add(&offer, NET_F_RSS);
    }
    for (unsigned i = 0; i < ARRAY_COUNT(offer.word); i++) {
        offer.word[i] &= ~nic->config.masked.word[i];
        offer.word[i] |= nic->transport_offer.word[i];
    }
    features_close(&offer);
    return offer;
}

void nic_init(struct nic *nic, const struct nic_config *config, const struct endpoint_caps *caps)
{
    *nic = (struct nic){
        .config = *config, .link_admin = 1, .link_endpoint = 1, .duplex = NIC_DUPLEX_FULL};
    nic_set_endpoint(nic, caps,
                     config->software_offloads ? NIC_SOFTWARE_STANDS_IN : NIC_NOTHING_STANDS_IN);
    nic_renew_offer(nic);
    nic_reset(nic);
}

void nic_offer(struct nic *nic, enum feature_bit bit)
{
    features_add(&nic->transport_offer, bit);
    features_add(&nic->offered, bit);
}

/* ---- the endpoint changes ---------------------------------------------------------------- */

/* Of what the driver sends, the first feature that could not be kept, or NULL. What it receives is
 * a permission that nobody has to use. */
static const char *promise_broken(const struct features *features, const struct endpoint_caps *caps,
                                  enum nic_stand_in stand_in)
{
    uint32_t can = tunnels_whole(caps->tx_offloads);

    if (stand_in == NIC_SOFTWARE_STANDS_IN)
        can |= OFFLOADS_OF_SOFTWARE;
    for (size_t i = 0; i < OFFLOAD_FEATURES_TX; i++) {
        if (features_has(features, offload_features[i].bit) && offload_features[i].tx & ~can)
            return feature_name(offload_features[i].bit);
    }
    return NULL;
}

int nic_check_endpoint(const struct nic *nic, const struct endpoint_caps *caps,
                       enum nic_stand_in stand_in, struct error *err)
{
    const char *broken = promise_broken(&nic->agreed, caps, stand_in);

    if (broken == NULL)
        return 0;
    return error_set(err, EOPNOTSUPP,
                     "it lacks %s, which was agreed on with the guest's driver, and no software "
                     "stands in for it; reset or re-plug the guest's driver first",
                     broken);
}

void nic_set_endpoint(struct nic *nic, const struct endpoint_caps *caps, enum nic_stand_in stand_in)
{
    nic->caps = *caps;
    nic->caps.tx_offloads = tunnels_whole(caps->tx_offloads);
    nic->config.software_offloads = stand_in == NIC_SOFTWARE_STANDS_IN;
}

void nic_renew_offer(struct nic *nic)
{
    nic->offered = features_offer(nic);
}

void nic_reset(struct nic *nic)
{
    nic->agreed = (struct features){0};
    nic->status = 0;
    nic->order = BYTE_ORDER_LITTLE;
    nic->active_pairs = 1;
    nic->config_changed |=
        nic->announce || memcmp(nic->mac, nic->config.mac, sizeof(nic->mac)) != 0;
    memcpy(nic->mac, nic->config.mac, sizeof(nic->mac));
    nic->rx_offloads_off = 0;
    nic->rx_rules = (struct rx_rules){0};
    rx_filter_init(&nic->rx_rules.filter, nic->mac);
    nic->coalesce_rx = nic->coalesce_tx = (struct nic_coalesce){0};
    memset(nic->coalesce, 0, sizeof(nic->coalesce));
    nic->announce = 0;
}

int nic_agree(struct nic *nic, const struct features *accepted, struct error *err)
{
    int result = features_check_agreeable(accepted, &nic->offered, err);
    const char *broken;

    if (result < 0)
        return result;
    /* virtio 1.4, 6.2: the operator counts on the guest's IOMMU. */
    if (features_has(&nic->offered, F_ACCESS_PLATFORM) &&
        !features_has(accepted, F_ACCESS_PLATFORM))
        return error_set(err, EINVAL,
                         "the driver does not accept access_platform; give the card an IOMMU, or"
                         " leave iommu=on out");
    /* The offer may be older than the endpoint. */
    broken = promise_broken(accepted, &nic->caps,
                            nic->config.software_offloads ? NIC_SOFTWARE_STANDS_IN
                                                          : NIC_NOTHING_STANDS_IN);
    if (broken != NULL)
        return error_set(err, EINVAL,
                         "feature %s was offered before the endpoint changed to one without it",
                         broken);
    nic->agreed = *accepted;
    return 0;
}

/* The driver suspends the device with SUSPEND and lets it go on with DRIVER_OK: one of the two is
 * set (GEN-SU-01, GEN-SU-03). Returns what is left of its write. */
static uint8_t suspend_write(struct nic *nic, uint8_t value)
{
    if (!features_has(&nic->agreed, F_SUSPEND) || nic->status & NIC_STATUS_FAILED)
        return value;
    if (nic->status & NIC_STATUS_SUSPEND && value & NIC_STATUS_DRIVER_OK) {
        nic->status ^= NIC_STATUS_SUSPEND | NIC_STATUS_DRIVER_OK;
    } else if (nic->status & NIC_STATUS_DRIVER_OK && value & NIC_STATUS_SUSPEND) {
        nic->status ^= NIC_STATUS_SUSPEND | NIC_STATUS_DRIVER_OK;
        value &= (uint8_t)~NIC_STATUS_DRIVER_OK;
    }
    return value;
}

/* virtio 1.4, 2.1.2, 3.1.1. A driver adds bits; what it leaves out stays; 32 and the device's own
 * bit are not its to write. FEATURES_OK is judged before DRIVER_OK of the same write. */
uint8_t nic_write_status(struct nic *nic, uint8_t value, const struct features *accepted)
{
    uint8_t added;

    if (value == 0) {
        nic_reset(nic);
        return 0;
    }
    added = suspend_write(nic, value) &
            (NIC_STATUS_ACKNOWLEDGE | NIC_STATUS_DRIVER | NIC_STATUS_DRIVER_OK |
             NIC_STATUS_FEATURES_OK | NIC_STATUS_FAILED) &
            (uint8_t)~nic->status;
    if (added & NIC_STATUS_FEATURES_OK && (accepted == NULL || nic_agree(nic, accepted, NULL) < 0))
        added &= (uint8_t) ~(NIC_STATUS_FEATURES_OK | NIC_STATUS_DRIVER_OK);
    if (added & NIC_STATUS_DRIVER_OK && nic->status & NIC_STATUS_FAILED)
        added &= (uint8_t)~NIC_STATUS_DRIVER_OK;
    nic->status |= added;
    if (nic->status & NIC_STATUS_DRIVER_OK && features_has(&nic->agreed, F_VERSION_1) &&
        !(nic->status & NIC_STATUS_FEATURES_OK))
        nic_needs_reset(nic);
    return nic->status;
}

void nic_needs_reset(struct nic *nic)
{
    nic->status |= NIC_STATUS_NEEDS_RESET;
}

enum byte_order nic_byte_order(const struct nic *nic)
{
    return features_has(&nic->agreed, F_VERSION_1) ? BYTE_ORDER_LITTLE : nic->order;
}

/* ---- what commands change --------------------------------------------------------------- */

void nic_set_driver_mac(struct nic *nic, const uint8_t mac[6])
{
    memcpy(nic->mac, mac, sizeof(nic->mac));
    memcpy(nic->rx_rules.filter.mac, mac, sizeof(nic->mac));
    nic->config_changed = 1;
}

void nic_announced(struct nic *nic)
{
    nic->config_changed |= nic->announce;
    nic->announce = 0;
}

/* virtio 1.4, 5.1.6.5.6: the bits are those of the features, but for tunnels, whose have no place
 * in 64 bits (checklist X-16). */
static uint64_t offload_command_bit(enum feature_bit bit)
{
    if (bit >= NET_F_GUEST_UDP_TUNNEL_GSO)
        bit = bit - NET_F_GUEST_UDP_TUNNEL_GSO + TUNNEL_COMMAND_BIT;
    return 1ull << bit;
}

int nic_set_guest_offloads(struct nic *nic, uint64_t wanted)
{
    uint32_t off = 0;

    for (size_t i = OFFLOAD_FEATURES_TX; i < ARRAY_COUNT(offload_features); i++) {
        uint64_t bit = offload_command_bit(offload_features[i].bit);

        if (!features_has(&nic->agreed, offload_features[i].bit))
            continue;
        if (!(wanted & bit))
            off |= offload_features[i].rx;
        wanted &= ~bit;
    }
    if (wanted != 0)
        return -EINVAL;
    nic->rx_offloads_off = off;
    return 0;
}

void nic_queue_started(struct nic *nic, unsigned queue)
{
    if (queue < ARRAY_COUNT(nic->coalesce))
        nic->coalesce[queue] = queue % 2 == 0 ? nic->coalesce_rx : nic->coalesce_tx;
}

/* ---- config space (virtio 1.4, 5.1.4) --------------------------------------------------- */

struct net_config {
    uint8_t mac[6];
    le16 status;
    le16 max_virtqueue_pairs;
    le16 mtu;
    le32 speed;
    uint8_t duplex;
    uint8_t rss_max_key_size;
    le16 rss_max_indirection_table_length;
    le32 supported_hash_types;
    le32 supported_tunnel_types;
};

_Static_assert(sizeof(struct net_config) == NIC_CONFIG_LEN, "virtio 1.4, 5.1.4");

static uint16_t net_status(const struct nic *nic)
{
    return (uint16_t)((nic_link_up(nic) ? NIC_NET_LINK_UP : 0) |
                      (nic->announce ? NIC_NET_ANNOUNCE : 0));
}

/* A field is 0 while the feature that brings it is not offered. Legacy drivers read the multi-byte
 * ones in their own order. */
static struct net_config config_build(const struct nic *nic)
{
    const struct nic_config *config = &nic->config;
    const struct features *offered = &nic->offered;
    enum byte_order order = nic_byte_order(nic);
    uint32_t speed = config->speed_mbps != 0 ? config->speed_mbps : (uint32_t)NIC_SPEED_UNKNOWN;
    int rss = features_has(offered, NET_F_RSS);
    struct net_config space = {0};

    memcpy(space.mac, nic->mac, sizeof(space.mac));
    space.status = word16_make(net_status(nic), order);
    if (rss || features_has(offered, NET_F_MQ))
        space.max_virtqueue_pairs = word16_make((uint16_t)config->queue_pairs, order);
    if (features_has(offered, NET_F_MTU))
        space.mtu = word16_make(config->mtu, order);
    space.speed = word32_make(speed, order);
    space.duplex = nic->duplex;
    if (rss)
        space.rss_max_indirection_table_length = word16_make(RSS_TABLE_MAX, order);
    if (rss || features_has(offered, NET_F_HASH_REPORT)) {
        space.rss_max_key_size = HASH_KEY_MAX;
        space.supported_hash_types = word32_make(HASH_TYPES_ALL, order);
    }
    if (features_has(offered, NET_F_HASH_TUNNEL))
        space.supported_tunnel_types = word32_make(HASH_TUNNELS_ALL, order);
    return space;
}

void nic_read_config(struct nic *nic, uint32_t offset, void *ret_bytes, uint32_t len)
{
    struct net_config space = config_build(nic);

    memset(ret_bytes, 0, len);
    if (offset < sizeof(space))
        memcpy(ret_bytes, (const uint8_t *)&space + offset, MIN(len, sizeof(space) - offset));
    if (offset <= offsetof(struct net_config, status) &&
        len > offsetof(struct net_config, status) - offset)
        nic->link_read = 1;
    nic_config_generation(nic);
}

uint32_t nic_config_generation(struct nic *nic)
{
    if (nic->config_changed)
        nic->generation++;
    nic->config_changed = 0;
    return nic->generation;
}

/* ---- what follows from the agreement ---------------------------------------------------- */

unsigned nic_pairs_agreed(const struct nic *nic)
{
    return features_has(&nic->agreed, NET_F_MQ) || features_has(&nic->agreed, NET_F_RSS)
               ? nic->config.queue_pairs
               : 1;
}

unsigned nic_control_queue(const struct nic *nic)
{
    if (!features_has(&nic->agreed, NET_F_CTRL_VQ))
        return UINT_MAX;
    return 2 * nic_pairs_agreed(nic);
}

unsigned nic_queue_count(const struct nic *nic)
{
    return 2 * nic->config.queue_pairs + (unsigned)features_has(&nic->offered, NET_F_CTRL_VQ);
}

static uint32_t tx_offloads_agreed(const struct nic *nic)
{
    uint32_t agreed = 0;

    for (size_t i = 0; i < OFFLOAD_FEATURES_TX; i++) {
        if (features_has(&nic->agreed, offload_features[i].bit))
            agreed |= offload_features[i].tx;
    }
    return agreed;
}

/* Less what the driver switched off. Without checksums there is no segmentation either. */
static uint32_t rx_offloads_wanted(const struct nic *nic)
{
    uint32_t agreed = 0;

    for (size_t i = OFFLOAD_FEATURES_TX; i < ARRAY_COUNT(offload_features); i++) {
        if (features_has(&nic->agreed, offload_features[i].bit))
            agreed |= offload_features[i].rx;
    }
    agreed &= ~nic->rx_offloads_off;
    return agreed & ENDPOINT_CSUM ? agreed : 0;
}

uint32_t nic_rx_offloads(const struct nic *nic)
{
    return rx_offloads_wanted(nic) & nic->caps.rx_offloads;
}

/* virtio 1.4, 5.1.6: through the last field that an accepted feature brings. */
static uint8_t header_len(const struct nic *nic)
{
    if (features_has(&nic->agreed, NET_F_HOST_UDP_TUNNEL_GSO) ||
        features_has(&nic->agreed, NET_F_GUEST_UDP_TUNNEL_GSO))
        return NET_HEADER_LEN_TUNNEL;
    if (features_has(&nic->agreed, NET_F_HASH_REPORT))
        return NET_HEADER_LEN_HASH;
    if (features_has(&nic->agreed, F_VERSION_1) || features_has(&nic->agreed, NET_F_MRG_RXBUF))
        return NET_HEADER_LEN;
    return NET_HEADER_LEN_LEGACY;
}

void nic_pair_rules(const struct nic *nic, struct pair_rules *ret_rules)
{
    uint32_t tx_offloads = tx_offloads_agreed(nic);
    uint32_t tx_passed = tx_offloads & nic->caps.tx_offloads;

    *ret_rules = (struct pair_rules){
        .order = nic_byte_order(nic),
        .header_len = header_len(nic),
        .mergeable = (uint8_t)features_has(&nic->agreed, NET_F_MRG_RXBUF),
        .hash_report = (uint8_t)features_has(&nic->agreed, NET_F_HASH_REPORT),
        .link_up = (uint8_t)nic_link_up(nic),
        .tx_plain = tx_offloads == 0,
        .tx_unread = nic->caps.tx_unread,
        .tx_offloads = nic->config.software_offloads ? tx_offloads : tx_passed,
        .tx_passed = tx_passed,
        .rx_offloads = rx_offloads_wanted(nic),
        .frame_max =
            features_has(&nic->agreed, NET_F_MTU) ? nic->config.mtu + FRAME_LEN_MIN : FRAME_LEN_MAX,
    };
}
