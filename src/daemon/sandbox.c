/* SPDX-License-Identifier: MIT */
#include "daemon/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"
#include "daemon/sandbox_build.h"
#include "daemon/sandbox_files.h"
#include "daemon/sandbox_filter.h"
#include "daemon/sandbox_plan.h"
#include "daemon/sandbox_privileges.h"
#include "daemon/sandbox_refusals.h"

static struct {
    enum sandbox_mode mode;
    enum sandbox_verdict verdict;
    struct sandbox_plan plan;                 /* owned */
    struct sock_fprog program[SANDBOX_ROLES]; /* owned; their filters */
    /* Once the control thread is in it, which can't look any more. */
    int entered;
    int files_limited;
    char capabilities[PRIVILEGES_TEXT_LEN];
} sandbox = {.mode = SANDBOX_OFF};

static int sandbox_has_filters(void)
{
    return sandbox.mode != SANDBOX_OFF && sandbox_filter_missing() == NULL;
}

/* ---- before there are threads ------------------------------------------------------------- */

static int check_user(const struct config *config, struct error *err)
{
    if (config->user == NULL)
        return 0;
    if (config->sandbox != SANDBOX_ON)
        return error_set(err, EINVAL,
                         "--user: the capabilities that it takes to start are given up by the "
                         "sandbox only; leave --user or --sandbox out");
    return sandbox_privileges_become(config->user, err);
}

static int build_filters(struct loop *loop, struct error *err)
{
    int ret = 0;

    for (int role = 0; ret == 0 && role < SANDBOX_ROLES; role++)
        ret = sandbox_filter_build(&sandbox.plan, (enum sandbox_role)role, sandbox.verdict,
                                   &sandbox.program[role], err);
    return ret == 0 ? sandbox_refusals_begin(loop, sandbox.verdict, err) : ret;
}

int sandbox_prepare(const struct config *config, const char *control_path, struct loop *loop,
                    struct error *err)
{
    int ret = check_user(config, err);

    if (ret == 0)
        ret = sandbox_plan_make(config, control_path, &sandbox.plan, err);
    if (ret < 0)
        return ret;
    sandbox.mode = config->sandbox;
    sandbox.verdict = sandbox.mode == SANDBOX_LOG ? SANDBOX_NOTE : SANDBOX_REFUSE;
    if (sandbox.mode == SANDBOX_OFF)
        log_warning("the sandbox is off: a fault in this daemon is a fault with all its rights");
    return sandbox_has_filters() ? build_filters(loop, err) : 0;
}

/* ---- in each thread ------------------------------------------------------------------------ */

static int load_filter(enum sandbox_role role)
{
    int ret;

    sandbox_refusals_join(role);
    ret = sandbox_filter_load(&sandbox.program[role], sandbox.verdict);
    return ret > 0 ? sandbox_refusals_listen(ret, role) : ret;
}

static int drop_privileges(enum sandbox_role role)
{
    if (sandbox.mode != SANDBOX_ON || sandbox_privileges_missing() != NULL)
        return 0;
    return sandbox_privileges_drop(&sandbox.plan, role);
}

/* Only what has to be there is a failure: a system without Landlock is said to have none. */
static int limit_thread(enum sandbox_role role)
{
    int ret = 0;

    if (sandbox.mode == SANDBOX_OFF)
        return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        ret = -errno;
    if (ret == 0 && sandbox.mode == SANDBOX_ON && sandbox_files_possible())
        ret = sandbox_files_limit(&sandbox.plan, role);
    if (ret == 0 && sandbox_has_filters())
        ret = load_filter(role);
    return ret;
}

int sandbox_worker_started(void *context, unsigned worker)
{
    int ret = drop_privileges(SANDBOX_WORKER);

    (void)context;
    if (ret == 0)
        ret = limit_thread(SANDBOX_WORKER);
    if (ret < 0)
        log_error("worker %u can't enter the sandbox (%s); start with --sandbox=off if it has to "
                  "run here",
                  worker, strerror(-ret));
    return ret;
}

