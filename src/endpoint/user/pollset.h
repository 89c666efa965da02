/* SPDX-License-Identifier: MIT */
/*
 * All that libslirp wants to wait for behind one pollable fd: its sockets and one alarm. libslirp
 * tells its wishes anew each time; the set turns them into the few epoll_ctl(2) calls that change
 * something.
 */
#pragma once

#include <stdint.h>

#include "base/counter.h"

enum {
    POLLSET_BATCH = 12, /* sockets served at a time: what they give must fit into the backlog */
};

struct pollset_entry {
    uint32_t wanted;     /* EPOLL…, of `round` */
    uint32_t registered; /* what the kernel knows; 0: nothing */
    uint32_t ready;      /* EPOLL…, between collect and release */
    uint32_t round;
    int listed; /* it is in `active` */
    int rests;  /* not registered, whatever is wanted, until pollset_rouse */
    int open;   /* counted in open_count */
};

struct pollset {
    int epoll_fd;                /* owned */
    int alarm_fd;                /* owned; a timerfd */
    uint64_t alarm_ns;           /* when it goes off; 0: not set */
    uint32_t round;              /* counts begin calls */
    struct pollset_entry *entry; /* owned; by fd, entry_count of them */
    unsigned entry_count;
    int *active; /* owned; fds with a wish or a registration; entry_count places */
    unsigned active_count;
    counter open_count;       /* sockets, whether anything is wanted of them or not */
    int ready[POLLSET_BATCH]; /* fds whose entry says ready */
    unsigned ready_count;
};

int pollset_init(struct pollset *set);
void pollset_free(struct pollset *set);

/* begin, wish for each socket, end: what was not wished for is not waited for any more. */
void pollset_begin(struct pollset *set);
int pollset_wish(struct pollset *set, int fd, uint32_t events);
void pollset_end(struct pollset *set);

void pollset_opened(struct pollset *set, int fd);
/* Or about to be. */
void pollset_closed(struct pollset *set, int fd);

/* Sets the alarm to at_ns, or leaves it if it goes off before that anyway. */
void pollset_alarm(struct pollset *set, uint64_t at_ns);

/* Finds out what is ready now; answers last until release. */
void pollset_collect(struct pollset *set);
uint32_t pollset_ready(const struct pollset *set, int fd);
void pollset_release(struct pollset *set);
/* What is ready now can't be served: it is not waited for until pollset_rouse. */
void pollset_rest(struct pollset *set);
void pollset_rouse(struct pollset *set);
