/* SPDX-License-Identifier: MIT */
/*
 * Malformed packed rings (PKD-BAD) on the real daemon: a list that is dropped, counted and followed
 * by good ones; or a ring that breaks, is shown as broken, costs no time, and comes back when it is
 * started anew.
 */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

#define PACKED                                                                                     \
    (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED)
#define HOLE TESTBED_END_GPA

enum {
    RX = 0,
    TX = 1,
    SIZE = 35,
};

static struct testbed *bed_of(void **state, uint64_t features)
{
    struct testbed_options options = {
        .features = features, .pairs = 2, .queue_size = SIZE, .rx_slots = SIZE - 5};

    return testbed_start(state, &options);
}

/* The other pair of this NIC goes on too. */
static void bed_end(struct testbed *bed)
{
    testbed_exchange(&bed->nic[VICTIM], 1, 200);
    testbed_finish(bed);
}

/* Stops the ring, makes it new, starts it. */
static void ring_renew(struct testbed_nic *nic, unsigned vring)
{
    struct driver_ring *ring = nic->ring[vring];
    struct net_driver *net = &nic->net[vring / 2];
    unsigned rx_free_count = net->rx_free_count;

    front_end_stop_vring(&nic->fe, vring);
    ring->ops->restart(ring);
    front_end_start_ring(&nic->fe, vring, ring);
    net_driver_forget(net);
    if (vring % 2 == RX)
        net_driver_post(net, net->rx_slots);
    else
        net->rx_free_count = rx_free_count; /* the receive ring still holds its buffers */
}

/* ---- lists that are dropped ---- */

/* Offers the raw list: it comes back with length 0, counted as dropped for this reason. */
static void expect_drop(struct testbed *bed, const struct packed_slot *list, unsigned count,
                        const char *reason)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_packed *tx = &nic->packed[TX];
    uint64_t drops = testbed_tx_drops(bed);
    struct driver_used used;
    uint64_t counted;
    char path[96];
    json_t *chains = daemon_inspect(&bed->daemon, "nic0/queues/0/tx_ring/bad_chains");

    counted = (uint64_t)json_integer_value(json_object_get(chains, reason));
    json_decref(chains);
    driver_packed_offer(tx, list, count);
    driver_ring_kick(&tx->ring);
    check(driver_ring_wait(&tx->ring, WAIT_LONG_MS, &used), "the bad list never came back");
    assert_int_equal(used.id, list[count - 1].id);
    assert_int_equal(used.len, 0);
    assert_int_equal(testbed_tx_drops(bed), drops + 1);
    snprintf(path, sizeof(path), "nic0/queues/0/tx_ring/bad_chains/%s", reason);
    assert_int_equal(daemon_number(&bed->daemon, path), counted + 1);
    testbed_exchange(nic, 0, 300);
}

static void PKD_BAD_04_table_in_a_list(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 100);

    for (unsigned n = 0; n < 20; n++) {
        struct packed_slot list[3] = {{gpa, 16, 1, 0}, {gpa, 48, 1, 0}, {gpa, 16, 1, 0}};

        list[n % 3].flags |= SLOT_INDIRECT;
        expect_drop(bed, list, 3, "indirect_bad_flags");
    }
    bed_end(bed);
}

static void PKD_BAD_05_indirect_not_agreed(void **state)
{
    struct testbed *bed = bed_of(state, PACKED & ~VIRTIO_F_INDIRECT_DESC);
    struct packed_slot slot = {testbed_put_frame(&bed->nic[VICTIM], 100), 16, 1, SLOT_INDIRECT};

    expect_drop(bed, &slot, 1, "indirect_not_agreed");
    bed_end(bed);
}

