/* SPDX-License-Identifier: MIT */
#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static void write_file(const char *path, const char *format, unsigned value)
{
    char text[64];
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    snprintf(text, sizeof(text), format, value);
    if (fd >= 0 && write(fd, text, strlen(text)) < 0)
        print_message("%s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static int enter_user_namespace(void)
{
    unsigned uid = getuid(), gid = getgid();

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return -errno;
    write_file("/proc/self/setgroups", "deny", 0);
    write_file("/proc/self/uid_map", "0 %u 1", uid);
    write_file("/proc/self/gid_map", "0 %u 1", gid);
    return 0;
}

const char *host_enter_namespace(void)
{
    int fd;

    if (unshare(CLONE_NEWNET) < 0 && enter_user_namespace() < 0)
        return "no right to make a network namespace: run as root, or allow user namespaces";
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return "no right to open /dev/net/tun: run as root, or 'chmod 0666 /dev/net/tun'";
    close(fd);
    /* Else the kernel speaks first on every new interface. */
    write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1", 0);
    return NULL;
}

void host_command(const char *format, ...)
{
    char command[256];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    check(system(command) == 0, "'%s' failed", command);
}

int host_socket(const char *ifname, uint16_t ethertype, enum host_socket kind)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ethertype)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1, space = 4 << 20;

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &space, sizeof(space));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &space, sizeof(space));
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
    if (kind == HOST_WITH_VNET_HDR)
        assert_return_code(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), errno);
    address.sll_ifindex = (int)if_nametoindex(ifname);
    assert_true(address.sll_ifindex > 0);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}

void host_send(int fd, const void *bytes, size_t len)
{
    ssize_t n = send(fd, bytes, len, 0);

    check(n == (ssize_t)len, "the packet socket sent %zd of %zu bytes: %s", n, len,
          strerror(errno));
}

int host_has_frame(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, timeout_ms) > 0;
}

size_t host_receive(int fd, void *bytes, size_t len)
{
    ssize_t n;

    check(host_has_frame(fd, 1000), "no frame came to the host");
    n = recv(fd, bytes, len, 0);
    check(n >= 0, "the packet socket: %s", strerror(errno));
    return (size_t)n;
}

uint16_t internet_checksum(const void *bytes, size_t len, uint32_t start)
{
    const uint8_t *b = bytes;
    uint64_t sum = start;

    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)(b[i] << 8 | b[i + 1]);
    if (len % 2 != 0)
        sum += (uint32_t)(b[len - 1] << 8);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}
