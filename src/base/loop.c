/* SPDX-License-Identifier: MIT */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

enum {
    LOOP_EVENTS = 64
};

struct loop {
    int epoll_fd;              /* owned */
    struct loop_source alarm;  /* its fd is owned: a timerfd set to the first timer's deadline */
    struct loop_timer *timers; /* borrowed, ordered by deadline */
    struct epoll_event events[LOOP_EVENTS];
    int event_count; /* collected and not yet handled, valid during a dispatch */
    int event_next;
};

static void alarm_set(struct loop *loop)
{
    struct itimerspec when = {0};

    if (loop->timers != NULL) {
        when.it_value.tv_sec = (time_t)(loop->timers->deadline_ns / CLOCK_SECOND_NS);
        when.it_value.tv_nsec = (long)(loop->timers->deadline_ns % CLOCK_SECOND_NS);
    }
    timerfd_settime(loop->alarm.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void alarm_ready(struct loop_source *source, uint32_t events)
{
    struct loop *loop = CONTAINER_OF(source, struct loop, alarm);
    uint64_t now = clock_now_ns();
    uint64_t count;

    (void)events;
    if (read(source->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return;
    while (loop->timers != NULL && loop->timers->deadline_ns <= now) {
        struct loop_timer *timer = loop->timers;

        loop->timers = timer->next;
        timer->armed = 0;
        timer->fire(timer);
    }
    alarm_set(loop);
}

int loop_create(struct loop **ret_loop)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int err;

    if (loop == NULL)
        return -ENOMEM;
    loop->alarm = (struct loop_source){.fd = -1, .ready = alarm_ready};
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        goto fail;
    loop->alarm.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->alarm.fd < 0 || loop_add(loop, &loop->alarm, EPOLLIN) < 0)
        goto fail;
    *ret_loop = loop;
    return 0;
fail:
    err = -errno;
    loop_free(loop);
    return err;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    fd_close(&loop->alarm.fd);
    fd_close(&loop->epoll_fd);
    free(loop);
}

static int loop_control(struct loop *loop, int operation, struct loop_source *source,
                        uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};

    return epoll_ctl(loop->epoll_fd, operation, source->fd, &event) < 0 ? -errno : 0;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
    return loop_control(loop, EPOLL_CTL_ADD, source, events);
}

int loop_modify(struct loop *loop, struct loop_source *source, uint32_t events)
{
    return loop_control(loop, EPOLL_CTL_MOD, source, events);
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
    loop_control(loop, EPOLL_CTL_DEL, source, 0);
    for (int i = loop->event_next; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == source)
            loop->events[i].data.ptr = NULL;
    }
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns)
{
    struct loop_timer **at = &loop->timers;

    loop_timer_stop(loop, timer);
    timer->deadline_ns = clock_now_ns() + delay_ns;
    while (*at != NULL && (*at)->deadline_ns <= timer->deadline_ns)
        at = &(*at)->next;
    timer->next = *at;
    *at = timer;
    timer->armed = 1;
    alarm_set(loop);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    struct loop_timer **at = &loop->timers;

    if (!timer->armed)
        return;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    timer->armed = 0;
    alarm_set(loop);
}

int loop_fd(const struct loop *loop)
{
    return loop->epoll_fd;
}

int loop_dispatch(struct loop *loop, int timeout_ms)
{
    int count = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS, timeout_ms);

    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    loop->event_count = count;
    for (int i = 0; i < count; i++) {
        struct loop_source *source = loop->events[i].data.ptr;

        loop->event_next = i + 1;
        if (source != NULL)
            source->ready(source, loop->events[i].events);
    }
    loop->event_count = 0;
    return 0;
}
