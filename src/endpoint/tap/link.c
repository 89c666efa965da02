/* SPDX-License-Identifier: MIT */
#include "endpoint/tap/link.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

enum {
    LINK_BUFFER_LEN = 32768, /* longest message of rtnetlink */
};

static int link_request(const struct link *link)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg info;
    } request = {0};

    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = RTM_GETLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST;
    request.info.ifi_index = link->ifindex;
    return send(link->fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

int link_open(struct link *link, const char *ifname)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int rc;

    *link = (struct link){.fd = -1, .running = 1};
    link->ifindex = (int)if_nametoindex(ifname);
    if (link->ifindex == 0)
        return -errno;
    link->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (link->fd < 0)
        return -errno;
    rc = bind(link->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    if (rc == 0)
        rc = link_request(link);
    if (rc < 0) {
        link_close(link);
        return rc;
    }
    /* The kernel answers within send(): the state is right from here on. */
    link_read(link);
    return 0;
}

void link_close(struct link *link)
{
    fd_close(&link->fd);
    link->running = 1;
}

static unsigned link_parse_state(struct link *link, const struct nlmsghdr *message)
{
    const struct ifinfomsg *info = NLMSG_DATA(message);
    int left = (int)IFLA_PAYLOAD(message);
    int running = (info->ifi_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
    uint32_t mtu = link->mtu;
    unsigned changed;

    for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == IFLA_MTU && RTA_PAYLOAD(a) >= sizeof(mtu))
            memcpy(&mtu, RTA_DATA(a), sizeof(mtu));
    }
    changed = running != link->running || mtu != link->mtu ? LINK_CHANGE_STATE : 0;
    link->running = running;
    link->mtu = mtu;
    return changed;
}

static unsigned link_parse(struct link *link, const struct nlmsghdr *message)
{
    const struct ifinfomsg *info = NLMSG_DATA(message);

    /* The answer to link_request(): there is no such interface any more. */
    if (message->nlmsg_type == NLMSG_ERROR) {
        link->running = 0;
        return LINK_CHANGE_GONE;
    }
    if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*info)))
        return 0;
    if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK)
        return 0;
    /* Bridges announce their ports' comings and goings with the same types, in a family of their
     * own. */
    if (info->ifi_index != link->ifindex || info->ifi_family != AF_UNSPEC)
        return 0;
    if (message->nlmsg_type == RTM_DELLINK) {
        link->running = 0;
        return LINK_CHANGE_GONE;
    }
    return link_parse_state(link, message);
}

unsigned link_read(struct link *link)
{
    _Alignas(struct nlmsghdr) char buffer[LINK_BUFFER_LEN];
    unsigned changed = 0;

    while (link->fd >= 0) {
        ssize_t n = recv(link->fd, buffer, sizeof(buffer), 0);
        size_t left;

        if (n < 0 && errno == ENOBUFS) {
            /* Messages were lost: ask for the state as it is now. */
            if (link_request(link) < 0)
                break;
            continue;
        }
        if (n <= 0)
            break;
        left = (size_t)n;
        for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, left);
             m = NLMSG_NEXT(m, left))
            changed |= link_parse(link, m);
    }
    return changed;
}
