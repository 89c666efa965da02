/* SPDX-License-Identifier: MIT */
#include "run/coordinator_parts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/checked.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"

unsigned coordinator_pair_count(const struct coordinator *coordinator)
{
    return coordinator->pairs == NULL ? 0 : coordinator->nic.config.queue_pairs;
}

void coordinator_pause_all(struct coordinator *coordinator) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < coordinator_pair_count(coordinator); i++)
        worker_pause(coordinator->pairs[i].worker);
}

void coordinator_resume_all(struct coordinator *coordinator) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < coordinator_pair_count(coordinator); i++)
        worker_resume(coordinator->pairs[i].worker);
}

/* ---- faults -------------------------------------------------------------------------- */

void coordinator_tell_fault(struct coordinator *coordinator, unsigned queue,
                            const struct virtqueue *virtqueue)
{
    nic_needs_reset(&coordinator->nic);
    if (log_limit_pass(&coordinator->fault_log))
        log_warning("%s: queue %u is broken by its driver: %s; it rests until it is reset",
                    coordinator->name, queue, queue_fault_name(virtqueue->fault));
    if (coordinator->listener.queue_broken != NULL)
        coordinator->listener.queue_broken(coordinator->listener.context, queue);
}

/* Faults of one pair that nobody has heard of yet. */
static uint8_t faults_take(struct worker_pair *worker_pair)
{
    uint8_t faults;

    worker_pause(worker_pair->worker);
    faults = worker_pair->faults_raised & (uint8_t)~worker_pair->faults_told;
    worker_pair->faults_told |= faults;
    worker_resume(worker_pair->worker);
    return faults;
}

static void fault_ready(struct loop_source *source, uint32_t events)
{
    struct coordinator *coordinator = CONTAINER_OF(source, struct coordinator, fault_source);

    (void)events;
    event_bits_take(&coordinator->faults);
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        uint8_t faults = faults_take(&coordinator->pairs[i]);

        if (faults & WORKER_FAULT_RX)
            coordinator_tell_fault(coordinator, 2 * i, &coordinator->pairs[i].pair.rx);
        if (faults & WORKER_FAULT_TX)
            coordinator_tell_fault(coordinator, 2 * i + 1, &coordinator->pairs[i].pair.tx);
    }
}

/* ---- open and close --------------------------------------------------------------------- */

static void pairs_free(struct coordinator *coordinator)
{
    for (unsigned i = 0; i < coordinator_pair_count(coordinator); i++) {
        struct worker *worker = coordinator->pairs[i].worker;

        if (worker == NULL)
            continue;
        worker_pause(worker);
        worker_detach(&coordinator->pairs[i]);
        worker_resume(worker);
    }
    free(coordinator->pairs);
    coordinator->pairs = NULL;
    free(coordinator->stopped_at);
    coordinator->stopped_at = NULL;
    free(coordinator->enabled);
    coordinator->enabled = NULL;
    free(coordinator->unmapped);
    coordinator->unmapped = NULL;
}

static int pairs_attach(struct coordinator *coordinator, uint64_t workers)
{
    int result = 0;

    for (unsigned i = 0; i < coordinator_pair_count(coordinator) && result == 0; i++) {
        struct worker *worker = worker_pool_place(coordinator->pool, workers);

        pair_init(&coordinator->pairs[i].pair, i);
        worker_pause(worker);
        result = worker_attach(worker, &coordinator->pairs[i], &coordinator->faults);
        worker_resume(worker);
    }
    return result;
}

