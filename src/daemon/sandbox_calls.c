/* SPDX-License-Identifier: MIT */
#include "daemon/sandbox_calls.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "daemon/sandbox_build.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* a name for memory; harmless */
#endif

/* Arguments of 32 bits; the upper half is anything. */
#define IS(argument, value)                                                                        \
    {                                                                                              \
        {                                                                                          \
            (argument), UINT32_MAX, (uint32_t)(value)                                              \
        }                                                                                          \
    }
#define WITHOUT(argument, bits)                                                                    \
    {                                                                                              \
        {                                                                                          \
            (argument), (uint32_t)(bits), 0                                                        \
        }                                                                                          \
    }
#define WITH(argument, bits)                                                                       \
    {                                                                                              \
        {                                                                                          \
            (argument), (uint32_t)(bits), (uint32_t)(bits)                                         \
        }                                                                                          \
    }
#define NOT_EXECUTABLE(argument) WITHOUT(argument, PROT_EXEC)
#define READ_ONLY(argument)      WITHOUT(argument, O_ACCMODE | O_CREAT | O_TRUNC)
#define FAMILY(family)           IS(0, family)
#define REQUEST(code)            IS(1, code)

#define SOCKETS_OF_WORKERS (NEED_USER | NEED_STREAM)
#define TAPS               (NEED_TAP | NEED_TAP_FD)
#define INTERNET           (NEED_USER | NEED_STREAM)

