/* SPDX-License-Identifier: MIT */
/* Commands on how many pairs are used and how frames are spread over them (virtio 1.4, 5.1.6.5.5 to
 * 5.1.6.5.7, and 5.1.6.5.9 for the hash of tunnels). */
#include "base/checked.h"
#include "nic/control_request.h"

enum {
    /* struct virtio_net_rss_config up to its table, and what is behind that before the key */
    RSS_TABLE_AT = 8,
    RSS_TAIL_LEN = 3, /* max_tx_vq, hash_key_length */
    /* struct virtio_net_hash_config up to its key */
    HASH_KEY_LEN_AT = 12,
    HASH_KEY_AT = 13,
};

/* A driver sets its queues up before it has them used (NET-Q-05). */
static int pairs_usable(const struct control_request *request, unsigned pairs)
{
    const struct nic_control *control = request->control;

    if (pairs == 0 || pairs > nic_pairs_agreed(request->nic))
        return 0;
    for (unsigned queue = 0; queue < 2 * pairs; queue++) {
        if (!control->ops->queue_ready(control->context, queue))
            return 0;
    }
    return 1;
}

/* Of this command and RSS_CONFIG the last one counts (virtio 1.4, 5.1.6.5.5). */
enum control_ack control_mq_pairs_set(struct control_request *request)
{
    struct nic *nic = request->nic;

    if (request->len < sizeof(le16) || !pairs_usable(request, request_u16(request, 0)))
        return CONTROL_ERR;
    nic->active_pairs = request_u16(request, 0);
    nic->rx_rules.rss = (struct rss){0};
    return CONTROL_OK;
}

/* ---- hash ------------------------------------------------------------------------------- */

/* The key whose length stands at key_len_at, for these types. 0: what is there can't be. */
static int key_read(const struct control_request *request, uint32_t types, uint32_t key_len_at,
                    struct hash_config *hash)
{
    uint8_t key_len;

    if (!range_within(key_len_at, 1, request->len))
        return 0;
    key_len = request->data[key_len_at];
    if ((types & ~(uint32_t)HASH_TYPES_ALL) != 0 || key_len > HASH_KEY_MAX ||
        (types != 0 && key_len == 0) || !range_within(key_len_at + 1, key_len, request->len))
        return 0;
    hash->types = types;
    hash_set_key(hash, request->data + key_len_at + 1, key_len);
    return 1;
}

/* The reserved words are not looked at: Linux uses one of them. */
enum control_ack control_mq_hash_config(struct control_request *request)
{
    struct hash_config hash = request->nic->rx_rules.hash;

    if (request->len < HASH_KEY_AT ||
        !key_read(request, request_u32(request, 0), HASH_KEY_LEN_AT, &hash))
        return CONTROL_ERR;
    request->nic->rx_rules.hash = hash;
    return CONTROL_OK;
}

enum control_ack control_hash_tunnel_set(struct control_request *request)
{
    if (request->len < sizeof(le32) || (request_u32(request, 0) & ~(uint32_t)HASH_TUNNELS_ALL) != 0)
        return CONTROL_ERR;
    request->nic->rx_rules.hash.tunnels = request_u32(request, 0);
    return CONTROL_OK;
}

/* ---- RSS -------------------------------------------------------------------------------- */

/* virtio 1.4, 5.1.6.5.7.1: a pair's number, in a word whose highest bit is reserved. 0: not one of
 * ours. */
static int rss_pair(const struct control_request *request, uint32_t offset, uint16_t *ret_pair)
{
    *ret_pair = request_u16(request, offset);
    return *ret_pair < nic_pairs_agreed(request->nic);
}

static int rss_read(const struct control_request *request, struct rss *ret)
{
    uint32_t entries;

    if (request->len < RSS_TABLE_AT)
        return 0;
    *ret = (struct rss){.active = 1, .mask = request_u16(request, 4)};
    entries = ret->mask + 1u;
    if (entries > RSS_TABLE_MAX || !is_power_of_two(entries) ||
        request->len < RSS_TABLE_AT + entries * sizeof(le16) + RSS_TAIL_LEN ||
        !rss_pair(request, 6, &ret->unclassified))
        return 0;
    for (uint32_t i = 0; i < entries; i++) {
        if (!rss_pair(request, RSS_TABLE_AT + i * (uint32_t)sizeof(le16), &ret->table[i]))
            return 0;
    }
    return 1;
}

enum control_ack control_mq_rss_config(struct control_request *request)
{
    struct nic *nic = request->nic;
    struct hash_config hash = nic->rx_rules.hash;
    struct rss rss;
    uint32_t tail;

    if (!rss_read(request, &rss))
        return CONTROL_ERR;
    tail = RSS_TABLE_AT + (rss.mask + 1u) * (uint32_t)sizeof(le16);
    if (!pairs_usable(request, request_u16(request, tail)) ||
        !key_read(request, request_u32(request, 0), tail + (uint32_t)sizeof(le16), &hash))
        return CONTROL_ERR;
    nic->active_pairs = request_u16(request, tail);
    nic->rx_rules.rss = rss;
    nic->rx_rules.hash = hash;
    return CONTROL_OK;
}
