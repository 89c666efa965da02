/* SPDX-License-Identifier: MIT */
/*
 * A guest's eyes and hands for raw frames:
 *
 *   frames listen INTERFACE [MAC…]
 *   frames send INTERFACE COUNT BYTES
 *
 * "listen" prints what comes in, a frame a line: FLAGS GSO_TYPE GSO_SIZE LENGTH BYTES, the first
 * three as in struct virtio_net_hdr and as the guest's kernel understood them, the bytes (up to
 * 2048) in hexadecimal. The interface takes frames for the MACs too while it is listened to. The
 * end is a frame of type 0x88b5 whose payload begins with "last", and what comes just behind it.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SHOWN = 2048,
    LENGTH_MAX = 128 << 10,
    RECEIVE_BUFFER = 32 << 20,
    PATIENCE_S = 10,
    QUIET_MS = 100,
};

struct record {
    struct virtio_net_hdr header;
    unsigned char bytes[LENGTH_MAX];
};

static struct record record;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void set(int fd, int level, int name, int value)
{
    if (setsockopt(fd, level, name, &value, sizeof(value)) < 0)
        die("setsockopt");
}

static int parse_bytes(const char *text, unsigned char *ret_bytes, int max)
{
    int count = 0;

    while (count < max && sscanf(text, "%2hhx", &ret_bytes[count]) == 1) {
        count++;
        text += strlen(text) > 2 && text[2] == ':' ? 3 : 2;
        if (strlen(text) < 2)
            break;
    }
    return count;
}

static int open_interface(const char *interface, int protocol)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons((uint16_t)protocol),
        .sll_ifindex = (int)if_nametoindex(interface),
    };
    int fd = socket(AF_PACKET, SOCK_RAW, 0);

    if (fd < 0)
        die("socket");
    set(fd, SOL_PACKET, PACKET_VNET_HDR, 1);
    set(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
    if (protocol != 0)
        set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    if (address.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die(interface);
    return fd;
}

static void join(int fd, const char *interface, const char *mac)
{
    struct packet_mreq request = {.mr_ifindex = (int)if_nametoindex(interface),
                                  .mr_alen = ETH_ALEN};

    if (parse_bytes(mac, request.mr_address, ETH_ALEN) != ETH_ALEN)
        die(mac);
    request.mr_type = request.mr_address[0] & 1 ? PACKET_MR_MULTICAST : PACKET_MR_UNICAST;
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request)) < 0)
        die(mac);
}

static int is_last(size_t len)
{
    static const unsigned char mark[] = {0x88, 0xb5, 'l', 'a', 's', 't'};

    return len >= 12 + sizeof(mark) && memcmp(record.bytes + 12, mark, sizeof(mark)) == 0;
}

static void show(size_t len)
{
    printf("%u %u %u %zu ", record.header.flags, record.header.gso_type, record.header.gso_size,
           len);
    for (size_t i = 0; i < len && i < SHOWN; i++)
        printf("%02x", record.bytes[i]);
    putchar('\n');
}

static void listen_to(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int patience = PATIENCE_S * 1000;

    printf("listening\n");
    fflush(stdout);
    while (poll(&wait, 1, patience) > 0) {
        ssize_t got = recv(fd, &record, sizeof(record), 0);
        size_t len = got < 0 ? 0 : (size_t)got - sizeof(record.header);

        if (got < (ssize_t)sizeof(record.header))
            die("recv");
        show(len);
        if (is_last(len))
            patience = QUIET_MS;
    }
}

static void send_to(int fd, long count, const char *text)
{
    size_t len = sizeof(record.header) + (size_t)parse_bytes(text, record.bytes, LENGTH_MAX);

    while (count-- > 0) {
        if (send(fd, &record, len, 0) < 0)
            die("send");
    }
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "send") == 0) {
        send_to(open_interface(argv[2], 0), atol(argv[3]), argv[4]);
        return 0;
    }
    if (argc >= 3 && strcmp(argv[1], "listen") == 0) {
        int fd = open_interface(argv[2], ETH_P_ALL);

        for (int i = 3; i < argc; i++)
            join(fd, argv[2], argv[i]);
        listen_to(fd);
        return 0;
    }
    fprintf(stderr, "usage: frames listen INTERFACE [MAC…] | send INTERFACE COUNT BYTES\n");
    return 2;
}
