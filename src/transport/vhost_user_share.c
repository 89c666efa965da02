/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user_share.h"

#include "base/checked.h"
#include "base/clock.h"

enum {
    ALL_PERCENT = 40, /* of the thread's time, for all that take much: the rest is for the others */
    LITTLE_PERCENT = 5, /* who takes less in the long run goes on, whatever others take */
};

#define TURN_NS     (2 * CLOCK_MILLISECOND_NS)
#define MOST_NS     (250 * CLOCK_MILLISECOND_NS)
#define ALL_MOST_NS (500 * CLOCK_MILLISECOND_NS)
#define LITTLE_NS   (50 * CLOCK_MILLISECOND_NS)
#define AGAIN_NS    (20 * CLOCK_MILLISECOND_NS) /* of room before one is served again */

static void bucket_leak(struct vhost_user_bucket *bucket, unsigned percent, uint64_t now_ns)
{
    uint64_t leaked_ns = (now_ns - bucket->looked_ns) / 100 * percent;

    bucket->level_ns -= MIN(leaked_ns, bucket->level_ns);
    bucket->looked_ns = now_ns;
}

/* How long it takes until there is room again below `most`. */
static uint64_t bucket_wait(const struct vhost_user_bucket *bucket, unsigned percent,
                            uint64_t most_ns)
{
    if (bucket->level_ns <= most_ns)
        return 0;
    return (bucket->level_ns - most_ns + AGAIN_NS) * 100 / percent;
}

void vhost_user_share_begin(struct vhost_user_share *share)
{
    uint64_t now_ns = clock_now_ns();

    bucket_leak(&share->own, share->percent, now_ns);
    bucket_leak(&share->little, LITTLE_PERCENT, now_ns);
    bucket_leak(share->all, ALL_PERCENT, now_ns);
    share->begun_ns = now_ns;
}

int vhost_user_share_turn_over(const struct vhost_user_share *share)
{
    return clock_now_ns() - share->begun_ns >= TURN_NS;
}

uint64_t vhost_user_share_end(struct vhost_user_share *share)
{
    uint64_t taken_ns = clock_now_ns() - share->begun_ns;
    uint64_t own_ns, all_ns = 0;

    share->own.level_ns += taken_ns;
    share->little.level_ns = MIN(share->little.level_ns + taken_ns, 2 * LITTLE_NS);
    share->all->level_ns += taken_ns;
    own_ns = bucket_wait(&share->own, share->percent, MOST_NS);
    if (share->little.level_ns > LITTLE_NS)
        all_ns = bucket_wait(share->all, ALL_PERCENT, ALL_MOST_NS);
    share->times_spent += own_ns != 0;
    share->times_shared += all_ns != 0;
    return MAX(own_ns, all_ns);
}
