/* SPDX-License-Identifier: MIT */
/* The log of dirty pages (conformance.md 6.6): exactly the pages that the device wrote to, whatever
 * the rings and buffers look like; switched on, swapped and truncated under traffic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "dirty_shadow.h"
#include "odd_fd.h"
#include "testbed.h"

#define USUAL (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

enum {
    RX = 0,
    TX = 1,
    CONTROL_RING = 2,
    FRAMES = 8,
    BATCH = 30,
};

struct log_test {
    struct testbed *bed;
    struct testbed_nic *nic;
    struct dirty_shadow shadow;
};

static void log_on(struct testbed_nic *nic, const struct dirty_shadow *shadow)
{
    assert_int_equal(front_end_set_log_base(&nic->fe, shadow->fd, shadow->len, 0), 0);
    assert_int_equal(front_end_set_features(&nic->fe, nic->fe.features | VHOST_F_LOG_ALL), 0);
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        assert_int_equal(
            front_end_set_ring_log(&nic->fe, i, nic->ring[i], nic->ring[i]->device_area), 0);
}

/* Words with which the device asks for kicks or for none, often the same as before. */
static void add_arming_words(struct dirty_shadow *shadow, const struct driver_ring *ring,
                             unsigned packed)
{
    dirty_shadow_add_same(shadow, ring->device_area);
    if (!packed)
        dirty_shadow_add_same(shadow, ring->device_area + 4 + ring->size * 8);
}

/* A NIC whose writes are noted, at rest. */
static void start(struct log_test *test, void **state, const struct testbed_options *options)
{
    test->bed = testbed_start(state, options);
    test->nic = &test->bed->nic[VICTIM];
    dirty_shadow_init(&test->shadow, &test->nic->ram, TESTBED_END_GPA);
    for (unsigned i = 0; i < test->nic->setup.vring_count; i++)
        add_arming_words(&test->shadow, test->nic->ring[i],
                         (test->nic->options.features & VIRTIO_F_RING_PACKED) != 0);
    log_on(test->nic, &test->shadow);
}

static void finish(struct log_test *test)
{
    dirty_shadow_free(&test->shadow);
    testbed_finish(test->bed);
}

static uint64_t received(struct log_test *test)
{
    return daemon_number(&test->bed->daemon, "nic0/queues/0/rx_packets");
}

static void receive_all(struct testbed_nic *nic, unsigned count)
{
    static uint8_t frame[NET_FRAME_MAX];

    for (unsigned i = 0; i < count; i++)
        assert_true(net_driver_receive(&nic->net[0], frame, sizeof(frame), WAIT_LONG_MS) > 0);
    net_driver_drain(&nic->net[0]);
}

/* `count` frames are in the ring; nobody but the device writes until it rests again. */
static void turn(struct log_test *test, unsigned count)
{
    struct driver_ring *tx = test->nic->ring[TX];
    uint64_t before = received(test);

    tx->ops->publish(tx);
    daemon_check_idle(&test->bed->daemon);
    dirty_shadow_begin(&test->shadow);
    driver_ring_kick(tx);
    daemon_wait_number(&test->bed->daemon, "nic0/queues/0/rx_packets", before + count);
    daemon_check_idle(&test->bed->daemon);
    dirty_shadow_check(&test->shadow);
}

static void queue_frames(struct log_test *test, unsigned count, uint32_t len)
{
    static uint8_t frame[NET_FRAME_MAX];

    for (unsigned i = 0; i < count; i++) {
        net_frame_make(frame, len, test->nic->mac, ++test->nic->seed);
        net_driver_queue(&test->nic->net[0], frame, len);
    }
}

/* Frames of several lengths loop back, several times round the ring. */
static void check_traffic(void **state, struct testbed_options options)
{
    static const uint32_t lengths[] = {60, 1500, 1514};
    unsigned turns = options.queue_size > 256 ? 10 : 5; /* past the end of a page, or of the ring */
    struct log_test test;

    start(&test, state, &options);
    for (unsigned i = 0; i < turns; i++) {
        queue_frames(&test, BATCH, lengths[i % 3]);
        turn(&test, BATCH);
        receive_all(test.nic, BATCH);
    }
    finish(&test);
}

