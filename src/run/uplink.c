/* SPDX-License-Identifier: MIT */
#include "run/uplink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "nic/patch.h"

enum {
    UPLINK_NAME_LEN = 40,
    KIND_LEN_MAX = 32,
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
};

struct uplink {
    char name[UPLINK_NAME_LEN];
    struct endpoint_spec spec; /* owned */
    struct worker_pool *pool;  /* borrowed */
    struct loop *loop;         /* borrowed */
    struct endpoint *port;     /* owned */
    struct endpoint *outer;    /* owned; NULL while it is gone */
    struct loop_source source; /* the outer endpoint's events */
    struct loop_timer retry;   /* runs while it is gone */
    uint64_t retry_ms;
    uint64_t failures;
    struct error error;        /* why it is gone */
    struct event_bits faults;  /* never raised: there are no rings */
    struct worker_pair *pairs; /* owned, one a queue */
    struct patch *patches;     /* owned likewise */
    unsigned count;
};

/* ---- one pair; its worker is paused ----------------------------------------------------- */

NEEDS_DATA static void pair_disconnect(struct uplink *uplink, unsigned index)
{
    struct worker_pair *worker_pair = &uplink->pairs[index];
    struct pair *outer = &worker_pair->pair;
    struct pair *inner = &uplink->patches[index].inner;

    if (inner->endpoint_queue != NULL)
        inner->ops->queue_close(inner->endpoint_queue);
    worker_unwatch(&worker_pair->endpoint);
    if (outer->endpoint_queue != NULL)
        outer->ops->queue_close(outer->endpoint_queue);
    inner->endpoint_queue = outer->endpoint_queue = NULL;
    inner->ops = outer->ops = NULL;
    patch_forget(&uplink->patches[index]);
}

/* Outside first: nothing comes from the switch before there is somewhere to send it. */
NEEDS_DATA static int pair_connect(struct uplink *uplink, unsigned index, struct error *err)
{
    struct worker_pair *worker_pair = &uplink->pairs[index];
    struct pair *outer = &worker_pair->pair;
    struct pair *inner = &uplink->patches[index].inner;
    const struct endpoint_ops *ops = uplink->outer->ops;
    int result =
        ops->queue_open(uplink->outer, index, &outer->endpoint_rx, &outer->endpoint_queue, err);

    if (result < 0) {
        outer->endpoint_queue = NULL;
        return result;
    }
    outer->ops = ops;
    result = worker_watch_endpoint(worker_pair, ops->wait_fd(outer->endpoint_queue));
    if (result < 0)
        error_set(err, -result, "endpoint %s can't be waited for", ops->kind);
    if (result == 0)
        result = uplink->port->ops->queue_open(uplink->port, index, &inner->endpoint_rx,
                                               &inner->endpoint_queue, err);
    if (result < 0) {
        inner->endpoint_queue = NULL;
        pair_disconnect(uplink, index);
        return result;
    }
    inner->ops = uplink->port->ops;
    outer->rx_ready = 1;
    worker_wake(worker_pair);
    return 0;
}

static void disconnect_all(struct uplink *uplink)
{
    for (unsigned i = 0; i < uplink->count; i++) {
        worker_pause(uplink->pairs[i].worker);
        pair_disconnect(uplink, i);
        worker_resume(uplink->pairs[i].worker);
    }
}

static int connect_all(struct uplink *uplink, struct error *err)
{
    int result = 0;

    for (unsigned i = 0; i < uplink->count && result == 0; i++) {
        worker_pause(uplink->pairs[i].worker);
        if (uplink->pairs[i].pair.endpoint_queue == NULL)
            result = pair_connect(uplink, i, err);
        worker_resume(uplink->pairs[i].worker);
    }
    return result;
}

/* ---- the endpoint's life ---------------------------------------------------------------- */

/* A link that is down is a port without queues: frames for it are dropped and counted. */
static int link_follow(struct uplink *uplink, struct error *err)
{
    struct endpoint *outer = uplink->outer;

    if (outer->ops->link_up == NULL || outer->ops->link_up(outer))
        return connect_all(uplink, err);
    disconnect_all(uplink);
    return 0;
}

