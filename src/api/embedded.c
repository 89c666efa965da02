/* SPDX-License-Identifier: MIT */
/* Cards whose registers are in this process: guest memory, register accesses, interrupts, kicks. */
#include "api/vionic_parts.h"

#include <errno.h>
#include <unistd.h>

#include "api/sized.h"

_Static_assert((int)MMIO_LEN == VIONIC_MMIO_LEN && (int)MMIO_NOTIFY == VIONIC_MMIO_NOTIFY,
               "vionic.h promises them");
_Static_assert((int)PCI_CONFIG_LEN == VIONIC_PCI_CONFIG_LEN &&
                   (int)PCI_BAR_LEN == VIONIC_PCI_BAR_LEN &&
                   (int)PCI_NOTIFY_OFFSET == VIONIC_PCI_NOTIFY &&
                   (int)PCI_NOTIFY_MULTIPLIER == VIONIC_PCI_NOTIFY_STEP && PCI_BAR == 0,
               "vionic.h promises them");
_Static_assert((int)MEMORY_REGION_READ_ONLY == VIONIC_MEMORY_READ_ONLY,
               "flags are passed on as they are");

/* ---- interrupts ------------------------------------------------------------------------- */

/* Any thread. */
static void line_set(void *context, int level)
{
    const struct vionic_interrupts *interrupts = context;
    uint64_t one = 1;

    if (interrupts->set_line != NULL)
        interrupts->set_line(interrupts->context, level);
    if (level == 0 || interrupts->line_eventfd == 0)
        return;
    if (write(interrupts->line_eventfd, &one, sizeof(one)) < 0)
        return; /* full: it is readable */
}

static void msi_send(void *context, uint64_t address, uint32_t data)
{
    const struct vionic_interrupts *interrupts = context;

    if (interrupts->send_msi != NULL)
        interrupts->send_msi(interrupts->context, address, data);
}

static void bar_moved(void *context, uint64_t address, int mapped)
{
    const struct vionic_interrupts *interrupts = context;

    if (interrupts->bar_moved != NULL)
        interrupts->bar_moved(interrupts->context, address, mapped);
}

static const struct pci_ops interrupt_ops = {
    .send_msi = msi_send,
    .set_intx = line_set,
    .bar_moved = bar_moved,
};

static int interrupts_take(struct vionic_nic *nic, const struct vionic_interrupts *given,
                           struct error *err)
{
    if (given == NULL)
        return 0;
    return sized_read(given, "vionic_interrupts", &nic->interrupts, sizeof(nic->interrupts), err);
}

/* ---- life ------------------------------------------------------------------------------- */

int embedded_open(struct vionic_nic *nic, const struct vionic_nic_config *config, struct error *err)
{
    const struct mmio_settings mmio = {
        .coordinator = nic->coordinator,
        .set_line = line_set,
        .context = &nic->interrupts,
    };
    const struct pci_settings pci = {
        .coordinator = nic->coordinator,
        .ops = &interrupt_ops,
        .context = &nic->interrupts,
        .vectors = config->pci_vectors,
    };
    int result = interrupts_take(nic, config->interrupts, err);

    if (result < 0)
        return result;
    if (config->pci_vectors > PCI_VECTORS_MAX)
        return error_set(err, EINVAL, "pci_vectors=%u is more than %d", config->pci_vectors,
                         PCI_VECTORS_MAX);
    if (config->transport == VIONIC_TRANSPORT_PCI)
        return pci_open(&pci, &nic->pci, err);
    return mmio_open(&mmio, &nic->mmio, err);
}

void embedded_close(struct vionic_nic *nic)
{
    mmio_close(nic->mmio);
    nic->mmio = NULL;
    pci_close(nic->pci);
    nic->pci = NULL;
}

void embedded_inspect(struct vionic_nic *nic, struct inspect *visitor)
{
    if (nic->pci != NULL)
        pci_inspect(nic->pci, visitor);
    else
        mmio_inspect(nic->mmio, visitor);
}

