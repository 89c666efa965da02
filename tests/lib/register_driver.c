/* SPDX-License-Identifier: MIT */
#include "register_driver.h"

#include <string.h>

#include "check.h"

/* ---- virtio-mmio (virtio 1.4, 4.2) --------------------------------------------------------- */

static uint32_t mmio_get(struct register_driver *driver, uint32_t offset)
{
    return (uint32_t)register_read(driver, SPACE_MMIO, offset, 4);
}

static void mmio_put(struct register_driver *driver, uint32_t offset, uint32_t value)
{
    register_write(driver, SPACE_MMIO, offset, 4, value);
}

static uint8_t mmio_status(struct register_driver *driver)
{
    return (uint8_t)mmio_get(driver, 0x070);
}

static void mmio_write_status(struct register_driver *driver, uint8_t value)
{
    mmio_put(driver, 0x070, value);
}

static uint32_t mmio_device_features(struct register_driver *driver, uint32_t select)
{
    mmio_put(driver, 0x014, select);
    return mmio_get(driver, 0x010);
}

static void mmio_write_driver_features(struct register_driver *driver, uint32_t select,
                                       uint32_t bits)
{
    mmio_put(driver, 0x024, select);
    mmio_put(driver, 0x020, bits);
}

static uint32_t mmio_queue_size_max(struct register_driver *driver, uint32_t queue)
{
    mmio_put(driver, 0x030, queue);
    return mmio_get(driver, 0x034);
}

static void mmio_put64(struct register_driver *driver, uint32_t offset, uint64_t value)
{
    mmio_put(driver, offset, (uint32_t)value);
    mmio_put(driver, offset + 4, (uint32_t)(value >> 32));
}

static void mmio_write_ring(struct register_driver *driver, uint32_t queue,
                            const struct register_ring *ring)
{
    mmio_put(driver, 0x030, queue);
    mmio_put(driver, 0x038, ring->size);
    mmio_put64(driver, 0x080, ring->desc);
    mmio_put64(driver, 0x090, ring->driver);
    mmio_put64(driver, 0x0a0, ring->device);
}

static void mmio_enable_queue(struct register_driver *driver, uint32_t queue)
{
    mmio_put(driver, 0x030, queue);
    mmio_put(driver, 0x044, 1);
}

static uint32_t mmio_queue_enabled(struct register_driver *driver, uint32_t queue)
{
    mmio_put(driver, 0x030, queue);
    return mmio_get(driver, 0x044);
}

static uint32_t mmio_reset_queue(struct register_driver *driver, uint32_t queue)
{
    mmio_put(driver, 0x030, queue);
    mmio_put(driver, 0x0c0, 1);
    return mmio_get(driver, 0x0c0);
}

static void mmio_notify(struct register_driver *driver, uint32_t queue, uint32_t word)
{
    (void)queue;
    mmio_put(driver, 0x050, word);
}

static uint64_t mmio_config(struct register_driver *driver, uint64_t offset, unsigned width)
{
    return register_read(driver, SPACE_MMIO, 0x100 + offset, width);
}

static void mmio_write_config(struct register_driver *driver, uint64_t offset, unsigned width,
                              uint64_t value)
{
    register_write(driver, SPACE_MMIO, 0x100 + offset, width, value);
}

static uint32_t mmio_generation(struct register_driver *driver)
{
    return mmio_get(driver, 0x0fc);
}

static const struct register_driver_ops mmio_ops = {
    .status = mmio_status,
    .write_status = mmio_write_status,
    .device_features = mmio_device_features,
    .write_driver_features = mmio_write_driver_features,
    .queue_size_max = mmio_queue_size_max,
    .write_ring = mmio_write_ring,
    .enable_queue = mmio_enable_queue,
    .queue_enabled = mmio_queue_enabled,
    .reset_queue = mmio_reset_queue,
    .notify = mmio_notify,
    .config = mmio_config,
    .write_config = mmio_write_config,
    .generation = mmio_generation,
};

void register_driver_init_mmio(struct register_driver *driver, const struct register_port *port)
{
    *driver = (struct register_driver){.ops = &mmio_ops, .port = *port};
    check(mmio_get(driver, 0) == 0x74726976, "no magic value");
    check(mmio_get(driver, 4) == 2, "not version 2");
    check(mmio_get(driver, 8) == 1, "no network device");
}

/* ---- what every driver does (virtio 1.4, 3.1.1) -------------------------------------------- */

uint64_t register_driver_offer(struct register_driver *driver)
{
    uint64_t high = driver->ops->device_features(driver, 1); /* Linux reads this half first */

    return high << 32 | driver->ops->device_features(driver, 0);
}

uint8_t register_driver_negotiate(struct register_driver *driver, uint64_t features)
{
    const struct register_driver_ops *ops = driver->ops;

    ops->write_status(driver, 0);
    check(ops->status(driver) == 0, "the status is not 0 after a reset");
    ops->write_status(driver, STATUS_ACKNOWLEDGE);
    ops->write_status(driver, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    if (driver->features_high != 0)
        ops->write_driver_features(driver, 2, driver->features_high);
    ops->write_driver_features(driver, 1, (uint32_t)(features >> 32));
    ops->write_driver_features(driver, 0, (uint32_t)features);
    ops->write_status(driver, STATUS_BEFORE_QUEUES);
    return ops->status(driver);
}

void register_driver_start_ring(struct register_driver *driver, uint32_t queue,
                                const struct driver_ring *ring)
{
    struct register_ring registers = {ring->size, ring->desc_area, ring->driver_area,
                                      ring->device_area};

    driver->ops->write_ring(driver, queue, &registers);
    driver->ops->enable_queue(driver, queue);
    check(driver->ops->queue_enabled(driver, queue) == 1, "queue %u is not enabled", queue);
}
