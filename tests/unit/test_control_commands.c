/* SPDX-License-Identifier: MIT */
/* The control queue's commands, each with what only it can get wrong. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "control_bed.h"

enum {
    RSS_LEN_MAX = 2 + 8 + 128 * 2 + 3 + 255,
    KEY_LEN = 40,
};

static void bed_start(struct control_bed *bed)
{
    control_bed_start(bed, CONTROL_F_ALL, 0);
}

/* Refused, and nothing changed. */
static void expect_refused(struct control_bed *bed, const void *bytes, uint32_t len,
                           const char *what)
{
    struct nic before = control_bed_state(bed);

    check(control_bed_ask(bed, bytes, len) == CONTROL_ACK_ERR, "%s was taken", what);
    control_bed_expect_unchanged(bed, &before, what);
}

/* ---- what is received ---- */

static void CTL_RX_01_modes_go_on_and_off(void **state)
{
    struct control_bed *bed = *state;
    uint8_t *modes = &bed->nic.rx_rules.filter.modes;

    bed_start(bed);
    for (uint8_t mode = 0; mode < 6; mode++) {
        assert_int_equal(control_bed_ask(bed, (uint8_t[]){0, mode, 1}, 3), CONTROL_ACK_OK);
        assert_int_equal(*modes, (1 << (mode + 1)) - 1);
    }
    for (uint8_t mode = 0; mode < 6; mode++) {
        assert_int_equal(control_bed_ask(bed, (uint8_t[]){0, mode, 0}, 3), CONTROL_ACK_OK);
        assert_int_equal(*modes, 0x3f & ~((1 << (mode + 1)) - 1));
    }
    assert_int_equal(control_bed_ask(bed, (uint8_t[]){0, 0, 0x80}, 3), CONTROL_ACK_OK);
    assert_int_equal(*modes, 1); /* all but 0 is on */
}

static uint32_t put_table(uint8_t *at, uint32_t count, uint8_t first)
{
    wire_put32(at, count, WIRE_LITTLE);
    for (uint32_t i = 0; i < count; i++)
        memcpy(at + 4 + 6 * i, (uint8_t[]){first, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}, 6);
    return 4 + 6 * count;
}

static void CTL_MAC_01_tables_are_replaced_whole(void **state)
{
    static const uint32_t bad[] = {0xffffffff, 0x2aaaaaab, 0x15555556, 0x80000000, 11};
    struct control_bed *bed = *state;
    const struct rx_filter *filter = &bed->nic.rx_rules.filter;
    uint8_t bytes[256] = {1, 0};
    uint32_t len;

    bed_start(bed);
    len = 2 + put_table(bytes + 2, 2, 0x52);
    len += put_table(bytes + len, 3, 0x33);
    assert_int_equal(control_bed_ask(bed, bytes, len), CONTROL_ACK_OK);
    assert_int_equal(filter->unicast.count, 2);
    assert_int_equal(filter->multicast.count, 3);
    assert_memory_equal(filter->multicast.address[2], "\x33\0\0\0\0\2", 6);
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        wire_put32(bytes + 2, bad[i], WIRE_LITTLE);
        expect_refused(bed, bytes, len, "a count beyond the message");
        wire_put32(bytes + 2, 2, WIRE_LITTLE);
        wire_put32(bytes + 2 + 4 + 12, bad[i], WIRE_LITTLE);
        expect_refused(bed, bytes, len, "a second count beyond the message");
        wire_put32(bytes + 2 + 4 + 12, 3, WIRE_LITTLE);
    }
    assert_int_equal(control_bed_ask(bed, (uint8_t[10]){1, 0}, 10), CONTROL_ACK_OK);
    assert_int_equal(filter->unicast.count + filter->multicast.count, 0);
}

