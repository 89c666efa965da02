/* SPDX-License-Identifier: MIT */
#include "daemon/sandbox_files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/sandbox_build.h"

/* Later than the headers of Debian 12. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ull << 14) /* Linux 6.2, version 3 */
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ull << 15) /* Linux 6.10, version 5 */
#endif

#define RIGHTS_SOCKETS                                                                             \
    (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_DEVICE                                                                              \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_IOCTL_DEV)
/* What a rule for a file, not a folder, may give. */
#define RIGHTS_OF_FILES                                                                            \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE |   \
     LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_IOCTL_DEV)

static const char resolver[] = "/etc/resolv.conf";

static int landlock_version(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

int sandbox_files_possible(void)
{
    return landlock_version() >= 1;
}

/* All that the kernel can limit. */
static uint64_t handled_rights(void)
{
    int version = landlock_version();
    uint64_t rights = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1; /* version 1: bits 0 to 12 */

    if (version >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
    if (version >= 5)
        rights |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
    return rights;
}

static int allow(int ruleset, const char *path, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights & handled_rights()};
    struct stat about;
    int ret = 0;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return 0;
    if (fstat(rule.parent_fd, &about) == 0 && !S_ISDIR(about.st_mode))
        rule.allowed_access &= RIGHTS_OF_FILES;
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        ret = -errno;
    close(rule.parent_fd);
    return ret;
}

/* The file may be a link to one that is often replaced, so its folder is allowed. Not /etc for root
 * though, to whom all of it is open. */
static int allow_resolver(int ruleset)
{
    char path[PATH_MAX];

    if (realpath(resolver, path) == NULL)
        return 0;
    if (strncmp(path, "/etc/", 5) == 0 && geteuid() == 0)
        return allow(ruleset, resolver, RIGHTS_READ);
    return allow(ruleset, dirname(path), RIGHTS_READ);
}

static int allow_for_control(int ruleset, const struct sandbox_plan *plan)
{
    static const char *const names[] = {"/etc/resolv.conf", "/etc/hosts",    "/etc/nsswitch.conf",
                                        "/etc/host.conf",   "/etc/gai.conf", "/etc/services"};
    int ret = allow(ruleset, "/dev/userfaultfd", RIGHTS_DEVICE);

    for (unsigned i = 0; ret == 0 && i < plan->folders; i++)
        ret = allow(ruleset, plan->folder[i], RIGHTS_SOCKETS);
    for (size_t i = 0;
         ret == 0 && (plan->needs & NEED_STREAM) && i < sizeof(names) / sizeof(names[0]); i++)
        ret = allow(ruleset, names[i], RIGHTS_READ);
    if (ret == 0 && (plan->needs & NEED_TAP))
        ret = allow(ruleset, "/dev/net/tun", RIGHTS_DEVICE);
    if (ret == 0 && (plan->needs & NEED_NETNS))
        ret = allow(ruleset, "/run/netns", RIGHTS_READ);
    return ret;
}

static int add_rules(int ruleset, const struct sandbox_plan *plan, enum sandbox_role role)
{
    int ret = 0;

    if (SANDBOX_BUILD_SANITIZED)
        ret =
            allow(ruleset, "/", RIGHTS_READ); /* where their reports look for names of functions */
    if (ret == 0 && (plan->needs & NEED_USER))
        ret = allow_resolver(ruleset);
    if (ret == 0 && role == SANDBOX_CONTROL)
        ret = allow_for_control(ruleset, plan);
    return ret;
}

int sandbox_files_limit(const struct sandbox_plan *plan, enum sandbox_role role)
{
    struct landlock_ruleset_attr attr = {.handled_access_fs = handled_rights()};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    int ret = ruleset < 0 ? -errno : add_rules(ruleset, plan, role);

    if (ret == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        ret = -errno;
    fd_close(&ruleset);
    return ret;
}
