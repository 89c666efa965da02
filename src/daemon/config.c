/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "daemon/config_endpoint.h"
#include "daemon/config_file.h"
#include "daemon/config_switch.h"
#include "daemon/mac.h"
#include "daemon/nicspec.h"
#include "daemon/schema.h"
#include "daemon/shown.h"

enum {
    CONFIG_NICS_MAX = 1024,
    CONFIG_NAME_MAX = 31,
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ENOMEM, "out of memory");
}

int config_init(struct config *config, struct error *err)
{
    *config = (struct config){.kept = json_array()};
    return config->kept == NULL ? out_of_memory(err) : 0;
}

void config_clear(struct config *config)
{
    for (size_t i = 0; i < config->nic_count; i++) {
        free(config->nics[i].options);
        free(config->nics[i].place);
    }
    free(config->nics);
    config_clear_switches(config);
    json_decref(config->kept);
    *config = (struct config){0};
}

/* ---- one NIC ---------------------------------------------------------------------------- */

static int nic_check_name(const char *name, const char *place, struct error *err)
{
    char shown[SHOWN_LEN];
    size_t len = 0;

    while (isalnum((unsigned char)name[len]) || name[len] == '_' || name[len] == '-')
        len++;
    if (strcmp(name, CONFIG_NAME_DAEMON) == 0)
        return error_set(err, EINVAL,
                         "%sname: \"%s\" stands for the daemon in `vionic inspect`; choose another",
                         place, name);
    if (name[len] == '\0' && len <= CONFIG_NAME_MAX)
        return 0;
    shown_text(name, shown);
    return error_set(err, EINVAL,
                     "%sname: \"%s\" won't do; use 1 to %d letters, digits, '-' and '_'", place,
                     shown, CONFIG_NAME_MAX);
}

static int nic_set_mode(struct vionic_nic_config *nic, const char *mode, const char *place,
                        struct error *err)
{
    char shown[SHOWN_LEN];

    if (strcmp(mode, "server") == 0) {
        nic->socket_mode = VIONIC_SOCKET_SERVER;
        return 0;
    }
    if (strcmp(mode, "client") == 0) {
        nic->socket_mode = VIONIC_SOCKET_CLIENT;
        return 0;
    }
    shown_text(mode, shown);
    return error_set(err, EINVAL,
                     "%smode: must be \"server\" (listen) or \"client\" (connect), not \"%s\"",
                     place, shown);
}

static int nic_set_queue_unit(struct vionic_nic_config *nic, const char *unit, const char *place,
                              struct error *err)
{
    char shown[SHOWN_LEN];

    if (strcmp(unit, "rings") == 0) {
        nic->queue_unit = VIONIC_QUEUE_UNIT_RINGS;
        return 0;
    }
    if (strcmp(unit, "pairs") == 0) {
        nic->queue_unit = VIONIC_QUEUE_UNIT_PAIRS;
        return 0;
    }
    shown_text(unit, shown);
    return error_set(err, EINVAL, "%squeue-unit: must be \"rings\" or \"pairs\", not \"%s\"", place,
                     shown);
}

static int nic_set_offer(struct config_nic *entry, json_t *object, const char *key,
                         enum vionic_offer offer, struct error *err)
{
    const char *text = json_string_value(json_object_get(object, key));
    char shown[SHOWN_LEN];

    if (text == NULL || strcmp(text, "off") == 0)
        return 0;
    if (strcmp(text, "on") == 0) {
        entry->nic.offers |= offer;
        return 0;
    }
    shown_text(text, shown);
    return error_set(err, EINVAL, "%s%s: must be \"on\" or \"off\", not \"%s\"", entry->place, key,
                     shown);
}

