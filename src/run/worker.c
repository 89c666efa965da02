/* SPDX-License-Identifier: MIT */
#include "run/worker_parts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

enum {
    WORKER_EVENTS = 64,
    WORKER_BUDGET = 256,    /* frames each way that a pair moves in one turn */
    WORKER_RIPE_NS = 1000,  /* between two turns of a pair whose driver is adding frames */
    WORKER_LOOK_NS = 10000, /* between two looks at the fds while pairs are runnable */
    WORKER_REST_MS = 1,     /* between two looks at idle rings that have no kick */
    WORKER_DRAIN_READS =
        2048,           /* a megabyte: more than a pipe holds, less than a writer can keep up */
    WORKER_ROUNDS = 16, /* of a worker without a thread before it lets the loop go on */
};

/* ---- the thread ------------------------------------------------------------------------- */

static void make_runnable(struct worker_pair *pair)
{
    struct worker *worker = pair->worker;

    if (pair->runnable)
        return;
    pair->runnable = 1;
    pair->idle_since_ns = 0;
    worker->runnable[worker->runnable_count++] = pair;
}

/* Pairs that other threads have something for. */
static void bells_answer(struct worker *worker)
{
    struct worker_bell *bell = worker_bells_heard(&worker->bells);

    while (bell != NULL) {
        struct worker_pair *pair = bell->pair;

        bell = worker_bell_answer(bell);
        if (pair == NULL)
            continue;
        pair->pair.rx_ready |= pair->pair.rx_by_bell;
        pair->woken = 1;
        make_runnable(pair);
    }
}

/* An eventfd's kicks arrive as edges and its counter is left alone: no system call, and nothing
 * that a peer could make block. Only pipes and sockets fill up, so they are read. */
static void source_drain(const struct worker_source *source)
{
    uint8_t bytes[512];
    struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};

    for (unsigned i = 0; i < WORKER_DRAIN_READS; i++) {
        if (preadv2(source->fd, &iov, 1, -1, RWF_NOWAIT) != (ssize_t)sizeof(bytes))
            return;
    }
}

static void source_ready(struct worker_source *source, uint32_t events)
{
    struct worker_pair *pair = source->owner;

    if (source->kicks != NULL) {
        counter_add(source->kicks, 1);
        if (source->drain)
            source_drain(source);
    } else {
        pair_endpoint_ready(&pair->pair, events);
    }
    pair->woken = 1;
    make_runnable(pair);
}

static void source_register(struct worker *worker, struct worker_source *source, uint32_t wanted)
{
    struct epoll_event event = {.events = wanted, .data.ptr = source};
    int operation = source->wanted == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (source->fd < 0 || source->wanted == wanted)
        return;
    if (wanted == 0)
        operation = EPOLL_CTL_DEL;
    if (epoll_ctl(worker->epoll_fd, operation, source->fd, &event) == 0)
        source->wanted = wanted;
}

static uint8_t pair_faults(const struct pair *pair)
{
    return (pair->rx.fault != QUEUE_FAULT_NONE ? WORKER_FAULT_RX : 0) |
           (pair->tx.fault != QUEUE_FAULT_NONE ? WORKER_FAULT_TX : 0);
}

/* 1 if the pair has nothing to do and may sleep. */
NEEDS_DATA static int pair_idle(struct worker *worker, struct worker_pair *pair)
{
    uint64_t span_ns;

    if (pair->woken)
        counter_add(&pair->pair.stats.spurious_wakes, 1);
    pair->woken = 0;
    span_ns = pair->pair.rx.running || pair->pair.tx.running
                  ? worker_poll_span(&worker->poll, worker->now_ns)
                  : 0;
    if (span_ns == 0)
        return pair_arm(&pair->pair) == 0;
    if (pair->idle_since_ns == 0) {
        pair->idle_since_ns = worker->now_ns;
        pair->idle_until_ns = worker->now_ns;
    }
    counter_add(&pair->pair.stats.looked_on_ns, worker->now_ns - pair->idle_until_ns);
    pair->idle_until_ns = worker->now_ns;
    return worker->now_ns - pair->idle_since_ns >= span_ns && pair_arm(&pair->pair) == 0;
}

