/* SPDX-License-Identifier: MIT */
#include "endpoint/tap/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "endpoint/endpoint.h"
#include "endpoint/tap/vnet.h"

/* Linux 6.2; older headers lack them. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
/* Linux 6.17 */
#ifndef TUN_F_UDP_TUNNEL_GSO
#define TUN_F_UDP_TUNNEL_GSO      0x080
#define TUN_F_UDP_TUNNEL_GSO_CSUM 0x100
#endif

enum {
    DEVICE_FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
};

static int device_set_interface(int fd, char ifname[IFNAMSIZ], enum device_queues queues)
{
    struct ifreq request = {0};

    memcpy(request.ifr_name, ifname, IFNAMSIZ);
    request.ifr_flags = DEVICE_FLAGS;
    if (queues == DEVICE_MULTI_QUEUE)
        request.ifr_flags |= IFF_MULTI_QUEUE;
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return -errno;
    memcpy(ifname, request.ifr_name, IFNAMSIZ);
    return 0;
}

static int device_explain(int rc, const char *ifname, struct error *err)
{
    const char *name = *ifname != '\0' ? ifname : "a new interface";

    switch (-rc) {
    case EPERM:
        return error_set(err, EPERM,
                         "endpoint tap: no right to open %s; run with CAP_NET_ADMIN, let an "
                         "administrator make it with 'ip tuntap add', or pass open taps with fd=",
                         name);
    case EBUSY:
        return error_set(err, EBUSY,
                         "endpoint tap: %s is in use by another process, or has no free queue; "
                         "stop that process or choose another ifname=",
                         name);
    case EINVAL:
        return error_set(err, EINVAL,
                         "endpoint tap: %s is not a tap, or was made with other flags (packet "
                         "information, multi-queue); delete it or choose another ifname=",
                         name);
    default:
        return error_set(err, -rc, "endpoint tap: can't open %s: %s", name, strerror(-rc));
    }
}

int device_open(char ifname[IFNAMSIZ], enum device_queues queues, int *ret_fd, struct error *err)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int rc;

    if (fd < 0)
        return error_set(
            err, errno,
            "endpoint tap: can't open /dev/net/tun: %s; load the kernel module tun and "
            "give this user the right, or pass open taps with fd=",
            strerror(errno));
    rc = device_set_interface(fd, ifname, queues);
    if (rc == 0)
        rc = device_prepare(fd, err);
    else
        device_explain(rc, ifname, err);
    if (rc < 0)
        fd_close(&fd);
    *ret_fd = fd;
    return rc;
}

static int device_refuse(const char *ifname, int fd, struct error *err)
{
    return error_set(err, EINVAL,
                     "endpoint tap: fd=%d (%s) must be opened with IFF_TAP, IFF_NO_PI and "
                     "IFF_VNET_HDR",
                     fd, ifname);
}

int device_check(int fd, char ret_ifname[IFNAMSIZ], enum device_queues *ret_queues,
                 struct error *err)
{
    struct ifreq request = {0};

    if (ioctl(fd, TUNGETIFF, &request) < 0)
        return error_set(err, errno == EBADF ? EBADF : EINVAL,
                         "endpoint tap: fd=%d is not an open tap; pass one on which TUNSETIFF was "
                         "done",
                         fd);
    if ((request.ifr_flags & DEVICE_FLAGS) != DEVICE_FLAGS)
        return device_refuse(request.ifr_name, fd, err);
    memcpy(ret_ifname, request.ifr_name, IFNAMSIZ);
    *ret_queues =
        (request.ifr_flags & IFF_MULTI_QUEUE) != 0 ? DEVICE_MULTI_QUEUE : DEVICE_SINGLE_QUEUE;
    return 0;
}

/* TUNGETIFF says IFF_NO_PI of each tap without a filter, since IFF_NOFILTER is the same bit: so it
 * is asked again, with a filter that lets everything through. A tap that has one of its own is
 * taken at its word. (One of a single instruction is ours: the kernel goes on to tell of it.) */
static int device_gives_packet_info(int fd)
{
    struct sock_filter all = {.code = BPF_RET | BPF_K, .k = UINT32_MAX};
    struct sock_fprog filter = {0};
    struct ifreq request = {0};
    int gives;

    if (ioctl(fd, TUNGETFILTER, &filter) < 0 || filter.len > 1)
        return 0;
    filter = (struct sock_fprog){.len = 1, .filter = &all};
    if (ioctl(fd, TUNATTACHFILTER, &filter) < 0)
        return 0;
    gives = ioctl(fd, TUNGETIFF, &request) == 0 && (request.ifr_flags & IFF_NO_PI) == 0;
    ioctl(fd, TUNDETACHFILTER, &filter);
    return gives;
}

int device_check_passed(int fd, char ret_ifname[IFNAMSIZ], enum device_queues *ret_queues,
                        struct error *err)
{
    int rc = device_check(fd, ret_ifname, ret_queues, err);

    if (rc < 0 || !device_gives_packet_info(fd))
        return rc;
    return device_refuse(ret_ifname, fd, err);
}

int device_set_header_len(int fd, int len)
{
    return ioctl(fd, TUNSETVNETHDRSZ, &len) < 0 ? -errno : 0;
}

