/* SPDX-License-Identifier: MIT */
/*
 * Split and packed are the same queue: a schedule drives a driver and a device in both formats,
 * step by step, and each step's outcome must be that of one plain model (ring_model.h). A schedule
 * is any bytes: four of set-up, then four a step, so that a fuzzer may write it and a shortened one
 * is still a schedule.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    RING_SCHEDULE_STEP_LEN = 4, /* bytes; the set-up takes as many */
};

/* 0: both formats did what the model does; -1: one did not, ring_schedule_error() says which and
 * what. */
int ring_schedule_run(const uint8_t *bytes, size_t len);
const char *ring_schedule_error(void);
/* The schedule for people, a step a line. */
void ring_schedule_print(const uint8_t *bytes, size_t len, FILE *to);
/* Gives back what the runs share. */
void ring_schedule_free(void);
