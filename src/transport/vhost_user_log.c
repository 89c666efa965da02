/* SPDX-License-Identifier: MIT */
/*
 * Dirty logging: the front-end copies guest memory to another machine and shares a log, in which
 * the pages that are written meanwhile are noted. It takes three things in any order: the log
 * (SET_LOG_BASE), the feature LOG_ALL, and for the words of a ring its flag in SET_VRING_ADDR.
 */
#include "transport/vhost_user_call.h"

#include <errno.h>
#include <inttypes.h>

#include "base/fd.h"
#include "ring/ring_log.h"

struct virtqueue_log vhost_user_log_of_ring(const struct vhost_user_ring *ring)
{
    const struct vhost_user *vhost_user = ring->owner;

    if (!(vhost_user->features & VHOST_USER_F_LOG_ALL))
        return (struct virtqueue_log){0};
    return (struct virtqueue_log){.log = vhost_user->log,
                                  .ring = (ring->addr.flags & VHOST_USER_VRING_F_LOG) != 0,
                                  .device_gpa = ring->addr.log};
}

void vhost_user_log_update_ring(struct vhost_user_ring *ring)
{
    struct virtqueue_log log = vhost_user_log_of_ring(ring);

    coordinator_set_log(ring->owner->coordinator, ring->index, &log);
}

/* The workers are paused ring by ring: when this returns, none of them holds another log. */
void vhost_user_log_update(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++)
        vhost_user_log_update_ring(&vhost_user->ring[i]);
}

static int ring_fits(const struct vhost_user_ring *ring, const struct dirty_log *log,
                     struct error *err)
{
    const struct nic *nic = coordinator_nic(ring->owner->coordinator);
    uint64_t len = ring_log_device_area_len(
        ring->size, features_has(&nic->agreed, F_RING_PACKED) ? VIRTQUEUE_PACKED : 0);

    /* Behind an IOMMU what the front-end names is an iova, and each page of memory has a bit. */
    if (log == NULL || ring->owner->iommu.agreed || !ring->has_addr ||
        !(ring->addr.flags & VHOST_USER_VRING_F_LOG) || dirty_log_covers(log, ring->addr.log, len))
        return 0;
    return error_set(err, EINVAL,
                     "ring %u is to be noted at 0x%" PRIx64 ", for which the log of %" PRIu64
                     " pages has no room",
                     ring->index, ring->addr.log, log->page_count);
}

int vhost_user_log_check_ring(const struct vhost_user_ring *ring, struct error *err)
{
    return ring_fits(ring, ring->owner->log, err);
}

/* VU-LOG-03: a bit for each page that there is. */
static int log_check(const struct vhost_user *vhost_user, const struct dirty_log *log,
                     struct error *err)
{
    const struct guest_memory *memory = vhost_user->memory;
    int result = 0;

    for (unsigned i = 0; memory != NULL && i < memory->region_count; i++) {
        const struct memory_region *region = &memory->region[i];

        if (!dirty_log_covers(log, region->gpa, region->size))
            return error_set(err, EINVAL,
                             "a log of %" PRIu64 " pages has no room for the memory at 0x%" PRIx64,
                             log->page_count, region->gpa);
    }
    for (unsigned i = 0; i < vhost_user->ring_count && result == 0; i++)
        result = ring_fits(&vhost_user->ring[i], log, err);
    return result;
}

/* Bits of the log before stay: its front-end has it mapped, and takes them from there. */
static void log_swap(struct vhost_user *vhost_user, struct dirty_log *next)
{
    struct dirty_log *before = vhost_user->log;

    vhost_user->log = next;
    if (next != NULL)
        next->tell_fd = vhost_user->log_fd;
    vhost_user_log_update(vhost_user);
    dirty_log_free(before);
}

/* Answered with what others answer NEED_REPLY with: some front-ends look at it, QEMU does not. */
int vhost_user_set_log_base(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    struct vhost_user_message *message = &vhost_user->peer.message;
    struct memory_part part = {.size = call->payload->log.size,
                               .offset = call->payload->log.offset};
    struct dirty_log *log;
    int result;

    if (!(vhost_user->protocol_features & VHOST_USER_PROTOCOL_LOG_SHMFD))
        return error_set(call->err, EINVAL, "the protocol feature LOG_SHMFD was not agreed on");
    if (message->fd_count != 1 || call->size < sizeof(call->payload->log))
        return error_set(call->err, EINVAL, "%u file descriptors and %u bytes, not 1 and %zu",
                         message->fd_count, call->size, sizeof(call->payload->log));
    part.fd = message->fd[0];
    result = dirty_log_create(&part, &log, call->err);
    if (result < 0)
        return result;
    result = log_check(vhost_user, log, call->err);
    if (result < 0) {
        dirty_log_free(log);
        return result;
    }
    vhost_user->logs++;
    log_swap(vhost_user, log);
    return vhost_user_reply_u64(call, 0);
}

int vhost_user_set_log_fd(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    struct vhost_user_message *message = &vhost_user->peer.message;
    struct dirty_log *again = NULL;
    int before = vhost_user->log_fd;

    if (message->fd_count != 1)
        return error_set(call->err, EINVAL, "%u file descriptors came, not 1", message->fd_count);
    if (!fd_is_bell(message->fd[0]))
        return error_set(call->err, EINVAL, "its fd is no eventfd, pipe or socket");
    if (vhost_user->log != NULL && dirty_log_copy(vhost_user->log, &again) < 0)
        return error_set(call->err, ENOMEM, "out of memory");
    vhost_user->log_fd = fd_take(&message->fd[0]);
    fd_set_nonblocking(vhost_user->log_fd);
    log_swap(vhost_user, again);
    fd_close(&before);
    return 0;
}

/* Guests are not at fault: their card goes on, the migration fails or is begun anew. */
void vhost_user_log_lost(struct vhost_user *vhost_user)
{
    vhost_user->logs_lost++;
    if (log_limit_pass(&vhost_user->limit))
        log_error("%s: the front-end truncated its log of dirty pages; a migration that goes on "
                  "with it would lose what the guest receives now: cancel it and begin anew",
                  coordinator_name(vhost_user->coordinator));
}

void vhost_user_log_check(struct vhost_user *vhost_user)
{
    if (vhost_user->log == NULL || !dirty_log_lost(vhost_user->log))
        return;
    vhost_user_log_lost(vhost_user);
    log_swap(vhost_user, NULL);
}

void vhost_user_log_drop(struct vhost_user *vhost_user)
{
    log_swap(vhost_user, NULL);
    fd_close(&vhost_user->log_fd);
}

void vhost_user_log_inspect(const struct vhost_user *vhost_user, struct inspect *visitor)
{
    const struct dirty_log *log = vhost_user->log;

    inspect_enter(visitor, "dirty_log");
    inspect_flag(visitor, "active",
                 log != NULL && (vhost_user->features & VHOST_USER_F_LOG_ALL) != 0);
    inspect_number(visitor, "shared", vhost_user->logs);
    inspect_number(visitor, "lost", vhost_user->logs_lost);
    if (log != NULL) {
        inspect_number(visitor, "pages", log->page_count);
        inspect_number(visitor, "marks", log->marks);
        inspect_number(visitor, "outside", log->outside);
    }
    inspect_leave(visitor);
}
