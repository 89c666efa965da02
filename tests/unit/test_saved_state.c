/* SPDX-License-Identifier: MIT */
/* nic/saved_state and base/records: all that a driver can have set goes there and back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "nic/saved_state.h"

enum {
    PAIRS = 4
};

static struct nic *nic_new(void)
{
    const struct nic_config config = {.mac = {2, 0, 0, 0, 0, 1},
                                      .mtu = 1500,
                                      .queue_pairs = PAIRS,
                                      .queue_size_max = 256,
                                      .speed_mbps = 1000};
    const struct endpoint_caps caps = {.queue_pairs_max = PAIRS};
    struct nic *nic = malloc(sizeof(*nic));

    assert_non_null(nic);
    nic_init(nic, &config, &caps);
    return nic;
}

/* A driver that uses all there is. */
static void nic_use(struct nic *nic)
{
    static const uint8_t addresses[3][6] = {{2, 1}, {2, 2}, {2, 3}};
    uint8_t key[HASH_KEY_MAX];

    nic->agreed = nic->offered;
    nic->status =
        NIC_STATUS_ACKNOWLEDGE | NIC_STATUS_DRIVER | NIC_STATUS_FEATURES_OK | NIC_STATUS_DRIVER_OK;
    nic->generation = 77;
    nic->config.speed_mbps = 40000;
    nic->duplex = NIC_DUPLEX_HALF;
    nic->active_pairs = 3;
    nic_set_driver_mac(nic, (const uint8_t *)"\x02\xaa\xbb\xcc\xdd\xee");
    nic->rx_offloads_off = ENDPOINT_TSO4 | ENDPOINT_UFO;
    nic->announce = 1;
    nic->rx_rules.filter.modes = RX_MODE_ALLMULTI | RX_MODE_NOBCAST;
    rx_filter_set_table(&nic->rx_rules.filter.unicast, addresses[0], 3);
    rx_filter_set_table(&nic->rx_rules.filter.multicast, addresses[0], RX_FILTER_TABLE_MAX + 1);
    rx_filter_add_vlan(&nic->rx_rules.filter, 0);
    rx_filter_add_vlan(&nic->rx_rules.filter, 4095);
    nic->rx_rules.rss = (struct rss){.active = 1, .mask = 7, .unclassified = 2};
    for (unsigned i = 0; i < RSS_TABLE_MAX; i++)
        nic->rx_rules.rss.table[i] = i % PAIRS;
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i * 37 + 1);
    hash_set_key(&nic->rx_rules.hash, key, sizeof(key));
    nic->rx_rules.hash.types = HASH_TCPV4 | HASH_UDPV6_EX;
    nic->rx_rules.hash.tunnels = HASH_TUNNEL_VXLAN;
    nic->coalesce_rx = (struct nic_coalesce){8, 100};
    nic->coalesce_tx = (struct nic_coalesce){16, 200};
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        nic->coalesce[i] = (struct nic_coalesce){i, 10 * i};
}

static uint8_t *written(const struct nic *nic, size_t *ret_len)
{
    struct records_writer writer;
    uint8_t *block;

    records_begin(&writer);
    saved_nic_write(&writer, nic);
    assert_int_equal(records_end(&writer, &block, ret_len), 0);
    return block;
}

/* Fails the test unless reading is refused with these words. */
static void expect_refusal(const struct nic *saved, const struct nic *here, const char *words)
{
    struct nic *next = malloc(sizeof(*next));
    struct error err = {""};
    struct records records;
    size_t len;
    uint8_t *block = written(saved, &len);

    assert_int_equal(records_parse(&records, block, len, SAVED_TAGS_KNOWN, &err), 0);
    assert_true(saved_nic_read(&records, here, next, &err) < 0);
    check(strstr(err.text, words) != NULL, "it says \"%s\", and nothing of \"%s\"", err.text,
          words);
    free(block);
    free(next);
}

