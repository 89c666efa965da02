/* SPDX-License-Identifier: MIT */
/*
 * What each request does. A handler returns 0 or -errno; it may set the size of a reply of its own.
 * A refused request changes nothing; the front-end hears of it if it asked for an answer, and loses
 * the connection if it did not (it would go on from a false belief).
 */
#include "transport/vhost_user_session.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

enum {
    NO_REPLY = 0,
};

static const uint64_t protocol_features_offered =
    VHOST_USER_PROTOCOL_MQ | VHOST_USER_PROTOCOL_REPLY_ACK | VHOST_USER_PROTOCOL_MTU |
    VHOST_USER_PROTOCOL_BACKEND_REQ | VHOST_USER_PROTOCOL_CROSS_ENDIAN |
    VHOST_USER_PROTOCOL_CONFIG | VHOST_USER_PROTOCOL_BACKEND_SEND_FD |
    VHOST_USER_PROTOCOL_RESET_DEVICE | VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS |
    VHOST_USER_PROTOCOL_STATUS;

struct call {
    struct vhost_user *vhost_user;
    union vhost_user_payload *payload; /* of the request, and of the reply */
    uint32_t size;                     /* of the request's payload */
    uint32_t reply_size;
    struct error *err;
};

static struct nic *nic_of(const struct call *call)
{
    return coordinator_nic(call->vhost_user->coordinator);
}

static int reply_u64(struct call *call, uint64_t value)
{
    call->payload->u64 = value;
    call->reply_size = sizeof(value);
    return 0;
}

/* A VMM that ends the control queue itself never speaks of a ring that has no number (VU-MQ-02). */
static struct vhost_user_ring *ring_find(const struct call *call, uint32_t index)
{
    if (index < call->vhost_user->ring_count)
        return &call->vhost_user->ring[index];
    if (index < nic_queue_count(nic_of(call)))
        error_set(call->err, EINVAL,
                  "ring %u, the control queue, can't be named by SET_VRING_KICK; this front-end "
                  "needs queues=127 or less",
                  index);
    else
        error_set(call->err, EINVAL, "ring %u does not exist; this NIC has %u", index,
                  call->vhost_user->ring_count);
    return NULL;
}

static int refuse_live(const struct call *call, const struct vhost_user_ring *ring)
{
    return error_set(call->err, EBUSY, "ring %u is live: it has to be stopped first", ring->index);
}

/* ---- features, status, config ----------------------------------------------------------- */

static int get_features(struct call *call)
{
    return reply_u64(call, nic_of(call)->offered.word[0] | VHOST_USER_F_PROTOCOL_FEATURES);
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
    struct features features = {.word = {wire & ~VHOST_USER_F_PROTOCOL_FEATURES}};

    if (features_has(&features, NET_F_CTRL_VQ))
        return features;
    for (size_t i = 0; i < ARRAY_COUNT(commanded); i++) {
        if (features_has(&nic->offered, commanded[i]))
            features_remove(&features, commanded[i]);
    }
    return features;
}

/* The header size must not change under live rings. */
static int refuse_live_rings(const struct call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;

    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        if (vhost_user_ring_running(ring) && ring->enabled)
            return refuse_live(call, ring);
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
        ring->has_kick = ring->has_addr = 0; /* those of the driver that has left */
    }
    coordinator_reset(vhost_user->coordinator);
}

static int set_features(struct call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    uint64_t wire = call->payload->u64;
    struct features features = features_from_wire(nic_of(call), wire);
    int result = 0;

    vhost_user->features_refused = 1;
    if (driver_has_left(vhost_user))
        begin_anew(vhost_user);
    else if (!features_equal(&features, &nic_of(call)->agreed))
        result = refuse_live_rings(call);
    if (result == 0)
        result = coordinator_agree(vhost_user->coordinator, &features, call->err);
    if (result < 0)
        return result;
    vhost_user->features = wire;
    vhost_user->features_refused = 0;
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        if (!(wire & VHOST_USER_F_PROTOCOL_FEATURES))
            vhost_user_ring_enable(&vhost_user->ring[i], 1);
    }
    return 0;
}

static int get_protocol_features(struct call *call)
{
    return reply_u64(call, protocol_features_offered);
}

static int set_protocol_features(struct call *call)
{
    if ((call->payload->u64 & ~protocol_features_offered) != 0)
        return error_set(call->err, EINVAL,
                         "protocol features 0x%llx were accepted but never offered",
                         (unsigned long long)(call->payload->u64 & ~protocol_features_offered));
    call->vhost_user->protocol_features = call->payload->u64;
    return 0;
}

