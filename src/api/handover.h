/* SPDX-License-Identifier: MIT */
/*
 * Upgrade in place: the cards of one `struct vionic` go on in another process, with their sessions,
 * rings and endpoints. For the daemon, which owns the conversation between the two; knows of bytes
 * and file descriptors only.
 *
 *   the old process    hold ─> give (each card) ─> free, or keep (each card) ─> release
 *   the new process    hold ─> take (each card) ─> keep (each card) ─> release, or free
 *
 * Nothing is dispatched between hold and release. A card that was given, or was taken and not kept,
 * belongs to the other process: to remove or free it closes its files, and touches no ring, no
 * session and no socket's name.
 */
#pragma once

#include "base/error.h"
#include "base/fd_list.h"
#include "base/records.h"
#include "vionic.h"

/* What a card is made of. */
struct handover_card {
    char *name;     /* owned */
    uint8_t *block; /* owned: records */
    size_t len;
    struct fd_list fds; /* borrowed by who gives, owned by who takes */
};

/* The cards in turn: the one behind `nic`, the first one behind NULL, NULL behind the last. */
struct vionic_nic *handover_next(const struct vionic *vionic, const struct vionic_nic *nic);

/* The data plane stands still, within what is begun. */
void handover_hold(struct vionic *vionic);
void handover_release(struct vionic *vionic);

/* -ENOMEM, -EOPNOTSUPP: not a vhost-user card. In any case it has to be kept, or to go. */
int handover_give(struct vionic_nic *nic, struct handover_card *ret_card, struct error *err);
void handover_free_given(struct handover_card *card);

/* Like vionic_add_nic, of the card that the other process gave. -EINVAL and a sentence: the config
 * makes another one of it than its guest knows, or the card is none. */
int handover_take(struct vionic *vionic, const struct vionic_nic_config *config,
                  struct handover_card *card, struct error *err);

/* Uplinks of switches, before the cards: the name behind `name`, the first one behind NULL, NULL
 * behind the last. Those that any process can open are none of them. */
const char *handover_next_uplink(const struct vionic *vionic, const char *name);
/* All of them: how many, and each with its name in front. Kept by handover_release. */
void handover_give_uplinks(struct vionic *vionic, struct records_writer *writer,
                           struct fd_list *fds);
/* The uplink of a switch that was added without one, out of what give wrote (`given` is borrowed,
 * and read from its start); opened by the config where nothing of it is there. Kept as above. */
int handover_take_uplink(struct vionic *vionic, const struct vionic_switch_config *config,
                         const struct record_reader *given, struct fd_list *fds, struct error *err);

/* It is this process's, again or from now on. */
void handover_keep(struct vionic_nic *nic);