/* All of them, or none. */
static int pairs_create(struct coordinator *coordinator, const struct worker_wish *wish)
{
    unsigned count = coordinator->nic.config.queue_pairs;
    size_t size = (count * sizeof(struct worker_pair) + 63) / 64 * 64;
    int result = -ENOMEM;

    coordinator->stopped_at = calloc(2 * count + 1, sizeof(*coordinator->stopped_at));
    coordinator->enabled = calloc(2 * count + 1, sizeof(*coordinator->enabled));
    coordinator->unmapped = calloc(2 * count + 1, sizeof(*coordinator->unmapped));
    coordinator->pairs = aligned_alloc(64, size);
    if (coordinator->pairs != NULL)
        memset(coordinator->pairs, 0, size);
    if (coordinator->pairs != NULL && coordinator->stopped_at != NULL &&
        coordinator->enabled != NULL && coordinator->unmapped != NULL)
        result = pairs_attach(coordinator, worker_pool_choose(coordinator->pool, wish));
    if (result < 0)
        pairs_free(coordinator);
    return result;
}

/* What the operator left to the endpoint comes from its capabilities. */
static int device_init(struct coordinator *coordinator, const struct nic_config *config,
                       struct endpoint *endpoint, struct error *err)
{
    struct nic_config complete = *config;
    struct endpoint_caps caps = {0};

    endpoint->ops->capabilities(endpoint, &caps);
    coordinator->follows_mtu = complete.mtu == 0;
    coordinator->follows_speed = complete.speed_mbps == 0;
    if (complete.mtu == 0 && caps.mtu >= NIC_MTU_MIN)
        complete.mtu = (uint16_t)MIN(caps.mtu, UINT16_MAX);
    if (complete.speed_mbps == 0)
        complete.speed_mbps = caps.speed_mbps;
    nic_init(&coordinator->nic, &complete, &caps);
    return coordinator_check_endpoint(coordinator, endpoint, err);
}

/* The device model begins with the first endpoint. */
static int endpoint_and_device(struct coordinator *coordinator,
                               const struct coordinator_config *config, struct error *err)
{
    struct endpoint *endpoint;
    int result = endpoint_spec_copy(config->endpoint.spec, &coordinator->spec);

    if (result < 0)
        return error_set(err, -result, "out of memory");
    coordinator->opener = config->endpoint.opener;
    coordinator->nic.config = config->nic; /* whose the endpoint is; completed by what it can do */
    coordinator->inherited = config->inherited;
    /* A card that runs may have got a narrow one at run time. */
    result = config->inherited != NULL
                 ? coordinator_open_for_pairs(coordinator, &coordinator->opener, &coordinator->spec,
                                              &endpoint, err)
                 : coordinator_open_endpoint(coordinator, &coordinator->opener, &coordinator->spec,
                                             &endpoint, err);
    coordinator->inherited = NULL;
    if (result < 0)
        return result;
    result = device_init(coordinator, &config->nic, endpoint, err);
    if (result == 0)
        result = coordinator_adopt_endpoint(coordinator, endpoint, err);
    if (result < 0)
        endpoint_close(endpoint);
    else
        nic_renew_offer(&coordinator->nic);
    return result;
}

static int coordinator_init(struct coordinator *coordinator,
                            const struct coordinator_config *config, struct error *err)
{
    int result = endpoint_and_device(coordinator, config, err);

    if (result < 0)
        return result;
    result = event_bits_init(&coordinator->faults);
    coordinator->fault_source.fd = coordinator->faults.fd;
    if (result == 0)
        result = loop_add(coordinator->loop, &coordinator->fault_source, EPOLLIN);
    nic_control_init(&coordinator->control, &coordinator->nic, &coordinator_control_ops,
                     coordinator);
    if (result == 0)
        result = pairs_create(coordinator, &config->workers);
    if (result < 0)
        return error_set(err, -result, "%s can't be set up: %s", config->name, strerror(-result));
    coordinator_update_link(coordinator);
    return 0;
}

int coordinator_open(const struct coordinator_config *config, struct coordinator **ret_coordinator,
                     struct error *err)
{
    struct coordinator *coordinator = calloc(1, sizeof(*coordinator));
    int result;

