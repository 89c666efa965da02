/* SPDX-License-Identifier: MIT */
/* Saved state of virtio-pci: what the driver wrote into config space and table, and what is
 * pending. */
#include <endian.h>
#include <string.h>

#include "nic/saved_state.h"
#include "transport/pci_parts.h"
#include "transport/registers_state.h"

enum {
    COMMAND = 0x04,
    HEADER_REST = 0x08, /* behind command and status */
    PENDING_BITS = 64,
    ISR_ALL = 3,
};

static unsigned pending_words(const struct pci *pci)
{
    return (pci->msix.vectors + PENDING_BITS - 1) / PENDING_BITS;
}

int pci_save(struct pci *pci, struct records_writer *writer)
{
    int result = registers_save(&pci->registers, writer);

    records_open(writer, SAVED_PCI, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)pci->msix.vectors);
    for (unsigned i = 0; i < pci->registers.queue_count; i++)
        records_put_u16(writer, pci->vector[i]);
    records_put_u16(writer, pci->config_vector);
    records_put_u8(writer, (uint8_t)atomic_load(&pci->isr));
    records_put_bytes(writer, pci->config, sizeof(pci->config));
    for (unsigned i = 0; i < pci->msix.vectors; i++) {
        for (unsigned word = 0; word < MSIX_ENTRY_LEN / 4; word++)
            records_put_u32(writer, pci->msix.entry[i].word[word]);
    }
    for (unsigned i = 0; i < pending_words(pci); i++)
        records_put_u64(writer, atomic_load(&pci->msix.pending[i]));
    records_close(writer);
    return result;
}

/* Everything is walked before anything is taken. */
static int pci_check(const struct pci *pci, struct record_reader reader, struct error *err)
{
    size_t len = (pci->registers.queue_count + 1) * sizeof(uint16_t) + 1 + PCI_CONFIG_LEN +
                 (size_t)pci->msix.vectors * MSIX_ENTRY_LEN + pending_words(pci) * sizeof(uint64_t);

    if (record_take_u16(&reader) != pci->msix.vectors)
        return saved_refuse(SAVED_PCI, "not as many vectors as this card has", err);
    return reader.left == len ? 0 : saved_refuse(SAVED_PCI, "malformed", err);
}

static uint16_t vector_take(const struct pci *pci, struct record_reader *reader)
{
    uint16_t vector = record_take_u16(reader);

    return vector < pci->msix.vectors ? vector : PCI_NO_VECTOR;
}

/* Through the table's own write, which keeps reserved bits 0. */
static void table_read(struct pci *pci, struct record_reader *reader)
{
    uint64_t pending[PCI_VECTORS_MAX / PENDING_BITS];

    for (unsigned i = 0; i < pci->msix.vectors * (MSIX_ENTRY_LEN / 4); i++)
        msix_write_table(&pci->msix, 4ull * i, 4, record_take_u32(reader));
    for (unsigned i = 0; i < pending_words(pci); i++)
        pending[i] = record_take_u64(reader);
    if (pci->msix.vectors % PENDING_BITS != 0)
        pending[pending_words(pci) - 1] &= (1ull << (pci->msix.vectors % PENDING_BITS)) - 1;
    for (unsigned i = 0; i < pending_words(pci); i++)
        atomic_store(&pci->msix.pending[i], pending[i]);
}

/* As a driver would write it, so read-only bits stay; the command last: with it all begins. */
static void config_write(struct pci *pci, const uint8_t config[PCI_CONFIG_LEN])
{
    for (unsigned at = HEADER_REST; at < PCI_CONFIG_LEN; at += 4) {
        uint32_t value;

        memcpy(&value, &config[at], sizeof(value));
        if (pci_config_is_state(at))
            pci_write_config(pci, at, 4, le32toh(value));
    }
    pci_write_config(pci, COMMAND, 2, config[COMMAND] | (uint32_t)config[COMMAND + 1] << 8);
}

/* The queues stand still: no data thread is near. */
static void pci_read(struct pci *pci, struct record_reader reader)
{
    uint8_t config[PCI_CONFIG_LEN];

    record_take_u16(&reader);
    for (unsigned i = 0; i < pci->registers.queue_count; i++)
        pci->vector[i] = vector_take(pci, &reader);
    pci->config_vector = vector_take(pci, &reader);
    atomic_store(&pci->isr, record_take_u8(&reader) & ISR_ALL);
    record_take_bytes(&reader, config, sizeof(config));
    table_read(pci, &reader);
    config_write(pci, config);
}

int pci_restore(struct pci *pci, const struct records *records, struct error *err)
{
    struct registers_restore restore;
    struct record_reader reader;
    int result = saved_record(records, SAVED_PCI, &reader, err);

    if (result == 0)
        result = pci_check(pci, reader, err);
    if (result == 0)
        result = registers_restore_begin(&pci->registers, records, &restore, err);
    if (result < 0)
        return result;
    pci_config_reset(pci);
    pci_read(pci, reader);
    result = registers_restore_end(&pci->registers, &restore, pci->registers.bus, err);
    if (result < 0)
        pci_reset(pci);
    return result;
}
