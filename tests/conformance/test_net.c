/* SPDX-License-Identifier: MIT */
/* The network device: net header, transmit, receive, mergeable buffers, MTU, queue pairs, control
 * queue. */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "inet_words.h"
#include "testbed.h"

#define NET_CSUM       (1ull << 0)
#define NET_GUEST_CSUM (1ull << 1)
#define NET_MTU        (1ull << 3)

enum {
    NEEDS_CSUM = 1,
    DATA_VALID = 2,
    RSC_INFO = 4,
    ETHERNET = 14,
    IPV4 = 20,
    UDP = 8,
};

static const uint64_t with_csum =
    VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | NET_CSUM;

/* ---- net header ---- */

static void NET_HDR_01_header_length_follows_the_features(void **state)
{
    static const struct testbed_options table[] = {
        {.features = VIRTIO_F_VERSION_1},
        {.features = VIRTIO_F_VERSION_1, .mergeable = 1},
        {.features = VIRTIO_F_EVENT_IDX},
        {.features = VIRTIO_F_EVENT_IDX, .mergeable = 1},
    };
    static const unsigned header_len[] = {12, 12, 10, 12};

    for (unsigned i = 0; i < 4; i++) {
        struct testbed *bed = testbed_start(state, &table[i]);

        assert_int_equal(bed->nic[VICTIM].net[0].options.header_len, header_len[i]);
        for (uint32_t len = 14; len < 1500; len += 300)
            testbed_exchange(&bed->nic[VICTIM], 0, len);
        testbed_finish(bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

/* The receive buffers were filled with 0xaa; every byte of the header is written all the same. */
static void NET_HDR_02_receive_header_is_written_whole(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    const struct net_header *header = &bed->nic[VICTIM].net[0].last_header;

    testbed_exchange(&bed->nic[VICTIM], 0, 100);
    assert_int_equal(header->flags | header->gso_type, 0);
    assert_int_equal(header->hdr_len | header->gso_size | header->csum_start, 0);
    assert_int_equal(header->csum_offset, 0);
    assert_int_equal(header->num_buffers, 1);
    testbed_finish(bed);
}

/* ---- transmit ---- */

static void send_with(struct testbed *bed, const struct net_header *header, const uint8_t *frame,
                      uint32_t len)
{
    net_driver_queue_with(&bed->nic[VICTIM].net[0], header, frame, len);
    driver_ring_flush(&testbed_tx(&bed->nic[VICTIM], 0)->ring);
}

static void expect_passes(struct testbed *bed, const struct net_header *header)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[200];
    uint8_t got[NET_FRAME_MAX];

    net_frame_make(frame, sizeof(frame), nic->mac, 9);
    send_with(bed, header, frame, sizeof(frame));
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 200);
    assert_memory_equal(got, frame, 200);
    assert_int_equal(nic->net[0].last_header.flags & ~NEEDS_CSUM, 0);
    net_driver_drain(&nic->net[0]);
}

static void expect_dropped(struct testbed *bed, const struct net_header *header,
                           const uint8_t *frame, uint32_t len)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t drops = testbed_tx_drops(bed);

    send_with(bed, header, frame, len);
    net_driver_drain(&nic->net[0]);
    check(testbed_tx_drops(bed) == drops + 1,
          "flags 0x%x gso_type 0x%x gso_size %u csum %u + %u passed", header->flags,
          header->gso_type, header->gso_size, header->csum_start, header->csum_offset);
}

static void NET_TX_01_NET_TX_15_unknown_flags_and_num_buffers_are_ignored(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct net_header header = {.flags = 0x80};

    expect_passes(bed, &header);
    header.flags = 0xfe & ~(8 | 16 | 32); /* everything but NEEDS_CSUM and later features' bits */
    expect_passes(bed, &header);
    header = (struct net_header){.num_buffers = 0xffff};
    expect_passes(bed, &header);
    header.flags = DATA_VALID | RSC_INFO;
    expect_passes(bed, &header);
    testbed_finish(bed);
}

