/* SPDX-License-Identifier: MIT */
/* What the operator changes on a card at run time: link, speed, MTU, address, announcement. */
#include "run/coordinator_parts.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "nic/rarp.h"

enum {
    BLIP_LOOK_MS = 5, /* between two looks whether the driver has read that the link is down */
    BLIP_MAX_MS = 200,
};

/* What the driver wrote. Front-ends that tell no status leave it 0. */
static uint8_t driver_status(const struct coordinator *coordinator)
{
    return coordinator->nic.status & (uint8_t)~NIC_STATUS_NEEDS_RESET;
}

/* GEN-CFG-05: a driver that is not done with its set-up reads config space by itself. */
void coordinator_tell_config(struct coordinator *coordinator)
{
    uint8_t status = driver_status(coordinator);

    if (status != 0 && !(status & NIC_STATUS_DRIVER_OK))
        return;
    if (coordinator->listener.config_changed != NULL)
        coordinator->listener.config_changed(coordinator->listener.context);
}

/* The control queue is this thread's; why another one rests is not looked at while it runs. */
static int queue_rests(struct coordinator *coordinator, unsigned queue)
{
    return queue == nic_control_queue(&coordinator->nic)
               ? coordinator->control.queue.resting & VIRTQUEUE_DISABLED
               : !coordinator->enabled[queue];
}

/* User Mode Linux never stops a ring: with no driver there, all of them rest. */
static int any_queue_runs(struct coordinator *coordinator)
{
    unsigned count = nic_queue_count(&coordinator->nic);

    for (unsigned i = 0; i < count; i++) {
        if (coordinator_queue(coordinator, i)->running && !queue_rests(coordinator, i))
            return 1;
    }
    return 0;
}

static int driver_works(struct coordinator *coordinator)
{
    uint8_t status = driver_status(coordinator);

    return status == 0 ? any_queue_runs(coordinator) : (status & NIC_STATUS_DRIVER_OK) != 0;
}

/* What it agreed to holds from here on. */
static int driver_chose(struct coordinator *coordinator)
{
    return coordinator->nic.status & (NIC_STATUS_FEATURES_OK | NIC_STATUS_DRIVER_OK) ||
           any_queue_runs(coordinator);
}

static int can_announce(struct coordinator *coordinator)
{
    const struct features *agreed = &coordinator->nic.agreed;

    return features_has(agreed, NET_F_GUEST_ANNOUNCE) && features_has(agreed, NET_F_STATUS) &&
           driver_works(coordinator);
}

/* ---- link, speed, duplex ---------------------------------------------------------------- */

void coordinator_set_link(struct coordinator *coordinator, enum nic_link link)
{
    int visible = nic_set_link_admin(&coordinator->nic, link);

    coordinator_update_all(coordinator);
    if (visible)
        coordinator_tell_config(coordinator);
}

static void blip_begin(struct coordinator *coordinator)
{
    coordinator->blip_end_ns = clock_now_ns() + BLIP_MAX_MS * CLOCK_MILLISECOND_NS;
    nic_set_link_blip(&coordinator->nic, NIC_LINK_DOWN);
    coordinator_update_all(coordinator);
    coordinator_tell_config(coordinator);
    loop_timer_start(coordinator->loop, &coordinator->blip, BLIP_LOOK_MS * CLOCK_MILLISECOND_NS);
}

void coordinator_blip_look(struct loop_timer *timer)
{
    struct coordinator *coordinator = CONTAINER_OF(timer, struct coordinator, blip);
    struct nic *nic = &coordinator->nic;
    int visible;

    if (!nic->link_read && clock_now_ns() < coordinator->blip_end_ns) {
        loop_timer_start(coordinator->loop, timer, BLIP_LOOK_MS * CLOCK_MILLISECOND_NS);
        return;
    }
    visible = nic_set_speed(nic, coordinator->next_speed_mbps, coordinator->next_duplex);
    visible |= nic_set_link_blip(nic, NIC_LINK_UP);
    visible |= coordinator_announce_due(coordinator);
    coordinator_update_all(coordinator);
    if (visible)
        coordinator_tell_config(coordinator);
}

/* virtio 1.4, 5.1.4.1: not while LINK_UP is set, and Linux reads both only when the link comes up.
 * So a driver that watches the link sees it go and come. */
static void rate_change(struct coordinator *coordinator, uint32_t mbps, enum nic_duplex duplex)
{
    struct nic *nic = &coordinator->nic;
    int watched = features_has(&nic->agreed, NET_F_STATUS) &&
                  features_has(&nic->agreed, NET_F_SPEED_DUPLEX) && driver_works(coordinator);

    coordinator->next_speed_mbps = mbps;
    coordinator->next_duplex = duplex;
    if (nic->link_blip || (mbps == nic->config.speed_mbps && duplex == nic->duplex))
        return;
    if (watched && nic_link_up(nic))
        blip_begin(coordinator);
    else if (nic_set_speed(nic, mbps, duplex))
        coordinator_tell_config(coordinator);
}

void coordinator_set_speed(struct coordinator *coordinator, uint32_t mbps)
{
    const struct nic *nic = &coordinator->nic;

    coordinator->follows_speed = 0;
    rate_change(coordinator, mbps, nic->link_blip ? coordinator->next_duplex : nic->duplex);
}

