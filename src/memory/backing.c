/* SPDX-License-Identifier: MIT */
#include "memory/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/checked.h"
#include "base/fd.h"

#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xff534d42
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xfe534d42
#endif
#ifndef CEPH_SUPER_MAGIC
#define CEPH_SUPER_MAGIC 0x00c36400
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

/* A file system of this host says what it knows of these; one that asks a server does not. */
#define OWN_ATTRIBUTES (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)

static int stalls(uint32_t type)
{
    static const uint32_t types[] = {FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC,  V9FS_MAGIC,
                                     CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC, CEPH_SUPER_MAGIC,
                                     AFS_FS_MAGIC,     AFS_SUPER_MAGIC,  CODA_SUPER_MAGIC};

    for (unsigned i = 0; i < ARRAY_COUNT(types); i++) {
        if (types[i] == type)
            return 1;
    }
    return 0;
}

/* Seals are what memfd, tmpfs and hugetlbfs have. All others are asked for what they know already:
 * fstat and fstatfs would ask the server of a FUSE file system, and wait. */
int memory_backing_check(int fd, struct error *err)
{
    int type = fd_type(fd);
    struct statx status;
    struct statfs system;

    if (fcntl(fd, F_GET_SEALS) >= 0)
        return 0;
    if (type < 0)
        return error_set(err, -type, "its file can't be looked at");
    if (type != S_IFREG)
        return error_set(err, EINVAL, "its fd is not a memory file");
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) == 0 &&
        (status.stx_attributes_mask & OWN_ATTRIBUTES) == OWN_ATTRIBUTES &&
        fstatfs(fd, &system) == 0 && !stalls((uint32_t)system.f_type))
        return 0;
    return error_set(err, EINVAL,
                     "its file is on a FUSE or network file system, whose pages may never come; "
                     "share a memfd, or a file in /dev/shm, hugetlbfs or on a local disk");
}
