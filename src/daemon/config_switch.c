/* SPDX-License-Identifier: MIT */
#include "daemon/config_switch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_endpoint.h"
#include "daemon/nicspec.h"
#include "daemon/schema.h"
#include "daemon/shown.h"

enum {
    CONFIG_SWITCHES_MAX = 64,
};

void config_clear_switches(struct config *config)
{
    for (size_t i = 0; i < config->switch_count; i++) {
        free(config->switches[i].uplink.options);
        free(config->switches[i].uplink.place);
    }
    free(config->switches);
}

static unsigned number_of(json_t *object, const char *key)
{
    return (unsigned)json_integer_value(json_object_get(object, key));
}

static int fill(struct config *config, struct config_switch *entry, json_t *object,
                struct error *err)
{
    struct vionic_switch_config *lan = &entry->lan;
    json_t *uplink = json_object_get(object, "uplink");
    int ret;

    *lan = (struct vionic_switch_config){
        .size = sizeof(*lan),
        .name = json_string_value(json_object_get(object, "name")),
        .ageing_s = number_of(object, "ageing"),
        .queue_pairs = number_of(object, "queues"),
    };
    if (lan->name == NULL)
        return error_set(err, EINVAL, "%sname: is missing; name the switch, such as name=lan0",
                         entry->uplink.place);
    for (size_t i = 0; i + 1 < config->switch_count; i++) {
        if (strcmp(config->switches[i].lan.name, lan->name) == 0)
            return error_set(err, EINVAL,
                             "%sname: \"%s\" is taken by another switch; choose one of its own",
                             entry->uplink.place, lan->name);
    }
    if (uplink == NULL)
        return 0;
    ret = config_endpoint_fill(config, &entry->uplink, uplink, err);
    lan->uplink = entry->uplink.nic.endpoint;
    lan->uplink_options = entry->uplink.options;
    lan->uplink_option_count = entry->uplink.nic.endpoint_option_count;
    return ret;
}

int config_apply_switch(struct config *config, json_t *object, const char *place, struct error *err)
{
    struct config_switch *grown, *entry;
    int ret = schema_check(schema_switch, object, place, err);

    if (ret < 0)
        return ret;
    if (config->switch_count == CONFIG_SWITCHES_MAX)
        return error_set(err, EINVAL, "%s one switch more than %d; start another daemon for it",
                         place, CONFIG_SWITCHES_MAX);
    grown = realloc(config->switches, (config->switch_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return error_set(err, ENOMEM, "out of memory");
    config->switches = grown;
    entry = &grown[config->switch_count++];
    *entry = (struct config_switch){.uplink.place = strdup(place)};
    if (entry->uplink.place == NULL || json_array_append(config->kept, object) < 0)
        return error_set(err, ENOMEM, "out of memory");
    return fill(config, entry, object, err);
}

int config_add_switch(struct config *config, const char *text, struct error *err)
{
    char shown[SHOWN_LEN];
    char place[SHOWN_LEN + 16];
    json_t *object;
    int ret;

    shown_text(text, shown);
    snprintf(place, sizeof(place), "--switch %s: ", shown);
    ret = nicspec_parse_switch(text, &object, err);
    if (ret < 0) {
        error_prefix(err, "--switch %s", shown);
        return ret;
    }
    ret = config_apply_switch(config, object, place, err);
    json_decref(object);
    return ret;
}