void coordinator_set_duplex(struct coordinator *coordinator, enum nic_duplex duplex)
{
    const struct nic *nic = &coordinator->nic;

    rate_change(coordinator, nic->link_blip ? coordinator->next_speed_mbps : nic->config.speed_mbps,
                duplex);
}

/* ---- what follows from another endpoint -------------------------------------------------- */

static int follow_mtu(struct coordinator *coordinator)
{
    const struct nic *nic = &coordinator->nic;

    if (!coordinator->follows_mtu || nic->caps.mtu < NIC_MTU_MIN ||
        (driver_chose(coordinator) && features_has(&nic->agreed, NET_F_MTU)))
        return 0;
    nic_set_mtu(&coordinator->nic, (uint16_t)MIN(nic->caps.mtu, UINT16_MAX));
    return 1;
}

void coordinator_follow_endpoint(struct coordinator *coordinator)
{
    const struct nic *nic = &coordinator->nic;

    if (coordinator->follows_speed)
        rate_change(coordinator, nic->caps.speed_mbps,
                    nic->link_blip ? coordinator->next_duplex : nic->duplex);
    if (!follow_mtu(coordinator) && nic->caps.mtu != 0 && nic->caps.mtu < nic->config.mtu)
        log_warning("%s: endpoint %s carries packets of up to %u bytes; the guest may send %u",
                    coordinator->name, coordinator->spec.kind, nic->caps.mtu, nic->config.mtu);
}

void coordinator_renew(struct coordinator *coordinator)
{
    follow_mtu(coordinator);
    nic_renew_offer(&coordinator->nic);
}

void coordinator_replug(struct coordinator *coordinator)
{
    struct nic *nic = &coordinator->nic;

    if (!features_has(&nic->agreed, NET_F_STATUS) || !driver_works(coordinator)) {
        coordinator_announce_due(coordinator);
        return;
    }
    coordinator->next_speed_mbps = nic->config.speed_mbps;
    coordinator->next_duplex = (enum nic_duplex)nic->duplex;
    blip_begin(coordinator);
}

/* For a driver that can't be asked: switches learn where it is, but not its IP addresses. */
CONTROL_ONLY static void announce_for_driver(struct coordinator *coordinator)
{
    uint8_t frame[RARP_FRAME_LEN];

    rarp_frame_make(frame, coordinator->nic.mac);
    coordinator_send_frame(coordinator, frame, sizeof(frame));
}

int coordinator_announce_due(struct coordinator *coordinator)
{
    struct nic *nic = &coordinator->nic;

    if (!coordinator->announce_due || !nic_link_up(nic))
        return 0;
    coordinator->announce_due = 0;
    if (can_announce(coordinator))
        return nic_set_announce(nic);
    if (driver_works(coordinator))
        announce_for_driver(coordinator);
    return 0;
}

/* ---- identity --------------------------------------------------------------------------- */

/* virtio 1.4, 5.1.4.1: never changed once it was set, for the driver that negotiated it. */
int coordinator_set_mtu(struct coordinator *coordinator, uint16_t mtu, struct error *err)
{
    const struct nic *nic = &coordinator->nic;

    if (mtu < NIC_MTU_MIN)
        return error_set(err, EINVAL, "an MTU is %d to 65535, not %u", NIC_MTU_MIN, mtu);
    if (mtu != nic->config.mtu && driver_chose(coordinator) &&
        features_has(&nic->agreed, NET_F_MTU))
        return error_set(err, EBUSY,
                         "the guest's driver works with an MTU of %u, which may not change under "
                         "it; reset or re-plug the guest's driver first",
                         nic->config.mtu);
    nic_set_mtu(&coordinator->nic, mtu);
    coordinator->follows_mtu = 0;
    return 0;
}

int coordinator_set_mac(struct coordinator *coordinator, const uint8_t mac[6], struct error *err)
{
    static const uint8_t zero[6];
    int visible;

    if (memcmp(mac, zero, sizeof(zero)) == 0)
        return error_set(err, EINVAL, "the address is all zeros; a card needs one of its own");
    if (mac[0] & 1)
        return error_set(err, EINVAL,
                         "the address is a multicast one (its first byte is odd); a card needs a "
                         "unicast one");
    visible = nic_set_mac(&coordinator->nic, mac);
    if (coordinator->endpoint != NULL && coordinator->endpoint->ops->set_mac != NULL)
        coordinator->endpoint->ops->set_mac(coordinator->endpoint, mac);
    coordinator_update_all(coordinator);
    if (visible)
        coordinator_tell_config(coordinator);
    return 0;
}

/* CTL-ANN-01: once, until the driver has acknowledged it by its control queue. */
int coordinator_announce(struct coordinator *coordinator, struct error *err)
{
    const struct features *agreed = &coordinator->nic.agreed;

    if (!driver_works(coordinator))
        return error_set(err, EAGAIN,
                         "no driver is at work behind the card that could announce itself; start "
                         "the guest's driver first");
    if (!features_has(agreed, NET_F_GUEST_ANNOUNCE) || !features_has(agreed, NET_F_STATUS))
        return error_set(err, EOPNOTSUPP,
                         "the guest's driver can't be asked to announce itself, because %s was "
                         "not agreed on; let the guest send a gratuitous ARP itself",
                         features_has(agreed, NET_F_STATUS) ? "guest_announce" : "status");
    if (nic_set_announce(&coordinator->nic))
        coordinator_tell_config(coordinator);
    return 0;
}
