/* SPDX-License-Identifier: MIT */
/* nic_set: what changes in config space under a driver, under which generation, and who can see it.
 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "nic/nic.h"

static const uint8_t mac_before[6] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t mac_after[6] = {0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b};

static struct nic nic;

/* A card whose driver agreed to these bits. */
static void begin(uint64_t agreed)
{
    struct nic_config config = {.queue_pairs = 1, .queue_size_max = 256};
    struct endpoint_caps caps = {.queue_pairs_max = 1};

    memcpy(config.mac, mac_before, sizeof(config.mac));
    nic_init(&nic, &config, &caps);
    nic.agreed.word[0] = agreed | 1ull << F_VERSION_1;
}

static void read_config(uint32_t offset, void *ret_bytes, uint32_t len)
{
    nic_read_config(&nic, offset, ret_bytes, len);
}

static void GEN_CFG_03_many_changes_between_two_reads_still_differ(void **state)
{
    uint8_t config[NIC_CONFIG_LEN];
    uint32_t before, again;

    (void)state;
    begin(1ull << NET_F_STATUS);
    read_config(0, config, sizeof(config));
    before = nic_config_generation(&nic);
    assert_int_equal(nic_config_generation(&nic), before);
    for (unsigned i = 1; i <= 300; i++) {
        begin(1ull << NET_F_STATUS);
        before = nic_config_generation(&nic);
        for (unsigned change = 0; change < i; change++)
            assert_true(nic_set_link_admin(&nic, change % 2 == 0 ? NIC_LINK_DOWN : NIC_LINK_UP));
        again = nic_config_generation(&nic);
        check((uint8_t)again != (uint8_t)before, "%u changes are not seen in the low byte", i);
        assert_int_equal(nic_config_generation(&nic), again);
    }
}

/* As a driver reads a field that is wider than its accesses: again, until the generation stands. */
static void GEN_CFG_04_half_a_change_is_never_taken_for_a_whole(void **state)
{
    (void)state;
    for (unsigned cut = 1; cut < 6; cut++) {
        uint8_t mac[6];
        uint32_t before, after;

        begin(1ull << NET_F_MAC);
        before = nic_config_generation(&nic);
        read_config(0, mac, cut);
        assert_true(nic_set_mac(&nic, mac_after));
        read_config(cut, mac + cut, 6 - cut);
        after = nic_config_generation(&nic);
        assert_int_not_equal(before, after);
        read_config(0, mac, cut);
        read_config(cut, mac + cut, 6 - cut);
        assert_int_equal(nic_config_generation(&nic), after);
        assert_memory_equal(mac, mac_after, 6);
    }
}

static int change_speed(void)
{
    return nic_set_speed(&nic, 10000, NIC_DUPLEX_HALF);
}

static int change_link(void)
{
    return nic_set_link_admin(&nic, NIC_LINK_DOWN);
}

static int change_endpoint_link(void)
{
    return nic_set_link(&nic, 0);
}

static int change_mac(void)
{
    return nic_set_mac(&nic, mac_after);
}

static int change_announce(void)
{
    return nic_set_announce(&nic);
}

static void GEN_CFG_05_only_who_agreed_to_the_field_hears_of_it(void **state)
{
    static const struct {
        int (*change)(void);
        enum feature_bit seen_by;
    } row[] = {
        {change_speed, NET_F_SPEED_DUPLEX},   {change_link, NET_F_STATUS},
        {change_endpoint_link, NET_F_STATUS}, {change_mac, NET_F_MAC},
        {change_announce, NET_F_STATUS},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(row); i++) {
        begin(0);
        check(!row[i].change(), "row %u: heard of without the feature", i);
        begin(1ull << row[i].seen_by);
        check(row[i].change(), "row %u: not heard of", i);
        check(!row[i].change(), "row %u: heard of again, and nothing changed", i);
    }
}

static void NET_CFG_07_the_link_is_up_when_all_say_so(void **state)
{
    uint8_t status[2];

    (void)state;
    for (unsigned mask = 0; mask < 8; mask++) {
        begin(1ull << NET_F_STATUS);
        nic_set_link_admin(&nic, mask & 1 ? NIC_LINK_UP : NIC_LINK_DOWN);
        nic_set_link(&nic, mask >> 1 & 1);
        nic_set_link_blip(&nic, mask & 4 ? NIC_LINK_UP : NIC_LINK_DOWN);
        read_config(6, status, sizeof(status));
        check(status[0] == (mask == 7), "link %u with mask %u", status[0], mask);
    }
}

/* NET-CFG-06: who waits for the driver's look at the link must not take another read for it. */
static void NET_CFG_06_only_a_read_of_the_status_is_a_look_at_the_link(void **state)
{
    static const struct {
        uint32_t offset, len;
        int is_look;
    } row[] = {{0, 6, 0},  {0, 7, 1},  {6, 2, 1},  {6, 1, 1}, {7, 1, 0},
               {8, 20, 0}, {0, 28, 1}, {12, 4, 0}, {6, 0, 0}};
    uint8_t bytes[32];

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(row); i++) {
        begin(1ull << NET_F_STATUS);
        assert_true(nic_set_link_blip(&nic, NIC_LINK_DOWN));
        nic_config_generation(&nic);
        read_config(row[i].offset, bytes, row[i].len);
        check(nic.link_read == row[i].is_look, "row %u", i);
    }
}

