/* SPDX-License-Identifier: MIT */
#include "run/coordinator.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"

enum {
    NAME_LEN = 32,
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
    CONTROL_ROUNDS = 64, /* batches of control commands in one go */
};

struct coordinator {
    char name[NAME_LEN];
    struct nic nic;
    struct nic_control control;
    struct coordinator_listener listener;
    struct worker_pool *pool;          /* borrowed */
    struct loop *loop;                 /* borrowed */
    const struct guest_memory *memory; /* borrowed from the transport */

    struct endpoint_spec spec; /* owned */
    struct endpoint *endpoint; /* owned; NULL while it is gone */
    struct loop_source endpoint_source;
    struct loop_timer retry; /* runs while the endpoint is gone */
    uint64_t retry_ms;
    uint64_t endpoint_failures; /* times it went away */

    struct event_bits faults; /* raised by workers when a ring latches */
    struct loop_source fault_source;
    unsigned control_index; /* of the control queue while it runs */
    struct virtqueue inert; /* never runs */
    struct loop_source control_kick;
    struct loop_timer control_again;
    struct log_limit fault_log;

    struct worker_pair *pairs; /* owned, nic.config.queue_pairs of them */
    uint32_t *stopped_at;      /* owned, by queue: the base it was stopped with */
};

static struct pair *pair_of_queue(struct coordinator *coordinator, unsigned queue)
{
    return &coordinator->pairs[queue / 2].pair;
}

static int is_control(const struct coordinator *coordinator, unsigned queue)
{
    return queue == nic_control_queue(&coordinator->nic);
}

/* The index behind the last pair is the control queue's, if CTRL_VQ and MQ were agreed; else a
 * driver may set it up and nothing comes of it (NET-Q-02, NET-Q-04). */
static int is_inert(const struct coordinator *coordinator, unsigned queue)
{
    return !is_control(coordinator, queue) && queue / 2 >= coordinator->nic.config.queue_pairs;
}

static struct virtqueue *queue_get(struct coordinator *coordinator, unsigned queue)
{
    if (is_control(coordinator, queue))
        return &coordinator->control.queue;
    if (is_inert(coordinator, queue))
        return &coordinator->inert;
    return queue % 2 == 0 ? &pair_of_queue(coordinator, queue)->rx
                          : &pair_of_queue(coordinator, queue)->tx;
}

static void pause_all(struct coordinator *coordinator)
{
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        worker_pause(coordinator->pairs[i].worker);
}

static void resume_all(struct coordinator *coordinator)
{
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        worker_resume(coordinator->pairs[i].worker);
}

/* ---- a pair and its endpoint queue; the pair's worker is paused ------------------------- */

static void pair_disconnect(struct worker_pair *worker_pair)
{
    struct pair *pair = &worker_pair->pair;

    if (pair->endpoint_queue == NULL)
        return;
    pair_reap_all(pair, worker_scratch(worker_pair->worker));
    worker_unwatch(&worker_pair->endpoint);
    pair->ops->queue_close(pair->endpoint_queue);
    pair->endpoint_queue = NULL;
    pair->ops = NULL;
    pair->rx_ready = 0;
    pair->tx_blocked = 0;
}

static int pair_connect(struct coordinator *coordinator, unsigned index)
{
    struct worker_pair *worker_pair = &coordinator->pairs[index];
    struct pair *pair = &worker_pair->pair;
    const struct endpoint_ops *ops = coordinator->endpoint->ops;
    struct error err;
    int result = ops->queue_open(coordinator->endpoint, index, &pair->endpoint_rx,
                                 &pair->endpoint_queue, &err);

    if (result < 0) {
        log_error("%s: queue pair %u: %s", coordinator->name, index, err.text);
        pair->endpoint_queue = NULL;
        return result;
    }
    pair->ops = ops;
    pair->rx_ready = 1;
    if (worker_watch_endpoint(worker_pair, ops->wait_fd(pair->endpoint_queue)) < 0)
        log_error("%s: queue pair %u: its endpoint can't be waited for", coordinator->name, index);
    return 0;
}

/* Connects the pair to the endpoint exactly while it should be: a half runs, the driver (or
 * front-end) chose to use it, and the endpoint is there. */
