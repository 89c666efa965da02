/* SPDX-License-Identifier: MIT */
#include "control_sample.h"

#define KEY_40                                                                                     \
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,      \
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,  \
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa

/* Everything is little-endian: all of these features come with VERSION_1. */
const struct control_sample control_samples[] = {
    {"promisc", CONTROL_F_RX, 3, 1, 0, {0, 0, 1}},
    {"allmulti", CONTROL_F_RX, 3, 1, 0, {0, 1, 1}},
    {"alluni", CONTROL_F_RX_EXTRA, 3, 1, 0, {0, 2, 1}},
    {"nomulti", CONTROL_F_RX_EXTRA, 3, 1, 0, {0, 3, 1}},
    {"nouni", CONTROL_F_RX_EXTRA, 3, 1, 0, {0, 4, 1}},
    {"nobcast", CONTROL_F_RX_EXTRA, 3, 1, 0, {0, 5, 1}},
    {"mac table",
     CONTROL_F_RX | CONTROL_F_MAC_ADDR,
     2 + 4 + 6 + 4 + 2 * 6,
     1,
     0,
     {1, 0, 1, 0, 0,    0, 0x52, 0x54, 0,    0,    7, 7, 2, 0,
      0, 0, 1, 0, 0x5e, 0, 0,    1,    0x33, 0x33, 0, 0, 0, 1}},
    {"mac address", CONTROL_F_RX | CONTROL_F_MAC_ADDR, 8, 1, 0, {1, 1, 0x52, 0x54, 0, 0, 9, 9}},
    {"vlan add", CONTROL_F_VLAN, 4, 1, 0, {2, 0, 100, 0}},
    {"vlan del", CONTROL_F_VLAN, 4, 1, 0, {2, 1, 100, 0}},
    {"announce ack", CONTROL_F_ANNOUNCE, 2, 1, 0, {3, 0}},
    {"pairs", CONTROL_F_MQ, 4, 1, 0, {4, 0, CONTROL_SAMPLE_PAIRS, 0}},
    {"rss", CONTROL_F_RSS, 2 + 8 + 4 * 2 + 3 + 40, 1, 0, {4, 1, 0x3f, 0, 0,  0,     3, 0,
                                                          1, 0, 0,    0, 1,  0,     1, 0,
                                                          0, 0, 2,    0, 40, KEY_40}},
    {"hash",
     CONTROL_F_HASH_REPORT,
     2 + 4 + 8 + 1 + 40,
     1,
     0,
     {4, 2, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 40, KEY_40}},
    {"guest offloads", CONTROL_F_GUEST_OFFLOADS, 10, 1, 0, {5, 0, 2, 0, 0, 0, 0, 0, 0, 0}},
    {"coalesce tx", CONTROL_F_COALESCE, 10, 1, 0, {6, 0, 8, 0, 0, 0, 50, 0, 0, 0}},
    {"coalesce rx", CONTROL_F_COALESCE, 10, 1, 0, {6, 1, 16, 0, 0, 0, 60, 0, 0, 0}},
    {"coalesce queue",
     CONTROL_F_VQ_COALESCE,
     14,
     1,
     0,
     {6, 2, 1, 0, 0xff, 0xff, 4, 0, 0, 0, 70, 0, 0, 0}},
    {"coalesce get", CONTROL_F_VQ_COALESCE, 6, 9, 8, {6, 3, 1, 0, 0xff, 0xff}},
    {"hash tunnel", CONTROL_F_HASH_TUNNEL, 6, 1, 0, {7, 0, 0x10, 0, 0, 0}},
    {"stats query", CONTROL_F_STATS, 2, 9, 0, {8, 0}},
    {"stats get",
     CONTROL_F_STATS,
     2 + 16,
     1 + 56,
     0,
     {8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}},
};

const unsigned control_sample_count = sizeof(control_samples) / sizeof(control_samples[0]);