static void an_address_of_the_drivers_own_stays(void **state)
{
    static const uint8_t own[6] = {2, 3, 4, 5, 6, 7};
    uint8_t mac[6];

    (void)state;
    begin(1ull << NET_F_MAC);
    memcpy(nic.mac, own, sizeof(own));
    memcpy(nic.rx_rules.filter.mac, own, sizeof(own));
    assert_false(nic_set_mac(&nic, mac_after));
    read_config(0, mac, sizeof(mac));
    assert_memory_equal(mac, own, 6);
    assert_memory_equal(nic.rx_rules.filter.mac, own, 6);
    nic_reset(&nic);
    read_config(0, mac, sizeof(mac));
    assert_memory_equal(mac, mac_after, 6);
}

static void an_mtu_joins_the_offer(void **state)
{
    uint8_t mtu[2];

    (void)state;
    begin(0);
    assert_false(features_has(&nic.offered, NET_F_MTU));
    nic_set_mtu(&nic, 9000);
    assert_true(features_has(&nic.offered, NET_F_MTU));
    read_config(10, mtu, sizeof(mtu));
    assert_memory_equal(mtu, "\x28\x23", 2);
}

/* ---- another endpoint ---- */

enum {
    ALL = ENDPOINT_OFFLOADS_ALL,
    NO_TUNNELS = ENDPOINT_OFFLOADS_ALL & ~ENDPOINT_UDP_TUNNELS,
};

/* A card on a synchronous endpoint that does everything, whose driver agreed to all of it. */
static void begin_with_everything(void)
{
    struct nic_config config = {.queue_pairs = 1, .queue_size_max = 256, .software_offloads = 1};
    struct endpoint_caps caps = {.queue_pairs_max = 1, .tx_offloads = ALL, .rx_offloads = ALL};

    nic_init(&nic, &config, &caps);
    assert_int_equal(nic_agree(&nic, &nic.offered, NULL), 0);
}

static int could_be(uint32_t offloads, enum nic_stand_in stand_in, struct error *err)
{
    struct endpoint_caps caps = {
        .queue_pairs_max = 1, .tx_offloads = offloads, .rx_offloads = offloads};

    return nic_check_endpoint(&nic, &caps, stand_in, err);
}

static void an_endpoint_that_breaks_a_promise_is_refused(void **state)
{
    static const enum feature_bit tunnels[] = {
        NET_F_HOST_UDP_TUNNEL_GSO, NET_F_HOST_UDP_TUNNEL_GSO_CSUM, NET_F_GUEST_UDP_TUNNEL_GSO,
        NET_F_GUEST_UDP_TUNNEL_GSO_CSUM};
    struct features less;
    struct error err = {""};

    (void)state;
    begin_with_everything();
    assert_int_equal(could_be(ALL, NIC_NOTHING_STANDS_IN, &err), 0);
    assert_int_equal(could_be(NO_TUNNELS, NIC_SOFTWARE_STANDS_IN, &err), -EOPNOTSUPP);
    check(strstr(err.text, "host_udp_tunnel_gso") != NULL, "%s", err.text);
    assert_int_equal(could_be(ALL & ~ENDPOINT_TSO6, NIC_SOFTWARE_STANDS_IN, &err), -EOPNOTSUPP);
    less = nic.agreed;
    for (unsigned i = 0; i < ARRAY_COUNT(tunnels); i++)
        features_remove(&less, tunnels[i]);
    assert_int_equal(nic_agree(&nic, &less, NULL), 0);
    assert_int_equal(could_be(0, NIC_SOFTWARE_STANDS_IN, &err), 0);
    assert_int_equal(could_be(ALL & ~ENDPOINT_UFO, NIC_NOTHING_STANDS_IN, &err), -EOPNOTSUPP);
    check(strstr(err.text, "host_ufo") != NULL, "%s", err.text);
    nic_reset(&nic);
    assert_int_equal(could_be(0, NIC_NOTHING_STANDS_IN, &err), 0);
}

/* Who has read the offer may come back to it; what can't be had any more is not agreed on then. */
static void the_offer_stays_until_nobody_remembers_it(void **state)
{
    struct endpoint_caps plain = {.queue_pairs_max = 1};
    struct features offered;

    (void)state;
    begin_with_everything();
    nic_offer(&nic, F_SUSPEND);
    offered = nic.offered;
    nic_reset(&nic);
    nic_set_endpoint(&nic, &plain, NIC_NOTHING_STANDS_IN);
    assert_true(features_equal(&nic.offered, &offered));
    assert_int_equal(nic_agree(&nic, &offered, NULL), -EINVAL);
    assert_int_equal(nic.agreed.word[0] | nic.agreed.word[1], 0);
    nic_renew_offer(&nic);
    assert_false(features_has(&nic.offered, NET_F_HOST_TSO4));
    assert_false(features_has(&nic.offered, NET_F_HOST_UDP_TUNNEL_GSO));
    assert_true(features_has(&nic.offered, F_SUSPEND));
    assert_int_equal(nic_agree(&nic, &nic.offered, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(GEN_CFG_03_many_changes_between_two_reads_still_differ),
        cmocka_unit_test(GEN_CFG_04_half_a_change_is_never_taken_for_a_whole),
        cmocka_unit_test(GEN_CFG_05_only_who_agreed_to_the_field_hears_of_it),
        cmocka_unit_test(NET_CFG_07_the_link_is_up_when_all_say_so),
        cmocka_unit_test(NET_CFG_06_only_a_read_of_the_status_is_a_look_at_the_link),
        cmocka_unit_test(an_address_of_the_drivers_own_stays),
        cmocka_unit_test(an_mtu_joins_the_offer),
        cmocka_unit_test(an_endpoint_that_breaks_a_promise_is_refused),
        cmocka_unit_test(the_offer_stays_until_nobody_remembers_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
