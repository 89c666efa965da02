/* SPDX-License-Identifier: MIT */
/*
 * Thread roles, checked by clang (-Wthread-safety); nothing at run time, nothing for other
 * compilers.
 *
 * There is one token, `data`. A worker has it while it runs; the control thread has it between
 * worker_pause and worker_resume. What touches a pair needs it; what belongs to the control plane
 * must be called without it, so that no worker can wander into a pause, a lock or an allocation
 * there.
 */
#pragma once

#if defined(__clang__)
#define ROLE(x) __attribute__((x))
#else
#define ROLE(x)
#endif

struct ROLE(capability("role")) role {
    char unused;
};

extern struct role role_data;

#define NEEDS_DATA   ROLE(requires_capability(role_data))
#define CONTROL_ONLY ROLE(locks_excluded(role_data))
#define TAKES_DATA   ROLE(acquire_capability(role_data))
#define DROPS_DATA   ROLE(release_capability(role_data))
/* For bodies that are a change of role themselves. */
#define ROLE_UNCHECKED ROLE(no_thread_safety_analysis)