static void PKD_BAD_06_tables_that_are_not(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 100);
    const struct {
        struct packed_slot slot;
        const char *reason;
    } cases[] = {
        {{gpa, 0, 1, SLOT_INDIRECT}, "indirect_bad_length"},
        {{gpa, 40, 1, SLOT_INDIRECT}, "indirect_bad_length"},
        {{gpa, UINT32_MAX & ~15u, 1, SLOT_INDIRECT}, "indirect_bad_length"},
        {{HOLE, 16, 1, SLOT_INDIRECT}, "indirect_bad_address"},
        {{HOLE - 16, 32, 1, SLOT_INDIRECT}, "indirect_bad_address"},
        {{UINT64_MAX - 15, 32, 1, SLOT_INDIRECT}, "indirect_bad_address"},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_drop(bed, &cases[i].slot, 1, cases[i].reason);
    bed_end(bed);
}

static void PKD_BAD_07_buffers_that_are_not_memory(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 100);
    const struct {
        struct packed_slot list[2];
        const char *reason;
    } cases[] = {
        {{{gpa, 12, 1, 0}, {HOLE, 100, 1, 0}}, "bad_address"},
        {{{gpa, 12, 1, 0}, {HOLE - 50, 100, 1, 0}}, "bad_address"},
        {{{gpa, 12, 1, 0}, {UINT64_MAX - 1, 100, 1, 0}}, "bad_address"},
        {{{gpa, 12, 1, 0}, {0, 100, 1, 0}}, "bad_address"},
        {{{gpa, 12, 1, SLOT_WRITE}, {gpa, 100, 1, 0}}, "readable_after_writable"},
        {{{gpa, 12, 1, 0}, {gpa, UINT32_MAX, 1, 0}}, "chain_too_large"},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_drop(bed, cases[i].list, 2, cases[i].reason);
    bed_end(bed);
}

/* A receive buffer that is no good is given back unused when a frame comes; the next one takes it.
 */
static void PKD_BAD_07_receive_buffer_that_is_not_memory(void **state)
{
    static const struct packed_slot bad[] = {
        {HOLE, 2048, 0, SLOT_WRITE},
        {HOLE - 100, 2048, 0, SLOT_WRITE},
        {TESTBED_RAM_GPA, 11, 0, SLOT_WRITE}, /* less than a header: R05 */
        {TESTBED_RAM_GPA, 2048, 0, 0},        /* not writable */
    };
    struct testbed_options options = {.features = PACKED, .queue_size = SIZE, .rx_unposted = 1};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t counted = testbed_rx_bad_buffers(bed);
        struct packed_slot slot = bad[i];
        struct driver_used used;
        uint8_t frame[200];
        uint8_t got[NET_FRAME_MAX];

        slot.id = driver_packed_claim_id(&nic->packed[RX]);
        driver_packed_offer(&nic->packed[RX], &slot, 1);
        net_driver_post(&nic->net[0], 8);
        net_frame_make(frame, sizeof(frame), nic->mac, i);
        net_driver_send(&nic->net[0], frame, sizeof(frame));
        check(driver_ring_wait(nic->ring[RX], WAIT_LONG_MS, &used), "nothing was received");
        assert_int_equal(used.id, slot.id);
        assert_int_equal(used.len, 0);
        assert_int_equal(testbed_rx_bad_buffers(bed), counted + 1);
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 200);
        net_driver_drain(&nic->net[0]);
        testbed_exchange(nic, 0, 100);
        front_end_stop_vring(&nic->fe, RX);
        nic->ring[RX]->ops->restart(nic->ring[RX]);
        front_end_start_ring(&nic->fe, RX, nic->ring[RX]);
        net_driver_forget(&nic->net[0]);
    }
    testbed_finish(bed);
}

