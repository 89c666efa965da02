/* SPDX-License-Identifier: MIT */
/* The common configuration structure (virtio 1.4, 4.1.4.3). */
#include "base/checked.h"
#include "transport/pci_parts.h"

enum field {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    CONFIG_MSIX_VECTOR = 0x10,
    NUM_QUEUES = 0x12,
    DEVICE_STATUS = 0x14,
    CONFIG_GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_MSIX_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC_LOW = 0x20,
    QUEUE_DESC_HIGH = 0x24,
    QUEUE_DRIVER_LOW = 0x28,
    QUEUE_DRIVER_HIGH = 0x2c,
    QUEUE_DEVICE_LOW = 0x30,
    QUEUE_DEVICE_HIGH = 0x34,
    QUEUE_NOTIF_CONFIG_DATA = 0x38,
    QUEUE_RESET = 0x3a,
    ADMIN_QUEUE_INDEX = 0x3c,
    ADMIN_QUEUE_NUM = 0x3e,
};

/* All fields in order, without a gap; halves of addresses are fields of their own (PCI-06). */
static const struct {
    uint8_t offset;
    uint8_t len;
} fields[] = {
    {DEVICE_FEATURE_SELECT, 4}, {DEVICE_FEATURE, 4},
    {DRIVER_FEATURE_SELECT, 4}, {DRIVER_FEATURE, 4},
    {CONFIG_MSIX_VECTOR, 2},    {NUM_QUEUES, 2},
    {DEVICE_STATUS, 1},         {CONFIG_GENERATION, 1},
    {QUEUE_SELECT, 2},          {QUEUE_SIZE, 2},
    {QUEUE_MSIX_VECTOR, 2},     {QUEUE_ENABLE, 2},
    {QUEUE_NOTIFY_OFF, 2},      {QUEUE_DESC_LOW, 4},
    {QUEUE_DESC_HIGH, 4},       {QUEUE_DRIVER_LOW, 4},
    {QUEUE_DRIVER_HIGH, 4},     {QUEUE_DEVICE_LOW, 4},
    {QUEUE_DEVICE_HIGH, 4},     {QUEUE_NOTIF_CONFIG_DATA, 2},
    {QUEUE_RESET, 2},           {ADMIN_QUEUE_INDEX, 2},
    {ADMIN_QUEUE_NUM, 2},
};

/* offset is inside the structure. */
static unsigned field_at(unsigned offset)
{
    unsigned i = 0;

    while (fields[i].offset + fields[i].len <= offset)
        i++;
    return i;
}

/* ---- reads ------------------------------------------------------------------------------------
 */

static uint32_t queue_field_read(struct pci *pci, enum field field)
{
    const struct registers_queue *queue = registers_selected(&pci->registers);

    if (queue == NULL)
        return 0; /* PCI-11 */
    switch (field) {
    case QUEUE_SIZE:
        return queue->size;
    case QUEUE_MSIX_VECTOR:
        return pci->vector[queue->index];
    case QUEUE_ENABLE:
        return queue->ready;
    case QUEUE_NOTIFY_OFF:
        return queue->index;
    case QUEUE_DESC_LOW:
        return (uint32_t)queue->desc;
    case QUEUE_DESC_HIGH:
        return (uint32_t)(queue->desc >> 32);
    case QUEUE_DRIVER_LOW:
        return (uint32_t)queue->driver;
    case QUEUE_DRIVER_HIGH:
        return (uint32_t)(queue->driver >> 32);
    case QUEUE_DEVICE_LOW:
        return (uint32_t)queue->device;
    case QUEUE_DEVICE_HIGH:
        return (uint32_t)(queue->device >> 32);
    default:
        return 0; /* a reset is over when its write returns; the rest belongs to other features */
    }
}

static uint32_t field_read(struct pci *pci, enum field field)
{
    struct registers *registers = &pci->registers;

    switch (field) {
    case DEVICE_FEATURE_SELECT:
        return registers->device_feature_select;
    case DEVICE_FEATURE:
        return registers_device_features(registers);
    case DRIVER_FEATURE_SELECT:
        return registers->driver_feature_select;
    case DRIVER_FEATURE:
        return registers_driver_features(registers);
    case CONFIG_MSIX_VECTOR:
        return pci->config_vector;
    case NUM_QUEUES:
        return registers->queue_count;
    case DEVICE_STATUS:
        return registers_status(registers);
    case CONFIG_GENERATION:
        return registers_generation(registers) & UINT8_MAX;
    case QUEUE_SELECT:
        return registers->queue_select;
    default:
        return queue_field_read(pci, field);
    }
}

