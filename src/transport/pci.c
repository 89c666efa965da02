/* SPDX-License-Identifier: MIT */
/* Open and close, interrupts, and the BAR with the structures in it. */
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "transport/pci_parts.h"

enum isr_bits {
    ISR_QUEUE = 1,
    ISR_CONFIG = 2,
};

enum {
    VECTORS_MIN = 2, /* virtio 1.4, 4.1.4.3.1 */
};

/* ---- holding data threads: no queue's event comes between -------------------------------------
 */

static void hold_all(struct pci *pci) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < pci->registers.queue_count; i++)
        registers_hold(&pci->registers, i);
}

static void release_all(struct pci *pci) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < pci->registers.queue_count; i++)
        registers_release(&pci->registers, i);
}

static void hold_vector(struct pci *pci, unsigned vector) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < pci->registers.queue_count; i++) {
        if (pci->vector[i] == vector)
            registers_hold(&pci->registers, i);
    }
}

static void release_vector(struct pci *pci, unsigned vector) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < pci->registers.queue_count; i++) {
        if (pci->vector[i] == vector)
            registers_release(&pci->registers, i);
    }
}

/* ---- interrupts (PCI-08, PCI-09) --------------------------------------------------------------
 */

/* Threads may overtake each other between looking and telling: whoever tells looks again, so the
 * last word is the right one. */
static void intx_tell(struct pci *pci)
{
    int level;

    do {
        level = pci->intx_open && atomic_load(&pci->isr) != 0;
        pci->ops->set_intx(pci->context, level);
    } while (level != (pci->intx_open && atomic_load(&pci->isr) != 0));
}

static void isr_raise(struct pci *pci, unsigned bit)
{
    if (atomic_fetch_or(&pci->isr, bit) == 0 && pci->intx_open)
        intx_tell(pci);
}

static unsigned isr_take(struct pci *pci)
{
    unsigned bits = atomic_exchange(&pci->isr, 0);

    if (bits != 0 && pci->intx_open)
        intx_tell(pci);
    return bits;
}

static void queue_event(void *context, unsigned queue)
{
    struct pci *pci = context;

    if (pci->msix.state & MSIX_ENABLED)
        msix_fire(&pci->msix, pci->vector[queue]);
    else
        isr_raise(pci, ISR_QUEUE);
}

static void config_event(void *context)
{
    struct pci *pci = context;

    isr_raise(pci, ISR_CONFIG); /* with MSI-X too */
    if (pci->msix.state & MSIX_ENABLED)
        msix_fire(&pci->msix, pci->config_vector);
}

void pci_update_interrupts(struct pci *pci, unsigned msix_state, int intx_open)
{
    int was_open = pci->intx_open;

    if (msix_state == pci->msix.state && intx_open == was_open)
        return;
    hold_all(pci);
    pci->intx_open = intx_open;
    msix_set_state(&pci->msix, msix_state);
    release_all(pci);
    if (was_open != intx_open && atomic_load(&pci->isr) != 0)
        intx_tell(pci);
}

static uint16_t vector_check(const struct pci *pci, uint16_t vector)
{
    return vector < pci->msix.vectors ? vector : PCI_NO_VECTOR;
}

void pci_set_queue_vector(struct pci *pci, const struct registers_queue *queue, uint16_t vector)
{
    registers_hold(&pci->registers, queue->index);
    pci->vector[queue->index] = vector_check(pci, vector);
    registers_release(&pci->registers, queue->index);
}

void pci_set_config_vector(struct pci *pci, uint16_t vector)
{
    pci->config_vector = vector_check(pci, vector);
}

/* ---- open, close, reset -----------------------------------------------------------------------
 */

static int pci_init(struct pci *pci, const struct pci_settings *settings, struct error *err)
{
    struct registers_events events = {queue_event, config_event, pci};
    unsigned pairs = coordinator_nic(settings->coordinator)->config.queue_pairs;
    unsigned vectors = settings->vectors != 0 ? settings->vectors : 2 * pairs + 2;
    int result;

    if (vectors < VECTORS_MIN || vectors > PCI_VECTORS_MAX)
        return error_set(err, EINVAL, "vectors=%u is not %d to %d", vectors, VECTORS_MIN,
                         PCI_VECTORS_MAX);
    result = registers_init(&pci->registers, settings->coordinator, &events, err);
    if (result < 0)
        return result;
    pci->vector = calloc(pci->registers.queue_count, sizeof(*pci->vector));
    if (pci->vector == NULL || msix_init(&pci->msix, vectors) < 0)
        return error_set(err, ENOMEM, "out of memory");
    pci->msix.send = settings->ops->send_msi;
    pci->msix.context = settings->context;
    pci_reset(pci);
    return 0;
}

int pci_open(const struct pci_settings *settings, struct pci **ret_pci, struct error *err)
{
    struct pci *pci = calloc(1, sizeof(*pci));
    int result;

    if (pci == NULL)
        return error_set(err, ENOMEM, "out of memory");
    pci->ops = settings->ops;
    pci->context = settings->context;
    result = pci_init(pci, settings, err);
    if (result < 0) {
        pci_close(pci);
        return result;
    }
    *ret_pci = pci;
    return 0;
}

void pci_close(struct pci *pci)
{
    if (pci == NULL)
        return;
    registers_free(&pci->registers);
    isr_take(pci);
    msix_free(&pci->msix);
    free(pci->vector);
    free(pci);
}

/* GEN-RST-02. Nothing comes from data threads once the registers are reset. */
void pci_reset_device(struct pci *pci)
{
    registers_reset(&pci->registers);
    for (unsigned i = 0; i < pci->registers.queue_count; i++)
        pci->vector[i] = PCI_NO_VECTOR;
    pci->config_vector = PCI_NO_VECTOR;
    msix_forget_pending(&pci->msix);
    isr_take(pci);
}