static void outer_drop(struct uplink *uplink)
{
    disconnect_all(uplink);
    if (uplink->source.fd >= 0)
        loop_remove(uplink->loop, &uplink->source);
    uplink->source.fd = -1;
    endpoint_close(uplink->outer);
    uplink->outer = NULL;
}

static int outer_check(struct uplink *uplink, struct error *err)
{
    struct endpoint *outer = uplink->outer;
    struct endpoint_caps caps = {0};

    outer->ops->capabilities(outer, &caps);
    if (uplink->count > caps.queue_pairs_max)
        return error_set(err, EINVAL, "endpoint %s takes at most queues=%u, not %u",
                         uplink->spec.kind, caps.queue_pairs_max, uplink->count);
    if (outer->ops->reap != NULL)
        return error_set(err, EINVAL, "endpoint %s can't be an uplink; choose another one",
                         uplink->spec.kind);
    for (unsigned i = 0; i < uplink->count; i++)
        uplink->pairs[i].pair.rules.tx_passed = caps.tx_offloads;
    if (outer->ops->set_offloads != NULL)
        outer->ops->set_offloads(outer, caps.rx_offloads);
    return 0;
}

/* -ENOENT: what was given is another thing than the spec names. */
static int outer_inherit(struct uplink *uplink, const struct uplink_config *config,
                         struct error *err)
{
    char kind[KIND_LEN_MAX + 1] = {0};
    struct record_reader *given = config->given;
    size_t len = record_take_u8(given);
    uint32_t block_len;

    if (len > KIND_LEN_MAX)
        return error_set(err, EINVAL, "what the old daemon gave of it is malformed");
    record_take_bytes(given, kind, len);
    block_len = record_take_u32(given);
    if (given->failed || block_len > given->left)
        return error_set(err, EINVAL, "what the old daemon gave of it is malformed");
    if (strcmp(kind, uplink->spec.kind) != 0)
        return -ENOENT;
    return endpoint_take(&uplink->spec, &(struct endpoint_gift){given->at, block_len, config->fds},
                         &uplink->outer, err);
}

/* config: of an uplink that is just being opened; NULL: it is opened again. */
static int outer_take(struct uplink *uplink, const struct uplink_config *config, struct error *err)
{
    int result = -ENOENT;

    if (config != NULL && config->given != NULL)
        result = outer_inherit(uplink, config, err);
    if (result == -ENOENT)
        result = endpoint_open(&uplink->spec, &uplink->outer, err);
    if (result < 0)
        return result;
    result = outer_check(uplink, err);
    if (result == 0 && uplink->outer->ops->event_fd != NULL)
        uplink->source.fd = uplink->outer->ops->event_fd(uplink->outer);
    if (result == 0 && uplink->source.fd >= 0) {
        result = loop_add(uplink->loop, &uplink->source, EPOLLIN);
        if (result < 0) {
            uplink->source.fd = -1;
            error_set(err, -result, "endpoint %s: its events can't be waited for",
                      uplink->spec.kind);
        }
    }
    if (result == 0)
        result = link_follow(uplink, err);
    if (result < 0)
        outer_drop(uplink);
    return result;
}

static void outer_lost(struct uplink *uplink)
{
    uplink->failures++;
    if (uplink->error.text[0] == '\0')
        error_set(&uplink->error, ENODEV, "endpoint %s went away", uplink->spec.kind);
    uplink->spec.only_if_there =
        uplink->outer->ops->was_there != NULL && uplink->outer->ops->was_there(uplink->outer);
    outer_drop(uplink);
    uplink->retry_ms = RETRY_FIRST_MS;
    loop_timer_start(uplink->loop, &uplink->retry, uplink->retry_ms * CLOCK_MILLISECOND_NS);
}

