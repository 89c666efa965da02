/* SPDX-License-Identifier: MIT */
#include "api/handover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/vionic_parts.h"
#include "nic/saved_state.h"

struct vionic_nic *handover_next(const struct vionic *vionic, const struct vionic_nic *nic)
{
    return nic == NULL ? vionic->nics : nic->next;
}

void handover_hold(struct vionic *vionic)
{
    if (!vionic->held)
        worker_pool_hold(vionic->pool);
    vionic->held = 1;
}

void handover_release(struct vionic *vionic)
{
    if (vionic->held) {
        switches_keep_uplinks(vionic);
        worker_pool_release(vionic->pool);
    }
    vionic->held = 0;
}

int handover_give(struct vionic_nic *nic, struct handover_card *ret_card, struct error *err)
{
    struct records_writer writer;
    int result;

    *ret_card = (struct handover_card){0};
    if (nic->vhost_user == NULL)
        return error_set(err, EOPNOTSUPP, "%s: its registers are in this process",
                         vionic_nic_name(nic));
    records_begin_long(&writer);
    coordinator_give(nic->coordinator, &writer, &ret_card->fds);
    vhost_user_give(nic->vhost_user, &writer, &ret_card->fds);
    result = records_end(&writer, &ret_card->block, &ret_card->len);
    ret_card->name = strdup(vionic_nic_name(nic));
    if (result == 0 && !ret_card->fds.failed && ret_card->name != NULL)
        return 0;
    handover_free_given(ret_card);
    if (result == -EFBIG)
        return error_set(err, EFBIG, "%s: what goes along with it is more than %d MiB",
                         vionic_nic_name(nic), RECORDS_LONG_LEN_MAX >> 20);
    return error_set(err, ENOMEM, "out of memory");
}

void handover_free_given(struct handover_card *card)
{
    free(card->name);
    free(card->block);
    fd_list_free(&card->fds);
    *card = (struct handover_card){0};
}

/* A card that no front-end is connected to becomes whatever the config says; where that is what it
 * was, it goes on counting and keeps what the operator has set. A driver whose front-end was left
 * behind begins anew. */
static void take_idle(struct vionic_nic *nic, const struct records *records)
{
    struct nic *next = malloc(sizeof(*next));

    if (next != NULL && coordinator_take(nic->coordinator, records, next, NULL) == 0)
        coordinator_reset(nic->coordinator);
    free(next);
}

int handover_take_session(struct vionic_nic *nic, const struct vionic_nic_config *config,
                          const struct coordinator_inheritance *from, struct error *err)
{
    int result;

    if (!vhost_user_was_connected(from->records)) {
        take_idle(nic, from->records);
        return nic_open_socket(nic, config, from, err);
    }
    nic->taken = malloc(sizeof(*nic->taken));
    if (nic->taken == NULL)
        return error_set(err, ENOMEM, "out of memory");
    result = coordinator_take(nic->coordinator, from->records, nic->taken, err);
    if (result == 0)
        result = nic_open_socket(nic, config, from, err);
    if (result < 0)
        return result;
    if (vhost_user_is_connected(nic->vhost_user))
        return coordinator_take_progress(nic->coordinator, from->records, nic->taken, err);
    free(nic->taken); /* its front-end was left behind, and the session reset the card */
    nic->taken = NULL;
    return 0;
}

int handover_take(struct vionic *vionic, const struct vionic_nic_config *config,
                  struct handover_card *card, struct error *err)
{
    struct records *records = malloc(sizeof(*records));
    struct vionic_nic *nic;
    int result;

    if (records == NULL)
        return error_set(err, ENOMEM, "out of memory");
    result = records_parse_long(records, card->block, card->len, SAVED_HANDOVER_TAGS_KNOWN, err);
    if (result == 0)
        result = nic_add(vionic, config, &(struct coordinator_inheritance){records, &card->fds},
                         &nic, err);
    free(records);
    return result;
}

void handover_keep(struct vionic_nic *nic)
{
    if (nic->vhost_user == NULL)
        return; /* nothing of it was given */
    vhost_user_keep(nic->vhost_user);
    coordinator_keep(nic->coordinator);
    if (nic->taken != NULL)
        coordinator_restored(nic->coordinator, nic->taken);
    free(nic->taken);
    nic->taken = NULL;
}
