/* SPDX-License-Identifier: MIT */
/* Pairs and their endpoint queues; the endpoint's link, and its going and coming back. */
#include "run/coordinator_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/checked.h"
#include "base/clock.h"
#include "endpoint/catalog.h"

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
};

static void retry_later(struct coordinator *coordinator)
{
    if (coordinator->retry_ms == 0)
        coordinator->endpoint_tries = 0;
    coordinator->retry_ms =
        coordinator->retry_ms == 0 ? RETRY_FIRST_MS : MIN(2 * coordinator->retry_ms, RETRY_MAX_MS);
    loop_timer_start(coordinator->loop, &coordinator->retry,
                     coordinator->retry_ms * CLOCK_MILLISECOND_NS);
}

void coordinator_stop_retrying(struct coordinator *coordinator)
{
    loop_timer_stop(coordinator->loop, &coordinator->retry);
    coordinator->retry_ms = 0;
}

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
    pair->endpoint_rx.resume = 0; /* what it kept went with it */
    pair->tx_blocked = 0;
}

/* What is needed beside the endpoint's queue. */
NEEDS_DATA static int queue_adopt(struct coordinator *coordinator, struct worker_pair *worker_pair,
                                  struct error *err)
{
    struct pair *pair = &worker_pair->pair;
    const struct endpoint_ops *ops = coordinator->endpoint->ops;
    int result = 0;
    int wait_fd;

    if (ops->reap != NULL)
        result = tx_flight_init(&pair->flight, coordinator->nic.config.queue_size_max);
    if (result < 0)
        return error_set(err, -result, "queue pair %u: out of memory", pair->index);
    wait_fd = ops->wait_fd(pair->endpoint_queue);
    pair->rx_by_bell = wait_fd < 0 || pair->endpoint_queue->rings;
    result = worker_watch_endpoint(worker_pair, wait_fd);
    if (result < 0) {
        tx_flight_free(&pair->flight);
        return error_set(err, -result, "queue pair %u: its endpoint can't be waited for: %s",
                         pair->index, strerror(-result));
    }
    pair->ops = ops;
    pair->rx_ready = 1;
    return 0;
}

void coordinator_connect_pair(struct coordinator *coordinator, unsigned index)
{
    struct worker_pair *worker_pair = &coordinator->pairs[index];
    struct pair *pair = &worker_pair->pair;
    const struct endpoint_ops *ops = coordinator->endpoint->ops;
    struct error err;
    int result = ops->queue_open(coordinator->endpoint, index, &pair->endpoint_rx,
                                 &pair->endpoint_queue, &err);

    if (result == 0) {
        result = queue_adopt(coordinator, worker_pair, &err);
        if (result < 0)
            ops->queue_close(pair->endpoint_queue);
    }
    if (result == 0)
        return;
    pair->endpoint_queue = NULL;
    coordinator->endpoint_error = err;
    coordinator->unconnected++;
    if (!coordinator->retry.armed)
        retry_later(coordinator);
}

/* ---- frames of our own ------------------------------------------------------------------ */

NEEDS_DATA static int frame_send(struct coordinator *coordinator, uint32_t len)
{
    struct worker_pair *worker_pair = &coordinator->pairs[0];
    struct pair *pair = &worker_pair->pair;
    struct iovec iov = {.iov_base = coordinator->own_frame, .iov_len = len};
    struct frame frame = {.iov = &iov, .iov_count = 1, .len = len};
    int for_this = pair->endpoint_queue == NULL;
    int result;

    if (for_this)
        coordinator_connect_pair(coordinator, 0);
    if (pair->endpoint_queue == NULL)
        return -ENETDOWN;
    result = pair_send_own(pair, worker_scratch(worker_pair->worker), &frame);
    if (for_this)
        coordinator_disconnect_pair(worker_pair);
    else
        worker_wake(worker_pair); /* the endpoint may not have sent it whole */
    return result;
}

int coordinator_send_frame(struct coordinator *coordinator, const void *bytes,
                           uint32_t len) ROLE_UNCHECKED
{
    struct worker *worker = coordinator->pairs[0].worker;
    int result;

    if (coordinator->endpoint == NULL || !nic_link_up(&coordinator->nic))
        return -ENETDOWN;
    worker_pause(worker);
    memcpy(coordinator->own_frame, bytes, MIN(len, sizeof(coordinator->own_frame)));
    result = frame_send(coordinator, MIN(len, (uint32_t)sizeof(coordinator->own_frame)));
    worker_resume(worker);
    return result;
}

/* ---- the link ----------------------------------------------------------------------------- */

