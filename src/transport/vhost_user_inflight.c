/* SPDX-License-Identifier: MIT */
/* GET_INFLIGHT_FD and SET_INFLIGHT_FD, and which region a ring gets. */
#include "transport/vhost_user_inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "transport/vhost_user_call.h"

enum {
    DESCRIPTION_LEN = 20, /* without the padding that most front-ends send too (VU-HDR-04) */
    PAGE_MOST = 1 << 16,  /* of any machine */
};

static enum inflight_format format_agreed(const struct vhost_user *vhost_user)
{
    return features_has(&coordinator_nic(vhost_user->coordinator)->agreed, F_RING_PACKED)
               ? INFLIGHT_PACKED
               : INFLIGHT_SPLIT;
}

struct inflight_region *vhost_user_area_region(const struct vhost_user_area *area,
                                               enum inflight_format format, unsigned index)
{
    size_t stride = inflight_region_len(format, area->queue_size);

    if (area->mapping == NULL || index >= area->queues ||
        !range_within((uint64_t)index * stride, stride, area->len))
        return NULL;
    return (struct inflight_region *)(area->first + index * stride);
}

struct inflight_region *vhost_user_inflight_region(struct vhost_user_ring *ring,
                                                   const struct virtqueue_config *config)
{
    struct vhost_user *vhost_user = ring->owner;
    enum inflight_format format = format_agreed(vhost_user);

    if (vhost_user->area.mapping != NULL)
        return config->size > vhost_user->area.queue_size
                   ? NULL
                   : vhost_user_area_region(&vhost_user->area, format, ring->index);
    return format == INFLIGHT_PACKED ? vhost_user_rings_file_region(ring, config) : NULL;
}

void vhost_user_inflight_forget(struct vhost_user_ring *ring)
{
    struct vhost_user *vhost_user = ring->owner;
    struct inflight_region *given =
        vhost_user_area_region(&vhost_user->area, format_agreed(vhost_user), ring->index);
    struct inflight_region *own =
        vhost_user_area_region(&vhost_user->rings_file.area, INFLIGHT_PACKED, ring->index);

    if (given != NULL)
        inflight_region_close(given);
    if (own != NULL)
        inflight_region_close(own);
}

void vhost_user_inflight_forget_all(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++)
        vhost_user_inflight_forget(&vhost_user->ring[i]);
}

void vhost_user_inflight_drop(struct vhost_user *vhost_user)
{
    memory_mapping_release(vhost_user->area.mapping);
    vhost_user->area = (struct vhost_user_area){0};
}

/* ---- areas that were made here -------------------------------------------------------------- */

/*
 * A front-end may keep the file of an area for as long as it likes, and its memory is this
 * process's to pay for. So there are two at the most: the one in use, and the last one that was
 * asked for. Who asks for another begins anew: what was before it is emptied.
 */

static int is_in_use(const struct vhost_user *vhost_user, int fd)
{
    const struct vhost_user_area *area = &vhost_user->area;
    struct stat made, used;

    return area->mapping != NULL && fstat(fd, &made) == 0 &&
           fstat(memory_mapping_part(area->mapping, area->first).fd, &used) == 0 &&
           made.st_dev == used.st_dev && made.st_ino == used.st_ino;
}

/* Up to behind its last page: a page that is emptied in part stays. */
static void made_empty(int *fd)
{
    struct stat status;

    if (fstat(*fd, &status) == 0 && fallocate(*fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                                              status.st_size + PAGE_MOST) < 0)
        log_debug("an area that nobody uses can't be emptied: %s", strerror(errno));
    fd_close(fd);
}

static int made_keep(struct vhost_user *vhost_user, int fd)
{
    int *place = NULL;

    for (unsigned i = 0; i < VHOST_USER_AREAS_MADE; i++) {
        int *made = &vhost_user->area_made[i];

        if (*made >= 0 && !is_in_use(vhost_user, *made))
            made_empty(made);
        if (*made < 0)
            place = made;
    }
    *place = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* there is one: only one is in use */
    return *place < 0 ? -errno : 0;
}

void vhost_user_inflight_close(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < VHOST_USER_AREAS_MADE; i++)
        fd_close(&vhost_user->area_made[i]);
}

/* ---- requests --------------------------------------------------------------------------- */

static int description_check(const struct vhost_user_call *call,
                             const struct vhost_user_inflight *wanted)
{
    unsigned queues_max = call->vhost_user->ring_count;
    unsigned size_max = vhost_user_call_nic(call)->config.queue_size_max;

    if (!(call->vhost_user->protocol_features & VHOST_USER_PROTOCOL_INFLIGHT_SHMFD))
        return error_set(call->err, EINVAL, "the protocol feature INFLIGHT_SHMFD was not accepted");
    if (wanted->num_queues == 0 || wanted->num_queues > queues_max)
        return error_set(call->err, EINVAL, "an area for %u rings; this NIC has %u",
                         wanted->num_queues, queues_max);
    if (wanted->queue_size == 0 || wanted->queue_size > size_max)
        return error_set(call->err, EINVAL, "an area for rings of %u entries; the most are %u",
                         wanted->queue_size, size_max);
    return 0;
}

