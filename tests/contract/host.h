/* SPDX-License-Identifier: MIT */
/* The host's side of a tap: a network namespace of the test's own and a packet socket in it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Moves the process into a new, empty network namespace, through a user namespace if it has to.
 * Returns NULL, or a sentence that says what is missing. */
const char *host_enter_namespace(void);

/* Runs a command of iproute2 and fails the test if it fails. */
void host_command(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The packet header of AF_PACKET with PACKET_VNET_HDR. */
struct host_vnet_hdr {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

enum host_socket {
    HOST_PLAIN,
    HOST_WITH_VNET_HDR, /* each frame begins with a struct host_vnet_hdr */
};

/* A packet socket on the interface for one ethertype. Not blocking. */
int host_socket(const char *ifname, uint16_t ethertype, enum host_socket kind);
void host_send(int fd, const void *bytes, size_t len);
/* Waits up to a second; returns the length, or fails the test. */
size_t host_receive(int fd, void *bytes, size_t len);
/* 1 if a frame comes within the time. */
int host_has_frame(int fd, int timeout_ms);

uint16_t internet_checksum(const void *bytes, size_t len, uint32_t start);
