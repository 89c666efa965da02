/* SPDX-License-Identifier: MIT */
/* virtio-pci, modern (virtio 1.4, 4.1), and the parts of PCI that a driver needs for it. */
#include "register_driver.h"

#include "check.h"

enum {
    COMMAND = 0x04,
    COMMAND_MEMORY_AND_MASTER = 6,
    STATUS_CAPABILITIES = 1 << 4,
    BAR_0 = 0x10,
    CAPABILITIES = 0x34,
    CAP_VENDOR = 0x09,
    CAP_MSIX = 0x11,
    CAPS_MAX = 48,

    CFG_COMMON = 1,
    CFG_NOTIFY = 2,
    CFG_ISR = 3,
    CFG_DEVICE = 4,
    CFG_WINDOW = 5,
};

#define BAR_GPA 0xc00000000ull

static uint32_t config_get(struct register_driver *driver, unsigned offset, unsigned width)
{
    return (uint32_t)register_read(driver, SPACE_PCI_CONFIG, offset, width);
}

static void config_put(struct register_driver *driver, unsigned offset, unsigned width,
                       uint32_t value)
{
    register_write(driver, SPACE_PCI_CONFIG, offset, width, value);
}

/* ---- the common structure ----------------------------------------------------------------------
 */

static uint32_t common_get(struct register_driver *driver, unsigned offset, unsigned width)
{
    return (uint32_t)register_read(driver, SPACE_PCI_BAR,
                                   driver->structure[CFG_COMMON].offset + offset, width);
}

static void common_put(struct register_driver *driver, unsigned offset, unsigned width,
                       uint32_t value)
{
    register_write(driver, SPACE_PCI_BAR, driver->structure[CFG_COMMON].offset + offset, width,
                   value);
}

static uint8_t pci_status(struct register_driver *driver)
{
    return (uint8_t)common_get(driver, 0x14, 1);
}

static void pci_write_status(struct register_driver *driver, uint8_t value)
{
    common_put(driver, 0x14, 1, value);
}

static uint32_t pci_device_features(struct register_driver *driver, uint32_t select)
{
    common_put(driver, 0x00, 4, select);
    return common_get(driver, 0x04, 4);
}

static void pci_write_driver_features(struct register_driver *driver, uint32_t select,
                                      uint32_t bits)
{
    common_put(driver, 0x08, 4, select);
    common_put(driver, 0x0c, 4, bits);
}

static uint32_t pci_queue_size_max(struct register_driver *driver, uint32_t queue)
{
    common_put(driver, 0x16, 2, queue);
    return common_get(driver, 0x18, 2);
}

static void common_put64(struct register_driver *driver, unsigned offset, uint64_t value)
{
    common_put(driver, offset + 4, 4, (uint32_t)(value >> 32));
    common_put(driver, offset, 4, (uint32_t)value);
}

static void pci_write_ring(struct register_driver *driver, uint32_t queue,
                           const struct register_ring *ring)
{
    common_put(driver, 0x16, 2, queue);
    common_put(driver, 0x18, 2, ring->size);
    common_put64(driver, 0x20, ring->desc);
    common_put64(driver, 0x28, ring->driver);
    common_put64(driver, 0x30, ring->device);
}

static void pci_enable_queue(struct register_driver *driver, uint32_t queue)
{
    common_put(driver, 0x16, 2, queue);
    common_put(driver, 0x1c, 2, 1);
}

static uint32_t pci_queue_enabled(struct register_driver *driver, uint32_t queue)
{
    common_put(driver, 0x16, 2, queue);
    return common_get(driver, 0x1c, 2);
}

static uint32_t pci_reset_queue(struct register_driver *driver, uint32_t queue)
{
    common_put(driver, 0x16, 2, queue);
    common_put(driver, 0x3a, 2, 1);
    return common_get(driver, 0x3a, 2);
}

static void pci_notify(struct register_driver *driver, uint32_t queue, uint32_t word)
{
    uint32_t off;

    common_put(driver, 0x16, 2, queue);
    off = common_get(driver, 0x1e, 2) * driver->notify_multiplier;
    register_write(driver, SPACE_PCI_BAR, driver->structure[CFG_NOTIFY].offset + off,
                   word > UINT16_MAX ? 4 : 2, word);
}

static uint64_t pci_config(struct register_driver *driver, uint64_t offset, unsigned width)
{
    return register_read(driver, SPACE_PCI_BAR, driver->structure[CFG_DEVICE].offset + offset,
                         width);
}

static void pci_write_config(struct register_driver *driver, uint64_t offset, unsigned width,
                             uint64_t value)
{
    register_write(driver, SPACE_PCI_BAR, driver->structure[CFG_DEVICE].offset + offset, width,
                   value);
}

static uint32_t pci_generation(struct register_driver *driver)
{
    return common_get(driver, 0x15, 1);
}

