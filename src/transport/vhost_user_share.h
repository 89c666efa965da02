/* SPDX-License-Identifier: MIT */
/*
 * How much of the control thread front-ends may take (VU-SEC-12). Their requests pause workers
 * that other NICs share, so time is what is counted, not messages: a bucket that fills while a
 * front-end is served and leaks all the time, and one for all front-ends together. What a bring-up
 * or a hot-plug takes fits in; who floods is left alone until there is room again, and of many who
 * flood together each gets a part of what one would. Knows no message.
 */
#pragma once

#include <stdint.h>

enum {
    VHOST_USER_SHARE_PERCENT = 25, /* what one gets in the long run unless the operator says else */
};

struct vhost_user_bucket {
    uint64_t level_ns;  /* time taken that has not leaked yet */
    uint64_t looked_ns; /* when that was computed */
};

struct vhost_user_share {
    struct vhost_user_bucket *all; /* borrowed: of all front-ends that this thread serves */
    unsigned percent;              /* 1 … 100, fixed */
    struct vhost_user_bucket own;
    struct vhost_user_bucket little; /* leaks slowly: who fills it takes much, at whatever pace */
    uint64_t begun_ns;               /* the turn */
    uint64_t times_spent;            /* for inspect: how often it was used up, */
    uint64_t times_shared; /* … and how often that of all was, and this one had its part */
};

void vhost_user_share_begin(struct vhost_user_share *share);
/* 1: the turn has lasted long enough, others wait. */
int vhost_user_share_turn_over(const struct vhost_user_share *share);
/* Ends the turn. Nanoseconds that the front-end has to be left alone now; 0: none. */
uint64_t vhost_user_share_end(struct vhost_user_share *share);