/* As the endpoint has it; 1 if the driver can see a difference. */
int coordinator_look_at_link(struct coordinator *coordinator)
{
    struct endpoint *endpoint = coordinator->endpoint;
    int up = endpoint != NULL && coordinator->unconnected == 0 &&
             (endpoint->ops->link_up == NULL || endpoint->ops->link_up(endpoint));

    return nic_set_link(&coordinator->nic, up);
}

void coordinator_update_link(struct coordinator *coordinator)
{
    int visible = coordinator_look_at_link(coordinator);

    visible |= coordinator_announce_due(coordinator);
    coordinator_update_all(coordinator);
    if (visible)
        coordinator_tell_config(coordinator);
}

/* ---- the endpoint's life ---------------------------------------------------------------- */

int coordinator_open_endpoint(struct coordinator *coordinator, const struct endpoint_opener *opener,
                              struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                              struct error *err)
{
    int result;

    spec->queue_pairs = coordinator->nic.config.queue_pairs;
    spec->nic_name = coordinator->name;
    memcpy(spec->mac, coordinator->nic.config.mac, sizeof(spec->mac));
    result = coordinator_inherit_endpoint(coordinator, ret_endpoint, err);
    if (result != -ENOENT)
        return result;
    if (opener->open != NULL)
        return opener->open(opener->context, spec, ret_endpoint, err);
    return endpoint_open(spec, ret_endpoint, err);
}

int coordinator_open_for_pairs(struct coordinator *coordinator,
                               const struct endpoint_opener *opener, struct endpoint_spec *spec,
                               struct endpoint **ret_endpoint, struct error *err)
{
    unsigned pairs = coordinator->nic.config.queue_pairs;
    struct endpoint_caps caps = {0};
    struct endpoint *narrow;
    int result = coordinator_open_endpoint(coordinator, opener, spec, &narrow, err);

    if (result < 0)
        return result;
    *ret_endpoint = narrow;
    narrow->ops->capabilities(narrow, &caps);
    if (caps.queue_pairs_max >= pairs || narrow->ops->reap != NULL)
        return 0;
    result = endpoint_widen(narrow, pairs, ret_endpoint, err);
    if (result < 0)
        endpoint_close(narrow);
    return result;
}

static enum nic_stand_in stand_in(const struct endpoint *endpoint)
{
    /* Segments are made in memory that is used again when send() returns. */
    return endpoint->ops->reap == NULL ? NIC_SOFTWARE_STANDS_IN : NIC_NOTHING_STANDS_IN;
}

int coordinator_check_endpoint(struct coordinator *coordinator, struct endpoint *endpoint,
                               struct error *err)
{
    struct endpoint_caps caps = {0};
    int result;

    endpoint->ops->capabilities(endpoint, &caps);
    if (coordinator->nic.config.queue_pairs > caps.queue_pairs_max)
        return error_set(err, EINVAL, "endpoint %s takes at most queues=%u, not %u",
                         endpoint->ops->kind, caps.queue_pairs_max,
                         coordinator->nic.config.queue_pairs);
    result = nic_check_endpoint(&coordinator->nic, &caps, stand_in(endpoint), err);
    if (result < 0)
        error_prefix(err, "endpoint %s", endpoint->ops->kind);
    return result;
}

int coordinator_adopt_endpoint(struct coordinator *coordinator, struct endpoint *endpoint,
                               struct error *err)
{
    struct endpoint_caps caps = {0};
    struct loop_source *source = &coordinator->endpoint_source;
    int result = 0;

    source->fd = endpoint->ops->event_fd == NULL ? -1 : endpoint->ops->event_fd(endpoint);
    if (source->fd >= 0)
        result = loop_add(coordinator->loop, source, EPOLLIN);
    if (result < 0) {
        source->fd = -1;
        return error_set(err, -result, "endpoint %s: its events can't be waited for: %s",
                         endpoint->ops->kind, strerror(-result));
    }
    endpoint->ops->capabilities(endpoint, &caps);
    nic_set_endpoint(&coordinator->nic, &caps, stand_in(endpoint));
    coordinator->endpoint = endpoint;
    coordinator->endpoint_since = time(NULL);
    return 0;
}

struct endpoint *coordinator_release_endpoint(struct coordinator *coordinator)
{
    struct endpoint *endpoint = coordinator->endpoint;

    for (unsigned i = 0; i < coordinator_pair_count(coordinator); i++)
        coordinator_disconnect_pair(&coordinator->pairs[i]);
    if (coordinator->endpoint_source.fd >= 0)
        loop_remove(coordinator->loop, &coordinator->endpoint_source);
    coordinator->endpoint_source.fd = -1;
    coordinator->endpoint = NULL;
    coordinator->unconnected = 0;
    return endpoint;
}

void coordinator_drop_endpoint(struct coordinator *coordinator)
{
    struct endpoint *endpoint;

    coordinator_pause_all(coordinator);
    endpoint = coordinator_release_endpoint(coordinator);
    coordinator_resume_all(coordinator);
    endpoint_close(endpoint);
}

