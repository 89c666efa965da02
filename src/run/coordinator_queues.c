/* SPDX-License-Identifier: MIT */
/* Queues, started and stopped one by one while others run; and the control queue, served here. */
#include "run/coordinator_parts.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

enum {
    CONTROL_ROUNDS = 64, /* batches of control commands in one go */
    DRAIN_READS = 128,   /* a full pipe */
    REST_TURNS = 64,     /* of a pair whose ring is about to be let go of */
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

int coordinator_queue_is_used(const struct coordinator *coordinator, unsigned queue)
{
    return !is_inert(coordinator, queue);
}

struct virtqueue *coordinator_queue(struct coordinator *coordinator, unsigned queue)
{
    if (is_control(coordinator, queue))
        return &coordinator->control.queue;
    if (is_inert(coordinator, queue))
        return &coordinator->inert;
    return queue % 2 == 0 ? &pair_of_queue(coordinator, queue)->rx
                          : &pair_of_queue(coordinator, queue)->tx;
}

/* ---- the control queue ------------------------------------------------------------------ */

/* A driver that never stops asking does not keep the control thread: the rest waits for its timer.
 */
static void control_serve_some(struct coordinator *coordinator)
{
    struct nic_control *control = &coordinator->control;

    virtqueue_disarm(&control->queue);
    for (unsigned round = 0; round < CONTROL_ROUNDS; round++) {
        if (nic_control_serve(control) == 0 && !virtqueue_arm(&control->queue)) {
            if (control->queue.fault != QUEUE_FAULT_NONE)
                coordinator_tell_fault(coordinator, nic_control_queue(&coordinator->nic),
                                       &control->queue);
            return;
        }
    }
    loop_timer_start(coordinator->loop, &coordinator->control_again, 0);
}

void coordinator_control_again(struct loop_timer *timer)
{
    control_serve_some(CONTAINER_OF(timer, struct coordinator, control_again));
}

void coordinator_control_ready(struct loop_source *source, uint32_t events)
{
    struct coordinator *coordinator = CONTAINER_OF(source, struct coordinator, control_kick);
    uint8_t bytes[512];

    (void)events;
    for (unsigned i = 0; i < DRAIN_READS; i++) { /* only pipes and sockets hold as much */
        if (fd_read_now(source->fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
            break;
    }
    control_serve_some(coordinator);
}

static void control_apply(void *context)
{
    coordinator_update_all(context);
}

static int control_queue_ready(void *context, unsigned queue)
{
    struct coordinator *coordinator = context;

    return queue < 2 * coordinator->nic.config.queue_pairs && coordinator->enabled[queue] &&
           coordinator_queue(coordinator, queue)->running;
}

static const struct pair *control_pair(void *context, unsigned index)
{
    struct coordinator *coordinator = context;

    return &coordinator->pairs[index].pair;
}

const struct nic_control_ops coordinator_control_ops = {
    .apply = control_apply,
    .queue_ready = control_queue_ready,
    .pair = control_pair,
};

void coordinator_control_stop(struct coordinator *coordinator)
{
    if (coordinator->control_kick.fd >= 0)
        loop_remove(coordinator->loop, &coordinator->control_kick);
    coordinator->control_kick.fd = -1;
    loop_timer_stop(coordinator->loop, &coordinator->control_again);
    coordinator->stopped_at[coordinator->control_index] =
        virtqueue_stop(&coordinator->control.queue);
    coordinator_update_all(coordinator);
}

/* ---- start and stop ---------------------------------------------------------------------- */

/* Completions of a transmit queue all have length 0. */
void coordinator_ring_config(const struct coordinator *coordinator, unsigned queue,
                             struct virtqueue_config *config)
{
    const struct features *agreed = &coordinator->nic.agreed;

    config->features &= VIRTQUEUE_FROM_ZERO;
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
    int result = nic_control_start(control, config, coordinator->memory, err);

    if (result < 0)
        return result;
    coordinator->control_index = nic_control_queue(&coordinator->nic);
    coordinator->control_kick.fd = kick_fd;
    if (kick_fd >= 0 &&
        loop_add(coordinator->loop, &coordinator->control_kick, EPOLLIN | EPOLLET) < 0) {
        coordinator->control_kick.fd = -1;
        virtqueue_stop(&control->queue);
        return error_set(err, EINVAL, "the control queue's kick fd can't be waited for");
    }
    coordinator_update_all(coordinator);
    loop_timer_start(coordinator->loop, &coordinator->control_again,
                     0); /* it may be filled already */
    return 0;
}

/* A queue that starts anew may break anew. */
static void faults_forget(struct worker_pair *worker_pair, enum worker_fault fault)
{
    worker_pair->faults_raised &= (uint8_t)~fault;
    worker_pair->faults_told &= (uint8_t)~fault;
}

/* vhost-user: a kick message without a file descriptor (VU-ST-01). */
static void polled_update(struct worker_pair *worker_pair)
{
    struct pair *pair = &worker_pair->pair;

    pair->polled = (pair->rx.running && worker_pair->rx_kick.fd < 0) ||
                   (pair->tx.running && worker_pair->tx_kick.fd < 0);
}

NEEDS_DATA static int pair_start(struct coordinator *coordinator, unsigned queue,
                                 const struct virtqueue_config *config, int kick_fd,
                                 struct error *err)
{
    struct worker_pair *worker_pair = &coordinator->pairs[queue / 2];
    struct virtqueue *virtqueue = coordinator_queue(coordinator, queue);
    struct worker_source *kick = queue % 2 == 0 ? &worker_pair->rx_kick : &worker_pair->tx_kick;
    int result = virtqueue_start(virtqueue, config, coordinator->memory, err);

    if (result < 0)
        return result;
    if (kick_fd >= 0 && worker_watch_kick(worker_pair, kick, kick_fd, &virtqueue->kicks) < 0) {
        virtqueue_stop(virtqueue);
        return error_set(err, EINVAL, "the kick fd of queue %u can't be waited for", queue);
    }
    if (queue % 2 == 0)
        worker_pair->pair.endpoint_rx.resume = worker_pair->pair.inbox_resume = 0;
    else
        worker_pair->pair.tx_resume = 0;
    faults_forget(worker_pair, queue % 2 == 0 ? WORKER_FAULT_RX : WORKER_FAULT_TX);
    polled_update(worker_pair);
    if (!coordinator->enabled[queue])
        virtqueue_rest(virtqueue);
    nic_queue_started(&coordinator->nic, queue);
    coordinator_update_pair(coordinator, queue / 2);
    return 0;
}

static int start_check(const struct coordinator *coordinator, unsigned queue,
                       const struct virtqueue_config *config, struct error *err)
{
    if (coordinator->memory == NULL)
        return error_set(err, EINVAL, "queue %u was started before there is guest memory", queue);
    if (config->size > coordinator->nic.config.queue_size_max)
        return error_set(err, EINVAL, "queue %u has %u entries, the most are %u", queue,
                         config->size, coordinator->nic.config.queue_size_max);
    return 0;
}

int coordinator_check_queue(struct coordinator *coordinator, unsigned queue,
                            const struct virtqueue_config *config, struct error *err)
{
    struct virtqueue_config complete = *config;
    int result = start_check(coordinator, queue, config, err);

    if (result < 0)
        return result;
    coordinator_ring_config(coordinator, queue, &complete);
    return virtqueue_check(&complete, coordinator->memory, err);
}

int coordinator_start_queue(struct coordinator *coordinator, unsigned queue,
                            const struct virtqueue_config *config, int kick_fd, struct error *err)
{
    struct virtqueue_config complete = *config;
    int result = start_check(coordinator, queue, config, err);

    if (result < 0)
        return result;
    if (is_inert(coordinator, queue))
        return 0;
    coordinator_stop_queue(coordinator, queue);
    coordinator->unmapped[queue] = 0;
    coordinator_ring_config(coordinator, queue, &complete);
    if (is_control(coordinator, queue))
        return control_start(coordinator, &complete, kick_fd, err);
    coordinator_hold_queue(coordinator, queue);
    result = pair_start(coordinator, queue, &complete, kick_fd, err);
    coordinator_release_queue(coordinator, queue);
    return result;
}

NEEDS_DATA static void pair_stop(struct coordinator *coordinator, unsigned queue)
{
    struct worker_pair *worker_pair = &coordinator->pairs[queue / 2];

    worker_unwatch(queue % 2 == 0 ? &worker_pair->rx_kick : &worker_pair->tx_kick);
    if (worker_pair->pair.ops != NULL && worker_pair->pair.ops->quiesce != NULL)
        coordinator_disconnect_pair(worker_pair); /* it may hold buffers of this ring */
    coordinator->stopped_at[queue] = virtqueue_stop(coordinator_queue(coordinator, queue));
    polled_update(worker_pair);
    coordinator_update_pair(coordinator, queue / 2);
}

uint32_t coordinator_stop_queue(struct coordinator *coordinator, unsigned queue)
{
    struct virtqueue *virtqueue = coordinator_queue(coordinator, queue);

    if (!virtqueue->running)
        return coordinator->stopped_at[queue];
    if (is_control(coordinator, queue)) {
        coordinator_control_stop(coordinator);
        return coordinator->stopped_at[queue];
    }
    coordinator_hold_queue(coordinator, queue);
    pair_stop(coordinator, queue);
    coordinator_release_queue(coordinator, queue);
    return coordinator->stopped_at[queue];
}

int coordinator_queue_running(struct coordinator *coordinator, unsigned queue)
{
    return coordinator_queue(coordinator, queue)->running;
}

enum queue_fault coordinator_queue_fault(struct coordinator *coordinator, unsigned queue)
{
    enum queue_fault fault;

    coordinator_hold_queue(coordinator, queue);
    fault = coordinator_queue(coordinator, queue)->fault;
    coordinator_release_queue(coordinator, queue);
    return fault;
}

/* Moves what the driver has queued so far, then lets go of the ring: User Mode Linux frees the
 * memory of a ring as soon as this is acknowledged, and never stops it. The specification would
 * have us go on and discard (VU-ST-03). */
NEEDS_DATA static void queue_rest(struct coordinator *coordinator, unsigned queue)
{
    struct worker_pair *worker_pair = &coordinator->pairs[queue / 2];
    struct virtqueue *virtqueue = coordinator_queue(coordinator, queue);
    struct pair_scratch *scratch = worker_scratch(worker_pair->worker);

    if (!virtqueue->running || virtqueue->resting & VIRTQUEUE_DISABLED)
        return;
    for (unsigned i = 0; i < REST_TURNS && pair_turn(&worker_pair->pair, scratch, virtqueue->size);
         i++)
        ;
    if (worker_pair->pair.ops != NULL && worker_pair->pair.ops->quiesce != NULL)
        coordinator_disconnect_pair(worker_pair);
    virtqueue_rest(virtqueue);
}

static void control_enable(struct coordinator *coordinator, enum coordinator_enable enable)
{
    struct virtqueue *queue = &coordinator->control.queue;

    if (enable == COORDINATOR_DISABLE)
        virtqueue_rest(queue);
    else
        virtqueue_rouse(queue);
    if (queue->running)
        loop_timer_start(coordinator->loop, &coordinator->control_again, 0);
}

void coordinator_enable_queue(struct coordinator *coordinator, unsigned queue,
                              enum coordinator_enable enable)
{
    if (is_control(coordinator, queue)) {
        control_enable(coordinator, enable);
        return;
    }
    if (is_inert(coordinator, queue))
        return;
    coordinator_hold_queue(coordinator, queue);
    coordinator->enabled[queue] = enable == COORDINATOR_ENABLE;
    if (enable == COORDINATOR_DISABLE)
        queue_rest(coordinator, queue);
    else
        virtqueue_rouse(coordinator_queue(coordinator, queue));
    coordinator_update_pair(coordinator, queue / 2);
    coordinator_release_queue(coordinator, queue);
}

void coordinator_hold_queue(struct coordinator *coordinator, unsigned queue) ROLE_UNCHECKED
{
    if (!is_control(coordinator, queue) && !is_inert(coordinator, queue))
        worker_pause(coordinator->pairs[queue / 2].worker);
}

void coordinator_release_queue(struct coordinator *coordinator, unsigned queue) ROLE_UNCHECKED
{
    if (!is_control(coordinator, queue) && !is_inert(coordinator, queue))
        worker_resume(coordinator->pairs[queue / 2].worker);
}

void coordinator_set_log(struct coordinator *coordinator, unsigned queue,
                         const struct virtqueue_log *log)
{
    struct virtqueue *virtqueue = coordinator_queue(coordinator, queue);

    if (!virtqueue->running)
        return;
    coordinator_hold_queue(coordinator, queue);
    virtqueue_set_log(virtqueue, log);
    coordinator_release_queue(coordinator, queue);
}

/* What broke before a reset is not told to the driver that comes after it. */
static void faults_drop(struct coordinator *coordinator, unsigned queue)
{
    struct worker_pair *worker_pair = &coordinator->pairs[queue / 2];

    coordinator_hold_queue(coordinator, queue);
    coordinator_queue(coordinator, queue)->fault = QUEUE_FAULT_NONE;
    faults_forget(worker_pair, queue % 2 == 0 ? WORKER_FAULT_RX : WORKER_FAULT_TX);
    coordinator_release_queue(coordinator, queue);
}

/* All at one moment: a frame that loops back is not sent by one ring and lost at the other. */
void coordinator_stop_all(struct coordinator *coordinator) ROLE_UNCHECKED
{
    unsigned pairs = coordinator->nic.config.queue_pairs;

    coordinator_pause_all(coordinator);
    if (nic_control_queue(&coordinator->nic) != UINT_MAX)
        coordinator_stop_queue(coordinator, nic_control_queue(&coordinator->nic));
    for (unsigned i = 0; i < 2 * pairs; i++)
        coordinator_stop_queue(coordinator, i);
    coordinator_resume_all(coordinator);
}

void coordinator_reset(struct coordinator *coordinator)
{
    unsigned pairs = coordinator->nic.config.queue_pairs;

    coordinator_stop_all(coordinator); /* what moves until then does by what was agreed */
    nic_reset(&coordinator->nic);
    for (unsigned i = 0; i < 2 * pairs; i++) {
        faults_drop(coordinator, i);
        coordinator_enable_queue(coordinator, i, COORDINATOR_DISABLE);
    }
    memset(coordinator->stopped_at, 0, (2 * pairs + 1) * sizeof(*coordinator->stopped_at));
    coordinator_update_all(coordinator);
}
