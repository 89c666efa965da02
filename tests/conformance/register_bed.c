/* SPDX-License-Identifier: MIT */
#include "register_bed.h"

#include <stdlib.h>
#include <string.h>

#include "clockwork.h"

static const uint8_t bed_mac[6] = {0x52, 0x54, 0, 0, 0, 1};

int register_bed_setup(void **state)
{
    *state = calloc(1, sizeof(struct register_bed));
    return *state == NULL ? -1 : 0;
}

static void rings_free(struct register_bed *bed)
{
    for (unsigned i = 0; i < BED_QUEUES_MAX; i++) {
        driver_split_free(&bed->split[i]);
        driver_packed_free(&bed->packed[i]);
    }
    memset(bed->split, 0, sizeof(bed->split));
    memset(bed->packed, 0, sizeof(bed->packed));
}

int register_bed_teardown(void **state)
{
    struct register_bed *bed = *state;

    register_device_close(&bed->device);
    rings_free(bed);
    guest_ram_free(&bed->ram);
    free(bed);
    return 0;
}

int register_bed_run_both(const struct CMUnitTest *tests, size_t count,
                          enum device_transport *ret_transport)
{
    int failed = 0;

    *ret_transport = DEVICE_MMIO;
    failed += _cmocka_run_group_tests("virtio-mmio", tests, count, NULL, NULL);
    *ret_transport = DEVICE_PCI;
    failed += _cmocka_run_group_tests("virtio-pci", tests, count, NULL, NULL);
    return failed;
}

static uint64_t port_read(void *context, enum register_space space, uint64_t offset, unsigned width)
{
    return register_device_read(context, space, offset, width);
}

static void port_write(void *context, enum register_space space, uint64_t offset, unsigned width,
                       uint64_t value)
{
    register_device_write(context, space, offset, width, value);
}

void register_bed_find_device(struct register_driver *driver, struct register_device *device)
{
    struct register_port port = {port_read, port_write, device};

    if (device->options.transport == DEVICE_MMIO)
        register_driver_init_mmio(driver, &port);
    else
        register_driver_init_pci(driver, &port);
}

void register_bed_kick(struct register_driver *driver, struct register_device *device,
                       struct driver_ring *const *ring, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (ring[i]->kick_count == 0)
            continue;
        ring[i]->kick_count = 0;
        driver->ops->notify(driver, i, i);
    }
    register_device_dispatch(device);
}

struct register_bed *register_bed_open(void **state, const struct bed_options *options)
{
    struct register_bed *bed = *state;
    struct device_options device = {
        .transport = options->transport,
        .pairs = options->pairs == 0 ? 1 : options->pairs,
        .queue_size_max = options->queue_size_max == 0 ? 1024 : options->queue_size_max,
        .vectors = options->vectors,
        .endpoint = options->endpoint == NULL ? "loopback" : options->endpoint,
    };
    struct device_memory memory = {.gpa = BED_RAM_GPA, .len = BED_RAM_LEN};

    bed->pairs = device.pairs;
    bed->ring_size = 64;
    guest_ram_init(&bed->ram);
    guest_ram_add(&bed->ram, BED_RAM_GPA, BED_RAM_LEN, 0);
    memory.map = bed->ram.region[0].map;
    register_device_open(&bed->device, &device, &memory);
    register_bed_find_device(&bed->driver, &bed->device);
    return bed;
}

/* ---- the driver ----------------------------------------------------------------------------- */

static void rings_kick(void *context)
{
    struct register_bed *bed = context;

    register_bed_kick(&bed->driver, &bed->device, bed->ring, bed->ring_count);
}

static void ring_make(struct register_bed *bed, unsigned i, unsigned size)
{
    struct driver_split_options split = {.size = size,
                                         .event_idx = (bed->features & BED_BIT(29)) != 0,
                                         .in_order = (bed->features & BED_IN_ORDER) != 0};
    struct driver_packed_options packed = {
        .size = size, .event_idx = split.event_idx, .in_order = split.in_order};

    driver_split_free(&bed->split[i]);
    driver_packed_free(&bed->packed[i]);
    memset(&bed->split[i], 0, sizeof(bed->split[i]));
    memset(&bed->packed[i], 0, sizeof(bed->packed[i]));
    if (bed->features & BED_PACKED)
        driver_packed_init(&bed->packed[i], &bed->ram, &packed);
    else
        driver_split_init(&bed->split[i], &bed->ram, &split);
    bed->ring[i] = bed->features & BED_PACKED ? &bed->packed[i].ring : &bed->split[i].ring;
    bed->ring[i]->kick = rings_kick;
    bed->ring[i]->kick_context = bed;
}