static void pair_update(struct coordinator *coordinator, unsigned index)
{
    struct worker_pair *worker_pair = &coordinator->pairs[index];
    struct pair *pair = &worker_pair->pair;
    int by_driver = coordinator->control.queue.running;
    int wanted;

    nic_pair_rules(&coordinator->nic, &pair->rules);
    pair->parked = by_driver && index >= coordinator->nic.active_pairs;
    wanted = (pair->rx.running || pair->tx.running) && !pair->parked && pair->enabled_rx &&
             coordinator->endpoint != NULL;
    if (!wanted)
        pair_disconnect(worker_pair);
    else if (pair->endpoint_queue == NULL)
        pair_connect(coordinator, index);
    worker_wake(worker_pair);
}

/* Everything that follows from features, link, pairs and endpoint, in all pairs. */
static void update_all(struct coordinator *coordinator)
{
    pause_all(coordinator);
    if (coordinator->endpoint != NULL && coordinator->endpoint->ops->set_offloads != NULL &&
        coordinator->endpoint->ops->set_offloads(coordinator->endpoint,
                                                 nic_rx_offloads(&coordinator->nic)) < 0)
        log_warning("%s: the endpoint refuses the receive offloads that the guest agreed to",
                    coordinator->name);
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        pair_update(coordinator, i);
    resume_all(coordinator);
}

/* ---- the endpoint's life ---------------------------------------------------------------- */

static void link_update(struct coordinator *coordinator)
{
    struct endpoint *endpoint = coordinator->endpoint;
    int up =
        endpoint != NULL && (endpoint->ops->link_up == NULL || endpoint->ops->link_up(endpoint));
    int visible = nic_set_link(&coordinator->nic, up);

    update_all(coordinator);
    if (visible && coordinator->listener.config_changed != NULL)
        coordinator->listener.config_changed(coordinator->listener.context);
}

static void endpoint_drop(struct coordinator *coordinator)
{
    pause_all(coordinator);
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        pair_disconnect(&coordinator->pairs[i]);
    resume_all(coordinator);
    if (coordinator->endpoint_source.fd >= 0)
        loop_remove(coordinator->loop, &coordinator->endpoint_source);
    coordinator->endpoint_source.fd = -1;
    endpoint_close(coordinator->endpoint);
    coordinator->endpoint = NULL;
}

static int endpoint_take(struct coordinator *coordinator, struct error *err)
{
    struct endpoint *endpoint;
    int result = endpoint_open(&coordinator->spec, &endpoint, err);

    if (result < 0)
        return result;
    coordinator->endpoint = endpoint;
    if (endpoint->ops->event_fd != NULL)
        coordinator->endpoint_source.fd = endpoint->ops->event_fd(endpoint);
    if (coordinator->endpoint_source.fd >= 0)
        result = loop_add(coordinator->loop, &coordinator->endpoint_source, EPOLLIN);
    if (result < 0) {
        coordinator->endpoint_source.fd = -1;
        endpoint_drop(coordinator);
        return error_set(err, -result, "endpoint %s: its events can't be waited for",
                         coordinator->spec.kind);
    }
    return 0;
}

static void endpoint_capabilities(const struct coordinator *coordinator,
                                  struct endpoint_caps *ret_caps)
{
    struct endpoint *endpoint = coordinator->endpoint;

    *ret_caps = (struct endpoint_caps){0};
    endpoint->ops->capabilities(endpoint, ret_caps);
    ret_caps->in_order = endpoint->ops->reap == NULL;
}

static void retry_fire(struct loop_timer *timer)
{
    struct coordinator *coordinator = CONTAINER_OF(timer, struct coordinator, retry);
    struct error err;

    if (endpoint_take(coordinator, &err) < 0) {
        log_debug("%s: %s", coordinator->name, err.text);
        coordinator->retry_ms = MIN(2 * coordinator->retry_ms, RETRY_MAX_MS);
        loop_timer_start(coordinator->loop, timer, coordinator->retry_ms * CLOCK_MILLISECOND_NS);
        return;
    }
    log_info("%s: endpoint %s is back", coordinator->name, coordinator->spec.kind);
    endpoint_capabilities(coordinator, &coordinator->nic.caps);
    link_update(coordinator);
}