static void VU_LOG_01_split(void **state)
{
    check_traffic(state, (struct testbed_options){.features = USUAL});
}

/* An upgrade in place in the midst of a migration: the next daemon notes as the one before did. */
static void logging_goes_on_in_the_next_daemon(void **state)
{
    struct log_test test;

    start(&test, state, &(struct testbed_options){.features = USUAL});
    for (unsigned i = 0; i < 3; i++) {
        queue_frames(&test, BATCH, 1500);
        turn(&test, BATCH);
        receive_all(test.nic, BATCH);
        daemon_take_over(&test.bed->daemon, getenv("VIONIC"));
        assert_true(
            json_is_true(daemon_inspect(&test.bed->daemon, "nic0/vhost_user/dirty_log/active")));
    }
    finish(&test);
}

static void VU_LOG_01_split_without_event_index(void **state)
{
    check_traffic(state, (struct testbed_options){.features = VIRTIO_F_VERSION_1});
}

/* Used rings of several pages, whose end is passed. */
static void VU_LOG_02_split_used_ring_of_several_pages(void **state)
{
    check_traffic(state, (struct testbed_options){
                             .features = USUAL, .queue_size = 1024, .start_idx = 0xffc0});
}

static void VU_LOG_01_split_in_order(void **state)
{
    check_traffic(state, (struct testbed_options){.features = USUAL | VIRTIO_F_IN_ORDER});
}

static void VU_LOG_01_split_indirect(void **state)
{
    check_traffic(state, (struct testbed_options){.features = USUAL, .shape = CHAIN_INDIRECT});
}

static void VU_LOG_02_packed(void **state)
{
    check_traffic(state, (struct testbed_options){.features = USUAL | VIRTIO_F_RING_PACKED});
}

static void VU_LOG_02_packed_without_event_index(void **state)
{
    check_traffic(state,
                  (struct testbed_options){.features = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED});
}

/* A ring of several pages; lists of two slots, of which the device writes one. */
static void VU_LOG_02_packed_ring_of_several_pages(void **state)
{
    check_traffic(state, (struct testbed_options){.features = USUAL | VIRTIO_F_RING_PACKED,
                                                  .queue_size = 600});
}

static void VU_LOG_02_packed_in_order(void **state)
{
    check_traffic(state, (struct testbed_options){.features = USUAL | VIRTIO_F_RING_PACKED |
                                                              VIRTIO_F_IN_ORDER,
                                                  .queue_size = 600});
}

static void VU_LOG_01_packed_indirect(void **state)
{
    check_traffic(state, (struct testbed_options){.features = USUAL | VIRTIO_F_RING_PACKED,
                                                  .shape = CHAIN_INDIRECT});
}

/* A frame fills many buffers, and not all of the last one. */
static void check_mergeable(void **state, uint64_t features)
{
    static const uint32_t lengths[] = {200, 1514, 9000, 40000};
    struct testbed_options options = {
        .features = features, .queue_size = 128, .mergeable = 1, .rx_buffer_len = 1000};
    struct log_test test;

    start(&test, state, &options);
    for (unsigned i = 0; i < 4; i++) {
        queue_frames(&test, 2, lengths[i % 4]);
        turn(&test, 2);
        receive_all(test.nic, 2);
    }
    finish(&test);
}

static void VU_LOG_02_mergeable_buffers(void **state)
{
    check_mergeable(state, USUAL);
}

static void VU_LOG_02_mergeable_buffers_packed(void **state)
{
    check_mergeable(state, USUAL | VIRTIO_F_RING_PACKED);
}

static void fill(struct testbed_nic *nic, const struct driver_buffer *piece, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        for (uint32_t k = 0; k < piece[i].len; k++) /* a piece may lie in two regions */
            *(uint8_t *)guest_ram_at(&nic->ram, piece[i].gpa + k, 1) = 0xaa;
    }
}

/* A buffer of several spans: header and data in pieces on pages of their own, and one over the
 * border of two memory regions. */
