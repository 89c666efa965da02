/* SPDX-License-Identifier: MIT */
/* Requests about the whole device: features, status, config space, the back-end's channel. */
#include "transport/vhost_user_call.h"

#include <errno.h>

#include "base/checked.h"

static const uint64_t protocol_features_usual =
    VHOST_USER_PROTOCOL_MQ | VHOST_USER_PROTOCOL_LOG_SHMFD | VHOST_USER_PROTOCOL_RARP |
    VHOST_USER_PROTOCOL_REPLY_ACK | VHOST_USER_PROTOCOL_MTU | VHOST_USER_PROTOCOL_BACKEND_REQ |
    VHOST_USER_PROTOCOL_CROSS_ENDIAN | VHOST_USER_PROTOCOL_CONFIG |
    VHOST_USER_PROTOCOL_BACKEND_SEND_FD | VHOST_USER_PROTOCOL_INFLIGHT_SHMFD |
    VHOST_USER_PROTOCOL_RESET_DEVICE | VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS |
    VHOST_USER_PROTOCOL_STATUS | VHOST_USER_PROTOCOL_DEVICE_STATE;

/* ---- features, status, config ----------------------------------------------------------- */

int vhost_user_get_features(struct vhost_user_call *call)
{
    return vhost_user_reply_u64(call,
                                vhost_user_call_nic(call)->offered.word[0] | VHOST_USER_F_ALL);
}

/* Without CTRL_VQ the VMM ends the control queue itself (VU-MQ-02): what is commanded by it is not
 * ours to keep to, though front-ends pass some of its features on. HASH_REPORT stays, and reports
 * nothing: it is in each header. */
static struct features features_from_wire(const struct nic *nic, uint64_t wire)
{
    static const enum feature_bit commanded[] = {
        NET_F_CTRL_GUEST_OFFLOADS, NET_F_CTRL_RX,   NET_F_CTRL_VLAN,     NET_F_CTRL_RX_EXTRA,
        NET_F_GUEST_ANNOUNCE,      NET_F_MQ,        NET_F_CTRL_MAC_ADDR, NET_F_DEVICE_STATS,
        NET_F_VQ_NOTF_COAL,        NET_F_NOTF_COAL, NET_F_RSS,           NET_F_HASH_TUNNEL,
    };
    struct features features = {.word = {wire & ~VHOST_USER_F_ALL}};

    if (features_has(&features, NET_F_CTRL_VQ))
        return features;
    for (size_t i = 0; i < ARRAY_COUNT(commanded); i++) {
        if (features_has(&nic->offered, commanded[i]))
            features_remove(&features, commanded[i]);
    }
    return features;
}

/* The header size must not change under live rings. */
static int refuse_live_rings(const struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;

    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        if (vhost_user_ring_running(ring) && ring->enabled)
            return vhost_user_refuse_live(call, ring);
    }
    return 0;
}

/* Rings that run, but none that is enabled: the driver left without a word, as UML's does. What
 * comes now is another one. */
static int driver_has_left(struct vhost_user *vhost_user)
{
    int running = 0;

    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        if (!vhost_user_ring_running(ring))
            continue;
        if (ring->enabled)
            return 0;
        running = 1;
    }
    return running;
}

/* GEN-RST-03, GEN-RST-04: to the guest it was a reset. */
static void begin_anew(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        vhost_user_ring_stop(ring);
        vhost_user_inflight_forget(ring);
        ring->has_kick = ring->has_addr = 0; /* those of the driver that has left */
    }
    vhost_user_iommu_rest(vhost_user);
    vhost_user_state_forget(vhost_user);
    coordinator_reset(vhost_user->coordinator);
}

/* A front-end that begins or ends to copy the guest's memory, on live rings (VU-ST-07). */
static int only_log_changes(const struct vhost_user *vhost_user, uint64_t wire)
{
    return (wire ^ vhost_user->features) == VHOST_USER_F_LOG_ALL &&
           wire & VHOST_USER_F_PROTOCOL_FEATURES && !vhost_user->features_refused;
}

int vhost_user_set_features(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    uint64_t wire = call->payload->u64;
    struct features features = features_from_wire(vhost_user_call_nic(call), wire);
    int result = 0;

    if (only_log_changes(vhost_user, wire)) {
        vhost_user->features = wire;
        vhost_user_log_update(vhost_user);
        return 0;
    }
    vhost_user->features_refused = 1;
    if (driver_has_left(vhost_user) || !vhost_user_state_is_of(vhost_user, &features))
        begin_anew(vhost_user);
    else if (!features_equal(&features, &vhost_user_call_nic(call)->agreed))
        result = refuse_live_rings(call);
    if (result == 0)
        result = vhost_user_iommu_prepare(vhost_user, wire, call->err);
    if (result == 0)
        result = coordinator_agree(vhost_user->coordinator, &features, call->err);
    if (result < 0)
        return result;
    vhost_user->features = wire;
    vhost_user->features_refused = 0;
    vhost_user_iommu_apply(vhost_user);
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        if (!(wire & VHOST_USER_F_PROTOCOL_FEATURES))
            vhost_user_ring_enable(&vhost_user->ring[i], 1);
    }
    vhost_user_log_update(vhost_user);
    return 0;
}

