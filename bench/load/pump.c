/* SPDX-License-Identifier: MIT */
/*
 * A kernel's network stack as the guest: everything that a network namespace sends into its tap
 * goes to a back-end, and the other way round. Prints "ready", then runs until its input ends.
 *
 *     pump card SOCKET IFNAME     the driver of a vhost-user card; offloads of the tap reach it
 *     pump stream SOCKET IFNAME   frames behind a length of four bytes, as passt speaks it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "guest.h"

enum {
    BURST = 64, /* frames one way before the other has its turn */
    LENGTH_LEN = 4,
    STREAM_ROOM = 1 << 18,
    FRAME_SPANS = LOAD_RING_SIZE,
};

static int tap_open(const char *ifname, int is_card)
{
    struct ifreq request = {.ifr_flags =
                                (short)(IFF_TAP | IFF_NO_PI | (is_card ? IFF_VNET_HDR : 0))};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int header_len = LOAD_HEADER_LEN;

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
    check(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0, "the tap %s can't be opened", ifname);
    check(!is_card || (ioctl(fd, TUNSETVNETHDRSZ, &header_len) == 0 &&
                       ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) == 0),
          "the tap %s takes no offloads", ifname);
    return fd;
}

/* For poll's word on the standard input. */
static int has_ended(short revents)
{
    char byte;

    return revents != 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

/* ---- a card ------------------------------------------------------------------------------ */

static void card_ask(struct load_pair *pair, unsigned ring, enum driver_interrupts interrupts)
{
    pair->ring[ring]->ops->interrupts(pair->ring[ring], interrupts);
}

/* The header of the tap is the card's: the frame lies in guest memory as it has to. */
static unsigned card_send(struct load_pair *pair, int tap)
{
    unsigned count = 0;

    load_pair_reap(pair);
    while (pair->tx_in_flight < LOAD_TX_SLOTS && count < BURST) {
        uint64_t gpa = pair->tx_gpa[pair->tx_next];
        ssize_t len = read(tap, guest_ram_at(pair->ram, gpa, LOAD_HEADER_LEN + pair->frame_len),
                           LOAD_HEADER_LEN + pair->frame_len);

        if (len <= LOAD_HEADER_LEN)
            break;
        load_pair_add(pair, (uint32_t)len);
        count++;
    }
    if (count != 0)
        driver_ring_flush(pair->ring[LOAD_TX]);
    return count;
}

/* What the guest's kernel answers to a frame leaves as soon as the frame is in. */
static unsigned card_receive(struct load_pair *pair, int tap)
{
    struct iovec iov[FRAME_SPANS];
    unsigned count = 0, spans;

    while (count < BURST && (spans = load_pair_take_frame(pair, iov)) != 0) {
        if (writev(tap, iov, (int)spans) < 0)
            check(errno != EBADF && errno != EFAULT, "the tap broke");
        load_pair_give_back(pair, spans);
        count++;
        card_send(pair, tap);
    }
    if (count != 0)
        driver_ring_flush(pair->ring[LOAD_RX]);
    return count;
}

/*
 * Interrupts are asked for only before a sleep, and for sent frames only where the ring is full of
 * them: the others are taken back when something is sent. 1: the input has ended.
 */
static int card_sleep(struct load_guest *guest, int tap)
{
    struct load_pair *pair = &guest->pair[0];
    struct pollfd fd[] = {{tap, POLLIN, 0},
                          {guest->fe.vring[LOAD_RX].call_fd, POLLIN, 0},
                          {guest->fe.vring[LOAD_TX].call_fd, POLLIN, 0},
                          {STDIN_FILENO, POLLIN, 0}};
    int is_full = pair->tx_in_flight == LOAD_TX_SLOTS;
    uint64_t count;

    card_ask(pair, LOAD_RX, INTERRUPTS_ON);
    if (is_full) {
        card_ask(pair, LOAD_TX, INTERRUPTS_ON);
        fd[0].events = 0;
    }
    if (card_receive(pair, tap) + (is_full ? load_pair_reap(pair) : 0) == 0)
        poll(fd, 4, -1);
    card_ask(pair, LOAD_RX, INTERRUPTS_OFF);
    if (is_full)
        card_ask(pair, LOAD_TX, INTERRUPTS_OFF);
    for (unsigned i = 1; i < 3; i++) {
        if (fd[i].revents & POLLIN && read(fd[i].fd, &count, sizeof(count)) < 0)
            check(errno == EAGAIN, "the call fd broke");
    }
    return has_ended(fd[3].revents);
}

static void pump_card(const char *socket, int tap)
{
    static struct load_guest guest;
    struct load_pair *pair = &guest.pair[0];

    load_guest_attach(&guest, socket, LOAD_FRAME_MAX, 1);
    card_ask(pair, LOAD_TX, INTERRUPTS_OFF);
    puts("ready");
    do {
        while (card_receive(pair, tap) + card_send(pair, tap) != 0)
            ;
    } while (!card_sleep(&guest, tap));
}

/* ---- a stream ---------------------------------------------------------------------------- */

struct stream {
    int fd;
    size_t out_len, out_done, in_len;
    uint8_t out[STREAM_ROOM], in[STREAM_ROOM];
};

static void stream_connect(struct stream *stream, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    stream->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(stream->fd >= 0 && connect(stream->fd, (struct sockaddr *)&address, sizeof(address)) == 0,
          "nobody listens at %s", path);
    check(fcntl(stream->fd, F_SETFL, O_NONBLOCK) == 0, "the socket blocks");
}

/* Many frames a send. Returns 1 if anything moved. */
static int stream_send(struct stream *stream, int tap)
{
    ssize_t len = 0;

    while (stream->out_len + LENGTH_LEN + LOAD_FRAME_MAX <= STREAM_ROOM &&
           (len = read(tap, stream->out + stream->out_len + LENGTH_LEN, LOAD_FRAME_MAX)) > 0) {
        uint32_t length = htonl((uint32_t)len);

        memcpy(stream->out + stream->out_len, &length, LENGTH_LEN);
        stream->out_len += LENGTH_LEN + (size_t)len;
    }
    if (stream->out_done == stream->out_len)
        return 0;
    len = send(stream->fd, stream->out + stream->out_done, stream->out_len - stream->out_done,
               MSG_NOSIGNAL);
    check(len > 0 || errno == EAGAIN, "the peer has gone");
    if (len <= 0)
        return 0;
    stream->out_done += (size_t)len;
    if (stream->out_done == stream->out_len)
        stream->out_done = stream->out_len = 0;
    return 1;
}

static int stream_receive(struct stream *stream, int tap)
{
    ssize_t len = recv(stream->fd, stream->in + stream->in_len, STREAM_ROOM - stream->in_len, 0);
    size_t at = 0;
    uint32_t length;

    check(len > 0 || (len < 0 && errno == EAGAIN), "the peer has gone");
    if (len <= 0)
        return 0;
    stream->in_len += (size_t)len;
    while (stream->in_len - at >= LENGTH_LEN) {
        memcpy(&length, stream->in + at, LENGTH_LEN);
        length = ntohl(length);
        if (stream->in_len - at - LENGTH_LEN < length)
            break;
        if (write(tap, stream->in + at + LENGTH_LEN, length) < 0)
            check(errno != EBADF, "the tap broke");
        at += LENGTH_LEN + length;
    }
    memmove(stream->in, stream->in + at, stream->in_len - at);
    stream->in_len -= at;
    return 1;
}

static void pump_stream(const char *path, int tap)
{
    static struct stream stream;

    stream_connect(&stream, path);
    puts("ready");
    for (;;) {
        struct pollfd fd[] = {{tap, POLLIN, 0}, {stream.fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};

        while (stream_send(&stream, tap) | stream_receive(&stream, tap))
            ;
        if (stream.out_len != 0)
            fd[1].events |= POLLOUT;
        if (stream.out_len + LENGTH_LEN + LOAD_FRAME_MAX > STREAM_ROOM)
            fd[0].events = 0;
        poll(fd, 3, -1);
        if (has_ended(fd[2].revents))
            return;
    }
}

int main(int argc, char **argv)
{
    int is_card = argc == 4 && strcmp(argv[1], "card") == 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!is_card && (argc != 4 || strcmp(argv[1], "stream") != 0)) {
        fprintf(stderr, "usage: see the top of bench/load/pump.c\n");
        return 2;
    }
    if (is_card)
        pump_card(argv[2], tap_open(argv[3], is_card));
    else
        pump_stream(argv[2], tap_open(argv[3], is_card));
    return 0;
}