static void retry(struct loop_timer *timer)
{
    struct uplink *uplink = CONTAINER_OF(timer, struct uplink, retry);
    struct error err;

    if (outer_take(uplink, NULL, &err) == 0) {
        log_info("%s: endpoint %s is back", uplink->name, uplink->spec.kind);
        uplink->error.text[0] = '\0';
        return;
    }
    uplink->error = err;
    uplink->retry_ms = MIN(2 * uplink->retry_ms, RETRY_MAX_MS);
    loop_timer_start(uplink->loop, timer, uplink->retry_ms * CLOCK_MILLISECOND_NS);
}

static void events_ready(struct loop_source *source, uint32_t events)
{
    struct uplink *uplink = CONTAINER_OF(source, struct uplink, source);
    uint32_t bits = uplink->outer->ops->events(uplink->outer);
    struct error err = {""};
    int result = 0;

    (void)events;
    if (bits & ENDPOINT_EVENT_GONE) {
        log_warning("%s: endpoint %s went away; trying to open it again", uplink->name,
                    uplink->spec.kind);
        outer_lost(uplink);
        return;
    }
    if (bits & ENDPOINT_EVENT_RESTART)
        disconnect_all(uplink);
    if (bits & (ENDPOINT_EVENT_RESTART | ENDPOINT_EVENT_LINK))
        result = link_follow(uplink, &err);
    if (result < 0) {
        log_warning("%s: %s; trying again", uplink->name, err.text);
        uplink->error = err;
        outer_lost(uplink);
    }
}

/* ---- open and close --------------------------------------------------------------------- */

static int pairs_create(struct uplink *uplink)
{
    unsigned count = uplink->spec.queue_pairs;
    size_t size = (count * sizeof(struct worker_pair) + 63) / 64 * 64;
    int result = 0;

    uplink->pairs = aligned_alloc(64, size);
    uplink->patches = calloc(count, sizeof(*uplink->patches));
    if (uplink->pairs == NULL || uplink->patches == NULL)
        return -ENOMEM;
    memset(uplink->pairs, 0, size);
    for (unsigned i = 0; i < count && result == 0; i++) {
        struct worker *worker = worker_pool_place(uplink->pool, UINT64_MAX);

        pair_init(&uplink->pairs[i].pair, i);
        worker_pause(worker);
        result = worker_attach(worker, &uplink->pairs[i], &uplink->faults);
        worker_resume(worker);
        if (result < 0)
            break;
        uplink->count++;
        result = patch_init(&uplink->patches[i], &uplink->pairs[i].pair);
    }
    return result;
}

int uplink_open(const struct uplink_config *config, struct uplink **ret_uplink, struct error *err)
{
    struct uplink *uplink = calloc(1, sizeof(*uplink));
    int result;

    if (uplink == NULL)
        return error_set(err, ENOMEM, "out of memory");
    snprintf(uplink->name, sizeof(uplink->name), "%s", config->name);
    uplink->pool = config->pool;
    uplink->loop = config->loop;
    uplink->source = (struct loop_source){.fd = -1, .ready = events_ready};
    uplink->retry.fire = retry;
    uplink->faults.fd = -1;
    result = endpoint_spec_copy(config->spec, &uplink->spec);
    if (result == 0)
        result = event_bits_init(&uplink->faults);
    if (result == 0)
        result = pairs_create(uplink);
    if (result < 0) {
        error_set(err, -result, "%s can't be set up: %s", config->name, strerror(-result));
    } else {
        uplink->port = config->port;
        result = outer_take(uplink, config, err);
    }
    if (result < 0) {
        uplink->port = NULL; /* the caller's again */
        uplink_close(uplink);
        return result;
    }
    *ret_uplink = uplink;
    return 0;
}

void uplink_close(struct uplink *uplink)
{
    if (uplink == NULL)
        return;
    loop_timer_stop(uplink->loop, &uplink->retry);
    if (uplink->outer != NULL)
        outer_drop(uplink);
    for (unsigned i = 0; i < uplink->count; i++) {
        struct worker *worker = uplink->pairs[i].worker;

        worker_pause(worker);
        worker_detach(&uplink->pairs[i]);
        worker_resume(worker);
        patch_free(&uplink->patches[i]);
    }
    if (uplink->port != NULL)
        uplink->port->ops->close(uplink->port);
    free(uplink->pairs);
    free(uplink->patches);
    event_bits_free(&uplink->faults);
    endpoint_spec_clear(&uplink->spec);
    free(uplink);
}

