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
    ROOM = 64 << 20,      /* of the socket: the window is narrower */
};

static uint8_t header[LOAD_HEADER_LEN];            /* made once, with the frames */
static uint8_t frame[BLAST_FLOWS][LOAD_FRAME_MAX]; /* of a flow each */

void blast_open(struct blast *blast, const char *ifname, uint32_t frame_len, unsigned pairs)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_ifindex = (int)if_nametoindex(ifname)};
    unsigned flows = pairs > 1 ? BLAST_FLOWS : 1;
    unsigned window = BLAST_WINDOW_BYTES / frame_len;
    int on = 1, room = ROOM;

    for (unsigned i = 0; i < flows; i++) {
        load_frame_make(header, frame[i], frame_len);
        load_frame_set_flow(frame[i], i);
    }
    *blast = (struct blast){.frame_len = frame_len, .flows = flows};
    blast->window = (window < BLAST_WINDOW ? window : BLAST_WINDOW) * pairs;
    blast->batch = blast->window / 2 < BLAST_BATCH ? blast->window / 2 : BLAST_BATCH;
    blast->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: hears nothing */
    check(blast->fd >= 0, "a packet socket needs CAP_NET_RAW");
    check(address.sll_ifindex != 0, "there is no interface %s", ifname);
    check(setsockopt(blast->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) == 0 &&
              setsockopt(blast->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) == 0 &&
              setsockopt(blast->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0 &&
              bind(blast->fd, (struct sockaddr *)&address, sizeof(address)) == 0,
          "the packet socket can't be bound to %s", ifname);
}

void blast_close(struct blast *blast)
{
    close(blast->fd);
}

void blast_send(struct blast *blast, unsigned count)
{
    struct iovec iov[BLAST_BATCH][2];
    struct mmsghdr message[BLAST_BATCH];

    for (unsigned i = 0; i < count; i++) {
        iov[i][0] = (struct iovec){header, VNET_HEADER_LEN};
        iov[i][1] = (struct iovec){frame[blast->next], blast->frame_len};
        message[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = iov[i], .msg_iovlen = 2}};
        blast->next = (blast->next + 1) % blast->flows;
    }
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
    if ((int64_t)(blast->sent - arrived) < blast->window) {
        blast_send(blast, blast->batch);
        blast->sent += blast->batch;
    } else if (now - blast->arrived_ns > LOST_NS) {
        blast->sent = arrived;
    }
}
