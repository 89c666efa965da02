/* SPDX-License-Identifier: MIT */
/*
 * A real daemon that takes over, held at a word of the conversation (takeover_double.h) for as long
 * as the test likes: its main thread is traced, and stands still where it would speak.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Returns when the process is about to say this word. */
void takeover_hold_before(pid_t pid, uint32_t word);
/* The word has been said; it stands still again at whatever it does next. */
void takeover_hold_behind(pid_t pid);
void takeover_hold_end(pid_t pid);
