/* SPDX-License-Identifier: MIT */
#include "endpoint/tap/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct netns_task {
    int netns_fd; /* borrowed */
    int (*run)(void *context);
    void *context; /* borrowed */
    int result;
};

int netns_open(const char *name, struct error *err)
{
    char path[256];
    int fd;

    if (strchr(name, '/') != NULL)
        snprintf(path, sizeof(path), "%s", name);
    else
        snprintf(path, sizeof(path), "/run/netns/%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(
            err, errno,
            "endpoint tap: can't open the network namespace %s: %s; netns= takes a name "
            "that 'ip netns list' shows, or a path",
            path, strerror(errno));
    return fd;
}

int netns_is_current(int netns_fd)
{
    struct stat there, here;

    return fstat(netns_fd, &there) == 0 && stat("/proc/thread-self/ns/net", &here) == 0 &&
           there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

static void *netns_thread(void *argument)
{
    struct netns_task *task = argument;

    if (setns(task->netns_fd, CLONE_NEWNET) < 0)
        task->result = -errno;
    else
        task->result = task->run(task->context);
    return NULL;
}

int netns_run(int netns_fd, int (*run)(void *context), void *context)
{
    struct netns_task task = {netns_fd, run, context, 0};
    pthread_t thread;
    int rc;

    if (netns_fd < 0 || netns_is_current(netns_fd))
        return run(context);
    /* A namespace belongs to a thread; a borrowed one can be left behind without a way to fail. */
    rc = pthread_create(&thread, NULL, netns_thread, &task);
    if (rc != 0)
        return -rc;
    pthread_join(thread, NULL);
    return task.result;
}
