/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user_share.h"

#include "base/checked.h"
#include "base/clock.h"

enum {
    LEAK = 4, /* one part in so many of the time is a front-end's in the long run */
};

#define TURN_NS  (2 * CLOCK_MILLISECOND_NS)
#define MOST_NS  (250 * CLOCK_MILLISECOND_NS)
#define AGAIN_NS (20 * CLOCK_MILLISECOND_NS) /* of room before it is served again */

void vhost_user_share_begin(struct vhost_user_share *share)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t leaked_ns = (now_ns - share->looked_ns) / LEAK;

    share->level_ns -= MIN(leaked_ns, share->level_ns);
    share->looked_ns = now_ns;
    share->begun_ns = now_ns;
}

int vhost_user_share_turn_over(const struct vhost_user_share *share)
{
    return clock_now_ns() - share->begun_ns >= TURN_NS;
}

uint64_t vhost_user_share_end(struct vhost_user_share *share)
{
    share->level_ns += clock_now_ns() - share->begun_ns;
    if (share->level_ns <= MOST_NS)
        return 0;
    share->times_spent++;
    return (share->level_ns - MOST_NS + AGAIN_NS) * LEAK;
}
