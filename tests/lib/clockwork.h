/* SPDX-License-Identifier: MIT */
/* Time and waiting for the tests: every wait has an end. */
#pragma once

#include <stdint.h>

enum {
    WAIT_LONG_MS =
        15000,          /* what must happen; sanitizers are slow, and a machine may do much else */
    WAIT_QUIET_MS = 60, /* how long silence is listened to where nothing may happen */
};

uint64_t now_ms(void);
void sleep_ms(unsigned ms);
/* 1 if fd became readable (or hung up) within timeout_ms, else 0. */
int wait_readable(int fd, int timeout_ms);
/* Takes the count of an eventfd; 0 if nothing came within timeout_ms. */
uint64_t wait_eventfd(int fd, int timeout_ms);
