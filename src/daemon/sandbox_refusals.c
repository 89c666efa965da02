/* SPDX-License-Identifier: MIT */
#include "daemon/sandbox_refusals.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"

enum {
    CALLS = 1024, /* numbers from here on are counted with the last one */
};

static const char *const role_names[SANDBOX_ROLES] = {
    [SANDBOX_CONTROL] = "control",
    [SANDBOX_WORKER] = "worker",
};

static struct {
    struct loop *loop;         /* borrowed */
    struct loop_source source; /* its fd, an eventfd, is owned */
    enum sandbox_verdict verdict;
    int listeners_fd; /* owned: an epoll of fds that belong to the thread that answers them */
    /* Written by the thread that made the call, or by the one that answers notices. */
    _Atomic unsigned count[SANDBOX_ROLES][CALLS];
    uint8_t logged[SANDBOX_ROLES][CALLS];
} refusals = {.source.fd = -1, .listeners_fd = -1};

static _Thread_local enum sandbox_role own_role;

static void refusals_count(enum sandbox_role role, int call)
{
    uint64_t one = 1;
    unsigned slot = call < 0 || call >= CALLS ? CALLS - 1 : (unsigned)call;

    atomic_fetch_add_explicit(&refusals.count[role][slot], 1, memory_order_relaxed);
    if (write(refusals.source.fd, &one, sizeof(one)) < 0)
        return; /* full: the control thread is awake already */
}

/* ---- refused: a signal ------------------------------------------------------------------ */

static int context_set_result(ucontext_t *context, long result)
{
#if defined(__x86_64__)
    context->uc_mcontext.gregs[REG_RAX] = result;
#elif defined(__i386__)
    context->uc_mcontext.gregs[REG_EAX] = (int)result;
#elif defined(__aarch64__)
    context->uc_mcontext.regs[0] = (unsigned long long)result;
#else
    (void)context;
    (void)result;
    return 0;
#endif
    return 1;
}

int sandbox_refusals_catch(void)
{
    ucontext_t probe;

    return context_set_result(&probe, 0);
}

static void call_refused(int signal, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)signal;
    refusals_count(own_role, info->si_syscall);
    errno = saved;
    context_set_result(context, -EPERM);
}

static int handler_install(void)
{
    struct sigaction action = {.sa_sigaction = call_refused, .sa_flags = SA_SIGINFO | SA_NODEFER};

    sigemptyset(&action.sa_mask);
    return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}

void sandbox_refusals_join(enum sandbox_role role)
{
    sigset_t set;

    own_role = role;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- only noted: a thread that answers notices ------------------------------------------- */

static void notice_answer(int fd, enum sandbox_role role)
{
    /* The kernel's structs may have grown. */
    union {
        struct seccomp_notif notice;
        char room[512];
    } got;
    union {
        struct seccomp_notif_resp answer;
        char room[512];
    } reply;

    memset(&got, 0, sizeof(got));
    memset(&reply, 0, sizeof(reply));
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &got.notice) < 0)
        return;
    refusals_count(role, got.notice.data.nr);
    reply.answer.id = got.notice.id;
    reply.answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &reply.answer) < 0)
        return; /* the thread was killed meanwhile */
}

static void *notices_run(void *unused)
{
    struct epoll_event event;

    (void)unused;
    while (epoll_wait(refusals.listeners_fd, &event, 1, -1) >= 0 || errno == EINTR) {
        int fd = (int)(event.data.u64 >> 32);

        if (event.events & EPOLLIN)
            notice_answer(fd, (enum sandbox_role)(event.data.u64 & UINT32_MAX));
        else
            close(fd); /* its threads have ended */
    }
    return NULL;
}

int sandbox_refusals_listen(int fd, enum sandbox_role role)
{
    struct epoll_event wanted = {.events = EPOLLIN,
                                 .data.u64 = (uint64_t)(unsigned)fd << 32 | (unsigned)role};

    return epoll_ctl(refusals.listeners_fd, EPOLL_CTL_ADD, fd, &wanted) < 0 ? -errno : 0;
}

static int notices_begin(void)
{
    pthread_t thread;
    sigset_t all, before;
    int ret;

    refusals.listeners_fd = epoll_create1(EPOLL_CLOEXEC);
    if (refusals.listeners_fd < 0)
        return -errno;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = pthread_create(&thread, NULL, notices_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ret == 0)
        pthread_detach(thread); /* it answers until the process has ended */
    return -ret;
}

/* ---- the control thread ------------------------------------------------------------------- */

static void log_call(enum sandbox_role role, int call)
{
    if (refusals.verdict == SANDBOX_REFUSE)
        log_warning("sandbox: refused %s to a %s thread (more of them are only counted); if "
                    "something does not work now, report it and start with --sandbox=log",
                    sandbox_filter_name(call), role_names[role]);
    else
        log_warning("sandbox: %s of a %s thread would be refused without --sandbox=log",
                    sandbox_filter_name(call), role_names[role]);
}

static void log_new(void)
{
    for (int i = 0; i < SANDBOX_ROLES * CALLS; i++) {
        int role = i / CALLS, call = i % CALLS;

        if (refusals.logged[role][call] ||
            atomic_load_explicit(&refusals.count[role][call], memory_order_relaxed) == 0)
            continue;
        refusals.logged[role][call] = 1;
        log_call((enum sandbox_role)role, call);
    }
}

static void refusals_ready(struct loop_source *source, uint32_t events)
{
    uint64_t count;

    (void)events;
    if (read(source->fd, &count, sizeof(count)) > 0)
        log_new();
}

int sandbox_refusals_begin(struct loop *loop, enum sandbox_verdict verdict, struct error *err)
{
    int ret;

    refusals.verdict = verdict;
    refusals.source = (struct loop_source){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), refusals_ready};
    ret = refusals.source.fd < 0 ? -errno : loop_add(loop, &refusals.source, EPOLLIN);
    if (ret == 0)
        refusals.loop = loop;
    if (ret == 0)
        ret = verdict == SANDBOX_REFUSE ? handler_install() : notices_begin();
    if (ret < 0)
        error_set(err, -ret, "the sandbox can't watch for refused calls (%s)", strerror(-ret));
    return ret;
}

/* The eventfd stays open: a thread that ends may still be refused something. */
void sandbox_refusals_end(void)
{
    if (refusals.loop == NULL)
        return;
    log_new();
    loop_remove(refusals.loop, &refusals.source);
    refusals.loop = NULL;
}

json_t *sandbox_refusals_report(void)
{
    json_t *report = json_object();

    for (int role = 0; role < SANDBOX_ROLES; role++) {
        json_t *calls = json_object();

        for (int call = 0; call < CALLS; call++) {
            unsigned count =
                atomic_load_explicit(&refusals.count[role][call], memory_order_relaxed);

            if (count != 0)
                json_object_set_new(calls, sandbox_filter_name(call), json_integer(count));
        }
        if (json_object_set_new(report, role_names[role], calls) < 0)
            break;
    }
    return report;
}
