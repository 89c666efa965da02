/* SPDX-License-Identifier: MIT */
/* Steering while a receive queue is reset by its register: frames for it
 * are dropped and counted, all others go on. Every test runs over virtio-mmio and virtio-pci. */
#include "check.h"
#include "clockwork.h"
#include "register_bed.h"
#include "rss_driver.h"

enum {
    PAIRS = 4,
    CONTROL = 2 * PAIRS,
    FLOWS = 40,
    GONE = 1, /* the pair whose receive queue is reset */
    STAYS = 2,
};

#define FEATURES (BED_USUAL | BED_CONTROL | BED_BIT(60) | BED_RESET)

static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1};
static enum device_transport transport; /* of the group that runs */

/* Half of the flows go to one pair, half to the other. */
static const struct rss_setup halves = {.types = RSS_HASH_ALL,
                                        .mask = 1,
                                        .unclassified = STAYS,
                                        .table = {GONE, STAYS},
                                        .pairs = PAIRS};

static struct register_bed *start(void **state, uint64_t features)
{
    struct bed_options options = {.transport = transport, .pairs = PAIRS};
    struct register_bed *bed = register_bed_open(state, &options);
    static struct control_driver control;

    register_bed_start(bed, features);
    control_driver_init(&control, bed->ring[CONTROL], 0);
    assert_int_equal(rss_driver_config(&control, &halves), CONTROL_ACK_OK);
    return bed;
}

/* Sends a frame of each flow by all pairs in turn, and takes it where it belongs, unless that is
 * the pair that is gone. Returns how many were for that one. */
static unsigned send_flows(struct register_bed *bed, int gone)
{
    unsigned for_gone = 0;

    for (unsigned flow = 0; flow < FLOWS; flow++) {
        uint8_t got[NET_TX_SLOT_LEN];
        struct packet packet;
        unsigned target;

        rss_flow_make(&packet, mac, flow, flow);
        target = halves.table[rss_flow_hash(&packet) & halves.mask];
        for_gone += target == GONE;
        net_driver_send(&bed->net[flow % PAIRS], packet.bytes, packet.len);
        net_driver_drain(&bed->net[flow % PAIRS]);
        if (gone && target == GONE)
            continue;
        check(net_driver_receive(&bed->net[target], got, sizeof(got), WAIT_LONG_MS) ==
                  (int)packet.len,
              "flow %u did not come to pair %u", flow, target);
        assert_memory_equal(got, packet.bytes, packet.len);
    }
    assert_true(for_gone > 0 && for_gone < FLOWS);
    return for_gone;
}

static void wait_dropped(struct register_bed *bed, uint64_t wanted)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while (register_device_sum(&bed->device, "rx_dropped") < wanted && now_ms() < end)
        sleep_ms(1);
    assert_int_equal(register_device_sum(&bed->device, "rx_dropped"), wanted);
}

static void restart(struct register_bed *bed, unsigned queue)
{
    bed->ring[queue]->ops->restart(bed->ring[queue]);
    register_driver_start_ring(&bed->driver, queue, bed->ring[queue]);
    net_driver_forget(&bed->net[queue / 2]);
    net_driver_post(&bed->net[queue / 2], bed->ring_size);
}

static void reset_and_enable(void **state, uint64_t features)
{
    struct register_bed *bed = start(state, features);
    uint64_t dropped = 0;

    send_flows(bed, 0);
    for (unsigned round = 0; round < 5; round++) {
        assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, 2 * GONE), 0);
        dropped += send_flows(bed, 1);
        wait_dropped(bed, dropped);
        restart(bed, 2 * GONE);
        send_flows(bed, 0); /* the first that comes is the first of these: nothing was kept */
        wait_dropped(bed, dropped);
    }
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
}

static void GEN_QR_04_rss_target_is_reset_split(void **state)
{
    reset_and_enable(state, FEATURES);
}

static void GEN_QR_04_rss_target_is_reset_packed(void **state)
{
    reset_and_enable(state, FEATURES | BED_PACKED);
}

/* The reset comes while frames for the queue are under way: none comes later, none is lost twice.
 */
static void GEN_QR_04_reset_under_traffic(void **state)
{
    struct register_bed *bed = start(state, FEATURES);
    struct packet packet;

    for (unsigned flow = 0; flow < FLOWS; flow++) {
        rss_flow_make(&packet, mac, flow, flow);
        if (halves.table[rss_flow_hash(&packet) & halves.mask] == GONE)
            break;
    }
    for (unsigned round = 0; round < 50; round++) {
        uint64_t packets = register_device_sum(&bed->device, "rx_packets") +
                           register_device_sum(&bed->device, "rx_dropped");
        uint64_t end = now_ms() + WAIT_LONG_MS;

        for (unsigned i = 0; i < 16; i++)
            net_driver_queue(&bed->net[0], packet.bytes, packet.len);
        driver_ring_flush(&bed->split[1].ring);
        assert_int_equal(bed->driver.ops->reset_queue(&bed->driver, 2 * GONE), 0);
        net_driver_drain(&bed->net[0]);
        while (register_device_sum(&bed->device, "rx_packets") +
                   register_device_sum(&bed->device, "rx_dropped") !=
               packets + 16) {
            check(now_ms() < end, "frames are neither received nor dropped");
            sleep_ms(1);
        }
        restart(bed, 2 * GONE);
        register_bed_expect_silence(bed, GONE);
    }
    send_flows(bed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(GEN_QR_04_rss_target_is_reset_split),
        BED_TEST(GEN_QR_04_rss_target_is_reset_packed),
        BED_TEST(GEN_QR_04_reset_under_traffic),
    };

    return BED_RUN_BOTH(tests, &transport);
}
