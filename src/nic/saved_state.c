/* SPDX-License-Identifier: MIT */
#include "nic/saved_state.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/checked.h"

static const char *tag_name(enum saved_tag tag)
{
    static const char *const names[] = {
        [SAVED_AGREEMENT] = "agreement",
        [SAVED_IDENTITY] = "identity",
        [SAVED_COMMANDS] = "commands",
        [SAVED_FILTER] = "filter",
        [SAVED_STEERING] = "steering",
        [SAVED_COALESCING] = "coalescing",
        [SAVED_STATISTICS] = "statistics",
        [SAVED_REGISTERS] = "registers",
        [SAVED_QUEUES] = "queues",
        [SAVED_MMIO] = "virtio-mmio",
        [SAVED_PCI] = "virtio-pci",
        [SAVED_ENDPOINT] = "endpoint",
        [SAVED_PROGRESS] = "progress",
        [SAVED_SESSION] = "session",
        [SAVED_MESSAGE] = "message",
        [SAVED_MEMORY] = "memory",
        [SAVED_RINGS] = "rings",
        [SAVED_LOG] = "log of dirty pages",
        [SAVED_ARRIVAL] = "arrival",
        [SAVED_INFLIGHT] = "where rings are recorded",
        [SAVED_CARD] = "card",
        [SAVED_CHANNEL] = "channel for notices",
        [SAVED_TRANSFER] = "state on its way",
        [SAVED_LEFT] = "state that a reset left",
        [SAVED_LOADED] = "state that was loaded",
        [SAVED_PARTING] = "front-ends that were left behind",
        [SAVED_IOMMU] = "what an IOMMU maps",
        [SAVED_COUNTERS] = "counters",
        [SAVED_SHARE] = "share of the control thread",
        [SAVED_AREAS] = "areas for records",
    };

    _Static_assert(ARRAY_COUNT(names) == SAVED_TAG_LAST + 1, "each tag has its name");
    return names[tag];
}

int saved_refuse(enum saved_tag tag, const char *what, struct error *err)
{
    return error_set(err, EINVAL, "saved state: %s: %s", tag_name(tag), what);
}

int saved_record(const struct records *records, enum saved_tag tag,
                 struct record_reader *ret_reader, struct error *err)
{
    return records_find(records, tag, ret_reader) ? 0 : saved_refuse(tag, "it is missing", err);
}

/* ---- agreement and identity --------------------------------------------------------------- */

enum {
    STATUS_KNOWN = NIC_STATUS_ACKNOWLEDGE | NIC_STATUS_DRIVER | NIC_STATUS_DRIVER_OK |
                   NIC_STATUS_FEATURES_OK | NIC_STATUS_SUSPEND | NIC_STATUS_NEEDS_RESET |
                   NIC_STATUS_FAILED,
};

static void agreement_write(struct records_writer *writer, const struct nic *nic)
{
    records_open(writer, SAVED_AGREEMENT, RECORD_MANDATORY);
    records_put_u64(writer, nic->agreed.word[0]);
    records_put_u64(writer, nic->agreed.word[1]);
    records_put_u8(writer, nic->status);
    records_put_u8(writer, nic->order == BYTE_ORDER_BIG);
    records_put_u32(writer, nic->generation);
    records_put_u8(writer, nic->config_changed != 0);
    records_close(writer);
}

static int agreement_check(const struct nic *nic, struct error *err)
{
    if (nic->status & ~STATUS_KNOWN)
        return saved_refuse(SAVED_AGREEMENT, "a status that there is not", err);
    if (nic->order == BYTE_ORDER_BIG && features_has(&nic->agreed, F_VERSION_1))
        return saved_refuse(SAVED_AGREEMENT, "a modern driver is little-endian", err);
    if (features_check_agreeable(&nic->agreed, &nic->offered, err) < 0) {
        error_prefix(err, "saved state does not fit this card");
        return -EINVAL;
    }
    return 0;
}

static int agreement_read(const struct records *records, struct nic *next, struct error *err)
{
    struct record_reader reader;
    int result = saved_record(records, SAVED_AGREEMENT, &reader, err);
    unsigned order, config_changed;

    if (result < 0)
        return result;
    next->agreed.word[0] = record_take_u64(&reader);
    next->agreed.word[1] = record_take_u64(&reader);
    next->status = record_take_u8(&reader);
    order = record_take_u8(&reader);
    next->generation = record_take_u32(&reader);
    config_changed = record_take_u8(&reader);
    next->config_changed = (int)config_changed;
    next->order = order != 0 ? BYTE_ORDER_BIG : BYTE_ORDER_LITTLE;
    if (!record_is_done(&reader) || order > 1 || config_changed > 1)
        return saved_refuse(SAVED_AGREEMENT, "malformed", err);
    return agreement_check(next, err);
}

