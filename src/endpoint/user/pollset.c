/* SPDX-License-Identifier: MIT */
#include "endpoint/user/pollset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

enum {
    POLLSET_FIRST_COUNT = 64,
};

int pollset_init(struct pollset *set)
{
    struct epoll_event wanted = {.events = EPOLLIN};
    int rc;

    *set = (struct pollset){.alarm_fd = -1};
    set->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (set->epoll_fd < 0)
        return -errno;
    set->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    wanted.data.fd = set->alarm_fd;
    if (set->alarm_fd < 0 || epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, set->alarm_fd, &wanted) < 0) {
        rc = -errno;
        pollset_free(set);
        return rc;
    }
    return 0;
}

void pollset_free(struct pollset *set)
{
    fd_close(&set->alarm_fd);
    fd_close(&set->epoll_fd);
    free(set->entry);
    free(set->active);
    set->entry = NULL;
    set->active = NULL;
    set->entry_count = 0;
    set->active_count = 0;
}

/* Happens only when a socket has a greater number than any before. */
static int pollset_grow(struct pollset *set, unsigned count)
{
    unsigned new_count = set->entry_count == 0 ? POLLSET_FIRST_COUNT : set->entry_count;
    struct pollset_entry *entry;
    int *active;

    while (new_count < count)
        new_count *= 2;
    entry = realloc(set->entry, new_count * sizeof(*entry));
    if (entry == NULL)
        return -ENOMEM;
    set->entry = entry;
    active = realloc(set->active, new_count * sizeof(*active));
    if (active == NULL)
        return -ENOMEM;
    set->active = active;
    memset(entry + set->entry_count, 0, (new_count - set->entry_count) * sizeof(*entry));
    set->entry_count = new_count;
    return 0;
}

void pollset_begin(struct pollset *set)
{
    set->round++;
}

int pollset_wish(struct pollset *set, int fd, uint32_t events)
{
    struct pollset_entry *entry;

    if ((unsigned)fd >= set->entry_count && pollset_grow(set, (unsigned)fd + 1) < 0)
        return -ENOMEM;
    entry = &set->entry[fd];
    if (entry->round != set->round)
        entry->wanted = 0;
    entry->round = set->round;
    entry->wanted |= events;
    if (!entry->listed) {
        entry->listed = 1;
        set->active[set->active_count++] = fd;
    }
    return 0;
}

static void pollset_register(struct pollset *set, int fd, struct pollset_entry *entry)
{
    struct epoll_event wanted = {.events = entry->wanted, .data.fd = fd};
    int first = entry->registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    int second = entry->registered == 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    /* The other one is right if libslirp closed or reopened the number without a word. */
    if (epoll_ctl(set->epoll_fd, first, fd, &wanted) == 0 ||
        epoll_ctl(set->epoll_fd, second, fd, &wanted) == 0)
        entry->registered = entry->wanted;
    else
        entry->registered = 0;
}

/* The number may soon be another socket's. */
static void pollset_forget(struct pollset *set, int fd)
{
    struct pollset_entry *entry = &set->entry[fd];

    if (entry->registered != 0)
        epoll_ctl(set->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    entry->registered = 0;
    entry->ready = 0;
}

void pollset_end(struct pollset *set)
{
    unsigned i = 0;

    while (i < set->active_count) {
        int fd = set->active[i];
        struct pollset_entry *entry = &set->entry[fd];

        if (entry->round == set->round) {
            if (entry->registered != entry->wanted && !entry->rests)
                pollset_register(set, fd, entry);
            i++;
            continue;
        }
        pollset_forget(set, fd);
        entry->listed = entry->rests = 0;
        set->active[i] = set->active[--set->active_count];
    }
}

void pollset_opened(struct pollset *set, int fd)
{
    pollset_closed(set, fd); /* without a word, if it was counted */
    if (fd < 0 || ((unsigned)fd >= set->entry_count && pollset_grow(set, (unsigned)fd + 1) < 0))
        return;
    set->entry[fd].open = 1;
    counter_add(&set->open_count, 1);
}

void pollset_closed(struct pollset *set, int fd)
{
    if (fd < 0 || (unsigned)fd >= set->entry_count)
        return;
    pollset_forget(set, fd);
    counter_set(&set->open_count, counter_get(&set->open_count) - (uint64_t)set->entry[fd].open);
    set->entry[fd].open = 0;
}

void pollset_alarm(struct pollset *set, uint64_t at_ns)
{
    struct itimerspec when = {0};

    if (set->alarm_ns != 0 && set->alarm_ns <= at_ns)
        return;
    set->alarm_ns = at_ns != 0 ? at_ns : 1;
    when.it_value.tv_sec = (time_t)(set->alarm_ns / CLOCK_SECOND_NS);
    when.it_value.tv_nsec = (long)(set->alarm_ns % CLOCK_SECOND_NS);
    timerfd_settime(set->alarm_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void pollset_alarm_off(struct pollset *set)
{
    uint64_t expiries;

    if (read(set->alarm_fd, &expiries, sizeof(expiries)) == sizeof(expiries))
        set->alarm_ns = 0;
}

void pollset_collect(struct pollset *set)
{
    struct epoll_event event[POLLSET_BATCH];
    int count = epoll_wait(set->epoll_fd, event, POLLSET_BATCH, 0);

    for (int i = 0; i < count; i++) {
        int fd = event[i].data.fd;

        if (fd == set->alarm_fd) {
            pollset_alarm_off(set);
            continue;
        }
        set->entry[fd].ready = event[i].events;
        set->ready[set->ready_count++] = fd;
    }
}

uint32_t pollset_ready(const struct pollset *set, int fd)
{
    return fd >= 0 && (unsigned)fd < set->entry_count ? set->entry[fd].ready : 0;
}

void pollset_release(struct pollset *set)
{
    while (set->ready_count > 0)
        set->entry[set->ready[--set->ready_count]].ready = 0;
}

void pollset_rest(struct pollset *set)
{
    for (unsigned i = 0; i < set->ready_count; i++) {
        struct pollset_entry *entry = &set->entry[set->ready[i]];

        pollset_forget(set, set->ready[i]);
        entry->rests = 1;
    }
}

void pollset_rouse(struct pollset *set)
{
    for (unsigned i = 0; i < set->active_count; i++)
        set->entry[set->active[i]].rests = 0;
}
