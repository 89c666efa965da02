/* SPDX-License-Identifier: MIT */
#include "daemon/sandbox_filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/sandbox_calls.h"
#include "daemon/sandbox_refusals.h"

const char *sandbox_filter_missing(void)
{
    return NULL;
}

static int allow_call(scmp_filter_ctx filter, const struct allowed_call *call)
{
    int number = seccomp_syscall_resolve_name(call->name);
    struct scmp_arg_cmp conditions[CALLS_CONDITIONS_MAX];
    unsigned count = 0;
    int ret;

    if (number == __NR_SCMP_ERROR)
        return 0; /* a call of other kernels */
    for (; count < CALLS_CONDITIONS_MAX && call->condition[count].mask != 0; count++) {
        const struct call_condition *wanted = &call->condition[count];

        conditions[count] =
            SCMP_CMP(wanted->argument, SCMP_CMP_MASKED_EQ, wanted->mask, wanted->value);
    }
    ret = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, count, conditions);
    return ret == -EDOM || ret == -EEXIST ? 0
                                          : ret; /* a call of other processors; twice the same */
}

static int allow_calls(scmp_filter_ctx filter, const struct allowed_call *calls, unsigned role,
                       unsigned needs)
{
    int ret = 0;

    for (; ret == 0 && calls->name != NULL; calls++) {
        if ((calls->roles & role) == 0 || (calls->needs != 0 && (calls->needs & needs) == 0))
            continue;
        ret = allow_call(filter, calls);
    }
    return ret;
}

/* abort(3), and what has to fail in a way that the C library knows. */
static int allow_special(scmp_filter_ctx filter)
{
    int ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));

    if (ret == 0) /* its flags lie in memory: pthread_create() takes clone() then */
        ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return ret;
}

static int fill(scmp_filter_ctx filter, const struct sandbox_plan *plan, enum sandbox_role role)
{
    int ret = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

    if (ret == 0)
        ret = allow_calls(filter, sandbox_calls, 1u << role, plan->needs);
    if (ret == 0)
        ret = allow_calls(filter, sandbox_calls_of_sanitizers, 1u << role, plan->needs);
    return ret == 0 ? allow_special(filter) : ret;
}

static int export_program(scmp_filter_ctx filter, struct sock_fprog *ret_program)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    int ret = fd < 0 ? -errno : seccomp_export_bpf(filter, fd);
    struct stat about = {0};

    if (ret == 0 && fstat(fd, &about) < 0)
        ret = -errno;
    ret_program->len = (unsigned short)((size_t)about.st_size / sizeof(*ret_program->filter));
    ret_program->filter = ret == 0 ? malloc((size_t)about.st_size) : NULL;
    if (ret == 0 && ret_program->filter == NULL)
        ret = -ENOMEM;
    if (ret == 0 && pread(fd, ret_program->filter, (size_t)about.st_size, 0) != about.st_size)
        ret = -EIO;
    fd_close(&fd);
    return ret;
}

/* The library makes a filter of notices only together with loading it, and one a process. */
static void tell_instead(struct sock_fprog *program)
{
    for (unsigned i = 0; i < program->len; i++) {
        struct sock_filter *step = &program->filter[i];

        if (step->code == (BPF_RET | BPF_K) && step->k == SECCOMP_RET_TRAP)
            step->k = SECCOMP_RET_USER_NOTIF;
    }
}

int sandbox_filter_build(const struct sandbox_plan *plan, enum sandbox_role role,
                         enum sandbox_verdict verdict, struct sock_fprog *ret_program,
                         struct error *err)
{
    int trap = verdict == SANDBOX_NOTE || sandbox_refusals_catch();
    scmp_filter_ctx filter = seccomp_init(trap ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(EPERM));
    int ret = filter == NULL ? -ENOMEM : fill(filter, plan, role);

    *ret_program = (struct sock_fprog){0};
    if (ret == 0)
        ret = export_program(filter, ret_program);
    seccomp_release(filter);
    if (ret == 0 && verdict == SANDBOX_NOTE)
        tell_instead(ret_program);
    if (ret < 0)
        error_set(err, -ret, "the system call filter can't be made (%s)", strerror(-ret));
    return ret;
}

int sandbox_filter_load(const struct sock_fprog *program, enum sandbox_verdict verdict)
{
    unsigned flags = verdict == SANDBOX_NOTE ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
    long ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);

    return ret < 0 ? -errno : (int)ret;
}

const char *sandbox_filter_name(int call)
{
    static char name[64];
    char *resolved = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);

    if (resolved != NULL)
        snprintf(name, sizeof(name), "%s", resolved);
    else
        snprintf(name, sizeof(name), "call %d", call);
    free(resolved);
    return name;
}