static void identity_write(struct records_writer *writer, const struct nic *nic)
{
    records_open(writer, SAVED_IDENTITY, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)nic->config.queue_pairs);
    records_put_bytes(writer, nic->config.mac, sizeof(nic->config.mac));
    records_put_u16(writer, nic->config.mtu);
    records_put_u32(writer, nic->config.speed_mbps);
    records_put_u8(writer, nic->duplex);
    records_put_u8(writer, nic->link_admin != 0);
    records_put_u8(writer, (uint8_t)nic_link_up(nic));
    records_close(writer);
}

static int mac_is_card(const uint8_t mac[6])
{
    static const uint8_t zero[6];

    return !(mac[0] & 1) && memcmp(mac, zero, sizeof(zero)) != 0;
}

/* Size of the config space and number of the control queue follow from the pairs: they stay. */
static int identity_read(const struct records *records, struct nic *next, struct error *err)
{
    struct record_reader reader;
    int result = saved_record(records, SAVED_IDENTITY, &reader, err);
    unsigned pairs, mtu, link_admin, link_up;

    if (result < 0)
        return result;
    pairs = record_take_u16(&reader);
    record_take_bytes(&reader, next->config.mac, sizeof(next->config.mac));
    mtu = record_take_u16(&reader);
    next->config.speed_mbps = record_take_u32(&reader);
    next->duplex = record_take_u8(&reader);
    link_admin = record_take_u8(&reader);
    link_up = record_take_u8(&reader);
    if (!record_is_done(&reader) || next->duplex > NIC_DUPLEX_FULL || link_admin > 1 ||
        link_up > link_admin || !mac_is_card(next->config.mac))
        return saved_refuse(SAVED_IDENTITY, "malformed", err);
    if (pairs != next->config.queue_pairs)
        return error_set(err, EINVAL,
                         "saved state is of a card with %u queue pairs, this one has %u; create it "
                         "with as many",
                         pairs, next->config.queue_pairs);
    if (features_has(&next->agreed, NET_F_MTU) && mtu != next->config.mtu)
        return error_set(
            err, EINVAL,
            "saved state is of a card with mtu=%u, this one has %u; create it with the "
            "same",
            mtu, next->config.mtu);
    next->link_admin = (int)link_admin;
    next->link_blip = 0;
    next->link_endpoint = (int)link_up; /* as the driver knows it */
    return 0;
}

/* ---- what the driver's commands have set -------------------------------------------------- */

enum {
    MODES_ALL = (RX_MODE_NOBCAST << 1) - 1,
};

static void commands_write(struct records_writer *writer, const struct nic *nic)
{
    records_open(writer, SAVED_COMMANDS, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)nic->active_pairs);
    records_put_bytes(writer, nic->mac, sizeof(nic->mac));
    records_put_u32(writer, nic->rx_offloads_off);
    records_put_u8(writer, nic->announce != 0);
    records_close(writer);
}

static int commands_read(const struct records *records, struct nic *next, struct error *err)
{
    struct record_reader reader;
    int result = saved_record(records, SAVED_COMMANDS, &reader, err);
    unsigned announce;

    if (result < 0)
        return result;
    next->active_pairs = record_take_u16(&reader);
    record_take_bytes(&reader, next->mac, sizeof(next->mac));
    next->rx_offloads_off = record_take_u32(&reader);
    announce = record_take_u8(&reader);
    if (!record_is_done(&reader) || announce > 1 || next->active_pairs == 0 ||
        next->active_pairs > next->config.queue_pairs ||
        (next->rx_offloads_off & ~(uint32_t)ENDPOINT_OFFLOADS_ALL))
        return saved_refuse(SAVED_COMMANDS, "malformed", err);
    next->announce = (int)announce;
    return 0;
}

static void table_write(struct records_writer *writer, const struct rx_filter_table *table)
{
    records_put_u16(writer, table->count);
    records_put_u8(writer, table->overflow);
    records_put_bytes(writer, table->address, (size_t)table->count * sizeof(table->address[0]));
}

/* 0: it can't be. */
static int table_read(struct record_reader *reader, struct rx_filter_table *table)
{
    *table = (struct rx_filter_table){.count = record_take_u16(reader)};
    table->overflow = record_take_u8(reader);
    if (table->count > RX_FILTER_TABLE_MAX || table->overflow > 1)
        return 0;
    record_take_bytes(reader, table->address, (size_t)table->count * sizeof(table->address[0]));
    return 1;
}

