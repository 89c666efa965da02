/* SPDX-License-Identifier: MIT */
#include "daemon/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "daemon/shown.h"

enum {
    FIRST_FD = 3,         /* sd_listen_fds(3): SD_LISTEN_FDS_START */
    SOCKET_NAME_MAX = 255 /* of FileDescriptorName= */
};

/* 0: there is no such variable, or it is no number. */
static unsigned long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    unsigned long number;

    if (text == NULL)
        return 0;
    number = strtoul(text, &end, 10);
    return *text != '\0' && *end == '\0' ? number : 0;
}

void activation_read(struct activation *activation)
{
    unsigned long count = number_of("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");

    activation->count = 0;
    activation->names = NULL;
    if (number_of("LISTEN_PID") == (unsigned long)getpid()) {
        activation->names = names != NULL ? strdup(names) : NULL;
        for (; activation->count < count && activation->count < ACTIVATION_MAX;
             activation->count++) {
            int fd = FIRST_FD + (int)activation->count;

            activation->fd[activation->count] = fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static int listens_at(int fd, char ret_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1])
{
    struct sockaddr_un address = {0};
    socklen_t len = sizeof(address);
    int listens = 0;
    socklen_t listens_len = sizeof(listens);

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_len) < 0 ||
        !listens || getsockname(fd, (struct sockaddr *)&address, &len) < 0 ||
        address.sun_family != AF_UNIX)
        return 0;
    memcpy(ret_path, address.sun_path, sizeof(address.sun_path));
    ret_path[sizeof(address.sun_path)] = '\0';
    return 1;
}

/* The name of the index-th socket; "" if it has none. */
static void name_of(const struct activation *activation, unsigned index,
                    char ret_name[SOCKET_NAME_MAX + 1])
{
    const char *at = activation->names != NULL ? activation->names : "";
    size_t len = strcspn(at, ":");

    for (; index > 0 && at[len] == ':'; index--) {
        at += len + 1;
        len = strcspn(at, ":");
    }
    snprintf(ret_name, SOCKET_NAME_MAX + 1, "%.*s", index == 0 ? (int)len : 0, at);
}

int activation_take(struct activation *activation, const char *name, const char *path, int *ret_fd,
                    struct error *err)
{
    char there[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    char its_name[SOCKET_NAME_MAX + 1];
    char shown[SHOWN_LEN];

    *ret_fd = 0;
    for (unsigned i = 0; i < activation->count; i++) {
        int here = listens_at(activation->fd[i], there);

        if (here && strcmp(there, path) == 0) {
            *ret_fd = fd_take(&activation->fd[i]);
            return 0;
        }
    }
    for (unsigned i = 0; i < activation->count; i++) {
        name_of(activation, i, its_name);
        if (activation->fd[i] < 0 || strcmp(its_name, name) != 0)
            continue;
        shown_text(listens_at(activation->fd[i], there) ? there : "no unix socket", shown);
        return error_set(err, EINVAL,
                         "the service manager's socket for %s is at %s and the configuration says "
                         "%s; write the same path in both",
                         name, shown, path);
    }
    return 0;
}

void activation_report(const struct activation *activation)
{
    char name[SOCKET_NAME_MAX + 1];
    char shown[SHOWN_LEN];

    for (unsigned i = 0; i < activation->count; i++) {
        if (activation->fd[i] < 0)
            continue;
        name_of(activation, i, name);
        shown_text(name, shown);
        log_warning("the service manager passed a socket \"%s\" that no NIC listens at; name its "
                    "path in a NIC's socket=, or remove it from the socket unit",
                    shown);
    }
}

void activation_close(struct activation *activation)
{
    for (unsigned i = 0; i < activation->count; i++)
        fd_close(&activation->fd[i]);
    activation->count = 0;
    free(activation->names);
    activation->names = NULL;
}
