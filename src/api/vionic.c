/* SPDX-License-Identifier: MIT */
/* The composition root behind include/vionic.h: a loop, workers, and per NIC a coordinator with its
 * transport. */
#include "api/vionic_parts.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "api/handover.h"
#include "api/placement.h"
#include "api/sized.h"
#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "memory/guard.h"

#ifndef VIONIC_VERSION
#error "the build defines VIONIC_VERSION"
#endif

enum {
    POLL_US_MAX = 1000000,
    POLL_BUDGET_DEFAULT = 50, /* percent */
};

void vionic_set_log(int priority_max, void (*line)(void *context, int priority, const char *text),
                    void *context)
{
    log_set_level((enum log_level)priority_max);
    log_set_sink(line, context);
}

const char *vionic_version(void)
{
    return VIONIC_VERSION;
}

static void memory_lost_ready(struct loop_source *source, uint32_t events)
{
    struct vionic *vionic = CONTAINER_OF(source, struct vionic, memory_source);

    (void)events;
    event_bits_take(&vionic->memory_lost);
    for (struct vionic_nic *nic = vionic->nics; nic != NULL; nic = nic->next)
        if (nic->vhost_user != NULL)
            vhost_user_check_memory(nic->vhost_user);
}

static int memory_lost_watch(struct vionic *vionic)
{
    int result = event_bits_init(&vionic->memory_lost);

    vionic->memory_source =
        (struct loop_source){.fd = vionic->memory_lost.fd, .ready = memory_lost_ready};
    if (result == 0)
        result = loop_add(vionic->loop, &vionic->memory_source, EPOLLIN);
    if (result == 0)
        result = memory_guard_subscribe(vionic->memory_lost.fd);
    return result;
}

static int polling_check(const struct vionic_config *config, struct error *err)
{
    if (config->polling > VIONIC_POLLING_ALWAYS)
        return error_set(err, EINVAL, "vionic_config.polling is none of enum vionic_polling");
    if (config->polling != VIONIC_POLLING_FIXED && config->poll_us != 0)
        return error_set(err, EINVAL,
                         "poll=%u is for fixed polling: leave it 0 with adaptive or always",
                         config->poll_us);
    if (config->poll_budget > 100)
        return error_set(err, EINVAL, "poll-budget=%u is more than 100 percent of a CPU",
                         config->poll_budget);
    if (config->poll_budget != 0 && config->polling != VIONIC_POLLING_ADAPTIVE)
        return error_set(err, EINVAL, "poll-budget is for poll=adaptive only: leave it out");
    return 0;
}

static int config_check(const struct vionic_config *config, struct error *err)
{
    if (config->workers > WORKERS_MAX)
        return error_set(err, EINVAL, "workers=%u is more than %d", config->workers, WORKERS_MAX);
    if (config->threads != VIONIC_THREADS_WORKERS && config->threads != VIONIC_THREADS_NONE)
        return error_set(err, EINVAL, "vionic_config.threads is none of enum vionic_threads");
    if (config->threads == VIONIC_THREADS_NONE &&
        (config->workers != 0 || config->poll_us != 0 || config->cpus != NULL ||
         config->worker_started != NULL || config->polling != VIONIC_POLLING_FIXED))
        return error_set(
            err, EINVAL,
            "workers, poll, cpus and worker_started mean nothing without threads: leave them 0");
    if (config->poll_us > POLL_US_MAX)
        return error_set(err, EINVAL, "poll=%u is more than %d microseconds", config->poll_us,
                         POLL_US_MAX);
    return polling_check(config, err);
}

static struct poll_config poll_config_of(const struct vionic_config *config)
{
    static const enum poll_mode modes[] = {[VIONIC_POLLING_FIXED] = POLL_FIXED,
                                           [VIONIC_POLLING_ADAPTIVE] = POLL_ADAPTIVE,
                                           [VIONIC_POLLING_ALWAYS] = POLL_ALWAYS};

    return (struct poll_config){.mode = modes[config->polling],
                                .us = config->poll_us,
                                .budget_percent = config->poll_budget != 0
                                                      ? config->poll_budget
                                                      : (unsigned)POLL_BUDGET_DEFAULT};
}

int vionic_create(const struct vionic_config *given, struct vionic **ret_vionic,
                  struct vionic_error *err)
{
    unsigned cpus[PLACEMENT_CPUS_MAX];
    struct worker_pool_config pool = {.queue_size_max = VIRTQUEUE_SIZE_MAX, .cpus = cpus};
    struct vionic_config config;
    struct vionic *vionic;
    int result = sized_read(given, "vionic_config", &config, sizeof(config), error_of(err));

    if (result == 0)
        result = config_check(&config, error_of(err));
    if (result == 0 && config.cpus != NULL)
        result = placement_cpus(config.cpus, cpus, error_of(err));
    if (result < 0)
        return result;
    pool.cpu_count = (unsigned)result;
    vionic = calloc(1, sizeof(*vionic));
    if (vionic == NULL)
        return error_set(error_of(err), ENOMEM, "out of memory");
    vionic->memory_lost.fd = -1;
    fd_signal_begin();
    vionic->switches = switches_create();
    result = vionic->switches == NULL ? -ENOMEM : loop_create(&vionic->loop);
    if (result == 0)
        result = memory_lost_watch(vionic);
    pool.workers = config.threads == VIONIC_THREADS_NONE ? 0 : MAX(config.workers, 1);
    pool.poll = poll_config_of(&config);
    pool.loop = vionic->loop;
    pool.started = config.worker_started;
    pool.context = config.worker_context;
    if (result == 0)
        result = worker_pool_create(&pool, &vionic->pool);
    if (result < 0) {
        vionic_free(vionic);
        return error_set(error_of(err), -result, "the workers can't be started: %s",
                         strerror(-result));
    }
    *ret_vionic = vionic;
    return 0;
}

void vionic_free(struct vionic *vionic)
{
    if (vionic == NULL)
        return;
    while (vionic->nics != NULL)
        vionic_remove_nic(vionic->nics);
    switches_drop_all(vionic);
    switches_free(vionic->switches);
    handover_release(vionic);
    worker_pool_free(vionic->pool);
    memory_guard_unsubscribe(vionic->memory_lost.fd);
    event_bits_free(&vionic->memory_lost);
    loop_free(vionic->loop);
    fd_signal_end();
    free(vionic);
}

int vionic_fd(const struct vionic *vionic)
{
    return loop_fd(vionic->loop);
}

int vionic_dispatch(struct vionic *vionic, int timeout_ms)
{
    /* Its fd may have been ready together with what led to the hold: cards that were given are
     * another process's, kicks and messages too. */
    if (vionic->held)
        return 0;
    return loop_dispatch(vionic->loop, timeout_ms);
}

int vionic_poll(struct vionic *vionic, unsigned budget)
{
    struct pollfd waiting = {.fd = loop_fd(vionic->loop), .events = POLLIN};

    for (unsigned i = 0; i < budget; i++) {
        int result = loop_dispatch(vionic->loop, 0);

        if (result < 0)
            return result;
        if (poll(&waiting, 1, 0) == 0)
            return 0;
    }
    return 1;
}
