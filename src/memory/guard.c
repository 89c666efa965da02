/* SPDX-License-Identifier: MIT */
#include "memory/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    GUARDS_MAX = 8192,
    SUBSCRIBERS_MAX = 16,
};

/* The handler reads what control threads write: base is stored last and cleared first. */
static struct {
    _Atomic uintptr_t base; /* 0: free */
    _Atomic size_t len;
    _Atomic int lost;
} guards[GUARDS_MAX];

static _Atomic int subscribers[SUBSCRIBERS_MAX]; /* fd + 1; 0: free */
static struct sigaction action_before;
static pthread_once_t installed = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* between control threads */

static int guard_find(uintptr_t address)
{
    for (int i = 0; i < GUARDS_MAX; i++) {
        uintptr_t base = atomic_load(&guards[i].base);

        if (base != 0 && address - base < atomic_load(&guards[i].len))
            return i;
    }
    return -1;
}

static void subscribers_tell(void)
{
    uint64_t one = 1;

    for (int i = 0; i < SUBSCRIBERS_MAX; i++) {
        int fd = atomic_load(&subscribers[i]) - 1;

        if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
            continue;
    }
}

static void bus_error(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    int guard = guard_find((uintptr_t)info->si_addr);
    void *base;

    (void)signal;
    (void)context;
    if (guard < 0) {
        sigaction(SIGBUS, &action_before, NULL); /* the access is repeated and takes the old way */
        return;
    }
    base = (void *)atomic_load(&guards[guard].base);
    if (mmap(base, atomic_load(&guards[guard].len), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        sigaction(SIGBUS, &action_before, NULL);
    atomic_store(&guards[guard].lost, 1);
    subscribers_tell();
    errno = saved;
}

static void handler_install(void)
{
    struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};

    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &action_before);
}

int memory_guard_add(void *base, size_t len)
{
    int found = -ENOSPC;

    pthread_once(&installed, handler_install);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < GUARDS_MAX && found < 0; i++) {
        if (atomic_load(&guards[i].base) != 0)
            continue;
        atomic_store(&guards[i].lost, 0);
        atomic_store(&guards[i].len, len);
        atomic_store(&guards[i].base, (uintptr_t)base);
        found = i;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void memory_guard_remove(int guard)
{
    atomic_store(&guards[guard].base, 0);
}

int memory_guard_lost(int guard)
{
    return atomic_load(&guards[guard].lost);
}

int memory_guard_subscribe(int fd)
{
    for (int i = 0; i < SUBSCRIBERS_MAX; i++) {
        int none = 0;

        if (atomic_compare_exchange_strong(&subscribers[i], &none, fd + 1))
            return 0;
    }
    return -ENOSPC;
}

void memory_guard_unsubscribe(int fd)
{
    for (int i = 0; i < SUBSCRIBERS_MAX; i++) {
        int mine = fd + 1;

        atomic_compare_exchange_strong(&subscribers[i], &mine, 0);
    }
}