static void filter_write(struct records_writer *writer, const struct rx_filter *filter)
{
    records_open(writer, SAVED_FILTER, RECORD_MANDATORY);
    records_put_u8(writer, filter->modes);
    records_put_bytes(writer, filter->mac, sizeof(filter->mac));
    table_write(writer, &filter->unicast);
    table_write(writer, &filter->multicast);
    for (size_t i = 0; i < ARRAY_COUNT(filter->vlan); i++)
        records_put_u64(writer, filter->vlan[i]);
    records_close(writer);
}

static int filter_read(const struct records *records, struct nic *next, struct error *err)
{
    struct rx_filter *filter = &next->rx_rules.filter;
    struct record_reader reader;
    int result = saved_record(records, SAVED_FILTER, &reader, err);

    if (result < 0)
        return result;
    rx_filter_init(filter, next->mac);
    filter->modes = record_take_u8(&reader);
    record_take_bytes(&reader, filter->mac, sizeof(filter->mac));
    if ((filter->modes & ~MODES_ALL) != 0 || !table_read(&reader, &filter->unicast) ||
        !table_read(&reader, &filter->multicast))
        return saved_refuse(SAVED_FILTER, "malformed", err);
    for (size_t i = 0; i < ARRAY_COUNT(filter->vlan); i++)
        filter->vlan[i] = record_take_u64(&reader);
    return record_is_done(&reader) ? 0 : saved_refuse(SAVED_FILTER, "malformed", err);
}

static void steering_write(struct records_writer *writer, const struct rx_rules *rules)
{
    records_open(writer, SAVED_STEERING, RECORD_MANDATORY);
    records_put_u8(writer, rules->rss.active);
    records_put_u16(writer, rules->rss.mask);
    records_put_u16(writer, rules->rss.unclassified);
    for (unsigned i = 0; i < RSS_TABLE_MAX; i++)
        records_put_u16(writer, rules->rss.table[i]);
    records_put_u32(writer, rules->hash.types);
    records_put_u32(writer, rules->hash.tunnels);
    records_put_bytes(writer, rules->hash.key, sizeof(rules->hash.key));
    records_close(writer);
}

static int steering_check(const struct nic *nic)
{
    const struct rx_rules *rules = &nic->rx_rules;
    int good = rules->rss.active <= 1 && rules->rss.mask < RSS_TABLE_MAX &&
               is_power_of_two(rules->rss.mask + 1u) &&
               rules->rss.unclassified < nic->config.queue_pairs &&
               !(rules->hash.types & ~(uint32_t)HASH_TYPES_ALL) &&
               !(rules->hash.tunnels & ~(uint32_t)HASH_TUNNELS_ALL);

    for (unsigned i = 0; i < RSS_TABLE_MAX && good; i++)
        good = rules->rss.table[i] < nic->config.queue_pairs;
    return good;
}

static int steering_read(const struct records *records, struct nic *next, struct error *err)
{
    struct rx_rules *rules = &next->rx_rules;
    uint8_t key[HASH_KEY_MAX];
    struct record_reader reader;
    int result = saved_record(records, SAVED_STEERING, &reader, err);

    if (result < 0)
        return result;
    rules->rss.active = record_take_u8(&reader);
    rules->rss.mask = record_take_u16(&reader);
    rules->rss.unclassified = record_take_u16(&reader);
    for (unsigned i = 0; i < RSS_TABLE_MAX; i++)
        rules->rss.table[i] = record_take_u16(&reader);
    rules->hash.types = record_take_u32(&reader);
    rules->hash.tunnels = record_take_u32(&reader);
    record_take_bytes(&reader, key, sizeof(key));
    hash_set_key(&rules->hash, key, sizeof(key));
    return record_is_done(&reader) && steering_check(next)
               ? 0
               : saved_refuse(SAVED_STEERING, "malformed", err);
}

static void coalescing_write(struct records_writer *writer, const struct nic *nic)
{
    records_open(writer, SAVED_COALESCING, RECORD_MANDATORY);
    records_put_u32(writer, nic->coalesce_rx.max_packets);
    records_put_u32(writer, nic->coalesce_rx.max_usecs);
    records_put_u32(writer, nic->coalesce_tx.max_packets);
    records_put_u32(writer, nic->coalesce_tx.max_usecs);
    for (unsigned i = 0; i < 2 * nic->config.queue_pairs; i++) {
        records_put_u32(writer, nic->coalesce[i].max_packets);
        records_put_u32(writer, nic->coalesce[i].max_usecs);
    }
    records_close(writer);
}

