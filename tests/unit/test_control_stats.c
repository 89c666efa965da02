/* SPDX-License-Identifier: MIT */
/* Device statistics: which types there are, what may be asked, and where each value comes from. */
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "control_bed.h"

enum {
    WANTED_LEN = 16,
    WANTED_MAX = 8,
    HEADER_LEN = 8,
    ROOM = 1024,
};

#define GUEST_TSO4 (1ull << 7)
#define HOST_CSUM  (1ull << 0)
#define HOST_TSO4  (1ull << 11)

#define RX_BASIC (1ull << 0)
#define RX_CSUM  (1ull << 1)
#define RX_GSO   (1ull << 2)
#define RX_SPEED (1ull << 3)
#define TX_BASIC (1ull << 16)
#define TX_CSUM  (1ull << 17)
#define TX_GSO   (1ull << 18)
#define TX_SPEED (1ull << 19)
#define CVQ      (1ull << 32)

struct wanted {
    uint16_t queue;
    uint64_t types;
};

static struct control_reply get(struct control_bed *bed, const struct wanted *wanted,
                                unsigned count)
{
    uint8_t bytes[2 + WANTED_MAX * WANTED_LEN] = {8, 1};
    struct control_message message = {bytes, 2 + count * WANTED_LEN, ROOM};

    for (unsigned i = 0; i < count; i++) {
        uint8_t *at = bytes + 2 + (size_t)i * WANTED_LEN;

        wire_put16(at, wanted[i].queue, WIRE_LITTLE);
        memset(at + 2, 0xee, 6); /* reserved */
        wire_put64(at + 8, wanted[i].types, WIRE_LITTLE);
    }
    return control_bed_send(bed, &message);
}

static uint64_t query(struct control_bed *bed)
{
    struct control_message message = {"\x8\0", 2, 9};
    struct control_reply reply = control_bed_send(bed, &message);

    assert_int_equal(reply.used_len, 9);
    assert_int_equal(reply.written[0], CONTROL_ACK_OK);
    return control_reply_get64(&reply, 1);
}

static void CTL_STAT_03_types_follow_the_features(void **state)
{
    static const struct {
        uint64_t features, types;
    } table[] = {
        {0, RX_BASIC | TX_BASIC | CVQ},
        {CONTROL_F_GUEST_CSUM, RX_BASIC | TX_BASIC | CVQ | RX_CSUM},
        {CONTROL_F_GUEST_CSUM | GUEST_TSO4, RX_BASIC | TX_BASIC | CVQ | RX_CSUM | RX_GSO},
        {HOST_CSUM, RX_BASIC | TX_BASIC | CVQ | TX_CSUM},
        {HOST_CSUM | HOST_TSO4, RX_BASIC | TX_BASIC | CVQ | TX_CSUM | TX_GSO},
    };
    struct control_bed *bed = *state;

    for (unsigned i = 0; i < ARRAY_COUNT(table); i++) {
        control_bed_start(bed, CONTROL_F_VQ | CONTROL_F_STATS | table[i].features, 0);
        assert_true(query(bed) == table[i].types);
        for (unsigned bit = 0; bit < 64; bit++) { /* asking of each queue for each type */
            for (uint16_t queue = 0; queue < 4; queue++) {
                struct wanted wanted = {queue, 1ull << bit};
                uint64_t kind = queue == 0 ? 0xffff : queue == 1 ? 0xffff0000 : CVQ;
                int good = queue < 3 && (wanted.types & table[i].types & kind) != 0;
                struct control_reply reply = get(bed, &wanted, 1);

                check(reply.written[0] == !good, "queue %u, type %u: ack %u", queue, bit,
                      reply.written[0]);
                assert_true(good || reply.used_len == 1);
            }
        }
    }
}

static void CTL_STAT_01_one_bad_question_fails_all(void **state)
{
    static const struct wanted good[] = {{0, RX_BASIC}, {1, TX_BASIC}, {4, CVQ}, {2, RX_BASIC}};
    static const struct wanted bad[] = {
        {5, RX_BASIC}, {0xffff, 0},   {0, TX_BASIC}, {1, RX_BASIC},          {4, RX_BASIC | CVQ},
        {0, CVQ},      {0, RX_SPEED}, {1, TX_SPEED}, {0, RX_BASIC | 1 << 9}, {3, 1ull << 63}};
    struct control_bed *bed = *state;

    control_bed_start(bed, CONTROL_F_ALL, 0);
    assert_int_equal(get(bed, good, 4).used_len, 1 + 56 + 56 + 24 + 56);
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        for (unsigned at = 0; at < 4; at++) {
            struct wanted wanted[4];
            struct control_reply reply;

            memcpy(wanted, good, sizeof(wanted));
            wanted[at] = bad[i];
            reply = get(bed, wanted, 4);
            assert_int_equal(reply.written[0], CONTROL_ACK_ERR);
            assert_int_equal(reply.used_len, 1);
        }
    }
    assert_int_equal(get(bed, &(struct wanted){3, 0}, 1).used_len, 1); /* nothing asked: fine */
    assert_int_equal(get(bed, &(struct wanted){3, 0}, 1).written[0], CONTROL_ACK_OK);
}

/* Checks a record's header and returns its values' offset. */
static uint32_t record(const struct control_reply *reply, uint32_t at, unsigned type,
                       uint16_t queue, uint16_t size)
{
    const uint8_t *header = reply->written + at;

    assert_int_equal(header[0], type);
    assert_int_equal(header[1], 0);
    assert_int_equal(wire_get16(header + 2, WIRE_LITTLE), queue);
    assert_int_equal(wire_get16(header + 4, WIRE_LITTLE), 0);
    assert_int_equal(wire_get16(header + 6, WIRE_LITTLE), size);
    return at + HEADER_LEN;
}

