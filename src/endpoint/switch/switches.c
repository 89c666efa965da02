/* SPDX-License-Identifier: MIT */
#include "endpoint/switch/switches.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/name_text.h"
#include "endpoint/spec.h"
#include "endpoint/switch/lan.h"

struct switches {
    struct lan *lans; /* owned */
};

struct switches *switches_create(void)
{
    return calloc(1, sizeof(struct switches));
}

/* ---- one switch's life ------------------------------------------------------------------ */

static struct lan **lan_find(struct switches *switches, const char *name)
{
    struct lan **at = &switches->lans;

    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static int lan_create(struct switches *switches, const char *name, uint32_t ageing_s,
                      struct lan **ret_lan, struct error *err)
{
    struct lan *lan;
    uint64_t secret = 0;
    int result = name_text_check("switch", name, LAN_NAME_MAX, err);

    if (result < 0)
        return result;
    if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
        return error_set(err, EIO, "switch %s: no random numbers for its table", name);
    lan = aligned_alloc(64, (sizeof(*lan) + 63) / 64 * 64);
    if (lan == NULL)
        return error_set(err, ENOMEM, "switch %s: out of memory", name);
    memset(lan, 0, sizeof(*lan));
    snprintf(lan->name, sizeof(lan->name), "%s", name);
    lan->switches = switches;
    mac_table_init(&lan->table, secret, ageing_s);
    *lan_find(switches, name) = lan; /* not found: the end of the list */
    *ret_lan = lan;
    return 0;
}

static void lan_leave(struct lan *lan)
{
    struct lan **at = lan_find(lan->switches, lan->name);

    if (lan->ports_used != 0 || lan->kept)
        return;
    *at = lan->next;
    lan_free(lan);
}

void switches_port_closed(struct lan *lan)
{
    lan_leave(lan);
}

void switches_free(struct switches *switches)
{
    if (switches == NULL)
        return;
    while (switches->lans != NULL) {
        struct lan *next = switches->lans->next;

        lan_free(switches->lans);
        switches->lans = next;
    }
    free(switches);
}

/* ---- what the operator said ------------------------------------------------------------- */

int switches_keep(struct switches *switches, const struct switch_settings *settings,
                  struct error *err)
{
    struct lan *lan = *lan_find(switches, settings->name);
    int result;

    if (lan != NULL)
        return error_set(err, EEXIST, "there is a switch called %s already", settings->name);
    result = lan_create(switches, settings->name, settings->ageing_s, &lan, err);
    if (result == 0)
        lan->kept = 1;
    return result;
}

int switches_release(struct switches *switches, const char *name)
{
    struct lan *lan = *lan_find(switches, name);

    if (lan == NULL || !lan->kept)
        return -ENOENT;
    lan->kept = 0;
    lan_leave(lan);
    return 0;
}

int switches_keeps(const struct switches *switches, const char *name)
{
    const struct lan *lan = *lan_find((struct switches *)switches, name);

    return lan != NULL && lan->kept;
}

/* ---- ports ------------------------------------------------------------------------------ */

static int open_in(struct switches *switches, const char *name,
                   const struct lan_port_settings *settings, struct endpoint **ret_endpoint,
                   struct error *err)
{
    struct lan *lan = *lan_find(switches, name);
    struct lan_port *port;
    int result = 0;

    if (lan == NULL)
        result = lan_create(switches, name, SWITCH_AGEING_S, &lan, err);
    if (result < 0)
        return result;
    result = lan_open_port(lan, settings, &port, err);
    if (result < 0) {
        lan_leave(lan);
        return result;
    }
    *ret_endpoint = (struct endpoint *)port;
    return 0;
}

int switches_open_port(struct switches *switches, const struct endpoint_spec *spec,
                       struct endpoint **ret_endpoint, struct error *err)
{
    struct lan_port_settings settings;
    int result = lan_read_settings(spec, &settings, err);

    if (result < 0)
        return result;
    return open_in(switches, endpoint_spec_get(spec, "name"), &settings, ret_endpoint, err);
}

int switches_open_uplink(struct switches *switches, const char *name,
                         struct endpoint **ret_endpoint, struct error *err)
{
    const struct lan_port_settings settings = {.nic_name = "uplink", .flags = LAN_PORT_UPLINK};

    return open_in(switches, name, &settings, ret_endpoint, err);
}

void switches_inspect(struct switches *switches, struct inspect *visitor)
{
    for (struct lan *lan = switches->lans; lan != NULL; lan = lan->next) {
        char node[sizeof("switch:") + LAN_NAME_MAX];

        snprintf(node, sizeof(node), "switch:%s", lan->name); /* no NIC can be called so */
        inspect_enter(visitor, node);
        lan_inspect(lan, visitor);
        inspect_leave(visitor);
    }
}
