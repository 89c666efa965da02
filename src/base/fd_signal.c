/* SPDX-License-Identifier: MIT */
/*
 * Adding 1 to an eventfd without ever waiting.
 *
 * write(2) waits on a full eventfd unless O_NONBLOCK is set, and a peer that shares the open file
 * can clear that flag and fill the counter between any look at it and the write: whoever writes
 * then stands still for as long as the peer likes. The kernel itself signals an eventfd without
 * waiting, when an asynchronous request that names it (IOCB_FLAG_RESFD) is done. So a request that
 * is done at once stands for the write: a poll of a file that is always readable. One system call,
 * and one context for each thread that signals.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

enum {
    REQUESTS = 8, /* that a context has room for at least */
};

/* What the kernel keeps at the context's address; its head is ours to move. */
struct event_ring {
    uint32_t id, nr;
    _Atomic uint32_t head, tail;
};

static struct {
    pthread_mutex_t lock; /* of both */
    unsigned users;       /* fd_signal_begin without its end, of all threads */
    int readable_fd;      /* owned: an eventfd that nobody reads; fixed while there are users */
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .readable_fd = -1};

static _Thread_local struct {
    unsigned users;        /* of this thread */
    aio_context_t context; /* 0: none */
} bell;

static void shared_begin(void)
{
    pthread_mutex_lock(&shared.lock);
    if (shared.users++ == 0)
        shared.readable_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_unlock(&shared.lock);
}

static void shared_end(void)
{
    pthread_mutex_lock(&shared.lock);
    if (--shared.users == 0)
        fd_close(&shared.readable_fd);
    pthread_mutex_unlock(&shared.lock);
}

void fd_signal_begin(void)
{
    shared_begin();
    if (bell.users++ != 0)
        return;
    if (shared.readable_fd >= 0 && syscall(SYS_io_setup, REQUESTS, &bell.context) < 0)
        bell.context = 0;
}

void fd_signal_end(void)
{
    shared_end();
    if (bell.users == 0 || --bell.users != 0) /* 0: begun by another thread, as embedders may */
        return;
    if (bell.context != 0)
        syscall(SYS_io_destroy, bell.context);
    bell.context = 0;
}

/* 1: done. 0: it is no eventfd, or has no room for this in the kernel. */
static int bell_ring(int fd)
{
    struct event_ring *events = (struct event_ring *)(uintptr_t)bell.context;
    struct iocb request = {
        .aio_lio_opcode = IOCB_CMD_POLL,
        .aio_fildes = (uint32_t)shared.readable_fd,
        .aio_buf = POLLIN,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)fd,
    };
    struct iocb *requests[] = {&request};
    long done = syscall(SYS_io_submit, bell.context, 1, requests);

    if (done != 1)
        return 0;
    events->head = events->tail; /* nobody wants to know how it went */
    return 1;
}

/* A pipe or a socket; or there is no other way. */
static void fd_write_one(int fd)
{
    uint64_t one = 1;

    if (fd_write_now(fd, &one, sizeof(one)) < 0)
        return; /* full: it was signalled already */
}

void fd_signal(int fd)
{
    if (fd < 0)
        return;
    if (bell.context == 0 || !bell_ring(fd))
        fd_write_one(fd);
}
