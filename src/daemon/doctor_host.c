/* SPDX-License-Identifier: MIT */
#include "daemon/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/sandbox_filter.h"
#include "daemon/sandbox_privileges.h"
#include "vionic.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
    FILES_FEW = 1024,
    PROBE_SECONDS = 5,

    /* Exit status of the probe. */
    PROBE_DONE = 1, /* it could make a tap */
    PROBE_TSO = 2,
    PROBE_USO = 4,
};

static void check_build(json_t *findings)
{
    struct vionic_endpoint_kind kind = {.size = sizeof(kind)};
    char kinds[256] = "";
    size_t used = 0;

    for (unsigned i = 0; vionic_endpoint_kind(i, &kind) == 0; i++) {
        if (strstr(kind.summary, "not in this build") != NULL)
            doctor_add(findings, FINDING_NOTE, "install what is missing and build again",
                       "endpoint %s: %s", kind.kind, kind.summary);
        else if (used < sizeof(kinds))
            used += (size_t)snprintf(kinds + used, sizeof(kinds) - used, "%s%s",
                                     used == 0 ? "" : ", ", kind.kind);
    }
    doctor_add(findings, FINDING_OK, NULL, "vionic %s with the endpoints %s", vionic_version(),
               kinds);
}

static void check_sandbox_build(json_t *findings)
{
    const char *missing[] = {sandbox_filter_missing(), sandbox_privileges_missing()};

    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
        if (missing[i] != NULL)
            doctor_add(findings, FINDING_NOTE, NULL, "sandbox: %s", missing[i]);
}

static int has_net_admin(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN)) != 0;
}

static int probe_taps(void)
{
    const unsigned tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    int found = PROBE_DONE;

    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
        return 0;
    if (ioctl(fd, TUNSETOFFLOAD, tso) == 0)
        found |= PROBE_TSO;
    if (ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0)
        found |= PROBE_USO;
    return found;
}

/* In a network namespace that ends with the child: nothing of the host's is touched. */
static int probe_apart(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        alarm(PROBE_SECONDS);
        if (unshare(has_net_admin() ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) < 0)
            _exit(0);
        _exit(probe_taps());
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        return 0;
    return WEXITSTATUS(status);
}

static void check_tap_offloads(json_t *findings)
{
    int found = probe_apart();

    if (!(found & PROBE_DONE))
        return;
    if (!(found & PROBE_TSO))
        doctor_add(findings, FINDING_NOTE, NULL,
                   "taps of this kernel take no TSO: vionic cuts large frames itself, which takes "
                   "CPU time");
    else if (!(found & PROBE_USO))
        doctor_add(findings, FINDING_NOTE, "Linux 6.2 and later have it",
                   "taps of this kernel take no USO: vionic cuts large UDP frames itself, which "
                   "takes CPU time");
    else
        doctor_add(findings, FINDING_OK, NULL, "taps of this kernel take TSO and USO");
}

static void check_tap(json_t *findings)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        doctor_add(findings, FINDING_NOTE,
                   "load the kernel module (modprobe tun) and give this user the right to the "
                   "file, or hand open taps in with tap:fd=N",
                   "endpoint tap can't make or attach taps: /dev/net/tun can't be opened (%s)",
                   strerror(errno));
        return;
    }
    fd_close(&fd);
    if (has_net_admin())
        doctor_add(findings, FINDING_OK, NULL, "endpoint tap may make tap interfaces");
    else
        doctor_add(findings, FINDING_NOTE,
                   "run the daemon with CAP_NET_ADMIN, or have root make the tap: ip tuntap add "
                   "dev tap0 mode tap vnet_hdr user NAME",
                   "endpoint tap may only attach to taps that were made for this user");
    check_tap_offloads(findings);
}

static void check_files(json_t *findings)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    if (files.rlim_cur < FILES_FEW)
        doctor_add(findings, FINDING_NOTE, "raise it: ulimit -n, or LimitNOFILE= of systemd",
                   "a process may open %llu files here; each queue pair takes up to 8 and each "
                   "card 8 more",
                   (unsigned long long)files.rlim_cur);
    else
        doctor_add(findings, FINDING_OK, NULL, "a process may open %llu files",
                   (unsigned long long)files.rlim_cur);
}

void doctor_check_host(json_t *findings)
{
    check_build(findings);
    check_sandbox_build(findings);
    check_tap(findings);
    check_files(findings);
}