static void endpoint_gone(struct coordinator *coordinator)
{
    log_warning("%s: endpoint %s went away; trying to open it again", coordinator->name,
                coordinator->spec.kind);
    coordinator->endpoint_failures++;
    endpoint_drop(coordinator);
    link_update(coordinator);
    coordinator->retry_ms = RETRY_FIRST_MS;
    loop_timer_start(coordinator->loop, &coordinator->retry,
                     coordinator->retry_ms * CLOCK_MILLISECOND_NS);
}

static void endpoint_restart(struct coordinator *coordinator)
{
    pause_all(coordinator);
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        pair_disconnect(&coordinator->pairs[i]);
    resume_all(coordinator);
    update_all(coordinator);
}

static void endpoint_ready(struct loop_source *source, uint32_t events)
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
        link_update(coordinator);
}

/* ---- faults and control commands -------------------------------------------------------- */

static void fault_tell(struct coordinator *coordinator, unsigned queue,
                       const struct virtqueue *virtqueue)
{
    nic_needs_reset(&coordinator->nic);
    if (log_limit_pass(&coordinator->fault_log))
        log_warning("%s: queue %u is broken by its driver: %s; it rests until it is reset",
                    coordinator->name, queue, queue_fault_name(virtqueue->fault));
    if (coordinator->listener.queue_broken != NULL)
        coordinator->listener.queue_broken(coordinator->listener.context, queue);
}

static void fault_ready(struct loop_source *source, uint32_t events)
{
    struct coordinator *coordinator = CONTAINER_OF(source, struct coordinator, fault_source);

    (void)events;
    event_bits_take(&coordinator->faults);
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        struct worker_pair *worker_pair = &coordinator->pairs[i];
        uint8_t rx, tx;

        worker_pause(worker_pair->worker);
        rx = worker_pair->fault_told ? worker_pair->pair.rx.fault : QUEUE_FAULT_NONE;
        tx = worker_pair->fault_told ? worker_pair->pair.tx.fault : QUEUE_FAULT_NONE;
        worker_resume(worker_pair->worker);
        if (rx != QUEUE_FAULT_NONE)
            fault_tell(coordinator, 2 * i, &worker_pair->pair.rx);
        if (tx != QUEUE_FAULT_NONE)
            fault_tell(coordinator, 2 * i + 1, &worker_pair->pair.tx);
    }
}

/* A driver that never stops asking does not keep the control thread: the rest waits for its timer.
 */
static void control_serve_some(struct coordinator *coordinator)
{
    struct nic_control *control = &coordinator->control;

    virtqueue_disarm(&control->queue);
    for (unsigned round = 0; round < CONTROL_ROUNDS; round++) {
        if (nic_control_serve(control) == 0 && !virtqueue_arm(&control->queue)) {
            if (control->queue.fault != QUEUE_FAULT_NONE)
                fault_tell(coordinator, nic_control_queue(&coordinator->nic), &control->queue);
            return;
        }
    }
    loop_timer_start(coordinator->loop, &coordinator->control_again, 0);
}

static void control_again_fire(struct loop_timer *timer)
{
    control_serve_some(CONTAINER_OF(timer, struct coordinator, control_again));
}

