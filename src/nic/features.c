/* SPDX-License-Identifier: MIT */
#include "nic/features.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

enum {
    NEEDS_MAX = 4,
    NONE = -1,
};

struct feature {
    int8_t bit;
    const char *name;
    int8_t all[NEEDS_MAX]; /* needs every one of these; ends with NONE */
    int8_t any[2];         /* and at least one of these, where given */
};

#define ALL(...)                                                                                   \
    {                                                                                              \
        __VA_ARGS__, NONE                                                                          \
    }
#define NOTHING ALL(NONE)
#define ANYTHING                                                                                   \
    {                                                                                              \
        NONE, NONE                                                                                 \
    }

/* virtio 1.4, 5.1.3.1 and the couplings that drivers rely on. */
static const struct feature feature_table[] = {
    {NET_F_CSUM, "csum", NOTHING, ANYTHING},
    {NET_F_GUEST_CSUM, "guest_csum", NOTHING, ANYTHING},
    {NET_F_CTRL_GUEST_OFFLOADS, "ctrl_guest_offloads", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_MTU, "mtu", NOTHING, ANYTHING},
    {NET_F_MAC, "mac", NOTHING, ANYTHING},
    {NET_F_GUEST_TSO4, "guest_tso4", ALL(NET_F_GUEST_CSUM), ANYTHING},
    {NET_F_GUEST_TSO6, "guest_tso6", ALL(NET_F_GUEST_CSUM), ANYTHING},
    {NET_F_GUEST_ECN, "guest_ecn", NOTHING, {NET_F_GUEST_TSO4, NET_F_GUEST_TSO6}},
    {NET_F_GUEST_UFO, "guest_ufo", ALL(NET_F_GUEST_CSUM), ANYTHING},
    {NET_F_HOST_TSO4, "host_tso4", ALL(NET_F_CSUM), ANYTHING},
    {NET_F_HOST_TSO6, "host_tso6", ALL(NET_F_CSUM), ANYTHING},
    {NET_F_HOST_ECN, "host_ecn", NOTHING, {NET_F_HOST_TSO4, NET_F_HOST_TSO6}},
    {NET_F_HOST_UFO, "host_ufo", ALL(NET_F_CSUM), ANYTHING},
    {NET_F_MRG_RXBUF, "mrg_rxbuf", NOTHING, ANYTHING},
    {NET_F_STATUS, "status", NOTHING, ANYTHING},
    {NET_F_CTRL_VQ, "ctrl_vq", NOTHING, ANYTHING},
    {NET_F_CTRL_RX, "ctrl_rx", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_CTRL_VLAN, "ctrl_vlan", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_CTRL_RX_EXTRA, "ctrl_rx_extra", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_GUEST_ANNOUNCE, "guest_announce", ALL(NET_F_CTRL_VQ, NET_F_STATUS), ANYTHING},
    {NET_F_MQ, "mq", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_CTRL_MAC_ADDR, "ctrl_mac_addr", ALL(NET_F_CTRL_VQ), ANYTHING},
    {F_NOTIFY_ON_EMPTY, "notify_on_empty", NOTHING, ANYTHING},
    {F_ANY_LAYOUT, "any_layout", NOTHING, ANYTHING},
    {F_INDIRECT_DESC, "indirect_desc", NOTHING, ANYTHING},
    {F_EVENT_IDX, "event_idx", NOTHING, ANYTHING},
    {F_VERSION_1, "version_1", NOTHING, ANYTHING},
    {F_ACCESS_PLATFORM, "access_platform", NOTHING, ANYTHING},
    {F_RING_PACKED, "ring_packed", ALL(F_VERSION_1), ANYTHING},
    {F_IN_ORDER, "in_order", ALL(F_VERSION_1), ANYTHING},
    {F_ORDER_PLATFORM, "order_platform", NOTHING, ANYTHING},
    {F_NOTIFICATION_DATA, "notification_data", ALL(F_VERSION_1), ANYTHING},
    {F_RING_RESET, "ring_reset", ALL(F_VERSION_1), ANYTHING},
    {F_SUSPEND, "suspend", ALL(F_VERSION_1), ANYTHING},
    {NET_F_DEVICE_STATS, "device_stats", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_HASH_TUNNEL, "hash_tunnel", ALL(NET_F_CTRL_VQ), {NET_F_RSS, NET_F_HASH_REPORT}},
    {NET_F_VQ_NOTF_COAL, "vq_notf_coal", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_NOTF_COAL, "notf_coal", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_GUEST_USO4, "guest_uso4", ALL(NET_F_GUEST_CSUM), ANYTHING},
    {NET_F_GUEST_USO6, "guest_uso6", ALL(NET_F_GUEST_CSUM), ANYTHING},
    {NET_F_HOST_USO, "host_uso", ALL(NET_F_CSUM), ANYTHING},
    /* Should come with CTRL_VQ; QEMU keeps that to itself and passes this on. */
    {NET_F_HASH_REPORT, "hash_report", NOTHING, ANYTHING},
    {NET_F_GUEST_HDRLEN, "guest_hdrlen", NOTHING, ANYTHING},
    {NET_F_RSS, "rss", ALL(NET_F_CTRL_VQ), ANYTHING},
    {NET_F_RSC_EXT, "rsc_ext", NOTHING, {NET_F_HOST_TSO4, NET_F_HOST_TSO6}},
    {NET_F_STANDBY, "standby", ALL(NET_F_MAC), ANYTHING},
    {NET_F_SPEED_DUPLEX, "speed_duplex", NOTHING, ANYTHING},
    {NET_F_RSS_CONTEXT, "rss_context", ALL(NET_F_CTRL_VQ, NET_F_RSS), ANYTHING},
    {NET_F_GUEST_UDP_TUNNEL_GSO,
     "guest_udp_tunnel_gso",
     {NET_F_GUEST_TSO4, NET_F_GUEST_TSO6, NET_F_GUEST_USO4, NET_F_GUEST_USO6},
     ANYTHING},
    {NET_F_GUEST_UDP_TUNNEL_GSO_CSUM, "guest_udp_tunnel_gso_csum", ALL(NET_F_GUEST_UDP_TUNNEL_GSO),
     ANYTHING},
    {NET_F_HOST_UDP_TUNNEL_GSO, "host_udp_tunnel_gso",
     ALL(NET_F_HOST_TSO4, NET_F_HOST_TSO6, NET_F_HOST_USO), ANYTHING},
    {NET_F_HOST_UDP_TUNNEL_GSO_CSUM, "host_udp_tunnel_gso_csum", ALL(NET_F_HOST_UDP_TUNNEL_GSO),
     ANYTHING},
};