static void VU_LOG_02_spans_and_the_border_of_regions(void **state)
{
    struct testbed_options options = {.features = USUAL, .rx_unposted = 1};
    struct driver_buffer piece[5] = {{0, 5, DEVICE_WRITES},
                                     {0, 7, DEVICE_WRITES},
                                     {0, 300, DEVICE_WRITES},
                                     {0, 0, DEVICE_WRITES},
                                     {0, 400, DEVICE_WRITES}};
    struct log_test test;
    struct driver_ring *rx;

    start(&test, state, &options);
    rx = test.nic->ring[RX];
    for (unsigned i = 0; i < 5; i++)
        piece[i].gpa = guest_ram_alloc(&test.nic->ram, 0, 3 * 4096, 4096) + 4096 - 2;
    piece[3] = (struct driver_buffer){TESTBED_BORDER_GPA - 250, 500, DEVICE_WRITES};
    test.nic->ram.region[0].used = TESTBED_BORDER_GPA - TESTBED_RAM_GPA;
    guest_ram_alloc(&test.nic->ram, 1, 4096, 4096);
    for (unsigned i = 0; i < 2; i++)
        rx->ops->add(rx, &(struct driver_chain){piece, 5, CHAIN_DIRECT});
    rx->ops->publish(rx);
    fill(test.nic, piece, 5);
    queue_frames(&test, 1, 1000);
    turn(&test, 1);
    assert_true(dirty_shadow_has(&test.shadow, TESTBED_BORDER_GPA - 1));
    assert_true(dirty_shadow_has(&test.shadow, TESTBED_BORDER_GPA));
    net_driver_drain(&test.nic->net[0]);
    fill(test.nic, piece, 5);
    queue_frames(&test, 1, 301); /* the border's piece is not reached */
    turn(&test, 1);
    assert_false(dirty_shadow_has(&test.shadow, TESTBED_BORDER_GPA));
    finish(&test);
}

/* Acks and results of the control queue. */
static void VU_LOG_02_control_queue(void **state)
{
    static const uint8_t promisc[] = {0, 0, 1};
    static const uint8_t unknown[] = {77, 0, 1};
    static const uint8_t stats_query[] = {8, 0};
    static const struct control_message messages[] = {
        {promisc, sizeof(promisc), 1}, {unknown, sizeof(unknown), 1}, {stats_query, 2, 64}};
    struct testbed_options options = {.nic = "queues=1,endpoint=loopback",
                                      .features = USUAL | 1ull << 18 | 1ull << 50,
                                      .control = 1,
                                      .start = front_end_start_crosvm};
    struct control_driver driver;
    struct log_test test;
    struct driver_ring *ring;

    start(&test, state, &options);
    ring = test.nic->ring[CONTROL_RING];
    control_driver_init(&driver, ring, 0);
    for (unsigned i = 0; i < 3 * CONTROL_CUT_COUNT; i++) {
        driver.cut = (enum control_cut)(i / 3);
        control_driver_queue(&driver, &messages[i % 3]);
        ring->ops->publish(ring);
        dirty_shadow_begin(&test.shadow);
        driver_ring_kick(ring);
        daemon_wait_number(&test.bed->daemon, "nic0/control/commands", i + 1);
        daemon_check_idle(&test.bed->daemon);
        dirty_shadow_check(&test.shadow);
        control_driver_take(&driver);
    }
    finish(&test);
}

/* ---- what is noted when -------------------------------------------------------------------- */

static void send_and_rest(struct log_test *test)
{
    dirty_shadow_begin(&test->shadow);
    testbed_exchange(test->nic, 0, 100);
    daemon_check_idle(&test->bed->daemon);
}

/* Buffers without the ring's flag; the ring by the address that was given for it, which need not be
 * memory; nothing without LOG_ALL. */