static void NET_TX_02_checksum_fields_mean_nothing_without_the_flag(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct net_header header = {
        .csum_start = 0xffff, .csum_offset = 0xffff, .hdr_len = 0xffff, .gso_size = 0xffff};

    expect_passes(bed, &header);
    header = (struct net_header){.csum_start = 20, .csum_offset = 4};
    expect_passes(bed, &header);
    testbed_finish(bed);
}

static const struct net_header segmented[] = {
    {.flags = NEEDS_CSUM, .gso_type = 1, .gso_size = 100, .csum_start = 34, .csum_offset = 16},
    {.flags = NEEDS_CSUM, .gso_type = 4, .gso_size = 100, .csum_start = 54, .csum_offset = 16},
    {.flags = NEEDS_CSUM, .gso_type = 5, .gso_size = 100, .csum_start = 34, .csum_offset = 6},
    {.flags = NEEDS_CSUM, .gso_type = 3, .gso_size = 100, .csum_start = 34, .csum_offset = 6},
};

static void NET_TX_05_offloads_that_were_not_agreed(void **state)
{
    struct testbed_options options = {.features = with_csum};
    struct testbed *bed = testbed_start(state, &options);
    uint8_t frame[500];

    net_frame_make(frame, sizeof(frame), bed->nic[VICTIM].mac, 9);
    for (unsigned i = 0; i < 4; i++)
        expect_dropped(bed, &segmented[i], frame, sizeof(frame));
    testbed_exchange(&bed->nic[VICTIM], 0, 100);
    testbed_finish(bed);
}

/* The header is not looked at: whatever it asks for, the frame goes as it is, and nobody who gets
 * it is told of anything. */
static void NET_TX_05_headers_say_nothing_where_no_offload_was_agreed(void **state)
{
    static const struct net_header rest[] = {
        {.flags = NEEDS_CSUM, .csum_start = 34, .csum_offset = 6},
        {.flags = NEEDS_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff},
        {.flags = 0xff, .gso_type = 0xff, .gso_size = 0xffff, .hdr_len = 0xffff},
    };
    struct testbed *bed = testbed_start(state, NULL);
    const struct net_header *got = &bed->nic[VICTIM].net[0].last_header;

    for (unsigned i = 0; i < 4 + 3; i++) {
        expect_passes(bed, i < 4 ? &segmented[i] : &rest[i - 4]);
        assert_int_equal(got->flags | got->gso_type | got->gso_size | got->csum_start, 0);
    }
    assert_int_equal(testbed_tx_drops(bed), 0);
    testbed_finish(bed);
}

static void NET_TX_04_checksum_fields_outside_the_frame(void **state)
{
    static const uint16_t bad[][2] = {
        {0xffff, 0xffff}, {200, 0},   {199, 0}, {198, 1}, {14, 0xffff},
        {14, 185},        {65535, 1}, {0, 16},  {13, 6},  {34, 65502},
    };
    struct testbed_options options = {.features = with_csum};
    struct testbed *bed = testbed_start(state, &options);
    uint8_t frame[200];

    net_frame_make(frame, sizeof(frame), bed->nic[VICTIM].mac, 9);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct net_header header = {
            .flags = NEEDS_CSUM, .csum_start = bad[i][0], .csum_offset = bad[i][1]};

        expect_dropped(bed, &header, frame, sizeof(frame));
    }
    testbed_exchange(&bed->nic[VICTIM], 0, 100);
    testbed_finish(bed);
}

static void NET_TX_06_NET_TX_07_gso_types_that_are_none(void **state)
{
    struct testbed_options options = {.features = with_csum};
    struct testbed *bed = testbed_start(state, &options);
    struct net_header header = {
        .flags = NEEDS_CSUM, .gso_size = 100, .csum_start = 34, .csum_offset = 16};
    uint8_t frame[500];

    net_frame_make(frame, sizeof(frame), bed->nic[VICTIM].mac, 9);
    for (unsigned type = 1; type < 256; type += type < 16 ? 1 : 15) {
        header.gso_type = (uint8_t)type;
        if (type != 0x80)
            expect_dropped(bed, &header, frame, sizeof(frame));
    }
    header = (struct net_header){.gso_type = 1, .gso_size = 100}; /* without NEEDS_CSUM */
    expect_dropped(bed, &header, frame, sizeof(frame));
    header = (struct net_header){.gso_type = 0x80}; /* ECN alone is none */
    expect_passes(bed, &header);
    testbed_finish(bed);
}

