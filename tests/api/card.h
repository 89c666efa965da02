/* SPDX-License-Identifier: MIT */
/*
 * A library in this process with one NIC on a vhost-user socket, and the driver at its other end:
 * rings, buffers, a front-end. The thread of the library is one of the test's; the driver is the
 * test's main thread.
 */
#pragma once

#include <pthread.h>

#include "driver_split.h"
#include "front_end_start.h"
#include "net_driver.h"
#include "vionic.h"

struct card {
    struct vionic *vionic;  /* owned */
    struct vionic_nic *nic; /* the only one */
    pthread_t thread;       /* dispatches while `running` */
    int running, stop_fd;
    char path[64];
    struct guest_ram ram;
    struct driver_split split[2];
    struct driver_ring *ring[2];
    struct net_driver net;
    struct front_end fe;
    uint32_t seed;
};

/* The library, and a NIC as `config` says it, whose socket is filled in here. */
void card_open(struct card *card, enum vionic_threads threads, struct vionic_nic_config *config);
/* A front-end connects and a driver begins. */
void card_plug(struct card *card);
void card_unplug(struct card *card);
void card_close(struct card *card);

/* The test's thread may call the library between these two. */
void card_hold(struct card *card);
void card_release(struct card *card);

/* A frame goes out and comes back, byte for byte. */
void card_exchange(struct card *card, uint32_t len);
/* The text of a value in the NIC's inspect tree, "" if there is none: "endpoint/glass/colour". */
void card_inspect(struct card *card, const char *path, char *ret_text, size_t text_len);
/* Waits until it is `wanted`. */
void card_wait(struct card *card, const char *path, const char *wanted);