static void CTL_MAC_02_more_addresses_than_fit(void **state)
{
    struct control_bed *bed = *state;
    const struct rx_filter *filter = &bed->nic.rx_rules.filter;
    uint8_t *bytes = calloc(1, 0x10002);
    uint32_t len;

    bed_start(bed);
    bytes[0] = 1;
    len = 2 + put_table(bytes + 2, 10000, 0x52);
    len += put_table(bytes + len, 64, 0x33);
    assert_int_equal(control_bed_ask(bed, bytes, len), CONTROL_ACK_OK);
    assert_true(filter->unicast.overflow);
    assert_false(filter->multicast.overflow);
    assert_int_equal(filter->multicast.count, 64);
    free(bytes);
}

static void CTL_MAC_03_either_feature_brings_both_commands(void **state)
{
    static const uint64_t features[] = {CONTROL_F_RX, CONTROL_F_MAC_ADDR};
    struct control_bed *bed = *state;
    const struct control_sample *table = control_bed_sample("mac table");
    const struct control_sample *address = control_bed_sample("mac address");

    for (unsigned i = 0; i < 2; i++) {
        control_bed_start(bed, CONTROL_F_VQ | features[i], 0);
        assert_int_equal(control_bed_ask(bed, table->bytes, table->len), CONTROL_ACK_OK);
        assert_int_equal(control_bed_ask(bed, address->bytes, address->len), CONTROL_ACK_OK);
    }
}

static void CTL_MAC_04_address_in_config_space(void **state)
{
    struct control_bed *bed = *state;
    uint32_t generation;
    uint8_t mac[6];

    bed_start(bed);
    nic_read_config(&bed->nic, 0, mac, 6);
    generation = nic_config_generation(&bed->nic);
    expect_refused(bed, "\1\1\0\0\0\0\0\0", 8, "an address of zeros");
    expect_refused(bed, "\1\1\xff\xff\xff\xff\xff\xff", 8, "a broadcast address");
    expect_refused(bed, "\1\1\1\0\x5e\0\0\1", 8, "a multicast address");
    assert_int_equal(control_bed_ask(bed, "\1\1\x52\x54\0\1\2\3", 8), CONTROL_ACK_OK);
    assert_true(nic_config_generation(&bed->nic) != generation);
    nic_read_config(&bed->nic, 0, mac, 6);
    assert_memory_equal(mac, "\x52\x54\0\1\2\3", 6);
    assert_memory_equal(bed->nic.rx_rules.filter.mac, mac, 6);
}

static void CTL_VLAN_01_all_4096(void **state)
{
    struct control_bed *bed = *state;
    const uint64_t *vlan = bed->nic.rx_rules.filter.vlan;

    bed_start(bed);
    for (unsigned round = 0; round < 2; round++) { /* adding twice is fine */
        for (unsigned vid = 0; vid < 4096; vid++) {
            uint8_t add[] = {2, 0, (uint8_t)vid, (uint8_t)(vid >> 8)};

            assert_int_equal(control_bed_ask(bed, add, 4), CONTROL_ACK_OK);
            assert_true(vlan[vid / 64] & 1ull << (vid % 64));
        }
    }
    for (unsigned round = 0; round < 2; round++) { /* so is taking away */
        for (unsigned vid = 0; vid < 4096; vid += 2) {
            uint8_t del[] = {2, 1, (uint8_t)vid, (uint8_t)(vid >> 8)};

            assert_int_equal(control_bed_ask(bed, del, 4), CONTROL_ACK_OK);
        }
    }
    for (unsigned i = 0; i < 64; i++)
        assert_true(vlan[i] == 0xaaaaaaaaaaaaaaaaull);
    for (unsigned vid = 4096; vid < 0x10000; vid += 61) {
        uint8_t bytes[] = {2, (uint8_t)(vid % 2), (uint8_t)vid, (uint8_t)(vid >> 8)};

        expect_refused(bed, bytes, 4, "a VLAN above 4095");
    }
}

