/* SPDX-License-Identifier: MIT */
/* Config space of the function: what it is, where its BAR lies, its capabilities (PCI Local Bus
 * 3.0, 6; virtio 1.4, 4.1.2, 4.1.4). */
#include <string.h>

#include "base/checked.h"
#include "transport/pci_parts.h"

enum header {
    VENDOR_ID = 0x00,
    DEVICE_ID = 0x02,
    COMMAND = 0x04,
    STATUS = 0x06,
    REVISION = 0x08,
    CLASS = 0x0a, /* subclass, class */
    BAR_LOW = 0x10,
    BAR_HIGH = 0x14,
    SUBSYSTEM_VENDOR_ID = 0x2c,
    SUBSYSTEM_ID = 0x2e,
    CAPABILITIES = 0x34,
    INTERRUPT_LINE = 0x3c,
    INTERRUPT_PIN = 0x3d,
};

enum command {
    COMMAND_MEMORY = 1 << 1,
    COMMAND_MASTER = 1 << 2,
    COMMAND_PARITY = 1 << 6,
    COMMAND_SERR = 1 << 8,
    COMMAND_INTX_OFF = 1 << 10,
    COMMAND_WRITABLE =
        COMMAND_MEMORY | COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_OFF,
};

enum {
    STATUS_INTERRUPT = 1 << 3,
    STATUS_CAPABILITIES = 1 << 4,

    VIRTIO_VENDOR = 0x1af4,
    VIRTIO_NET = 0x1041,
    ETHERNET_CONTROLLER = 0x0200,
    BAR_IS_64_BIT = 4,

    CAP_VENDOR = 0x09,
    CAP_MSIX = 0x11,
    CAP_ADVANCED = 0x13,

    MSIX_CONTROL_ENABLE = 1 << 15,
    MSIX_CONTROL_MASK = 1 << 14,
    ADVANCED_PENDING_AND_FLR = 3, /* the function can tell transactions pending, and be reset */
    ADVANCED_FLR = 1,
};

/* Capabilities in the order of the list. */
enum capability {
    COMMON_CAP = 0x40,
    NOTIFY_CAP = 0x50,
    ISR_CAP = 0x64,
    DEVICE_CAP = 0x74,
    WINDOW_CAP = 0x84,
    MSIX_CAP = 0x98,
    ADVANCED_CAP = 0xa4,

    NOTIFY_CAP_MULTIPLIER = NOTIFY_CAP + 16,
    WINDOW_BAR = WINDOW_CAP + 4,
    WINDOW_OFFSET = WINDOW_CAP + 8,
    WINDOW_LENGTH = WINDOW_CAP + 12,
    WINDOW_DATA = WINDOW_CAP + 16,
    MSIX_CONTROL = MSIX_CAP + 2,
    MSIX_TABLE = MSIX_CAP + 4,
    MSIX_PENDING = MSIX_CAP + 8,
    ADVANCED_CONTROL = ADVANCED_CAP + 4,
};

/* virtio 1.4, 4.1.4 */
enum cfg_type {
    CFG_COMMON = 1,
    CFG_NOTIFY = 2,
    CFG_ISR = 3,
    CFG_DEVICE = 4,
    CFG_WINDOW = 5,
};

static void put16(struct pci *pci, unsigned at, unsigned value)
{
    pci->config[at] = (uint8_t)value;
    pci->config[at + 1] = (uint8_t)(value >> 8);
}

static void put32(struct pci *pci, unsigned at, uint32_t value)
{
    put16(pci, at, value & UINT16_MAX);
    put16(pci, at + 2, value >> 16);
}

static unsigned get16(const struct pci *pci, unsigned at)
{
    return pci->config[at] | (unsigned)pci->config[at + 1] << 8;
}

static uint32_t get32(const struct pci *pci, unsigned at)
{
    return get16(pci, at) | (uint32_t)get16(pci, at + 2) << 16;
}

/* ---- as after power-up -------------------------------------------------------------------- */

struct structure {
    enum capability cap;
    enum cfg_type type;
    uint32_t offset;
    uint32_t len;
};

static void structure_put(struct pci *pci, const struct structure *structure, unsigned next)
{
    unsigned at = structure->cap;

    pci->config[at] = CAP_VENDOR;
    pci->config[at + 1] = (uint8_t)next;
    pci->config[at + 2] = (uint8_t)(next - at);
    pci->config[at + 3] = (uint8_t)structure->type;
    pci->config[at + 4] = PCI_BAR;
    put32(pci, at + 8, structure->offset);
    put32(pci, at + 12, structure->len);
}

