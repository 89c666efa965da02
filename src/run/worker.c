/* SPDX-License-Identifier: MIT */
#include "run/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

enum {
    WORKER_EVENTS = 64,
    WORKER_BUDGET = 256,    /* frames each way that a pair moves in one turn */
    WORKER_LOOK_NS = 10000, /* between two looks at the fds while pairs are runnable */
    WORKER_REST_MS = 1,     /* between two looks at idle rings that have no kick */
    WORKER_DRAIN_READS =
        2048,             /* a megabyte: more than a pipe holds, less than a writer can keep up */
    WORKER_ATTENTION = 1, /* event bit: look at pause_requests and stopping */
};

struct worker {
    pthread_t thread;
    int started;
    int epoll_fd;                /* owned */
    struct event_bits attention; /* raised by the control thread */
    struct pair_scratch scratch; /* owned; the thread's, or the control thread's while paused */
    uint64_t poll_ns;
    uint64_t now_ns;    /* at the start of the round */
    uint64_t looked_ns; /* when the fds were looked at */

    struct worker_pair **runnable; /* owned array of borrowed pairs */
    unsigned runnable_count;
    int resting; /* every runnable pair is polled and had nothing: a look may take a while */
    unsigned pair_count; /* attached; the array has room for as many */

    pthread_mutex_t lock; /* of what follows; never taken while the worker moves packets */
    pthread_cond_t changed;
    unsigned pause_requests;
    int paused;
    int stopping;
};

struct worker_pool {
    unsigned count;
    struct worker worker[];
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
    } else if (events & ~(uint32_t)EPOLLOUT) {
        pair->pair.rx_ready = 1;
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
    if (pair->woken)
        counter_add(&pair->pair.stats.spurious_wakes, 1);
    pair->woken = 0;
    if (worker->poll_ns == 0)
        return pair_arm(&pair->pair) == 0;
    if (pair->idle_since_ns == 0) {
        pair->idle_since_ns = worker->now_ns;
        pair->idle_until_ns = worker->now_ns;
    }
    counter_add(&pair->pair.stats.looked_on_ns, worker->now_ns - pair->idle_until_ns);
    pair->idle_until_ns = worker->now_ns;
    return worker->now_ns - pair->idle_since_ns >= worker->poll_ns && pair_arm(&pair->pair) == 0;
}

enum pair_state {
    PAIR_BUSY,
    PAIR_RESTS,  /* polled, and had nothing: there is time until its next turn */
    PAIR_SLEEPS, /* until something in the wait set wakes it */
};

NEEDS_DATA static enum pair_state pair_run(struct worker *worker, struct worker_pair *pair)
{
    unsigned moved = pair_turn(&pair->pair, &worker->scratch, WORKER_BUDGET);
    uint8_t faults = pair_faults(&pair->pair);

    if (__builtin_expect((faults & ~pair->faults_raised) != 0, 0)) {
        pair->faults_raised |= faults;
        event_bits_raise(pair->events, 1);
    }
    if (moved != 0) {
        pair->woken = 0;
        pair->idle_since_ns = 0;
        return PAIR_BUSY;
    }
    if (!pair_idle(worker, pair))
        return PAIR_BUSY;
    source_register(worker, &pair->endpoint, pair_wants(&pair->pair));
    return pair->pair.polled ? PAIR_RESTS : PAIR_SLEEPS;
}

NEEDS_DATA static void round_run(struct worker *worker)
{
    unsigned kept = 0;
    unsigned resting = 0;

    for (unsigned i = 0; i < worker->runnable_count; i++) {
        struct worker_pair *pair = worker->runnable[i];
        enum pair_state state = pair_run(worker, pair);

        pair->runnable = state != PAIR_SLEEPS;
        resting += state == PAIR_RESTS;
        if (pair->runnable)
            worker->runnable[kept++] = pair;
    }
    worker->runnable_count = kept;
    worker->resting = kept != 0 && resting == kept;
}

/* 1 if the attention fd was readable: that has to be attended to even when no bit is pending,
 * because the bits of a raise can be taken before its write to the fd comes. */
static int look(struct worker *worker)
{
    struct epoll_event events[WORKER_EVENTS];
    int timeout = worker->runnable_count == 0 ? -1 : worker->resting ? WORKER_REST_MS : 0;
    int count = epoll_wait(worker->epoll_fd, events, WORKER_EVENTS, timeout);
    int attention = 0;

    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL)
            source_ready(events[i].data.ptr, events[i].events);
        else
            attention = 1;
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
static int look_if_due(struct worker *worker)
{
    int attention;

    worker->now_ns = clock_now_ns();
    if (worker->runnable_count != 0 && !worker->resting &&
        worker->now_ns - worker->looked_ns < WORKER_LOOK_NS)
        return 0;
    attention = look(worker);
    worker->now_ns = clock_now_ns();
    worker->looked_ns = worker->now_ns;
    return attention;
}