static int get_queue_num(struct call *call)
{
    if (call->vhost_user->queue_unit == VHOST_USER_QUEUE_UNIT_PAIRS)
        return reply_u64(call, nic_of(call)->config.queue_pairs);
    return reply_u64(call, call->vhost_user->ring_count);
}

static int nothing(struct call *call)
{
    (void)call;
    return 0;
}

/* Old front-ends send it where RESET_DEVICE is meant, others at disconnect: rings rest, nothing is
 * lost. */
static int reset_owner(struct call *call)
{
    for (unsigned i = 0; i < call->vhost_user->ring_count; i++)
        vhost_user_ring_enable(&call->vhost_user->ring[i], 0);
    return 0;
}

static int reset_device(struct call *call)
{
    vhost_user_rings_reset(call->vhost_user);
    call->vhost_user->features = 0;
    call->vhost_user->features_refused = 0;
    return 0;
}

static int set_status(struct call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    struct features accepted = features_from_wire(nic_of(call), vhost_user->features);

    if (call->payload->u64 > UINT8_MAX)
        return error_set(call->err, EINVAL, "device status 0x%llx is more than a byte",
                         (unsigned long long)call->payload->u64);
    if (call->payload->u64 == 0)
        return reset_device(call);
    nic_write_status(nic_of(call), (uint8_t)call->payload->u64,
                     vhost_user->features_refused ? NULL : &accepted);
    return 0;
}

static int get_status(struct call *call)
{
    return reply_u64(call, nic_of(call)->status);
}

/* A reply of size 0 is how this request says no (VU-SEC-09). */
static int get_config(struct call *call)
{
    struct vhost_user_config *config = &call->payload->config;

    if (call->size < VHOST_USER_CONFIG_HEADER ||
        config->size != call->size - VHOST_USER_CONFIG_HEADER ||
        !range_within(config->offset, config->size, VHOST_USER_CONFIG_MAX))
        return 0;
    nic_read_config(nic_of(call), config->offset, config->region, config->size);
    call->reply_size = VHOST_USER_CONFIG_HEADER + config->size;
    return 0;
}

static int set_config(struct call *call)
{
    return error_set(call->err, EPERM, "config space of a network device is read-only");
}

static int net_set_mtu(struct call *call)
{
    if (call->payload->u64 < NIC_MTU_MIN || call->payload->u64 > UINT16_MAX)
        return error_set(call->err, EINVAL, "an MTU of %llu is not between %d and %d",
                         (unsigned long long)call->payload->u64, NIC_MTU_MIN, UINT16_MAX);
    return 0;
}

static int set_backend_req_fd(struct call *call)
{
    struct vhost_user_message *message = &call->vhost_user->peer.message;

    if (message->fd_count != 1)
        return error_set(call->err, EINVAL, "a back-end channel came with %u file descriptors",
                         message->fd_count);
    fd_close(&call->vhost_user->backend_fd);
    call->vhost_user->backend_fd = fd_take(&message->fd[0]);
    fd_set_nonblocking(call->vhost_user->backend_fd);
    return 0;
}

/* ---- rings ------------------------------------------------------------------------------ */

/* Size, base and addresses may change on a ring that rests: stopped, or disabled by a driver that
 * comes anew (UML never sends GET_VRING_BASE). */
static int ring_to_change(struct call *call, uint32_t index, struct vhost_user_ring **ret_ring)
{
    struct vhost_user_ring *ring = ring_find(call, index);

    if (ring == NULL)
        return -EINVAL;
    if (vhost_user_ring_running(ring) && ring->enabled &&
        coordinator_queue_fault(call->vhost_user->coordinator, index) == QUEUE_FAULT_NONE)
        return refuse_live(call, ring);
    if (vhost_user_ring_running(ring)) {
        vhost_user_ring_stop(ring);
        ring->has_kick = 0; /* starts again with the kick that comes after the changes */
    }
    *ret_ring = ring;
    return 0;
}