static void capabilities_put(struct pci *pci)
{
    struct structure structures[] = {
        {COMMON_CAP, CFG_COMMON, PCI_COMMON_OFFSET, PCI_COMMON_LEN},
        {NOTIFY_CAP, CFG_NOTIFY, PCI_NOTIFY_OFFSET,
         pci->registers.queue_count * PCI_NOTIFY_MULTIPLIER},
        {ISR_CAP, CFG_ISR, PCI_ISR_OFFSET, PCI_ISR_LEN},
        {DEVICE_CAP, CFG_DEVICE, PCI_DEVICE_OFFSET, PCI_DEVICE_LEN},
        {WINDOW_CAP, CFG_WINDOW, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_COUNT(structures); i++)
        structure_put(pci, &structures[i],
                      i + 1 < ARRAY_COUNT(structures) ? structures[i + 1].cap : MSIX_CAP);
    put32(pci, NOTIFY_CAP_MULTIPLIER, PCI_NOTIFY_MULTIPLIER);
    pci->config[MSIX_CAP] = CAP_MSIX;
    pci->config[MSIX_CAP + 1] = ADVANCED_CAP;
    put16(pci, MSIX_CONTROL, pci->msix.vectors - 1);
    put32(pci, MSIX_TABLE, PCI_TABLE_OFFSET | PCI_BAR);
    put32(pci, MSIX_PENDING, PCI_PENDING_OFFSET | PCI_BAR);
    pci->config[ADVANCED_CAP] = CAP_ADVANCED;
    pci->config[ADVANCED_CAP + 2] = 6; /* its length */
    pci->config[ADVANCED_CAP + 3] = ADVANCED_PENDING_AND_FLR;
}

/* ---- what follows from the writable bits -------------------------------------------------- */

int pci_config_memory_enabled(const struct pci *pci)
{
    return (get16(pci, COMMAND) & COMMAND_MEMORY) != 0;
}

int pci_bar_address(const struct pci *pci, uint64_t *ret_address)
{
    uint64_t low = get32(pci, BAR_LOW) & ~(uint32_t)(PCI_BAR_LEN - 1);

    *ret_address = low | (uint64_t)get32(pci, BAR_HIGH) << 32;
    return pci_config_memory_enabled(pci);
}

static void bar_update(struct pci *pci)
{
    uint64_t address;
    int mapped = pci_bar_address(pci, &address);

    if (mapped == pci->bar_mapped && (!mapped || address == pci->bar_address))
        return;
    pci->bar_mapped = mapped;
    pci->bar_address = address;
    if (pci->ops->bar_moved != NULL)
        pci->ops->bar_moved(pci->context, address, mapped);
}

/* PCI-13: without bus master neither ring nor message reaches memory. What a queue still has to say
 * when it stops is said. */
static void master_update(struct pci *pci)
{
    unsigned command = get16(pci, COMMAND);
    unsigned control = get16(pci, MSIX_CONTROL);
    int master = (command & COMMAND_MASTER) != 0;
    unsigned state = 0;

    if (!master)
        registers_set_bus(&pci->registers, REGISTERS_BUS_OFF);
    state |= control & MSIX_CONTROL_ENABLE ? MSIX_ENABLED : 0;
    state |= control & MSIX_CONTROL_MASK ? MSIX_MASKED : 0;
    state |= master ? MSIX_ALLOWED : 0;
    pci_update_interrupts(pci, state,
                          master && !(command & COMMAND_INTX_OFF) && !(state & MSIX_ENABLED));
    if (master)
        registers_set_bus(&pci->registers, REGISTERS_BUS_ON);
}

void pci_config_reset(struct pci *pci)
{
    memset(pci->config, 0, sizeof(pci->config));
    put16(pci, VENDOR_ID, VIRTIO_VENDOR);
    put16(pci, DEVICE_ID, VIRTIO_NET);
    put16(pci, STATUS, STATUS_CAPABILITIES);
    pci->config[REVISION] = 1;
    put16(pci, CLASS, ETHERNET_CONTROLLER);
    pci->config[BAR_LOW] = BAR_IS_64_BIT;
    put16(pci, SUBSYSTEM_VENDOR_ID, VIRTIO_VENDOR);
    put16(pci, SUBSYSTEM_ID, VIRTIO_NET);
    pci->config[CAPABILITIES] = COMMON_CAP;
    pci->config[INTERRUPT_PIN] = 1;
    capabilities_put(pci);
    master_update(pci);
    bar_update(pci);
}

/* ---- the window into the BAR (PCI-10; virtio 1.4, 4.1.4.9) -------------------------------- */

/* 0: what the driver wrote there names no access to a virtio structure. */
static unsigned window_width(const struct pci *pci)
{
    uint32_t len = get32(pci, WINDOW_LENGTH);
    uint32_t offset = get32(pci, WINDOW_OFFSET);

    if (pci->config[WINDOW_BAR] != PCI_BAR || (len != 1 && len != 2 && len != 4) ||
        offset % len != 0 || !pci_bar_is_virtio(pci, offset, len))
        return 0;
    return len;
}

static void window_read(struct pci *pci)
{
    unsigned width = window_width(pci);

    put32(pci, WINDOW_DATA, 0);
    if (width != 0)
        put32(pci, WINDOW_DATA, (uint32_t)pci_bar_get(pci, get32(pci, WINDOW_OFFSET), width));
}

static void window_write(struct pci *pci)
{
    unsigned width = window_width(pci);
    uint64_t value = get32(pci, WINDOW_DATA) & ((1ull << (8 * width)) - 1);

    if (width != 0)
        pci_bar_put(pci, get32(pci, WINDOW_OFFSET), width, value);
}

/* ---- accesses ----------------------------------------------------------------------------- */

/* Fields in which the driver may change bits. */
static const struct {
    uint8_t at;
    uint8_t len;
    uint32_t bits;
} writable[] = {
    {COMMAND, 2, COMMAND_WRITABLE},
    {BAR_LOW, 4, ~(uint32_t)(PCI_BAR_LEN - 1)},
    {BAR_HIGH, 4, UINT32_MAX},
    {INTERRUPT_LINE, 1, UINT8_MAX},
    {WINDOW_BAR, 1, UINT8_MAX},
    {WINDOW_OFFSET, 4, UINT32_MAX},
    {WINDOW_LENGTH, 4, UINT32_MAX},
    {WINDOW_DATA, 4, UINT32_MAX},
    {MSIX_CONTROL, 2, MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK},
    {ADVANCED_CONTROL, 1, ADVANCED_FLR},
};

static uint8_t writable_bits(uint32_t at)
{
    for (size_t i = 0; i < ARRAY_COUNT(writable); i++) {
        if (at >= writable[i].at && at - writable[i].at < writable[i].len)
            return (uint8_t)(writable[i].bits >> (8 * (at - writable[i].at)));
    }
    return 0;
}

static int access_is_possible(uint32_t offset, unsigned width)
{
    return (width == 1 || width == 2 || width == 4) && offset < PCI_CONFIG_LEN;
}

uint32_t pci_read_config(struct pci *pci, uint32_t offset, unsigned width)
{
    uint32_t value = 0;
    int interrupt;

    if (!access_is_possible(offset, width))
        return 0;
    if (range_overlaps(offset, width, WINDOW_DATA, 4))
        window_read(pci);
    interrupt = !(pci->msix.state & MSIX_ENABLED) && atomic_load(&pci->isr) != 0;
    put16(pci, STATUS, STATUS_CAPABILITIES | (interrupt ? STATUS_INTERRUPT : 0));
    for (unsigned i = 0; i < width && offset + i < PCI_CONFIG_LEN; i++)
        value |= (uint32_t)pci->config[offset + i] << (8 * i);
    return value;
}

int pci_config_is_state(unsigned offset)
{
    return offset != WINDOW_DATA && offset != ADVANCED_CONTROL;
}

void pci_write_config(struct pci *pci, uint32_t offset, unsigned width, uint32_t value)
{
    if (!access_is_possible(offset, width))
        return;
    for (unsigned i = 0; i < width && offset + i < PCI_CONFIG_LEN; i++) {
        uint8_t *byte = &pci->config[offset + i];
        uint8_t bits = writable_bits(offset + i);

        *byte = (uint8_t)((*byte & ~bits) | (value >> (8 * i) & bits));
    }
    if (pci->config[ADVANCED_CONTROL] & ADVANCED_FLR) {
        pci_reset(pci);
        return;
    }
    if (range_overlaps(offset, width, WINDOW_DATA, 4))
        window_write(pci);
    master_update(pci);
    bar_update(pci);
}
