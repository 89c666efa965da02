/* SPDX-License-Identifier: MIT */
/*
 * Loaded into the daemon with LD_PRELOAD: what an attacker who runs code in it would try. Each
 * thread does so once, when it first waits for events, and tells on stderr what came of it:
 *
 *     breakout: control execve EPERM
 *
 * BREAKOUT=quiet tries only what changes nothing if it works.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static _Thread_local int tried;

static const char *own_role(void)
{
    return getpid() == (pid_t)syscall(SYS_gettid) ? "control" : "worker";
}

static void tell(const char *what, long result, int error)
{
    char line[128];
    int len = snprintf(line, sizeof(line), "breakout: %s %s %s\n", own_role(), what,
                       result >= 0 ? "worked" : strerrorname_np(error));

    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        abort();
}

#define TRY(what, call)                                                                            \
    do {                                                                                           \
        long result = (long)(call);                                                                \
                                                                                                   \
        tell(what, result, errno);                                                                 \
    } while (0)

static void try_quiet(void)
{
    TRY("packets", socket(AF_PACKET, SOCK_RAW, 0));
    TRY("personality", syscall(SYS_personality, 0xffffffffL));
    TRY("keyring", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3, 0));
}

static void try_programs(void)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    pid_t child;

    TRY("execve", syscall(SYS_execve, "/bin/true", argv, argv));
    TRY("execveat", syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, argv, 0));
    child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    tell("fork", child, errno);
    TRY("ptrace", syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0));
    TRY("memory of others", syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
    TRY("kill", syscall(SYS_kill, getppid(), 0));
    TRY("module", syscall(SYS_init_module, NULL, 0, ""));
    TRY("bpf", syscall(SYS_bpf, 0, NULL, 0));
    TRY("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}

static void try_files(void)
{
    const char *folder = getenv("BREAKOUT_FOLDER");
    char path[256];

    TRY("secret", syscall(SYS_openat, AT_FDCWD, "/etc/shadow", O_RDONLY, 0));
    TRY("program", syscall(SYS_openat, AT_FDCWD, "/bin/true", O_RDONLY, 0));
    TRY("foreign file",
        syscall(SYS_openat, AT_FDCWD, "/tmp/vionic-breakout", O_RDWR | O_CREAT, 0600));
    snprintf(path, sizeof(path), "%s/new", folder == NULL ? "/nowhere" : folder);
    TRY("own file", syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0600));
    snprintf(path, sizeof(path), "%s/../vionic-precious", folder == NULL ? "/nowhere" : folder);
    TRY("unlink", syscall(SYS_unlinkat, AT_FDCWD, path, 0));
    TRY("link", syscall(SYS_symlinkat, "/etc/shadow", AT_FDCWD, "/tmp/vionic-breakout"));
    TRY("chmod", syscall(SYS_fchmodat, AT_FDCWD, folder, 0777));
    TRY("mount", syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL));
    TRY("chroot", syscall(SYS_chroot, "/"));
}

static void try_system(void)
{
    struct sockaddr_un manager = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/private"};
    struct rlimit limit = {64, 64};
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    TRY("code", mprotect(page, 4096, PROT_READ | PROT_EXEC));
    TRY("new code",
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TRY("internet", socket(AF_INET, SOCK_STREAM, 0));
    TRY("connect", connect(STDERR_FILENO, (struct sockaddr *)&manager, sizeof(manager)));
    TRY("setuid", syscall(SYS_setuid, 0));
    TRY("namespace", syscall(SYS_unshare, CLONE_NEWUSER));
    TRY("limit", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &limit, NULL));
    TRY("terminal", ioctl(STDERR_FILENO, TIOCSTI, "x"));
    TRY("io_uring", syscall(SYS_io_uring_setup, 1, NULL));
    TRY("clock", syscall(SYS_clock_settime, 0, NULL));
    munmap(page, 4096);
}

__attribute__((visibility("default"))) int epoll_wait(int epoll_fd, struct epoll_event *events,
                                                      int count, int timeout)
{
    int (*next)(int, struct epoll_event *, int, int) =
        (int (*)(int, struct epoll_event *, int, int))dlsym(RTLD_NEXT, "epoll_wait");
    const char *how = getenv("BREAKOUT");

    if (!tried && how != NULL) {
        tried = 1;
        try_quiet();
        if (strcmp(how, "quiet") != 0) {
            try_programs();
            try_files();
            try_system();
        }
        TRY("end", 0);
    }
    return next(epoll_fd, events, count, timeout);
}
