/* SPDX-License-Identifier: MIT */
/* Guest memory as the front-end shares it: whole tables, or region by region, also while rings run.
 */
#include "transport/vhost_user_call.h"

#include <errno.h>
#include <inttypes.h>

/* Rings that are no longer in memory stop where they stand; those that are again go on from there.
 */
static void memory_swap(struct vhost_user *vhost_user, struct guest_memory *next)
{
    struct guest_memory *before = vhost_user->memory;

    vhost_user_iommu_set_memory(vhost_user, next);
    vhost_user->memory = next;
    guest_memory_free(before);
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        if (vhost_user_ring_running(ring) &&
            coordinator_queue_fault(vhost_user->coordinator, i) == QUEUE_FAULT_MEMORY)
            vhost_user_ring_stop(ring);
        if (next != NULL)
            vhost_user_ring_try_start(ring, NULL);
    }
}

static uint64_t memory_size(const struct guest_memory *memory)
{
    uint64_t size = 0;

    for (unsigned i = 0; memory != NULL && i < memory->region_count; i++)
        size += memory->region[i].size;
    return size;
}

static int region_check_limits(struct vhost_user *vhost_user, const struct guest_memory *memory,
                               const struct vhost_user_region *region, struct error *err)
{
    const struct vhost_user_limits *limits = &vhost_user->limits;
    uint64_t left = limits->memory_max - memory_size(memory);
    unsigned count = memory->region_count;

    if (region->size <= left && count < limits->regions_max)
        return 0;
    vhost_user->memory_refused++;
    if (region->size > left)
        return error_set(err, ENOSPC,
                         "a memory region of %" PRIu64 " MiB, and this card takes %" PRIu64
                         " MiB more; raise memory-max if the machine is that large",
                         region->size >> 20, left >> 20);
    return error_set(err, ENOSPC,
                     "more than %u memory regions; raise memory-regions if the machine needs them",
                     limits->regions_max);
}

static int region_map(struct vhost_user *vhost_user, struct guest_memory *memory,
                      const struct vhost_user_region *region, int fd, struct error *err)
{
    struct memory_file file = {.fd = fd,
                               .offset = region->offset,
                               .gpa = region->gpa,
                               .uva = region->uva,
                               .size = region->size};

    if (region->offset + region->size < region->offset)
        return error_set(err, EINVAL, "memory region at 0x%" PRIx64 " has an offset that wraps",
                         region->gpa);
    if (region_check_limits(vhost_user, memory, region, err) < 0)
        return -ENOSPC;
    return guest_memory_map(memory, &file, err);
}

/* Post-copy: the word that the front-end is ready, in the place of memory. */
static int memory_go(struct vhost_user_call *call)
{
    struct guest_memory *next;
    int result = vhost_user_postcopy_go(call, &next);

    if (result == 0 && next != NULL)
        memory_swap(call->vhost_user, next);
    return result;
}

/* At once; or, while it is listened for, at the front-end's word. */
static void memory_use(struct vhost_user_call *call, struct guest_memory *next,
                       struct vhost_user_region *region, unsigned count)
{
    if (!vhost_user_postcopy_listening(call->vhost_user)) {
        memory_swap(call->vhost_user, next);
        return;
    }
    vhost_user_postcopy_locate(call, next, region, count);
    vhost_user_postcopy_keep(call->vhost_user, next);
}

static int is_word(const struct vhost_user_call *call)
{
    return vhost_user_postcopy_listening(call->vhost_user) &&
           call->size == sizeof(call->payload->u64) && call->vhost_user->peer.message.fd_count == 0;
}

int vhost_user_set_mem_table(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    struct vhost_user_message *message = &vhost_user->peer.message;
    uint32_t count = message->payload.memory.region_count;
    struct guest_memory *next;
    int result;

    if (is_word(call))
        return memory_go(call);

    if (count == 0 || count > VHOST_USER_REGIONS_MAX ||
        message->header.size < 8 + count * sizeof(struct vhost_user_region))
        return error_set(call->err, EINVAL, "a memory table of %u regions in %u bytes", count,
                         message->header.size);
    if (message->fd_count != count)
        return error_set(call->err, EINVAL, "%u memory regions came with %u file descriptors",
                         count, message->fd_count);
    result = guest_memory_create(&next);
    if (result < 0)
        return result;
    for (uint32_t i = 0; i < count && result == 0; i++)
        result = region_map(vhost_user, next, &message->payload.memory.region[i], message->fd[i],
                            call->err);
    if (result < 0) {
        guest_memory_free(next);
        return result;
    }
    memory_use(call, next, message->payload.memory.region, count);
    return 0;
}

