/* SPDX-License-Identifier: MIT */
/* NICs come and go: from the public config to a coordinator and its transport. */
#include "api/vionic_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "api/endpoint_choice.h"
#include "api/placement.h"
#include "api/sized.h"
#include "base/checked.h"
#include "base/name_text.h"

enum {
    NIC_NAME_MAX = 31,
    QUEUE_SIZE_DEFAULT = 1024,
    REGIONS_DEFAULT_MIN = 16,
};

static const uint64_t memory_max_default = 4ull << 40;

/* Each region keeps a file open: one front-end does not take more than an eighth of what this
 * process may have, unless the operator says so. */
static unsigned regions_max_default(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return REGIONS_DEFAULT_MIN;
    return (unsigned)MIN(MAX(files.rlim_cur / 8, (rlim_t)REGIONS_DEFAULT_MIN),
                         (rlim_t)GUEST_MEMORY_REGIONS_MAX);
}

static struct vionic_nic **nic_find(struct vionic *vionic, const char *name)
{
    struct vionic_nic **at = &vionic->nics;

    while (*at != NULL && strcmp(coordinator_name((*at)->coordinator), name) != 0)
        at = &(*at)->next;
    return at;
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
    if (config->transport == VIONIC_TRANSPORT_VHOST_USER)
        ret_config->masked.word[1] = UINT64_MAX; /* its messages carry 64 bits */
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

static int nic_open_coordinator(struct vionic_nic *nic, const struct vionic_nic_config *config,
                                const char *name, const struct coordinator_inheritance *from,
                                struct error *err)
{
    struct vionic *vionic = nic->vionic;
    const struct vionic_endpoint_config endpoint = {
        .endpoint = config->endpoint,
        .options = config->endpoint_options,
        .option_count = config->endpoint_option_count,
        .ops = config->endpoint_ops,
        .context = config->endpoint_context,
    };
    struct endpoint_choice choice = {0};
    struct coordinator_config settings = {
        .name = name,
        .pool = vionic->pool,
        .loop = vionic->loop,
        .inherited = from,
    };
    int result = nic_config_build(config, &settings.nic, err);

    if (result == 0 && config->workers != NULL)
        result = placement_workers(config->workers, worker_pool_count(vionic->pool),
                                   &settings.workers, err);
    if (result == 0)
        result = endpoint_choice_make(&choice, &endpoint, err);
    if (result == 0) {
        settings.endpoint = endpoint_choice_coordinator(&choice, vionic->switches);
        result = coordinator_open(&settings, &nic->coordinator, err);
    }
    if (result == 0 && config->transport == VIONIC_TRANSPORT_VHOST_USER &&
        config->offers & VIONIC_OFFER_IOMMU)
        nic_offer(coordinator_nic(nic->coordinator), F_ACCESS_PLATFORM);
    if (result == 0)
        nic->outside = endpoint_choice_keep(&choice);
    endpoint_choice_clear(&choice);
    return result;
}

static uint64_t offered_more(unsigned offers)
{
    return (offers & VIONIC_OFFER_IN_BAND ? VHOST_USER_PROTOCOL_INBAND_NOTIFICATIONS : 0) |
           (offers & VIONIC_OFFER_POSTCOPY ? VHOST_USER_PROTOCOL_PAGEFAULT : 0);
}

int nic_open_socket(struct vionic_nic *nic, const struct vionic_nic_config *config,
                    const struct coordinator_inheritance *from, struct error *err)
{
    const struct vhost_user_settings socket = {
        .path = config->socket_path,
        .mode = config->socket_mode == VIONIC_SOCKET_CLIENT ? VHOST_USER_CLIENT : VHOST_USER_SERVER,
        .listen_fd = config->socket_fd,
        .limits = {.memory_max = config->memory_max == 0 ? memory_max_default : config->memory_max,
                   .regions_max =
                       config->memory_regions == 0 ? regions_max_default() : config->memory_regions,
                   .control_percent = config->control_share == 0 ? VHOST_USER_SHARE_PERCENT
                                                                 : config->control_share},
        .queue_unit = config->queue_unit == VIONIC_QUEUE_UNIT_PAIRS ? VHOST_USER_QUEUE_UNIT_PAIRS
                                                                    : VHOST_USER_QUEUE_UNIT_RINGS,
        .protocol_features = offered_more(config->offers),
        .coordinator = nic->coordinator,
        .loop = nic->vionic->loop,
        .control_time = &nic->vionic->control_time,
        .inherited = from,
    };

    return vhost_user_open(&socket, &nic->vhost_user, err);
}

static void nic_free(struct vionic_nic *nic)
{
    vhost_user_close(nic->vhost_user);
    embedded_close(nic);
    coordinator_close(nic->coordinator);
    guest_memory_free(nic->memory);
    outside_kind_free(nic->outside);
    free(nic->taken);
    free(nic);
}

/* What belongs to one transport only. */
static int transport_check(const struct vionic_nic_config *config, const char *name,
                           struct error *err)
{
    int has_socket = config->socket_path != NULL && config->socket_path[0] != '\0';