const struct allowed_call sandbox_calls[] = {
    /* Moving packets, waiting, waking. */
    {"read", FOR_ALL},
    {"write", FOR_ALL},
    {"readv", FOR_ALL},
    {"writev", FOR_ALL},
    {"preadv2", FOR_ALL},    /* kicks that are pipes or sockets; saved state that arrives */
    {"pwritev2", FOR_ALL},   /* interrupts and notices likewise; saved state that leaves */
    {"io_submit", FOR_ALL},  /* interrupts that are eventfds: base/fd_signal.c */
    {"io_setup", FOR_ALL},   /* the same */
    {"io_destroy", FOR_ALL}, /* the same */
    {"epoll_wait", FOR_ALL},
    {"epoll_pwait", FOR_ALL},
    {"epoll_pwait2", FOR_ALL},
    {"epoll_ctl", FOR_ALL},
    {"poll", FOR_ALL},
    {"ppoll", FOR_ALL},
    {"ppoll_time64", FOR_ALL},
    {"timerfd_settime", FOR_ALL},
    {"timerfd_settime64", FOR_ALL},
    {"futex", FOR_ALL},
    {"futex_time64", FOR_ALL},

    /* The C library: memory, threads, time, signals. */
    {"mmap", FOR_ALL, 0, NOT_EXECUTABLE(2)},
    {"mmap2", FOR_ALL, 0, NOT_EXECUTABLE(2)},
    {"mprotect", FOR_ALL, 0, NOT_EXECUTABLE(2)},
    {"munmap", FOR_ALL},
    {"mremap", FOR_ALL},
    {"madvise", FOR_ALL},
    {"brk", FOR_ALL},
    {"close", FOR_ALL},
    {"fstat", FOR_ALL},
    {"fstat64", FOR_ALL},
    {"newfstatat", FOR_ALL},
    {"fstatat64", FOR_ALL},
    {"statx", FOR_ALL},
    {"clock_gettime", FOR_ALL},
    {"clock_gettime64", FOR_ALL},
    {"clock_getres", FOR_ALL},
    {"gettimeofday", FOR_ALL},
    {"clock_nanosleep", FOR_ALL},
    {"nanosleep", FOR_ALL},
    {"time", FOR_ALL},
    {"getrandom", FOR_ALL},
    {"getpid", FOR_ALL},
    {"gettid", FOR_ALL},
    {"geteuid", FOR_ALL},
    {"getuid", FOR_ALL},
    {"sched_yield", FOR_ALL},
    {"sched_getaffinity", FOR_ALL},
    {"membarrier", FOR_ALL},
    {"rseq", FOR_ALL},
    {"set_robust_list", FOR_ALL},
    {"rt_sigreturn", FOR_ALL},
    {"rt_sigprocmask", FOR_ALL},
    {"rt_sigaction", FOR_ALL}, /* memory/guard.c */
    {"sigaltstack", FOR_ALL},
    {"restart_syscall", FOR_ALL},
    {"exit", FOR_ALL},
    {"exit_group", FOR_ALL},
    {"fcntl", FOR_ALL, 0, IS(1, F_GETFL)},
    {"fcntl", FOR_ALL, 0, IS(1, F_SETFL)},
    {"fcntl64", FOR_ALL, 0, IS(1, F_GETFL)},
    {"fcntl64", FOR_ALL, 0, IS(1, F_SETFL)},

    {"dup3", FOR_WORKERS, TAPS}, /* an interface that is gone gives its fd to one that rests */

    /* Data on sockets that are open. */
    {"recvfrom", FOR_WORKERS, SOCKETS_OF_WORKERS},
    {"recvmsg", FOR_WORKERS, SOCKETS_OF_WORKERS},
    {"sendto", FOR_WORKERS, SOCKETS_OF_WORKERS},
    {"sendmsg", FOR_WORKERS, SOCKETS_OF_WORKERS},
    {"shutdown", FOR_WORKERS, SOCKETS_OF_WORKERS},
    {"getsockopt", FOR_WORKERS, SOCKETS_OF_WORKERS},
    {"setsockopt", FOR_WORKERS, SOCKETS_OF_WORKERS},
    {"recvfrom", FOR_CONTROL},
    {"recvmsg", FOR_CONTROL},
    {"sendto", FOR_CONTROL},
    {"sendmsg", FOR_CONTROL},
    {"shutdown", FOR_CONTROL},
    {"getsockopt", FOR_CONTROL},
    {"setsockopt", FOR_CONTROL},

    /* libslirp, in the worker that has the pair of a `user`. */
    {"socket", FOR_WORKERS, NEED_USER, FAMILY(AF_INET)},
    {"socket", FOR_WORKERS, NEED_USER, FAMILY(AF_INET6)},
    {"connect", FOR_WORKERS, NEED_USER},
    {"bind", FOR_WORKERS, NEED_USER},
    {"listen", FOR_WORKERS, NEED_USER},
    {"accept", FOR_WORKERS, NEED_USER},
    {"accept4", FOR_WORKERS, NEED_USER},
    {"getsockname", FOR_WORKERS, NEED_USER},
    {"getpeername", FOR_WORKERS, NEED_USER},
    {"ioctl", FOR_WORKERS, NEED_USER, REQUEST(FIONREAD)},
    {"ioctl", FOR_WORKERS, NEED_USER, REQUEST(FIONBIO)},
    {"fcntl", FOR_WORKERS, NEED_USER, IS(1, F_SETFD)},
    {"fcntl", FOR_WORKERS, NEED_USER, IS(1, F_GETFD)},
    {"fcntl64", FOR_WORKERS, NEED_USER, IS(1, F_SETFD)},
    {"fcntl64", FOR_WORKERS, NEED_USER, IS(1, F_GETFD)},
    {"openat", FOR_WORKERS, NEED_USER, READ_ONLY(2)}, /* resolv.conf: Landlock sees to the rest */
    {"open", FOR_WORKERS, NEED_USER, READ_ONLY(1)},
    {"stat", FOR_WORKERS, NEED_USER},

    /* The control plane: sessions, endpoints that come back, clients. */
    {"socket", FOR_CONTROL, 0, FAMILY(AF_UNIX)},
    {"socket", FOR_CONTROL, INTERNET, FAMILY(AF_INET)},
    {"socket", FOR_CONTROL, INTERNET, FAMILY(AF_INET6)},
    {"socket", FOR_CONTROL, TAPS | NEED_STREAM, FAMILY(AF_NETLINK)}, /* links, names of hosts */
    {"socketpair", FOR_CONTROL, 0, FAMILY(AF_UNIX)},
    {"connect", FOR_CONTROL, NEED_CONNECT | NEED_STREAM},
    {"bind", FOR_CONTROL},
    {"listen", FOR_CONTROL},
    {"accept", FOR_CONTROL},
    {"accept4", FOR_CONTROL},
    {"getsockname", FOR_CONTROL},
    {"getpeername", FOR_CONTROL},
    {"sendmmsg", FOR_CONTROL, NEED_STREAM}, /* names of hosts */
    {"openat", FOR_CONTROL},                /* Landlock says what */
    {"open", FOR_CONTROL},
    {"stat", FOR_CONTROL},
    {"stat64", FOR_CONTROL},
    {"lstat", FOR_CONTROL},
    {"lstat64", FOR_CONTROL},
    {"unlink", FOR_CONTROL},
    {"unlinkat", FOR_CONTROL},
    {"lseek", FOR_CONTROL},
    {"_llseek", FOR_CONTROL},
    {"pread64", FOR_CONTROL},
    {"getcwd", FOR_CONTROL},
    {"fstatfs", FOR_CONTROL},
    {"fstatfs64", FOR_CONTROL},
    {"uname", FOR_CONTROL},
    {"sysinfo", FOR_CONTROL},
    {"getrusage", FOR_CONTROL},
    {"getegid", FOR_CONTROL},
    {"getgid", FOR_CONTROL},
    {"getppid", FOR_CONTROL},
    {"prlimit64", FOR_CONTROL, 0, {{2, UINT64_MAX, 0}}}, /* no new limit */
    {"fcntl", FOR_CONTROL, 0, IS(1, F_GETFD)},
    {"fcntl", FOR_CONTROL, 0, IS(1, F_SETFD)},
    {"fcntl", FOR_CONTROL, 0, IS(1, F_DUPFD_CLOEXEC)},
    {"fcntl", FOR_CONTROL, 0, IS(1, F_ADD_SEALS)},
    {"fcntl", FOR_CONTROL, 0, IS(1, F_GET_SEALS)},
    {"fcntl64", FOR_CONTROL, 0, IS(1, F_GETFD)},
    {"fcntl64", FOR_CONTROL, 0, IS(1, F_SETFD)},
    {"fcntl64", FOR_CONTROL, 0, IS(1, F_DUPFD_CLOEXEC)},
    {"fcntl64", FOR_CONTROL, 0, IS(1, F_ADD_SEALS)},
    {"fcntl64", FOR_CONTROL, 0, IS(1, F_GET_SEALS)},
    {"dup", FOR_CONTROL},
    {"eventfd2", FOR_CONTROL},
    {"timerfd_create", FOR_CONTROL},
    {"timerfd_gettime", FOR_CONTROL},
    {"epoll_create1", FOR_CONTROL},
    {"memfd_create", FOR_CONTROL},
    {"ftruncate", FOR_CONTROL},
    {"ftruncate64", FOR_CONTROL},
    {"fallocate", FOR_CONTROL},
    {"userfaultfd", FOR_CONTROL},
    {"prctl", FOR_CONTROL, 0, IS(0, PR_SET_NAME)},
    {"prctl", FOR_ALL, 0, IS(0, PR_SET_VMA)},
    {"sched_setaffinity", FOR_CONTROL},
    {"ioctl", FOR_CONTROL, 0, REQUEST(FIONREAD)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(FIONBIO)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(TCGETS)}, /* is the log a terminal */
    {"ioctl", FOR_CONTROL, 0, REQUEST(UFFDIO_API)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(UFFDIO_REGISTER)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(UFFDIO_UNREGISTER)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(UFFDIO_WAKE)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(UFFDIO_COPY)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(UFFDIO_ZEROPAGE)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(UFFDIO_CONTINUE)},
    {"ioctl", FOR_CONTROL, 0, REQUEST(USERFAULTFD_IOC_NEW)},

    /* Taps. */
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(TUNSETIFF)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(TUNGETIFF)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(TUNGETFEATURES)},
    {"ioctl", FOR_CONTROL, NEED_TAP_FD, REQUEST(TUNGETFILTER)},
    {"ioctl", FOR_CONTROL, NEED_TAP_FD, REQUEST(TUNATTACHFILTER)},
    {"ioctl", FOR_CONTROL, NEED_TAP_FD, REQUEST(TUNDETACHFILTER)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(TUNSETVNETHDRSZ)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(TUNSETVNETLE)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(TUNSETOFFLOAD)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(TUNSETQUEUE)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(TUNGETDEVNETNS)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(SIOCGIFHWADDR)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(SIOCGIFINDEX)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(SIOCGIFMTU)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(SIOCSIFMTU)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(SIOCGIFFLAGS)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(SIOCSIFFLAGS)},
    {"ioctl", FOR_CONTROL, TAPS, REQUEST(SIOCETHTOOL)},

    /* Threads; one goes into another network namespace and ends. */
    {"clone", FOR_CONTROL, 0, WITH(0, CLONE_THREAD)},
    {"setns", FOR_CONTROL, TAPS, IS(1, CLONE_NEWNET)},
    {NULL},
};

const struct allowed_call sandbox_calls_of_sanitizers[] = {
#if SANDBOX_BUILD_SANITIZED
    {"openat", FOR_ALL, 0, READ_ONLY(2)},
    {"open", FOR_ALL, 0, READ_ONLY(1)},
    {"readlink", FOR_ALL},
    {"readlinkat", FOR_ALL},
    {"getdents64", FOR_ALL},
    {"getdents", FOR_ALL},
    {"getrlimit", FOR_ALL},
    {"prlimit64", FOR_ALL, 0, {{2, UINT64_MAX, 0}}},
    {"getppid", FOR_ALL},
    {"prctl", FOR_ALL},
    {"dup", FOR_ALL},
    /* The leak check: a task beside the threads that stops each and reads its registers. */
    {"clone", FOR_CONTROL},
    {"ptrace", FOR_CONTROL},
    {"wait4", FOR_CONTROL},
    {"tgkill", FOR_ALL},
#endif
    {NULL},
};
