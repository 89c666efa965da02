/* SPDX-License-Identifier: MIT */
/*
 * Where the guest is now: the front-end has a frame sent in its name (SEND_RARP), or a guest that
 * arrives is asked to announce itself, where it said that it can and its answer reaches us.
 */
#include "transport/vhost_user_call.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "nic/rarp.h"

enum {
    RARPS_AT_ONCE = 8, /* QEMU sends five, 50 to 450 ms apart */
    RARP_EACH_MS = 100,
};

/* VU-RARP-01: a front-end that sends more than a switch could want floods nobody. */
static int limit_pass(struct vhost_user_announce *announce)
{
    uint64_t now = clock_now_ns();
    uint64_t since = now - announce->refilled_ns;
    uint64_t earned = since / (RARP_EACH_MS * CLOCK_MILLISECOND_NS);

    if (earned >= RARPS_AT_ONCE - announce->left) {
        announce->left = RARPS_AT_ONCE;
        announce->refilled_ns = now;
    } else {
        announce->left += (unsigned)earned;
        announce->refilled_ns += earned * RARP_EACH_MS * CLOCK_MILLISECOND_NS;
    }
    if (announce->left == 0)
        return 0;
    announce->left--;
    return 1;
}

int vhost_user_send_rarp(struct vhost_user_call *call)
{
    static const uint8_t zero[6];
    struct vhost_user *vhost_user = call->vhost_user;
    struct vhost_user_announce *announce = &vhost_user->announce;
    const uint8_t *mac = call->payload->bytes;
    uint8_t frame[RARP_FRAME_LEN];

    if (!(vhost_user->protocol_features & VHOST_USER_PROTOCOL_RARP))
        return error_set(call->err, EINVAL, "the protocol feature RARP was not agreed on");
    if (mac[0] & 1 || memcmp(mac, zero, sizeof(zero)) == 0)
        return error_set(call->err, EINVAL,
                         "%02x:%02x:%02x:%02x:%02x:%02x is no card's own address", mac[0], mac[1],
                         mac[2], mac[3], mac[4], mac[5]);
    if (!limit_pass(announce)) {
        announce->limited++;
        return 0;
    }
    rarp_frame_make(frame, mac);
    if (coordinator_send_frame(vhost_user->coordinator, frame, sizeof(frame)) == 0)
        announce->sent++;
    else
        announce->unsent++;
    return 0;
}

/* A ring that goes on where it was left by another back-end. Front-ends differ in how they say that
 * a packed one is new. */
static int goes_on(const struct vhost_user_ring *ring)
{
    const struct nic *nic = coordinator_nic(ring->owner->coordinator);

    return features_has(&nic->agreed, F_RING_PACKED) ? (ring->base & 0x7fff7fff) != 0
                                                     : ring->base != 0;
}

void vhost_user_announce_ring(struct vhost_user_ring *ring)
{
    if (!ring->was_started && goes_on(ring))
        ring->owner->announce.due = 1;
    ring->was_started = 1;
    vhost_user_announce_arrival(ring->owner);
}

/* Later if the driver is not up to it yet; never for one that does not know how, or whose
 * acknowledgement would end in the VMM. */
void vhost_user_announce_arrival(struct vhost_user *vhost_user)
{
    struct nic *nic = coordinator_nic(vhost_user->coordinator);
    unsigned control = nic_control_queue(nic);

    if (!vhost_user->announce.due || control >= vhost_user->ring_count ||
        !coordinator_queue_running(vhost_user->coordinator, control))
        return;
    if (coordinator_announce(vhost_user->coordinator, NULL) != -EAGAIN)
        vhost_user->announce.due = 0;
}

void vhost_user_announce_inspect(const struct vhost_user *vhost_user, struct inspect *visitor)
{
    const struct vhost_user_announce *announce = &vhost_user->announce;

    inspect_enter(visitor, "rarp");
    inspect_number(visitor, "sent", announce->sent);
    inspect_number(visitor, "unsent", announce->unsent);
    inspect_number(visitor, "limited", announce->limited);
    inspect_leave(visitor);
}