/* An IPv4 UDP frame whose checksum field holds the pseudo header's sum. */
static void udp_frame(uint8_t *frame, uint32_t len, const uint8_t mac[6], uint32_t seed)
{
    uint8_t *ip = frame + ETHERNET;
    uint8_t *udp = ip + IPV4;
    uint8_t pseudo[12] = {10, 0, 0, 1, 10, 0, 0, 2, 0, 17};
    uint16_t udp_len = (uint16_t)(len - ETHERNET - IPV4);

    net_frame_make(frame, len, mac, seed);
    put_be16(frame + 12, 0x0800);
    memset(ip, 0, IPV4);
    ip[0] = 0x45;
    put_be16(ip + 2, (uint16_t)(len - ETHERNET));
    ip[8] = 64;
    ip[9] = 17;
    memcpy(ip + 12, pseudo, 8);
    put_be16(ip + 10, (uint16_t)~inet_sum(ip, IPV4, 0));
    put_be16(udp + 4, udp_len);
    put_be16(pseudo + 10, udp_len);
    put_be16(udp + 6, inet_sum(pseudo, sizeof(pseudo), 0));
}

static void NET_TX_03_NET_RX_05_partial_checksum_is_completed(void **state)
{
    struct testbed_options options = {.features = with_csum};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct net_header header = {
        .flags = NEEDS_CSUM, .csum_start = ETHERNET + IPV4, .csum_offset = 6};
    uint8_t frame[1500];
    uint8_t got[NET_FRAME_MAX];

    for (uint32_t len = 42; len < 1500; len += len < 60 ? 1 : 97) {
        uint8_t pseudo[12] = {10, 0, 0, 1, 10, 0, 0, 2, 0, 17};

        udp_frame(frame, len, nic->mac, len);
        send_with(bed, &header, frame, len);
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), len);
        assert_int_equal(nic->net[0].last_header.flags, 0);
        put_be16(pseudo + 10, (uint16_t)(len - ETHERNET - IPV4));
        /* over the pseudo header and all of UDP, checksum included, the sum is all ones */
        assert_int_equal(inet_sum(got + ETHERNET + IPV4, len - ETHERNET - IPV4,
                                  inet_sum(pseudo, sizeof(pseudo), 0)),
                         0xffff);
        got[40] = frame[40];
        got[41] = frame[41];
        assert_memory_equal(got, frame, len);
        net_driver_drain(&nic->net[0]);
    }
    testbed_finish(bed);
}

static void NET_RX_06_partial_checksum_is_passed_on_where_agreed(void **state)
{
    struct testbed_options options = {.features = with_csum | NET_GUEST_CSUM};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct net_header header = {
        .flags = NEEDS_CSUM, .csum_start = ETHERNET + IPV4, .csum_offset = 6};
    uint8_t frame[300];
    uint8_t got[NET_FRAME_MAX];

    udp_frame(frame, sizeof(frame), nic->mac, 5);
    send_with(bed, &header, frame, sizeof(frame));
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 300);
    assert_memory_equal(got, frame, 300);
    assert_int_equal(nic->net[0].last_header.flags, NEEDS_CSUM);
    assert_int_equal(nic->net[0].last_header.csum_start, ETHERNET + IPV4);
    assert_int_equal(nic->net[0].last_header.csum_offset, 6);
    net_driver_drain(&nic->net[0]);
    testbed_finish(bed);
}

/* ---- a driver that rewrites the header while the device looks (INV-02) ---- */

struct flipper {
    uint8_t *header;
    uint8_t *ip;
    _Atomic int running;
};

