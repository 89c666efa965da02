/* SPDX-License-Identifier: MIT */
/* Pairs and their endpoint queues; the endpoint's link, and its going and coming back. */
#include "run/coordinator_parts.h"

#include <sys/epoll.h>

#include "base/checked.h"
#include "base/clock.h"
#include "endpoint/catalog.h"

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
};

/* ---- a pair and its endpoint queue; the pair's worker is paused ------------------------- */

void coordinator_disconnect_pair(struct worker_pair *worker_pair)
{
    struct pair *pair = &worker_pair->pair;

    if (pair->endpoint_queue == NULL)
        return;
    pair_reap_all(pair, worker_scratch(worker_pair->worker));
    worker_unwatch(&worker_pair->endpoint);
    pair->ops->queue_close(pair->endpoint_queue);
    tx_flight_free(&pair->flight);
    pair->endpoint_queue = NULL;
    pair->ops = NULL;
    pair->rx_ready = 0;
    pair->rx_resume = 0; /* what it kept went with it */
    pair->tx_blocked = 0;
}

int coordinator_connect_pair(struct coordinator *coordinator, unsigned index)
{
    struct worker_pair *worker_pair = &coordinator->pairs[index];
    struct pair *pair = &worker_pair->pair;
    const struct endpoint_ops *ops = coordinator->endpoint->ops;
    struct error err;
    int result = ops->queue_open(coordinator->endpoint, index, &pair->endpoint_rx,
                                 &pair->endpoint_queue, &err);

    if (result == 0 && ops->reap != NULL) {
        result = tx_flight_init(&pair->flight, coordinator->nic.config.queue_size_max);
        if (result < 0) {
            error_set(&err, -result, "out of memory");
            ops->queue_close(pair->endpoint_queue);
        }
    }
    if (result < 0) {
        log_error("%s: queue pair %u: %s", coordinator->name, index, err.text);
        pair->endpoint_queue = NULL;
        return result;
    }
    pair->flight.in_order = pair->rules.in_order;
    pair->ops = ops;
    pair->rx_ready = 1;
    if (worker_watch_endpoint(worker_pair, ops->wait_fd(pair->endpoint_queue)) < 0)
        log_error("%s: queue pair %u: its endpoint can't be waited for", coordinator->name, index);
    return 0;
}

/* ---- the endpoint's life ---------------------------------------------------------------- */

void coordinator_update_link(struct coordinator *coordinator)
{
    struct endpoint *endpoint = coordinator->endpoint;
    int up =
        endpoint != NULL && (endpoint->ops->link_up == NULL || endpoint->ops->link_up(endpoint));
    int visible = nic_set_link(&coordinator->nic, up);

    coordinator_update_all(coordinator);
    if (visible)
        coordinator_tell_config(coordinator);
}

void coordinator_drop_endpoint(struct coordinator *coordinator)
{
    coordinator_pause_all(coordinator);
    for (unsigned i = 0; i < coordinator_pair_count(coordinator); i++)
        coordinator_disconnect_pair(&coordinator->pairs[i]);
    coordinator_resume_all(coordinator);
    if (coordinator->endpoint_source.fd >= 0)
        loop_remove(coordinator->loop, &coordinator->endpoint_source);
    coordinator->endpoint_source.fd = -1;
    endpoint_close(coordinator->endpoint);
    coordinator->endpoint = NULL;
}

static int open_endpoint(struct coordinator *coordinator, struct endpoint **ret_endpoint,
                         struct error *err)
{
    const struct endpoint_opener *opener = &coordinator->opener;

    if (opener->open != NULL)
        return opener->open(opener->context, &coordinator->spec, ret_endpoint, err);
    return endpoint_open(&coordinator->spec, ret_endpoint, err);
}

int coordinator_take_endpoint(struct coordinator *coordinator, struct error *err)
{
    struct endpoint *endpoint;
    int result = open_endpoint(coordinator, &endpoint, err);

    if (result < 0)
        return result;
    coordinator->endpoint = endpoint;
    if (endpoint->ops->event_fd != NULL)
        coordinator->endpoint_source.fd = endpoint->ops->event_fd(endpoint);
    if (coordinator->endpoint_source.fd >= 0)
        result = loop_add(coordinator->loop, &coordinator->endpoint_source, EPOLLIN);
    if (result < 0) {
        coordinator->endpoint_source.fd = -1;
        coordinator_drop_endpoint(coordinator);
        return error_set(err, -result, "endpoint %s: its events can't be waited for",
                         coordinator->spec.kind);
    }
    return 0;
}

void coordinator_retry_endpoint(struct loop_timer *timer)
{
    struct coordinator *coordinator = CONTAINER_OF(timer, struct coordinator, retry);
    struct error err;

    if (coordinator_take_endpoint(coordinator, &err) < 0) {
        log_debug("%s: %s", coordinator->name, err.text);
        coordinator->retry_ms = MIN(2 * coordinator->retry_ms, RETRY_MAX_MS);
        loop_timer_start(coordinator->loop, timer, coordinator->retry_ms * CLOCK_MILLISECOND_NS);
        return;
    }
    log_info("%s: endpoint %s is back", coordinator->name, coordinator->spec.kind);
    coordinator->endpoint->ops->capabilities(coordinator->endpoint, &coordinator->nic.caps);
    coordinator_update_link(coordinator);
}

static void endpoint_gone(struct coordinator *coordinator)
{
    log_warning("%s: endpoint %s went away; trying to open it again", coordinator->name,
                coordinator->spec.kind);
    coordinator->endpoint_failures++;
    coordinator_drop_endpoint(coordinator);
    coordinator_update_link(coordinator);
    coordinator->retry_ms = RETRY_FIRST_MS;
    loop_timer_start(coordinator->loop, &coordinator->retry,
                     coordinator->retry_ms * CLOCK_MILLISECOND_NS);
}

static void endpoint_restart(struct coordinator *coordinator)
{
    coordinator_pause_all(coordinator);
    for (unsigned i = 0; i < coordinator_pair_count(coordinator); i++)
        coordinator_disconnect_pair(&coordinator->pairs[i]);
    coordinator_resume_all(coordinator);
    coordinator_update_all(coordinator);
}

void coordinator_endpoint_ready(struct loop_source *source, uint32_t events)
{
    struct coordinator *coordinator = CONTAINER_OF(source, struct coordinator, endpoint_source);
    uint32_t bits = coordinator->endpoint->ops->events(coordinator->endpoint);

    (void)events;
    if (bits & ENDPOINT_EVENT_GONE) {
        endpoint_gone(coordinator);
        return;
    }
    if (bits & ENDPOINT_EVENT_RESTART)
        endpoint_restart(coordinator);
    if (bits & ENDPOINT_EVENT_LINK)
        coordinator_update_link(coordinator);
}