int device_prepare(int fd, struct error *err)
{
    int little = 1;
    int rc = fd_set_nonblocking(fd);

    if (rc == 0)
        rc = device_set_header_len(fd, VNET_HDR_LEN);
    if (rc == 0 && ioctl(fd, TUNSETVNETLE, &little) < 0)
        rc = -errno;
    if (rc < 0)
        error_set(err, -rc, "endpoint tap: the kernel refuses a 12-byte little-endian header: %s",
                  strerror(-rc));
    return rc;
}

int device_set_offloads(int fd, uint32_t offloads)
{
    static const struct {
        uint32_t endpoint;
        unsigned tun;
    } map[] = {
        {ENDPOINT_CSUM, TUN_F_CSUM},
        {ENDPOINT_TSO4, TUN_F_TSO4},
        {ENDPOINT_TSO6, TUN_F_TSO6},
        {ENDPOINT_ECN, TUN_F_TSO_ECN},
        {ENDPOINT_UFO, TUN_F_UFO},
        {ENDPOINT_USO4 | ENDPOINT_USO6, TUN_F_USO4 | TUN_F_USO6},
        {ENDPOINT_UDP_TUNNEL, TUN_F_UDP_TUNNEL_GSO},
        {ENDPOINT_UDP_TUNNELS, TUN_F_UDP_TUNNEL_GSO_CSUM},
    };
    const unsigned tunnels = TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM;
    const unsigned inside = TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6;
    unsigned bits = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(map); i++) {
        /* The kernel takes USO4 and USO6 together or not at all. */
        if ((offloads & map[i].endpoint) == map[i].endpoint)
            bits |= map[i].tun;
    }
    if ((bits & TUN_F_CSUM) == 0)
        bits = 0; /* the others need it */
    if ((bits & inside) == 0)
        bits &= ~tunnels; /* refused without one of these */
    return ioctl(fd, TUNSETOFFLOAD, (unsigned long)bits) < 0 ? -errno : 0;
}

uint32_t device_probe_offloads(int fd)
{
    enum {
        TSO = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6,
        USO = ENDPOINT_USO4 | ENDPOINT_USO6,
    };
    static const uint32_t tries[] = {
        TSO | ENDPOINT_ECN | USO | ENDPOINT_UFO | ENDPOINT_UDP_TUNNELS,
        TSO | ENDPOINT_ECN | USO | ENDPOINT_UFO,
        TSO | ENDPOINT_ECN | USO,
        TSO | ENDPOINT_ECN | ENDPOINT_UFO,
        TSO | ENDPOINT_ECN,
        TSO,
        ENDPOINT_CSUM,
    };

    for (unsigned i = 0; i < ARRAY_COUNT(tries); i++) {
        if (device_set_offloads(fd, tries[i]) < 0)
            continue;
        device_set_offloads(fd, 0);
        return tries[i];
    }
    return 0;
}

static int device_set_queue(int fd, int flag)
{
    struct ifreq request = {0};

    request.ifr_flags = (short)flag;
    return ioctl(fd, TUNSETQUEUE, &request) < 0 ? -errno : 0;
}

int device_attach(int fd)
{
    return device_set_queue(fd, IFF_ATTACH_QUEUE);
}

int device_detach(int fd)
{
    return device_set_queue(fd, IFF_DETACH_QUEUE);
}

int device_alive(int fd)
{
    struct ifreq request = {0};

    return ioctl(fd, TUNGETIFF, &request) == 0;
}

int device_netns(int fd)
{
    int netns = ioctl(fd, TUNGETDEVNETNS);

    return netns < 0 ? -errno : netns;
}

/* SIOCS…: these go through any socket of the namespace. */
static int device_request(unsigned long code, struct ifreq *request)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int rc;

    if (fd < 0)
        return -errno;
    rc = ioctl(fd, code, request) < 0 ? -errno : 0;
    fd_close(&fd);
    return rc;
}

/* Names repeat from one namespace to the next; a tap's hardware address hardly does. */
int device_is_here(int fd)
{
    struct ifreq there = {0}, here = {0};

    if (ioctl(fd, TUNGETIFF, &there) < 0)
        return 0;
    memcpy(here.ifr_name, there.ifr_name, IFNAMSIZ);
    if (ioctl(fd, SIOCGIFHWADDR, &there) < 0 || device_request(SIOCGIFHWADDR, &here) < 0)
        return 0;
    return memcmp(there.ifr_hwaddr.sa_data, here.ifr_hwaddr.sa_data, 6) == 0;
}

int device_set_mtu(const char *ifname, uint32_t mtu)
{
    struct ifreq request = {0};

    memccpy(request.ifr_name, ifname, '\0', IFNAMSIZ - 1);
    request.ifr_mtu = (int)mtu;
    return device_request(SIOCSIFMTU, &request);
}

int device_set_up(const char *ifname)
{
    struct ifreq request = {0};
    int rc;

    memccpy(request.ifr_name, ifname, '\0', IFNAMSIZ - 1);
    rc = device_request(SIOCGIFFLAGS, &request);
    if (rc < 0 || (request.ifr_flags & IFF_UP) != 0)
        return rc;
    request.ifr_flags |= IFF_UP;
    return device_request(SIOCSIFFLAGS, &request);
}