uint64_t pci_common_read(struct pci *pci, unsigned offset, unsigned width)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < width && offset + i < PCI_COMMON_LEN; i++) {
        unsigned at = field_at(offset + i);
        uint32_t bits = field_read(pci, (enum field)fields[at].offset);

        value |= (uint64_t)(bits >> (8 * (offset + i - fields[at].offset)) & 0xff) << (8 * i);
    }
    return value;
}

/* ---- writes -----------------------------------------------------------------------------------
 */

/* PCI-03 */
static void size_write(struct pci *pci, uint32_t size)
{
    struct registers_queue *queue = registers_selected_writable(&pci->registers);
    const struct nic *nic = coordinator_nic(pci->registers.coordinator);

    if (queue != NULL && size != 0 && size <= pci->registers.size_max &&
        (is_power_of_two(size) || features_has(&nic->agreed, F_RING_PACKED)))
        queue->size = (uint16_t)size;
}

static void address_write(struct pci *pci, enum field field, uint32_t bits)
{
    struct registers_queue *queue = registers_selected_writable(&pci->registers);
    enum registers_half half = field & 4 ? REGISTERS_HIGH : REGISTERS_LOW;

    if (queue == NULL)
        return;
    if (field < QUEUE_DRIVER_LOW)
        registers_put_half(&queue->desc, half, bits);
    else if (field < QUEUE_DEVICE_LOW)
        registers_put_half(&queue->driver, half, bits);
    else
        registers_put_half(&queue->device, half, bits);
}

static void queue_field_write(struct pci *pci, enum field field, uint32_t value)
{
    struct registers_queue *queue = registers_selected(&pci->registers);

    if (queue == NULL)
        return;
    switch (field) {
    case QUEUE_SIZE:
        size_write(pci, value);
        break;
    case QUEUE_MSIX_VECTOR:
        pci_set_queue_vector(pci, queue, (uint16_t)value);
        break;
    case QUEUE_ENABLE: /* PCI-04: nothing but a reset disables */
        if (value == 1)
            registers_queue_enable(queue);
        break;
    case QUEUE_RESET:
        if (value == 1 && registers_queue_reset(queue))
            pci_set_queue_vector(pci, queue, PCI_NO_VECTOR);
        break;
    case QUEUE_DESC_LOW:
    case QUEUE_DESC_HIGH:
    case QUEUE_DRIVER_LOW:
    case QUEUE_DRIVER_HIGH:
    case QUEUE_DEVICE_LOW:
    case QUEUE_DEVICE_HIGH:
        address_write(pci, field, value);
        break;
    default:
        break;
    }
}

static void field_write(struct pci *pci, enum field field, uint32_t value)
{
    struct registers *registers = &pci->registers;

    switch (field) {
    case DEVICE_FEATURE_SELECT:
        registers->device_feature_select = value;
        break;
    case DRIVER_FEATURE_SELECT:
        registers->driver_feature_select = value;
        break;
    case DRIVER_FEATURE:
        registers_write_driver_features(registers, value);
        break;
    case CONFIG_MSIX_VECTOR:
        pci_set_config_vector(pci, (uint16_t)value);
        break;
    case DEVICE_STATUS:
        if (value == 0)
            pci_reset_device(pci);
        else
            registers_write_status(registers, (uint8_t)value);
        break;
    case QUEUE_SELECT:
        registers->queue_select = value;
        break;
    default:
        queue_field_write(pci, field, value);
        break;
    }
}

/* An access may hold several fields, and any of them in part. */
void pci_common_write(struct pci *pci, unsigned offset, unsigned width, uint64_t value)
{
    unsigned end = MIN(offset + width, (unsigned)PCI_COMMON_LEN);

    for (unsigned at = offset; at < end;) {
        unsigned index = field_at(at);
        enum field field = (enum field)fields[index].offset;
        unsigned part_end = MIN(end, (unsigned)fields[index].offset + fields[index].len);
        unsigned shift = 8 * (at - fields[index].offset);
        uint64_t mask = ((1ull << (8 * (part_end - at))) - 1) << shift;
        uint64_t bits = value >> (8 * (at - offset)) << shift;

        field_write(pci, field, (uint32_t)((field_read(pci, field) & ~mask) | (bits & mask)));
        at = part_end;
    }
}