void pci_reset(struct pci *pci)
{
    pci_reset_device(pci);
    msix_reset(&pci->msix);
    pci_config_reset(pci);
}

/* ---- the BAR ----------------------------------------------------------------------------------
 */

static int width_is_possible(unsigned width)
{
    return width == 1 || width == 2 || width == 4 || width == 8;
}

static uint32_t notify_len(const struct pci *pci)
{
    return pci->registers.queue_count * PCI_NOTIFY_MULTIPLIER;
}

static int is_in(uint64_t offset, uint64_t start, uint64_t len)
{
    return offset >= start && offset - start < len;
}

int pci_bar_is_virtio(const struct pci *pci, uint64_t offset, unsigned width)
{
    uint64_t last = offset + width - 1;

    return (is_in(offset, PCI_COMMON_OFFSET, PCI_COMMON_LEN) &&
            is_in(last, PCI_COMMON_OFFSET, PCI_COMMON_LEN)) ||
           (is_in(offset, PCI_ISR_OFFSET, PCI_ISR_LEN) &&
            is_in(last, PCI_ISR_OFFSET, PCI_ISR_LEN)) ||
           (is_in(offset, PCI_DEVICE_OFFSET, PCI_DEVICE_LEN) &&
            is_in(last, PCI_DEVICE_OFFSET, PCI_DEVICE_LEN)) ||
           (is_in(offset, PCI_NOTIFY_OFFSET, notify_len(pci)) &&
            is_in(last, PCI_NOTIFY_OFFSET, notify_len(pci)));
}

uint64_t pci_bar_get(struct pci *pci, uint64_t offset, unsigned width)
{
    if (!width_is_possible(width) || offset >= PCI_BAR_LEN)
        return 0;
    if (is_in(offset, PCI_COMMON_OFFSET, PCI_COMMON_LEN))
        return pci_common_read(pci, (unsigned)offset - PCI_COMMON_OFFSET, width);
    if (is_in(offset, PCI_ISR_OFFSET, PCI_ISR_LEN))
        return isr_take(pci);
    if (is_in(offset, PCI_DEVICE_OFFSET, PCI_DEVICE_LEN))
        return registers_read_config(&pci->registers, offset - PCI_DEVICE_OFFSET, width);
    if (offset >= PCI_TABLE_OFFSET)
        return msix_read_table(&pci->msix, offset - PCI_TABLE_OFFSET, width);
    if (offset >= PCI_PENDING_OFFSET)
        return msix_read_pending(&pci->msix, offset - PCI_PENDING_OFFSET, width);
    return 0;
}

/* PCI-07: the driver says twice which queue it means; what it writes counts, if there is such a
 * queue. */
static void notify(struct pci *pci, uint64_t offset, unsigned width, uint64_t value)
{
    uint32_t word = (uint32_t)value;

    if (width == 1 || (word & UINT16_MAX) >= pci->registers.queue_count)
        word = (uint32_t)(offset / PCI_NOTIFY_MULTIPLIER);
    registers_notify(&pci->registers, word);
}

static void table_write(struct pci *pci, uint64_t offset, unsigned width, uint64_t value)
{
    unsigned vector = (unsigned)(offset / MSIX_ENTRY_LEN);

    hold_vector(pci, vector);
    msix_write_table(&pci->msix, offset, width, value);
    release_vector(pci, vector);
}

void pci_bar_put(struct pci *pci, uint64_t offset, unsigned width, uint64_t value)
{
    if (!width_is_possible(width) || offset >= PCI_BAR_LEN)
        return;
    if (is_in(offset, PCI_COMMON_OFFSET, PCI_COMMON_LEN))
        pci_common_write(pci, (unsigned)offset - PCI_COMMON_OFFSET, width, value);
    else if (is_in(offset, PCI_NOTIFY_OFFSET, notify_len(pci)))
        notify(pci, offset - PCI_NOTIFY_OFFSET, width, value);
    else if (offset >= PCI_TABLE_OFFSET)
        table_write(pci, offset - PCI_TABLE_OFFSET, width, value);
}

uint64_t pci_read_bar(struct pci *pci, uint64_t offset, unsigned width)
{
    if (pci_config_memory_enabled(pci))
        return pci_bar_get(pci, offset, width);
    return width >= 8 ? UINT64_MAX : (1ull << (8 * width)) - 1;
}

void pci_write_bar(struct pci *pci, uint64_t offset, unsigned width, uint64_t value)
{
    if (pci_config_memory_enabled(pci))
        pci_bar_put(pci, offset, width, value);
}

/* ---- kicks and inspect ------------------------------------------------------------------------
 */

unsigned pci_queue_count(const struct pci *pci)
{
    return pci->registers.queue_count;
}

int pci_kick_fd(const struct pci *pci, unsigned queue)
{
    return registers_kick_fd(&pci->registers, queue);
}

void pci_inspect(struct pci *pci, struct inspect *visitor)
{
    uint64_t address;
    int mapped = pci_bar_address(pci, &address);

    inspect_text(visitor, "transport", "pci");
    inspect_flag(visitor, "bar_mapped", mapped);
    if (mapped)
        inspect_hex(visitor, "bar_address", address);
    inspect_hex(visitor, "isr", atomic_load(&pci->isr));
    inspect_number(visitor, "msix_vectors", pci->msix.vectors);
    inspect_flag(visitor, "msix_enabled", (pci->msix.state & MSIX_ENABLED) != 0);
    inspect_flag(visitor, "msix_masked", (pci->msix.state & MSIX_MASKED) != 0);
    inspect_hex(visitor, "config_vector", pci->config_vector);
    registers_inspect(&pci->registers, visitor);
}
