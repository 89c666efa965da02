/* SPDX-License-Identifier: MIT */
#include "endpoint/user/segments.h"

#include <netinet/in.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/checked.h"
#include "base/checksum.h"
#include "endpoint/user/headers.h"

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_MSS_LEN = 4,
    MSS_MIN = 216,              /* below this a guest gets what it asked for, and nothing larger */
    WINDOW_LEN = 65535,         /* libslirp scales none */
    LIBSLIRP_HEADERS = 60,      /* what libslirp takes off for IP of either version and TCP */
    IPV4_MORE_FRAGMENTS = 0x20, /* in the upper half of its word */
};

/* Where the TCP header of an Ethernet frame is. 0: it has none, or not a whole one. */
struct tcp_place {
    uint32_t at;       /* of the TCP header in the frame; 0: none */
    uint32_t data;     /* of what is behind it */
    uint32_t end;      /* of the IP packet */
    unsigned version6; /* 1: IPv6 */
};

static struct tcp_place tcp_find(const uint8_t *bytes, uint32_t len)
{
    struct tcp_place place = {0};
    uint32_t at = ETHERNET_LEN;

    if (len < ETHERNET_LEN + IPV4_LEN + TCP_LEN)
        return place;
    if (be16_read(bytes + ETHERNET_TYPE) == ETHERTYPE_IPV4 &&
        bytes[at + IPV4_PROTOCOL] == IPPROTO_TCP &&
        (be16_read(bytes + at + IPV4_FRAGMENT) & IPV4_FRAGMENT_BITS) == 0) {
        place.end = at + be16_read(bytes + at + IPV4_TOTAL);
        at += (bytes[at] & 0xfu) * 4u;
    } else if (be16_read(bytes + ETHERNET_TYPE) == ETHERTYPE_IPV6 &&
               bytes[at + IPV6_NEXT] == IPPROTO_TCP) {
        place.version6 = 1;
        place.end = at + IPV6_LEN + be16_read(bytes + at + IPV6_PAYLOAD);
        at += IPV6_LEN;
    } else {
        return place;
    }
    if (place.end > len || !range_within(at, TCP_LEN, place.end))
        return place;
    place.data = at + (bytes[at + TCP_DATA_OFFSET] >> 4) * 4u;
    if (place.data >= at + TCP_LEN && place.data <= place.end)
        place.at = at;
    return place;
}

/* ---- in ---------------------------------------------------------------------------------- */

/* Where the value of the MSS option is; 0: there is none. */
static uint32_t mss_find(const uint8_t *bytes, const struct tcp_place *tcp)
{
    uint32_t at = tcp->at + TCP_LEN;

    while (at + OPTION_MSS_LEN <= tcp->data && bytes[at] != OPTION_END) {
        if (bytes[at] == OPTION_MSS)
            return bytes[at + 1] == OPTION_MSS_LEN ? at + 2 : 0;
        if (bytes[at] == OPTION_NOP)
            at++;
        else if (bytes[at + 1] < 2)
            return 0;
        else
            at += bytes[at + 1];
    }
    return 0;
}

/* RFC 1624; a value at an odd place has its bytes in different words. */
static void mss_replace(uint8_t *bytes, const struct tcp_place *tcp, uint32_t at, uint16_t value)
{
    uint8_t *checksum = bytes + tcp->at + TCP_CHECKSUM;
    uint16_t before = checksum_behind(at - tcp->at, be16_read(bytes + at));
    uint16_t after = checksum_behind(at - tcp->at, value);
    uint64_t sum = (uint64_t)(uint16_t)~be16_read(checksum) + (uint16_t)~before + (uint64_t)after;

    be16_write(bytes + at, value);
    be16_write(checksum, (uint16_t)~checksum_fold(sum));
}

/* In whole segments of the guest's; 0: one is more than that. */
static uint32_t half_window(uint32_t mss)
{
    return WINDOW_LEN / 2 / mss * mss;
}

static uint32_t headers_len(unsigned version6)
{
    return (version6 ? IPV6_LEN : IPV4_LEN) + TCP_LEN;
}

void segments_init(struct segments *segments, uint32_t mtu)
{
    *segments = (struct segments){.mtu = mtu};
    for (unsigned version6 = 0; version6 < 2; version6++)
        segments->mss[version6] = (uint16_t)(mtu - headers_len(version6));
    segments->large_mtu = MAX(mtu, LIBSLIRP_HEADERS + half_window(segments->mss[0]));
}

void segments_take(struct segments *segments, uint8_t *bytes, uint32_t len)
{
    struct tcp_place tcp = tcp_find(bytes, len);
    uint32_t at, mss;

    if (tcp.at == 0 || !(bytes[tcp.at + TCP_FLAGS] & TCP_FLAG_SYN))
        return;
    at = mss_find(bytes, &tcp);
    mss = at == 0 ? 0 : MIN(be16_read(bytes + at), segments->mtu - headers_len(tcp.version6));
    if (mss < MSS_MIN)
        return;
    segments->mss[tcp.version6] = (uint16_t)mss;
    if (half_window(mss) > mss)
        mss_replace(bytes, &tcp, at, (uint16_t)half_window(mss));
}

