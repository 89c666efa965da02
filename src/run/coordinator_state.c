/* SPDX-License-Identifier: MIT */
/* Saved state of a card: the device model and the statistics of its pairs. */
#include <string.h>

#include "nic/saved_state.h"
#include "run/coordinator_parts.h"

void coordinator_save_stats(struct coordinator *coordinator, struct records_writer *writer)
{
    unsigned pairs = coordinator->nic.config.queue_pairs;

    records_open(writer, SAVED_STATISTICS, RECORD_OPTIONAL);
    records_put_u16(writer, (uint16_t)pairs);
    for (unsigned i = 0; i < pairs; i++)
        saved_stats_write(writer, &coordinator->pairs[i].pair.stats);
    records_close(writer);
}

void coordinator_save(struct coordinator *coordinator, struct records_writer *writer)
{
    saved_nic_write(writer, &coordinator->nic);
    coordinator_save_stats(coordinator, writer);
}

static void stats_read(struct coordinator *coordinator, struct record_reader reader)
{
    unsigned pairs = record_take_u16(&reader);

    for (unsigned i = 0; i < pairs && i < coordinator->nic.config.queue_pairs; i++)
        saved_stats_read(&reader, &coordinator->pairs[i].pair.stats);
}

/* The same walk over statistics that nobody looks at. */
static int stats_check(const struct coordinator *coordinator, struct record_reader reader)
{
    struct pair_stats ignored = {0};
    unsigned pairs = record_take_u16(&reader);

    for (unsigned i = 0; i < pairs && !reader.failed; i++)
        saved_stats_read(&reader, &ignored);
    return pairs == coordinator->nic.config.queue_pairs && record_is_done(&reader);
}

int coordinator_restore(struct coordinator *coordinator, const struct nic *next,
                        const struct records *records, struct error *err)
{
    struct record_reader stats;
    int has_stats = records_find(records, SAVED_STATISTICS, &stats);

    if (has_stats && !stats_check(coordinator, stats))
        return saved_refuse(SAVED_STATISTICS, "malformed", err);
    coordinator_pause_all(coordinator);
    coordinator->nic = *next;
    if (has_stats)
        stats_read(coordinator, stats);
    coordinator_resume_all(coordinator);
    coordinator_update_all(coordinator);
    return 0;
}

void coordinator_restored(struct coordinator *coordinator, const struct nic *next)
{
    memcpy(coordinator->nic.coalesce, next->coalesce, sizeof(next->coalesce));
    coordinator_update_link(coordinator);
}

void coordinator_restore_queue(struct coordinator *coordinator, unsigned queue,
                               const struct nic *next)
{
    if (queue >= 2 * coordinator->nic.config.queue_pairs)
        return;
    coordinator->nic.coalesce[queue] = next->coalesce[queue];
    coordinator_hold_queue(coordinator, queue);
    coordinator_update_pair(coordinator, queue / 2);
    coordinator_release_queue(coordinator, queue);
}
