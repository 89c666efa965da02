/* SPDX-License-Identifier: MIT */
/*
 * The device model of one network card: what it offers, what was agreed, its status and config
 * space. Control plane only, used by the control thread; the data plane reads the pair_rules that
 * come out of it. Knows no transport, no thread and no endpoint kind.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "endpoint/endpoint.h"
#include "nic/features.h"
#include "nic/pair.h"
#include "nic/rx_rules.h"

enum {
    NIC_QUEUE_PAIRS_MAX = 128,
    NIC_CONFIG_LEN = 28, /* virtio 1.4, 5.1.4 */
    NIC_MTU_MIN = 68,
    NIC_SPEED_UNKNOWN = -1,
};

/* virtio 1.4, 2.1 */
enum nic_status {
    NIC_STATUS_ACKNOWLEDGE = 1,
    NIC_STATUS_DRIVER = 2,
    NIC_STATUS_DRIVER_OK = 4,
    NIC_STATUS_FEATURES_OK = 8,
    NIC_STATUS_SUSPEND = 16,
    NIC_STATUS_NEEDS_RESET = 64,
    NIC_STATUS_FAILED = 128,
};

/* virtio 1.4, 5.1.4: config field `status` */
enum nic_net_status {
    NIC_NET_LINK_UP = 1,
    NIC_NET_ANNOUNCE = 2,
};

/* As config space says it; X-06: the header files of every driver agree on these. */
enum nic_duplex {
    NIC_DUPLEX_HALF = 0,
    NIC_DUPLEX_FULL = 1,
};

enum nic_link {
    NIC_LINK_DOWN,
    NIC_LINK_UP,
};

struct nic_config {
    uint8_t mac[6];      /* unicast, not zero */
    uint16_t mtu;        /* 0: none is offered */
    uint32_t speed_mbps; /* 0: unknown */
    unsigned queue_pairs;
    unsigned queue_size_max;
    struct features masked; /* what this transport can't carry is never offered */
    /* Checksums and segmentation stand in for what the endpoint can't do: every offload is offered.
     */
    uint8_t software_offloads;
};

/* virtio 1.4, 5.1.6.5.6.1; both 0: an interrupt for each batch that is shown. */
struct nic_coalesce {
    uint32_t max_packets;
    uint32_t max_usecs;
};

/* What becomes of offloads that the endpoint can't do itself. */
enum nic_stand_in {
    NIC_NOTHING_STANDS_IN,
    NIC_SOFTWARE_STANDS_IN,
};

struct nic {
    struct nic_config config;  /* what the operator configured */
    struct endpoint_caps caps; /* of the endpoint of now, or the last that there was */

    struct features offered;         /* fixed while somebody goes by it: see nic_renew_offer */
    struct features transport_offer; /* of that, what nic_offer has added */
    struct features agreed;
    uint8_t status;        /* NIC_STATUS_… */
    enum byte_order order; /* of a legacy driver's words; see nic_byte_order */

    /* Set by the driver's commands, at their defaults after reset. */
    unsigned active_pairs;
    uint8_t mac[6];           /* config.mac until the driver sets another */
    uint32_t rx_offloads_off; /* ENDPOINT_… that were agreed and then switched off at run time */
    struct rx_rules rx_rules;
    struct nic_coalesce coalesce_rx, coalesce_tx; /* for all: of queues that start later too */
    struct nic_coalesce coalesce[2 * NIC_QUEUE_PAIRS_MAX]; /* by queue */

    int announce; /* the driver is asked to announce itself and has not said that it did */

    int link_admin;    /* what the operator wants */
    int link_endpoint; /* what the endpoint has */
    int link_blip;     /* down for a moment: the driver reads speed and duplex anew when it is up */
    int link_read;     /* the driver has read the link since it last changed */
    uint8_t duplex;    /* enum nic_duplex */

    uint32_t generation; /* bumped lazily: when a read follows a change */
    int config_changed;  /* since the last read */
};

void nic_init(struct nic *nic, const struct nic_config *config, const struct endpoint_caps *caps);