static int set_vring_num(struct call *call)
{
    unsigned most = nic_of(call)->config.queue_size_max;
    int packed = features_has(&nic_of(call)->agreed, F_RING_PACKED);
    uint32_t num = call->payload->state.num;
    struct vhost_user_ring *ring;
    int result;

    if (num == 0 || num > most || (!packed && !is_power_of_two(num)))
        return error_set(call->err, EINVAL, "a ring of %u entries is not %s up to %u", num,
                         packed ? "a number" : "a power of two", most);
    result = ring_to_change(call, call->payload->state.index, &ring);
    if (result == 0)
        ring->size = (uint16_t)num;
    return result;
}

static int same_addresses(const struct vhost_user_vring_addr *a,
                          const struct vhost_user_vring_addr *b)
{
    return a->desc == b->desc && a->used == b->used && a->avail == b->avail;
}

static int set_vring_addr(struct call *call)
{
    const struct vhost_user_vring_addr *addr = &call->payload->addr;
    struct vhost_user_ring *ring = ring_find(call, addr->index);
    unsigned driver_align = features_has(&nic_of(call)->agreed, F_RING_PACKED) ? 4 : 2;
    int result = 0;

    if (ring == NULL)
        return -EINVAL;
    if (addr->desc % 16 != 0 || addr->avail % driver_align != 0 || addr->used % 4 != 0)
        return error_set(call->err, EINVAL, "ring %u has misaligned parts", addr->index);
    /* The same again is how dirty logging is switched on a live ring. */
    if (!vhost_user_ring_running(ring) || !same_addresses(addr, &ring->addr))
        result = ring_to_change(call, addr->index, &ring);
    if (result < 0)
        return result;
    ring->addr = *addr;
    ring->has_addr = 1;
    return vhost_user_ring_try_start(ring, call->err);
}

/* Split: the next available index. Packed: both positions, each with its wrap counter (VU-ST-10).
 */
static int base_check(struct call *call)
{
    const struct vhost_user_ring *ring = &call->vhost_user->ring[call->payload->state.index];
    uint32_t base = call->payload->state.num;
    int packed = features_has(&nic_of(call)->agreed, F_RING_PACKED);

    if (!packed && base <= UINT16_MAX)
        return 0;
    if (packed &&
        (ring->size == 0 || ((base & 0x7fff) < ring->size && (base >> 16 & 0x7fff) < ring->size)))
        return 0;
    return error_set(call->err, EINVAL, "ring %u: a base of 0x%x is not a position in it",
                     ring->index, base);
}

static int set_vring_base(struct call *call)
{
    struct vhost_user_ring *ring;
    int result = ring_to_change(call, call->payload->state.index, &ring);

    if (result == 0)
        result = base_check(call);
    if (result == 0)
        ring->base = call->payload->state.num;
    return result;
}

static int get_vring_base(struct call *call)
{
    struct vhost_user_ring *ring = ring_find(call, call->payload->state.index);

    if (ring == NULL)
        return -EINVAL;
    vhost_user_ring_stop(ring);
    /* Kick and call come anew with the next start; until then the ring can't start by itself. */
    fd_close(&ring->kick_fd);
    fd_close(&ring->call_fd);
    ring->has_kick = 0;
    call->payload->state.num = ring->base;
    call->reply_size = sizeof(call->payload->state);
    return 0;
}

static int set_vring_enable(struct call *call)
{
    struct vhost_user_ring *ring = ring_find(call, call->payload->state.index);

    if (ring == NULL)
        return -EINVAL;
    if (!(call->vhost_user->features & VHOST_USER_F_PROTOCOL_FEATURES) &&
        call->vhost_user->features != 0)
        return error_set(call->err, EINVAL,
                         "SET_VRING_ENABLE needs the feature bit PROTOCOL_FEATURES");
    if (call->payload->state.num > 1)
        return error_set(call->err, EINVAL, "ring %u can be enabled (1) or not (0), not %u",
                         ring->index, call->payload->state.num);
    vhost_user_ring_enable(ring, (int)call->payload->state.num);
    return 0;
}

/* The words of the kick, call and err messages: index, and whether an fd comes with it. */
static int ring_fd(struct call *call, struct vhost_user_ring **ret_ring, int **ret_fd)
{
    static int none;
    struct vhost_user_message *message = &call->vhost_user->peer.message;
    uint64_t word = call->payload->u64;
    unsigned expected = word & VHOST_USER_VRING_NO_FD ? 0 : 1;

    *ret_ring = ring_find(call, (uint32_t)(word & VHOST_USER_VRING_INDEX_MASK));
    if (*ret_ring == NULL)
        return -EINVAL;
    if (message->fd_count != expected)
        return error_set(call->err, EINVAL, "ring %u: %u file descriptors came, not %u",
                         (*ret_ring)->index, message->fd_count, expected);
    none = -1;
    *ret_fd = expected == 1 ? &message->fd[0] : &none;
    return 0;
}