static void control_ready(struct loop_source *source, uint32_t events)
{
    struct coordinator *coordinator = CONTAINER_OF(source, struct coordinator, control_kick);
    uint64_t count;

    (void)events;
    if (read(source->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return;
    control_serve_some(coordinator);
}

static int control_set_pairs(void *context, unsigned pairs)
{
    struct coordinator *coordinator = context;

    coordinator->nic.active_pairs = pairs;
    update_all(coordinator);
    return 0;
}

static const struct nic_control_ops nic_control_ops = {.set_pairs = control_set_pairs};

/* ---- open and close --------------------------------------------------------------------- */

static int pairs_create(struct coordinator *coordinator, unsigned first_worker)
{
    unsigned count = coordinator->nic.config.queue_pairs;
    int result = 0;

    coordinator->stopped_at = calloc(2 * count + 1, sizeof(*coordinator->stopped_at));
    coordinator->pairs = aligned_alloc(64, (count * sizeof(struct worker_pair) + 63) / 64 * 64);
    if (coordinator->pairs == NULL || coordinator->stopped_at == NULL)
        return -ENOMEM;
    memset(coordinator->pairs, 0, count * sizeof(struct worker_pair));
    for (unsigned i = 0; i < count && result == 0; i++) {
        unsigned index = (first_worker + i) % worker_pool_count(coordinator->pool);
        struct worker *worker = worker_pool_get(coordinator->pool, index);

        pair_init(&coordinator->pairs[i].pair);
        worker_pause(worker);
        result = worker_attach(worker, &coordinator->pairs[i], &coordinator->faults);
        worker_resume(worker);
    }
    return result;
}

static void pairs_free(struct coordinator *coordinator)
{
    for (unsigned i = 0; coordinator->pairs != NULL && i < coordinator->nic.config.queue_pairs;
         i++) {
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
}

/* What the operator left to the endpoint comes from its capabilities. */
static int capabilities_apply(struct coordinator *coordinator, const struct nic_config *config,
                              struct error *err)
{
    struct nic_config complete = *config;
    struct endpoint_caps caps;

    endpoint_capabilities(coordinator, &caps);
    if (config->queue_pairs > caps.queue_pairs_max)
        return error_set(err, EINVAL, "endpoint %s takes at most queues=%u, not %u",
                         coordinator->spec.kind, caps.queue_pairs_max, config->queue_pairs);
    if (complete.mtu == 0 && caps.mtu >= NIC_MTU_MIN)
        complete.mtu = (uint16_t)MIN(caps.mtu, UINT16_MAX);
    if (complete.speed_mbps == 0)
        complete.speed_mbps = caps.speed_mbps;
    nic_init(&coordinator->nic, &complete, &caps);
    return 0;
}

static int coordinator_init(struct coordinator *coordinator,
                            const struct coordinator_config *config, struct error *err)
{
    int result;

    result = endpoint_spec_copy(config->endpoint, &coordinator->spec);
    if (result < 0)
        return error_set(err, -result, "out of memory");
    coordinator->spec.queue_pairs = config->nic.queue_pairs;
    result = endpoint_take(coordinator, err);
    if (result == 0)
        result = capabilities_apply(coordinator, &config->nic, err);
    if (result < 0)
        return result;
    result = event_bits_init(&coordinator->faults);
    coordinator->fault_source.fd = coordinator->faults.fd;
    if (result == 0)
        result = loop_add(coordinator->loop, &coordinator->fault_source, EPOLLIN);
    if (result == 0)
        result = nic_control_init(&coordinator->control, &coordinator->nic, &nic_control_ops,
                                  coordinator);
    if (result == 0)
        result = pairs_create(coordinator, config->first_worker);
    if (result < 0)
        return error_set(err, -result, "%s can't be set up: %s", config->name, strerror(-result));
    link_update(coordinator);
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
    coordinator->endpoint_source = (struct loop_source){.fd = -1, .ready = endpoint_ready};
    coordinator->fault_source = (struct loop_source){.fd = -1, .ready = fault_ready};
    coordinator->control_kick = (struct loop_source){.fd = -1, .ready = control_ready};
    coordinator->retry.fire = retry_fire;
    coordinator->control_again.fire = control_again_fire;
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
    loop_timer_stop(coordinator->loop, &coordinator->retry);
    if (coordinator->pairs != NULL)
        coordinator_reset(coordinator);
    if (coordinator->endpoint != NULL)
        endpoint_drop(coordinator);
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

/* ---- what the transport asks for -------------------------------------------------------- */

static void control_stop(struct coordinator *coordinator)
{
    if (coordinator->control_kick.fd >= 0)
        loop_remove(coordinator->loop, &coordinator->control_kick);
    coordinator->control_kick.fd = -1;
    loop_timer_stop(coordinator->loop, &coordinator->control_again);
    coordinator->stopped_at[coordinator->control_index] =
        virtqueue_stop(&coordinator->control.queue);
    update_all(coordinator);
}

int coordinator_agree(struct coordinator *coordinator, const struct features *accepted,
                      struct error *err)
{
    unsigned control = nic_control_queue(&coordinator->nic);
    int result = nic_agree(&coordinator->nic, accepted, err);

    if (result < 0)
        return result;
    if (nic_control_queue(&coordinator->nic) != control && coordinator->control.queue.running)
        control_stop(coordinator); /* its index means another queue from now on */
    update_all(coordinator);
    return 0;
}

void coordinator_set_order(struct coordinator *coordinator, enum byte_order order)
{
    coordinator->nic.order = order;
    update_all(coordinator);
}

void coordinator_set_memory(struct coordinator *coordinator, const struct guest_memory *memory)
{
    pause_all(coordinator);
    coordinator->memory = memory;
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++) {
        virtqueue_remap(&coordinator->pairs[i].pair.rx, memory);
        virtqueue_remap(&coordinator->pairs[i].pair.tx, memory);
        worker_wake(&coordinator->pairs[i]);
    }
    virtqueue_remap(&coordinator->control.queue, memory);
    resume_all(coordinator);
}

/* Features as the ring layer knows them. Completions of a transmit queue all have length 0. */
static void ring_config(const struct coordinator *coordinator, unsigned queue,
                        struct virtqueue_config *config)
{
    const struct features *agreed = &coordinator->nic.agreed;

    config->features = 0;
    if (features_has(agreed, F_INDIRECT_DESC))
        config->features |= VIRTQUEUE_INDIRECT;
    if (features_has(agreed, F_EVENT_IDX))
        config->features |= VIRTQUEUE_EVENT_IDX;
    if (features_has(agreed, F_RING_PACKED))
        config->features |= VIRTQUEUE_PACKED;
    if (features_has(agreed, F_IN_ORDER) && queue % 2 == 1)
        config->features |= VIRTQUEUE_BATCH_USED;
    config->order = nic_byte_order(&coordinator->nic);
}

static int control_start(struct coordinator *coordinator, const struct virtqueue_config *config,
                         int kick_fd, struct error *err)
{
    struct nic_control *control = &coordinator->control;
    int result = virtqueue_start(&control->queue, config, coordinator->memory, err);

    if (result < 0)
        return result;
    coordinator->control_index = nic_control_queue(&coordinator->nic);
    coordinator->control_kick.fd = kick_fd;
    if (kick_fd >= 0 && loop_add(coordinator->loop, &coordinator->control_kick, EPOLLIN) < 0) {
        coordinator->control_kick.fd = -1;
        virtqueue_stop(&control->queue);
        return error_set(err, EINVAL, "the control queue's kick fd can't be waited for");
    }
    update_all(coordinator);
    loop_timer_start(coordinator->loop, &coordinator->control_again,
                     0); /* it may be filled already */
    return 0;
}

static int pair_start(struct coordinator *coordinator, unsigned queue,
                      const struct virtqueue_config *config, int kick_fd, struct error *err)
{
    struct worker_pair *worker_pair = &coordinator->pairs[queue / 2];
    struct virtqueue *virtqueue = queue_get(coordinator, queue);
    struct worker_source *kick = queue % 2 == 0 ? &worker_pair->rx_kick : &worker_pair->tx_kick;
    int result = virtqueue_start(virtqueue, config, coordinator->memory, err);

    if (result < 0)
        return result;
    if (kick_fd >= 0 && worker_watch_kick(worker_pair, kick, kick_fd, &virtqueue->kicks) < 0) {
        virtqueue_stop(virtqueue);
        return error_set(err, EINVAL, "the kick fd of queue %u can't be waited for", queue);
    }
    worker_pair->fault_told = 0;
    pair_update(coordinator, queue / 2);
    return 0;
}

int coordinator_start_queue(struct coordinator *coordinator, unsigned queue,
                            const struct virtqueue_config *config, int kick_fd, struct error *err)
{
    struct virtqueue_config complete = *config;
    int result;

    if (coordinator->memory == NULL)
        return error_set(err, EINVAL, "queue %u was started before there is guest memory", queue);
    if (config->size > coordinator->nic.config.queue_size_max)
        return error_set(err, EINVAL, "queue %u has %u entries, the most are %u", queue,
                         config->size, coordinator->nic.config.queue_size_max);
    if (is_inert(coordinator, queue))
        return 0;
    coordinator_stop_queue(coordinator, queue);
    ring_config(coordinator, queue, &complete);
    coordinator_hold_queue(coordinator, queue);
    if (is_control(coordinator, queue))
        result = control_start(coordinator, &complete, kick_fd, err);
    else
        result = pair_start(coordinator, queue, &complete, kick_fd, err);
    coordinator_release_queue(coordinator, queue);
    return result;
}

static void pair_stop(struct coordinator *coordinator, unsigned queue)
{
    struct worker_pair *worker_pair = &coordinator->pairs[queue / 2];

    worker_unwatch(queue % 2 == 0 ? &worker_pair->rx_kick : &worker_pair->tx_kick);
    if (worker_pair->pair.ops != NULL && worker_pair->pair.ops->quiesce != NULL)
        pair_disconnect(worker_pair); /* it may hold buffers of this ring */
    coordinator->stopped_at[queue] = virtqueue_stop(queue_get(coordinator, queue));
    pair_update(coordinator, queue / 2);
}

uint32_t coordinator_stop_queue(struct coordinator *coordinator, unsigned queue)
{
    struct virtqueue *virtqueue = queue_get(coordinator, queue);

    if (!virtqueue->running)
        return coordinator->stopped_at[queue];
    coordinator_hold_queue(coordinator, queue);
    if (is_control(coordinator, queue))
        control_stop(coordinator);
    else
        pair_stop(coordinator, queue);
    coordinator_release_queue(coordinator, queue);
    return coordinator->stopped_at[queue];
}

int coordinator_queue_running(struct coordinator *coordinator, unsigned queue)
{
    return queue_get(coordinator, queue)->running;
}

enum queue_fault coordinator_queue_fault(struct coordinator *coordinator, unsigned queue)
{
    enum queue_fault fault;

    coordinator_hold_queue(coordinator, queue);
    fault = queue_get(coordinator, queue)->fault;
    coordinator_release_queue(coordinator, queue);
    return fault;
}

void coordinator_enable_queue(struct coordinator *coordinator, unsigned queue,
                              enum coordinator_enable enable)
{
    struct pair *pair;

    if (is_control(coordinator, queue) || is_inert(coordinator, queue))
        return;
    pair = pair_of_queue(coordinator, queue);
    coordinator_hold_queue(coordinator, queue);
    *(queue % 2 == 0 ? &pair->enabled_rx : &pair->enabled_tx) = enable == COORDINATOR_ENABLE;
    pair_update(coordinator, queue / 2);
    coordinator_release_queue(coordinator, queue);
}

void coordinator_hold_queue(struct coordinator *coordinator, unsigned queue)
{
    if (!is_control(coordinator, queue) && !is_inert(coordinator, queue))
        worker_pause(coordinator->pairs[queue / 2].worker);
}

void coordinator_release_queue(struct coordinator *coordinator, unsigned queue)
{
    if (!is_control(coordinator, queue) && !is_inert(coordinator, queue))
        worker_resume(coordinator->pairs[queue / 2].worker);
}

void coordinator_reset(struct coordinator *coordinator)
{
    unsigned pairs = coordinator->nic.config.queue_pairs;

    if (nic_control_queue(&coordinator->nic) != UINT_MAX)
        coordinator_stop_queue(coordinator, nic_control_queue(&coordinator->nic));
    nic_reset(&coordinator->nic);
    for (unsigned i = 0; i < 2 * pairs; i++) {
        coordinator_stop_queue(coordinator, i);
        coordinator_enable_queue(coordinator, i, COORDINATOR_DISABLE);
    }
    memset(coordinator->stopped_at, 0, (2 * pairs + 1) * sizeof(*coordinator->stopped_at));
    update_all(coordinator);
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
    inspect_leave(visitor);
    free(copy);
}

void coordinator_inspect(struct coordinator *coordinator, struct inspect *visitor)
{
    struct endpoint *endpoint = coordinator->endpoint;

    nic_inspect(&coordinator->nic, visitor);
    inspect_text(visitor, "endpoint_type", "%s", coordinator->spec.kind);
    inspect_text(visitor, "endpoint_state", "%s", endpoint == NULL ? "gone" : "open");
    inspect_number(visitor, "endpoint_max_queues", coordinator->nic.caps.queue_pairs_max);
    inspect_number(visitor, "endpoint_failures", coordinator->endpoint_failures);
    inspect_enter(visitor, "endpoint");
    if (endpoint != NULL && endpoint->ops->inspect != NULL)
        endpoint->ops->inspect(endpoint, visitor);
    inspect_leave(visitor);
    if (nic_control_queue(&coordinator->nic) != UINT_MAX)
        nic_control_inspect(&coordinator->control, visitor);
    inspect_enter(visitor, "queues");
    for (unsigned i = 0; i < coordinator->nic.config.queue_pairs; i++)
        inspect_pair(coordinator, i, visitor);
    inspect_leave(visitor);
}