static int memory_clone(struct vhost_user *vhost_user, struct guest_memory **ret_next)
{
    const struct guest_memory *from =
        vhost_user->postcopy.next != NULL ? vhost_user->postcopy.next : vhost_user->memory;

    return from == NULL ? guest_memory_create(ret_next) : guest_memory_copy(from, ret_next);
}

int vhost_user_get_max_mem_slots(struct vhost_user_call *call)
{
    return vhost_user_reply_u64(call, call->vhost_user->limits.regions_max);
}

int vhost_user_add_mem_reg(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    struct vhost_user_message *message = &vhost_user->peer.message;
    struct vhost_user_region *region = &message->payload.mem_reg.region;
    struct guest_memory *next;
    int result;

    if (is_word(call))
        return memory_go(call);
    if (call->size < sizeof(message->payload.mem_reg))
        return error_set(call->err, EPROTO, "%u bytes of payload, at least %zu are needed",
                         call->size, sizeof(message->payload.mem_reg));
    if (message->fd_count != 1)
        return error_set(call->err, EINVAL, "a memory region came with %u file descriptors",
                         message->fd_count);
    if (vhost_user->memory != NULL &&
        guest_memory_share(vhost_user->memory, region->gpa, region->uva, region->size) == 0) {
        if (vhost_user_postcopy_listening(vhost_user))
            vhost_user_postcopy_locate(call, vhost_user->memory, region, 1);
        return 0;
    }
    result = memory_clone(vhost_user, &next);
    if (result < 0)
        return result;
    result = region_map(vhost_user, next, region, message->fd[0], call->err);
    if (result < 0)
        guest_memory_free(next);
    else
        memory_use(call, next, region, 1);
    return result;
}

int vhost_user_rem_mem_reg(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    const struct vhost_user_region *region = &vhost_user->peer.message.payload.mem_reg.region;
    struct guest_memory *next;
    int result;

    if (vhost_user->postcopy.next != NULL)
        return error_set(call->err, EBUSY, "memory that has not come yet can't be taken away");
    if (vhost_user->memory != NULL &&
        guest_memory_unshare(vhost_user->memory, region->gpa, region->uva, region->size) == 0)
        return 0;
    result = memory_clone(vhost_user, &next);
    if (result < 0)
        return result;
    result = guest_memory_remove(next, region->gpa, region->uva, region->size);
    if (result < 0) {
        guest_memory_free(next);
        return error_set(call->err, -result, "there is no memory region at 0x%" PRIx64 " to remove",
                         region->gpa);
    }
    memory_swap(vhost_user, next);
    return 0;
}

/* The NIC breaks, its front-end hears of it on every ring; others go on. */
void vhost_user_check_memory(struct vhost_user *vhost_user)
{
    vhost_user_log_check(vhost_user);
    if (vhost_user->memory == NULL || !guest_memory_lost(vhost_user->memory))
        return;
    if (log_limit_pass(&vhost_user->limit))
        log_error("%s: the front-end truncated the memory that it shared; the NIC rests until it "
                  "shares memory anew",
                  coordinator_name(vhost_user->coordinator));
    nic_needs_reset(coordinator_nic(vhost_user->coordinator));
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        if (vhost_user_ring_running(&vhost_user->ring[i]))
            vhost_user_ring_broken(&vhost_user->ring[i]);
    }
    vhost_user_memory_drop(vhost_user);
}

void vhost_user_memory_drop(struct vhost_user *vhost_user)
{
    vhost_user_iommu_set_memory(vhost_user, NULL);
    guest_memory_free(vhost_user->memory);
    vhost_user->memory = NULL;
}

void vhost_user_memory_inspect(const struct vhost_user *vhost_user, struct inspect *visitor)
{
    const struct guest_memory *memory = vhost_user->memory;

    inspect_number(visitor, "memory_bytes", memory_size(memory));
    inspect_number(visitor, "memory_max", vhost_user->limits.memory_max);
    inspect_number(visitor, "memory_regions_max", vhost_user->limits.regions_max);
    inspect_number(visitor, "memory_refused", vhost_user->memory_refused);
    inspect_enter(visitor, "memory");
    for (unsigned i = 0; memory != NULL && i < memory->region_count; i++) {
        inspect_enter_index(visitor, i);
        inspect_hex(visitor, "gpa", memory->region[i].gpa);
        inspect_hex(visitor, "size", memory->region[i].size);
        inspect_leave(visitor);
    }
    inspect_leave(visitor);
}