static void CTL_ANN_01_acknowledged_announcement(void **state)
{
    struct control_bed *bed = *state;
    uint8_t status[2];

    bed_start(bed);
    assert_int_equal(nic_set_announce(&bed->nic), 1);
    nic_read_config(&bed->nic, 6, status, 2);
    assert_int_equal(status[0], NIC_NET_LINK_UP | NIC_NET_ANNOUNCE);
    assert_int_equal(control_bed_ask(bed, "\3\0", 2), CONTROL_ACK_OK);
    nic_read_config(&bed->nic, 6, status, 2);
    assert_int_equal(status[0], NIC_NET_LINK_UP);
    assert_int_equal(control_bed_ask(bed, "\3\0", 2), CONTROL_ACK_OK); /* though not asked */
}

/* ---- pairs, RSS, hash ---- */

static void CTL_MQ_01_NET_Q_05_number_of_pairs(void **state)
{
    struct control_bed *bed = *state;

    bed_start(bed);
    for (unsigned pairs = 0; pairs < 0x10000; pairs += pairs < 16 ? 1 : 99) {
        uint8_t bytes[] = {4, 0, (uint8_t)pairs, (uint8_t)(pairs >> 8)};

        if (pairs == 0 || pairs > CONTROL_SAMPLE_PAIRS) {
            expect_refused(bed, bytes, 4, "a wrong number of pairs");
            continue;
        }
        assert_int_equal(control_bed_ask(bed, bytes, 4), CONTROL_ACK_OK);
        assert_int_equal(bed->nic.active_pairs, pairs);
    }
    assert_int_equal(control_bed_ask(bed, "\4\0\1\0", 4), CONTROL_ACK_OK);
    for (bed->not_ready = 2; bed->not_ready < 4; bed->not_ready++)
        expect_refused(bed, "\4\0\2\0", 4, "a pair that is half set up");
}

static void CTL_MQ_01_the_last_of_pairs_and_rss_counts(void **state)
{
    struct control_bed *bed = *state;
    const struct control_sample *rss = control_bed_sample("rss");

    bed_start(bed);
    assert_int_equal(control_bed_ask(bed, rss->bytes, rss->len), CONTROL_ACK_OK);
    assert_int_equal(bed->nic.active_pairs, 2); /* CTL-RSS-03: max_tx_vq */
    assert_true(bed->nic.rx_rules.rss.active);
    assert_int_equal(control_bed_ask(bed, "\4\0\1\0", 4), CONTROL_ACK_OK);
    assert_false(bed->nic.rx_rules.rss.active);
    assert_int_equal(bed->nic.active_pairs, 1);
    assert_int_equal(control_bed_ask(bed, rss->bytes, rss->len), CONTROL_ACK_OK);
    assert_true(bed->nic.rx_rules.rss.active);
    assert_int_equal(bed->nic.active_pairs, 2);
}

struct rss_command {
    uint32_t types;
    uint16_t mask, unclassified, max_tx;
    uint8_t key_len;
    uint16_t bad_at, bad; /* table[bad_at] = bad, others 0 and 1 in turn */
};

static uint32_t rss_make(const struct rss_command *rss, uint8_t bytes[RSS_LEN_MAX])
{
    uint32_t entries = rss->mask < 128 ? rss->mask + 1u : 128;
    uint8_t *at = bytes + 2;

    memset(bytes, 0, RSS_LEN_MAX);
    bytes[0] = 4;
    bytes[1] = 1;
    wire_put32(at, rss->types, WIRE_LITTLE);
    wire_put16(at + 4, rss->mask, WIRE_LITTLE);
    wire_put16(at + 6, rss->unclassified, WIRE_LITTLE);
    at += 8;
    for (uint32_t i = 0; i < entries; i++, at += 2)
        wire_put16(at, rss->bad != 0 && i == rss->bad_at ? rss->bad : i % 2, WIRE_LITTLE);
    wire_put16(at, rss->max_tx, WIRE_LITTLE);
    at[2] = rss->key_len;
    memset(at + 3, 0x5a, rss->key_len);
    return (uint32_t)(at + 3 + rss->key_len - bytes);
}

