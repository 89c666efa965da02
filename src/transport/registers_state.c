/* SPDX-License-Identifier: MIT */
#include "transport/registers_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "nic/saved_state.h"

/* ---- save --------------------------------------------------------------------------------- */

static void registers_write(const struct registers *registers, struct records_writer *writer)
{
    records_open(writer, SAVED_REGISTERS, RECORD_MANDATORY);
    records_put_u64(writer, registers->accepted.word[0]);
    records_put_u64(writer, registers->accepted.word[1]);
    records_put_u32(writer, registers->device_feature_select);
    records_put_u32(writer, registers->driver_feature_select);
    records_put_u32(writer, registers->queue_select);
    records_put_bytes(writer, registers->frozen, sizeof(registers->frozen));
    records_close(writer);
}

static void queue_write(const struct registers_queue *queue, struct records_writer *writer)
{
    records_put_u16(writer, queue->size);
    records_put_u8(writer, queue->ready);
    records_put_u8(writer, queue->begun);
    records_put_u64(writer, queue->desc);
    records_put_u64(writer, queue->driver);
    records_put_u64(writer, queue->device);
    records_put_u32(writer, queue->base);
}

int registers_save(struct registers *registers, struct records_writer *writer)
{
    enum registers_bus bus = registers->bus;
    struct nic *now = malloc(sizeof(*now));

    if (now == NULL)
        return -ENOMEM;
    registers_set_bus(registers, REGISTERS_BUS_OFF);
    *now = *coordinator_nic(registers->coordinator);
    coordinator_save(registers->coordinator, writer);
    registers_write(registers, writer);
    records_open(writer, SAVED_QUEUES, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)registers->queue_count);
    for (unsigned i = 0; i < registers->queue_count; i++)
        queue_write(&registers->queue[i], writer);
    records_close(writer);
    registers_set_bus(registers, bus);
    coordinator_restored(registers->coordinator, now);
    free(now);
    return 0;
}

/* ---- restore ------------------------------------------------------------------------------ */

static int registers_read(struct registers *registers, const struct records *records,
                          const struct nic *next, struct error *err)
{
    static const struct features none;
    struct record_reader reader;
    int result = saved_record(records, SAVED_REGISTERS, &reader, err);

    if (result < 0)
        return result;
    registers->accepted.word[0] = record_take_u64(&reader);
    registers->accepted.word[1] = record_take_u64(&reader);
    registers->device_feature_select = record_take_u32(&reader);
    registers->driver_feature_select = record_take_u32(&reader);
    registers->queue_select = record_take_u32(&reader);
    record_take_bytes(&reader, registers->frozen, sizeof(registers->frozen));
    if (!record_is_done(&reader))
        return saved_refuse(SAVED_REGISTERS, "malformed", err);
    if (!(next->status & NIC_STATUS_FEATURES_OK))
        return next->status == 0 || features_equal(&next->agreed, &none)
                   ? 0
                   : saved_refuse(SAVED_AGREEMENT, "features before they were agreed on", err);
    if (!features_equal(&registers->accepted, &next->agreed) ||
        !features_has(&next->agreed, F_VERSION_1))
        return saved_refuse(SAVED_REGISTERS, "not the features that were agreed on", err);
    return 0;
}

static void queue_read(struct registers_queue *queue, struct record_reader *reader)
{
    queue->size = record_take_u16(reader);
    queue->ready = record_take_u8(reader);
    queue->begun = record_take_u8(reader);
    queue->desc = record_take_u64(reader);
    queue->driver = record_take_u64(reader);
    queue->device = record_take_u64(reader);
    queue->base = record_take_u32(reader);
}

static int base_check(const struct registers_queue *queue, const struct nic *next)
{
    uint32_t avail = queue->base & 0x7fff, used = queue->base >> 16 & 0x7fff;

    if (!queue->ready || !queue->begun)
        return 1;
    if (!features_has(&next->agreed, F_RING_PACKED))
        return queue->base <= UINT16_MAX;
    return avail < queue->size && used < queue->size;
}

static int queues_read(struct registers *registers, const struct records *records,
                       const struct nic *next, struct error *err)
{
    struct record_reader reader;
    int result = saved_record(records, SAVED_QUEUES, &reader, err);

    if (result < 0)
        return result;
    if (record_take_u16(&reader) != registers->queue_count)
        return saved_refuse(SAVED_QUEUES, "not as many as this card has", err);
    for (unsigned i = 0; i < registers->queue_count; i++) {
        struct registers_queue *queue = &registers->queue[i];

        queue_read(queue, &reader);
        if (queue->ready > 1 || queue->begun > 1 || !base_check(queue, next))
            return saved_refuse(SAVED_QUEUES, "malformed", err);
    }
    return record_is_done(&reader) ? 0 : saved_refuse(SAVED_QUEUES, "malformed", err);
}

/* Of a device that needs a reset a ring may be wrong: it stays as broken as it was. */
static int rings_check(struct registers *registers, const struct nic *next, struct error *err)
{
    for (unsigned i = 0; i < registers->queue_count; i++) {
        struct registers_queue *queue = &registers->queue[i];
        const struct virtqueue_config config = {.size = queue->size,
                                                .desc_gpa = queue->desc,
                                                .driver_gpa = queue->driver,
                                                .device_gpa = queue->device};

        if (!queue->ready || coordinator_check_queue(registers->coordinator, i, &config, err) == 0)
            continue;
        if (!(next->status & NIC_STATUS_NEEDS_RESET)) {
            error_prefix(err, "saved state: queue %u", i);
            return -EINVAL;
        }
        queue->ready = 0;
    }
    return 0;
}

static int all_read(struct registers *registers, const struct records *records, struct nic *next,
                    struct error *err)
{
    int result = saved_nic_read(records, coordinator_nic(registers->coordinator), next, err);

    if (result == 0)
        result = registers_read(registers, records, next, err);
    if (result == 0)
        result = queues_read(registers, records, next, err);
    if (result == 0)
        result = coordinator_restore(registers->coordinator, next, records, err);
    if (result == 0)
        result = rings_check(registers, next, err);
    return result;
}

int registers_restore_begin(struct registers *registers, const struct records *records,
                            struct registers_restore *ret_restore, struct error *err)
{
    enum registers_bus bus = registers->bus;
    int result;

    ret_restore->next = NULL;
    if (registers_status(registers) != 0)
        return error_set(err, EBUSY, "a driver is at work behind the card; reset the card first");
    ret_restore->next = malloc(sizeof(*ret_restore->next));
    if (ret_restore->next == NULL)
        return error_set(err, ENOMEM, "out of memory");
    registers_set_bus(registers, REGISTERS_BUS_OFF);
    result = all_read(registers, records, ret_restore->next, err);
    if (result == 0)
        return 0;
    free(ret_restore->next);
    ret_restore->next = NULL;
    registers_reset(registers);
    registers_set_bus(registers, bus);
    return result;
}

int registers_restore_end(struct registers *registers, struct registers_restore *restore,
                          enum registers_bus bus, struct error *err)
{
    struct nic *nic = coordinator_nic(registers->coordinator);
    int result = 0;

    registers_set_bus(registers, bus);
    if (nic->status & ~restore->next->status & NIC_STATUS_NEEDS_RESET) {
        registers_reset(registers);
        result = error_set(err, EINVAL, "saved state: a queue can't go on where it stood");
    } else {
        coordinator_restored(registers->coordinator, restore->next);
    }
    free(restore->next);
    restore->next = NULL;
    return result;
}
