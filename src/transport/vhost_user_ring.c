/* SPDX-License-Identifier: MIT */
/* Rings: from what the front-end sets, word by word, to a queue that the coordinator runs. */
#include "transport/vhost_user_session.h"

#include <errno.h>

#include "base/fd.h"

/* The ring's way up: runs on the worker. */
static void ring_fire(void *context)
{
    struct vhost_user_ring *ring = context;

    if (ring->call_fd < 0 && ring->in_band && !ring->call_given)
        vhost_user_channel_tell_ring(ring, VHOST_USER_RING_CALL);
    else
        fd_signal(ring->call_fd);
}

static void ring_init(struct vhost_user *vhost_user, unsigned index)
{
    vhost_user->ring[index] = (struct vhost_user_ring){
        .owner = vhost_user, .index = index, .kick_fd = -1, .call_fd = -1, .err_fd = -1};
}

void vhost_user_rings_init(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++)
        ring_init(vhost_user, i);
}

void vhost_user_rings_reset(struct vhost_user *vhost_user)
{
    coordinator_stop_all(vhost_user->coordinator);
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring before = vhost_user->ring[i];
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        fd_close(&before.kick_fd);
        fd_close(&before.call_fd);
        ring_init(vhost_user, i);
        ring->err_fd = before.err_fd;
        ring->call_given = before.call_given;
        ring->err_given = before.err_given;
        ring->left_at = coordinator_stop_queue(vhost_user->coordinator, i);
        ring->left = 1;
    }
    coordinator_reset(vhost_user->coordinator);
}

void vhost_user_rings_forget(struct vhost_user *vhost_user)
{
    vhost_user_rings_reset(vhost_user);
    for (unsigned i = 0; i < vhost_user->ring_count; i++)
        fd_close(&vhost_user->ring[i].err_fd);
    vhost_user_rings_init(vhost_user);
}

int vhost_user_ring_running(struct vhost_user_ring *ring)
{
    return coordinator_queue_running(ring->owner->coordinator, ring->index);
}

/* Ring addresses are the front-end's own, or, as all else, iovas. */
static int ring_address(struct vhost_user_ring *ring, const char *name, uint64_t uva,
                        uint64_t *ret_gpa, struct error *err)
{
    *ret_gpa = uva;
    if (ring->owner->iommu.agreed)
        return 0;
    if (guest_memory_uva_to_gpa(ring->owner->memory, uva, ret_gpa) == 0)
        return 0;
    return error_set(err, EFAULT, "ring %u: its %s is not in the memory that was shared",
                     ring->index, name);
}

static int ring_locate(struct vhost_user_ring *ring, struct virtqueue_config *config,
                       struct error *err)
{
    int result = ring_address(ring, "descriptor table", ring->addr.desc, &config->desc_gpa, err);

    if (result == 0)
        result = ring_address(ring, "available ring", ring->addr.avail, &config->driver_gpa, err);
    if (result == 0)
        result = ring_address(ring, "used ring", ring->addr.used, &config->device_gpa, err);
    return result;
}

int vhost_user_ring_try_start(struct vhost_user_ring *ring, struct error *err)
{
    struct vhost_user *vhost_user = ring->owner;
    struct virtqueue_config config = {
        .size = ring->size,
        .base = ring->base,
        .notifier = {.fire = ring_fire, .context = ring, .missing = vhost_user_iommu_missing},
        .log = vhost_user_log_of_ring(ring),
    };
    int result;

    if (!ring->has_kick || !ring->has_addr || ring->size == 0 || vhost_user->memory == NULL)
        return 0;
    if (vhost_user_ring_running(ring) && !vhost_user->iommu.agreed)
        return 0;
    result = ring_locate(ring, &config, err);
    if (result == 0 && vhost_user_iommu_ring_waits(ring, &config))
        return 0;
    if (result == 0 && vhost_user_ring_running(ring))
        return coordinator_queue_unmapped(vhost_user->coordinator, ring->index)
                   ? coordinator_check_queue(vhost_user->coordinator, ring->index, &config, err)
                   : 0;
    ring->in_band = (vhost_user->protocol_features & VHOST_USER_PROTOCOL_INBAND_NOTIFICATIONS) != 0;
    if (result == 0)
        config.record = vhost_user_inflight_region(ring, &config);
    if (result == 0)
        result = coordinator_start_queue(vhost_user->coordinator, ring->index, &config,
                                         ring->kick_fd, err);
    if (result < 0)
        return result;
    ring->left = 0;
    vhost_user_state_ring(ring);
    vhost_user_announce_ring(ring);
    if (!(vhost_user->features & VHOST_USER_F_PROTOCOL_FEATURES))
        vhost_user_ring_enable(ring, 1);
    fd_signal(ring->call_fd); /* a daemon that was killed may have shown buffers and not said so */
    vhost_user_channel_look(vhost_user);
    return 0;
}

void vhost_user_ring_stop(struct vhost_user_ring *ring)
{
    if (vhost_user_ring_running(ring))
        ring->base = coordinator_stop_queue(ring->owner->coordinator, ring->index);
    vhost_user_iommu_ring_stopped(ring);
}

void vhost_user_ring_enable(struct vhost_user_ring *ring, int enabled)
{
    ring->enabled = enabled != 0;
    coordinator_enable_queue(ring->owner->coordinator, ring->index,
                             enabled ? COORDINATOR_ENABLE : COORDINATOR_DISABLE);
}

static void fd_replace(int *owned, int *fd)
{
    fd_close(owned);
    *owned = fd_take(fd);
    /* A peer that clears the flag again only hurts the worker that serves it, until the watchdog.
     */
    if (*owned >= 0)
        fd_set_nonblocking(*owned);
}

/* Whoever waits on the new fd may have missed an interrupt that went to the old one. */
void vhost_user_ring_set_call(struct vhost_user_ring *ring, int *fd)
{
    coordinator_hold_queue(ring->owner->coordinator, ring->index);
    fd_replace(&ring->call_fd, fd);
    ring->call_given = 1;
    coordinator_release_queue(ring->owner->coordinator, ring->index);
    if (vhost_user_ring_running(ring))
        fd_signal(ring->call_fd);
}

void vhost_user_ring_set_kick(struct vhost_user_ring *ring, int *fd)
{
    vhost_user_ring_stop(ring);
    fd_replace(&ring->kick_fd, fd);
    ring->has_kick = 1;
}

void vhost_user_ring_kick(struct vhost_user_ring *ring)
{
    fd_signal(ring->kick_fd);
}

void vhost_user_ring_set_err(struct vhost_user_ring *ring, int *fd)
{
    fd_replace(&ring->err_fd, fd);
    ring->err_given = 1;
}

void vhost_user_ring_broken(struct vhost_user_ring *ring)
{
    if (ring->err_fd < 0 && ring->in_band && !ring->err_given)
        vhost_user_channel_tell_ring(ring, VHOST_USER_RING_ERR);
    else
        fd_signal(ring->err_fd);
}