/* Has the data role, but while it attends. */
ROLE_UNCHECKED static void *worker_main(void *argument)
{
    struct worker *worker = argument;

    for (;;) {
        int attention = look_if_due(worker);

        if ((attention ||
             atomic_load_explicit(&worker->attention.pending, memory_order_relaxed) != 0) &&
            !attend(worker))
            return NULL;
        round_run(worker);
    }
}

/* ---- pool ------------------------------------------------------------------------------- */

static int worker_init(struct worker *worker, unsigned poll_us, unsigned queue_size_max)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    worker->epoll_fd = -1;
    worker->attention.fd = -1;
    worker->poll_ns = poll_us * 1000ull;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_fd < 0)
        return -errno;
    if (event_bits_init(&worker->attention) < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->attention.fd, &event) < 0)
        return -errno;
    return pair_scratch_init(&worker->scratch, queue_size_max);
}

/* Signals are the control thread's, but for the one of an access to memory that has gone
 * (memory/guard.h). */
static int worker_launch(struct worker *worker, unsigned index)
{
    sigset_t all, before;
    char name[16];
    int result;

    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&worker->thread, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        return -result;
    worker->started = 1;
    snprintf(name, sizeof(name), "worker%u", index);
    pthread_setname_np(worker->thread, name);
    return 0;
}

static void worker_destroy(struct worker *worker)
{
    if (worker->started) {
        pthread_mutex_lock(&worker->lock);
        worker->stopping = 1;
        pthread_mutex_unlock(&worker->lock);
        event_bits_raise(&worker->attention, WORKER_ATTENTION);
        pthread_join(worker->thread, NULL);
    }
    pair_scratch_free(&worker->scratch);
    free(worker->runnable);
    event_bits_free(&worker->attention);
    fd_close(&worker->epoll_fd);
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
}

int worker_pool_create(unsigned workers, unsigned poll_us, unsigned queue_size_max,
                       struct worker_pool **ret_pool)
{
    struct worker_pool *pool = calloc(1, sizeof(*pool) + workers * sizeof(pool->worker[0]));
    int result = 0;

    if (pool == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < workers && result == 0; i++) {
        pool->count++;
        result = worker_init(&pool->worker[i], poll_us, queue_size_max);
        if (result == 0)
            result = worker_launch(&pool->worker[i], i);
    }
    if (result < 0) {
        worker_pool_free(pool);
        return result;
    }
    *ret_pool = pool;
    return 0;
}

void worker_pool_free(struct worker_pool *pool)
{
    if (pool == NULL)
        return;
    for (unsigned i = 0; i < pool->count; i++)
        worker_destroy(&pool->worker[i]);
    free(pool);
}

unsigned worker_pool_count(const struct worker_pool *pool)
{
    return pool->count;
}

struct worker *worker_pool_get(struct worker_pool *pool, unsigned index)
{
    return &pool->worker[index];
}

/* ---- pause ------------------------------------------------------------------------------ */

void worker_pause(struct worker *worker) ROLE_UNCHECKED
{
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
    pthread_mutex_lock(&worker->lock);
    if (--worker->pause_requests == 0) {
        worker->paused = 0;
        pthread_cond_broadcast(&worker->changed);
    }
    pthread_mutex_unlock(&worker->lock);
}

/* ---- while paused ----------------------------------------------------------------------- */

int worker_attach(struct worker *worker, struct worker_pair *pair, struct event_bits *events)
{
    struct worker_pair **grown =
        realloc(worker->runnable, (worker->pair_count + 1) * sizeof(worker->runnable[0]));

    if (grown == NULL)
        return -ENOMEM;
    worker->runnable = grown;
    worker->pair_count++;
    pair->worker = worker;
    pair->events = events;
    pair->rx_kick = (struct worker_source){.owner = pair, .fd = -1};
    pair->tx_kick = pair->rx_kick;
    pair->endpoint = pair->rx_kick;
    return 0;
}

void worker_detach(struct worker_pair *pair)
{
    struct worker *worker = pair->worker;
    unsigned kept = 0;

    worker_unwatch(&pair->rx_kick);
    worker_unwatch(&pair->tx_kick);
    worker_unwatch(&pair->endpoint);
    for (unsigned i = 0; i < worker->runnable_count; i++) {
        if (worker->runnable[i] != pair)
            worker->runnable[kept++] = worker->runnable[i];
    }
    worker->runnable_count = kept;
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
    make_runnable(pair);
}

struct pair_scratch *worker_scratch(struct worker *worker)
{
    return &worker->scratch;
}
