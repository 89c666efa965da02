/* SPDX-License-Identifier: MIT */
/* Receive filter: which of the modes counts, tables and their overflow, VLANs. */
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "nic/rx_filter.h"

static const uint8_t own[6] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t other[6] = {0x52, 0x54, 0, 0, 0, 2};
static const uint8_t group[6] = {0x01, 0, 0x5e, 0, 0, 1};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static struct rx_filter filter(void)
{
    struct rx_filter made;

    rx_filter_init(&made, own);
    return made;
}

static int passes(const struct rx_filter *filter, const uint8_t *to)
{
    uint8_t bytes[14] = {0};

    memcpy(bytes, to, 6);
    bytes[12] = 0x08;
    return rx_filter_passes(filter, bytes, sizeof(bytes));
}

static int tagged_passes(const struct rx_filter *filter, unsigned ethertype, unsigned tag)
{
    uint8_t bytes[RX_FILTER_PEEK_LEN] = {0};

    memcpy(bytes, own, 6);
    bytes[12] = (uint8_t)(ethertype >> 8);
    bytes[13] = (uint8_t)ethertype;
    bytes[14] = (uint8_t)(tag >> 8);
    bytes[15] = (uint8_t)tag;
    return rx_filter_passes(filter, bytes, sizeof(bytes));
}

/* Who gets through, as a row of NET-FLT-03: own, other, group, everybody. */
static void check_row(uint8_t modes, const char *expected)
{
    const uint8_t *to[] = {own, other, group, everybody};
    struct rx_filter made = filter();
    char got[5] = "";

    made.modes = modes;
    for (unsigned i = 0; i < ARRAY_COUNT(to); i++)
        got[i] = passes(&made, to[i]) ? '+' : '-';
    check(strcmp(got, expected) == 0, "modes %#x: %s, not %s", modes, got, expected);
}

static void NET_FLT_02_own_address_and_broadcast_at_first(void **state)
{
    (void)state;
    check_row(0, "+--+");
}

static void NET_FLT_02_all_pass_where_the_driver_cannot_ask(void **state)
{
    struct rx_filter made = filter();

    (void)state;
    made.by_address = 0;
    made.modes = RX_MODE_NOUNI | RX_MODE_NOMULTI | RX_MODE_NOBCAST;
    assert_true(passes(&made, own) && passes(&made, other) && passes(&made, group) &&
                passes(&made, everybody));
}

static void NET_FLT_02_tables(void **state)
{
    static const uint8_t addresses[3][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 9}};
    struct rx_filter made = filter();

    (void)state;
    rx_filter_set_table(&made.unicast, addresses[0], 3);
    rx_filter_set_table(&made.multicast, group, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_true(passes(&made, addresses[i]));
    assert_true(passes(&made, own) && passes(&made, group) && !passes(&made, other));
    rx_filter_set_table(&made.unicast, other, 1); /* instead of what was there */
    assert_true(passes(&made, other) && !passes(&made, addresses[0]));
    rx_filter_set_table(&made.unicast, NULL, 0);
    rx_filter_set_table(&made.multicast, NULL, 0);
    assert_true(passes(&made, own) && !passes(&made, other) && !passes(&made, group));
}

static void NET_FLT_03_every_combination_of_modes(void **state)
{
    (void)state;
    for (unsigned modes = 0; modes < 64; modes++) {
        char row[] = "+--+";

        if (modes & RX_MODE_ALLUNI)
            row[1] = '+';
        if (modes & RX_MODE_ALLMULTI)
            row[2] = '+';
        if (modes & RX_MODE_NOUNI)
            row[0] = row[1] = '-';
        if (modes & RX_MODE_NOMULTI)
            row[2] = '-';
        if (modes & RX_MODE_NOBCAST)
            row[3] = '-';
        check_row((uint8_t)modes, modes & RX_MODE_PROMISC ? "++++" : row);
    }
}

static void NET_FLT_03_modes_that_drop_beat_tables(void **state)
{
    struct rx_filter made = filter();

    (void)state;
    rx_filter_set_table(&made.unicast, other, 1);
    rx_filter_set_table(&made.multicast, group, 1);
    made.modes = RX_MODE_NOUNI | RX_MODE_NOMULTI;
    assert_true(!passes(&made, other) && !passes(&made, group) && passes(&made, everybody));
}