/* ---- another process ---------------------------------------------------------------------- */

int uplink_can_give(const struct uplink *uplink)
{
    return uplink->outer != NULL && uplink->outer->ops->give != NULL;
}

/* What was received and did not fit into the switch yet goes into it, as far as there is room. */
static void stores_flush(struct uplink *uplink) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < uplink->count; i++) {
        struct worker *worker = uplink->pairs[i].worker;

        worker_pause(worker);
        patch_turn(&uplink->patches[i], worker_scratch(worker), 0);
        worker_resume(worker);
    }
}

void uplink_give(struct uplink *uplink, struct records_writer *writer, struct fd_list *fds)
{
    const struct endpoint_ops *ops = uplink->outer->ops;
    uint8_t kind_len = (uint8_t)strnlen(ops->kind, KIND_LEN_MAX);
    struct records_writer inner;
    uint8_t *block;
    size_t len;
    int result;

    stores_flush(uplink);
    records_begin_long(&inner);
    ops->give(uplink->outer, &inner, fds);
    result = records_end(&inner, &block, &len);
    if (result < 0) {
        writer->failed |= result == -ENOMEM;
        writer->too_long |= result == -EFBIG;
        return;
    }
    records_put_u8(writer, kind_len);
    records_put_bytes(writer, ops->kind, kind_len);
    records_put_u32(writer, (uint32_t)len);
    records_put_bytes(writer, block, len);
    free(block);
}

void uplink_keep(struct uplink *uplink)
{
    if (uplink->outer != NULL && uplink->outer->ops->keep != NULL)
        uplink->outer->ops->keep(uplink->outer);
}

/* ---- inspect ------------------------------------------------------------------------------ */

static void pair_show(struct worker_pair *worker_pair, struct inspect *visitor)
{
    const struct pair_stats *stats = &worker_pair->pair.stats;

    inspect_counter(visitor, "tx_packets", &stats->tx_packets);
    inspect_counter(visitor, "tx_bytes", &stats->tx_bytes);
    inspect_counter(visitor, "tx_segmented", &stats->tx_segmented);
    inspect_counter(visitor, "tx_stalled", &stats->tx_stalled);
    inspect_enter(visitor, "tx_drops");
    for (unsigned i = 0; i < PAIR_TX_DROP_COUNT; i++)
        inspect_counter(visitor, pair_tx_drop_name(i), &stats->tx_drop[i]);
    inspect_leave(visitor);
    inspect_counter(visitor, "rx_packets", &stats->rx_packets);
    inspect_counter(visitor, "rx_bytes", &stats->rx_bytes);
    inspect_enter(visitor, "rx_drops");
    for (unsigned i = 0; i < PAIR_RX_DROP_COUNT; i++)
        inspect_counter(visitor, pair_rx_drop_name(i), &stats->rx_drop[i]);
    inspect_leave(visitor);
}

void uplink_inspect(struct uplink *uplink, struct inspect *visitor)
{
    struct endpoint *outer = uplink->outer;

    inspect_text(visitor, "endpoint_type", "%s", uplink->spec.kind);
    inspect_text(visitor, "endpoint_state", "%s", outer == NULL ? "gone" : "open");
    if (outer == NULL)
        inspect_text(visitor, "endpoint_error", "%s", uplink->error.text);
    inspect_text(visitor, "link", "%s", uplink->pairs[0].pair.ops != NULL ? "up" : "down");
    inspect_number(visitor, "endpoint_failures", uplink->failures);
    inspect_enter(visitor, "endpoint");
    if (outer != NULL && outer->ops->inspect != NULL)
        outer->ops->inspect(outer, visitor);
    inspect_leave(visitor);
    inspect_enter(visitor, "queues");
    for (unsigned i = 0; i < uplink->count; i++) {
        inspect_enter_index(visitor, i);
        pair_show(&uplink->pairs[i], visitor);
        inspect_leave(visitor);
    }
    inspect_leave(visitor);
}
