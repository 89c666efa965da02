/* SPDX-License-Identifier: MIT */
/*
 * Post-copy migration (PAGEFAULT, VU-PC-01): memory that is there before its contents are. Whoever
 * touches a page that has not come yet waits for the front-end, in the kernel: workers too, and
 * with them every NIC that they serve. So it is offered only where the operator trusts the
 * front-end that far.
 *
 *   ADVISE ─> LISTEN ─> [ memory ─> its addresses here ─> the front-end's word ]* ─> … ─> END
 *
 * The front-end holds the userfaultfd alone once memory is registered: if it dies, the kernel lets
 * go of everybody who waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "transport/vhost_user_call.h"

/* -errno. Through the device no privilege is needed once it is open. */
static int uffd_open(int device_fd)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM};
    int fd = device_fd >= 0 ? ioctl(device_fd, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK)
                            : (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    int result;

    if (fd < 0)
        return -errno;
    if (ioctl(fd, UFFDIO_API, &api) == 0)
        return fd;
    result = -errno;
    close(fd);
    return result;
}

int vhost_user_postcopy_open(struct vhost_user_postcopy *postcopy, struct error *err)
{
    int fd;

    *postcopy = (struct vhost_user_postcopy){.uffd = -1};
    postcopy->device_fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    fd = uffd_open(postcopy->device_fd);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    fd_close(&postcopy->device_fd);
    return error_set(err, -fd,
                     "postcopy=on needs userfaultfd(2), which is refused here (%s): make "
                     "/dev/userfaultfd readable and writable for this user",
                     strerror(-fd));
}

void vhost_user_postcopy_forget(struct vhost_user_postcopy *postcopy)
{
    guest_memory_free(postcopy->next);
    fd_close(&postcopy->uffd);
    postcopy->next = NULL;
    postcopy->stage = VHOST_USER_POSTCOPY_NONE;
}

void vhost_user_postcopy_close(struct vhost_user_postcopy *postcopy)
{
    vhost_user_postcopy_forget(postcopy);
    fd_close(&postcopy->device_fd);
}

/* ---- requests --------------------------------------------------------------------------- */

static int stage_check(const struct vhost_user_call *call, enum vhost_user_postcopy_stage wanted)
{
    if (!(call->vhost_user->protocol_features & VHOST_USER_PROTOCOL_PAGEFAULT))
        return error_set(call->err, EINVAL, "the protocol feature PAGEFAULT was not agreed on");
    if (call->vhost_user->postcopy.stage != wanted)
        return error_set(call->err, EINVAL, "post-copy has other steps before this one");
    return 0;
}

int vhost_user_postcopy_advise(struct vhost_user_call *call)
{
    struct vhost_user_postcopy *postcopy = &call->vhost_user->postcopy;
    int result = stage_check(call, VHOST_USER_POSTCOPY_NONE);

    if (result < 0)
        return result;
    postcopy->uffd = uffd_open(postcopy->device_fd);
    if (postcopy->uffd < 0)
        return error_set(call->err, -postcopy->uffd, "no userfaultfd");
    call->reply_fd = fcntl(postcopy->uffd, F_DUPFD_CLOEXEC, 0);
    if (call->reply_fd < 0) {
        fd_close(&postcopy->uffd);
        return error_set(call->err, EMFILE, "no userfaultfd for the front-end");
    }
    postcopy->stage = VHOST_USER_POSTCOPY_ADVISED;
    return 0;
}

int vhost_user_postcopy_listen(struct vhost_user_call *call)
{
    int result = stage_check(call, VHOST_USER_POSTCOPY_ADVISED);

    if (result == 0 && call->vhost_user->memory != NULL)
        return error_set(call->err, EINVAL, "memory was shared before post-copy began");
    if (result == 0)
        call->vhost_user->postcopy.stage = VHOST_USER_POSTCOPY_LISTENING;
    return result;
}

int vhost_user_postcopy_end(struct vhost_user_call *call)
{
    if (!(call->vhost_user->protocol_features & VHOST_USER_PROTOCOL_PAGEFAULT))
        return error_set(call->err, EINVAL, "the protocol feature PAGEFAULT was not agreed on");
    vhost_user_postcopy_forget(&call->vhost_user->postcopy);
    return vhost_user_reply_u64(call, 0);
}

/* ---- memory while it is listened for ---------------------------------------------------- */

int vhost_user_postcopy_listening(const struct vhost_user *vhost_user)
{
    return vhost_user->postcopy.stage == VHOST_USER_POSTCOPY_LISTENING;
}

/* Where the region is mapped here, in the place of the front-end's own address. */
static void region_locate(const struct guest_memory *memory, struct vhost_user_region *region)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        if (memory->region[i].gpa == region->gpa)
            region->uva = (uintptr_t)memory->region[i].hva;
    }
}

void vhost_user_postcopy_locate(struct vhost_user_call *call, const struct guest_memory *memory,
                                struct vhost_user_region *region, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        region_locate(memory, &region[i]);
    call->answers = 1;
    call->reply_size = call->size;
}

void vhost_user_postcopy_keep(struct vhost_user *vhost_user, struct guest_memory *next)
{
    guest_memory_free(vhost_user->postcopy.next);
    vhost_user->postcopy.next = next;
}

static int region_register(int uffd, const struct memory_region *region)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)region->hva & ~(page - 1);
    uintptr_t end = ((uintptr_t)region->hva + region->size + page - 1) & ~(page - 1);
    struct uffdio_register range = {
        .range = {.start = begin, .len = end - begin},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };

    madvise((void *)begin, end - begin, MADV_NOHUGEPAGE); /* pages come one by one */
    return ioctl(uffd, UFFDIO_REGISTER, &range) < 0 ? -errno : 0;
}

int vhost_user_postcopy_go(struct vhost_user_call *call, struct guest_memory **ret_next)
{
    struct vhost_user_postcopy *postcopy = &call->vhost_user->postcopy;
    int result = 0;

    *ret_next = NULL;
    if (call->payload->u64 != 0 || (postcopy->next == NULL && postcopy->uffd >= 0))
        return error_set(call->err, EINVAL, "there is no memory to go on with");
    if (postcopy->next == NULL)
        return 0; /* each queue pair's word, of QEMU 7.2 */
    if (postcopy->uffd < 0)
        return error_set(call->err, EBUSY, "memory can't change once post-copy has begun");
    for (unsigned i = 0; i < postcopy->next->region_count && result == 0; i++)
        result = region_register(postcopy->uffd, &postcopy->next->region[i]);
    if (result < 0)
        return error_set(call->err, -result, "memory can't be waited for: %s", strerror(-result));
    fd_close(&postcopy->uffd);
    *ret_next = postcopy->next;
    postcopy->next = NULL;
    return 0;
}