static void CTL_RSS_01_every_table_size_and_key(void **state)
{
    struct control_bed *bed = *state;
    const struct rss *rss = &bed->nic.rx_rules.rss;
    uint8_t bytes[RSS_LEN_MAX];

    bed_start(bed);
    for (uint32_t mask = 0; mask < 256; mask++) {
        struct rss_command command = {0x1ff, (uint16_t)mask, 1, 2, KEY_LEN, 0, 0};
        uint32_t len = rss_make(&command, bytes);

        if (mask >= 128 || !is_power_of_two(mask + 1)) {
            expect_refused(bed, bytes, len, "a table of a wrong size");
            continue;
        }
        assert_int_equal(control_bed_ask(bed, bytes, len), CONTROL_ACK_OK);
        assert_int_equal(rss->mask, mask);
        assert_int_equal(rss->unclassified, 1);
        for (uint32_t i = 0; i <= mask; i++)
            assert_int_equal(rss->table[i], i % 2);
    }
    for (unsigned key_len = 0; key_len < 256; key_len++) {
        struct rss_command command = {0x3f, 3, 0, 1, (uint8_t)key_len, 0, 0};
        uint32_t len = rss_make(&command, bytes);

        if (key_len == 0 || key_len > KEY_LEN)
            expect_refused(bed, bytes, len, "a key of a wrong length");
        else
            assert_int_equal(control_bed_ask(bed, bytes, len), CONTROL_ACK_OK);
    }
}

static void CTL_RSS_02_NET_HASH_04_what_is_refused(void **state)
{
    static const struct rss_command bad[] = {
        {0x200, 3, 0, 1, KEY_LEN, 0, 0},      {0x80000000, 3, 0, 1, KEY_LEN, 0, 0},
        {0x3f, 0xffff, 0, 1, KEY_LEN, 0, 0},  {0x3f, 255, 0, 1, KEY_LEN, 0, 0},
        {0x3f, 2, 0, 1, KEY_LEN, 0, 0},       {0x3f, 3, 2, 1, KEY_LEN, 0, 0},
        {0x3f, 3, 0x8000, 1, KEY_LEN, 0, 0},  {0x3f, 3, 0, 0, KEY_LEN, 0, 0},
        {0x3f, 3, 0, 3, KEY_LEN, 0, 0},       {0x3f, 3, 0, 0xffff, KEY_LEN, 0, 0},
        {0x3f, 3, 0, 1, KEY_LEN, 0, 2},       {0x3f, 3, 0, 1, KEY_LEN, 3, 0x8001},
        {0x3f, 127, 0, 1, KEY_LEN, 127, 128}, {0x3f, 3, 0, 1, 0, 0, 0},
    };
    static const struct rss_command no_hash = {0, 0, 0, 1, 0, 0, 0}; /* Linux without RSS */
    struct control_bed *bed = *state;
    uint8_t bytes[RSS_LEN_MAX];

    bed_start(bed);
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        uint32_t len = rss_make(&bad[i], bytes);

        expect_refused(bed, bytes, len, "an RSS configuration that can't be");
    }
    assert_int_equal(control_bed_ask(bed, bytes, rss_make(&no_hash, bytes)), CONTROL_ACK_OK);
    assert_int_equal(bed->nic.rx_rules.hash.types, 0);
    bed->not_ready = 3;
    rss_make(&(struct rss_command){0x3f, 3, 0, 2, KEY_LEN, 0, 0}, bytes);
    expect_refused(bed, bytes, RSS_LEN_MAX, "a transmit queue that is not set up");
}