static int nic_check_required(json_t *object, const char *place, struct error *err)
{
    if (json_object_get(object, "socket") == NULL)
        return error_set(err, EINVAL,
                         "%ssocket: is missing; name the vhost-user socket, such as "
                         "socket=/run/vionic/vm0.sock",
                         place);
    if (json_object_get(object, "endpoint") == NULL)
        return error_set(err, EINVAL,
                         "%sendpoint: is missing; say where the packets go, such as endpoint=user "
                         "(`vionic endpoints` lists the kinds)",
                         place);
    return 0;
}

static unsigned number_of(json_t *object, const char *key)
{
    return (unsigned)json_integer_value(json_object_get(object, key));
}

/* A count may be a number in the file. */
static int nic_set_workers(struct config *config, struct config_nic *entry, json_t *workers,
                           struct error *err)
{
    json_t *text = json_incref(workers);

    if (json_is_integer(workers)) {
        json_decref(text);
        text = json_sprintf("%lld", (long long)json_integer_value(workers));
    }
    if (json_array_append_new(config->kept, text) < 0)
        return out_of_memory(err);
    entry->nic.workers = json_string_value(text);
    return 0;
}

/* The schema holds for the object already. */
static int nic_fill(struct config *config, struct config_nic *entry, json_t *object,
                    struct error *err)
{
    struct vionic_nic_config *nic = &entry->nic;
    const char *mode = json_string_value(json_object_get(object, "mode"));
    const char *unit = json_string_value(json_object_get(object, "queue-unit"));
    const char *mac = json_string_value(json_object_get(object, "mac"));
    json_t *workers = json_object_get(object, "workers");
    int ret = nic_check_required(object, entry->place, err);

    nic->size = sizeof(*nic);
    nic->name = json_string_value(json_object_get(object, "name"));
    nic->socket_path = json_string_value(json_object_get(object, "socket"));
    nic->mtu = (uint16_t)number_of(object, "mtu");
    nic->speed_mbps = number_of(object, "speed");
    nic->queue_pairs = number_of(object, "queues");
    nic->queue_size = number_of(object, "queue-size");
    nic->memory_max = (uint64_t)number_of(object, "memory-max") << 20;
    nic->memory_regions = number_of(object, "memory-regions");
    nic->control_share = number_of(object, "control-share");
    if (ret == 0 && nic->name != NULL)
        ret = nic_check_name(nic->name, entry->place, err);
    if (ret == 0 && mode != NULL)
        ret = nic_set_mode(nic, mode, entry->place, err);
    if (ret == 0 && unit != NULL)
        ret = nic_set_queue_unit(nic, unit, entry->place, err);
    if (ret == 0)
        ret = nic_set_offer(entry, object, "in-band", VIONIC_OFFER_IN_BAND, err);
    if (ret == 0)
        ret = nic_set_offer(entry, object, "postcopy", VIONIC_OFFER_POSTCOPY, err);
    if (ret == 0)
        ret = nic_set_offer(entry, object, "iommu", VIONIC_OFFER_IOMMU, err);
    if (ret == 0 && mac != NULL)
        ret = mac_parse(mac, entry->place, nic->mac, err);
    else if (ret == 0)
        mac_choose(nic->socket_path, nic->mac);
    if (ret == 0 && workers != NULL)
        ret = nic_set_workers(config, entry, workers, err);
    if (ret == 0)
        ret = config_endpoint_fill(config, entry, json_object_get(object, "endpoint"), err);
    return ret;
}

static struct config_nic *nic_append(struct config *config, const char *place)
{
    size_t count = config->nic_count;
    struct config_nic *nics = realloc(config->nics, (count + 1) * sizeof(*nics));

    if (nics == NULL)
        return NULL;
    config->nics = nics;
    nics[count] = (struct config_nic){.place = strdup(place)};
    if (nics[count].place == NULL)
        return NULL;
    config->nic_count++;
    return &nics[count];
}