static void VU_LOG_02_VU_ST_07_ring_flag_and_feature_on_live_rings(void **state)
{
    struct testbed_options options = {.features = USUAL, .rx_slots = 16};
    uint64_t elsewhere = TESTBED_END_GPA + (1 << 20);
    struct testbed_nic *nic;
    struct log_test test;

    test.bed = testbed_start(state, &options);
    test.nic = nic = &test.bed->nic[VICTIM];
    dirty_shadow_init(&test.shadow, &nic->ram, elsewhere + (1 << 20));
    send_and_rest(&test);
    assert_int_equal(front_end_set_log_base(&nic->fe, test.shadow.fd, test.shadow.len, 0), 0);
    send_and_rest(&test);
    assert_int_equal(dirty_shadow_count(&test.shadow), 0);

    assert_int_equal(front_end_set_features(&nic->fe, nic->fe.features | VHOST_F_LOG_ALL), 0);
    send_and_rest(&test);
    assert_int_equal(dirty_shadow_count(&test.shadow), 1);
    assert_true(dirty_shadow_has(&test.shadow, nic->net[0].rx_gpa[13]));

    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(front_end_set_ring_log(&nic->fe, i, nic->ring[i], elsewhere + i * 0x10000),
                         0);
    send_and_rest(&test);
    assert_int_equal(dirty_shadow_count(&test.shadow), 3);
    assert_true(dirty_shadow_has(&test.shadow, elsewhere));
    assert_true(dirty_shadow_has(&test.shadow, elsewhere + 0x10000));

    assert_int_equal(front_end_set_ring_addr(&nic->fe, TX, nic->ring[TX]), 0);
    send_and_rest(&test);
    assert_int_equal(dirty_shadow_count(&test.shadow), 2);
    assert_int_equal(front_end_set_features(&nic->fe, nic->fe.features & ~VHOST_F_LOG_ALL), 0);
    send_and_rest(&test);
    assert_int_equal(dirty_shadow_count(&test.shadow), 0);
    finish(&test);
}

/* The log is there before the rings are: what their start writes is noted. */
static void VU_LOG_03_rings_that_start_while_pages_are_noted(void **state)
{
    struct testbed_options options = {.features = USUAL, .queue_size = 1024};
    struct log_test test;

    start(&test, state, &options);
    for (unsigned i = 0; i < 2; i++) {
        struct driver_ring *ring = test.nic->ring[i];

        front_end_stop_vring(&test.nic->fe, i);
        memset(guest_ram_at(&test.nic->ram, ring->device_area, 2), 0xff, 2);
        dirty_shadow_begin(&test.shadow);
        assert_int_equal(front_end_set_vring_kick(&test.nic->fe, i), 0);
        ring->kick_fd = test.nic->fe.vring[i].kick_fd;
        daemon_check_idle(&test.bed->daemon);
        dirty_shadow_check(&test.shadow);
        assert_int_equal(front_end_set_vring_call(&test.nic->fe, i), 0);
        ring->call_fd = test.nic->fe.vring[i].call_fd;
    }
    queue_frames(&test, FRAMES, 300);
    turn(&test, FRAMES);
    receive_all(test.nic, FRAMES);
    finish(&test);
}

/* Two logs take turns while frames come: what one misses, the other has. */
static void VU_LOG_03_V09_log_is_swapped_under_traffic(void **state)
{
    struct testbed_options options = {.features = USUAL};
    struct dirty_shadow other;
    struct log_test test;

    start(&test, state, &options);
    dirty_shadow_init(&other, &test.nic->ram, TESTBED_END_GPA);
    for (unsigned round = 0; round < 100; round++) {
        struct net_driver *net = &test.nic->net[0];
        const struct dirty_shadow *next = round % 2 == 0 ? &other : &test.shadow;
        uint16_t used = driver_split_used_idx(testbed_rx(test.nic, 0));
        unsigned posted[FRAMES];

        memset(other.bits, 0, other.len);
        memset(test.shadow.bits, 0, test.shadow.len);
        queue_frames(&test, FRAMES, 100);
        driver_ring_flush(net->tx);
        assert_int_equal(front_end_set_log_base(&test.nic->fe, next->fd, next->len, 0), 0);
        daemon_wait_number(&test.bed->daemon, "nic0/queues/0/rx_packets",
                           (round + 1) * (uint64_t)FRAMES);
        for (uint16_t i = 0; i < FRAMES; i++)
            posted[i] =
                net->rx_slot_of
                    [driver_split_used_entry(testbed_rx(test.nic, 0), (uint16_t)(used + i)).id];
        for (unsigned i = 0; i < FRAMES; i++)
            assert_true(dirty_shadow_has(&other, net->rx_gpa[posted[i]]) ||
                        dirty_shadow_has(&test.shadow, net->rx_gpa[posted[i]]));
        assert_true(dirty_shadow_has(&other, net->rx->device_area) ||
                    dirty_shadow_has(&test.shadow, net->rx->device_area));
        receive_all(test.nic, FRAMES);
    }
    dirty_shadow_free(&other);
    finish(&test);
}

