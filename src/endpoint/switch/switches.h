/* SPDX-License-Identifier: MIT */
/*
 * The switches of one library instance, by name. A switch comes to be with its first port, or by
 * what the operator says of it beforehand, and is gone with the last of both. For the control
 * thread.
 */
#pragma once

#include "endpoint/endpoint.h"

struct switches;

struct switch_settings {
    const char *name;
    uint32_t ageing_s; /* 0: addresses are never forgotten */
};

enum {
    SWITCH_AGEING_S = 300, /* as of IEEE 802.1D */
    SWITCH_AGEING_MAX_S = 1000000,
};

/* NULL: no memory. */
struct switches *switches_create(void);
/* All ports are closed. NULL is fine. */
void switches_free(struct switches *switches);

/* Keeps the switch until switches_release. -EEXIST: it is kept already, or has ports. */
int switches_keep(struct switches *switches, const struct switch_settings *settings,
                  struct error *err);
/* -ENOENT. A switch with ports goes on without what was said of it. */
int switches_release(struct switches *switches, const char *name);
/* 1: there is one of that name, and it is kept. */
int switches_keeps(const struct switches *switches, const char *name);

/* A port for the endpoint `switch:name=…`; the last one to be closed takes the switch along. */
int switches_open_port(struct switches *switches, const struct endpoint_spec *spec,
                       struct endpoint **ret_endpoint, struct error *err);
/* The port of an uplink: isolated ports talk to it, and no address is its own. */
int switches_open_uplink(struct switches *switches, const char *name,
                         struct endpoint **ret_endpoint, struct error *err);

/* Calls for each switch, by name. May run beside the workers. */
void switches_inspect(struct switches *switches, struct inspect *visitor);
