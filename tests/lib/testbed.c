/* SPDX-License-Identifier: MIT */
#include "testbed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"

#define RAM_GPA  0x100000ull
#define RAM_SIZE (96ull << 20)

#define USUAL_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define MRG_RXBUF      (1ull << 15)
#define USUAL_PF       (~(VU_PF_INBAND | VU_PF_CONFIGURE_MEM_SLOTS))

int testbed_setup(void **state)
{
    struct testbed *bed = calloc(1, sizeof(*bed));

    if (bed == NULL)
        return -1;
    daemon_init(&bed->daemon);
    front_end_init(&bed->nic[VICTIM].fe);
    front_end_init(&bed->nic[BYSTANDER].fe);
    *state = bed;
    return 0;
}

static void nic_free(struct testbed_nic *nic)
{
    front_end_close(&nic->fe);
    for (unsigned i = 0; i < 2 * TESTBED_PAIRS_MAX; i++)
        driver_split_free(&nic->vring[i]);
    guest_ram_free(&nic->ram);
}

int testbed_teardown(void **state)
{
    struct testbed *bed = *state;

    nic_free(&bed->nic[VICTIM]);
    nic_free(&bed->nic[BYSTANDER]);
    daemon_free(&bed->daemon);
    free(bed);
    return 0;
}

static void fill_in(struct testbed_options *options)
{
    if (options->pairs == 0)
        options->pairs = 1;
    if (options->queue_size == 0)
        options->queue_size = 64;
    if (options->features == 0)
        options->features = USUAL_FEATURES & ~options->without;
    if (options->mergeable)
        options->features |= MRG_RXBUF;
    if (options->pf == 0)
        options->pf = USUAL_PF;
    if (options->rx_buffer_len == 0)
        options->rx_buffer_len = 2048;
    if (options->start == NULL)
        options->start = front_end_start_qemu;
}

static unsigned header_len_of(const struct testbed_options *options)
{
    if ((options->features & VIRTIO_F_VERSION_1) || options->mergeable)
        return NET_HEADER_MODERN;
    return NET_HEADER_LEGACY;
}

static void nic_prepare(struct testbed *bed, unsigned index, const struct testbed_options *options)
{
    struct testbed_nic *nic = &bed->nic[index];
    char text[128];

    nic->options = *options;
    fill_in(&nic->options);
    nic->index = index;
    memcpy(nic->mac, "\x52\x54\0\0\0", 5);
    nic->mac[5] = (uint8_t)(index + 1);
    snprintf(text, sizeof(text), "queues=%u,endpoint=loopback", nic->options.pairs);
    daemon_add_nic(&bed->daemon, nic->options.nic != NULL ? nic->options.nic : text);
    daemon_socket(&bed->daemon, index, nic->socket);
    guest_ram_init(&nic->ram);
    guest_ram_add(&nic->ram, RAM_GPA, RAM_SIZE, 0);
    for (unsigned i = 0; i < 2 * nic->options.pairs; i++) {
        struct driver_split_options ring = {
            .size = nic->options.queue_size,
            .start_idx = nic->options.start_idx,
            .order = nic->options.order,
        };

        driver_split_init(&nic->vring[i], &nic->ram, &ring);
        nic->vrings[i] = &nic->vring[i];
    }
    for (unsigned i = 0; i < nic->options.pairs; i++) {
        struct net_options net = {
            .header_len = header_len_of(&nic->options),
            .mergeable = nic->options.mergeable,
            .rx_buffer_len = nic->options.rx_buffer_len,
            .rx_slots = nic->options.rx_slots,
            .shape = nic->options.shape,
        };

        if (net.rx_slots == 0 && net.shape != CHAIN_INDIRECT && net.shape != CHAIN_DIRECT)
            net.rx_slots = nic->options.queue_size / 2;
        net_driver_init(&nic->net[i], &nic->vring[2 * i].ring, &nic->vring[2 * i + 1].ring, &net);
    }
    nic->setup = (struct front_end_setup){
        .ram = &nic->ram,
        .vring = nic->vrings,
        .vring_count = 2 * nic->options.pairs,
        .features = nic->options.features,
        .pf = nic->options.pf,
    };
}

struct testbed *testbed_start_daemon(void **state, const struct testbed_options *options)
{
    struct testbed *bed = *state;
    struct testbed_options usual = {0};

    nic_prepare(bed, VICTIM, options != NULL ? options : &usual);
    nic_prepare(bed, BYSTANDER, &usual);
    daemon_start(&bed->daemon);
    bed->fds_at_rest = daemon_fd_count(&bed->daemon);
    return bed;
}

void testbed_connect(struct testbed_nic *nic)
{
    front_end_connect(&nic->fe, nic->socket);
    nic->options.start(&nic->fe, &nic->setup);
    for (unsigned i = 0; i < nic->options.pairs; i++)
        net_driver_post(&nic->net[i], nic->net[i].rx_slots);
}

struct testbed *testbed_start(void **state, const struct testbed_options *options)
{
    struct testbed *bed = testbed_start_daemon(state, options);

    testbed_connect(&bed->nic[VICTIM]);
    testbed_connect(&bed->nic[BYSTANDER]);
    return bed;
}

void testbed_restart_rings(struct testbed_nic *nic, uint16_t start_idx)
{
    for (unsigned i = 0; i < 2 * nic->options.pairs; i++)
        driver_split_restart(&nic->vring[i], start_idx);
    for (unsigned i = 0; i < nic->options.pairs; i++)
        net_driver_forget(&nic->net[i]);
}

