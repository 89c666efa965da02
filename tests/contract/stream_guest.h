/* SPDX-License-Identifier: MIT */
/* What the tests of the endpoint `stream` share: the coordinator's part of its life, a peer's
 * socket calls, and its counters. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "guest.h"

enum {
    STREAM_WAIT_MS = 5000,
    STREAM_PREFIX = 4,
};

/* Opens the endpoint over one end of a new socket pair; returns the other, which does not block. */
int stream_open_pair(struct guest *guest);
/* Opens the endpoint, as a guest that reads ahead. */
void stream_open(struct guest *guest, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Does what the endpoint's events ask for; returns the bits that came. */
uint32_t stream_settle(struct guest *guest);
/* Settles until the link is `up` and nothing is left to do; fails the test after STREAM_WAIT_MS. */
void stream_wait_link(struct guest *guest, int up);
/* Receives and settles until `count` frames are there; fails the test otherwise. */
void stream_expect_frames(struct guest *guest, unsigned count);
/* Sends one frame of test_frame_fill(len, seed); it must be taken at once. */
void stream_send(struct guest *guest, uint32_t len, unsigned seed);

/* A path in a folder of the test's own; the same one each time. */
const char *stream_path(void);
/* A listening unix socket at the path, which is free. Does not block. */
int stream_listen(const char *path);
/* Waits for the endpoint, settling it. */
int stream_accept(struct guest *guest, int listener);
int stream_connect(const char *path);
/* A frame with its length in front; returns the bytes of both. */
uint32_t stream_put(uint8_t *bytes, uint32_t len, unsigned seed);
/* Writes all, within the time. */
void stream_write(int fd, const void *bytes, size_t len);
/* Reads just so much, within the time. */
void stream_read(int fd, void *bytes, size_t len);
/* The next frame must be that of stream_put(len, seed). */
void stream_expect(int fd, uint32_t len, unsigned seed);
/* The connection must be at its end. */
void stream_expect_end(int fd);