static const struct feature *feature_find(int bit)
{
    for (size_t i = 0; i < ARRAY_COUNT(feature_table); i++) {
        if (feature_table[i].bit == bit)
            return &feature_table[i];
    }
    return NULL;
}

const char *feature_name(enum feature_bit bit)
{
    const struct feature *feature = feature_find((int)bit);

    return feature == NULL ? NULL : feature->name;
}

/* The bit that the set lacks for this feature, or NONE. */
static int feature_lacks(const struct feature *feature, const struct features *set)
{
    for (unsigned i = 0; i < NEEDS_MAX && feature->all[i] != NONE; i++) {
        if (!features_has(set, (enum feature_bit)feature->all[i]))
            return feature->all[i];
    }
    if (feature->any[0] != NONE && !features_has(set, (enum feature_bit)feature->any[0]) &&
        !features_has(set, (enum feature_bit)feature->any[1]))
        return feature->any[0];
    return NONE;
}

int features_check_closed(const struct features *set, struct error *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(feature_table); i++) {
        const struct feature *feature = &feature_table[i];
        int lacks = NONE;

        if (features_has(set, (enum feature_bit)feature->bit))
            lacks = feature_lacks(feature, set);
        if (lacks != NONE)
            return error_set(err, EINVAL, "feature %s needs %s, which was not accepted",
                             feature->name, feature_name((enum feature_bit)lacks));
    }
    return 0;
}

void features_close(struct features *set)
{
    struct features before;

    do {
        before = *set;
        for (size_t i = 0; i < ARRAY_COUNT(feature_table); i++) {
            const struct feature *feature = &feature_table[i];

            if (feature_lacks(feature, set) != NONE)
                features_remove(set, (enum feature_bit)feature->bit);
        }
    } while (!features_equal(&before, set));
}

int features_check_agreeable(const struct features *set, const struct features *offered,
                             struct error *err)
{
    for (unsigned bit = 0; bit < 128; bit++) {
        const char *name;

        if (!features_has(set, bit) || features_has(offered, bit))
            continue;
        name = feature_name(bit);
        return error_set(err, EINVAL, "feature bit %u (%s) was accepted but never offered", bit,
                         name == NULL ? "unknown" : name);
    }
    return features_check_closed(set, err);
}

void features_inspect(const struct features *set, const char *name, struct inspect *visitor)
{
    char text[1024] = "";
    size_t len = 0;

    for (unsigned bit = 0; bit < 128; bit++) {
        const char *bit_name = feature_name(bit);

        if (!features_has(set, bit) || bit_name == NULL || len >= sizeof(text) - 32)
            continue;
        len +=
            (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len == 0 ? "" : " ", bit_name);
    }
    visitor->ops->text(visitor->context, name, text);
}
