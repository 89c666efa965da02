/* SPDX-License-Identifier: MIT */
#include "testbed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"

/* The second region does not begin where its file does. */
#define BORDER_FILE_OFFSET 0x2000

#define USUAL_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define MRG_RXBUF      (1ull << 15)
#define HASH_REPORT    (1ull << 57)
#define CONTROL        ((1ull << 17) | (1ull << 22)) /* CTRL_VQ and MQ */
#define USUAL_PF       (~(VU_PF_INBAND | VU_PF_CONFIGURE_MEM_SLOTS))

int testbed_setup(void **state)
{
    struct testbed *bed = calloc(1, sizeof(*bed));

    if (bed == NULL)
        return -1;
    daemon_init(&bed->daemon);
    for (unsigned i = 0; i < DAEMON_NICS_MAX; i++)
        front_end_init(&bed->nic[i].fe);
    *state = bed;
    return 0;
}

static void nic_free(struct testbed_nic *nic)
{
    front_end_close(&nic->fe);
    for (unsigned i = 0; i < 2 * TESTBED_PAIRS_MAX + 1; i++) {
        driver_split_free(&nic->vring[i]);
        driver_packed_free(&nic->packed[i]);
    }
    guest_ram_free(&nic->ram);
}

int testbed_teardown(void **state)
{
    struct testbed *bed = *state;

    for (unsigned i = 0; i < DAEMON_NICS_MAX; i++)
        nic_free(&bed->nic[i]);
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
    if (options->control)
        options->features |= CONTROL & ~options->without;
    if (options->iommu)
        options->features |= VIRTIO_F_ACCESS_PLATFORM;
    if (options->pf == 0)
        options->pf = USUAL_PF;
    if (options->rx_buffer_len == 0)
        options->rx_buffer_len = 2048;
    if (options->start == NULL)
        options->start = front_end_start_qemu;
}

static unsigned header_len_of(const struct testbed_options *options)
{
    if (options->features & HASH_REPORT)
        return NET_HEADER_HASH;
    if ((options->features & VIRTIO_F_VERSION_1) || options->mergeable)
        return NET_HEADER_MODERN;
    return NET_HEADER_LEGACY;
}

static void ring_prepare(struct testbed_nic *nic, unsigned vring)
{
    struct driver_split_options split = {
        .size = nic->options.queue_size,
        .start_idx = nic->options.start_idx,
        .order = nic->options.order,
        .in_order = (nic->options.features & VIRTIO_F_IN_ORDER) != 0,
    };
    struct driver_packed_options packed = {.size = split.size, .in_order = split.in_order};

    if (nic->options.features & VIRTIO_F_RING_PACKED) {
        driver_packed_init(&nic->packed[vring], &nic->ram, &packed);
        nic->ring[vring] = &nic->packed[vring].ring;
    } else {
        driver_split_init(&nic->vring[vring], &nic->ram, &split);
        nic->ring[vring] = &nic->vring[vring].ring;
    }
    if (nic->options.iommu)
        nic->ring[vring]->dma = &nic->iommu.dma;
}

void testbed_prepare_nic(struct testbed *bed, unsigned index, const struct testbed_options *options)
{
    struct testbed_nic *nic = &bed->nic[index];
    char text[128];

    nic->options = *options;
    fill_in(&nic->options);
    nic->index = index;
    memcpy(nic->mac, "\x52\x54\0\0\0", 5);
    nic->mac[5] = (uint8_t)(index + 1);
    snprintf(text, sizeof(text), "queues=%u%s,endpoint=loopback", nic->options.pairs,
             nic->options.iommu ? ",iommu=on" : "");
    daemon_add_nic(&bed->daemon, nic->options.nic != NULL ? nic->options.nic : text);
    daemon_socket(&bed->daemon, index, nic->socket);
    guest_ram_init(&nic->ram);
    guest_ram_add(&nic->ram, TESTBED_RAM_GPA, TESTBED_BORDER_GPA - TESTBED_RAM_GPA, 0);
    guest_ram_add(&nic->ram, TESTBED_BORDER_GPA, TESTBED_END_GPA - TESTBED_BORDER_GPA,
                  BORDER_FILE_OFFSET);
    driver_iommu_init(&nic->iommu, &nic->fe, &nic->ram);
    nic->setup.vring_count = 2 * nic->options.pairs + (nic->options.control != 0);
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        ring_prepare(nic, i);
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
        net_driver_init(&nic->net[i], nic->ring[2 * i], nic->ring[2 * i + 1], &net);
    }
    nic->setup = (struct front_end_setup){
        .ram = &nic->ram,
        .vring = nic->ring,
        .vring_count = nic->setup.vring_count,
        .features = nic->options.features,
        .pf = nic->options.pf,
    };
}