/* virtio 1.4, 2.8.3.3: whatever the id is, it comes back; nothing is looked up by it. */
static void PKD_BAD_03_ids_are_echoed_as_they_are(void **state)
{
    static const uint16_t id[] = {SIZE, 0x7fff, 0xffff, 3, 3};
    struct testbed *bed = bed_of(state, PACKED);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_packed *tx = &nic->packed[TX];
    uint64_t gpa = testbed_put_frame(nic, 100);
    uint64_t end = now_ms() + WAIT_LONG_MS;

    for (unsigned i = 0; i < 5; i++) {
        struct packed_slot slot = {gpa, 112, id[i], SLOT_AVAIL};

        driver_packed_write_slot(tx, i, &slot);
    }
    driver_ring_kick(&tx->ring);
    while (driver_packed_slot_flags(tx, 4) != (SLOT_AVAIL | SLOT_USED)) {
        check(now_ms() < end, "the last list was not used");
        sleep_ms(1);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(driver_packed_read_slot(tx, i).id, id[i]);
    ring_renew(nic, TX);
    bed_end(bed);
}

/* ---- rings that break ---- */

static void check_fault_shown(struct testbed *bed, unsigned vring, const char *fault)
{
    json_t *ring = daemon_inspect(&bed->daemon,
                                  vring == RX ? "nic0/queues/0/rx_ring" : "nic0/queues/0/tx_ring");

    assert_string_equal(json_string_value(json_object_get(ring, "state")), "broken");
    assert_string_equal(json_string_value(json_object_get(ring, "fault")), fault);
    json_decref(ring);
}

/* The ring holds something poisonous, unkicked: E-BREAK, and back by stop and start. */
static void expect_break(struct testbed *bed, unsigned vring, const char *fault)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_ring *ring = nic->ring[vring];
    uint8_t before[SIZE * PACKED_SLOT_LEN];
    uint8_t *slots = guest_ram_at(&nic->ram, ring->desc_area, sizeof(before));
    uint8_t frame[100];

    memcpy(before, slots, sizeof(before));
    driver_ring_kick(ring);
    if (vring == RX) { /* it is looked at when there is something to receive */
        net_frame_make(frame, sizeof(frame), nic->mac, 1);
        net_driver_send(&nic->net[0], frame, sizeof(frame));
        net_driver_drain(&nic->net[0]);
    }
    check(wait_eventfd(nic->fe.vring[vring].err_fd, WAIT_LONG_MS) > 0,
          "the err eventfd of ring %u did not fire", vring);
    check_fault_shown(bed, vring, fault);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    testbed_exchange(nic, 1, 100);
    for (unsigned i = 0; i < 100; i++)
        driver_ring_kick(ring);
    daemon_check_idle(&bed->daemon);
    assert_memory_equal(slots, before, sizeof(before));
    ring_renew(nic, vring);
    for (unsigned i = 0; i < SIZE; i++)
        testbed_exchange(nic, 0, 300);
}

static void PKD_BAD_01_list_without_end(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    struct driver_packed *tx = &bed->nic[VICTIM].packed[TX];
    uint64_t gpa = testbed_put_frame(&bed->nic[VICTIM], 100);

    for (unsigned n = 0; n < 2; n++) {
        for (unsigned i = SIZE; i-- > 0;) { /* from where the ring stands, all round */
            struct packed_place at = packed_place_after(tx, tx->next, i);
            struct packed_slot slot = {gpa, 1, 1, SLOT_NEXT | packed_avail_bits(at)};

            driver_packed_write_slot(tx, at.slot, &slot);
        }
        expect_break(bed, TX, "list_endless");
    }
    bed_end(bed);
}

static void PKD_BAD_02_list_shown_before_its_end(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct packed_slot slot = {testbed_put_frame(nic, 100), 50, 1, 0};

    for (unsigned n = 0; n < 3; n++) {
        struct driver_packed *tx = &nic->packed[TX];

        slot.flags = SLOT_NEXT | packed_avail_bits(tx->next);
        driver_packed_write_slot(tx, tx->next.slot, &slot);
        expect_break(bed, TX, "list_partly_available");
    }
    bed_end(bed);
}

static void PKD_BAD_02_receive_list_shown_before_its_end(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_packed *rx = &nic->packed[RX];
    struct packed_slot slot = {TESTBED_RAM_GPA, 50, 1, SLOT_WRITE | SLOT_NEXT};

    front_end_stop_vring(&nic->fe, RX);
    rx->ring.ops->restart(&rx->ring);
    front_end_start_ring(&nic->fe, RX, &rx->ring);
    slot.flags |= packed_avail_bits(rx->next);
    driver_packed_write_slot(rx, rx->next.slot, &slot);
    expect_break(bed, RX, "list_partly_available");
    bed_end(bed);
}

