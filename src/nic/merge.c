/* SPDX-License-Identifier: MIT */
#include "nic/merge.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "nic/offload.h"

enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
    TCP_CWR = 0x80,
    ETHERNET_LEN_LEAST = 60,
    IP_LEN_MAX = 65535,
};

/* ---- one segment ------------------------------------------------------------------------- */

static const uint8_t *tcp_of(const struct merge_piece *piece)
{
    return piece->header + piece->packet.transport;
}

static const uint8_t *ip_of(const struct merge_piece *piece)
{
    return piece->header + piece->packet.network;
}

/* Where the packet ends in the frame; 0 if it does not end there. */
static uint32_t packet_end(const struct merge_piece *piece, uint32_t frame_len)
{
    const uint8_t *ip = ip_of(piece);
    uint32_t end = piece->packet.network;

    if (piece->packet.ethertype == ETHERTYPE_IPV4)
        end += be16_read(ip + 2);
    else
        end += IPV6_HEADER_LEN + (uint32_t)be16_read(ip + 4);
    if (end > frame_len || (end < frame_len && frame_len > ETHERNET_LEN_LEAST))
        return 0;
    return end;
}

/* 0: a TCP segment with payload, in which nothing special is said. */
static int piece_read(const struct frame *frame, struct merge_piece *ret)
{
    uint32_t len = packet_peek(frame->iov, frame->iov_count, ret->header, sizeof(ret->header));
    uint32_t end;
    uint8_t flags;

    if (frame->offload.gso_type != FRAME_GSO_NONE ||
        packet_parse(ret->header, len, &ret->packet) < 0)
        return -EINVAL;
    if (ret->packet.protocol != IP_PROTOCOL_TCP || ret->packet.readdressed ||
        !range_within(ret->packet.transport, TCP_HEADER_MIN, len))
        return -EINVAL;
    ret->header_len = ret->packet.transport + (tcp_of(ret)[12] >> 4) * 4u;
    end = packet_end(ret, frame->len);
    if (ret->header_len < ret->packet.transport + (uint32_t)TCP_HEADER_MIN ||
        ret->header_len > len || end <= ret->header_len)
        return -EINVAL;
    ret->payload_len = end - ret->header_len;
    flags = tcp_of(ret)[13];
    if ((flags & (TCP_SYN | TCP_RST | TCP_URG | TCP_ACK)) != TCP_ACK)
        return -EINVAL;
    if (ret->packet.ethertype == ETHERTYPE_IPV4 &&
        (ret->packet.transport != ret->packet.network + (uint32_t)IPV4_HEADER_MIN ||
         checksum_bytes(ip_of(ret), IPV4_HEADER_MIN) != 0xffff))
        return -EINVAL;
    return 0;
}

/* Of addresses, protocol and length of a TCP header with so much payload. */
static uint16_t pseudo_sum(const struct merge_piece *piece, uint32_t payload_len)
{
    const uint8_t *ip = ip_of(piece);
    uint16_t addresses = piece->packet.ethertype == ETHERTYPE_IPV4 ? checksum_bytes(ip + 12, 8)
                                                                   : checksum_bytes(ip + 8, 32);

    return checksum_fold((uint64_t)addresses + IP_PROTOCOL_TCP + piece->header_len -
                         piece->packet.transport + payload_len);
}

/* Whether the checksum is right; a partial one, if it is begun right. A sum is never 0 here: 0xffff
 * stands for it. */
static int piece_is_sound(const struct merge_piece *piece, const struct frame *frame)
{
    const uint8_t *tcp = tcp_of(piece);
    uint32_t header_len = piece->header_len - piece->packet.transport;
    uint16_t sum = pseudo_sum(piece, piece->payload_len);

    if (frame->offload.flags & FRAME_NEEDS_CSUM)
        return frame->offload.csum_start == piece->packet.transport &&
               frame->offload.csum_offset == TCP_CSUM_OFFSET &&
               be16_read(tcp + TCP_CSUM_OFFSET) == sum;
    if (frame->offload.flags & FRAME_DATA_VALID)
        return 1;
    return checksum_fold((uint64_t)sum + checksum_bytes(tcp, header_len) +
                         checksum_behind(header_len, checksum_sum(frame->iov, frame->iov_count,
                                                                  piece->header_len,
                                                                  piece->payload_len))) == 0xffff;
}

