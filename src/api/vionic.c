/* SPDX-License-Identifier: MIT */
/* The composition root behind include/vionic.h: a loop, workers, and per NIC a coordinator with its
 * transport. */
#include "vionic.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "api/settings.h"
#include "base/checked.h"
#include "base/event_bits.h"
#include "base/loop.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "memory/guard.h"
#include "run/coordinator.h"
#include "transport/vhost_user.h"

#ifndef VIONIC_VERSION
#error "the build defines VIONIC_VERSION"
#endif

enum {
    NIC_NAME_MAX = 31,
    QUEUE_SIZE_DEFAULT = 1024,
    POLL_US_MAX = 1000000,
};

struct vionic_nic {
    struct coordinator *coordinator; /* owned */
    struct vhost_user *vhost_user;   /* owned; borrows the coordinator */
    struct vionic_nic *next;         /* owned: the list */
};

struct vionic {
    struct loop *loop;             /* owned */
    struct worker_pool *pool;      /* owned */
    struct event_bits memory_lost; /* written to by the memory guard */
    struct loop_source memory_source;
    struct vionic_nic *nics; /* owned, in order of addition */
    unsigned added;          /* NICs ever added: names and first workers */
};

_Static_assert(sizeof(struct vionic_error) == sizeof(struct error), "one is passed as the other");

static struct error *error_of(struct vionic_error *err)
{
    return (struct error *)err;
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

int vionic_create(const struct vionic_config *config, struct vionic **ret_vionic,
                  struct vionic_error *err)
{
    struct worker_pool_config pool = {
        .workers = config->workers == 0 ? 1 : config->workers,
        .poll_us = config->poll_us,
        .queue_size_max = VIRTQUEUE_SIZE_MAX,
    };
    struct vionic *vionic;
    int result;

    if (config->size != sizeof(*config))
        return error_set(error_of(err), EINVAL, "vionic_config has another size than this build's");
    if (pool.workers > WORKERS_MAX)
        return error_set(error_of(err), EINVAL, "workers=%u is more than %d", pool.workers,
                         WORKERS_MAX);
    if (config->poll_us > POLL_US_MAX)
        return error_set(error_of(err), EINVAL, "poll=%u is more than %d microseconds",
                         config->poll_us, POLL_US_MAX);
    vionic = calloc(1, sizeof(*vionic));
    if (vionic == NULL)
        return error_set(error_of(err), ENOMEM, "out of memory");
    vionic->memory_lost.fd = -1;
    result = loop_create(&vionic->loop);
    if (result == 0)
        result = memory_lost_watch(vionic);
    pool.loop = vionic->loop;
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

static void nic_free(struct vionic_nic *nic)
{
    vhost_user_close(nic->vhost_user);
    coordinator_close(nic->coordinator);
    free(nic);
}

void vionic_free(struct vionic *vionic)
{
    if (vionic == NULL)
        return;
    while (vionic->nics != NULL) {
        struct vionic_nic *nic = vionic->nics;

        vionic->nics = nic->next;
        nic_free(nic);
    }
    worker_pool_free(vionic->pool);
    memory_guard_unsubscribe(vionic->memory_lost.fd);
    event_bits_free(&vionic->memory_lost);
    loop_free(vionic->loop);
    free(vionic);
}

int vionic_fd(const struct vionic *vionic)
{
    return loop_fd(vionic->loop);
}

int vionic_dispatch(struct vionic *vionic, int timeout_ms)
{
    return loop_dispatch(vionic->loop, timeout_ms);
}

/* ---- NICs ------------------------------------------------------------------------------- */

static struct vionic_nic **nic_find(struct vionic *vionic, const char *name)
{
    struct vionic_nic **at = &vionic->nics;

