/* SPDX-License-Identifier: MIT */
/*
 * Hundreds of ports of a switch, served by several threads, while a control thread opens and closes
 * queues under them, each with its own worker held. What every port sees of a sender is in order
 * and whole, and no sender sleeps for ever.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/span_copy.h"
#include "check.h"
#include "endpoint/spec.h"
#include "endpoint/switch/switches.h"

enum {
    WORKERS = 3,
    SEATS = 300,
    ACTIVE = 24, /* seats that send */
    FRAMES = 1500,
    BATCH = 8,
    LEN_MAX = 3000,
    CHURNS = 400,
    PATIENCE_S = 60,
};

/* What stands behind the addresses of a frame. */
struct stamp {
    uint32_t from, number, len;
};

struct seat {
    struct endpoint_rx rx; /* first member */
    struct endpoint_waker waker;
    atomic_int rung;
    unsigned index;
    uint8_t mac[6];
    struct endpoint *endpoint;
    struct endpoint_queue *queue; /* NULL: closed. Changed while the worker is held */
    int visited;                  /* by its worker: inside enter and leave */
    unsigned room;                /* frames that the guest still takes */
    uint32_t next[SEATS];         /* by sender: the least number that may come */
    uint32_t sent;
    uint64_t got;
};

struct worker {
    pthread_t thread;
    pthread_mutex_t turn; /* held by the worker in each round, by the control thread for changes */
    unsigned index;
};

static struct switches *switches;
static struct seat seat[SEATS];
static struct worker worker[WORKERS];
static atomic_int ending;
static atomic_uint finished; /* seats that sent all they had to */

/* ---- the guest's side ------------------------------------------------------------------- */

static unsigned deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count)
{
    struct seat *to = (struct seat *)rx;

    for (unsigned i = 0; i < count; i++) {
        uint8_t bytes[12 + sizeof(struct stamp)];
        struct stamp stamp;

        if (to->room == 0)
            return i;
        to->room--;
        span_copy_out(bytes, frames[i].iov, sizeof(bytes));
        memcpy(&stamp, bytes + 12, sizeof(stamp));
        assert_true(stamp.from < SEATS && stamp.from != to->index);
        assert_int_equal(stamp.len, frames[i].len);
        check(stamp.number >= to->next[stamp.from], "seat %u: frame %u of %u came behind %u",
              to->index, stamp.number, stamp.from, to->next[stamp.from]);
        to->next[stamp.from] = stamp.number + 1;
        to->got++;
    }
    return count;
}

static void enter(struct endpoint_rx *rx, struct endpoint_rx *from)
{
    struct seat *to = (struct seat *)rx;

    assert_ptr_equal(rx->worker, from->worker);
    assert_false(to->visited);
    to->visited = 1;
}

static void leave(struct endpoint_rx *rx)
{
    ((struct seat *)rx)->visited = 0;
}

static const struct endpoint_rx_ops rx_ops = {.deliver = deliver, .enter = enter, .leave = leave};

static void wake(struct endpoint_waker *waker)
{
    atomic_store(&CONTAINER_OF(waker, struct seat, waker)->rung, 1);
}

/* ---- workers ---------------------------------------------------------------------------- */

/* Mostly to one of the others, now and then to all. */
static void frame_make(struct seat *from, uint32_t number, uint8_t *bytes, struct iovec *iov,
                       struct frame *ret_frame)
{
    uint32_t mixed = number * 2654435761u ^ from->index * 40503u;
    struct stamp stamp = {.from = from->index, .number = number, .len = 60 + mixed % LEN_MAX};
    unsigned to = number / BATCH % 3 == 0 ? from->index + WORKERS : mixed >> 8;

    if (mixed % 64 == 0)
        memset(bytes, 0xff, 6);
    else
        memcpy(bytes, seat[to % ACTIVE == from->index ? ACTIVE : to % ACTIVE].mac, 6);
    memcpy(bytes + 6, from->mac, 6);
    memcpy(bytes + 12, &stamp, sizeof(stamp));
    iov[0] = (struct iovec){bytes, 20};
    iov[1] = (struct iovec){bytes + 20, stamp.len - 20};
    *ret_frame = (struct frame){.iov = iov, .iov_count = 2, .len = stamp.len};
}

static void seat_send(struct seat *from)
{
    static _Thread_local uint8_t bytes[BATCH][LEN_MAX + 60];
    struct iovec iov[BATCH][2];
    struct frame frames[BATCH];
    unsigned count = MIN(BATCH, FRAMES - from->sent);

    for (unsigned i = 0; i < count; i++)
        frame_make(from, from->sent + i, bytes[i], iov[i], &frames[i]);
    from->sent += from->endpoint->ops->send(from->queue, frames, count);
    if (from->sent == FRAMES)
        atomic_fetch_add(&finished, 1);
}