/* ---- the one after the other ------------------------------------------------------------- */

static int same(const uint8_t *a, const uint8_t *b, uint32_t from, uint32_t to)
{
    return memcmp(a + from, b + from, to - from) == 0;
}

static int ip_fits(const struct merger *merger)
{
    const uint8_t *first = ip_of(&merger->first);
    const uint8_t *next = ip_of(&merger->next);
    uint16_t id_step = (uint16_t)(be16_read(next + 4) - be16_read(first + 4));

    if (merger->first.packet.ethertype == ETHERTYPE_IPV6)
        return same(first, next, 0, 4) &&
               same(first, next, 6,
                    (uint32_t)(merger->first.packet.transport - merger->first.packet.network));
    if (!same(first, next, 0, 2) || !same(first, next, 6, 10) || !same(first, next, 12, 20))
        return 0;
    /* Who does not count (without DF too: RFC 6864 forbids it, passt does it) says nothing by it.
     */
    if (merger->count == 1)
        return id_step <= 1;
    return id_step == (uint16_t)(merger->count * merger->id_step);
}

/* What a TCP header may say anew: sequence, checksum, and at the end PSH and FIN. */
static int tcp_fits(const struct merger *merger)
{
    const uint8_t *first = tcp_of(&merger->first);
    const uint8_t *next = tcp_of(&merger->next);
    uint8_t changed = (uint8_t)((first[13] & ~TCP_CWR) ^ next[13]);

    return same(first, next, 0, 4) && same(first, next, 8, 13) &&
           (changed & ~(TCP_FIN | TCP_PSH)) == 0 && same(first, next, 14, 16) &&
           same(first, next, 18, merger->first.header_len - merger->first.packet.transport) &&
           be32_read(next + 4) == be32_read(first + 4) + merger->payload_len;
}

/* Spans that so many bytes, behind the header, are in. */
static uint32_t spans_of(const struct merge_piece *piece, const struct frame *frame)
{
    uint32_t skip = piece->header_len;
    uint32_t count = 0;

    for (uint32_t i = 0; i < frame->iov_count; i++) {
        count += frame->iov[i].iov_len > skip;
        skip -= (uint32_t)MIN(skip, frame->iov[i].iov_len);
    }
    return count;
}

static int next_fits(const struct merger *merger, const struct frame *frame)
{
    const struct merge_piece *first = &merger->first;
    const struct merge_piece *next = &merger->next;
    uint32_t len = first->header_len + merger->payload_len + next->payload_len;

    return next->packet.network == first->packet.network &&
           next->packet.transport == first->packet.transport &&
           next->header_len == first->header_len && next->payload_len <= first->payload_len &&
           same(first->header, next->header, 0, first->packet.network) && ip_fits(merger) &&
           tcp_fits(merger) && len - first->packet.network <= IP_LEN_MAX &&
           len / first->payload_len < GSO_SEGMENTS_MAX &&
           merger->iov_count + spans_of(next, frame) <= FRAME_SPANS_MAX;
}

static void append(struct merger *merger, const struct merge_piece *piece,
                   const struct frame *frame)
{
    uint32_t skip = piece->header_len;
    uint32_t left = piece->payload_len;

    for (uint32_t i = 0; left != 0; i++) {
        uint32_t from = (uint32_t)MIN(skip, frame->iov[i].iov_len);
        uint32_t part = (uint32_t)MIN(frame->iov[i].iov_len - from, left);

        skip -= from;
        left -= part;
        if (part != 0)
            merger->iov[merger->iov_count++] =
                (struct iovec){(uint8_t *)frame->iov[i].iov_base + from, part};
    }
    merger->payload_len += piece->payload_len;
    merger->last_flags = tcp_of(piece)[13];
    merger->count++;
}

/* ---- all of them ------------------------------------------------------------------------- */