static int apply_nic(struct config *config, json_t *object, const char *place, struct error *err)
{
    struct config_nic *entry;
    int ret = schema_check(schema_nic, object, place, err);

    if (ret < 0)
        return ret;
    if (config->nic_count >= CONFIG_NICS_MAX)
        return error_set(err, EINVAL, "%s one NIC more than %d; start another daemon for it", place,
                         CONFIG_NICS_MAX);
    entry = nic_append(config, place);
    if (entry == NULL || json_array_append(config->kept, object) < 0)
        return out_of_memory(err);
    return nic_fill(config, entry, object, err);
}

int config_add_nic(struct config *config, const char *text, struct error *err)
{
    char shown[SHOWN_LEN];
    char place[SHOWN_LEN + 16];
    json_t *object;
    int ret;

    shown_text(text, shown);
    snprintf(place, sizeof(place), "--nic %s: ", shown);
    ret = nicspec_parse(text, &object, err);
    if (ret < 0) {
        error_prefix(err, "--nic %s", shown);
        return ret;
    }
    ret = apply_nic(config, object, place, err);
    json_decref(object);
    return ret;
}

/* ---- settings and the file -------------------------------------------------------------- */

static int set_sandbox(struct config *config, const char *mode, const char *place,
                       struct error *err)
{
    static const char *const names[] = {
        [SANDBOX_ON] = "on", [SANDBOX_LOG] = "log", [SANDBOX_OFF] = "off"};
    char shown[SHOWN_LEN];

    for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(names[i], mode) != 0)
            continue;
        config->sandbox = (enum sandbox_mode)i;
        return 0;
    }
    shown_text(mode, shown);
    return error_set(err, EINVAL,
                     "%ssandbox: must be \"on\", \"log\" (only say what would be refused) or "
                     "\"off\", not \"%s\"",
                     place, shown);
}

static void set_text(json_t *object, const char *key, const char **ret_text)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (text != NULL)
        *ret_text = text;
}

static void set_poll(struct config *config, json_t *poll)
{
    if (poll == NULL)
        return;
    config->polling = json_is_string(poll) ? schema_polling(json_string_value(poll)) : 0;
    config->poll_us = (unsigned)json_integer_value(poll); /* 0 of a string */
}

static int apply_settings(struct config *config, json_t *object, const char *place,
                          struct error *err)
{
    const char *sandbox = NULL;
    json_t *workers = json_object_get(object, "workers");
    json_t *budget = json_object_get(object, "poll-budget");
    int ret = schema_check(schema_daemon, object, place, err);

    if (ret < 0)
        return ret;
    if (json_array_append(config->kept, object) < 0)
        return out_of_memory(err);
    set_text(object, "control", &config->control_path);
    set_text(object, "control-group", &config->control_group);
    set_text(object, "sandbox-allow", &config->sandbox_allow);
    set_text(object, "user", &config->user);
    set_text(object, "cpus", &config->cpus);
    set_text(object, "sandbox", &sandbox);
    if (workers != NULL)
        config->workers = (unsigned)json_integer_value(workers);
    set_poll(config, json_object_get(object, "poll"));
    if (budget != NULL)
        config->poll_budget = (unsigned)json_integer_value(budget);
    return sandbox != NULL ? set_sandbox(config, sandbox, place, err) : 0;
}

int config_add_settings(struct config *config, json_t *settings, struct error *err)
{
    return apply_settings(config, settings, "--", err);
}

static int apply_file_nic(struct config *config, json_t *object, size_t index, const char *path,
                          struct error *err)
{
    char place[SHOWN_LEN + 32];
    char what[SHOWN_LEN];

    snprintf(place, sizeof(place), "%s: nics[%zu].", path, index);
    if (json_is_object(object))
        return apply_nic(config, object, place, err);
    shown_json(object, what);
    place[strlen(place) - 1] = '\0';
    return error_set(err, EINVAL,
                     "%s: must be an object with at least \"socket\" and \"endpoint\", not %s",
                     place, what);
}