static void CTL_HASH_01_types_and_key(void **state)
{
    struct control_bed *bed = *state;
    const struct hash_config *hash = &bed->nic.rx_rules.hash;
    uint8_t bytes[2 + 13 + 255] = {4, 2};

    bed_start(bed);
    for (unsigned bit = 0; bit < 32; bit++) {
        wire_put32(bytes + 2, 1u << bit, WIRE_LITTLE);
        memset(bytes + 6, (int)bit, 8); /* reserved: Linux writes there */
        bytes[14] = KEY_LEN;
        memset(bytes + 15, 0x11, KEY_LEN);
        if (bit > 8) {
            expect_refused(bed, bytes, 15 + KEY_LEN, "an unknown hash type");
            continue;
        }
        assert_int_equal(control_bed_ask(bed, bytes, 15 + KEY_LEN), CONTROL_ACK_OK);
        assert_int_equal(hash->types, 1u << bit);
        assert_int_equal(hash->key[KEY_LEN - 1], 0x11);
    }
    wire_put32(bytes + 2, 0x3f, WIRE_LITTLE);
    for (unsigned key_len = 0; key_len < 256; key_len++) {
        bytes[14] = (uint8_t)key_len;
        if (key_len == 0 || key_len > KEY_LEN)
            expect_refused(bed, bytes, sizeof(bytes), "a key of a wrong length");
        else
            assert_int_equal(control_bed_ask(bed, bytes, 15 + key_len), CONTROL_ACK_OK);
    }
    assert_int_equal(control_bed_ask(bed, (uint8_t[15]){4, 2}, 15), CONTROL_ACK_OK);
    assert_int_equal(hash->types, 0);
}

static void CTL_TUN_01_types_of_tunnels(void **state)
{
    struct control_bed *bed = *state;

    bed_start(bed);
    for (unsigned bit = 0; bit < 32; bit++) {
        uint8_t bytes[6] = {7, 0};

        wire_put32(bytes + 2, 1u << bit, WIRE_LITTLE);
        if (bit > 8) {
            expect_refused(bed, bytes, 6, "an unknown tunnel");
            continue;
        }
        assert_int_equal(control_bed_ask(bed, bytes, 6), CONTROL_ACK_OK);
        assert_int_equal(bed->nic.rx_rules.hash.tunnels, 1u << bit);
    }
    assert_int_equal(control_bed_ask(bed, (uint8_t[6]){7, 0}, 6), CONTROL_ACK_OK);
    assert_int_equal(bed->nic.rx_rules.hash.tunnels, 0);
}

/* ---- offloads, coalescing ---- */

static unsigned offloads_set(struct control_bed *bed, uint64_t mask)
{
    uint8_t bytes[10] = {5, 0};

    wire_put64(bytes + 2, mask, WIRE_LITTLE);
    return control_bed_ask(bed, bytes, 10);
}

static uint32_t offloads_in_force(const struct control_bed *bed)
{
    struct pair_rules rules;

    nic_pair_rules(&bed->nic, &rules);
    assert_int_equal(rules.rx_offloads, nic_rx_offloads(&bed->nic));
    return rules.rx_offloads;
}

static void CTL_OFF_01_NET_RX_12_offloads_go_off_and_on(void **state)
{
    static const uint64_t csum = 1 << 1, tso4 = 1 << 7, tso6 = 1 << 8;
    struct control_bed *bed = *state;

    control_bed_start(bed, CONTROL_F_ALL | tso4, 0);
    assert_int_equal(offloads_in_force(bed), ENDPOINT_CSUM | ENDPOINT_TSO4); /* first all */
    assert_int_equal(offloads_set(bed, csum), CONTROL_ACK_OK);
    assert_int_equal(offloads_in_force(bed), ENDPOINT_CSUM);
    for (unsigned bit = 0; bit < 64; bit++) { /* TSO6 was not agreed on; 46, 47 neither */
        if (bit == 1 || bit == 7)
            continue;
        assert_int_equal(offloads_set(bed, csum | tso4 | 1ull << bit), CONTROL_ACK_ERR);
        assert_int_equal(offloads_in_force(bed), ENDPOINT_CSUM);
    }
    assert_int_equal(offloads_set(bed, csum | tso4 | tso6), CONTROL_ACK_ERR);
    assert_int_equal(offloads_set(bed, csum | tso4), CONTROL_ACK_OK);
    assert_int_equal(offloads_in_force(bed), ENDPOINT_CSUM | ENDPOINT_TSO4);
    assert_int_equal(offloads_set(bed, tso4), CONTROL_ACK_OK);
    assert_int_equal(offloads_in_force(bed), 0); /* no segmentation without checksums */
    assert_int_equal(offloads_set(bed, 0), CONTROL_ACK_OK);
    assert_int_equal(offloads_in_force(bed), 0);
}