/* Guest memory is in no core dump, and no other process of the same user looks into this one. A
 * leak check has to. */
static int hide_memory(void)
{
    const struct rlimit none = {0, 0};

    if (SANDBOX_BUILD_SANITIZED || sandbox.mode != SANDBOX_ON)
        return 0;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        return -errno;
    return 0;
}

/* When all else is well: who has made a mistake is told of that alone. */
static void tell_what_is_missing(void)
{
    if (sandbox.mode != SANDBOX_OFF && sandbox_filter_missing() != NULL)
        log_warning("sandbox: %s", sandbox_filter_missing());
    if (sandbox.mode == SANDBOX_ON && sandbox_privileges_missing() != NULL)
        log_warning("sandbox: %s", sandbox_privileges_missing());
}

int sandbox_enter(struct error *err)
{
    int ret = hide_memory();

    sandbox.files_limited = sandbox.mode == SANDBOX_ON && sandbox_files_possible();
    if (ret == 0)
        ret = drop_privileges(SANDBOX_CONTROL);
    sandbox_privileges_show(sandbox.capabilities);
    if (ret == 0)
        ret = limit_thread(SANDBOX_CONTROL);
    if (ret < 0)
        return error_set(err, -ret,
                         "the sandbox can't be entered (%s); start with --sandbox=off if the "
                         "daemon has to run here",
                         strerror(-ret));
    sandbox.entered = 1;
    tell_what_is_missing();
    return 0;
}

void sandbox_leave(void)
{
    sandbox_refusals_end();
    for (int role = 0; role < SANDBOX_ROLES; role++) {
        free(sandbox.program[role].filter);
        sandbox.program[role] = (struct sock_fprog){0};
    }
    sandbox_plan_clear(&sandbox.plan);
}

/* ---- what operators ask -------------------------------------------------------------------- */

static const char *filter_state(void)
{
    if (sandbox.mode == SANDBOX_OFF)
        return "off";
    if (sandbox_filter_missing() != NULL)
        return sandbox_filter_missing();
    if (sandbox.mode == SANDBOX_LOG)
        return "noted";
    return sandbox_refusals_catch() ? "filtered" : "filtered, without a count";
}

static const char *files_state(void)
{
    if (sandbox.mode != SANDBOX_ON)
        return "off";
    return sandbox.files_limited
               ? "limited"
               : "not limited: this kernel has no Landlock (Linux 5.13 can have it: lsm=landlock)";
}

/* "/run/vionic, /run/peers" */
static json_t *folders_report(void)
{
    json_t *text = json_string("");

    for (unsigned i = 0; text != NULL && i < sandbox.plan.folders; i++) {
        json_t *longer = json_sprintf("%s%s%s", json_string_value(text), i == 0 ? "" : ", ",
                                      sandbox.plan.folder[i]);

        json_decref(text);
        text = longer;
    }
    return text;
}

json_t *sandbox_report(void)
{
    static const char *const modes[] = {
        [SANDBOX_ON] = "on", [SANDBOX_LOG] = "log", [SANDBOX_OFF] = "off"};

    return json_pack("{s: s, s: b, s: s, s: s, s: o, s: s, s: o}", "mode", modes[sandbox.mode],
                     "entered", sandbox.entered, "system_calls", filter_state(), "files",
                     files_state(), "folders", folders_report(), "capabilities",
                     sandbox_privileges_missing() != NULL && sandbox.mode == SANDBOX_ON
                         ? sandbox_privileges_missing()
                         : sandbox.capabilities,
                     sandbox.mode == SANDBOX_LOG ? "noted" : "refused", sandbox_refusals_report());
}

int sandbox_allows_endpoint(const char *endpoint, struct error *err)
{
    return sandbox.mode == SANDBOX_ON ? sandbox_plan_allows(&sandbox.plan, endpoint, err) : 0;
}