/* ---- interrupts that are held back ------------------------------------------------------ */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void hold_timer_set(struct worker *worker, uint64_t until_ns)
{
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(until_ns / CLOCK_SECOND_NS),
                                         .tv_nsec = (long)(until_ns % CLOCK_SECOND_NS)}};

    if (until_ns == worker->hold_until_ns)
        return;
    worker->hold_until_ns = until_ns;
    timerfd_settime(worker->hold_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

/* When the interrupt that the queue holds is due; 0: it holds none. */
static uint64_t hold_end(const struct virtqueue *queue, uint64_t begun_ns, uint64_t until_ns)
{
    if (!virtqueue_holding(queue))
        return 0;
    return begun_ns != 0 ? begun_ns : until_ns;
}

/* Behind a turn: does the pair hold interrupts now, and until when? */
static void holds_note(struct worker *worker, struct worker_pair *pair)
{
    uint64_t due_ns;

    pair->rx_decide_ns =
        hold_end(&pair->pair.rx, pair->rx_decide_ns, worker->now_ns + pair->rx_hold_us * 1000ull);
    pair->tx_decide_ns =
        hold_end(&pair->pair.tx, pair->tx_decide_ns, worker->now_ns + pair->tx_hold_us * 1000ull);
    due_ns = earlier(pair->rx_decide_ns, pair->tx_decide_ns);
    if (due_ns == 0)
        return;
    if (!pair->holding)
        worker->holders[worker->holder_count++] = pair;
    pair->holding = 1;
    hold_timer_set(worker, earlier(worker->hold_until_ns, due_ns));
}

static void hold_decide(struct virtqueue *queue, uint64_t *until_ns, uint64_t now_ns)
{
    if (*until_ns == 0 || *until_ns > now_ns)
        return;
    *until_ns = 0;
    virtqueue_decide(queue);
}

/* The timer has fired: interrupts that are due are decided, and it is set to the next. */
NEEDS_DATA static void holds_run(struct worker *worker)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t next_ns = 0;
    unsigned kept = 0;

    for (unsigned i = 0; i < worker->holder_count; i++) {
        struct worker_pair *pair = worker->holders[i];
        uint64_t due_ns;

        hold_decide(&pair->pair.rx, &pair->rx_decide_ns, now_ns);
        hold_decide(&pair->pair.tx, &pair->tx_decide_ns, now_ns);
        due_ns = earlier(pair->rx_decide_ns, pair->tx_decide_ns);
        pair->holding = due_ns != 0;
        if (pair->holding)
            worker->holders[kept++] = pair;
        next_ns = earlier(next_ns, due_ns);
    }
    worker->holder_count = kept;
    worker->hold_until_ns = 0;
    hold_timer_set(worker, next_ns);
}

/* ---- turns ------------------------------------------------------------------------------ */

enum pair_state {
    PAIR_BUSY,
    PAIR_UNRIPE, /* left alone for a moment */
    PAIR_RESTS,  /* polled, and had nothing: there is time until its next turn */
    PAIR_SLEEPS, /* until something in the wait set wakes it */
};

/* How much moved. While the worker looks on, a driver that is adding frames is left alone for a
 * moment: each look takes lines away from it that it is writing, for a few frames. */
NEEDS_DATA static unsigned turn_give(struct worker *worker, struct worker_pair *pair)
{
    unsigned moved = pair_turn(&pair->pair, &worker->scratch, WORKER_BUDGET);
    uint8_t faults = pair_faults(&pair->pair);

    if (__builtin_expect(pair->rx_hold_us | pair->tx_hold_us, 0))
        holds_note(worker, pair);
    if (__builtin_expect((faults & ~pair->faults_raised) != 0, 0)) {
        pair->faults_raised |= faults;
        event_bits_raise(pair->events, 1);
    }
    pair->filling = pair_is_filling(&pair->pair) && worker_poll_is_on(&worker->poll);
    return moved;
}