static void CTL_MAC_02_too_many_addresses_mean_all(void **state)
{
    static uint8_t addresses[RX_FILTER_TABLE_MAX + 1][6];
    struct rx_filter made = filter();

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(addresses); i++)
        memcpy(addresses[i], (uint8_t[]){2, 1, 1, 1, 1, (uint8_t)i}, 6);
    rx_filter_set_table(&made.unicast, addresses[0], RX_FILTER_TABLE_MAX);
    assert_true(passes(&made, addresses[0]) && passes(&made, addresses[RX_FILTER_TABLE_MAX - 1]));
    assert_true(!passes(&made, addresses[RX_FILTER_TABLE_MAX]));
    rx_filter_set_table(&made.unicast, addresses[0], RX_FILTER_TABLE_MAX + 1);
    assert_true(passes(&made, other) && !passes(&made, group));
    rx_filter_set_table(&made.multicast, addresses[0], RX_FILTER_TABLE_MAX + 1);
    assert_true(passes(&made, group));
    rx_filter_set_table(&made.unicast, addresses[0], 1);
    assert_true(passes(&made, addresses[0]) && !passes(&made, other));
}

static void NET_FLT_04_tags_by_table(void **state)
{
    struct rx_filter made = filter();

    (void)state;
    assert_true(passes(&made, own));
    assert_false(tagged_passes(&made, 0x8100, 5));
    rx_filter_add_vlan(&made, 5);
    rx_filter_add_vlan(&made, 5);
    rx_filter_add_vlan(&made, 4095);
    assert_true(tagged_passes(&made, 0x8100, 5));
    assert_true(tagged_passes(&made, 0x8100, 0xe005)); /* priority is no part of the VLAN */
    assert_true(tagged_passes(&made, 0x8100, 4095));
    assert_false(tagged_passes(&made, 0x8100, 69));
    rx_filter_remove_vlan(&made, 5);
    rx_filter_remove_vlan(&made, 6);
    assert_false(tagged_passes(&made, 0x8100, 5));
    assert_true(tagged_passes(&made, 0x8100, 4095));
}

static void NET_FLT_04_every_vlan_is_its_own(void **state)
{
    (void)state;
    for (unsigned vid = 1; vid < RX_FILTER_VLANS; vid++) {
        struct rx_filter made = filter();

        rx_filter_add_vlan(&made, (uint16_t)vid);
        check(tagged_passes(&made, 0x8100, vid), "VLAN %u", vid);
        check(!tagged_passes(&made, 0x8100, vid == 4095 ? 1 : vid + 1), "VLAN beside %u", vid);
    }
}

static void NET_FLT_04_what_is_no_vlan_passes(void **state)
{
    struct rx_filter made = filter();
    uint8_t cut[15] = {0x52, 0x54, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x81, 0, 0};

    (void)state;
    assert_true(tagged_passes(&made, 0x88a8, 5));
    assert_true(tagged_passes(&made, 0x8100, 0x6000)); /* a priority, no VLAN */
    assert_false(rx_filter_passes(&made, cut, sizeof(cut)));
    made.by_vlan = 0;
    assert_true(tagged_passes(&made, 0x8100, 5));
}

static void NET_FLT_04_tag_and_address_both_count(void **state)
{
    struct rx_filter made = filter();

    (void)state;
    made.modes = RX_MODE_NOUNI;
    rx_filter_add_vlan(&made, 5);
    assert_false(tagged_passes(&made, 0x8100, 5));
    made.modes = RX_MODE_PROMISC;
    assert_true(tagged_passes(&made, 0x8100, 6));
    made.by_address = 0;
    assert_false(tagged_passes(&made, 0x8100, 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NET_FLT_02_own_address_and_broadcast_at_first),
        cmocka_unit_test(NET_FLT_02_all_pass_where_the_driver_cannot_ask),
        cmocka_unit_test(NET_FLT_02_tables),
        cmocka_unit_test(NET_FLT_03_every_combination_of_modes),
        cmocka_unit_test(NET_FLT_03_modes_that_drop_beat_tables),
        cmocka_unit_test(CTL_MAC_02_too_many_addresses_mean_all),
        cmocka_unit_test(NET_FLT_04_tags_by_table),
        cmocka_unit_test(NET_FLT_04_every_vlan_is_its_own),
        cmocka_unit_test(NET_FLT_04_what_is_no_vlan_passes),
        cmocka_unit_test(NET_FLT_04_tag_and_address_both_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
