/* SPDX-License-Identifier: MIT */
#include "daemon/service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "daemon/exit_status.h"

int service_catch_signals(int *ret_fd, struct error *err)
{
    struct sigaction hang_up;
    sigset_t set;
    int fd;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    /* Under nohup(1) it stays ignored. */
    if (sigaction(SIGHUP, NULL, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return error_set(err, errno, "signals can't be blocked (%s)", strerror(errno));
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return error_set(err, errno, "signals can't be received (%s)", strerror(errno));
    *ret_fd = fd;
    return 0;
}

const char *service_take_signal(int fd)
{
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof(info)) != sizeof(info))
        return NULL;
    switch (info.ssi_signo) {
    case SIGTERM:
        return "SIGTERM";
    case SIGINT:
        return "SIGINT";
    default:
        return "SIGHUP";
    }
}

void service_let_signals_end(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* sd_watchdog_enabled(3) */
uint64_t service_watchdog_us(void)
{
    const char *interval = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    if (interval == NULL || (pid != NULL && strtoul(pid, NULL, 10) != (unsigned long)getpid()))
        return 0;
    return strtoull(interval, NULL, 10);
}

void service_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;
    socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    int fd;

    if (len < 2 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
                         address_len) < 0)
        log_warning("the service manager at NOTIFY_SOCKET can't be told (%s)", strerror(errno));
    fd_close(&fd);
}

/* The status of a child that is done, or EXIT_STATUS_OK for one that said that it is ready. */
static int child_status(int fd, pid_t child)
{
    char byte;
    ssize_t got;
    int status;

    do
        got = read(fd, &byte, 1);
    while (got < 0 && errno == EINTR);
    if (got == 1)
        return EXIT_STATUS_OK;
    if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        return EXIT_STATUS_FAILED;
    return WEXITSTATUS(status);
}

enum service_process service_background(int *ret_ready_fd, int *ret_status)
{
    int ends[2];
    pid_t child = -1;

    *ret_status = EXIT_STATUS_FAILED;
    if (pipe2(ends, O_CLOEXEC) == 0)
        child = fork();
    if (child < 0) {
        log_error("no process for the background (%s)", strerror(errno));
        return SERVICE_PARENT;
    }
    fd_close(&ends[child == 0 ? 0 : 1]);
    if (child != 0) {
        *ret_status = child_status(ends[0], child);
        fd_close(&ends[0]);
        return SERVICE_PARENT;
    }
    setsid();
    *ret_ready_fd = ends[1];
    return SERVICE_CHILD;
}

void service_allow_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        log_warning("the limit on open files stays at %llu: %s", (unsigned long long)files.rlim_cur,
                    strerror(errno));
}