static void all_that_a_driver_set_is_there_again(void **state)
{
    struct nic *saved = nic_new();
    struct nic *here = nic_new();
    struct nic *next = malloc(sizeof(*next));
    struct records records;
    struct error err;
    size_t len;
    uint8_t *block;

    (void)state;
    nic_use(saved);
    block = written(saved, &len);
    check(records_parse(&records, block, len, SAVED_TAGS_KNOWN, &err) == 0, "%s", err.text);
    check(saved_nic_read(&records, here, next, &err) == 0, "%s", err.text);
    assert_true(features_equal(&next->agreed, &saved->agreed));
    assert_int_equal(next->status, saved->status);
    assert_int_equal(next->generation, 77);
    assert_int_equal(next->config.speed_mbps, 40000);
    assert_int_equal(next->duplex, NIC_DUPLEX_HALF);
    assert_int_equal(next->active_pairs, 3);
    assert_memory_equal(next->mac, saved->mac, 6);
    assert_memory_equal(next->config.mac, saved->config.mac, 6);
    assert_int_equal(next->rx_offloads_off, saved->rx_offloads_off);
    assert_int_equal(next->announce, 1);
    assert_memory_equal(&next->rx_rules.filter, &saved->rx_rules.filter,
                        sizeof(next->rx_rules.filter));
    assert_memory_equal(&next->rx_rules.rss, &saved->rx_rules.rss, sizeof(next->rx_rules.rss));
    assert_memory_equal(&next->rx_rules.hash, &saved->rx_rules.hash, sizeof(next->rx_rules.hash));
    assert_memory_equal(&next->coalesce_rx, &saved->coalesce_rx, sizeof(next->coalesce_rx));
    assert_memory_equal(&next->coalesce_tx, &saved->coalesce_tx, sizeof(next->coalesce_tx));
    assert_memory_equal(next->coalesce, saved->coalesce, sizeof(next->coalesce));
    free(block);
    free(next);
    free(here);
    free(saved);
}

static void the_link_is_as_the_driver_knew_it(void **state)
{
    struct nic *saved = nic_new();
    struct nic *next = malloc(sizeof(*next));
    struct records records;
    size_t len;
    uint8_t *block;

    (void)state;
    nic_set_link(saved, 0);
    block = written(saved, &len);
    assert_int_equal(records_parse(&records, block, len, SAVED_TAGS_KNOWN, NULL), 0);
    nic_set_link(saved, 1);
    assert_int_equal(saved_nic_read(&records, saved, next, NULL), 0);
    assert_int_equal(nic_link_up(next), 0);
    assert_int_equal(next->link_admin, 1);
    free(block);
    free(next);
    free(saved);
}

static void what_this_card_does_not_offer_is_refused(void **state)
{
    struct nic *saved = nic_new();
    struct nic *here = nic_new();

    (void)state;
    nic_use(saved);
    features_remove(&here->offered, F_EVENT_IDX);
    expect_refusal(saved, here, "event_idx");
    features_add(&here->offered, F_EVENT_IDX);
    here->config.mtu = 9000;
    expect_refusal(saved, here, "mtu=1500");
    here->config.mtu = 1500;
    here->config.queue_pairs = 2;
    expect_refusal(saved, here, "queue pairs");
    free(here);
    free(saved);
}

static void values_that_no_driver_can_have_set_are_refused(void **state)
{
    struct nic *saved = nic_new();
    struct nic *here = nic_new();

    (void)state;
    nic_use(saved);
    saved->rx_rules.rss.table[5] = PAIRS;
    expect_refusal(saved, here, "steering");
    nic_use(saved);
    saved->rx_rules.rss.mask = 6;
    expect_refusal(saved, here, "steering");
    nic_use(saved);
    saved->rx_rules.filter.modes = 0x80;
    expect_refusal(saved, here, "filter");
    nic_use(saved);
    saved->active_pairs = 0;
    expect_refusal(saved, here, "commands");
    nic_use(saved);
    saved->active_pairs = PAIRS + 1;
    expect_refusal(saved, here, "commands");
    nic_use(saved);
    saved->config.mac[0] = 1;
    expect_refusal(saved, here, "identity");
    saved->config.mac[0] = 2;
    nic_use(saved);
    saved->status = 32;
    expect_refusal(saved, here, "agreement");
    free(here);
    free(saved);
}

