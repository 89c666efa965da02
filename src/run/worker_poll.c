/* SPDX-License-Identifier: MIT */
#include "run/worker_poll.h"

#include "base/checked.h"
#include "base/clock.h"

enum {
    SPAN_MIN_NS = 12500,
    SPAN_MAX_NS = 100000,
    /* A sleep up to here, which is as long as the look would have been and the wake after it, was
     * not worth it. */
    SLEEP_SHORT_NS = 150000,
    BUDGET_WINDOW_NS = 100000000,
    /* Between two looks lie a microsecond or two, unless something else had the CPU. */
    PREEMPTED_NS = 400000,
    BARRED_MIN_NS = 10000000,
    BARRED_MAX_NS = 1000000000,
};

void worker_poll_init(struct worker_poll *poll, const struct poll_config *config)
{
    *poll = (struct worker_poll){.config = *config};
}

static int64_t credit_most(const struct worker_poll *poll)
{
    return (int64_t)BUDGET_WINDOW_NS / 100 * poll->config.budget_percent;
}

static void credit_update(struct worker_poll *poll, uint64_t now_ns)
{
    uint64_t elapsed_ns = MIN(now_ns - poll->credited_ns, (uint64_t)BUDGET_WINDOW_NS);

    if (poll->credited_ns == 0)
        elapsed_ns = BUDGET_WINDOW_NS;
    poll->credit_ns += (int64_t)elapsed_ns * poll->config.budget_percent / 100;
    poll->credit_ns = MIN(poll->credit_ns, credit_most(poll));
    poll->credited_ns = now_ns;
}

uint64_t worker_poll_span(struct worker_poll *poll, uint64_t now_ns)
{
    if (poll->config.mode == POLL_ALWAYS)
        return UINT64_MAX;
    if (poll->config.mode == POLL_FIXED)
        return poll->config.us * 1000ull;
    if (poll->span_ns == 0 || now_ns < poll->barred_until_ns)
        return 0;
    credit_update(poll, now_ns);
    if (poll->credit_ns > 0)
        return poll->span_ns;
    counter_add(&poll->budget_hits, 1);
    return 0;
}

/* Twice as long as the last time, if that is not long ago. */
static void bar(struct worker_poll *poll, uint64_t now_ns)
{
    int again = poll->barred_ns != 0 && now_ns - poll->barred_until_ns < 2 * poll->barred_ns;

    poll->barred_ns =
        again ? MIN(2 * poll->barred_ns, (uint64_t)BARRED_MAX_NS) : (uint64_t)BARRED_MIN_NS;
    poll->barred_until_ns = now_ns + poll->barred_ns;
    counter_add(&poll->yields, 1);
}

/* The round before this one found nothing, and took until now. */
static void look_account(struct worker_poll *poll, uint64_t now_ns)
{
    uint64_t gap_ns = now_ns - poll->looked_ns;

    if (gap_ns >= PREEMPTED_NS) {
        if (poll->config.mode == POLL_ADAPTIVE)
            bar(poll, now_ns);
        return;
    }
    counter_add(&poll->spent_ns, gap_ns);
    if (!poll->looked_free)
        poll->credit_ns -= (int64_t)gap_ns;
}

void worker_poll_looked(struct worker_poll *poll, uint64_t now_ns)
{
    if (poll->looked_ns != 0)
        look_account(poll, now_ns);
    poll->looked_ns = now_ns;
    poll->looked_free = 0;
}

void worker_poll_waited(struct worker_poll *poll, uint64_t now_ns)
{
    worker_poll_looked(poll, now_ns);
    poll->looked_free = 1;
}

void worker_poll_moved(struct worker_poll *poll, uint64_t now_ns)
{
    if (poll->looked_ns != 0)
        look_account(poll, now_ns);
    poll->looked_ns = 0;
}

void worker_poll_slept(struct worker_poll *poll, uint64_t slept_ns)
{
    counter_add(&poll->sleeps, 1);
    if (slept_ns <= SLEEP_SHORT_NS)
        poll->span_ns = MIN(MAX(2 * poll->span_ns, (uint64_t)SPAN_MIN_NS), (uint64_t)SPAN_MAX_NS);
    else
        poll->span_ns = poll->span_ns / 2 < SPAN_MIN_NS ? 0 : poll->span_ns / 2;
}

void worker_poll_inspect(struct worker_poll *poll, struct inspect *visitor)
{
    inspect_enter(visitor, "polling");
    inspect_counter(visitor, "spent_ns", &poll->spent_ns);
    inspect_counter(visitor, "hits", &poll->hits);
    inspect_counter(visitor, "sleeps", &poll->sleeps);
    inspect_counter(visitor, "budget_hits", &poll->budget_hits);
    inspect_counter(visitor, "yields", &poll->yields);
    inspect_leave(visitor);
}
