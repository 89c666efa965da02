/* SPDX-License-Identifier: MIT */
/*
 * SOCKET.rings: where packed rings stand whose front-end brings no memory for that. QEMU is one: of
 * a split ring it knows where to go on, since the ring says so; of a packed one it sends where it
 * was when somebody last stopped it properly, long ago.
 *
 * The file may be left by anybody: another virtual machine that used this socket, another
 * configuration. It speaks of a ring if that lies at the same addresses of the same memory file:
 * a memfd's inode lives and dies with its virtual machine. What is in it is bounded like a
 * front-end's (ring/inflight.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "transport/vhost_user_inflight.h"
#include "transport/vhost_user_session.h"

enum {
    FILE_VERSION = 1,
    PAGE = 4096,
    PATH_LEN_MAX = 128, /* a socket's is shorter */
};

struct ring_identity {
    uint64_t memory; /* guest_memory_file_id */
    uint64_t desc_gpa, driver_gpa, device_gpa;
    uint64_t size;
};

struct file_header {
    char magic[8];
    uint32_t version;
    uint16_t queues;
    uint16_t queue_size;
    struct ring_identity ring[];
};

static const char magic[8] = "vionrngs";

static size_t header_len(unsigned queues)
{
    size_t len = sizeof(struct file_header) + queues * sizeof(struct ring_identity);

    return (len + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static int file_path(const struct vhost_user *vhost_user, char ret_path[], size_t room)
{
    int len = snprintf(ret_path, room, "%s.rings", vhost_user->path);

    return len > 0 && (size_t)len < room ? 0 : -ENAMETOOLONG;
}

/* Ours alone: nobody else may have made it, and no other daemon uses it. */
static int file_open(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    int result = 0;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0)
        result = -errno;
    else if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || status.st_nlink != 1)
        result = -EPERM; /* a second name: of a file of ours that is something else */
    else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        result = -EBUSY;
    if (result < 0) {
        fd_close(&fd);
        return result;
    }
    return fd;
}

void vhost_user_rings_file_open(struct vhost_user *vhost_user)
{
    struct vhost_user_rings_file *file = &vhost_user->rings_file;
    char path[PATH_LEN_MAX];
    int result = file_path(vhost_user, path, sizeof(path));
    struct stat status;

    if (result == 0)
        result = file_open(path);
    file->fd = result < 0 ? -1 : result;
    file->error = result < 0 ? result : 0;
    file->holds = file->fd >= 0 && fstat(file->fd, &status) == 0 && status.st_size != 0;
}

static struct file_header *header_of(const struct vhost_user_area *area)
{
    return (struct file_header *)(area->first - header_len(area->queues));
}

static int header_fits(const struct file_header *header, const struct vhost_user_area *area)
{
    return memcmp(header->magic, magic, sizeof(magic)) == 0 && header->version == FILE_VERSION &&
           header->queues == area->queues && header->queue_size == area->queue_size;
}

/* A file of another shape speaks of nothing that is here. The magic is last: a kill in between
 * leaves such a file. */
static void header_make(const struct vhost_user_area *area)
{
    struct file_header *header = header_of(area);

    memset(header, 0, header_len(area->queues));
    for (unsigned i = 0; i < area->queues; i++)
        inflight_region_close(vhost_user_area_region(area, INFLIGHT_PACKED, i));
    header->version = FILE_VERSION;
    header->queues = area->queues;
    header->queue_size = area->queue_size;
    memcpy(header->magic, magic, sizeof(magic));
}

