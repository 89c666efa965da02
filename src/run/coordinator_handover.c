/* SPDX-License-Identifier: MIT */
/*
 * Upgrade in place: what a card gives to the process that goes on with it, and how it begins there.
 * All workers of the pool stand still (worker_pool_hold) from before give until keep or close, and
 * from before take until keep.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint/catalog.h"
#include "nic/saved_state.h"
#include "run/coordinator_parts.h"

enum {
    SETTLE_ROUNDS = 16, /* turns of all pairs while frames are on their way between them */
    KIND_LEN_MAX = 32,
    COUNTERS_OF_A_QUEUE = 6,
};

/* ---- giving ------------------------------------------------------------------------------- */

NEEDS_DATA static unsigned inboxes_filled(struct coordinator *coordinator)
{
    unsigned filled = 0;

    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        struct pair *pair = &coordinator->pairs[i].pair;

        filled += pair->inbox != NULL && inbox_count(pair->inbox) != 0;
    }
    return filled;
}

/* Frames that RSS sent to another pair are in memory of this process: they go to the guest. */
NEEDS_DATA static void inboxes_drain(struct coordinator *coordinator)
{
    for (unsigned round = 0; round < SETTLE_ROUNDS && inboxes_filled(coordinator) != 0; round++) {
        for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
            struct worker_pair *worker_pair = &coordinator->pairs[i];

            pair_turn(&worker_pair->pair, worker_scratch(worker_pair->worker),
                      worker_pair->pair.rx.size);
        }
    }
}

NEEDS_DATA static void pairs_settle(struct coordinator *coordinator)
{
    inboxes_drain(coordinator);
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        struct worker_pair *worker_pair = &coordinator->pairs[i];

        if (worker_pair->pair.ops != NULL && worker_pair->pair.ops->quiesce != NULL)
            coordinator_disconnect_pair(worker_pair);
        virtqueue_settle(&worker_pair->pair.rx);
        virtqueue_settle(&worker_pair->pair.tx);
    }
    virtqueue_settle(&coordinator->control.queue);
}

static void queue_write(const struct virtqueue *queue, struct records_writer *writer)
{
    records_put_u8(writer, queue->running ? queue->fault : 0);
    records_put_u64(writer, counter_get(&queue->interrupts));
    records_put_u64(writer, counter_get(&queue->interrupts_suppressed));
    records_put_u64(writer, counter_get(&queue->kicks));
}

/* How far the pairs are with frames that go in segments, and what their rings counted. */
NEEDS_DATA static void progress_write(struct coordinator *coordinator,
                                      struct records_writer *writer)
{
    unsigned pairs = coordinator->nic.config.queue_pairs;

    records_open(writer, SAVED_PROGRESS, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)pairs);
    for (unsigned i = 0; i < pairs; i++) {
        const struct pair *pair = &coordinator->pairs[i].pair;

        records_put_u16(writer, pair->tx_resume);
        records_put_u16(writer, pair->endpoint_rx.resume);
        records_put_u32(writer, pair->inbox != NULL ? inbox_count(pair->inbox) : 0);
        queue_write(&pair->rx, writer);
        queue_write(&pair->tx, writer);
    }
    queue_write(&coordinator->control.queue, writer);
    records_close(writer);
}

/* Whatever is agreed on: the control queue is behind all pairs. */
NEEDS_DATA static struct virtqueue *counting_queue(struct coordinator *coordinator, unsigned index)
{
    if (index == 2 * coordinator->nic.config.queue_pairs)
        return &coordinator->control.queue;
    return index % 2 == 0 ? &coordinator->pairs[index / 2].pair.rx
                          : &coordinator->pairs[index / 2].pair.tx;
}

/* What a queue has counted in all its lives, in the order of the record. */
NEEDS_DATA static counter *queue_counter(struct virtqueue *queue, unsigned index)
{
    counter *const all[COUNTERS_OF_A_QUEUE] = {
        &queue->interrupts, &queue->interrupts_suppressed, &queue->kicks,
        &queue->taken_up,   &queue->completed_late,        &queue->records_refused,
    };

    return all[index];
}

NEEDS_DATA static void counters_write(struct coordinator *coordinator,
                                      struct records_writer *writer)
{
    unsigned queues = 2 * coordinator->nic.config.queue_pairs + 1;

    records_open(writer, SAVED_COUNTERS, RECORD_OPTIONAL);
    records_put_u16(writer, (uint16_t)queues);
    for (unsigned i = 0; i < queues; i++) {
        struct virtqueue *queue = counting_queue(coordinator, i);

        for (unsigned j = 0; j < COUNTERS_OF_A_QUEUE; j++)
            records_put_u64(writer, counter_get(queue_counter(queue, j)));
    }
    records_close(writer);
}