struct testbed *testbed_start_daemon(void **state, const struct testbed_options *options)
{
    struct testbed *bed = *state;
    struct testbed_options usual = {0};

    testbed_prepare_nic(bed, VICTIM, options != NULL ? options : &usual);
    if (options != NULL && options->bystander != NULL) {
        usual = *options;
        usual.nic = options->bystander;
    }
    testbed_prepare_nic(bed, BYSTANDER, &usual);
    bed->daemon.workers = bed->nic[VICTIM].options.workers;
    bed->daemon.poll = bed->nic[VICTIM].options.poll;
    bed->daemon.poll_budget = bed->nic[VICTIM].options.poll_budget;
    daemon_start(&bed->daemon);
    bed->fds_at_rest = daemon_fd_count_settled(&bed->daemon);
    return bed;
}

void testbed_connect(struct testbed_nic *nic)
{
    front_end_connect(&nic->fe, nic->socket);
    nic->options.start(&nic->fe, &nic->setup);
    for (unsigned i = 0; i < nic->options.pairs && !nic->options.rx_unposted; i++)
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
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        if (nic->ring[i] == &nic->vring[i].ring)
            driver_split_restart(&nic->vring[i], start_idx);
        else
            nic->ring[i]->ops->restart(nic->ring[i]);
    for (unsigned i = 0; i < nic->options.pairs; i++)
        net_driver_forget(&nic->net[i]);
    driver_iommu_forget(&nic->iommu);
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
    static _Thread_local uint8_t sent[NET_FRAME_MAX];
    static _Thread_local uint8_t got[NET_FRAME_MAX];
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

void testbed_send(struct testbed_nic *nic, uint32_t len)
{
    uint8_t frame[1500];

    net_frame_make(frame, len, nic->mac, len);
    net_driver_send(&nic->net[0], frame, len);
}

void testbed_receive(struct testbed_nic *nic, uint32_t len)
{
    uint8_t frame[1500];
    uint8_t got[NET_FRAME_MAX];

    net_frame_make(frame, len, nic->mac, len);
    assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), len);
    assert_memory_equal(got, frame, len);
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

uint64_t testbed_tx_drops(struct testbed *bed)
{
    return daemon_number(&bed->daemon, "nic0/queues/0/tx_dropped");
}

uint64_t testbed_rx_bad_buffers(struct testbed *bed)
{
    return daemon_number(&bed->daemon, "nic0/queues/0/rx_bad_buffers") +
           daemon_sum(&bed->daemon, "nic0/queues/0/rx_ring/bad_chains");
}

void testbed_publish(struct driver_split *split)
{
    split->ring.ops->publish(&split->ring);
    driver_ring_kick(&split->ring);
}

uint64_t testbed_put_frame(struct testbed_nic *nic, uint32_t len)
{
    uint32_t header_len = nic->net[0].options.header_len;
    uint64_t gpa = guest_ram_alloc(&nic->ram, 0, header_len + len, 64);
    uint8_t *at = guest_ram_at(&nic->ram, gpa, header_len + len);

    memset(at, 0, header_len);
    net_frame_make(at + header_len, len, nic->mac, ++nic->seed);
    return gpa;
}

uint16_t testbed_write_chain(struct driver_split *split, const struct driver_desc *desc,
                             unsigned count)
{
    uint16_t head = split->free_head;
    uint16_t at = driver_split_claim(split);

    for (unsigned i = 0; i < count; i++) {
        struct driver_desc copy = desc[i];
        uint16_t here = at;

        if (i + 1 < count)
            at = driver_split_claim(split);
        if ((copy.flags & DESC_NEXT) && copy.next == 0)
            copy.next = at;
        driver_split_write_desc(split, here, &copy);
    }
    return head;
}

static void wait_used(struct driver_split *split, unsigned count)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while ((uint16_t)(driver_split_used_idx(split) - split->used_idx) < count) {
        check(now_ms() < end, "the bad chain never came back");
        sleep_ms(1);
    }
}

/* The next used entry is the head with length 0. */
static void take_dropped(struct driver_split *split, uint16_t head)
{
    struct driver_used used = driver_split_used_entry(split, split->used_idx++);

    assert_int_equal(used.id, head);
    assert_int_equal(used.len, 0);
}