int coordinator_take_endpoint(struct coordinator *coordinator, struct error *err)
{
    struct endpoint *endpoint;
    int result = coordinator_open_for_pairs(coordinator, &coordinator->opener, &coordinator->spec,
                                            &endpoint, err);

    if (result < 0)
        return result;
    result = coordinator_check_endpoint(coordinator, endpoint, err);
    if (result == 0)
        result = coordinator_adopt_endpoint(coordinator, endpoint, err);
    if (result < 0)
        endpoint_close(endpoint);
    return result;
}

/* ---- going and coming back ---------------------------------------------------------------- */

void coordinator_endpoint_lost(struct coordinator *coordinator)
{
    coordinator->endpoint_since = time(NULL);
    coordinator->retry_ms = 0;
    coordinator_update_link(coordinator);
    retry_later(coordinator);
}

static void endpoint_gone(struct coordinator *coordinator)
{
    const struct endpoint_ops *ops = coordinator->endpoint->ops;

    log_warning("%s: endpoint %s went away; trying to open it again", coordinator->name,
                coordinator->spec.kind);
    error_say(&coordinator->endpoint_error, "endpoint %s went away", coordinator->spec.kind);
    coordinator->endpoint_failures++;
    coordinator->spec.only_if_there =
        ops->was_there != NULL && ops->was_there(coordinator->endpoint);
    coordinator_drop_endpoint(coordinator);
    coordinator_endpoint_lost(coordinator);
}

/* 0: it is there again, with all its queues. */
static int retry(struct coordinator *coordinator)
{
    struct error err;

    coordinator->endpoint_tries++;
    if (coordinator->endpoint == NULL) {
        if (coordinator_take_endpoint(coordinator, &err) < 0) {
            coordinator->endpoint_error = err;
            return -EAGAIN;
        }
        coordinator->announce_due = 1;
        coordinator_follow_endpoint(coordinator);
    }
    coordinator->unconnected = 0;
    coordinator_update_all(coordinator);
    coordinator_update_link(coordinator);
    return coordinator->unconnected == 0 ? 0 : -EAGAIN;
}

void coordinator_retry_endpoint(struct loop_timer *timer)
{
    struct coordinator *coordinator = CONTAINER_OF(timer, struct coordinator, retry);

    if (retry(coordinator) < 0) {
        if (coordinator->endpoint_tries == 1)
            log_warning("%s: %s; trying again", coordinator->name,
                        coordinator->endpoint_error.text);
        else
            log_debug("%s: %s", coordinator->name, coordinator->endpoint_error.text);
        retry_later(coordinator);
        return;
    }
    log_info("%s: endpoint %s is back", coordinator->name, coordinator->spec.kind);
    coordinator->retry_ms = 0;
}

static void endpoint_restart(struct coordinator *coordinator)
{
    coordinator_pause_all(coordinator);
    for (unsigned i = 0; i < coordinator_pair_count(coordinator); i++)
        coordinator_disconnect_pair(&coordinator->pairs[i]);
    coordinator_apply_all(coordinator);
    coordinator_resume_all(coordinator);
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

static const char *endpoint_state(const struct coordinator *coordinator)
{
    if (coordinator->endpoint == NULL)
        return "gone";
    return coordinator->unconnected != 0 ? "unconnected" : "open";
}

void coordinator_inspect_endpoint(struct coordinator *coordinator, struct inspect *visitor)
{
    struct endpoint *endpoint = coordinator->endpoint;
    char since[sizeof("2000-01-01T00:00:00Z") + 16];
    struct tm utc;

    strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ",
             gmtime_r(&coordinator->endpoint_since, &utc));
    inspect_text(visitor, "endpoint_type", "%s", coordinator->spec.kind);
    inspect_text(visitor, "endpoint_state", "%s", endpoint_state(coordinator));
    inspect_text(visitor, "endpoint_since", "%s", since);
    inspect_number(visitor, "endpoint_max_queues", coordinator->nic.caps.queue_pairs_max);
    inspect_number(visitor, "endpoint_failures", coordinator->endpoint_failures);
    inspect_number(visitor, "endpoint_swaps", coordinator->endpoint_swaps);
    if (coordinator->retry_ms != 0)
        inspect_number(visitor, "endpoint_tries", coordinator->endpoint_tries);
    if (coordinator->endpoint_error.text[0] != '\0')
        inspect_text(visitor, "endpoint_error", "%s", coordinator->endpoint_error.text);
    inspect_enter(visitor, "endpoint");
    if (endpoint != NULL && endpoint->ops->inspect != NULL)
        endpoint->ops->inspect(endpoint, visitor);
    inspect_leave(visitor);
}
