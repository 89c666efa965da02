/* SPDX-License-Identifier: MIT */
/* What stands where in the headers that `user` looks into. */
#pragma once

enum {
    ETHERNET_LEN = 14,
    ETHERNET_TYPE = 12, /* offset in the frame */
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,

    /* Offsets in the IP header. */
    IPV4_LEN = 20,
    IPV4_TOTAL = 2,
    IPV4_FRAGMENT = 6,
    IPV4_PROTOCOL = 9,
    IPV4_CHECKSUM = 10,
    IPV4_FRAGMENT_BITS = 0x3fff, /* more fragments, and the offset */
    IPV6_LEN = 40,
    IPV6_PAYLOAD = 4,
    IPV6_NEXT = 6,

    /* … in the TCP header. */
    TCP_LEN = 20,
    TCP_DATA_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_FLAG_SYN = 2,
    TCP_CHECKSUM = 16,
};
