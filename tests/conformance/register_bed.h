/* SPDX-License-Identifier: MIT */
/*
 * What the tests of register transports stand on: a device behind registers, and a driver with
 * rings and memory on the other side. The test's thread is the VMM: its CPU and its event loop.
 */
#pragma once

#include "check.h"
#include "driver_packed.h"
#include "driver_split.h"
#include "guest_ram.h"
#include "net_driver.h"
#include "register_device.h"
#include "register_driver.h"

enum {
    BED_RAM_GPA = 0x100000,
    BED_RAM_LEN = 64 << 20,
    BED_PAIRS_MAX = 4,
    BED_QUEUES_MAX = 2 * BED_PAIRS_MAX + 1,
};

#define BED_BIT(n)       (1ull << (n))
#define BED_USUAL        (BED_BIT(32) | BED_BIT(28) | BED_BIT(29)) /* VERSION_1, INDIRECT, EVENT_IDX */
#define BED_STATUS       BED_BIT(16)
#define BED_PACKED       BED_BIT(34)
#define BED_IN_ORDER     BED_BIT(35)
#define BED_NOTIFY       BED_BIT(38) /* NOTIFICATION_DATA */
#define BED_RESET        BED_BIT(40) /* RING_RESET */
#define BED_SUSPEND      BED_BIT(43)
#define BED_CONTROL      (BED_BIT(17) | BED_BIT(22)) /* CTRL_VQ and MQ */
#define BED_TUNNELS_HIGH 0x1eu                       /* UDP tunnels both ways, from bit 64 on */
#define BED_MERGE        BED_BIT(15)
#define BED_HASH         (BED_BIT(17) | BED_BIT(57)) /* HASH_REPORT, which needs CTRL_VQ */

/* Zero means the usual thing everywhere. */
struct bed_options {
    enum device_transport transport;
    unsigned pairs;          /* usual: 1 */
    unsigned queue_size_max; /* usual: 1024 */
    unsigned vectors;        /* usual: the device's choice */
    const char *endpoint;    /* usual: loopback */
};

struct register_bed {
    unsigned pairs;
    struct register_device device;
    struct guest_ram ram;
    struct register_driver driver;
    unsigned ring_size; /* of the rings that are made next; 64 after open */
    struct driver_split split[BED_QUEUES_MAX];
    struct driver_packed packed[BED_QUEUES_MAX];
    struct driver_ring *ring[BED_QUEUES_MAX]; /* back-pointers: those in use */
    unsigned ring_count;
    uint64_t features; /* of the rings */
    struct net_driver net[BED_PAIRS_MAX];
    uint32_t seed;
};

/* cmocka set-up and tear-down: *state is a bed that is not open. */
int register_bed_setup(void **state);
int register_bed_teardown(void **state);
/* The device, and the driver having found its registers. */
struct register_bed *register_bed_open(void **state, const struct bed_options *options);

/* For beds of another shape: the driver finds the device's registers; … and tells of each ring that
 * has something new, then the control plane does what there is to do. */
void register_bed_find_device(struct register_driver *driver, struct register_device *device);
void register_bed_kick(struct register_driver *driver, struct register_device *device,
                       struct driver_ring *const *ring, unsigned count);

/* Rings as new in fresh memory, and receive buffers' books, for these features. */
void register_bed_make_rings(struct register_bed *bed, uint64_t features);
/* Both rings of a pair with another size, and new books. */
void register_bed_remake_pair(struct register_bed *bed, unsigned pair, unsigned size);
/* Up to FEATURES_OK, with all queues enabled. */
void register_bed_prepare(struct register_bed *bed, uint64_t features);
/* Everything up to DRIVER_OK and the receive buffers. */
void register_bed_start(struct register_bed *bed, uint64_t features);
/* A frame goes out of a pair and comes back by its loopback, byte for byte. */
void register_bed_exchange(struct register_bed *bed, unsigned pair, uint32_t len);
/* Puts a frame into a pair's ring and kicks. */
void register_bed_send(struct register_bed *bed, unsigned pair, uint32_t len);
/* Nothing arrives at a pair, and nothing that was sent comes back. */
void register_bed_expect_silence(struct register_bed *bed, unsigned pair);
/* Everything as before, in a new life: reset, start, one frame. */
void register_bed_expect_new_life(struct register_bed *bed);
/* Waits until `*value` is at least `least`, while the control plane works; what it is then. */
unsigned register_bed_await(struct register_bed *bed, _Atomic unsigned *value, unsigned least);
/* Waits for NEEDS_RESET; fails the test if it does not come. */
void register_bed_await_needs_reset(struct register_bed *bed);
/* Waits for the line's level; fails the test if it does not come. */
void register_bed_await_line(struct register_bed *bed, int level);

static inline uint8_t bed_status(struct register_bed *bed)
{
    return bed->driver.ops->status(&bed->driver);
}

static inline void bed_write_status(struct register_bed *bed, uint8_t value)
{
    bed->driver.ops->write_status(&bed->driver, value);
}

/* Runs the tests with virtio-mmio and then with virtio-pci; *ret_transport says which it is. */
int register_bed_run_both(const struct CMUnitTest *tests, size_t count,
                          enum device_transport *ret_transport);
#define BED_RUN_BOTH(tests, ret_transport)                                                         \
    register_bed_run_both(tests, sizeof(tests) / sizeof((tests)[0]), ret_transport)

#define BED_TEST(name)                                                                             \
    cmocka_unit_test_setup_teardown(name, register_bed_setup, register_bed_teardown)
