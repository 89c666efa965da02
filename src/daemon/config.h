/* SPDX-License-Identifier: MIT */
/*
 * What the operator wants to run, gathered from a JSON file and the command line and found to be
 * valid: one validator for both, because the command line is turned into the file's JSON first.
 *
 *   config_load_file (0 or 1 times) ─> config_add_settings, config_add_switch, config_add_nic … ─>
 * config_finish ─> use
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"
#include "vionic.h"

struct config_nic {
    struct vionic_nic_config nic;  /* strings: borrowed from config.kept */
    struct vionic_option *options; /* owned; nic.endpoint_options */
    char *place;                   /* owned: where the operator wrote it */
};

struct config_switch {
    struct vionic_switch_config lan; /* strings: borrowed from config.kept */
    struct config_nic uplink;        /* of this only the endpoint, its options and the place */
};

/* No NIC has this name: `vionic inspect daemon` is about the daemon itself. */
#define CONFIG_NAME_DAEMON "daemon"

enum sandbox_mode {
    SANDBOX_ON,
    SANDBOX_LOG, /* only says what it would refuse */
    SANDBOX_OFF,
};

struct config {
    json_t *kept;              /* owned: every JSON value that something here points into */
    const char *control_path;  /* borrowed from kept; NULL: the default */
    const char *control_group; /* borrowed from kept; NULL: none */
    enum sandbox_mode sandbox;
    const char *sandbox_allow; /* borrowed from kept; NULL: only what the NICs need */
    const char *user;          /* borrowed from kept; NULL: stays who it is */
    unsigned workers;          /* 0: the library's default */
    int polling;               /* as schema_polling has it: 0 with a time */
    unsigned poll_us;
    unsigned poll_budget;    /* percent; 0: the library's default */
    const char *cpus;        /* borrowed from kept; NULL: any */
    struct config_nic *nics; /* owned */
    size_t nic_count;
    struct config_switch *switches; /* owned */
    size_t switch_count;
};

int config_init(struct config *config, struct error *err);
/* Fine for a zeroed config. */
void config_clear(struct config *config);

/* -EINVAL: what the operator wrote is wrong. Otherwise the -errno of reading. */
int config_load_file(struct config *config, const char *path, struct error *err);
/* The daemon's settings ("control", "workers", "sandbox", …) of the command line; they overrule the
 * file's. */
int config_add_settings(struct config *config, json_t *settings, struct error *err);
/* The text of one --nic. */
int config_add_nic(struct config *config, const char *text, struct error *err);
/* The text of one --switch. */
int config_add_switch(struct config *config, const char *text, struct error *err);
/* Looks at the NICs together, and names those that have no name. */
int config_finish(struct config *config, struct error *err);