static void endpoint_write(struct coordinator *coordinator, struct records_writer *writer,
                           struct fd_list *fds)
{
    struct endpoint *endpoint = coordinator->endpoint;
    struct records_writer inner;
    uint8_t kind_len;
    uint8_t *block;
    size_t len;
    int result;

    if (endpoint == NULL || endpoint->ops->give == NULL)
        return;
    records_begin_long(&inner);
    endpoint->ops->give(endpoint, &inner, fds);
    result = records_end(&inner, &block, &len);
    if (result < 0) {
        writer->failed |= result == -ENOMEM;
        writer->too_long |= result == -EFBIG;
        return;
    }
    kind_len = (uint8_t)strnlen(endpoint->ops->kind, KIND_LEN_MAX);
    records_open(writer, SAVED_ENDPOINT, RECORD_OPTIONAL);
    records_put_u8(writer, kind_len);
    records_put_bytes(writer, endpoint->ops->kind, kind_len);
    records_put_bytes(writer, block, len);
    records_close(writer);
    free(block);
}

/* What the operator and the endpoint have begun. */
static void card_write(const struct coordinator *coordinator, struct records_writer *writer)
{
    records_open(writer, SAVED_CARD, RECORD_OPTIONAL);
    records_put_u8(writer, coordinator->follows_mtu);
    records_put_u8(writer, coordinator->follows_speed);
    records_put_u8(writer, coordinator->announce_due);
    records_put_u8(writer, coordinator->nic.link_blip != 0);
    records_put_u32(writer, coordinator->next_speed_mbps);
    records_put_u8(writer, (uint8_t)coordinator->next_duplex);
    records_close(writer);
}

void coordinator_give(struct coordinator *coordinator, struct records_writer *writer,
                      struct fd_list *fds) ROLE_UNCHECKED
{
    coordinator_pause_all(coordinator);
    pairs_settle(coordinator);
    coordinator->given = 1;
    coordinator_save(coordinator, writer);
    card_write(coordinator, writer);
    progress_write(coordinator, writer);
    counters_write(coordinator, writer);
    endpoint_write(coordinator, writer, fds);
    coordinator_resume_all(coordinator);
}

void coordinator_keep(struct coordinator *coordinator)
{
    struct endpoint *endpoint = coordinator->endpoint;

    coordinator->given = 0;
    if (endpoint != NULL && endpoint->ops->keep != NULL)
        endpoint->ops->keep(endpoint);
    coordinator_update_all(coordinator);
}

/* ---- taking ------------------------------------------------------------------------------- */

int coordinator_inherit_endpoint(struct coordinator *coordinator, struct endpoint **ret_endpoint,
                                 struct error *err)
{
    const struct coordinator_inheritance *from = coordinator->inherited;
    char kind[KIND_LEN_MAX + 1] = {0};
    struct record_reader reader;
    size_t len;

    if (from == NULL || !records_find(from->records, SAVED_ENDPOINT, &reader))
        return -ENOENT;
    len = record_take_u8(&reader);
    if (len > KIND_LEN_MAX)
        return saved_refuse(SAVED_ENDPOINT, "malformed", err);
    record_take_bytes(&reader, kind, len);
    if (reader.failed)
        return saved_refuse(SAVED_ENDPOINT, "malformed", err);
    if (strcmp(kind, coordinator->spec.kind) != 0)
        return -ENOENT;
    return endpoint_take(&coordinator->spec,
                         &(struct endpoint_gift){reader.at, reader.left, from->fds}, ret_endpoint,
                         err);
}

/* The address is config space's, whatever was agreed; the rest is checked where it is read. */
static int address_check(const struct nic *now, const struct nic *next, struct error *err)
{
    const uint8_t *had = next->config.mac, *wanted = now->config.mac;

    if (memcmp(had, wanted, 6) == 0)
        return 0;
    return error_set(
        err, EINVAL,
        "the guest knows it as %02x:%02x:%02x:%02x:%02x:%02x and the new configuration "
        "says mac=%02x:%02x:%02x:%02x:%02x:%02x; write the one that it has, or shut "
        "the guest down first",
        had[0], had[1], had[2], had[3], had[4], had[5], wanted[0], wanted[1], wanted[2], wanted[3],
        wanted[4], wanted[5]);
}

/* The link that was down for a new speed is down to the driver still, and comes up with it. */
static int card_read(struct coordinator *coordinator, const struct records *records,
                     struct error *err)
{
    struct record_reader reader;
    unsigned follows_mtu, follows_speed, blip, duplex;
    uint32_t speed_mbps;