void vionic_nic_reset(struct vionic_nic *nic)
{
    if (nic->mmio != NULL)
        mmio_reset(nic->mmio);
    if (nic->pci != NULL)
        pci_reset(nic->pci);
}

/* ---- memory ----------------------------------------------------------------------------- */

static int memory_add(struct guest_memory *table, const struct vionic_memory *memory,
                      struct error *err)
{
    const struct memory_region region = {
        .gpa = memory->gpa,
        .size = memory->size,
        .hva = memory->address,
        .flags = memory->flags,
    };

    if (memory->flags & ~(uint32_t)VIONIC_MEMORY_READ_ONLY)
        return error_set(err, EINVAL, "memory at 0x%llx has flags that are none of VIONIC_MEMORY_…",
                         (unsigned long long)memory->gpa);
    if (memory->address == NULL)
        return error_set(err, EINVAL, "memory at 0x%llx has no address in this process",
                         (unsigned long long)memory->gpa);
    return guest_memory_add(table, &region, err);
}

int vionic_nic_set_memory(struct vionic_nic *nic, const struct vionic_memory *memory, size_t count,
                          struct vionic_error *err)
{
    struct guest_memory *table;
    int result;

    if (nic->vhost_user != NULL)
        return error_set(error_of(err), EOPNOTSUPP, "%s: a front-end brings the memory itself",
                         coordinator_name(nic->coordinator));
    result = guest_memory_create(&table);
    if (result < 0)
        return error_set(error_of(err), -result, "out of memory");
    for (size_t i = 0; i < count && result == 0; i++)
        result = memory_add(table, &memory[i], error_of(err));
    if (result < 0) {
        guest_memory_free(table);
        return result;
    }
    coordinator_set_memory(nic->coordinator, table);
    guest_memory_free(nic->memory);
    nic->memory = table;
    return 0;
}

/* ---- registers -------------------------------------------------------------------------- */

uint64_t vionic_mmio_read(struct vionic_nic *nic, uint64_t offset, unsigned width)
{
    return nic->mmio == NULL ? 0 : mmio_read(nic->mmio, offset, width);
}

void vionic_mmio_write(struct vionic_nic *nic, uint64_t offset, unsigned width, uint64_t value)
{
    if (nic->mmio != NULL)
        mmio_write(nic->mmio, offset, width, value);
}

uint32_t vionic_pci_read_config(struct vionic_nic *nic, uint32_t offset, unsigned width)
{
    return nic->pci == NULL ? 0 : pci_read_config(nic->pci, offset, width);
}

void vionic_pci_write_config(struct vionic_nic *nic, uint32_t offset, unsigned width,
                             uint32_t value)
{
    if (nic->pci != NULL)
        pci_write_config(nic->pci, offset, width, value);
}

uint64_t vionic_pci_read_bar(struct vionic_nic *nic, uint64_t offset, unsigned width)
{
    return nic->pci == NULL ? 0 : pci_read_bar(nic->pci, offset, width);
}

void vionic_pci_write_bar(struct vionic_nic *nic, uint64_t offset, unsigned width, uint64_t value)
{
    if (nic->pci != NULL)
        pci_write_bar(nic->pci, offset, width, value);
}

int vionic_pci_bar_address(const struct vionic_nic *nic, uint64_t *ret_address)
{
    return nic->pci == NULL ? 0 : pci_bar_address(nic->pci, ret_address);
}

/* ---- kicks ------------------------------------------------------------------------------ */

unsigned vionic_nic_queue_count(const struct vionic_nic *nic)
{
    if (nic->pci != NULL)
        return pci_queue_count(nic->pci);
    return nic->mmio == NULL ? 0 : mmio_queue_count(nic->mmio);
}

int vionic_nic_kick_fd(const struct vionic_nic *nic, unsigned queue)
{
    if (nic->pci != NULL)
        return pci_kick_fd(nic->pci, queue);
    return nic->mmio == NULL ? -1 : mmio_kick_fd(nic->mmio, queue);
}