static void *flip_header(void *context)
{
    struct flipper *flipper = context;
    uint32_t seed = 1;

    while (flipper->running) {
        seed = seed * 1664525u + 1013904223u;
        __atomic_store_n(&flipper->header[0], (seed >> 8) & 1, __ATOMIC_RELAXED);
        __atomic_store_n(&flipper->header[1], (seed >> 9) & 1 ? 1 : 0, __ATOMIC_RELAXED);
        for (unsigned i = 4; i < 10; i++)
            __atomic_store_n(&flipper->header[i], (seed >> (2 * i)) & 1 ? 0xff : 34 * (i == 6),
                             __ATOMIC_RELAXED);
        __atomic_store_n(flipper->ip, (seed >> 20) & 0xff, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void H02_NET_TX_04_header_rewritten_while_it_is_read(void **state)
{
    struct testbed_options options = {.features = with_csum};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t gpa = testbed_put_frame(nic, 200);
    struct driver_desc desc = {.addr = gpa, .len = 12 + 200};
    struct flipper flipper = {.header = guest_ram_at(&nic->ram, gpa, 12),
                              .ip = guest_ram_at(&nic->ram, gpa + 12 + ETHERNET, 1),
                              .running = 1};
    uint16_t head = testbed_write_chain(tx, &desc, 1);
    uint64_t end = now_ms() + 400;
    uint8_t got[NET_FRAME_MAX];
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, flip_header, &flipper), 0);
    while (now_ms() < end) {
        for (unsigned i = 0; i < 32; i++)
            driver_split_offer(tx, head);
        testbed_publish(tx);
        while (driver_split_used_idx(tx) != tx->avail_idx && now_ms() < end + WAIT_LONG_MS)
            net_driver_receive(&nic->net[0], got, sizeof(got), 0);
    }
    flipper.running = 0;
    pthread_join(thread, NULL);
    while (net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_QUIET_MS) >= 0)
        continue;
    assert_int_equal(driver_split_used_idx(tx), tx->avail_idx);
    tx->used_idx = tx->avail_idx;
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

/* EDK2 and iPXE: one header buffer for all frames, which must never be written (NET-TX-17). */
static void NET_TX_17_BOOT_02_all_chains_share_one_header(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_ring *tx = &testbed_tx(nic, 0)->ring;
    uint64_t header = guest_ram_alloc(&nic->ram, 0, 12, 16);
    uint64_t data[8];
    uint8_t got[NET_FRAME_MAX];
    struct driver_used used;

    for (unsigned i = 0; i < 8; i++) {
        data[i] = testbed_put_frame(nic, 100 + i) + 12;
        {
            struct driver_buffer buffer[2] = {{header, 12, DEVICE_READS},
                                              {data[i], 100 + i, DEVICE_READS}};
            struct driver_chain chain = {buffer, 2, CHAIN_DIRECT};

            tx->ops->add(tx, &chain);
        }
    }
    driver_ring_flush(tx);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 100 + i);
        assert_memory_equal(got, guest_ram_at(&nic->ram, data[i], 100 + i), 100 + i);
        assert_true(driver_ring_wait(tx, WAIT_LONG_MS, &used));
    }
    assert_memory_equal(guest_ram_at(&nic->ram, header, 12), "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    testbed_finish(bed);
}

static void NET_TX_18_every_frame_is_completed_by_a_sink(void **state)
{
    struct testbed_options options = {.nic = "endpoint=null"};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[1000];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 20; i++)
            net_driver_queue(&nic->net[0], frame, 60 + 10 * i);
        driver_ring_flush(&testbed_tx(nic, 0)->ring);
        net_driver_drain(&nic->net[0]);
    }
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_packets"), 1000);
    assert_int_equal(testbed_tx_drops(bed), 0);
    testbed_finish(bed);
}

/* ---- receive ---- */

static void NET_RX_01_frame_too_big_for_the_buffer_is_dropped(void **state)
{
    struct testbed_options options = {.rx_buffer_len = 512};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[1500];

    testbed_exchange(nic, 0, 500); /* fills it to the last byte */
    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (uint32_t len = 501; len < 1500; len += 333) {
        uint64_t drops = daemon_number(&bed->daemon, "nic0/queues/0/rx_dropped");

        net_driver_send(&nic->net[0], frame, len);
        net_driver_drain(&nic->net[0]);
        assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/rx_dropped"), drops + 1);
        testbed_expect_silence(nic, 0);
        testbed_exchange(nic, 0, 500);
    }
    testbed_finish(bed);
}