/* The free list, as the specification has it for other back-ends. */
static int area_fill(int fd, const struct vhost_user_inflight *wanted, size_t stride)
{
    uint8_t *first =
        mmap(NULL, wanted->num_queues * stride, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (first == MAP_FAILED)
        return -errno;
    for (unsigned i = 0; i < wanted->num_queues; i++)
        inflight_region_init((struct inflight_region *)(first + i * stride), wanted->queue_size);
    munmap(first, wanted->num_queues * stride);
    return 0;
}

/* VU-RC-05: nobody can shrink it under us. A region is as long as that of a packed ring, since the
 * features may not be agreed on yet. */
static int area_create(struct vhost_user *vhost_user, const struct vhost_user_inflight *wanted,
                       uint64_t *ret_len)
{
    size_t stride = inflight_region_len(INFLIGHT_PACKED, wanted->queue_size);
    int fd = memfd_create("vionic-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int result = 0;

    *ret_len = wanted->num_queues * stride;
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)*ret_len) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        result = -errno;
    if (result == 0 && format_agreed(vhost_user) == INFLIGHT_PACKED)
        result = area_fill(fd, wanted, stride);
    if (result == 0)
        result = made_keep(vhost_user, fd);
    if (result == 0)
        return fd;
    fd_close(&fd);
    return result;
}

int vhost_user_get_inflight_fd(struct vhost_user_call *call)
{
    struct vhost_user_inflight *wanted = &call->payload->inflight;
    int result = description_check(call, wanted);
    uint64_t len;

    if (result < 0)
        return result;
    result = area_create(call->vhost_user, wanted, &len);
    if (result < 0)
        return error_set(call->err, -result, "no memory for %u rings of %u entries: %s",
                         wanted->num_queues, wanted->queue_size, strerror(-result));
    call->reply_fd = result;
    wanted->mmap_size = len;
    wanted->mmap_offset = 0;
    call->reply_size = (uint32_t)MIN(call->size, sizeof(*wanted));
    return 0;
}

static int refuse_running(const struct vhost_user_call *call)
{
    for (unsigned i = 0; i < call->vhost_user->ring_count; i++) {
        if (vhost_user_ring_running(&call->vhost_user->ring[i]))
            return vhost_user_refuse_live(call, &call->vhost_user->ring[i]);
    }
    return 0;
}

static int area_map(const struct vhost_user_call *call, const struct vhost_user_inflight *given,
                    struct vhost_user_area *ret_area)
{
    struct memory_part part = {.fd = call->vhost_user->peer.message.fd[0],
                               .offset = given->mmap_offset,
                               .size = given->mmap_size};
    uint64_t least = given->num_queues * (uint64_t)inflight_region_len(
                                             format_agreed(call->vhost_user), given->queue_size);
    uint64_t most =
        given->num_queues * (uint64_t)inflight_region_len(INFLIGHT_PACKED, given->queue_size);
    int result;

    if (given->mmap_size < least || given->mmap_offset % INFLIGHT_ALIGN != 0)
        return error_set(call->err, EINVAL,
                         "an area of %" PRIu64 " bytes at %" PRIu64
                         "; %u rings of %u entries need %" PRIu64 ", aligned to %d",
                         given->mmap_size, given->mmap_offset, given->num_queues, given->queue_size,
                         least, INFLIGHT_ALIGN);
    result = memory_part_check(&part, call->err);
    if (result < 0)
        return result;
    part.size = MIN(part.size, most); /* the rest would only take address space */
    *ret_area = (struct vhost_user_area){
        .len = part.size, .queues = given->num_queues, .queue_size = given->queue_size};
    result = memory_mapping_create(&part, &ret_area->mapping, &ret_area->first);
    if (result < 0)
        return error_set(call->err, -result, "it can't be mapped: %s", strerror(-result));
    return 0;
}

int vhost_user_set_inflight_fd(struct vhost_user_call *call)
{
    const struct vhost_user_inflight *given = &call->payload->inflight;
    struct vhost_user_area area;
    int result = description_check(call, given);

    if (result == 0 && call->vhost_user->peer.message.fd_count != 1)
        result = error_set(call->err, EINVAL, "an area came with %u file descriptors",
                           call->vhost_user->peer.message.fd_count);
    if (result == 0)
        result = refuse_running(call);
    if (result == 0)
        result = area_map(call, given, &area);
    if (result < 0)
        return result;
    vhost_user_inflight_drop(call->vhost_user);
    call->vhost_user->area = area;
    return 0;
}

void vhost_user_inflight_inspect(const struct vhost_user *vhost_user, struct inspect *visitor)
{
    const char *where = "nowhere";

    if (vhost_user->area.mapping != NULL)
        where = "the front-end's memory";
    else if (vhost_user->rings_file.area.mapping != NULL)
        where = "a file";
    inspect_text(visitor, "recorded_in", "%s", where);
}