static int set_vring_kick(struct call *call)
{
    struct vhost_user_ring *ring;
    int *fd;
    int result = ring_fd(call, &ring, &fd);

    if (result < 0)
        return result;
    vhost_user_ring_set_kick(ring, fd);
    result = vhost_user_ring_try_start(ring, call->err);
    if (result < 0) {
        fd_close(&ring->kick_fd);
        ring->has_kick = 0;
    }
    return result;
}

static int set_vring_call(struct call *call)
{
    struct vhost_user_ring *ring;
    int *fd;
    int result = ring_fd(call, &ring, &fd);

    if (result == 0)
        vhost_user_ring_set_call(ring, fd);
    return result;
}

static int set_vring_err(struct call *call)
{
    struct vhost_user_ring *ring;
    int *fd;
    int result = ring_fd(call, &ring, &fd);

    if (result == 0)
        vhost_user_ring_set_err(ring, fd);
    return result;
}

static int set_vring_endian(struct call *call)
{
    if (ring_find(call, call->payload->state.index) == NULL)
        return -EINVAL;
    if (call->payload->state.num > 1)
        return error_set(call->err, EINVAL, "byte order %u is neither little (0) nor big (1)",
                         call->payload->state.num);
    coordinator_set_order(call->vhost_user->coordinator,
                          call->payload->state.num == 1 ? BYTE_ORDER_BIG : BYTE_ORDER_LITTLE);
    return 0;
}

/* ---- memory ----------------------------------------------------------------------------- */

static int set_mem_table(struct call *call)
{
    return vhost_user_set_mem_table(call->vhost_user, call->err);
}

static int get_max_mem_slots(struct call *call)
{
    return reply_u64(call, GUEST_MEMORY_REGIONS_MAX);
}

static int add_mem_reg(struct call *call)
{
    return vhost_user_add_mem_reg(call->vhost_user, call->err);
}

static int rem_mem_reg(struct call *call)
{
    return vhost_user_rem_mem_reg(call->vhost_user, call->err);
}

/* ---- the table -------------------------------------------------------------------------- */

enum answer {
    ANSWER_ACK, /* only if the front-end asks */
    ANSWER_OWN, /* always, with a payload of its own */
};