/* Nobody has it mapped. */
static int file_resize(int fd, uint64_t size)
{
    struct stat status;

    if (fstat(fd, &status) == 0 && (uint64_t)status.st_size == size)
        return 0;
    return ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static uint64_t area_len(unsigned queues, unsigned queue_size)
{
    return queues * (uint64_t)inflight_region_len(INFLIGHT_PACKED, queue_size);
}

/* Does it speak of this ring, in whatever shape? Another daemon may have it mapped. */
static int file_speaks_of(const struct vhost_user *vhost_user, unsigned index,
                          const struct ring_identity *identity, struct vhost_user_area *ret_area)
{
    int fd = vhost_user->rings_file.fd;
    struct ring_identity known;
    struct file_header header;
    struct stat status;
    off_t at = (off_t)(sizeof(header) + index * sizeof(known));

    if (fstat(fd, &status) < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
        pread(fd, &known, sizeof(known), at) != sizeof(known))
        return 0;
    ret_area->queues = header.queues;
    ret_area->queue_size = header.queue_size;
    ret_area->len = area_len(header.queues, header.queue_size);
    return header_fits(&header, ret_area) && header.queues == vhost_user->ring_count &&
           (uint64_t)status.st_size == header_len(header.queues) + ret_area->len &&
           memcmp(&known, identity, sizeof(known)) == 0;
}

/* What speaks of a ring stays as it is, whatever this configuration would make: in a takeover the
 * process before has it mapped, and goes on with it if this one fails. */
static int file_map(struct vhost_user *vhost_user, unsigned index,
                    const struct ring_identity *identity)
{
    struct vhost_user_rings_file *file = &vhost_user->rings_file;
    struct vhost_user_area area = {0};
    struct memory_part part;
    int result = file->error;
    int speaks = result == 0 && file_speaks_of(vhost_user, index, identity, &area);

    if (result < 0 || (!speaks && vhost_user->given))
        return result;
    if (!speaks) {
        area.queues = (uint16_t)vhost_user->ring_count;
        area.queue_size = (uint16_t)coordinator_nic(vhost_user->coordinator)->config.queue_size_max;
        area.len = area_len(area.queues, area.queue_size);
        result = file_resize(file->fd, header_len(area.queues) + area.len);
    }
    part = (struct memory_part){.fd = file->fd, .size = header_len(area.queues) + area.len};
    if (result == 0)
        result = memory_mapping_create(&part, &area.mapping, &area.first);
    if (result < 0)
        return result;
    area.first += header_len(area.queues);
    file->area = area;
    if (!header_fits(header_of(&area), &area))
        header_make(&area);
    return 0;
}

static void map_once(struct vhost_user_ring *ring, const struct ring_identity *identity)
{
    struct vhost_user *vhost_user = ring->owner;
    struct vhost_user_rings_file *file = &vhost_user->rings_file;
    int result;

    if (file->area.mapping != NULL || file->failed)
        return;
    result = file_map(vhost_user, ring->index, identity);
    file->failed = result < 0;
    if (result < 0)
        log_info("%s: %s.rings can't be had (%s): packed rings will be reset if this process is "
                 "killed",
                 coordinator_name(vhost_user->coordinator), vhost_user->path, strerror(-result));
}

struct inflight_region *vhost_user_rings_file_region(struct vhost_user_ring *ring,
                                                     const struct virtqueue_config *config)
{
    struct vhost_user *vhost_user = ring->owner;
    struct vhost_user_rings_file *file = &vhost_user->rings_file;
    uint64_t desc_gpa = vhost_user_iommu_gpa(vhost_user, config->desc_gpa);
    struct ring_identity identity = {.memory = guest_memory_file_id(vhost_user->memory, desc_gpa),
                                     .desc_gpa = config->desc_gpa,
                                     .driver_gpa = config->driver_gpa,
                                     .device_gpa = config->device_gpa,
                                     .size = config->size};
    struct inflight_region *region;
    struct ring_identity *known;

    map_once(ring, &identity);
    region = vhost_user_area_region(&file->area, INFLIGHT_PACKED, ring->index);
    if (region == NULL || config->size > file->area.queue_size)
        return NULL;
    known = &header_of(&file->area)->ring[ring->index];
    if (memcmp(known, &identity, sizeof(identity)) == 0)
        return region;
    if (vhost_user->given)
        return NULL; /* the process before keeps what it has */
    inflight_region_close(region);
    *known = identity;
    return region;
}

static int holds_nothing(const struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        const struct inflight_region *region =
            vhost_user_area_region(&vhost_user->rings_file.area, INFLIGHT_PACKED, i);

        if (region != NULL && !inflight_region_closed(region))
            return 0;
    }
    return 1;
}

void vhost_user_rings_file_let_go(struct vhost_user *vhost_user)
{
    struct vhost_user_rings_file *file = &vhost_user->rings_file;

    if (file->area.mapping == NULL)
        return;
    file->holds = !holds_nothing(vhost_user);
    memory_mapping_release(file->area.mapping);
    file->area = (struct vhost_user_area){0};
}

void vhost_user_rings_file_close(struct vhost_user *vhost_user)
{
    struct vhost_user_rings_file *file = &vhost_user->rings_file;
    char path[PATH_LEN_MAX];

    vhost_user_rings_file_let_go(vhost_user);
    if (file->fd >= 0 && !file->holds && !vhost_user->given &&
        file_path(vhost_user, path, sizeof(path)) == 0)
        unlink(path);
    fd_close(&file->fd);
}
