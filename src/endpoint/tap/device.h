/* SPDX-License-Identifier: MIT */
/* The ioctls of a tap. Plain functions on fds; knows nothing of endpoints' life cycle. */
#pragma once

#include <net/if.h>
#include <stdint.h>

#include "base/error.h"

/* IFF_MULTI_QUEUE or not: the kernel wants the same answer from everyone who opens the interface.
 */
enum device_queues {
    DEVICE_SINGLE_QUEUE,
    DEVICE_MULTI_QUEUE,
};

/* Opens one queue of the tap `ifname` ("" lets the kernel choose; it may hold one %d) and makes the
 * interface if there is none. ifname gets the real name. -errno and a sentence on failure. */
int device_open(char ifname[IFNAMSIZ], enum device_queues queues, int *ret_fd, struct error *err);
/* Checks an fd that somebody else opened and finds its name. */
int device_check(int fd, char ret_ifname[IFNAMSIZ], enum device_queues *ret_queues,
                 struct error *err);
/* The same more closely, for one that this process has not used yet. */
int device_check_passed(int fd, char ret_ifname[IFNAMSIZ], enum device_queues *ret_queues,
                        struct error *err);
/* 12 bytes of header, little-endian, not blocking. */
int device_prepare(int fd, struct error *err);
/* VNET_HDR_LEN…; counts for all queues of the tap. */
int device_set_header_len(int fd, int len);
/* The largest set of ENDPOINT_… offloads that the kernel delivers on this tap; leaves none switched
 * on. */
uint32_t device_probe_offloads(int fd);
int device_set_offloads(int fd, uint32_t offloads);
/* Attach or detach one queue of a multi-queue tap. Detaching empties it. */
int device_attach(int fd);
int device_detach(int fd);
/* 1 if the interface behind fd still exists. */
int device_alive(int fd);
/* 1 if the interface behind fd is the one of its name in the namespace of the calling thread. */
int device_is_here(int fd);
/* An fd of the network namespace that the interface lives in, or -errno. */
int device_netns(int fd);

/* By name, in the namespace of the calling thread. */
int device_set_mtu(const char *ifname, uint32_t mtu);
int device_set_up(const char *ifname);