static struct nic_coalesce coalesce_take(struct record_reader *reader)
{
    struct nic_coalesce coalesce = {.max_packets = record_take_u32(reader)};

    coalesce.max_usecs = record_take_u32(reader);
    return coalesce;
}

static int coalescing_read(const struct records *records, struct nic *next, struct error *err)
{
    struct record_reader reader;
    int result = saved_record(records, SAVED_COALESCING, &reader, err);

    if (result < 0)
        return result;
    next->coalesce_rx = coalesce_take(&reader);
    next->coalesce_tx = coalesce_take(&reader);
    for (unsigned i = 0; i < 2 * next->config.queue_pairs; i++)
        next->coalesce[i] = coalesce_take(&reader);
    return record_is_done(&reader) ? 0 : saved_refuse(SAVED_COALESCING, "malformed", err);
}

/* ---- all of it ---------------------------------------------------------------------------- */

void saved_nic_write(struct records_writer *writer, const struct nic *nic)
{
    agreement_write(writer, nic);
    identity_write(writer, nic);
    commands_write(writer, nic);
    filter_write(writer, &nic->rx_rules.filter);
    steering_write(writer, &nic->rx_rules);
    coalescing_write(writer, nic);
}

int saved_nic_read(const struct records *records, const struct nic *nic, struct nic *ret_next,
                   struct error *err)
{
    static int (*const readers[])(const struct records *, struct nic *, struct error *) = {
        agreement_read, identity_read, commands_read, filter_read, steering_read, coalescing_read,
    };
    int result = 0;

    *ret_next = *nic;
    for (size_t i = 0; i < ARRAY_COUNT(readers) && result == 0; i++)
        result = readers[i](records, ret_next, err);
    return result;
}

/* ---- statistics --------------------------------------------------------------------------- */

#define COUNTER(name)                                                                              \
    {                                                                                              \
        offsetof(struct pair_stats, name),                                                         \
            sizeof(((struct pair_stats *)0)->name) / sizeof(counter)                               \
    }

/* The format: only ever longer, and no count ever smaller. */
static const struct {
    size_t offset;
    size_t count;
} counters[] = {
    COUNTER(tx_packets),
    COUNTER(tx_bytes),
    COUNTER(tx_largest),
    COUNTER(tx_gso_packets),
    COUNTER(tx_gso_bytes),
    COUNTER(tx_needs_csum),
    COUNTER(tx_segmented),
    COUNTER(tx_segmented_bytes),
    COUNTER(tx_segments),
    COUNTER(tx_segment_bytes),
    COUNTER(rx_packets),
    COUNTER(rx_bytes),
    COUNTER(rx_largest),
    COUNTER(rx_gso_packets),
    COUNTER(rx_gso_bytes),
    COUNTER(rx_needs_csum),
    COUNTER(rx_data_valid),
    COUNTER(rx_csum_completed),
    COUNTER(rx_segmented),
    COUNTER(rx_steered),
    COUNTER(tx_stalled),
    COUNTER(rx_starved),
    COUNTER(spurious_wakes),
    COUNTER(looked_on_ns),
    COUNTER(tx_drop),
    COUNTER(rx_drop),
    COUNTER(tx_bad_chain),
    COUNTER(rx_bad_chain),
    COUNTER(rx_bad_buffer),
    COUNTER(tx_packets_per_wake),
    COUNTER(rx_packets_per_wake),
    COUNTER(rx_merged),
    COUNTER(rx_merged_bytes),
};

static counter *counter_at(const struct pair_stats *stats, size_t group, size_t index)
{
    return (counter *)((char *)stats + counters[group].offset) + index;
}

void saved_stats_write(struct records_writer *writer, const struct pair_stats *stats)
{
    records_put_u16(writer, ARRAY_COUNT(counters));
    for (size_t group = 0; group < ARRAY_COUNT(counters); group++) {
        records_put_u16(writer, (uint16_t)counters[group].count);
        for (size_t i = 0; i < counters[group].count; i++)
            records_put_u64(writer, counter_get(counter_at(stats, group, i)));
    }
}

void saved_stats_read(struct record_reader *reader, struct pair_stats *stats)
{
    size_t groups = record_take_u16(reader);

    for (size_t group = 0; group < groups && !reader->failed; group++) {
        size_t count = record_take_u16(reader);

        for (size_t i = 0; i < count && !reader->failed; i++) {
            uint64_t value = record_take_u64(reader);

            if (group < ARRAY_COUNT(counters) && i < counters[group].count)
                counter_set(counter_at(stats, group, i), value);
        }
    }
}