/* ---- words that mean nothing ---- */

static void PKD_BAD_08_event_words_at_random(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t noise = 3;

    for (unsigned i = 0; i < 300; i++) {
        noise = noise * 1664525u + 1013904223u;
        for (unsigned vring = RX; vring <= TX; vring++)
            driver_packed_store_event(
                &nic->packed[vring],
                (struct packed_event_words){(uint16_t)(noise >> 8), (uint16_t)(noise >> 16)});
        testbed_exchange(nic, 0, 100);
    }
    bed_end(bed);
}

static void PKD_BAD_13_ring_full_of_anything_at_the_start(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_ring *tx = nic->ring[TX];
    uint8_t *slots = guest_ram_at(&nic->ram, tx->desc_area, SIZE * PACKED_SLOT_LEN);
    uint32_t noise = 3;

    for (unsigned n = 0; n < 25; n++) {
        front_end_stop_vring(&nic->fe, TX);
        tx->ops->restart(tx);
        for (unsigned i = 0; i < SIZE * PACKED_SLOT_LEN; i++) {
            noise = noise * 1664525u + 1013904223u;
            slots[i] = n == 0 ? 0xff : (uint8_t)(noise >> 24);
        }
        front_end_start_ring(&nic->fe, TX, tx);
        driver_ring_kick(tx);
        testbed_exchange(nic, 1, 100);
        daemon_check_alive(&bed->daemon);
    }
    daemon_check_idle(&bed->daemon);
    ring_renew(nic, TX);
    ring_renew(nic, RX);
    testbed_exchange(nic, 0, 300);
    bed_end(bed);
}

/* ---- rings that must not start ---- */

struct parts {
    uint64_t desc, driver, device;
};

/* Starts ring TX there; answers whether the back-end took all of it. */
static int starts(struct testbed *bed, uint32_t base, struct parts parts)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct {
        uint32_t index, flags;
        uint64_t desc, used, avail, log;
    } payload = {TX, 0, parts.desc, parts.device, parts.driver, 0};
    struct vu_message message = vu_message(VU_SET_VRING_ADDR, &payload, sizeof(payload));
    int refused;

    front_end_stop_vring(&nic->fe, TX);
    nic->ring[TX]->ops->restart(nic->ring[TX]);
    refused = front_end_vring_state(&nic->fe, VU_SET_VRING_BASE, TX, base);
    assert_true(refused >= 0);
    refused |= front_end_request(&nic->fe, &message, 0);
    assert_true(refused >= 0);
    refused |= front_end_set_vring_kick(&nic->fe, TX);
    assert_true(refused >= 0);
    nic->ring[TX]->kick_fd = nic->fe.vring[TX].kick_fd;
    return !refused;
}

static struct parts parts_of(const struct testbed_nic *nic)
{
    const struct driver_ring *tx = nic->ring[TX];

    return (struct parts){guest_ram_uva(&nic->ram, tx->desc_area),
                          guest_ram_uva(&nic->ram, tx->driver_area),
                          guest_ram_uva(&nic->ram, tx->device_area)};
}

