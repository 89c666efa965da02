/* SPDX-License-Identifier: MIT */
#include "blast.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "guest.h"

enum {
    VNET_HEADER_LEN = 10, /* PACKET_VNET_HDR: virtio's header without num_buffers */
    LOST_NS = 1000000,    /* what has not arrived by then never will */
};

static uint8_t header[LOAD_HEADER_LEN]; /* made once, with the frame */
static uint8_t frame[LOAD_FRAME_MAX];

void blast_open(struct blast *blast, const char *ifname, uint32_t frame_len)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_ifindex = (int)if_nametoindex(ifname)};
    int on = 1;

    load_frame_make(header, frame, frame_len);
    *blast = (struct blast){.frame_len = frame_len};
    blast->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: hears nothing */
    check(blast->fd >= 0, "a packet socket needs CAP_NET_RAW");
    check(address.sll_ifindex != 0, "there is no interface %s", ifname);
    check(setsockopt(blast->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) == 0 &&
              setsockopt(blast->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) == 0 &&
              bind(blast->fd, (struct sockaddr *)&address, sizeof(address)) == 0,
          "the packet socket can't be bound to %s", ifname);
}

void blast_close(struct blast *blast)
{
    close(blast->fd);
}

void blast_send(struct blast *blast, unsigned count)
{
    struct iovec iov[2] = {{header, VNET_HEADER_LEN}, {frame, blast->frame_len}};
    struct mmsghdr message[BLAST_BATCH];

    for (unsigned i = 0; i < count; i++)
        message[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = iov, .msg_iovlen = 2}};
    for (unsigned done = 0; done < count;) {
        int sent = sendmmsg(blast->fd, message + done, count - done, MSG_DONTWAIT);

        done += sent > 0 ? (unsigned)sent : 1; /* one that was dropped is done too */
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void blast_paced(struct blast *blast, uint64_t arrived)
{
    uint64_t now = now_ns();

    if (arrived != blast->arrived)
        blast->arrived_ns = now;
    blast->arrived = arrived;
    if ((int64_t)(blast->sent - arrived) < BLAST_WINDOW) {
        blast_send(blast, BLAST_BATCH);
        blast->sent += BLAST_BATCH;
    } else if (now - blast->arrived_ns > LOST_NS) {
        blast->sent = arrived;
    }
}
