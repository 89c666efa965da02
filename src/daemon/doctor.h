/* SPDX-License-Identifier: MIT */
/*
 * What `vionic doctor` finds, as a JSON array of {"level": "ok" | "note" | "bad", "what": …,
 * "mend": …}. A note limits something; what is bad keeps packets from moving.
 */
#pragma once

#include <jansson.h>

enum finding_level {
    FINDING_OK,
    FINDING_NOTE,
    FINDING_BAD,
};

/* `mend` NULL: there is nothing to do. */
__attribute__((format(printf, 4, 5))) void doctor_add(json_t *findings, enum finding_level level,
                                                      const char *mend, const char *format, ...);

/* A line for each, with its mend. */
void doctor_print(const json_t *findings);
int doctor_is_bad(const json_t *findings);

/* This build, the kernel, what this user may do. */
void doctor_check_host(json_t *findings);
/* The daemon at the control socket (NULL: the default) and its NICs. */
void doctor_check_daemon(json_t *findings, const char *control_path);
