/* SPDX-License-Identifier: MIT */
#include "takeover_hold.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

enum {
    HEADER_LEN = 12,
};

/* Lets it go on, with the signal that it was stopped for (0: none), up to its next stop. */
static int next_stop(pid_t pid, int signal)
{
    int status;

    check(ptrace(PTRACE_SYSCALL, pid, NULL, signal) == 0, "it can't be traced any more");
    check(waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status),
          "it ended (wait status 0x%x) before it was held", (unsigned)status);
    return status;
}

static void run_to_next_call(pid_t pid, struct __ptrace_syscall_info *ret_call)
{
    int signal = 0;

    ret_call->op = PTRACE_SYSCALL_INFO_NONE;
    while (ret_call->op != PTRACE_SYSCALL_INFO_ENTRY) {
        int status = next_stop(pid, signal);

        signal = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(*ret_call), ret_call);
        else if (status >> 16 == 0)
            signal = WSTOPSIG(status);
    }
}

static void peek(pid_t pid, const void *from, void *ret_bytes, size_t len)
{
    struct iovec here = {ret_bytes, len}, there = {(void *)from, len};

    check(process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len, "it can't be looked into");
}

static int says(pid_t pid, const struct __ptrace_syscall_info *call, uint32_t word)
{
    struct msghdr message;
    struct iovec iov;
    uint32_t first;

    if (call->entry.nr != SYS_sendmsg)
        return 0;
    peek(pid, (const void *)(uintptr_t)call->entry.args[1], &message, sizeof(message));
    peek(pid, message.msg_iov, &iov, sizeof(iov));
    if (iov.iov_len != HEADER_LEN)
        return 0;
    peek(pid, iov.iov_base, &first, sizeof(first));
    return first == word;
}

void takeover_hold_before(pid_t pid, uint32_t word)
{
    struct __ptrace_syscall_info call;
    int status;

    check(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0,
          "it can't be traced");
    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
    check(waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status),
          "it ended before it was held");
    do
        run_to_next_call(pid, &call);
    while (!says(pid, &call, word));
}

void takeover_hold_behind(pid_t pid)
{
    struct __ptrace_syscall_info call;

    run_to_next_call(pid, &call);
}

void takeover_hold_end(pid_t pid)
{
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
}
