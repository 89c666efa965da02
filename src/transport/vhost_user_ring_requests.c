/* SPDX-License-Identifier: MIT */
/* Requests about one ring. */
#include "transport/vhost_user_call.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "base/checked.h"
#include "base/fd.h"

/* ---- rings ------------------------------------------------------------------------------ */

/* Size, base and addresses may change on a ring that rests: stopped, or disabled by a driver that
 * comes anew (UML never sends GET_VRING_BASE). */
static int ring_to_change(struct vhost_user_call *call, uint32_t index,
                          struct vhost_user_ring **ret_ring)
{
    struct vhost_user_ring *ring = vhost_user_ring_find(call, index);

    if (ring == NULL)
        return -EINVAL;
    if (vhost_user_ring_running(ring) && ring->enabled &&
        coordinator_queue_fault(call->vhost_user->coordinator, index) == QUEUE_FAULT_NONE)
        return vhost_user_refuse_live(call, ring);
    if (vhost_user_ring_running(ring)) {
        vhost_user_ring_stop(ring);
        vhost_user_inflight_forget(ring);
        ring->has_kick = 0; /* starts again with the kick that comes after the changes */
        vhost_user_iommu_rest(call->vhost_user);
    }
    *ret_ring = ring;
    return 0;
}

int vhost_user_set_vring_num(struct vhost_user_call *call)
{
    unsigned most = vhost_user_call_nic(call)->config.queue_size_max;
    int packed = features_has(&vhost_user_call_nic(call)->agreed, F_RING_PACKED);
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

static int address_check(struct vhost_user_call *call, const struct vhost_user_ring *ring)
{
    const struct vhost_user_vring_addr *addr = &call->payload->addr;
    unsigned driver_align = features_has(&vhost_user_call_nic(call)->agreed, F_RING_PACKED) ? 4 : 2;
    struct vhost_user_ring changed = *ring;

    if (addr->flags & ~(uint32_t)VHOST_USER_VRING_F_LOG)
        return error_set(call->err, EINVAL, "ring %u: flags 0x%x are not known here", addr->index,
                         addr->flags);
    if (addr->desc % 16 != 0 || addr->avail % driver_align != 0 || addr->used % 4 != 0)
        return error_set(call->err, EINVAL, "ring %u has misaligned parts", addr->index);
    changed.addr = *addr;
    changed.has_addr = 1;
    return vhost_user_log_check_ring(&changed, call->err);
}

int vhost_user_set_vring_addr(struct vhost_user_call *call)
{
    const struct vhost_user_vring_addr *addr = &call->payload->addr;
    struct vhost_user_ring *ring = vhost_user_ring_find(call, addr->index);
    int result;

    if (ring == NULL)
        return -EINVAL;
    result = address_check(call, ring);
    if (result < 0)
        return result;
    /* The same again is how dirty logging is switched on a live ring. */
    if (!vhost_user_ring_running(ring) || !same_addresses(addr, &ring->addr))
        result = ring_to_change(call, addr->index, &ring);
    if (result < 0)
        return result;
    ring->addr = *addr;
    ring->has_addr = 1;
    vhost_user_log_update_ring(ring);
    return vhost_user_ring_try_start(ring, call->err);
}

/* Split: the next available index. Packed: both positions, each with its wrap counter (VU-ST-10).
 */
static int base_check(struct vhost_user_call *call)
{
    const struct vhost_user_ring *ring = &call->vhost_user->ring[call->payload->state.index];
    uint32_t base = call->payload->state.num;
    int packed = features_has(&vhost_user_call_nic(call)->agreed, F_RING_PACKED);

    if (!packed && base <= UINT16_MAX)
        return 0;
    if (packed &&
        (ring->size == 0 || ((base & 0x7fff) < ring->size && (base >> 16 & 0x7fff) < ring->size)))
        return 0;
    return error_set(call->err, EINVAL, "ring %u: a base of 0x%x is not a position in it",
                     ring->index, base);
}

int vhost_user_set_vring_base(struct vhost_user_call *call)
{
    struct vhost_user_ring *ring;
    int result = ring_to_change(call, call->payload->state.index, &ring);

    if (result == 0)
        result = base_check(call);
    if (result < 0)
        return result;
    ring->base = call->payload->state.num;
    ring->left = 0;
    return 0;
}

/* QEMU 7.2 ends a session with status 0, which is a reset, and only then asks where the
 * rings stopped. */
int vhost_user_get_vring_base(struct vhost_user_call *call)
{
    struct vhost_user_ring *ring = vhost_user_ring_find(call, call->payload->state.index);

    if (ring == NULL)
        return -EINVAL;
    vhost_user_ring_stop(ring);
    vhost_user_inflight_forget(ring);
    /* Kick and call come anew with the next start; until then the ring can't start by itself. */
    fd_close(&ring->kick_fd);
    fd_close(&ring->call_fd);
    ring->has_kick = 0;
    vhost_user_iommu_rest(call->vhost_user);
    call->payload->state.num = ring->left ? ring->left_at : ring->base;
    call->reply_size = sizeof(call->payload->state);
    return 0;
}

int vhost_user_set_vring_enable(struct vhost_user_call *call)
{
    struct vhost_user_ring *ring = vhost_user_ring_find(call, call->payload->state.index);

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
static int ring_fd(struct vhost_user_call *call, struct vhost_user_ring **ret_ring, int **ret_fd)
{
    static int none;
    struct vhost_user_message *message = &call->vhost_user->peer.message;
    uint64_t word = call->payload->u64;
    unsigned expected = word & VHOST_USER_VRING_NO_FD ? 0 : 1;

    *ret_ring = vhost_user_ring_find(call, (uint32_t)(word & VHOST_USER_VRING_INDEX_MASK));
    if (*ret_ring == NULL)
        return -EINVAL;
    if (message->fd_count != expected)
        return error_set(call->err, EINVAL, "ring %u: %u file descriptors came, not %u",
                         (*ret_ring)->index, message->fd_count, expected);
    none = -1;
    *ret_fd = expected == 1 ? &message->fd[0] : &none;
    return vhost_user_refuse_own_socket(call, **ret_fd);
}

/* What else there is can't be waited for, or may wait when it is written to (fd_signal). */
static int bell_fd(struct vhost_user_call *call, struct vhost_user_ring **ret_ring, int **ret_fd)
{
    int result = ring_fd(call, ret_ring, ret_fd);

    if (result == 0 && **ret_fd >= 0 && !fd_is_bell(**ret_fd))
        return error_set(call->err, EINVAL, "ring %u: its fd is no eventfd, pipe or socket",
                         (*ret_ring)->index);
    return result;
}

static int kick_take(struct vhost_user_call *call, struct vhost_user_ring *ring, int *fd)
{
    int result;

    vhost_user_ring_set_kick(ring, fd);
    result = vhost_user_ring_try_start(ring, call->err);
    if (result < 0) {
        fd_close(&ring->kick_fd);
        ring->has_kick = 0;
    }
    return result;
}

int vhost_user_set_vring_kick(struct vhost_user_call *call)
{
    struct vhost_user_ring *ring;
    int *fd;
    int result = bell_fd(call, &ring, &fd);

    return result < 0 ? result : kick_take(call, ring, fd);
}

/* A kick as a message. To the worker it is an eventfd like any other, but ours. */
int vhost_user_vring_kick(struct vhost_user_call *call)
{
    struct vhost_user_ring *ring = vhost_user_ring_find(call, call->payload->state.index);
    int result = 0;
    int fd;

    if (ring == NULL)
        return -EINVAL;
    if (!(call->vhost_user->protocol_features & VHOST_USER_PROTOCOL_INBAND_NOTIFICATIONS))
        return error_set(call->err, EINVAL,
                         "a kick by message needs the protocol feature INBAND_NOTIFICATIONS");
    if (!ring->has_kick) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return error_set(call->err, errno, "ring %u: no eventfd to kick it with", ring->index);
        result = kick_take(call, ring, &fd);
    }
    if (result == 0)
        vhost_user_ring_kick(ring);
    return result;
}

int vhost_user_set_vring_call(struct vhost_user_call *call)
{
    struct vhost_user_ring *ring;
    int *fd;
    int result = bell_fd(call, &ring, &fd);

    if (result == 0)
        vhost_user_ring_set_call(ring, fd);
    return result;
}

int vhost_user_set_vring_err(struct vhost_user_call *call)
{
    struct vhost_user_ring *ring;
    int *fd;
    int result = bell_fd(call, &ring, &fd);

    if (result == 0)
        vhost_user_ring_set_err(ring, fd);
    return result;
}

int vhost_user_set_vring_endian(struct vhost_user_call *call)
{
    if (vhost_user_ring_find(call, call->payload->state.index) == NULL)
        return -EINVAL;
    if (call->payload->state.num > 1)
        return error_set(call->err, EINVAL, "byte order %u is neither little (0) nor big (1)",
                         call->payload->state.num);
    coordinator_set_order(call->vhost_user->coordinator,
                          call->payload->state.num == 1 ? BYTE_ORDER_BIG : BYTE_ORDER_LITTLE);
    return 0;
}
