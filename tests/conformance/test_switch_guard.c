/* SPDX-License-Identifier: MIT */
/* anti-spoof=on: what a guest says of itself inside its frames. */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

enum {
    FRAME_LEN = 60,
    CARDS = 2,
};

static uint8_t sent[FRAME_LEN], got[NET_FRAME_MAX];

/* An answer behind some VLAN tags, cut to len bytes: the sender says that it has this address. */
static void send_arp(struct testbed_nic *nic, unsigned tags, const uint8_t sender[6], uint32_t len)
{
    uint8_t *at = sent + 12;

    memset(sent, 0, sizeof(sent));
    memset(sent, 0xff, 6);
    memcpy(sent + 6, nic->mac, 6);
    for (unsigned i = 0; i < tags; i++, at += 4)
        memcpy(at, "\x81\0\0\5", 4);
    memcpy(at, "\x08\x06\0\1\x08\0\6\4\0\2", 10);
    memcpy(at + 10, sender, 6);
    net_driver_send(&nic->net[0], sent, len);
    net_driver_drain(&nic->net[0]);
}

/* Who says in ARP that another's addresses are his has the others send to him. */
static void NET_TX_19_arp_does_not_lie_about_its_sender(void **state)
{
    const struct testbed_options options = {.nic = "endpoint=switch:name=lan0,anti-spoof=on"};
    struct testbed *bed = *state;
    struct testbed_nic *nic = bed->nic;

    for (unsigned i = 0; i < CARDS; i++)
        testbed_prepare_nic(bed, i, &options);
    daemon_start(&bed->daemon);
    for (unsigned i = 0; i < CARDS; i++)
        testbed_connect(&nic[i]);
    for (unsigned tags = 0; tags <= 2; tags++) {
        send_arp(&nic[0], tags, nic[1].mac, FRAME_LEN);
        send_arp(&nic[0], tags, nic[0].mac, 14 + 4 * tags + 13); /* does not say it all */
        send_arp(&nic[0], tags, nic[0].mac, FRAME_LEN);
        assert_int_equal(net_driver_receive(&nic[1].net[0], got, sizeof(got), WAIT_LONG_MS),
                         FRAME_LEN);
        assert_memory_equal(got, sent, FRAME_LEN);
    }
    assert_true(net_driver_receive(&nic[1].net[0], got, sizeof(got), WAIT_QUIET_MS) < 0);
    assert_int_equal(daemon_number(&bed->daemon, "switch:lan0/dropped_spoofed"), 6);
    daemon_stop(&bed->daemon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_TX_19_arp_does_not_lie_about_its_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
