/* SPDX-License-Identifier: MIT */
/*
 * How much of the control thread one front-end may take (VU-SEC-12). Its requests pause workers
 * that other NICs share, so time is what is counted, not messages: a bucket that fills while it is
 * served and leaks all the time. What a bring-up or a hot-plug takes fits in; who floods is left
 * alone until there is room again. Knows no message.
 */
#pragma once

#include <stdint.h>

struct vhost_user_share {
    uint64_t level_ns;    /* time taken that has not leaked yet */
    uint64_t looked_ns;   /* when that was computed */
    uint64_t begun_ns;    /* the turn */
    uint64_t times_spent; /* for inspect: how often it was used up */
};

void vhost_user_share_begin(struct vhost_user_share *share);
/* 1: the turn has lasted long enough, others wait. */
int vhost_user_share_turn_over(const struct vhost_user_share *share);
/* Ends the turn. Nanoseconds that the front-end has to be left alone now; 0: none. */
uint64_t vhost_user_share_end(struct vhost_user_share *share);