static void NET_RX_02_NET_RX_04_mergeable_buffers_at_every_border(void **state)
{
    struct testbed_options options = {.mergeable = 1, .rx_buffer_len = 64};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned buffers = 1; buffers <= 17; buffers++) {
        uint32_t full = 64 * buffers - 12; /* fills that many exactly */

        for (uint32_t len = full - 1; len <= full + 1; len++) {
            testbed_exchange(nic, 0, len);
            assert_int_equal(nic->net[0].last_buffers, (12 + len + 63) / 64);
        }
    }
    testbed_finish(bed);
}

/* Buffers of exactly a header, and of a header and one byte. */
static void NET_RX_02_mergeable_buffers_of_the_least_size(void **state)
{
    static const uint32_t size[] = {12, 13};

    for (unsigned i = 0; i < 2; i++) {
        struct testbed_options options = {.mergeable = 1,
                                          .rx_buffer_len = size[i],
                                          .queue_size = 256,
                                          .nic = "queue-size=256,endpoint=loopback"};
        struct testbed *bed = testbed_start(state, &options);

        for (uint32_t len = 14; len < 200; len += 31)
            testbed_exchange(&bed->nic[VICTIM], 0, len);
        testbed_finish(bed);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

/* A frame that needs five buffers while there are three: nothing is used, nobody spins, and with
 * more buffers it arrives whole. */
static void NET_RX_03_too_few_buffers_wait_for_more(void **state)
{
    struct testbed_options options = {
        .mergeable = 1, .rx_buffer_len = 128, .rx_unposted = 1, .rx_slots = 16};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[600];
    uint8_t got[NET_FRAME_MAX];

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    net_driver_post(&nic->net[0], 3);
    net_driver_send(&nic->net[0], frame, sizeof(frame));
    testbed_expect_silence(nic, 0);
    daemon_check_idle(&bed->daemon);
    net_driver_post(&nic->net[0], 1);
    testbed_expect_silence(nic, 0);
    net_driver_post(&nic->net[0], 8);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 600);
    assert_memory_equal(got, frame, 600);
    net_driver_drain(&nic->net[0]);
    testbed_finish(bed);
}

static void NET_RX_03_empty_ring_holds_frames_back(void **state)
{
    struct testbed_options options = {.rx_unposted = 1, .rx_slots = 16};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[100];
    uint8_t got[NET_FRAME_MAX];

    for (unsigned round = 0; round < 5; round++) {
        net_frame_make(frame, sizeof(frame), nic->mac, round);
        net_driver_send(&nic->net[0], frame, sizeof(frame));
        daemon_check_idle(&bed->daemon);
        nic->net[0].rx_free_count = nic->net[0].rx_slots; /* the one buffer came back each time */
        net_driver_post(&nic->net[0], 1);
        nic->net[0].rx_free_count = 0;
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 100);
        assert_memory_equal(got, frame, 100);
        net_driver_drain(&nic->net[0]);
        testbed_cycle_vring(nic, 0, 0);
    }
    testbed_finish(bed);
}

/* R29: a flood into a ring with few buffers must not stall it for good. */
static void NET_RX_03_flood_does_not_stall_the_ring(void **state)
{
    struct testbed_options options = {.rx_slots = 2};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[200];
    uint8_t got[NET_FRAME_MAX];

    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 30; i++) {
            net_frame_make(frame, sizeof(frame), nic->mac, 30 * round + i);
            net_driver_queue(&nic->net[0], frame, sizeof(frame));
        }
        driver_ring_flush(&testbed_tx(nic, 0)->ring);
        for (unsigned i = 0; i < 30; i++) {
            net_frame_make(frame, sizeof(frame), nic->mac, 30 * round + i);
            assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 200);
            assert_memory_equal(got, frame, 200);
        }
        net_driver_drain(&nic->net[0]);
    }
    testbed_finish(bed);
}

/* ---- MTU ---- */