static const struct register_driver_ops pci_ops = {
    .status = pci_status,
    .write_status = pci_write_status,
    .device_features = pci_device_features,
    .write_driver_features = pci_write_driver_features,
    .queue_size_max = pci_queue_size_max,
    .write_ring = pci_write_ring,
    .enable_queue = pci_enable_queue,
    .queue_enabled = pci_queue_enabled,
    .reset_queue = pci_reset_queue,
    .notify = pci_notify,
    .config = pci_config,
    .write_config = pci_write_config,
    .generation = pci_generation,
};

/* ---- capabilities ------------------------------------------------------------------------------
 */

static void vendor_cap_read(struct register_driver *driver, unsigned cap)
{
    unsigned type = config_get(driver, cap + 3, 1);
    struct pci_structure structure = {
        .cap = (uint8_t)cap,
        .cap_len = (uint8_t)config_get(driver, cap + 2, 1),
        .bar = (uint8_t)config_get(driver, cap + 4, 1),
        .offset = config_get(driver, cap + 8, 4),
        .len = config_get(driver, cap + 12, 4),
    };

    if (type >= PCI_CFG_TYPES || driver->structure[type].cap != 0)
        return;
    driver->structure[type] = structure;
    if (type == CFG_NOTIFY)
        driver->notify_multiplier = config_get(driver, cap + 16, 4);
}

static void msix_cap_read(struct register_driver *driver, unsigned cap)
{
    driver->msix_cap = (uint8_t)cap;
    driver->msix_vectors = (config_get(driver, cap + 2, 2) & 0x7ff) + 1;
    driver->msix_table = config_get(driver, cap + 4, 4) & ~7u;
    driver->msix_pba = config_get(driver, cap + 8, 4) & ~7u;
}

static void capabilities_read(struct register_driver *driver)
{
    unsigned cap = config_get(driver, CAPABILITIES, 1);

    for (unsigned i = 0; cap != 0; i++) {
        unsigned id = config_get(driver, cap, 1);

        check(i < CAPS_MAX && cap >= 0x40 && cap % 4 == 0, "the capability list is broken");
        if (id == CAP_VENDOR)
            vendor_cap_read(driver, cap);
        else if (id == CAP_MSIX)
            msix_cap_read(driver, cap);
        cap = config_get(driver, cap + 1, 1);
    }
}

void register_driver_init_pci(struct register_driver *driver, const struct register_port *port)
{
    *driver = (struct register_driver){.ops = &pci_ops, .port = *port};
    check(config_get(driver, 0, 4) == 0x10411af4, "not a virtio network card");
    check(config_get(driver, 6, 2) & STATUS_CAPABILITIES, "no capabilities");
    capabilities_read(driver);
    for (unsigned type = CFG_COMMON; type <= CFG_WINDOW; type++)
        check(driver->structure[type].cap != 0, "no structure of type %u", type);
    register_driver_enable_pci(driver);
}

void register_driver_enable_pci(struct register_driver *driver)
{
    config_put(driver, BAR_0, 4, (uint32_t)BAR_GPA);
    config_put(driver, BAR_0 + 4, 4, (uint32_t)(BAR_GPA >> 32));
    config_put(driver, COMMAND, 2, COMMAND_MEMORY_AND_MASTER);
}

/* ---- interrupts --------------------------------------------------------------------------------
 */

void register_driver_put_msix(struct register_driver *driver, unsigned vector, uint64_t address,
                              uint32_t data)
{
    uint32_t entry = driver->msix_table + 16 * vector;

    register_write(driver, SPACE_PCI_BAR, entry + 12, 4, 1);
    register_write(driver, SPACE_PCI_BAR, entry, 4, (uint32_t)address);
    register_write(driver, SPACE_PCI_BAR, entry + 4, 4, (uint32_t)(address >> 32));
    register_write(driver, SPACE_PCI_BAR, entry + 8, 4, data);
    register_write(driver, SPACE_PCI_BAR, entry + 12, 4, 0);
}

void register_driver_mask_msix(struct register_driver *driver, unsigned vector, unsigned masked)
{
    register_write(driver, SPACE_PCI_BAR, driver->msix_table + 16 * vector + 12, 4, masked);
}

unsigned register_driver_msix_pending(struct register_driver *driver, unsigned vector)
{
    uint64_t word = register_read(driver, SPACE_PCI_BAR, driver->msix_pba + vector / 64 * 8, 8);

    return word >> vector % 64 & 1;
}

void register_driver_set_msix(struct register_driver *driver, uint32_t control)
{
    config_put(driver, driver->msix_cap + 2u, 2, control);
}

uint32_t register_driver_map_queue(struct register_driver *driver, uint32_t queue, uint32_t vector)
{
    common_put(driver, 0x16, 2, queue);
    common_put(driver, 0x1a, 2, vector);
    return common_get(driver, 0x1a, 2);
}

uint32_t register_driver_map_config(struct register_driver *driver, uint32_t vector)
{
    common_put(driver, 0x10, 2, vector);
    return common_get(driver, 0x10, 2);
}

uint32_t register_driver_isr(struct register_driver *driver)
{
    return (uint32_t)register_read(driver, SPACE_PCI_BAR, driver->structure[CFG_ISR].offset, 1);
}