    if (config->socket_fd != 0 && (config->transport != VIONIC_TRANSPORT_VHOST_USER ||
                                   config->socket_mode != VIONIC_SOCKET_SERVER))
        return error_set(err, EINVAL, "%s: socket_fd is for a vhost-user server only", name);
    if (config->memory_regions > GUEST_MEMORY_REGIONS_MAX)
        return error_set(err, EINVAL, "%s: memory_regions=%u is more than %d", name,
                         config->memory_regions, GUEST_MEMORY_REGIONS_MAX);
    if (config->control_share > 100)
        return error_set(err, EINVAL, "%s: control_share=%u is more than 100 percent", name,
                         config->control_share);
    if (config->offers &
        ~(unsigned)(VIONIC_OFFER_IN_BAND | VIONIC_OFFER_POSTCOPY | VIONIC_OFFER_IOMMU))
        return error_set(err, EINVAL, "%s: offers has bits that are none of enum vionic_offer",
                         name);
    if (config->transport == VIONIC_TRANSPORT_VHOST_USER) {
        if (config->interrupts != NULL)
            return error_set(err, EINVAL, "%s: a front-end brings the interrupts itself", name);
        return has_socket ? 0 : error_set(err, EINVAL, "%s: no socket is named", name);
    }
    if (config->transport != VIONIC_TRANSPORT_MMIO && config->transport != VIONIC_TRANSPORT_PCI)
        return error_set(err, EINVAL, "%s: transport is none of enum vionic_transport", name);
    if (has_socket)
        return error_set(err, EINVAL, "%s: socket %s is for vhost-user, not for registers", name,
                         config->socket_path);
    return 0;
}

static int nic_open_transport(struct vionic_nic *nic, const struct vionic_nic_config *config,
                              const struct coordinator_inheritance *from, struct error *err)
{
    if (from != NULL)
        return handover_take_session(nic, config, from, err);
    if (config->transport == VIONIC_TRANSPORT_VHOST_USER)
        return nic_open_socket(nic, config, NULL, err);
    return embedded_open(nic, config, err);
}

int nic_add(struct vionic *vionic, const struct vionic_nic_config *config,
            const struct coordinator_inheritance *from, struct vionic_nic **ret_nic,
            struct error *err)
{
    char automatic[16];
    const char *name = config->name;
    struct vionic_nic *nic;
    int result;

    snprintf(automatic, sizeof(automatic), "nic%u", vionic->added);
    if (name == NULL)
        name = automatic;
    result = name_text_check("NIC", name, NIC_NAME_MAX, err);
    if (result == 0)
        result = transport_check(config, name, err);
    if (result < 0)
        return result;
    if (*nic_find(vionic, name) != NULL)
        return error_set(err, EEXIST, "there is a NIC called %s already", name);
    nic = calloc(1, sizeof(*nic));
    if (nic == NULL)
        return error_set(err, ENOMEM, "out of memory");
    nic->vionic = vionic;
    result = nic_open_coordinator(nic, config, name, from, err);
    if (result == 0)
        result = nic_open_transport(nic, config, from, err);
    if (result < 0) {
        nic_free(nic);
        return result;
    }
    *nic_find(vionic, name) = nic; /* not found: the end of the list */
    vionic->added++;
    *ret_nic = nic;
    return 0;
}

int vionic_add_nic(struct vionic *vionic, const struct vionic_nic_config *given,
                   struct vionic_nic **ret_nic, struct vionic_error *err)
{
    struct vionic_nic_config config;
    struct vionic_nic *nic;
    int result = sized_read(given, "vionic_nic_config", &config, sizeof(config), error_of(err));

    if (result == 0)
        result = nic_add(vionic, &config, NULL, &nic, error_of(err));
    if (result == 0 && ret_nic != NULL)
        *ret_nic = nic;
    return result;
}

void vionic_remove_nic(struct vionic_nic *nic)
{
    if (nic == NULL)
        return;
    *nic_find(nic->vionic, coordinator_name(nic->coordinator)) = nic->next;
    nic_free(nic);
}

struct vionic_nic *vionic_find_nic(struct vionic *vionic, const char *name)
{
    return *nic_find(vionic, name);
}

const char *vionic_nic_name(const struct vionic_nic *nic)
{
    return coordinator_name(nic->coordinator);
}