static struct nic_coalesce coalesce_get(struct control_bed *bed, uint16_t queue)
{
    uint8_t bytes[6] = {6, 3, (uint8_t)queue, (uint8_t)(queue >> 8), 0xee, 0xee};
    struct control_message message = {bytes, sizeof(bytes), 9};
    struct control_reply reply = control_bed_send(bed, &message);

    assert_int_equal(reply.used_len, 9);
    assert_int_equal(reply.written[8], CONTROL_ACK_OK);
    return (struct nic_coalesce){wire_get32(reply.written, WIRE_LITTLE),
                                 wire_get32(reply.written + 4, WIRE_LITTLE)};
}

static void coalesce_expect(struct control_bed *bed, uint16_t queue, uint32_t packets,
                            uint32_t usecs)
{
    struct nic_coalesce got = coalesce_get(bed, queue);

    check(got.max_packets == packets && got.max_usecs == usecs,
          "queue %u: %u packets, %u us instead of %u, %u", queue, got.max_packets, got.max_usecs,
          packets, usecs);
}

static void CTL_COAL_01_the_last_setter_of_a_queue_counts(void **state)
{
    struct control_bed *bed = *state;
    const struct control_sample *tx = control_bed_sample("coalesce tx");
    const struct control_sample *rx = control_bed_sample("coalesce rx");
    const struct control_sample *queue = control_bed_sample("coalesce queue");

    bed_start(bed);
    for (uint16_t i = 0; i < 4; i++)
        coalesce_expect(bed, i, 0, 0);
    assert_int_equal(control_bed_ask(bed, tx->bytes, tx->len), CONTROL_ACK_OK);
    assert_int_equal(control_bed_ask(bed, queue->bytes, queue->len), CONTROL_ACK_OK);
    coalesce_expect(bed, 0, 0, 0);
    coalesce_expect(bed, 1, 4, 70);
    coalesce_expect(bed, 3, 8, 50);
    assert_int_equal(control_bed_ask(bed, rx->bytes, rx->len), CONTROL_ACK_OK);
    coalesce_expect(bed, 0, 16, 60);
    coalesce_expect(bed, 1, 4, 70);
    assert_int_equal(control_bed_ask(bed, tx->bytes, tx->len), CONTROL_ACK_OK);
    coalesce_expect(bed, 1, 8, 50);
}

static void CTL_COAL_01_queues_that_are_not_there(void **state)
{
    struct control_bed *bed = *state;
    uint8_t set[14] = {6, 2, 0, 0, 0, 0, 1, 0, 0, 0, 1};
    uint8_t get[6] = {6, 3};

    bed_start(bed);
    for (uint32_t queue = 0; queue < 0x10000; queue += queue < 300 ? 1 : 97) {
        struct control_message message = {get, sizeof(get), 9};
        struct control_reply reply;

        bed->not_ready = 1;
        if (queue < 4 && queue != 1)
            continue;
        wire_put16(set + 2, (uint16_t)queue, WIRE_LITTLE);
        wire_put16(get + 2, (uint16_t)queue, WIRE_LITTLE);
        expect_refused(bed, set, sizeof(set), "a queue that is not in use");
        reply = control_bed_send(bed, &message);
        assert_int_equal(reply.used_len, 9);
        assert_int_equal(reply.written[8], CONTROL_ACK_ERR);
        assert_memory_equal(reply.written, "\0\0\0\0\0\0\0\0", 8);
    }
}