    if (coordinator == NULL)
        return error_set(err, ENOMEM, "out of memory");
    snprintf(coordinator->name, sizeof(coordinator->name), "%s", config->name);
    coordinator->pool = config->pool;
    coordinator->loop = config->loop;
    coordinator->faults.fd = -1;
    coordinator->endpoint_source =
        (struct loop_source){.fd = -1, .ready = coordinator_endpoint_ready};
    coordinator->fault_source = (struct loop_source){.fd = -1, .ready = fault_ready};
    coordinator->control_kick = (struct loop_source){.fd = -1, .ready = coordinator_control_ready};
    coordinator->retry.fire = coordinator_retry_endpoint;
    coordinator->control_again.fire = coordinator_control_again;
    coordinator->blip.fire = coordinator_blip_look;
    result = coordinator_init(coordinator, config, err);
    if (result < 0) {
        coordinator_close(coordinator);
        return result;
    }
    *ret_coordinator = coordinator;
    return 0;
}

void coordinator_close(struct coordinator *coordinator)
{
    if (coordinator == NULL)
        return;
    if (coordinator->pairs != NULL)
        coordinator_reset(coordinator);
    if (coordinator->endpoint != NULL)
        coordinator_drop_endpoint(coordinator);
    /* Last: a pair whose other half still runs is connected again, which may fail. */
    loop_timer_stop(coordinator->loop, &coordinator->retry);
    loop_timer_stop(coordinator->loop, &coordinator->blip);
    pairs_free(coordinator);
    nic_control_free(&coordinator->control);
    if (coordinator->fault_source.fd >= 0)
        loop_remove(coordinator->loop, &coordinator->fault_source);
    event_bits_free(&coordinator->faults);
    endpoint_spec_clear(&coordinator->spec);
    free(coordinator);
}

const char *coordinator_name(const struct coordinator *coordinator)
{
    return coordinator->name;
}

struct nic *coordinator_nic(struct coordinator *coordinator)
{
    return &coordinator->nic;
}

void coordinator_listen(struct coordinator *coordinator,
                        const struct coordinator_listener *listener)
{
    coordinator->listener = *listener;
}

/* ---- the agreement ----------------------------------------------------------------------- */

int coordinator_agree(struct coordinator *coordinator, const struct features *accepted,
                      struct error *err)
{
    unsigned control = nic_control_queue(&coordinator->nic);
    int result = nic_agree(&coordinator->nic, accepted, err);

    if (result < 0)
        return result;
    if (nic_control_queue(&coordinator->nic) != control && coordinator->control.queue.running)
        coordinator_control_stop(coordinator); /* its index means another queue from now on */
    coordinator_update_all(coordinator);
    return 0;
}

void coordinator_set_order(struct coordinator *coordinator, enum byte_order order)
{
    coordinator->nic.order = order;
    coordinator_update_all(coordinator);
}

/* ---- inspect ---------------------------------------------------------------------------- */

static void inspect_pair(struct coordinator *coordinator, unsigned index, struct inspect *visitor)
{
    struct pair *copy = malloc(sizeof(*copy));

    if (copy == NULL)
        return;
    /* Cursors are not atomic: they are copied in a pause of the length of this memcpy. */
    worker_pause(coordinator->pairs[index].worker);
    memcpy(copy, &coordinator->pairs[index].pair, sizeof(*copy));
    worker_resume(coordinator->pairs[index].worker);
    inspect_enter_index(visitor, index);
    pair_inspect(copy, visitor);
    worker_inspect(coordinator->pairs[index].worker, visitor);
    inspect_leave(visitor);
    free(copy);
}

void coordinator_inspect(struct coordinator *coordinator, struct inspect *visitor)
{
    nic_inspect(&coordinator->nic, visitor);
    coordinator_inspect_endpoint(coordinator, visitor);
    if (nic_control_queue(&coordinator->nic) != UINT_MAX)
        nic_control_inspect(&coordinator->control, visitor);
    inspect_enter(visitor, "queues");
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        inspect_pair(coordinator, i, visitor);
    inspect_leave(visitor);
}
