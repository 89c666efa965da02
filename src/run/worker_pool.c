/* SPDX-License-Identifier: MIT */
/* Making and ending workers, pinning them to CPUs, and spreading pairs over them. */
#include "run/worker_parts.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

static int worker_init(struct worker *worker, const struct worker_pool_config *config)
{
    static const struct poll_config never = {.mode = POLL_FIXED};
    struct epoll_event attention = {.events = EPOLLIN, .data.ptr = &worker->attention};
    struct epoll_event bells = {.events = EPOLLIN | EPOLLET, .data.ptr = &worker->bells};
    struct epoll_event hold = {.events = EPOLLIN | EPOLLET, .data.ptr = &worker->hold_fd};

    worker->epoll_fd = -1;
    worker->hold_fd = -1;
    worker->attention.fd = -1;
    worker->bells.fd = -1;
    worker_poll_init(&worker->poll, config->workers == 0 ? &never : &config->poll);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->hold_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (worker->epoll_fd < 0 || worker->hold_fd < 0)
        return -errno;
    if (event_bits_init(&worker->attention) < 0 || worker_bells_init(&worker->bells) < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->bells.fd, &bells) < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->attention.fd, &attention) < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->hold_fd, &hold) < 0)
        return -errno;
    return pair_scratch_init(&worker->scratch, config->queue_size_max);
}

static int worker_pin(const struct worker *worker)
{
    cpu_set_t set;

    if (worker->cpu == WORKER_CPU_ANY)
        return 0;
    CPU_ZERO(&set);
    CPU_SET(worker->cpu, &set);
    return -pthread_setaffinity_np(worker->thread, sizeof(set), &set);
}

struct worker_start {
    struct worker *worker;                   /* borrowed */
    const struct worker_pool_config *config; /* borrowed until the worker is ready */
};

static void *worker_main(void *argument)
{
    struct worker_start *start = argument;
    struct worker *worker = start->worker;
    int begun = start->config->started == NULL
                    ? 0
                    : start->config->started(start->config->context, worker->index);

    pthread_mutex_lock(&worker->lock);
    worker->begun = begun;
    worker->ready = 1;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    if (begun == 0)
        worker_run(worker);
    return NULL;
}

static int worker_await(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (!worker->ready)
        pthread_cond_wait(&worker->changed, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
    return worker->begun;
}

/* Signals are the control thread's, but for the one of an access to memory that has gone
 * (memory/guard.h). */
static int worker_launch(struct worker *worker, const struct worker_pool_config *config)
{
    struct worker_start start = {worker, config};
    sigset_t all, before;
    char name[sizeof("worker") + 10];
    int result;

    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&worker->thread, NULL, worker_main, &start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        return -result;
    worker->started = 1;
    result = worker_await(worker);
    if (result < 0)
        return result;
    snprintf(name, sizeof(name), "worker%u", worker->index);
    pthread_setname_np(worker->thread, name);
    return worker_pin(worker);
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
    if (worker->loop != NULL) {
        loop_timer_stop(worker->loop, &worker->again);
        loop_remove(worker->loop, &worker->loop_source);
    }
    pair_scratch_free(&worker->scratch);
    free(worker->runnable);
    free(worker->holders);
    event_bits_free(&worker->attention);
    worker_bells_free(&worker->bells);
    fd_close(&worker->hold_fd);
    fd_close(&worker->epoll_fd);
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
}

int worker_pool_create(const struct worker_pool_config *config, struct worker_pool **ret_pool)
{
    unsigned workers = MAX(config->workers, 1);
    struct worker_pool *pool = calloc(1, sizeof(*pool) + workers * sizeof(pool->worker[0]));
    int result = 0;

    if (pool == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < workers && result == 0; i++) {
        pool->worker[i].index = pool->count++;
        pool->worker[i].cpu =
            config->cpu_count == 0 ? WORKER_CPU_ANY : (int)config->cpus[i % config->cpu_count];
        result = worker_init(&pool->worker[i], config);
        if (result == 0)
            result = config->workers == 0 ? worker_launch_inline(&pool->worker[i], config->loop)
                                          : worker_launch(&pool->worker[i], config);
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

void worker_pool_hold(struct worker_pool *pool) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < pool->count; i++)
        worker_pause(&pool->worker[i]);
}

void worker_pool_release(struct worker_pool *pool) ROLE_UNCHECKED
{
    for (unsigned i = 0; i < pool->count; i++)
        worker_resume(&pool->worker[i]);
}

/* ---- which pair goes where -------------------------------------------------------------- */

/* The one of the set with the fewest pairs; among equals, the next in turn. */
static struct worker *least_loaded(struct worker_pool *pool, uint64_t set)
{
    struct worker *best = NULL;

    for (unsigned i = 0; i < pool->count; i++) {
        struct worker *worker = &pool->worker[(pool->next + i) % pool->count];

        if (set >> worker->index & 1 && (best == NULL || worker->pair_count < best->pair_count))
            best = worker;
    }
    return best;
}

uint64_t worker_pool_choose(struct worker_pool *pool, const struct worker_wish *wish)
{
    uint64_t left = wish->among == 0 ? UINT64_MAX : wish->among;
    uint64_t chosen = 0;

    for (unsigned i = 0; i < (wish->most == 0 ? WORKERS_MAX : wish->most); i++) {
        struct worker *worker = least_loaded(pool, left);

        if (worker == NULL)
            break;
        chosen |= 1ull << worker->index;
        left &= ~(1ull << worker->index);
    }
    return chosen;
}

struct worker *worker_pool_place(struct worker_pool *pool, uint64_t set)
{
    struct worker *worker = least_loaded(pool, set);

    pool->next = (worker->index + 1) % pool->count;
    return worker;
}

void worker_inspect(struct worker *worker, struct inspect *visitor)
{
    clockid_t clock;
    struct timespec used;

    inspect_enter(visitor, "worker");
    inspect_number(visitor, "index", worker->index);
    if (worker->cpu != WORKER_CPU_ANY)
        inspect_number(visitor, "cpu", (uint64_t)worker->cpu);
    inspect_number(visitor, "pairs", worker->pair_count);
    if (worker->started && pthread_getcpuclockid(worker->thread, &clock) == 0 &&
        clock_gettime(clock, &used) == 0)
        visitor->ops->number(visitor->context, "busy_ns",
                             (uint64_t)used.tv_sec * CLOCK_SECOND_NS + (uint64_t)used.tv_nsec,
                             INSPECT_COUNTER);
    worker_poll_inspect(&worker->poll, visitor);
    inspect_leave(visitor);
}