/* User Mode Linux gives no kick fd at all where notices in band are offered, and QEMU 7.2 takes
 * whatever bit it knows: they are offered only to whom the operator wants to have them. */
static uint64_t protocol_features_offered(const struct vhost_user_call *call)
{
    return protocol_features_usual | call->vhost_user->protocol_features_more;
}

int vhost_user_get_protocol_features(struct vhost_user_call *call)
{
    return vhost_user_reply_u64(call, protocol_features_offered(call));
}

/* VU-PF-02: the session ends, as there is no other way to say no. */
static int in_band_check(struct vhost_user_call *call)
{
    const uint64_t needed = VHOST_USER_PROTOCOL_REPLY_ACK | VHOST_USER_PROTOCOL_BACKEND_REQ;

    if (!(call->payload->u64 & VHOST_USER_PROTOCOL_INBAND_NOTIFICATIONS))
        return 0;
    if ((call->payload->u64 & needed) != needed)
        return error_set(call->err, EPROTO,
                         "INBAND_NOTIFICATIONS needs the protocol features REPLY_ACK and"
                         " BACKEND_REQ");
    return vhost_user_channel_prepare(call->vhost_user, call->err);
}

int vhost_user_set_protocol_features(struct vhost_user_call *call)
{
    uint64_t unknown = call->payload->u64 & ~protocol_features_offered(call);
    int result;

    if (unknown != 0)
        return error_set(call->err, EINVAL,
                         "protocol features 0x%llx were accepted but never offered",
                         (unsigned long long)unknown);
    result = in_band_check(call);
    if (result == 0)
        call->vhost_user->protocol_features = call->payload->u64;
    return result;
}

int vhost_user_get_queue_num(struct vhost_user_call *call)
{
    if (call->vhost_user->queue_unit == VHOST_USER_QUEUE_UNIT_PAIRS)
        return vhost_user_reply_u64(call, vhost_user_call_nic(call)->config.queue_pairs);
    return vhost_user_reply_u64(call, call->vhost_user->ring_count);
}

int vhost_user_set_owner(struct vhost_user_call *call)
{
    (void)call;
    return 0;
}

/* Old front-ends send it where RESET_DEVICE is meant, others at disconnect: rings rest, nothing is
 * lost. */
int vhost_user_reset_owner(struct vhost_user_call *call)
{
    for (unsigned i = 0; i < call->vhost_user->ring_count; i++)
        vhost_user_ring_enable(&call->vhost_user->ring[i], 0);
    return 0;
}

int vhost_user_reset_device(struct vhost_user_call *call)
{
    vhost_user_state_leave(call->vhost_user);
    vhost_user_inflight_forget_all(call->vhost_user);
    vhost_user_rings_reset(call->vhost_user);
    call->vhost_user->features = 0;
    call->vhost_user->features_refused = 0;
    vhost_user_iommu_apply(call->vhost_user);
    return 0;
}

int vhost_user_set_status(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    struct features accepted = features_from_wire(vhost_user_call_nic(call), vhost_user->features);

    if (call->payload->u64 > UINT8_MAX)
        return error_set(call->err, EINVAL, "device status 0x%llx is more than a byte",
                         (unsigned long long)call->payload->u64);
    if (call->payload->u64 == 0)
        return vhost_user_reset_device(call);
    nic_write_status(vhost_user_call_nic(call), (uint8_t)call->payload->u64,
                     vhost_user->features_refused ? NULL : &accepted);
    vhost_user_announce_arrival(vhost_user);
    return 0;
}

int vhost_user_get_status(struct vhost_user_call *call)
{
    return vhost_user_reply_u64(call, vhost_user_call_nic(call)->status);
}

/* A reply of size 0 is how this request says no (VU-SEC-09). */
int vhost_user_get_config(struct vhost_user_call *call)
{
    struct vhost_user_config *config = &call->payload->config;

    if (call->size < VHOST_USER_CONFIG_HEADER ||
        config->size != call->size - VHOST_USER_CONFIG_HEADER ||
        !range_within(config->offset, config->size, VHOST_USER_CONFIG_MAX))
        return 0;
    nic_read_config(vhost_user_call_nic(call), config->offset, config->region, config->size);
    call->reply_size = VHOST_USER_CONFIG_HEADER + config->size;
    return 0;
}

int vhost_user_set_config(struct vhost_user_call *call)
{
    return error_set(call->err, EPERM, "config space of a network device is read-only");
}

int vhost_user_net_set_mtu(struct vhost_user_call *call)
{
    if (call->payload->u64 < NIC_MTU_MIN || call->payload->u64 > UINT16_MAX)
        return error_set(call->err, EINVAL, "an MTU of %llu is not between %d and %d",
                         (unsigned long long)call->payload->u64, NIC_MTU_MIN, UINT16_MAX);
    return 0;
}

int vhost_user_set_backend_req_fd(struct vhost_user_call *call)
{
    struct vhost_user_message *message = &call->vhost_user->peer.message;
    int result;

    if (message->fd_count != 1)
        return error_set(call->err, EINVAL, "a back-end channel came with %u file descriptors",
                         message->fd_count);
    result = vhost_user_refuse_own_socket(call, message->fd[0]);
    if (result < 0)
        return result;
    return vhost_user_channel_open(call->vhost_user, &message->fd[0], call->err);
}