/* From the end of such a turn on, which is where the next round begins. */
static int is_unripe(const struct worker *worker, struct worker_pair *pair)
{
    if (pair->filling)
        pair->ripe_ns = worker->now_ns + WORKER_RIPE_NS;
    pair->filling = 0;
    return pair->ripe_ns > worker->now_ns && !pair->woken;
}

/* A pair that stays awake: its endpoint may have left the wait set when it slept the last time.
 * EPOLLIN is taken out only then: a guest that has no buffers for a moment costs no system call. */
NEEDS_DATA static void endpoint_watch(struct worker *worker, struct worker_pair *pair)
{
    uint32_t kept = pair->endpoint.wanted & (uint32_t)EPOLLIN;

    source_register(worker, &pair->endpoint, pair_wants_awake(&pair->pair) | kept);
}

NEEDS_DATA static enum pair_state pair_run(struct worker *worker, struct worker_pair *pair)
{
    int looked_on = pair->idle_since_ns != 0 && !pair->woken;
    unsigned moved = 0;

    if (is_unripe(worker, pair))
        return PAIR_UNRIPE;
    if (!looked_on || !pair_is_still(&pair->pair))
        moved = turn_give(worker, pair);
    if (moved != 0) {
        if (looked_on) {
            counter_add(&worker->poll.hits, 1);
            counter_add(&pair->pair.stats.looked_on_ns, worker->now_ns - pair->idle_until_ns);
        }
        worker->moved = 1;
        pair->woken = 0;
        pair->idle_since_ns = 0;
    } else if (pair_idle(worker, pair)) {
        source_register(worker, &pair->endpoint, pair_wants(&pair->pair));
        return pair->pair.polled ? PAIR_RESTS : PAIR_SLEEPS;
    }
    endpoint_watch(worker, pair);
    return PAIR_BUSY;
}

NEEDS_DATA static void round_run(struct worker *worker)
{
    unsigned kept = 0;
    unsigned resting = 0;
    unsigned unripe = 0;

    bells_answer(worker);
    worker->moved = 0;
    for (unsigned i = 0; i < worker->runnable_count; i++) {
        struct worker_pair *pair = worker->runnable[i];
        enum pair_state state = pair_run(worker, pair);

        pair->runnable = state != PAIR_SLEEPS;
        resting += state == PAIR_RESTS;
        unripe += state == PAIR_UNRIPE;
        if (pair->runnable)
            worker->runnable[kept++] = pair;
    }
    worker->runnable_count = kept;
    worker->resting = kept != 0 && resting == kept;
    if (worker->moved || kept == resting)
        worker_poll_moved(&worker->poll, worker->now_ns);
    else if (unripe != 0)
        worker_poll_waited(&worker->poll, worker->now_ns);
    else
        worker_poll_looked(&worker->poll, worker->now_ns);
}

/* 1 if the attention fd was readable: that has to be attended to even when no bit is pending,
 * because the bits of a raise can be taken before its write to the fd comes. */
NEEDS_DATA static int look(struct worker *worker, int timeout_ms)
{
    struct epoll_event events[WORKER_EVENTS];
    int attention = 0;
    int count;

    if (timeout_ms != 0 && worker_bells_arm(&worker->bells))
        timeout_ms = 0;
    count = epoll_wait(worker->epoll_fd, events, WORKER_EVENTS, timeout_ms);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == &worker->attention)
            attention = 1;
        else if (events[i].data.ptr == &worker->hold_fd)
            holds_run(worker);
        else if (events[i].data.ptr != &worker->bells)
            source_ready(events[i].data.ptr, events[i].events);
    }
    return attention;
}

/* Waits out a pause. 0: the worker is to stop. */
static int attend(struct worker *worker)
{
    int stopping;

    event_bits_take(&worker->attention);
    pthread_mutex_lock(&worker->lock);
    while (worker->pause_requests != 0) {
        worker->paused = 1;
        pthread_cond_broadcast(&worker->changed);
        pthread_cond_wait(&worker->changed, &worker->lock);
    }
    worker->paused = 0;
    stopping = worker->stopping;
    pthread_mutex_unlock(&worker->lock);
    return !stopping;
}