static void tag(uint8_t *frame, unsigned tags)
{
    for (unsigned i = 0; i < tags; i++) {
        put_be16(frame + 12 + 4 * i, 0x8100);
        put_be16(frame + 14 + 4 * i, 5);
    }
    put_be16(frame + 12 + 4 * tags, 0x0800);
}

static void NET_CFG_03_frames_above_the_mtu_are_dropped(void **state)
{
    struct testbed_options options = {.nic = "mtu=1500,endpoint=loopback",
                                      .features =
                                          VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | NET_MTU};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct net_header header = {0};
    uint8_t frame[3000];
    uint8_t got[NET_FRAME_MAX];

    for (unsigned tags = 0; tags <= 2; tags++) {
        uint32_t len = 1514 + 4 * tags;

        net_frame_make(frame, sizeof(frame), nic->mac, 1);
        tag(frame, tags);
        net_driver_send(&nic->net[0], frame, len);
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), len);
        net_driver_drain(&nic->net[0]);
        expect_dropped(bed, &header, frame, len + 1);
        expect_dropped(bed, &header, frame, len + 4);
        expect_dropped(bed, &header, frame, 3000);
    }
    testbed_finish(bed);
}

static void NET_CFG_02_mtu_message(void **state)
{
    struct testbed_options options = {.nic = "mtu=1500,endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    assert_int_equal(front_end_set_u64(fe, VU_NET_SET_MTU, 1500), 0);
    assert_true(front_end_set_u64(fe, VU_NET_SET_MTU, 67) > 0);
    assert_true(front_end_set_u64(fe, VU_NET_SET_MTU, 65536) > 0);
    assert_true(front_end_set_u64(fe, VU_NET_SET_MTU, UINT64_MAX) > 0);
    testbed_exchange(&bed->nic[VICTIM], 0, 1514);
    testbed_finish(bed);
}

static void NET_RX_largest_frame_crosses(void **state)
{
    struct testbed_options options = {.rx_buffer_len = 66000, .rx_slots = 8};
    struct testbed *bed = testbed_start(state, &options);

    testbed_exchange(&bed->nic[VICTIM], 0, 65535);
    testbed_exchange(&bed->nic[VICTIM], 0, 65549);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(NET_HDR_01_header_length_follows_the_features),
        TESTBED_TEST(NET_HDR_02_receive_header_is_written_whole),
        TESTBED_TEST(NET_TX_01_NET_TX_15_unknown_flags_and_num_buffers_are_ignored),
        TESTBED_TEST(NET_TX_02_checksum_fields_mean_nothing_without_the_flag),
        TESTBED_TEST(NET_TX_03_NET_RX_05_partial_checksum_is_completed),
        TESTBED_TEST(NET_TX_04_checksum_fields_outside_the_frame),
        TESTBED_TEST(NET_TX_05_offloads_that_were_not_agreed),
        TESTBED_TEST(NET_TX_05_headers_say_nothing_where_no_offload_was_agreed),
        TESTBED_TEST(NET_TX_06_NET_TX_07_gso_types_that_are_none),
        TESTBED_TEST(H02_NET_TX_04_header_rewritten_while_it_is_read),
        TESTBED_TEST(NET_TX_17_BOOT_02_all_chains_share_one_header),
        TESTBED_TEST(NET_TX_18_every_frame_is_completed_by_a_sink),
        TESTBED_TEST(NET_RX_01_frame_too_big_for_the_buffer_is_dropped),
        TESTBED_TEST(NET_RX_02_NET_RX_04_mergeable_buffers_at_every_border),
        TESTBED_TEST(NET_RX_02_mergeable_buffers_of_the_least_size),
        TESTBED_TEST(NET_RX_03_too_few_buffers_wait_for_more),
        TESTBED_TEST(NET_RX_03_empty_ring_holds_frames_back),
        TESTBED_TEST(NET_RX_03_flood_does_not_stall_the_ring),
        TESTBED_TEST(NET_RX_06_partial_checksum_is_passed_on_where_agreed),
        TESTBED_TEST(NET_RX_largest_frame_crosses),
        TESTBED_TEST(NET_CFG_02_mtu_message),
        TESTBED_TEST(NET_CFG_03_frames_above_the_mtu_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