    if (!records_find(records, SAVED_CARD, &reader))
        return 0;
    follows_mtu = record_take_u8(&reader);
    follows_speed = record_take_u8(&reader);
    coordinator->announce_due |= record_take_u8(&reader) != 0;
    blip = record_take_u8(&reader);
    speed_mbps = record_take_u32(&reader);
    duplex = record_take_u8(&reader);
    if (!record_is_done(&reader) || (blip != 0 && duplex > NIC_DUPLEX_FULL))
        return saved_refuse(SAVED_CARD, "malformed", err);
    coordinator->follows_mtu &= follows_mtu != 0;
    coordinator->follows_speed &= follows_speed != 0;
    if (blip)
        nic_set_speed(&coordinator->nic, speed_mbps, (enum nic_duplex)duplex);
    return 0;
}

/* Older builds write none. */
static void counters_read(struct coordinator *coordinator,
                          const struct records *records) ROLE_UNCHECKED
{
    unsigned queues = 2 * coordinator->nic.config.queue_pairs + 1;
    struct record_reader reader;

    if (!records_find(records, SAVED_COUNTERS, &reader) || record_take_u16(&reader) != queues ||
        reader.left != queues * COUNTERS_OF_A_QUEUE * sizeof(uint64_t))
        return;
    coordinator_pause_all(coordinator);
    for (unsigned i = 0; i < queues * COUNTERS_OF_A_QUEUE; i++)
        counter_set(queue_counter(counting_queue(coordinator, i / COUNTERS_OF_A_QUEUE),
                                  i % COUNTERS_OF_A_QUEUE),
                    record_take_u64(&reader));
    coordinator_resume_all(coordinator);
}

int coordinator_take(struct coordinator *coordinator, const struct records *records,
                     struct nic *ret_next, struct error *err)
{
    int result = saved_nic_read(records, &coordinator->nic, ret_next, err);

    if (result == 0)
        result = address_check(&coordinator->nic, ret_next, err);
    if (result == 0)
        result = coordinator_restore(coordinator, ret_next, records, err);
    if (result == 0)
        result = card_read(coordinator, records, err);
    if (result == 0)
        counters_read(coordinator, records);
    return result;
}

NEEDS_DATA static void queue_read(struct virtqueue *queue, struct record_reader *reader)
{
    unsigned fault = record_take_u8(reader);

    if (queue->running && fault < QUEUE_FAULT_COUNT)
        virtqueue_latch(queue, (enum queue_fault)fault);
    counter_set(&queue->interrupts, record_take_u64(reader));
    counter_set(&queue->interrupts_suppressed, record_take_u64(reader));
    counter_set(&queue->kicks, record_take_u64(reader));
}

/* What is broken stays so, and was told already. */
NEEDS_DATA static void faults_note(struct worker_pair *worker_pair)
{
    const struct pair *pair = &worker_pair->pair;

    worker_pair->faults_raised = (pair->rx.fault != QUEUE_FAULT_NONE ? WORKER_FAULT_RX : 0) |
                                 (pair->tx.fault != QUEUE_FAULT_NONE ? WORKER_FAULT_TX : 0);
    worker_pair->faults_told = worker_pair->faults_raised;
}

NEEDS_DATA static void progress_read(struct coordinator *coordinator, struct record_reader *reader)
{
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        struct pair *pair = &coordinator->pairs[i].pair;

        pair->tx_resume = record_take_u16(reader);
        pair->endpoint_rx.resume = record_take_u16(reader);
        counter_add(&pair->stats.rx_drop[PAIR_RX_DROP_STEERED], record_take_u32(reader));
        queue_read(&pair->rx, reader);
        queue_read(&pair->tx, reader);
        faults_note(&coordinator->pairs[i]);
    }
    queue_read(&coordinator->control.queue, reader);
}

int coordinator_take_progress(struct coordinator *coordinator, const struct records *records,
                              const struct nic *next, struct error *err) ROLE_UNCHECKED
{
    struct record_reader reader;
    int result = saved_record(records, SAVED_PROGRESS, &reader, err);

    if (result < 0)
        return result;
    if (record_take_u16(&reader) != coordinator->nic.config.queue_pairs)
        return saved_refuse(SAVED_PROGRESS, "not of as many pairs as this card has", err);
    coordinator_pause_all(coordinator);
    progress_read(coordinator, &reader);
    /* The start of a queue forgot it. */
    memcpy(coordinator->nic.coalesce, next->coalesce, sizeof(next->coalesce));
    coordinator_resume_all(coordinator);
    if (!record_is_done(&reader))
        return saved_refuse(SAVED_PROGRESS, "malformed", err);
    counters_read(coordinator, records); /* that the rings started here counts for nothing */
    return 0;
}

uint32_t coordinator_queue_base(struct coordinator *coordinator, unsigned queue) ROLE_UNCHECKED
{
    uint32_t base;

    coordinator_hold_queue(coordinator, queue);
    base = virtqueue_settle(coordinator_queue(coordinator, queue));
    coordinator_release_queue(coordinator, queue);
    return base;
}