void testbed_disconnect(struct testbed_nic *nic)
{
    front_end_close(&nic->fe);
    testbed_restart_rings(nic, nic->options.start_idx);
}

void testbed_finish(struct testbed *bed)
{
    daemon_check_alive(&bed->daemon);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 600);
    daemon_check_idle(&bed->daemon);
    front_end_close(&bed->nic[VICTIM].fe);
    front_end_close(&bed->nic[BYSTANDER].fe);
    daemon_check_fds(&bed->daemon, bed->fds_at_rest);
    daemon_check_idle(&bed->daemon);
    daemon_stop(&bed->daemon);
}

struct driver_split *testbed_rx(struct testbed_nic *nic, unsigned pair)
{
    return &nic->vring[2 * pair];
}

struct driver_split *testbed_tx(struct testbed_nic *nic, unsigned pair)
{
    return &nic->vring[2 * pair + 1];
}

void testbed_exchange(struct testbed_nic *nic, unsigned pair, uint32_t len)
{
    static uint8_t sent[NET_FRAME_MAX];
    static uint8_t got[NET_FRAME_MAX];
    int got_len;

    net_frame_make(sent, len, nic->mac, ++nic->seed);
    net_driver_send(&nic->net[pair], sent, len);
    got_len = net_driver_receive(&nic->net[pair], got, sizeof(got), WAIT_LONG_MS);
    check(got_len >= 0, "nic%u pair %u: a frame of %u bytes did not come back", nic->index, pair,
          len);
    assert_int_equal(got_len, len);
    assert_memory_equal(got, sent, len);
    net_driver_drain(&nic->net[pair]);
}

void testbed_exchange_fresh(struct testbed_nic *nic, unsigned pair)
{
    net_driver_post(&nic->net[pair], nic->net[pair].rx_slots);
    testbed_exchange(nic, pair, 200);
}

void testbed_expect_silence(struct testbed_nic *nic, unsigned pair)
{
    struct driver_split *rx = testbed_rx(nic, pair);
    uint16_t before = driver_split_used_idx(rx);

    sleep_ms(WAIT_QUIET_MS);
    assert_int_equal(driver_split_used_idx(rx), before);
}

uint64_t testbed_drops(struct testbed *bed, unsigned nic, unsigned pair)
{
    char path[64];

    snprintf(path, sizeof(path), "nic%u/queues/%u/drops", nic, pair);
    return daemon_sum(&bed->daemon, path);
}

void testbed_publish(struct driver_split *split)
{
    split->ring.ops->publish(&split->ring);
    driver_ring_kick(&split->ring);
}

static void expect_drop(struct testbed *bed, struct driver_split *split, uint16_t head)
{
    uint64_t drops = testbed_drops(bed, VICTIM, 0);
    uint16_t used_idx = split->used_idx;
    uint64_t end = now_ms() + WAIT_LONG_MS;
    struct driver_used used;

    testbed_publish(split);
    while (driver_split_used_idx(split) == used_idx) {
        check(now_ms() < end, "the bad chain never came back");
        sleep_ms(1);
    }
    used = driver_split_used_entry(split, used_idx);
    assert_int_equal(used.id, head);
    assert_int_equal(used.len, 0);
    split->used_idx++;
    check(testbed_drops(bed, VICTIM, 0) == drops + 1, "the drop was not counted (once)");
}

void testbed_expect_tx_drop(struct testbed *bed, uint16_t head)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];

    expect_drop(bed, testbed_tx(nic, 0), head);
    testbed_exchange(nic, 0, 300);
}

void testbed_expect_rx_drop(struct testbed *bed, uint16_t head)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];

    expect_drop(bed, testbed_rx(nic, 0), head);
}

void testbed_cycle_vring(struct testbed_nic *nic, unsigned vring, uint16_t start_idx)
{
    front_end_stop_vring(&nic->fe, vring);
    driver_split_restart(&nic->vring[vring], start_idx);
    front_end_start_vring(&nic->fe, vring, &nic->vring[vring]);
}

void testbed_expect_break(struct testbed *bed, unsigned vring)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *split = &nic->vring[vring];
    uint16_t used_idx = driver_split_used_idx(split);
    char path[64];
    json_t *fault;

    driver_ring_kick(&split->ring);
    check(wait_eventfd(nic->fe.vring[vring].err_fd, WAIT_LONG_MS) > 0,
          "the err eventfd of ring %u did not fire", vring);
    snprintf(path, sizeof(path), "nic0/queues/%u", vring / 2);
    fault = daemon_inspect(&bed->daemon, path);
    check(fault != NULL, "inspect has nothing at %s", path);
    json_decref(fault);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    driver_ring_kick(&split->ring);
    driver_ring_kick(&split->ring);
    daemon_check_idle(&bed->daemon);
    assert_int_equal(driver_split_used_idx(split), used_idx);
    testbed_cycle_vring(nic, vring, 0);
    net_driver_forget(&nic->net[vring / 2]);
    if (vring % 2 == 1) /* the receive ring still holds its buffers */
        nic->net[vring / 2].rx_free_count = 0;
    else
        net_driver_post(&nic->net[vring / 2], nic->net[vring / 2].rx_slots);
    testbed_exchange(nic, vring / 2, 300);
}
