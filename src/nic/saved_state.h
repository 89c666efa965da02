/* SPDX-License-Identifier: MIT */
/*
 * The device model and the statistics as records (base/records.h): what a guest would miss if its
 * card were replaced by a new one. Endpoints keep their state to themselves; ring positions are the
 * transport's.
 */
#pragma once

#include "base/records.h"
#include "nic/nic.h"

/* All tags of saved state, whatever layer writes them. Numbers are never used again. */
enum saved_tag {
    SAVED_AGREEMENT = 1,
    SAVED_IDENTITY = 2,
    SAVED_COMMANDS = 3,
    SAVED_FILTER = 4,
    SAVED_STEERING = 5,
    SAVED_COALESCING = 6,
    SAVED_STATISTICS = 7,

    SAVED_REGISTERS = 16,
    SAVED_QUEUES = 17,
    SAVED_MMIO = 18,
    SAVED_PCI = 19,

    /* Of a card that goes on in another process (api/handover.h). */
    SAVED_ENDPOINT = 32,
    SAVED_PROGRESS = 33,
    SAVED_SESSION = 34,
    SAVED_MESSAGE = 35,
    SAVED_MEMORY = 36,
    SAVED_RINGS = 37,
    SAVED_LOG = 38,
    SAVED_ARRIVAL = 39,
    SAVED_INFLIGHT = 40,
    SAVED_CARD = 41,
    SAVED_CHANNEL = 42,
    SAVED_TRANSFER = 43,
    SAVED_LEFT = 44,
    SAVED_LOADED = 45,
    SAVED_PARTING = 46,
    SAVED_IOMMU = 47,
    SAVED_COUNTERS = 48,
    SAVED_SHARE = 49,
    SAVED_AREAS = 50,
    SAVED_TAG_LAST = SAVED_AREAS,
};

/* Of these, what the device model and the pairs write: all there is without registers. */
#define SAVED_TAGS_OF_NIC                                                                          \
    (1ull << SAVED_AGREEMENT | 1ull << SAVED_IDENTITY | 1ull << SAVED_COMMANDS |                   \
     1ull << SAVED_FILTER | 1ull << SAVED_STEERING | 1ull << SAVED_COALESCING |                    \
     1ull << SAVED_STATISTICS)
#define SAVED_TAGS_KNOWN                                                                           \
    (SAVED_TAGS_OF_NIC | 1ull << SAVED_REGISTERS | 1ull << SAVED_QUEUES | 1ull << SAVED_MMIO |     \
     1ull << SAVED_PCI)

#define SAVED_HANDOVER_TAGS_KNOWN                                                                  \
    (SAVED_TAGS_KNOWN | 1ull << SAVED_ENDPOINT | 1ull << SAVED_PROGRESS | 1ull << SAVED_SESSION |  \
     1ull << SAVED_MESSAGE | 1ull << SAVED_MEMORY | 1ull << SAVED_RINGS | 1ull << SAVED_LOG |      \
     1ull << SAVED_ARRIVAL | 1ull << SAVED_INFLIGHT | 1ull << SAVED_CARD | 1ull << SAVED_CHANNEL | \
     1ull << SAVED_TRANSFER | 1ull << SAVED_LEFT | 1ull << SAVED_LOADED | 1ull << SAVED_PARTING |  \
     1ull << SAVED_IOMMU | 1ull << SAVED_COUNTERS | 1ull << SAVED_SHARE | 1ull << SAVED_AREAS)

void saved_nic_write(struct records_writer *writer, const struct nic *nic);
/* *ret_next: the NIC as it would be. -EINVAL and a sentence if `nic` can't become that; nothing has
 * changed in either case. */
int saved_nic_read(const struct records *records, const struct nic *nic, struct nic *ret_next,
                   struct error *err);

/* Statistics of a pair are a list of counters that only grows at its end. */
void saved_stats_write(struct records_writer *writer, const struct pair_stats *stats);
/* Nobody else writes them meanwhile. */
void saved_stats_read(struct record_reader *reader, struct pair_stats *stats);

/* -EINVAL and a sentence: a record that has to be there is not, or is not what it should be. */
int saved_record(const struct records *records, enum saved_tag tag,
                 struct record_reader *ret_reader, struct error *err);
int saved_refuse(enum saved_tag tag, const char *what, struct error *err);