static void expect_values(const struct control_reply *reply, uint32_t at, const uint64_t *values,
                          unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        check(control_reply_get64(reply, at + 8 * i) == values[i], "value %u is %llu, not %llu", i,
              (unsigned long long)control_reply_get64(reply, at + 8 * i),
              (unsigned long long)values[i]);
}

static void fill_rx(struct pair *pair)
{
    struct pair_stats *stats = &pair->stats;

    counter_add(&pair->rx.kicks, 11);
    counter_add(&pair->rx.interrupts, 12);
    counter_add(&stats->rx_packets, 100);
    counter_add(&stats->rx_bytes, 9000);
    counter_add(&stats->rx_drop[PAIR_RX_DROP_TOO_BIG], 3);
    counter_add(&stats->rx_drop[PAIR_RX_DROP_RUNT], 4);
    counter_add(&stats->rx_drop[PAIR_RX_DROP_FILTERED], 50); /* not counted */
    counter_add(&stats->rx_data_valid, 20);
    counter_add(&stats->rx_needs_csum, 30);
    counter_add(&stats->rx_gso_packets, 5);
    counter_add(&stats->rx_gso_bytes, 5000);
}

static void fill_tx(struct pair *pair)
{
    struct pair_stats *stats = &pair->stats;

    counter_add(&pair->tx.kicks, 21);
    counter_add(&pair->tx.interrupts, 22);
    counter_add(&stats->tx_packets, 200);
    counter_add(&stats->tx_bytes, 80000);
    counter_add(&stats->tx_drop[PAIR_TX_DROP_SHORT], 1);
    counter_add(&stats->tx_drop[PAIR_TX_DROP_BAD_HEADER], 2);
    counter_add(&stats->tx_drop[PAIR_TX_DROP_LINK_DOWN], 4);
    counter_add(&stats->tx_needs_csum, 50);
    counter_add(&stats->tx_gso_packets, 7);
    counter_add(&stats->tx_gso_bytes, 70000);
    counter_add(&stats->tx_segmented, 2);
    counter_add(&stats->tx_segmented_bytes, 20000);
    counter_add(&stats->tx_segments, 14);
    counter_add(&stats->tx_segment_bytes, 21000);
}

static void CTL_STAT_02_every_record(void **state)
{
    static const uint64_t rx_basic[] = {11, 100, 9000, 12, 7, 3};
    static const uint64_t rx_csum[] = {20, 30, 50, 0};
    static const uint64_t rx_gso[] = {5, 5000, 0, 0};
    static const uint64_t tx_basic[] = {21, 200, 80000, 22, 7, 3};
    static const uint64_t tx_csum[] = {150, 50};
    static const uint64_t tx_gso[] = {7, 70000, 14, 21000, 5, 50000};
    struct control_bed *bed = *state;
    struct control_reply reply;
    uint32_t at = 1;

    control_bed_start(bed, CONTROL_F_ALL | GUEST_TSO4 | HOST_CSUM | HOST_TSO4, 0);
    fill_rx(&bed->pairs[1]);
    fill_tx(&bed->pairs[1]);
    reply = get(
        bed, (struct wanted[]){{2, RX_BASIC | RX_CSUM | RX_GSO}, {3, TX_BASIC | TX_CSUM | TX_GSO}},
        2);
    assert_int_equal(reply.used_len, 1 + 56 + 40 + 40 + 56 + 24 + 56);
    expect_values(&reply, record(&reply, at, 0, 2, 56), rx_basic, 6);
    expect_values(&reply, record(&reply, at += 56, 1, 2, 40), rx_csum, 4);
    expect_values(&reply, record(&reply, at += 40, 2, 2, 40), rx_gso, 4);
    expect_values(&reply, record(&reply, at += 40, 16, 3, 56), tx_basic, 6);
    expect_values(&reply, record(&reply, at += 56, 17, 3, 24), tx_csum, 2);
    expect_values(&reply, record(&reply, at += 24, 18, 3, 56), tx_gso, 6);
}

static void CTL_STAT_02_the_control_queue_counts_itself(void **state)
{
    struct wanted wanted = {4, CVQ};
    struct control_bed *bed = *state;
    struct control_reply reply;

    control_bed_start(bed, CONTROL_F_ALL, 0);
    for (unsigned i = 0; i < 7; i++)
        control_bed_ask(bed, "\4\0\1\0", 4);
    for (unsigned i = 0; i < 3; i++)
        control_bed_ask(bed, "\4\0\x9\0", 4);
    reply = get(bed, &wanted, 1);
    assert_int_equal(reply.used_len, 1 + 24);
    expect_values(&reply, record(&reply, 1, 32, 4, 24), (uint64_t[]){10, 7}, 2);
    nic_reset(&bed->nic); /* counters go on */
    bed->nic.agreed = (struct features){{CONTROL_F_ALL | 1ull << 32}};
    reply = get(bed, &wanted, 1);
    expect_values(&reply, record(&reply, 1, 32, 4, 24), (uint64_t[]){11, 8}, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTROL_BED_TEST(CTL_STAT_01_one_bad_question_fails_all),
        CONTROL_BED_TEST(CTL_STAT_02_every_record),
        CONTROL_BED_TEST(CTL_STAT_02_the_control_queue_counts_itself),
        CONTROL_BED_TEST(CTL_STAT_03_types_follow_the_features),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
