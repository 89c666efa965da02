/* SPDX-License-Identifier: MIT */
#include "run/worker_bell.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "run/worker_parts.h"

int worker_bells_init(struct worker_bells *bells)
{
    atomic_init(&bells->sleeping, 1);
    bells->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bells->fd < 0 ? -errno : 0;
}

void worker_bells_free(struct worker_bells *bells)
{
    while (bells->all != NULL) {
        struct worker_bell *next = bells->all->next;

        free(bells->all);
        bells->all = next;
    }
    fd_close(&bells->fd);
}

static void list_push(struct worker_bells *bells, struct worker_bell *bell)
{
    struct worker_bell *first = atomic_load_explicit(&bells->rung, memory_order_relaxed);

    do {
        atomic_store_explicit(&bell->next_rung, first, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&bells->rung, &first, bell,
                                                    memory_order_release, memory_order_relaxed));
}

/* What the ringer wrote before is seen by the turn: by this exchange and the one of
 * worker_bell_answer if the bell was rung already, else by the list. */
static void bell_ring(struct endpoint_waker *waker)
{
    struct worker_bell *bell = CONTAINER_OF(waker, struct worker_bell, waker);
    struct worker_bells *bells = &bell->worker->bells;
    uint64_t one = 1;

    if (atomic_exchange_explicit(&bell->rung, 1, memory_order_acq_rel) != 0)
        return;
    list_push(bells, bell);
    atomic_thread_fence(memory_order_seq_cst); /* partner: worker_bells_arm */
    if (atomic_load_explicit(&bells->sleeping, memory_order_relaxed) == 0 ||
        atomic_exchange_explicit(&bells->sleeping, 0, memory_order_relaxed) == 0)
        return;
    if (write(bells->fd, &one, sizeof(one)) < 0)
        return; /* an eventfd of our own refuses only at 2^64 - 1 */
}

struct worker_bell *worker_bell_take(struct worker *worker, struct worker_pair *pair)
{
    struct worker_bell *bell = worker->bells.all;

    while (bell != NULL && bell->pair != NULL)
        bell = bell->next;
    if (bell == NULL) {
        bell = calloc(1, sizeof(*bell));
        if (bell == NULL)
            return NULL;
        bell->waker.wake = bell_ring;
        bell->worker = worker;
        bell->next = worker->bells.all;
        worker->bells.all = bell;
    }
    bell->pair = pair;
    return bell;
}

void worker_bell_give_back(struct worker_bell *bell)
{
    if (bell != NULL)
        bell->pair = NULL;
}

struct worker_bell *worker_bells_heard(struct worker_bells *bells)
{
    if (atomic_load_explicit(&bells->sleeping, memory_order_relaxed) != 0)
        atomic_store_explicit(&bells->sleeping, 0, memory_order_relaxed);
    if (atomic_load_explicit(&bells->rung, memory_order_relaxed) == NULL)
        return NULL;
    return atomic_exchange_explicit(&bells->rung, NULL, memory_order_acquire);
}

struct worker_bell *worker_bell_answer(struct worker_bell *bell)
{
    struct worker_bell *next = atomic_load_explicit(&bell->next_rung, memory_order_relaxed);

    atomic_exchange_explicit(&bell->rung, 0, memory_order_acq_rel);
    return next;
}

int worker_bells_arm(struct worker_bells *bells)
{
    atomic_store_explicit(&bells->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* partner: bell_ring */
    return atomic_load_explicit(&bells->rung, memory_order_relaxed) != NULL;
}