    while (*at != NULL && strcmp(coordinator_name((*at)->coordinator), name) != 0)
        at = &(*at)->next;
    return at;
}

static int name_check(const char *name, struct error *err)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
            return error_set(err, EINVAL, "NIC name %s: only letters, digits, - and _", name);
    }
    if (len == 0 || len > NIC_NAME_MAX)
        return error_set(err, EINVAL, "NIC name %s is not 1 to %d characters long", name,
                         NIC_NAME_MAX);
    return 0;
}

static int mac_choose(const uint8_t wanted[6], uint8_t ret_mac[6], struct error *err)
{
    static const uint8_t zero[6];

    memcpy(ret_mac, wanted, 6);
    if (memcmp(wanted, zero, 6) == 0) {
        if (getrandom(ret_mac, 6, 0) != 6)
            return error_set(err, EIO, "no random numbers for a MAC address");
        ret_mac[0] = (uint8_t)((ret_mac[0] & 0xfc) | 2); /* unicast, locally administered */
    }
    if (ret_mac[0] & 1)
        return error_set(err, EINVAL, "MAC address %02x:… is a multicast one", ret_mac[0]);
    return 0;
}

static int nic_config_build(const struct vionic_nic_config *config, struct nic_config *ret_config,
                            struct error *err)
{
    *ret_config = (struct nic_config){
        .mtu = config->mtu,
        .speed_mbps = config->speed_mbps,
        .queue_pairs = config->queue_pairs == 0 ? 1 : config->queue_pairs,
        .queue_size_max = config->queue_size == 0 ? QUEUE_SIZE_DEFAULT : config->queue_size,
    };
    if (config->mtu != 0 && config->mtu < NIC_MTU_MIN)
        return error_set(err, EINVAL, "mtu=%u is less than %d", config->mtu, NIC_MTU_MIN);
    if (ret_config->queue_pairs > NIC_QUEUE_PAIRS_MAX)
        return error_set(err, EINVAL, "queues=%u is more than %d", ret_config->queue_pairs,
                         NIC_QUEUE_PAIRS_MAX);
    if (ret_config->queue_size_max > VIRTQUEUE_SIZE_MAX)
        return error_set(err, EINVAL, "queue-size=%u is more than %d", ret_config->queue_size_max,
                         VIRTQUEUE_SIZE_MAX);
    return mac_choose(config->mac, ret_config->mac, err);
}

static int spec_build(const struct vionic_nic_config *config, struct endpoint_spec *ret_spec,
                      struct error *err)
{
    int result;

    if (config->endpoint == NULL)
        return error_set(err, EINVAL, "no endpoint is named");
    result = endpoint_spec_parse(ret_spec, config->endpoint, err);
    for (size_t i = 0; i < config->endpoint_option_count && result == 0; i++)
        result = endpoint_spec_add(ret_spec, config->endpoint_options[i].key,
                                   config->endpoint_options[i].value, err);
    if (result < 0)
        endpoint_spec_clear(ret_spec);
    return result;
}

static int nic_open(struct vionic *vionic, const struct vionic_nic_config *config, const char *name,
                    struct vionic_nic *nic, struct error *err)
{
    struct endpoint_spec spec = {0};
    struct coordinator_config settings = {
        .name = name,
        .endpoint = &spec,
        .pool = vionic->pool,
        .first_worker = vionic->added % worker_pool_count(vionic->pool),
        .loop = vionic->loop,
    };
    struct vhost_user_settings socket = {
        .path = config->socket_path,
        .mode = config->socket_mode == VIONIC_SOCKET_CLIENT ? VHOST_USER_CLIENT : VHOST_USER_SERVER,
        .loop = vionic->loop,
    };
    int result = nic_config_build(config, &settings.nic, err);

    if (result == 0)
        result = spec_build(config, &spec, err);
    if (result < 0)
        return result;
    result = coordinator_open(&settings, &nic->coordinator, err);
    endpoint_spec_clear(&spec);
    if (result < 0)
        return result;
    socket.coordinator = nic->coordinator;
    return vhost_user_open(&socket, &nic->vhost_user, err);
}

