/* SPDX-License-Identifier: MIT */
/*
 * Which frames of the guest's may make libslirp open a socket: it opens one for each sender of UDP
 * or of pings and for each TCP connection, as many as the guest likes, and the process has so many
 * files. Knows headers, and nothing of what is open.
 */
#pragma once

#include <stdint.h>

/* 0: libslirp answers it itself, or it belongs to what is open. */
int frame_may_open_socket(const uint8_t *bytes, uint32_t len);