static void VU_LOG_03_eventfd_tells_of_writes(void **state)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct vu_message message = vu_message(VU_SET_LOG_FD, NULL, 0);
    struct log_test test;

    start(&test, state, NULL);
    assert_true(front_end_request(&test.nic->fe, &message, 0) > 0); /* none came */
    vu_message_add_fd(&message, fd);
    assert_int_equal(front_end_request(&test.nic->fe, &message, 0), 0);
    testbed_exchange(test.nic, 0, 100);
    assert_true(wait_eventfd(fd, WAIT_LONG_MS) > 0);
    close(fd);
    testbed_exchange(test.nic, 0, 100);
    finish(&test);
}

/* ---- front-ends that mean harm ------------------------------------------------------------- */

/* Each is refused, and the log before goes on. */
static void VU_SEC_10_VU_LOG_03_V02_bad_logs(void **state)
{
    struct testbed_options options = {.features = USUAL};
    struct log_test test;
    uint64_t len, need = TESTBED_END_GPA / DIRTY_SHADOW_PAGE / 8;
    unsigned fds;

    start(&test, state, &options);
    len = test.shadow.len;
    fds = daemon_fd_count_settled(&test.bed->daemon);
    {
        const uint64_t bad[][2] = {
            {0, 0},                        /* empty */
            {need - 1, 0},                 /* no bit for the last pages */
            {1, 0},                        /* for hardly any */
            {len + 1, 0},                  /* longer than its file */
            {len, 1},                      /* runs over the end */
            {len, len},                    /* behind the end */
            {UINT64_MAX, 0},               /* all there is */
            {1ull << 63, 1 << 5},          /* half of it */
            {need, UINT64_MAX - need + 1}, /* size + offset is 0 */
            {UINT64_MAX - 0xfff, 0x1000},  /* the same with a page */
            {0x2000, UINT64_MAX - 0xfff},  /* wraps */
        };

        for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
            check(front_end_set_log_base(&test.nic->fe, test.shadow.fd, bad[i][0], bad[i][1]) > 0,
                  "log %u was taken", i);
    }
    for (unsigned kind = ODD_FD_FILE + 1; kind < ODD_FD_KINDS; kind++) {
        int fd = odd_fd(kind);

        check(front_end_set_log_base(&test.nic->fe, fd, len, 0) > 0, "kind %u was taken", kind);
        close(fd);
    }
    daemon_check_fds(&test.bed->daemon, fds);
    queue_frames(&test, FRAMES, 300);
    turn(&test, FRAMES);
    receive_all(test.nic, FRAMES);
    finish(&test);
}

static void VU_SEC_10_thousands_of_logs(void **state)
{
    struct log_test test;
    unsigned fds;

    start(&test, state, NULL);
    fds = daemon_fd_count_settled(&test.bed->daemon);
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(front_end_set_log_base(&test.nic->fe, test.shadow.fd, test.shadow.len, 0),
                         0);
    daemon_check_fds(&test.bed->daemon, fds);
    testbed_exchange(test.nic, 0, 100);
    finish(&test);
}

static void VU_SEC_07_log_addresses_and_flags(void **state)
{
    struct {
        uint32_t index, flags;
        uint64_t desc, used, avail, log;
    } payload = {0};
    struct vu_message message;
    struct log_test test;
    uint64_t end;

    start(&test, state, NULL);
    end = test.shadow.len * 8 * DIRTY_SHADOW_PAGE;
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t bad[] = {end, end - 100, UINT64_MAX, UINT64_MAX - 3, 1ull << 63};

        for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
            check(front_end_set_ring_log(&test.nic->fe, i, test.nic->ring[i], bad[k]) > 0,
                  "log address 0x%llx was taken", (unsigned long long)bad[k]);
    }
    payload.desc = guest_ram_uva(&test.nic->ram, test.nic->ring[RX]->desc_area);
    payload.used = guest_ram_uva(&test.nic->ram, test.nic->ring[RX]->device_area);
    payload.avail = guest_ram_uva(&test.nic->ram, test.nic->ring[RX]->driver_area);
    for (unsigned bit = 1; bit < 32; bit++) {
        payload.flags = 1u << bit;
        message = vu_message(VU_SET_VRING_ADDR, &payload, sizeof(payload));
        check(front_end_request(&test.nic->fe, &message, 0) > 0, "flag %u was taken", bit);
    }
    queue_frames(&test, FRAMES, 300);
    turn(&test, FRAMES);
    receive_all(test.nic, FRAMES);
    finish(&test);
}