int vionic_add_nic(struct vionic *vionic, const struct vionic_nic_config *config,
                   struct vionic_error *ret_err)
{
    struct error *err = error_of(ret_err);
    char automatic[16];
    const char *name = config->name;
    struct vionic_nic *nic;
    int result;

    if (config->size != sizeof(*config))
        return error_set(err, EINVAL, "vionic_nic_config has another size than this build's");
    snprintf(automatic, sizeof(automatic), "nic%u", vionic->added);
    if (name == NULL)
        name = automatic;
    result = name_check(name, err);
    if (result < 0)
        return result;
    if (*nic_find(vionic, name) != NULL)
        return error_set(err, EEXIST, "there is a NIC called %s already", name);
    if (config->socket_path == NULL || config->socket_path[0] == '\0')
        return error_set(err, EINVAL, "%s: no socket is named", name);
    nic = calloc(1, sizeof(*nic));
    if (nic == NULL)
        return error_set(err, ENOMEM, "out of memory");
    result = nic_open(vionic, config, name, nic, err);
    if (result < 0) {
        nic_free(nic);
        return result;
    }
    *nic_find(vionic, name) = nic; /* not found: the end of the list */
    vionic->added++;
    return 0;
}

int vionic_remove_nic(struct vionic *vionic, const char *name, struct vionic_error *err)
{
    struct vionic_nic **at = nic_find(vionic, name);
    struct vionic_nic *nic = *at;

    if (nic == NULL)
        return error_set(error_of(err), ENOENT, "there is no NIC called %s", name);
    *at = nic->next;
    nic_free(nic);
    return 0;
}

int vionic_set(struct vionic *vionic, const char *name, const char *key, const char *value,
               struct vionic_error *err)
{
    struct vionic_nic *nic = *nic_find(vionic, name);

    if (nic == NULL)
        return error_set(error_of(err), ENOENT, "there is no NIC called %s", name);
    return settings_apply(nic->coordinator, key, value, error_of(err));
}

/* ---- inspect ---------------------------------------------------------------------------- */

static void visit_enter(void *context, const char *name)
{
    const struct vionic_visitor *visitor = context;

    visitor->enter(visitor->context, name);
}

static void visit_leave(void *context)
{
    const struct vionic_visitor *visitor = context;

    visitor->leave(visitor->context);
}

static void visit_text(void *context, const char *name, const char *value)
{
    const struct vionic_visitor *visitor = context;

    visitor->text(visitor->context, name, value);
}

static void visit_number(void *context, const char *name, uint64_t value, enum inspect_style style)
{
    const struct vionic_visitor *visitor = context;

    visitor->number(visitor->context, name, value, (int)style);
}

static void visit_flag(void *context, const char *name, int value)
{
    const struct vionic_visitor *visitor = context;

    visitor->flag(visitor->context, name, value);
}

void vionic_inspect(struct vionic *vionic, const struct vionic_visitor *visitor)
{
    static const struct inspect_ops ops = {
        .enter = visit_enter,
        .leave = visit_leave,
        .text = visit_text,
        .number = visit_number,
        .flag = visit_flag,
    };
    struct inspect inspect = {.ops = &ops, .context = (void *)visitor};

    for (struct vionic_nic *nic = vionic->nics; nic != NULL; nic = nic->next) {
        inspect_enter(&inspect, coordinator_name(nic->coordinator));
        coordinator_inspect(nic->coordinator, &inspect);
        vhost_user_inspect(nic->vhost_user, &inspect);
        inspect_leave(&inspect);
    }
}

int vionic_endpoint_kind(unsigned index, struct vionic_endpoint_kind *ret_kind)
{
    for (unsigned i = 0; endpoint_catalog[i] != NULL; i++) {
        if (i != index)
            continue;
        *ret_kind = (struct vionic_endpoint_kind){
            .kind = endpoint_catalog[i]->kind,
            .summary = endpoint_catalog[i]->summary,
            .options_help = endpoint_catalog[i]->options_help,
        };
        return 0;
    }
    return -ENOENT;
}
