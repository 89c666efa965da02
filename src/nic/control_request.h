/* SPDX-License-Identifier: MIT */
/*
 * What the files of the control queue share: a command as its handler sees it. Included by
 * control*.c and stats.c only.
 */
#pragma once

#include <string.h>

#include "nic/control.h"

/* virtio 1.4, 5.1.6.5: the ack. */
enum control_ack {
    CONTROL_OK = 0,
    CONTROL_ERR = 1,
};

/* The device's part of a message, written front to back. */
struct control_answer {
    const struct iovec *iov; /* borrowed: writable spans, none empty */
    uint32_t count;
    uint32_t offset;  /* in the first of them */
    uint32_t written; /* bytes up to here */
};

struct control_request {
    struct nic_control *control;
    struct nic *nic;
    const uint8_t *data; /* borrowed, private: what came behind class and command */
    uint32_t len;
    enum byte_order order;
    struct control_answer answer;
};

/* Checks all of the command before it changes anything. */
typedef enum control_ack control_handler(struct control_request *request);

/* What does not fit is left out. */
void control_answer_put(struct control_answer *answer, const void *bytes, uint32_t len);

/* Words of the data; the caller checked that they are there. */
static inline uint16_t request_u16(const struct control_request *request, uint32_t offset)
{
    le16 word;

    memcpy(&word, request->data + offset, sizeof(word));
    return word16_get(word, request->order);
}

static inline uint32_t request_u32(const struct control_request *request, uint32_t offset)
{
    le32 word;

    memcpy(&word, request->data + offset, sizeof(word));
    return word32_get(word, request->order);
}

static inline uint64_t request_u64(const struct control_request *request, uint32_t offset)
{
    le64 word;

    memcpy(&word, request->data + offset, sizeof(word));
    return word64_get(word, request->order);
}

/* A receive or transmit queue that this driver can have. */
static inline int control_queue_exists(const struct nic *nic, unsigned queue)
{
    return queue < 2 * nic_pairs_agreed(nic);
}

/* ---- control_rx.c ----------------------------------------------------------------------- */

control_handler control_rx_promisc, control_rx_allmulti, control_rx_alluni, control_rx_nomulti,
    control_rx_nouni, control_rx_nobcast;
control_handler control_mac_table_set, control_mac_addr_set;
control_handler control_vlan_add, control_vlan_del;
control_handler control_announce_ack;

/* ---- control_mq.c ----------------------------------------------------------------------- */

control_handler control_mq_pairs_set, control_mq_rss_config, control_mq_hash_config;
control_handler control_hash_tunnel_set;

/* ---- control_tune.c --------------------------------------------------------------------- */

control_handler control_guest_offloads_set;
control_handler control_coalesce_tx_set, control_coalesce_rx_set;
control_handler control_coalesce_queue_set, control_coalesce_queue_get;
