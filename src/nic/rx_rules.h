/* SPDX-License-Identifier: MIT */
/*
 * What the driver asked of reception by way of the control queue, as plain data: the control plane
 * has one copy, which commands change; the data plane has another, replaced while it is paused.
 */
#pragma once

#include "nic/hash.h"
#include "nic/rx_filter.h"

enum {
    RSS_TABLE_MAX = 128, /* entries, a power of two (virtio 1.4, 5.1.4) */
};

/* virtio 1.4, 5.1.6.5.7.1 */
struct rss {
    uint8_t active; /* an RSS_CONFIG was taken; else frames go where the endpoint delivers them */
    uint16_t mask;
    uint16_t unclassified;         /* pair for frames that have no hash */
    uint16_t table[RSS_TABLE_MAX]; /* pairs, by hash & mask */
};

struct rx_rules {
    struct rx_filter filter;
    struct rss rss;
    struct hash_config hash; /* for RSS and HASH_REPORT */
};