static void seat_turn(struct seat *at, unsigned round)
{
    if (round % 3 == at->index % 3)
        at->room = 20;
    if (atomic_exchange(&at->rung, 0) != 0 || at->room == 20)
        at->endpoint->ops->receive(at->queue, 64);
    if (at->index < ACTIVE && at->sent < FRAMES)
        seat_send(at);
}

static void *work(void *argument)
{
    struct worker *self = argument;

    for (unsigned round = 0; !atomic_load(&ending); round++) {
        pthread_mutex_lock(&self->turn);
        for (unsigned i = self->index; i < SEATS; i += WORKERS) {
            if (seat[i].queue != NULL)
                seat_turn(&seat[i], round);
        }
        pthread_mutex_unlock(&self->turn);
        sched_yield();
    }
    return NULL;
}

/* ---- the control thread ----------------------------------------------------------------- */

static void seat_open(struct seat *at, unsigned index)
{
    struct endpoint_spec spec;
    struct error err = {""};
    const char *text = index % 5 == 0 ? "switch:name=lan0,full=wait" : "switch:name=lan0";

    *at = (struct seat){.rx = {.ops = &rx_ops, .worker = &worker[index % WORKERS]},
                        .waker.wake = wake,
                        .index = index,
                        .mac = {0x52, 0x54, 0, 1, (uint8_t)(index >> 8), (uint8_t)index}};
    at->rx.waker = &at->waker;
    assert_int_equal(endpoint_spec_parse(&spec, text, &err), 0);
    memcpy(spec.mac, at->mac, sizeof(spec.mac));
    if (switches_open_port(switches, &spec, &at->endpoint, &err) < 0)
        fail_msg("%s", err.text);
    endpoint_spec_clear(&spec);
    assert_int_equal(at->endpoint->ops->queue_open(at->endpoint, 0, &at->rx, &at->queue, &err), 0);
}

/* A queue is closed and opened while only its own worker stands still. */
static void seat_churn(struct seat *at)
{
    struct worker *of = &worker[at->index % WORKERS];
    struct error err = {""};

    pthread_mutex_lock(&of->turn);
    at->endpoint->ops->queue_close(at->queue);
    at->queue = NULL;
    pthread_mutex_unlock(&of->turn);
    sched_yield();
    pthread_mutex_lock(&of->turn);
    assert_int_equal(at->endpoint->ops->queue_open(at->endpoint, 0, &at->rx, &at->queue, &err), 0);
    pthread_mutex_unlock(&of->turn);
    if (at->endpoint->ops->event_fd(at->endpoint) >= 0)
        at->endpoint->ops->events(at->endpoint);
}

static void hundreds_of_ports_on_several_workers(void **state)
{
    uint64_t end = clock_now_ns() + PATIENCE_S * CLOCK_SECOND_NS;
    uint64_t got = 0;

    (void)state;
    switches = switches_create();
    for (unsigned i = 0; i < SEATS; i++)
        seat_open(&seat[i], i);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker[i].index = i;
        pthread_mutex_init(&worker[i].turn, NULL);
        assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
    }
    for (unsigned i = 0; i < CHURNS; i++)
        seat_churn(&seat[i * 7 % (2 * ACTIVE)]);
    while (atomic_load(&finished) < ACTIVE) {
        check(clock_now_ns() < end, "only %u of %d senders came to their end",
              atomic_load(&finished), ACTIVE);
        sched_yield();
    }
    atomic_store(&ending, 1);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(worker[i].thread, NULL);
    for (unsigned i = 0; i < SEATS; i++) {
        got += seat[i].got;
        seat[i].endpoint->ops->queue_close(seat[i].queue);
        seat[i].endpoint->ops->close(seat[i].endpoint);
    }
    assert_true(got > ACTIVE * FRAMES / 2);
    switches_free(switches);
}

/* The switch is gone with its last port, and there again with the next; a kept one stays. */
static void a_switch_lives_as_long_as_its_ports(void **state)
{
    struct switch_settings settings = {.name = "lan1", .ageing_s = 5};
    struct switches *both = switches_create();
    struct endpoint *endpoint;
    struct error err = {""};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(switches_open_uplink(both, "lan1", &endpoint, &err), 0);
        assert_int_equal(switches_keep(both, &settings, &err), -EEXIST);
        endpoint->ops->close(endpoint);
    }
    assert_int_equal(switches_keep(both, &settings, &err), 0);
    assert_int_equal(switches_open_uplink(both, "lan1", &endpoint, &err), 0);
    endpoint->ops->close(endpoint);
    assert_true(switches_keeps(both, "lan1"));
    assert_int_equal(switches_release(both, "lan1"), 0);
    assert_int_equal(switches_release(both, "lan1"), -ENOENT);
    assert_int_equal(switches_open_uplink(both, "no such name", &endpoint, &err), -EINVAL);
    switches_free(both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_switch_lives_as_long_as_its_ports),
        cmocka_unit_test(hundreds_of_ports_on_several_workers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