/* ---- out --------------------------------------------------------------------------------- */

/* The pseudo header's sum, which is what stands in the field of a partial checksum (virtio 1.4,
 * 5.1.6.4.1). */
static uint16_t pseudo_sum(const uint8_t *bytes, const struct tcp_place *tcp)
{
    uint32_t addresses = tcp->version6 ? 8 : 12; /* offset in the IP header */
    uint32_t addresses_len = tcp->version6 ? 32 : 8;
    uint64_t sum = checksum_bytes(bytes + ETHERNET_LEN + addresses, addresses_len);

    return checksum_fold(sum + IPPROTO_TCP + (tcp->end - tcp->at));
}

static void describe_segment(struct segments_frame *ret, const uint8_t *bytes,
                             const struct tcp_place *tcp, uint16_t mss)
{
    uint8_t *whole = ret->iov[0].iov_base;
    uint32_t field = tcp->at + TCP_CHECKSUM;

    be16_write(ret->checksum, pseudo_sum(bytes, tcp));
    ret->iov[0].iov_len = field;
    ret->iov[1] = (struct iovec){.iov_base = ret->checksum, .iov_len = 2};
    ret->iov[2] = (struct iovec){.iov_base = whole + field + 2, .iov_len = tcp->end - field - 2};
    ret->frame.iov_count = 3;
    ret->frame.len = tcp->end;
    ret->frame.offload = (struct frame_offload){
        .flags = FRAME_NEEDS_CSUM,
        .gso_type = tcp->version6 ? FRAME_GSO_TCPV6 : FRAME_GSO_TCPV4,
        .hdr_len = (uint16_t)tcp->data,
        .gso_size = mss,
        .csum_start = (uint16_t)tcp->at,
        .csum_offset = TCP_CHECKSUM,
    };
}

/* What may be cut into TCP segments, and to which size; 0: nothing. */
static uint16_t mss_of(const struct segments *segments, const struct tcp_place *tcp)
{
    return tcp->at == 0 ? 0 : segments->mss[tcp->version6];
}

int segments_too_large(const struct segments *segments, const uint8_t *bytes, uint32_t len)
{
    struct tcp_place tcp;

    if (len <= ETHERNET_LEN + segments->mtu)
        return 0;
    tcp = tcp_find(bytes, len);
    return mss_of(segments, &tcp) == 0 && be16_read(bytes + ETHERNET_TYPE) == ETHERTYPE_IPV4 &&
           (bytes[ETHERNET_LEN] & 0xf) == IPV4_LEN / 4;
}

void segments_give(const struct segments *segments, const uint8_t *bytes, uint32_t len,
                   struct segments_frame *ret)
{
    struct tcp_place tcp = tcp_find(bytes, len);
    uint16_t mss = mss_of(segments, &tcp);

    ret->iov[0] = (struct iovec){.iov_base = (void *)bytes, .iov_len = len};
    ret->frame = (struct frame){.iov = ret->iov, .iov_count = 1, .len = len};
    if (mss != 0 && tcp.end - tcp.data > mss)
        describe_segment(ret, bytes, &tcp, mss);
}

uint32_t segments_fragment(const struct segments *segments, const uint8_t *bytes, uint32_t len,
                           unsigned index, uint8_t *ret_bytes)
{
    const uint32_t headers = ETHERNET_LEN + IPV4_LEN;
    uint32_t total = be16_read(bytes + ETHERNET_LEN + IPV4_TOTAL);
    uint32_t step = (segments->mtu - IPV4_LEN) & ~7u;
    uint32_t from = index * step;
    uint8_t *ip = ret_bytes + ETHERNET_LEN;
    uint32_t part;

    if (total < IPV4_LEN || ETHERNET_LEN + total > len || from >= total - IPV4_LEN)
        return 0;
    part = MIN(step, total - IPV4_LEN - from);
    memcpy(ret_bytes, bytes, headers);
    memcpy(ret_bytes + headers, bytes + headers + from, part);
    be16_write(ip + IPV4_TOTAL, (uint16_t)(IPV4_LEN + part));
    be16_write(ip + IPV4_FRAGMENT, (uint16_t)(be16_read(ip + IPV4_FRAGMENT) + from / 8));
    if (from + part < total - IPV4_LEN)
        ip[IPV4_FRAGMENT] |= IPV4_MORE_FRAGMENTS;
    be16_write(ip + IPV4_CHECKSUM, 0);
    be16_write(ip + IPV4_CHECKSUM, (uint16_t)~checksum_bytes(ip, IPV4_LEN));
    return headers + part;
}