/* The log shrinks while it is written to: packets go on, and inspect says that it is lost. A new
 * log is taken. */
static void VU_SEC_10_log_is_truncated_under_traffic(void **state)
{
    struct dirty_shadow shadow;
    struct log_test test;

    start(&test, state, NULL);
    testbed_exchange(test.nic, 0, 100);
    assert_int_equal(ftruncate(test.shadow.fd, 0), 0);
    for (unsigned i = 0; i < 3; i++) {
        testbed_exchange(test.nic, 0, 1000);
        testbed_exchange(&test.bed->nic[BYSTANDER], 0, 100);
    }
    daemon_wait_number(&test.bed->daemon, "nic0/vhost_user/dirty_log/lost", 1);
    shadow = test.shadow;
    dirty_shadow_init(&test.shadow, &test.nic->ram, TESTBED_END_GPA);
    assert_int_equal(front_end_set_log_base(&test.nic->fe, test.shadow.fd, test.shadow.len, 0), 0);
    queue_frames(&test, FRAMES, 300);
    turn(&test, FRAMES);
    receive_all(test.nic, FRAMES);
    dirty_shadow_free(&shadow);
    finish(&test);
}

/* The memory of a log that was never asked for is not touched: LOG_SHMFD was not agreed on. */
static void VU_SEC_08_log_that_was_not_agreed_on(void **state)
{
    struct testbed_options options = {.pf = ~(VU_PF_INBAND | VU_PF_LOG_SHMFD)};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct dirty_shadow shadow;

    dirty_shadow_init(&shadow, &nic->ram, TESTBED_END_GPA);
    assert_true(front_end_set_log_base(&nic->fe, shadow.fd, shadow.len, 0) > 0);
    testbed_exchange(nic, 0, 100);
    dirty_shadow_free(&shadow);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_LOG_01_split),
        TESTBED_TEST(VU_LOG_01_split_without_event_index),
        TESTBED_TEST(logging_goes_on_in_the_next_daemon),
        TESTBED_TEST(VU_LOG_02_split_used_ring_of_several_pages),
        TESTBED_TEST(VU_LOG_01_split_in_order),
        TESTBED_TEST(VU_LOG_01_split_indirect),
        TESTBED_TEST(VU_LOG_02_packed),
        TESTBED_TEST(VU_LOG_02_packed_without_event_index),
        TESTBED_TEST(VU_LOG_02_packed_ring_of_several_pages),
        TESTBED_TEST(VU_LOG_02_packed_in_order),
        TESTBED_TEST(VU_LOG_01_packed_indirect),
        TESTBED_TEST(VU_LOG_02_mergeable_buffers),
        TESTBED_TEST(VU_LOG_02_mergeable_buffers_packed),
        TESTBED_TEST(VU_LOG_02_spans_and_the_border_of_regions),
        TESTBED_TEST(VU_LOG_02_control_queue),
        TESTBED_TEST(VU_LOG_02_VU_ST_07_ring_flag_and_feature_on_live_rings),
        TESTBED_TEST(VU_LOG_03_rings_that_start_while_pages_are_noted),
        TESTBED_TEST(VU_LOG_03_V09_log_is_swapped_under_traffic),
        TESTBED_TEST(VU_LOG_03_eventfd_tells_of_writes),
        TESTBED_TEST(VU_SEC_10_VU_LOG_03_V02_bad_logs),
        TESTBED_TEST(VU_SEC_10_thousands_of_logs),
        TESTBED_TEST(VU_SEC_07_log_addresses_and_flags),
        TESTBED_TEST(VU_SEC_10_log_is_truncated_under_traffic),
        TESTBED_TEST(VU_SEC_08_log_that_was_not_agreed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