static void PKD_BAD_11_parts_and_sizes_that_are_refused(void **state)
{
    static const uint32_t size[] = {0, 257, 32769, 65536, UINT32_MAX};
    struct testbed_options options = {
        .features = PACKED, .queue_size = SIZE, .nic = "queue-size=256,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct parts good = parts_of(nic);
    uint64_t end = guest_ram_uva(&nic->ram, TESTBED_RAM_GPA) - TESTBED_RAM_GPA + TESTBED_END_GPA;
    const uint32_t fresh = 0x80008000;

    assert_true(starts(bed, fresh, good));
    assert_false(starts(bed, fresh, (struct parts){good.desc + 8, good.driver, good.device}));
    assert_false(starts(bed, fresh, (struct parts){good.desc, good.driver + 2, good.device}));
    assert_false(starts(bed, fresh, (struct parts){good.desc, good.driver, good.device + 2}));
    assert_false(
        starts(bed, fresh, (struct parts){end - 16 * SIZE + 16, good.driver, good.device}));
    assert_false(starts(bed, fresh, (struct parts){good.desc, end, good.device}));
    assert_false(starts(bed, fresh, (struct parts){good.desc, good.driver, end}));
    assert_false(starts(bed, fresh, (struct parts){good.desc, good.driver, UINT64_MAX - 3}));
    assert_false(starts(bed, fresh, (struct parts){0, good.driver, good.device}));
    front_end_stop_vring(&nic->fe, TX);
    for (unsigned i = 0; i < sizeof(size) / sizeof(size[0]); i++)
        assert_true(front_end_vring_state(&nic->fe, VU_SET_VRING_NUM, TX, size[i]) > 0);
    ring_renew(nic, TX);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

static void PKD_BAD_12_position_beyond_the_ring(void **state)
{
    static const uint32_t bad[] = {SIZE,   0x8000 | SIZE, 0x7fff,
                                   0xffff, 0xffffffff,    (0x8000u | SIZE) << 16 | 0x8000};
    struct testbed *bed = bed_of(state, PACKED);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct parts parts = parts_of(nic);

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check(!starts(bed, bad[i], parts), "base 0x%x was taken", bad[i]);
    assert_true(starts(bed, 0x80008000, parts));
    ring_renew(nic, TX);
    testbed_exchange(nic, 0, 100);
    bed_end(bed);
}

/* All in the same bytes: nonsense, but it stays inside memory. */
static void PKD_BAD_14_event_words_inside_the_ring(void **state)
{
    struct testbed *bed = bed_of(state, PACKED);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct parts parts = parts_of(nic);
    uint8_t frame[100];

    for (unsigned n = 0; n < 16; n++) {
        parts.driver = parts.desc + 4 * n;
        parts.device = parts.desc + 4 * (n ^ 5);
        assert_true(starts(bed, 0x80008000, parts));
        net_driver_forget(&nic->net[0]);
        nic->net[0].rx_free_count = 0;
        net_frame_make(frame, sizeof(frame), nic->mac, n);
        net_driver_queue(&nic->net[0], frame, sizeof(frame));
        nic->ring[TX]->ops->publish(nic->ring[TX]);
        driver_ring_kick(nic->ring[TX]);
        testbed_exchange(nic, 1, 100);
    }
    ring_renew(nic, TX);
    ring_renew(nic, RX);
    testbed_exchange(nic, 0, 100);
    bed_end(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(PKD_BAD_01_list_without_end),
        TESTBED_TEST(PKD_BAD_02_list_shown_before_its_end),
        TESTBED_TEST(PKD_BAD_02_receive_list_shown_before_its_end),
        TESTBED_TEST(PKD_BAD_03_ids_are_echoed_as_they_are),
        TESTBED_TEST(PKD_BAD_04_table_in_a_list),
        TESTBED_TEST(PKD_BAD_05_indirect_not_agreed),
        TESTBED_TEST(PKD_BAD_06_tables_that_are_not),
        TESTBED_TEST(PKD_BAD_07_buffers_that_are_not_memory),
        TESTBED_TEST(PKD_BAD_07_receive_buffer_that_is_not_memory),
        TESTBED_TEST(PKD_BAD_08_event_words_at_random),
        TESTBED_TEST(PKD_BAD_11_parts_and_sizes_that_are_refused),
        TESTBED_TEST(PKD_BAD_12_position_beyond_the_ring),
        TESTBED_TEST(PKD_BAD_13_ring_full_of_anything_at_the_start),
        TESTBED_TEST(PKD_BAD_14_event_words_inside_the_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