/* Without MQ and RSS queue 2 is the control queue, and the others are nothing. */
static void CTL_COAL_01_queues_without_mq(void **state)
{
    struct control_bed *bed = *state;
    uint8_t set[14] = {6, 2, 0, 0, 0, 0, 1, 0, 0, 0, 1};

    control_bed_start(bed, CONTROL_F_VQ | CONTROL_F_VQ_COALESCE, 0);
    for (uint8_t queue = 0; queue < 8; queue++) {
        set[2] = queue;
        assert_int_equal(control_bed_ask(bed, set, sizeof(set)),
                         queue < 2 ? CONTROL_ACK_OK : CONTROL_ACK_ERR);
    }
}

static void GEN_QR_05_queue_that_starts_anew(void **state)
{
    struct control_bed *bed = *state;
    const struct control_sample *tx = control_bed_sample("coalesce tx");
    const struct control_sample *queue = control_bed_sample("coalesce queue");

    bed_start(bed);
    assert_int_equal(control_bed_ask(bed, queue->bytes, queue->len), CONTROL_ACK_OK);
    nic_queue_started(&bed->nic, 1);
    coalesce_expect(bed, 1, 0, 0);
    assert_int_equal(control_bed_ask(bed, tx->bytes, tx->len), CONTROL_ACK_OK);
    assert_int_equal(control_bed_ask(bed, queue->bytes, queue->len), CONTROL_ACK_OK);
    nic_queue_started(&bed->nic, 1);
    coalesce_expect(bed, 1, 8, 50);
}

/* A legacy driver's words are in its own order. */
static void NET_HDR_04_big_endian_commands(void **state)
{
    struct control_bed *bed = *state;

    bed_start(bed);
    features_remove(&bed->nic.agreed, F_VERSION_1);
    bed->nic.order = BYTE_ORDER_BIG;
    assert_int_equal(control_bed_ask(bed, "\4\0\0\2", 4), CONTROL_ACK_OK);
    assert_int_equal(bed->nic.active_pairs, 2);
    assert_int_equal(control_bed_ask(bed, "\4\0\2\0", 4), CONTROL_ACK_ERR);
    assert_int_equal(control_bed_ask(bed, "\2\0\0\5", 4), CONTROL_ACK_OK);
    assert_int_equal(bed->nic.rx_rules.filter.vlan[0], 1 << 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTROL_BED_TEST(CTL_RX_01_modes_go_on_and_off),
        CONTROL_BED_TEST(CTL_MAC_01_tables_are_replaced_whole),
        CONTROL_BED_TEST(CTL_MAC_02_more_addresses_than_fit),
        CONTROL_BED_TEST(CTL_MAC_03_either_feature_brings_both_commands),
        CONTROL_BED_TEST(CTL_MAC_04_address_in_config_space),
        CONTROL_BED_TEST(CTL_VLAN_01_all_4096),
        CONTROL_BED_TEST(CTL_ANN_01_acknowledged_announcement),
        CONTROL_BED_TEST(CTL_MQ_01_NET_Q_05_number_of_pairs),
        CONTROL_BED_TEST(CTL_MQ_01_the_last_of_pairs_and_rss_counts),
        CONTROL_BED_TEST(CTL_RSS_01_every_table_size_and_key),
        CONTROL_BED_TEST(CTL_RSS_02_NET_HASH_04_what_is_refused),
        CONTROL_BED_TEST(CTL_HASH_01_types_and_key),
        CONTROL_BED_TEST(CTL_TUN_01_types_of_tunnels),
        CONTROL_BED_TEST(CTL_OFF_01_NET_RX_12_offloads_go_off_and_on),
        CONTROL_BED_TEST(CTL_COAL_01_the_last_setter_of_a_queue_counts),
        CONTROL_BED_TEST(CTL_COAL_01_queues_that_are_not_there),
        CONTROL_BED_TEST(CTL_COAL_01_queues_without_mq),
        CONTROL_BED_TEST(GEN_QR_05_queue_that_starts_anew),
        CONTROL_BED_TEST(NET_HDR_04_big_endian_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