/* With nothing to run there is only the wait; else the fds are looked at now and then. 1: attend.
 */
NEEDS_DATA static int look_if_due(struct worker *worker)
{
    int timeout_ms = worker->runnable_count == 0 ? -1 : worker->resting ? WORKER_REST_MS : 0;
    uint64_t begun_ns;
    int attention;

    worker->now_ns = clock_now_ns();
    if (worker->runnable_count != 0 && !worker->resting &&
        worker->now_ns - worker->looked_ns < WORKER_LOOK_NS)
        return 0;
    begun_ns = worker->now_ns;
    attention = look(worker, timeout_ms);
    worker->now_ns = clock_now_ns();
    bells_answer(worker);
    if (timeout_ms < 0 && worker->runnable_count != 0)
        worker_poll_slept(&worker->poll, worker->now_ns - begun_ns);
    worker->looked_ns = worker->now_ns;
    return attention;
}

/* Has the data role, but while it attends. */
ROLE_UNCHECKED void worker_run(struct worker *worker)
{
    fd_signal_begin();
    for (;;) {
        int attention = look_if_due(worker);

        if ((attention ||
             atomic_load_explicit(&worker->attention.pending, memory_order_relaxed) != 0) &&
            !attend(worker))
            break;
        round_run(worker);
    }
    fd_signal_end();
}

/* ---- a worker without a thread ---------------------------------------------------------- */

/* Some rounds, then the loop's other sources have their turn. */
ROLE_UNCHECKED static void inline_run(struct worker *worker)
{
    for (unsigned i = 0; i < WORKER_ROUNDS; i++) {
        worker->now_ns = clock_now_ns();
        look(worker, 0);
        round_run(worker);
        if (worker->runnable_count == 0 && !worker_bells_arm(&worker->bells))
            return;
    }
    loop_timer_start(worker->loop, &worker->again,
                     worker->resting ? WORKER_REST_MS * CLOCK_MILLISECOND_NS : 0);
}

static void inline_ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    inline_run(CONTAINER_OF(source, struct worker, loop_source));
}

static void inline_again(struct loop_timer *timer)
{
    inline_run(CONTAINER_OF(timer, struct worker, again));
}

int worker_launch_inline(struct worker *worker, struct loop *loop)
{
    int result;

    worker->loop_source = (struct loop_source){.fd = worker->epoll_fd, .ready = inline_ready};
    worker->again.fire = inline_again;
    result = loop_add(loop, &worker->loop_source, EPOLLIN);
    if (result == 0)
        worker->loop = loop;
    return result;
}

/* ---- pause ------------------------------------------------------------------------------ */

/* A worker without a thread is never in a pair while the control plane runs. */
void worker_pause(struct worker *worker) ROLE_UNCHECKED
{
    if (worker->loop != NULL)
        return;
    pthread_mutex_lock(&worker->lock);
    if (worker->pause_requests++ == 0)
        event_bits_raise(&worker->attention, WORKER_ATTENTION);
    while (!worker->paused)
        pthread_cond_wait(&worker->changed, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
}

/* paused is cleared here, not by the worker: a pause right behind this resume must wait for the
 * worker to arrive anew. */
void worker_resume(struct worker *worker) ROLE_UNCHECKED
{
    if (worker->loop != NULL)
        return;
    pthread_mutex_lock(&worker->lock);
    if (--worker->pause_requests == 0) {
        worker->paused = 0;
        pthread_cond_broadcast(&worker->changed);
    }
    pthread_mutex_unlock(&worker->lock);
}

/* ---- while paused ----------------------------------------------------------------------- */

static int list_grow(struct worker_pair ***list, unsigned count)
{
    struct worker_pair **grown = realloc(*list, count * sizeof(**list));

    if (grown == NULL)
        return -ENOMEM;
    *list = grown;
    return 0;
}

static void list_remove(struct worker_pair **list, unsigned *count, const struct worker_pair *pair)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < *count; i++) {
        if (list[i] != pair)
            list[kept++] = list[i];
    }
    *count = kept;
}