static int apply_file_switches(struct config *config, json_t *switches, const char *path,
                               struct error *err)
{
    char place[SHOWN_LEN + 40];
    json_t *object;
    size_t i;
    int ret = 0;

    json_array_foreach(switches, i, object)
    {
        snprintf(place, sizeof(place), "%s: switches[%zu].", path, i);
        ret = json_is_object(object)
                  ? config_apply_switch(config, object, place, err)
                  : error_set(err, EINVAL, "%s must be an object with a \"name\"", place);
        if (ret < 0)
            break;
    }
    return ret;
}

int config_load_file(struct config *config, const char *path, struct error *err)
{
    char shown[SHOWN_LEN];
    char place[SHOWN_LEN + 2];
    json_t *root, *object;
    size_t i;
    int ret = config_file_read(path, &root, err);

    if (ret < 0)
        return ret;
    shown_text(path, shown);
    snprintf(place, sizeof(place), "%s: ", shown);
    ret = apply_settings(config, root, place, err);
    if (ret == 0)
        ret = apply_file_switches(config, json_object_get(root, "switches"), shown, err);
    if (ret < 0)
        goto out;
    json_array_foreach(json_object_get(root, "nics"), i, object)
    {
        ret = apply_file_nic(config, object, i, shown, err);
        if (ret < 0)
            break;
    }
out:
    json_decref(root);
    return ret;
}

/* ---- all of them together --------------------------------------------------------------- */

static struct config_nic *find_name(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->nic_count; i++) {
        const char *other = config->nics[i].nic.name;

        if (other != NULL && strcmp(other, name) == 0)
            return &config->nics[i];
    }
    return NULL;
}

static struct config_nic *find_socket(struct config *config, const char *path)
{
    for (size_t i = 0; i < config->nic_count; i++) {
        if (strcmp(config->nics[i].nic.socket_path, path) == 0)
            return &config->nics[i];
    }
    return NULL;
}

static int check_unique(struct config *config, struct config_nic *entry, struct error *err)
{
    const struct vionic_nic_config *nic = &entry->nic;

    if (nic->name != NULL && find_name(config, nic->name) != entry)
        return error_set(err, EINVAL,
                         "%sname: \"%s\" is taken by another NIC; choose one of its own",
                         entry->place, nic->name);
    if (find_socket(config, nic->socket_path) != entry)
        return error_set(err, EINVAL,
                         "%ssocket: %s is taken by another NIC; give each a socket of its own",
                         entry->place, nic->socket_path);
    if (config->control_path != NULL && strcmp(config->control_path, nic->socket_path) == 0)
        return error_set(err, EINVAL,
                         "%ssocket: %s is the control socket too; give the NIC one of its own",
                         entry->place, nic->socket_path);
    return 0;
}

/* nic0, nic1, …: the first that nobody has. */
static int choose_name(struct config *config, struct config_nic *entry)
{
    unsigned number = 0;
    char name[16];
    json_t *kept;

    do
        snprintf(name, sizeof(name), "nic%u", number++);
    while (find_name(config, name) != NULL);
    kept = json_string(name);
    if (json_array_append_new(config->kept, kept) < 0)
        return -ENOMEM;
    entry->nic.name = json_string_value(kept);
    return 0;
}

int config_finish(struct config *config, struct error *err)
{
    int ret;

    if (config->nic_count == 0)
        return error_set(
            err, EINVAL,
            "there is no NIC to run; give --nic socket=PATH,endpoint=KIND or a --config "
            "FILE with \"nics\"");
    for (size_t i = 0; i < config->nic_count; i++) {
        ret = check_unique(config, &config->nics[i], err);
        if (ret < 0)
            return ret;
    }
    for (size_t i = 0; i < config->nic_count; i++) {
        if (config->nics[i].nic.name == NULL && choose_name(config, &config->nics[i]) < 0)
            return out_of_memory(err);
    }
    return 0;
}