static unsigned header_len_of(const struct register_bed *bed)
{
    if (bed->driver.features_high & BED_TUNNELS_HIGH)
        return NET_HEADER_TUNNEL;
    return bed->features & BED_BIT(57) ? NET_HEADER_HASH : NET_HEADER_MODERN;
}

static void net_make(struct register_bed *bed, unsigned pair)
{
    struct net_options net = {.header_len = header_len_of(bed),
                              .mergeable = (bed->features & BED_MERGE) != 0,
                              .rx_buffer_len = 2048};

    net_driver_init(&bed->net[pair], bed->ring[2 * pair], bed->ring[2 * pair + 1], &net);
}

void register_bed_make_rings(struct register_bed *bed, uint64_t features)
{
    bed->ram.region[0].used = 0;
    bed->features = features;
    bed->ring_count = 2 * bed->pairs + ((features & BED_CONTROL) != 0);
    for (unsigned i = 0; i < bed->ring_count; i++)
        ring_make(bed, i, bed->ring_size);
    for (unsigned i = 0; i < bed->pairs; i++)
        net_make(bed, i);
}

void register_bed_remake_pair(struct register_bed *bed, unsigned pair, unsigned size)
{
    ring_make(bed, 2 * pair, size);
    ring_make(bed, 2 * pair + 1, size);
    net_make(bed, pair);
}

void register_bed_prepare(struct register_bed *bed, uint64_t features)
{
    assert_int_equal(register_driver_negotiate(&bed->driver, features), STATUS_BEFORE_QUEUES);
    register_bed_make_rings(bed, features);
    for (unsigned i = 0; i < bed->ring_count; i++)
        register_driver_start_ring(&bed->driver, i, bed->ring[i]);
}

void register_bed_start(struct register_bed *bed, uint64_t features)
{
    register_bed_prepare(bed, features);
    bed_write_status(bed, STATUS_RUNNING);
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
    for (unsigned i = 0; i < bed->pairs; i++)
        net_driver_post(&bed->net[i], bed->ring_size);
}

static void frame_send(struct register_bed *bed, unsigned pair, uint8_t *frame, uint32_t len)
{
    net_frame_make(frame, len, bed_mac, ++bed->seed);
    net_driver_send(&bed->net[pair], frame, len);
}

void register_bed_send(struct register_bed *bed, unsigned pair, uint32_t len)
{
    uint8_t frame[NET_TX_SLOT_LEN];

    frame_send(bed, pair, frame, len);
}

void register_bed_exchange(struct register_bed *bed, unsigned pair, uint32_t len)
{
    uint8_t sent[NET_TX_SLOT_LEN], received[NET_TX_SLOT_LEN];

    frame_send(bed, pair, sent, len);
    check(net_driver_receive(&bed->net[pair], received, sizeof(received), WAIT_LONG_MS) == (int)len,
          "the frame did not come back");
    assert_memory_equal(sent, received, len);
    net_driver_drain(&bed->net[pair]);
}

void register_bed_expect_silence(struct register_bed *bed, unsigned pair)
{
    uint8_t received[2048];

    register_device_dispatch(&bed->device);
    assert_int_equal(net_driver_receive(&bed->net[pair], received, sizeof(received), WAIT_QUIET_MS),
                     -1);
    assert_int_equal(net_driver_reap(&bed->net[pair]), 0);
}

void register_bed_expect_new_life(struct register_bed *bed)
{
    register_bed_start(bed, BED_USUAL);
    register_bed_exchange(bed, 0, 200);
}

unsigned register_bed_await(struct register_bed *bed, _Atomic unsigned *value, unsigned least)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while (atomic_load(value) < least && now_ms() < end) {
        register_device_dispatch(&bed->device);
        sleep_ms(1);
    }
    return atomic_load(value);
}

void register_bed_await_needs_reset(struct register_bed *bed)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while (!(bed_status(bed) & STATUS_NEEDS_RESET)) {
        check(now_ms() < end, "the device did not ask for a reset");
        register_device_dispatch(&bed->device);
        sleep_ms(1);
    }
}

void register_bed_await_line(struct register_bed *bed, int level)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while (atomic_load(&bed->device.line) != level) {
        check(now_ms() < end, "the line did not become %d", level);
        register_device_dispatch(&bed->device);
        sleep_ms(1);
    }
}