/* Adds to the offer what is the transport's to do; before there is a driver. */
void nic_offer(struct nic *nic, enum feature_bit bit);

/* Could an endpoint with these capabilities stand behind the card, for the driver that there is?
 * -EOPNOTSUPP and a sentence if it agreed to what can't be had then. */
int nic_check_endpoint(const struct nic *nic, const struct endpoint_caps *caps,
                       enum nic_stand_in stand_in, struct error *err);
/* It does, from now on. The offer stays, for a driver or front-end that has read it. */
void nic_set_endpoint(struct nic *nic, const struct endpoint_caps *caps,
                      enum nic_stand_in stand_in);
/* Nobody remembers the offer any more: it follows the endpoint of now. */
void nic_renew_offer(struct nic *nic);

/* Back to power-up; identity and link stay. The queues are stopped already. */
void nic_reset(struct nic *nic);

/* Takes the driver's choice if it can (GEN-FT-03): inside the offer, closed. -EINVAL and a
 * sentence. */
int nic_agree(struct nic *nic, const struct features *accepted, struct error *err);

/* The driver writes the status register; returns what it reads then. 0 is a reset: the caller stops
 * the queues first. FEATURES_OK sticks only if `accepted` could be agreed on; NULL: it could not.
 */
uint8_t nic_write_status(struct nic *nic, uint8_t value, const struct features *accepted);
void nic_needs_reset(struct nic *nic);

/* The driver's own address, until the next reset. */
void nic_set_driver_mac(struct nic *nic, const uint8_t mac[6]);
/* The driver says that it told the network where it is (virtio 1.4, 5.1.6.5.4). */
void nic_announced(struct nic *nic);
/* The receive offloads that the driver wants from now on, as bits of GUEST_OFFLOADS_SET. -EINVAL:
 * one of them is unknown or was not agreed on. */
int nic_set_guest_offloads(struct nic *nic, uint64_t wanted);
/* A queue starts anew: how its interrupts are coalesced is what was last said for all of its kind
 * (virtio 1.4, 5.1.6.5.10). */
void nic_queue_started(struct nic *nic, unsigned queue);

/* Of the words that the driver shares: little unless it is a legacy one that said otherwise. */
enum byte_order nic_byte_order(const struct nic *nic);

/* Bytes behind the end read 0 (GEN-CFG-06). All fields are read-only to the driver. */
void nic_read_config(struct nic *nic, uint32_t offset, void *ret_bytes, uint32_t len);
uint32_t nic_config_generation(struct nic *nic);

/* Index of the control queue as negotiated (virtio 1.4, 5.1.2), or UINT_MAX without one. */
unsigned nic_control_queue(const struct nic *nic);
/* Pairs that this driver can use: one without MQ and RSS. */
unsigned nic_pairs_agreed(const struct nic *nic);
/* Queues that a transport shows before negotiation is final. */
unsigned nic_queue_count(const struct nic *nic);

/* What the data plane needs of the agreement. */
void nic_pair_rules(const struct nic *nic, struct pair_rules *ret_rules);
/* rx_offloads that the endpoint may use towards this driver. */
uint32_t nic_rx_offloads(const struct nic *nic);

void nic_inspect(const struct nic *nic, struct inspect *visitor);

/* ---- nic_set.c: what changes under a driver. 1 if it can see the difference and is to be told. */

int nic_link_up(const struct nic *nic);
int nic_set_link(struct nic *nic, int endpoint_up);
int nic_set_link_admin(struct nic *nic, enum nic_link link);
/* Begins (DOWN) and ends (UP) the blip that speed and duplex need while the link is up. */
int nic_set_link_blip(struct nic *nic, enum nic_link link);
int nic_set_speed(struct nic *nic, uint32_t mbps, enum nic_duplex duplex);
/* The configured address; the driver's own, where it has set one, stays. */
int nic_set_mac(struct nic *nic, const uint8_t mac[6]);
int nic_set_announce(struct nic *nic);
/* For the next negotiation. */
void nic_set_mtu(struct nic *nic, uint16_t mtu);