static void statistics_of_other_builds_are_read_as_far_as_known(void **state)
{
    struct pair_stats *stats = calloc(1, sizeof(*stats));
    struct pair_stats *copy = calloc(1, sizeof(*copy));
    struct records_writer writer;
    struct record_reader reader;
    struct records records;
    uint8_t *block;
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(*stats) / sizeof(counter); i++)
        counter_set((counter *)stats + i, i + 1);
    records_begin(&writer);
    records_open(&writer, 1, RECORD_MANDATORY);
    saved_stats_write(&writer, stats);
    records_close(&writer);
    /* An older build: one counter; a newer one: more in a group. */
    records_open(&writer, 2, RECORD_MANDATORY);
    records_put_u16(&writer, 1);
    records_put_u16(&writer, 2);
    records_put_u64(&writer, 11);
    records_put_u64(&writer, 12);
    records_close(&writer);
    assert_int_equal(records_end(&writer, &block, &len), 0);
    assert_int_equal(records_parse(&records, block, len, 6, NULL), 0);
    assert_int_equal(records_find(&records, 1, &reader), 1);
    saved_stats_read(&reader, copy);
    assert_int_equal(record_is_done(&reader), 1);
    assert_memory_equal(copy, stats, sizeof(*stats));
    assert_int_equal(records_find(&records, 2, &reader), 1);
    saved_stats_read(&reader, copy);
    assert_int_equal(record_is_done(&reader), 1);
    assert_int_equal(counter_get(&copy->tx_packets), 11);
    assert_int_equal(counter_get(&copy->tx_bytes), counter_get(&stats->tx_bytes));
    free(block);
    free(copy);
    free(stats);
}

/* Frames of 64 KB that 128 queues of a tap hold, say. */
static void what_goes_from_process_to_process_may_be_long(void **state)
{
    static const uint8_t frame[1 << 16];
    struct records_writer shorter, longer;
    struct record_reader reader;
    struct records records;
    struct error err = {{0}};
    uint8_t *block;
    size_t len;

    (void)state;
    records_begin(&shorter);
    records_begin_long(&longer);
    records_open(&longer, 1, RECORD_MANDATORY);
    for (unsigned i = 0; i < 128; i++) {
        records_put_bytes(&shorter, frame, sizeof(frame));
        records_put_bytes(&longer, frame, sizeof(frame));
    }
    records_close(&longer);
    assert_int_equal(records_end(&shorter, &block, &len), -EFBIG);
    assert_int_equal(records_end(&longer, &block, &len), 0);
    assert_int_equal(records_parse(&records, block, len, 2, &err), -EINVAL);
    assert_int_equal(records_parse_long(&records, block, len, 2, NULL), 0);
    assert_int_equal(records_find(&records, 1, &reader), 1);
    assert_int_equal(reader.left, 128 * sizeof(frame));
    free(block);
}

/* The values are zlib's crc32() of the same bytes. */
static void the_checksum_is_crc_32(void **state)
{
    uint8_t block[RECORDS_HEADER_LEN + 9] = {0};

    (void)state;
    assert_int_equal(records_crc(block, RECORDS_HEADER_LEN), 0xa3c1ca20);
    memcpy(block + RECORDS_HEADER_LEN, "123456789", 9);
    assert_int_equal(records_crc(block, sizeof(block)), 0x57811705);
    memset(block + RECORDS_CRC_OFFSET, 0xff, 4);
    assert_int_equal(records_crc(block, sizeof(block)), 0x57811705);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_a_driver_set_is_there_again),
        cmocka_unit_test(the_link_is_as_the_driver_knew_it),
        cmocka_unit_test(what_this_card_does_not_offer_is_refused),
        cmocka_unit_test(values_that_no_driver_can_have_set_are_refused),
        cmocka_unit_test(statistics_of_other_builds_are_read_as_far_as_known),
        cmocka_unit_test(what_goes_from_process_to_process_may_be_long),
        cmocka_unit_test(the_checksum_is_crc_32),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
