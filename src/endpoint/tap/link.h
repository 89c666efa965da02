/* SPDX-License-Identifier: MIT */
/* What rtnetlink says of one interface: up or down, MTU, and that it was deleted. */
#pragma once

#include <stdint.h>

enum link_change {
    LINK_CHANGE_STATE = 1 << 0, /* `running` or `mtu` are new */
    LINK_CHANGE_GONE = 1 << 1,  /* the interface left this namespace */
};

struct link {
    int fd;      /* owned; -1: nothing is known and the link counts as up */
    int ifindex; /* of the interface in the namespace of fd */
    int running; /* administratively up and with a carrier */
    uint32_t mtu;
};

/* In the namespace of the calling thread. On failure the link stays without an fd. */
int link_open(struct link *link, const char *ifname);
void link_close(struct link *link);
/* Reads what is there to read. LINK_CHANGE_… bits. */
unsigned link_read(struct link *link);