/* The first header becomes that of all. */
static void header_write(struct merger *merger)
{
    const struct packet *packet = &merger->first.packet;
    uint8_t *ip = merger->first.header + packet->network;
    uint8_t *tcp = merger->first.header + packet->transport;
    uint32_t ip_len = merger->first.header_len - packet->network + merger->payload_len;

    tcp[13] |= merger->last_flags & (TCP_PSH | TCP_FIN);
    be16_write(tcp + TCP_CSUM_OFFSET, pseudo_sum(&merger->first, merger->payload_len));
    if (packet->ethertype == ETHERTYPE_IPV6) {
        be16_write(ip + 4, (uint16_t)(ip_len - IPV6_HEADER_LEN));
        return;
    }
    be16_write(ip + 2, (uint16_t)ip_len);
    be16_write(ip + 10, 0);
    be16_write(ip + 10, (uint16_t)~checksum_bytes(ip, IPV4_HEADER_MIN));
}

static void frame_make(struct merger *merger, uint32_t token, struct frame *ret_frame)
{
    const struct merge_piece *first = &merger->first;
    unsigned type = first->packet.ethertype == ETHERTYPE_IPV4 ? FRAME_GSO_TCPV4 : FRAME_GSO_TCPV6;

    if (tcp_of(first)[13] & TCP_CWR)
        type |= FRAME_GSO_ECN;
    header_write(merger);
    merger->iov[0] = (struct iovec){merger->first.header, first->header_len};
    *ret_frame = (struct frame){.iov = merger->iov,
                                .iov_count = merger->iov_count,
                                .len = first->header_len + merger->payload_len,
                                .token = token,
                                .offload = {.flags = FRAME_NEEDS_CSUM,
                                            .gso_type = (uint8_t)type,
                                            .hdr_len = (uint16_t)first->header_len,
                                            .gso_size = (uint16_t)first->payload_len,
                                            .csum_start = first->packet.transport,
                                            .csum_offset = TCP_CSUM_OFFSET}};
}

/* Whether the first frame can have others behind it that this receiver would take with it. */
static int first_is_open(const struct merger *merger, uint32_t takes)
{
    const struct merge_piece *first = &merger->first;
    uint8_t flags = tcp_of(first)[13];
    uint32_t needs = ENDPOINT_CSUM;

    needs |= first->packet.ethertype == ETHERTYPE_IPV4 ? ENDPOINT_TSO4 : ENDPOINT_TSO6;
    if (flags & TCP_CWR)
        needs |= ENDPOINT_ECN;
    return (needs & ~takes) == 0 && (flags & (TCP_PSH | TCP_FIN)) == 0;
}

unsigned merge_frames(struct merger *merger, const struct frame *frames, unsigned count,
                      uint32_t takes, struct frame *ret_frame)
{
    *ret_frame = frames[0];
    if (count < 2 || piece_read(&frames[0], &merger->first) < 0 || !first_is_open(merger, takes))
        return 1;
    merger->iov_count = 1; /* of the header */
    merger->payload_len = 0;
    merger->count = 0;
    if (1 + spans_of(&merger->first, &frames[0]) > FRAME_SPANS_MAX)
        return 1;
    append(merger, &merger->first, &frames[0]);
    while (merger->count < count) {
        const struct frame *frame = &frames[merger->count];

        if (piece_read(frame, &merger->next) < 0 || !next_fits(merger, frame))
            break;
        if (merger->count == 1 && !piece_is_sound(&merger->first, &frames[0]))
            break;
        if (!piece_is_sound(&merger->next, frame))
            break;
        if (merger->count == 1)
            merger->id_step = (uint16_t)(be16_read(ip_of(&merger->next) + 4) -
                                         be16_read(ip_of(&merger->first) + 4));
        append(merger, &merger->next, frame);
        if (merger->next.payload_len < merger->first.payload_len ||
            merger->last_flags & (TCP_PSH | TCP_FIN))
            break;
    }
    if (merger->count == 1)
        return 1;
    frame_make(merger, frames[0].token, ret_frame);
    return merger->count;
}