int worker_attach(struct worker *worker, struct worker_pair *pair, struct event_bits *events)
{
    if (list_grow(&worker->runnable, worker->pair_count + 1) < 0 ||
        list_grow(&worker->holders, worker->pair_count + 1) < 0)
        return -ENOMEM;
    pair->bell = worker_bell_take(worker, pair);
    if (pair->bell == NULL)
        return -ENOMEM;
    worker->pair_count++;
    pair->worker = worker;
    pair->events = events;
    pair->rx_kick = (struct worker_source){.owner = pair, .fd = -1};
    pair->tx_kick = pair->rx_kick;
    pair->endpoint = pair->rx_kick;
    pair->pair.endpoint_rx.waker = &pair->bell->waker;
    pair->pair.endpoint_rx.worker = worker;
    return 0;
}

void worker_detach(struct worker_pair *pair)
{
    struct worker *worker = pair->worker;

    worker_unwatch(&pair->rx_kick);
    worker_unwatch(&pair->tx_kick);
    worker_unwatch(&pair->endpoint);
    bells_answer(worker);
    worker_bell_give_back(pair->bell);
    pair->bell = NULL;
    list_remove(worker->runnable, &worker->runnable_count, pair);
    list_remove(worker->holders, &worker->holder_count, pair);
    worker->pair_count--;
}

int worker_watch_kick(struct worker_pair *pair, struct worker_source *source, int fd,
                      counter *kicks)
{
    struct stat status;

    worker_unwatch(source);
    if (fstat(fd, &status) < 0)
        return -errno;
    *source = (struct worker_source){.owner = pair, .fd = fd, .kicks = kicks};
    source->drain = S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode);
    source_register(pair->worker, source, EPOLLIN | EPOLLET);
    if (source->wanted == 0) {
        source->fd = -1;
        return -errno;
    }
    return 0;
}

int worker_watch_endpoint(struct worker_pair *pair, int fd)
{
    struct worker_source *source = &pair->endpoint;

    worker_unwatch(source);
    *source = (struct worker_source){.owner = pair, .fd = fd};
    if (fd < 0)
        return 0;
    source_register(pair->worker, source, EPOLLIN);
    return source->wanted == 0 ? -errno : 0;
}

void worker_unwatch(struct worker_source *source)
{
    if (source->fd >= 0 && source->wanted != 0)
        source_register(source->owner->worker, source, 0);
    source->fd = -1;
    source->wanted = 0;
    source->kicks = NULL;
}

void worker_wake(struct worker_pair *pair)
{
    struct worker *worker = pair->worker;

    make_runnable(pair);
    pair->idle_since_ns = 0; /* a whole turn, whatever there is to see from outside */
    if (worker->loop != NULL)
        loop_timer_start(worker->loop, &worker->again, 0);
}

/* What is held already is looked at again in the pair's next turn. 1: something changes. */
static int hold_set(struct virtqueue *queue, uint32_t *hold_us, struct worker_hold hold)
{
    if (hold.buffers == 0 || hold.usecs == 0)
        hold = (struct worker_hold){0};
    if (queue->hold_buffers == hold.buffers && *hold_us == hold.usecs)
        return 0;
    *hold_us = hold.usecs;
    virtqueue_hold(queue, hold.buffers);
    return 1;
}

void worker_hold_rx(struct worker_pair *pair, struct worker_hold hold)
{
    if (hold_set(&pair->pair.rx, &pair->rx_hold_us, hold))
        pair->rx_decide_ns = 0;
}

void worker_hold_tx(struct worker_pair *pair, struct worker_hold hold)
{
    if (hold_set(&pair->pair.tx, &pair->tx_hold_us, hold))
        pair->tx_decide_ns = 0;
}

struct pair_scratch *worker_scratch(struct worker *worker)
{
    return &worker->scratch;
}
