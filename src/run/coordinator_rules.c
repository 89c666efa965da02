/* SPDX-License-Identifier: MIT */
/* What was agreed, and what the driver's commands asked for, as the pairs have to keep to it. */
#include "run/coordinator_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* ---- reception: filters, hash, steering ------------------------------------------------- */

/* Pairs that RSS may send frames to. */
static unsigned rss_pairs(const struct rss *rss)
{
    unsigned pairs = rss->unclassified + 1u;

    for (unsigned i = 0; i <= rss->mask; i++)
        pairs = MAX(pairs, rss->table[i] + 1u);
    return pairs;
}

/* Above these a pair is left alone; a front-end that keeps the control queue to itself enables and
 * disables queues instead. */
static unsigned pairs_in_use(const struct coordinator *coordinator)
{
    const struct nic *nic = &coordinator->nic;

    if (!coordinator->control.queue.running)
        return nic->config.queue_pairs;
    return nic->rx_rules.rss.active ? MAX(nic->active_pairs, rss_pairs(&nic->rx_rules.rss))
                                    : nic->active_pairs;
}

/* Filters hold only where the driver's commands reach us: QEMU, for one, answers them itself. */
static void rx_rules_copy(struct coordinator *coordinator)
{
    const struct nic *nic = &coordinator->nic;
    struct rx_rules *rules = &coordinator->rx_rules;
    int commanded = coordinator->control.queue.running;

    *rules = nic->rx_rules;
    rules->filter.by_address = commanded && features_has(&nic->agreed, NET_F_CTRL_RX);
    rules->filter.by_vlan = commanded && features_has(&nic->agreed, NET_F_CTRL_VLAN);
    rules->rss.active = rules->rss.active && coordinator->steer != NULL;
}

static int rx_rules_needed(const struct rx_rules *rules)
{
    return rules->filter.by_address || rules->filter.by_vlan || rules->rss.active ||
           rules->hash.types != 0;
}

/* Frames on their way to a pair when the steering ends. */
NEEDS_DATA static void steered_drop(struct pair *pair)
{
    struct inbox_view view;

    while (inbox_peek(pair->inbox, NULL, &view)) {
        counter_add(&pair->stats.rx_drop[PAIR_RX_DROP_STEERED], 1);
        inbox_drop(pair->inbox, &view);
    }
}

NEEDS_DATA static void inboxes_free(struct coordinator *coordinator)
{
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        struct pair *pair = &coordinator->pairs[i].pair;

        if (pair->inbox != NULL)
            steered_drop(pair);
        pair->inbox = NULL;
        inbox_free(coordinator->steer[i].inbox);
    }
    free(coordinator->steer);
    coordinator->steer = NULL;
}

NEEDS_DATA static int inbox_open(struct coordinator *coordinator, unsigned index)
{
    struct pair *pair = &coordinator->pairs[index].pair;
    struct pair_steer *steer = &coordinator->steer[index];
    int result = inbox_create(&steer->inbox);

    steer->waker = pair->endpoint_rx.waker;
    pair->inbox = steer->inbox;
    pair->inbox_resume = 0;
    return result;
}

NEEDS_DATA static void inboxes_open(struct coordinator *coordinator)
{
    unsigned count = coordinator->nic.config.queue_pairs;
    int result = 0;

    coordinator->steer = calloc(count, sizeof(struct pair_steer));
    if (coordinator->steer == NULL) {
        log_error("%s: no memory for RSS: frames stay on the pairs where they arrive",
                  coordinator->name);
        return;
    }
    for (unsigned i = 0; i < count && result == 0; i++)
        result = inbox_open(coordinator, i);
    if (result == 0)
        return;
    log_error("%s: RSS can't be set up (%s): frames stay on the pairs where they arrive",
              coordinator->name, strerror(-result));
    inboxes_free(coordinator);
}

NEEDS_DATA static void reception_update(struct coordinator *coordinator)
{
    int steered = coordinator->nic.rx_rules.rss.active;

    if (steered && coordinator->steer == NULL)
        inboxes_open(coordinator);
    else if (!steered && coordinator->steer != NULL)
        inboxes_free(coordinator);
    rx_rules_copy(coordinator);
}

/* ---- one pair ---------------------------------------------------------------------------- */

/* virtio 1.4, 5.1.6.5.6 */
NEEDS_DATA static void coalesce_apply(struct coordinator *coordinator, unsigned index)
{
    const struct nic_coalesce *rx = &coordinator->nic.coalesce[2 * index];
    const struct nic_coalesce *tx = &coordinator->nic.coalesce[2 * index + 1];

    worker_hold_rx(&coordinator->pairs[index],
                   (struct worker_hold){.buffers = rx->max_packets, .usecs = rx->max_usecs});
    worker_hold_tx(&coordinator->pairs[index],
                   (struct worker_hold){.buffers = tx->max_packets, .usecs = tx->max_usecs});
}

void coordinator_update_pair(struct coordinator *coordinator, unsigned index)
{
    struct worker_pair *worker_pair = &coordinator->pairs[index];
    struct pair *pair = &worker_pair->pair;
    int wanted;

    if (coordinator->given)
        return;
    nic_pair_rules(&coordinator->nic, &pair->rules);
    pair->rules.rx = rx_rules_needed(&coordinator->rx_rules) ? &coordinator->rx_rules : NULL;
    pair->siblings = coordinator->steer;
    pair->parked = index >= pairs_in_use(coordinator);
    wanted = (pair->rx.running || pair->tx.running) && !pair->parked &&
             coordinator->enabled[2 * index] && coordinator->endpoint != NULL;
    if (!wanted)
        coordinator_disconnect_pair(worker_pair);
    else if (pair->endpoint_queue == NULL)
        coordinator_connect_pair(coordinator, index);
    coalesce_apply(coordinator, index);
    worker_wake(worker_pair);
}

void coordinator_apply_all(struct coordinator *coordinator)
{
    if (coordinator->endpoint != NULL && coordinator->endpoint->ops->set_offloads != NULL &&
        coordinator->endpoint->ops->set_offloads(coordinator->endpoint,
                                                 nic_rx_offloads(&coordinator->nic)) < 0)
        log_warning("%s: the endpoint refuses the receive offloads that the guest agreed to",
                    coordinator->name);
    reception_update(coordinator);
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        coordinator_update_pair(coordinator, i);
}

void coordinator_update_all(struct coordinator *coordinator)
{
    coordinator_pause_all(coordinator);
    coordinator_apply_all(coordinator);
    coordinator_resume_all(coordinator);
}
