/* SPDX-License-Identifier: MIT */
/*
 * What most conformance tests stand on: the real daemon with two NICs, a front-end, rings and a
 * driver at each. nic[0] is the one that the test treats badly; nic[1] is a bystander that must not
 * notice.
 */
#pragma once

#include "daemon.h"
#include "driver_iommu.h"
#include "driver_packed.h"
#include "driver_split.h"
#include "front_end.h"
#include "front_end_start.h"
#include "guest_ram.h"
#include "net_driver.h"

/* Guest memory: two regions that touch, a hole behind them. */
#define TESTBED_RAM_GPA    0x100000ull
#define TESTBED_BORDER_GPA (TESTBED_RAM_GPA + (96ull << 20))
#define TESTBED_END_GPA    (TESTBED_BORDER_GPA + (1ull << 20))

enum {
    TESTBED_PAIRS_MAX = 8,
    VICTIM = 0,
    BYSTANDER = 1,
};

/* Zero means the usual thing everywhere. */
struct testbed_options {
    const char *nic; /* the daemon's options; usual: queues=PAIRS,endpoint=loopback */
    /* The same of the bystander, which then has all of the victim's options; usual: loopback, and
     * usual options. testbed_finish() expects a loopback. */
    const char *bystander;
    unsigned pairs;      /* usual: 1 */
    unsigned queue_size; /* usual: 64 */
    uint16_t start_idx;  /* of all rings */
    uint64_t features;   /* usual: VERSION_1, INDIRECT_DESC, EVENT_IDX */
    uint64_t without;    /* features to leave out of the usual ones and of `control` */
    uint64_t pf;         /* usual: all but INBAND and CONFIGURE_MEM_SLOTS */
    int mergeable;
    uint32_t rx_buffer_len;         /* usual: 2048 */
    unsigned rx_slots;              /* usual: the ring's size */
    int rx_unposted;                /* the receive ring stays empty */
    const char *poll, *poll_budget; /* the same; see daemon.h */
    unsigned workers;               /* of the daemon, the victim's only; usual: its default */
    int iommu;              /* the driver names memory by what an IOMMU maps: ACCESS_PLATFORM */
    int control;            /* the control queue is the device's: MQ and CTRL_VQ are agreed on */
    enum chain_shape shape; /* usual: CHAIN_DIRECT */
    enum wire_order order;
    front_end_start_function *start; /* usual: QEMU's */
};

struct testbed_nic {
    unsigned index; /* in the daemon */
    uint8_t mac[6];
    char socket[DAEMON_PATH_LEN];
    struct testbed_options options;
    struct guest_ram ram;
    struct driver_split vring[2 * TESTBED_PAIRS_MAX + 1];
    struct driver_packed packed[2 * TESTBED_PAIRS_MAX + 1]; /* RING_PACKED: instead of vring */
    struct driver_ring *ring[2 * TESTBED_PAIRS_MAX + 1];    /* back-pointers: those in use */
    struct net_driver net[TESTBED_PAIRS_MAX];
    struct driver_iommu iommu;
    struct front_end fe;
    struct front_end_setup setup;
    uint32_t seed;
};

struct testbed {
    struct daemon daemon;
    struct testbed_nic nic[DAEMON_NICS_MAX]; /* two, unless a test prepares its own */
    unsigned fds_at_rest;                    /* of the daemon, before the first front-end */
};

/* cmocka set-up and tear-down: *state is a testbed that is not started. */
int testbed_setup(void **state);
int testbed_teardown(void **state);

/* For tests with a set of NICs of their own: rings, drivers and memory of one of them, and its line
 * for the daemon, which is started afterwards. They are prepared in order. */
void testbed_prepare_nic(struct testbed *bed, unsigned index,
                         const struct testbed_options *options);
/* The daemon and both NICs, unconnected. */
struct testbed *testbed_start_daemon(void **state, const struct testbed_options *options);
/* The same, and both front-ends brought up with receive buffers posted. */
struct testbed *testbed_start(void **state, const struct testbed_options *options);
/* Connects a NIC's front-end and brings it up with fresh rings. */
void testbed_connect(struct testbed_nic *nic);
/* Cuts the connection; the rings are made new. */
void testbed_disconnect(struct testbed_nic *nic);
/* Fresh rings, drivers and receive buffers' books; the front-end is not told. */
void testbed_restart_rings(struct testbed_nic *nic, uint16_t start_idx);
/* What every test ends with: the bystander moves packets, the daemon rests, leaks no fd, ends well.
 */
void testbed_finish(struct testbed *bed);

struct driver_split *testbed_rx(struct testbed_nic *nic, unsigned pair);
struct driver_split *testbed_tx(struct testbed_nic *nic, unsigned pair);
/* A frame goes out of a pair and comes back by its loopback, byte for byte. */
void testbed_exchange(struct testbed_nic *nic, unsigned pair, uint32_t len);
/* The two halves of that on pair 0, with a frame that its length names. */
void testbed_send(struct testbed_nic *nic, uint32_t len);
void testbed_receive(struct testbed_nic *nic, uint32_t len);
/* Posts receive buffers first, for rings that have none. */
void testbed_exchange_fresh(struct testbed_nic *nic, unsigned pair);
/* Nothing may arrive at a pair. */
void testbed_expect_silence(struct testbed_nic *nic, unsigned pair);

/* Frames of the guest that the victim dropped in pair 0, whatever the reason. */
uint64_t testbed_tx_drops(struct testbed *bed);
/* Receive buffers of pair 0 that the victim gave back unused, whatever the reason. */
uint64_t testbed_rx_bad_buffers(struct testbed *bed);
/* A zeroed net header and a frame of len bytes behind it in the victim's memory; returns its gpa.
 */
uint64_t testbed_put_frame(struct testbed_nic *nic, uint32_t len);
/* Writes the descriptors into claimed entries of the ring and links those with NEXT one to the
 * other (a `next` that is not 0 stays as it is); returns the head. */
uint16_t testbed_write_chain(struct driver_split *split, const struct driver_desc *desc,
                             unsigned count);
/* The victim's transmit ring gets a chain at `head`: it comes back with length 0, is counted as
 * dropped, and the next good frame passes (E-DROP). */
void testbed_expect_tx_drop(struct testbed *bed, uint16_t head);
/* The same for a chain in the receive ring, which holds nothing else yet. */
void testbed_expect_rx_drop(struct testbed *bed, uint16_t head);
/* Ring `vring` of the victim holds something poisonous: the err eventfd fires, inspect names a
 * fault, nothing is used, the bystander goes on, and a stop and start brings the ring back
 * (E-BREAK). */
void testbed_expect_break(struct testbed *bed, unsigned vring);
/* Publishes and kicks whether wanted or not. */
void testbed_publish(struct driver_split *split);
/* Stops the ring, makes it new at start_idx, starts it again. */
void testbed_cycle_vring(struct testbed_nic *nic, unsigned vring, uint16_t start_idx);

#define TESTBED_TEST(name) cmocka_unit_test_setup_teardown(name, testbed_setup, testbed_teardown)

/* A new connection on which nothing was said yet. */
void testbed_reconnect(struct testbed_nic *nic);
/* A new connection on which refusals are answered. */
void testbed_reconnect_acknowledging(struct testbed_nic *nic);
/* testbed_finish, for a victim whose session may have become anything: a new one has to work. */
void testbed_finish_anew(struct testbed *bed);
