/* SPDX-License-Identifier: MIT */
/*
 * One good message of every command of the control queue (virtio 1.4, 5.1.6.5), for a device with
 * two pairs that agreed to everything: what tests cut short, garble and repeat.
 */
#pragma once

#include <stdint.h>

enum {
    CONTROL_SAMPLE_MAX = 128,
    CONTROL_SAMPLE_HEADER = 2, /* class, command */
    CONTROL_SAMPLE_PAIRS = 2,
};

/* Features by which the control queue and all its commands come. */
#define CONTROL_F_GUEST_CSUM     (1ull << 1)
#define CONTROL_F_GUEST_OFFLOADS (1ull << 2)
#define CONTROL_F_VQ             (1ull << 17)
#define CONTROL_F_RX             (1ull << 18)
#define CONTROL_F_VLAN           (1ull << 19)
#define CONTROL_F_RX_EXTRA       (1ull << 20)
#define CONTROL_F_ANNOUNCE       (1ull << 21)
#define CONTROL_F_MQ             (1ull << 22)
#define CONTROL_F_MAC_ADDR       (1ull << 23)
#define CONTROL_F_STATS          (1ull << 50)
#define CONTROL_F_HASH_TUNNEL    (1ull << 51)
#define CONTROL_F_VQ_COALESCE    (1ull << 52)
#define CONTROL_F_COALESCE       (1ull << 53)
#define CONTROL_F_HASH_REPORT    (1ull << 57)
#define CONTROL_F_RSS            (1ull << 60)
#define CONTROL_F_STATUS         (1ull << 16)
#define CONTROL_F_ALL                                                                              \
    (CONTROL_F_GUEST_CSUM | CONTROL_F_GUEST_OFFLOADS | CONTROL_F_STATUS | CONTROL_F_VQ |           \
     CONTROL_F_RX | CONTROL_F_VLAN | CONTROL_F_RX_EXTRA | CONTROL_F_ANNOUNCE | CONTROL_F_MQ |      \
     CONTROL_F_MAC_ADDR | CONTROL_F_STATS | CONTROL_F_HASH_TUNNEL | CONTROL_F_VQ_COALESCE |        \
     CONTROL_F_COALESCE | CONTROL_F_HASH_REPORT | CONTROL_F_RSS)

struct control_sample {
    const char *name;
    uint64_t any; /* one of these features brings the command */
    uint32_t len; /* all of it is needed; more is ignored */
    uint32_t room;
    uint32_t ack_at; /* in the room */
    uint8_t bytes[CONTROL_SAMPLE_MAX];
};

extern const struct control_sample control_samples[];
extern const unsigned control_sample_count;