static const struct request {
    const char *name;
    uint32_t size_min; /* bytes of payload */
    uint8_t fds_max;
    enum answer answer;
    int (*handle)(struct call *call);
} request_table[VHOST_USER_REQUEST_COUNT] = {
    [VHOST_USER_GET_FEATURES] = {"GET_FEATURES", 0, 0, ANSWER_OWN, get_features},
    [VHOST_USER_SET_FEATURES] = {"SET_FEATURES", 8, 0, ANSWER_ACK, set_features},
    [VHOST_USER_SET_OWNER] = {"SET_OWNER", 0, 0, ANSWER_ACK, nothing},
    [VHOST_USER_RESET_OWNER] = {"RESET_OWNER", 0, 0, ANSWER_ACK, reset_owner},
    [VHOST_USER_SET_MEM_TABLE] = {"SET_MEM_TABLE", 8, 8, ANSWER_ACK, set_mem_table},
    [VHOST_USER_SET_VRING_NUM] = {"SET_VRING_NUM", 8, 0, ANSWER_ACK, set_vring_num},
    [VHOST_USER_SET_VRING_ADDR] = {"SET_VRING_ADDR", 40, 0, ANSWER_ACK, set_vring_addr},
    [VHOST_USER_SET_VRING_BASE] = {"SET_VRING_BASE", 8, 0, ANSWER_ACK, set_vring_base},
    [VHOST_USER_GET_VRING_BASE] = {"GET_VRING_BASE", 8, 0, ANSWER_OWN, get_vring_base},
    [VHOST_USER_SET_VRING_KICK] = {"SET_VRING_KICK", 8, 1, ANSWER_ACK, set_vring_kick},
    [VHOST_USER_SET_VRING_CALL] = {"SET_VRING_CALL", 8, 1, ANSWER_ACK, set_vring_call},
    [VHOST_USER_SET_VRING_ERR] = {"SET_VRING_ERR", 8, 1, ANSWER_ACK, set_vring_err},
    [VHOST_USER_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", 0, 0, ANSWER_OWN,
                                          get_protocol_features},
    [VHOST_USER_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", 8, 0, ANSWER_ACK,
                                          set_protocol_features},
    [VHOST_USER_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", 0, 0, ANSWER_OWN, get_queue_num},
    [VHOST_USER_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", 8, 0, ANSWER_ACK, set_vring_enable},
    [VHOST_USER_NET_SET_MTU] = {"NET_SET_MTU", 8, 0, ANSWER_ACK, net_set_mtu},
    [VHOST_USER_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", 0, 1, ANSWER_ACK, set_backend_req_fd},
    [VHOST_USER_SET_VRING_ENDIAN] = {"SET_VRING_ENDIAN", 8, 0, ANSWER_ACK, set_vring_endian},
    [VHOST_USER_GET_CONFIG] = {"GET_CONFIG", 0, 0, ANSWER_OWN, get_config},
    [VHOST_USER_SET_CONFIG] = {"SET_CONFIG", VHOST_USER_CONFIG_HEADER, 0, ANSWER_ACK, set_config},
    [VHOST_USER_RESET_DEVICE] = {"RESET_DEVICE", 0, 0, ANSWER_ACK, reset_device},
    [VHOST_USER_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", 0, 0, ANSWER_OWN, get_max_mem_slots},
    [VHOST_USER_ADD_MEM_REG] = {"ADD_MEM_REG", 40, 8, ANSWER_ACK, add_mem_reg},
    [VHOST_USER_REM_MEM_REG] = {"REM_MEM_REG", 40, 1, ANSWER_ACK, rem_mem_reg},
    [VHOST_USER_SET_STATUS] = {"SET_STATUS", 8, 0, ANSWER_ACK, set_status},
    [VHOST_USER_GET_STATUS] = {"GET_STATUS", 0, 0, ANSWER_OWN, get_status},
};

static const struct request *request_find(uint32_t number)
{
    if (number >= VHOST_USER_REQUEST_COUNT || request_table[number].handle == NULL)
        return NULL;
    return &request_table[number];
}

static int dispatch(const struct vhost_user_message *message, struct call *call)
{
    const struct request *request = request_find(message->header.request);
    int result;

    if (request == NULL)
        return error_set(call->err, ENOSYS, "request %u is not known here",
                         message->header.request);
    if (message->header.size < request->size_min)
        return error_set(call->err, EPROTO, "%s: %u bytes of payload, at least %u are needed",
                         request->name, message->header.size, request->size_min);
    if (message->fd_count > request->fds_max)
        return error_set(call->err, EINVAL, "%s came with %u file descriptors", request->name,
                         message->fd_count);
    result = request->handle(call);
    if (result < 0)
        error_prefix(call->err, "%s", request->name);
    return result;
}

static void refusal_note(struct vhost_user *vhost_user, const struct error *err)
{
    vhost_user->refused++;
    memcpy(vhost_user->last_error, err->text, sizeof(vhost_user->last_error));
    if (log_limit_pass(&vhost_user->limit))
        log_warning("%s: refused: %s", coordinator_name(vhost_user->coordinator), err->text);
}

int vhost_user_handle(struct vhost_user *vhost_user)
{
    struct vhost_user_message *message = &vhost_user->peer.message;
    const struct request *request = request_find(message->header.request);
    struct error err = {{0}};
    struct call call = {.vhost_user = vhost_user,
                        .payload = &message->payload,
                        .size = message->header.size,
                        .reply_size = NO_REPLY,
                        .err = &err};
    int result = dispatch(message, &call);
    int wants_ack;

    /* After the fact: UML asks for an answer to the very message that agrees on answers. */
    wants_ack = message->header.flags & VHOST_USER_NEED_REPLY &&
                vhost_user->protocol_features & VHOST_USER_PROTOCOL_REPLY_ACK;
    vhost_user->messages++;
    if (result < 0)
        refusal_note(vhost_user, &err);
    if (result == -EPROTO)
        return result;
    if (result == 0 && request->answer == ANSWER_OWN)
        return vhost_user_connection_reply(&vhost_user->peer, call.reply_size);
    if (!wants_ack)
        return request == NULL ? 0 : result; /* VU-HDR-06: the unknown is skipped */
    message->payload.u64 = result < 0 ? 1 : 0;
    return vhost_user_connection_reply(&vhost_user->peer, sizeof(uint64_t));
}