void testbed_expect_tx_drop(struct testbed *bed, uint16_t head)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    uint64_t drops = testbed_tx_drops(bed);

    driver_split_offer(tx, head);
    testbed_publish(tx);
    wait_used(tx, 1);
    take_dropped(tx, head);
    assert_int_equal(testbed_tx_drops(bed), drops + 1);
    testbed_exchange(nic, 0, 300);
}

void testbed_expect_rx_drop(struct testbed *bed, uint16_t head)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *rx = testbed_rx(nic, 0);
    uint64_t bad = testbed_rx_bad_buffers(bed);
    uint8_t frame[NET_FRAME_MAX];
    int len;

    driver_split_offer(rx, head);
    net_driver_post(&nic->net[0], nic->net[0].rx_slots);
    net_frame_make(frame, 200, nic->mac, ++nic->seed);
    net_driver_send(&nic->net[0], frame, 200);
    wait_used(rx, 2);
    take_dropped(rx, head);
    len = net_driver_receive(&nic->net[0], frame, sizeof(frame), WAIT_LONG_MS);
    assert_int_equal(len, 200);
    assert_int_equal(testbed_rx_bad_buffers(bed), bad + 1);
    net_driver_drain(&nic->net[0]);
    testbed_exchange(nic, 0, 300);
}

/* The ring is shown as broken, with a reason. */
static void check_fault_shown(struct testbed *bed, unsigned vring)
{
    char path[64];
    json_t *ring;
    const char *state;
    const char *fault;

    snprintf(path, sizeof(path), "nic0/queues/%u/%s", vring / 2,
             vring % 2 == 0 ? "rx_ring" : "tx_ring");
    ring = daemon_inspect(&bed->daemon, path);
    state = json_string_value(json_object_get(ring, "state"));
    fault = json_string_value(json_object_get(ring, "fault"));
    check(state != NULL && strcmp(state, "broken") == 0, "%s is %s", path, state);
    check(fault != NULL && strlen(fault) > 4, "%s has no fault", path);
    json_decref(ring);
}

void testbed_expect_break(struct testbed *bed, unsigned vring)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *split = &nic->vring[vring];
    struct net_driver *net = &nic->net[vring / 2];
    uint16_t used_idx = driver_split_used_idx(split);
    uint8_t frame[100];

    driver_ring_kick(&split->ring);
    if (vring % 2 == 0) { /* a receive ring is looked at when there is something to receive */
        net_frame_make(frame, sizeof(frame), nic->mac, 1);
        net_driver_send(net, frame, sizeof(frame));
    }
    check(wait_eventfd(nic->fe.vring[vring].err_fd, WAIT_LONG_MS) > 0,
          "the err eventfd of ring %u did not fire", vring);
    check_fault_shown(bed, vring);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    driver_ring_kick(&split->ring);
    driver_ring_kick(&split->ring);
    daemon_check_idle(&bed->daemon);
    assert_int_equal(driver_split_used_idx(split), used_idx);
    if (vring % 2 == 0) {
        net_driver_drain(net);
        testbed_cycle_vring(nic, vring, 0);
        net_driver_forget(net);
        net_driver_post(net, net->rx_slots);
    } else {
        unsigned rx_free_count = net->rx_free_count;

        testbed_cycle_vring(nic, vring, 0);
        net_driver_forget(net);
        net->rx_free_count = rx_free_count; /* the receive ring still holds its buffers */
    }
    testbed_exchange(nic, vring / 2, 300);
}

void testbed_cycle_vring(struct testbed_nic *nic, unsigned vring, uint16_t start_idx)
{
    front_end_stop_vring(&nic->fe, vring);
    driver_split_restart(&nic->vring[vring], start_idx);
    front_end_start_vring(&nic->fe, vring, &nic->vring[vring]);
}

void testbed_finish_anew(struct testbed *bed)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];

    daemon_check_alive(&bed->daemon);
    testbed_disconnect(nic);
    testbed_connect(nic);
    testbed_exchange(nic, 0, 100);
    testbed_finish(bed);
}

void testbed_reconnect(struct testbed_nic *nic)
{
    testbed_disconnect(nic);
    front_end_connect(&nic->fe, nic->socket);
}

void testbed_reconnect_acknowledging(struct testbed_nic *nic)
{
    testbed_reconnect(nic);
    assert_int_equal(front_end_get_features(&nic->fe), 0);
    assert_int_equal(front_end_get_protocol_features(&nic->fe), 0);
    assert_int_equal(front_end_set_protocol_features(&nic->fe, nic->fe.pf_offered & ~VU_PF_INBAND),
                     0);
}
