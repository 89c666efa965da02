/* SPDX-License-Identifier: MIT */
/*
 * Frames that a receiver can take, of one that he can't. The new headers are made from a copy of
 * the old ones, and all that is decided is decided on that copy; payload is touched only to be
 * summed.
 */
#include "nic/segment.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "nic/offload.h"

enum {
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_CWR = 0x80,
    IPV4_MORE_FRAGMENTS = 0x2000,
    IPV6_MORE_FRAGMENTS = 1,
    IPV6_FRAGMENT = 44,
    IPV6_FRAGMENT_LEN = 8,
    IP_LEN_MAX = 65535,
    ETHERNET_LEN_LEAST = 60, /* shorter frames are padded to this */
};

/* ---- the original, byte after byte ------------------------------------------------------ */

static void spans_rewind(struct segmenter *segmenter)
{
    segmenter->span = 0;
    segmenter->span_offset = 0;
}

/* The next run of up to max bytes; moves behind it. */
static struct iovec spans_step(struct segmenter *segmenter, uint32_t max)
{
    const struct iovec *span = &segmenter->original.iov[segmenter->span];
    uint32_t left = (uint32_t)span->iov_len - segmenter->span_offset;
    struct iovec run = {(uint8_t *)span->iov_base + segmenter->span_offset, MIN(left, max)};

    segmenter->span_offset += (uint32_t)run.iov_len;
    if (run.iov_len == left) {
        segmenter->span++;
        segmenter->span_offset = 0;
    }
    return run;
}

static void spans_skip(struct segmenter *segmenter, uint32_t len)
{
    while (len != 0)
        len -= (uint32_t)spans_step(segmenter, len).iov_len;
}

static void spans_copy(struct segmenter *segmenter, uint32_t len, uint8_t *ret_bytes)
{
    while (len != 0) {
        struct iovec run = spans_step(segmenter, len);

        memcpy(ret_bytes, run.iov_base, run.iov_len);
        ret_bytes += run.iov_len;
        len -= (uint32_t)run.iov_len;
    }
}

/* The sum of the next len bytes. */
static uint16_t spans_sum(struct segmenter *segmenter, uint32_t len)
{
    uint64_t sum = 0;

    for (uint32_t done = 0; done < len;) {
        struct iovec run = spans_step(segmenter, len - done);

        sum += checksum_behind(done, checksum_bytes(run.iov_base, run.iov_len));
        done += (uint32_t)run.iov_len;
    }
    return checksum_fold(sum);
}

static void frame_append(struct segmenter *segmenter, struct frame *frame, struct iovec run)
{
    if (run.iov_len == 0)
        return;
    segmenter->iov[segmenter->iov_used++] = run;
    frame->iov_count++;
    frame->len += (uint32_t)run.iov_len;
}

/* Puts the next len bytes behind the frame; their sum, unless nobody asks. */
static void frame_append_spans(struct segmenter *segmenter, struct frame *frame, uint32_t len,
                               uint16_t *ret_sum)
{
    uint64_t sum = 0;

    for (uint32_t done = 0; done < len;) {
        struct iovec run = spans_step(segmenter, len - done);

        frame_append(segmenter, frame, run);
        if (ret_sum != NULL)
            sum += checksum_behind(done, checksum_bytes(run.iov_base, run.iov_len));
        done += (uint32_t)run.iov_len;
    }
    if (ret_sum != NULL)
        *ret_sum = checksum_fold(sum);
}

/* Where three neighbours together are shortest. */
static uint32_t shortest_triple(const struct frame *frame, uint64_t *ret_len)
{
    uint32_t best = 0;

    *ret_len = UINT64_MAX;
    for (uint32_t i = 0; i + 2 < frame->iov_count; i++) {
        const struct iovec *iov = &frame->iov[i];
        uint64_t len = (uint64_t)iov[0].iov_len + iov[1].iov_len + iov[2].iov_len;

        if (len < *ret_len) {
            *ret_len = len;
            best = i;
        }
    }
    return best;
}

static int spans_join(struct segmenter *segmenter)
{
    struct frame *frame = &segmenter->original;
    uint64_t len;
    uint32_t first;

    if (frame->iov_count <= FRAME_SPANS_MAX - 2)
        return 0;
    first = shortest_triple(frame, &len);
    if (frame->iov_count > FRAME_SPANS_MAX || len > sizeof(segmenter->joined))
        return -EINVAL;
    packet_peek(&frame->iov[first], 3, segmenter->joined, (uint32_t)len);
    memcpy(segmenter->spans, frame->iov, first * sizeof(struct iovec));
    segmenter->spans[first] = (struct iovec){segmenter->joined, (size_t)len};
    memcpy(&segmenter->spans[first + 1], &frame->iov[first + 3],
           (frame->iov_count - first - 3) * sizeof(struct iovec));
    frame->iov = segmenter->spans;
    frame->iov_count -= 2;
    return 0;
}

/* ---- checksums --------------------------------------------------------------------------- */

/* Of addresses and protocol. */
static uint16_t pseudo_sum(const struct segmenter *segmenter)
{
    const struct packet *packet = &segmenter->packet;
    const uint8_t *ip = segmenter->copy + packet->network;
    uint16_t addresses = packet->ethertype == ETHERTYPE_IPV4 ? checksum_bytes(ip + 12, 8)
                                                             : checksum_bytes(ip + 8, 32);

    return checksum_fold((uint64_t)addresses + packet->protocol);
}

/* A result of 0 is stored as its other form: for UDP, 0 says that there is none (RFC 768). */
static void checksum_store(uint8_t *field, uint64_t sum)
{
    uint16_t checksum = (uint16_t)~checksum_fold(sum);

    be16_write(field, checksum == 0 ? 0xffff : checksum);
}

/* The checksum of a transport header of which all else is written. */
static void transport_sum(const struct segmenter *segmenter, uint8_t *header, uint32_t payload_len,
                          uint16_t payload_sum)
{
    const struct packet *packet = &segmenter->packet;
    uint32_t header_len = segmenter->header_len - packet->transport;
    uint8_t *transport = header + packet->transport;
    uint16_t pseudo = checksum_fold((uint64_t)segmenter->pseudo + header_len + payload_len);
    uint8_t *field =
        transport + (packet->protocol == IP_PROTOCOL_TCP ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET);

    if (segmenter->kind != SEGMENTER_FRAGMENT && segmenter->takes & ENDPOINT_CSUM) {
        be16_write(field, pseudo);
        return;
    }
    be16_write(field, 0);
    checksum_store(field, (uint64_t)pseudo + checksum_bytes(transport, header_len) +
                              checksum_behind(header_len, payload_sum));
}

/* ---- begin ------------------------------------------------------------------------------- */

/* Where the IP packet ends; 0 if that is not where the frame ends. */
static uint32_t packet_end(const struct segmenter *segmenter)
{
    const struct packet *packet = &segmenter->packet;
    const uint8_t *ip = segmenter->copy + packet->network;
    uint32_t frame_len = segmenter->original.len;
    uint32_t fixed = packet->ethertype == ETHERTYPE_IPV4 ? 0 : IPV6_HEADER_LEN;
    uint16_t told = be16_read(ip + (packet->ethertype == ETHERTYPE_IPV4 ? 2 : 4));
    uint32_t end = told == 0 ? frame_len : packet->network + fixed + told;

    if (end > frame_len || end - packet->network - fixed > IP_LEN_MAX)
        return 0;
    return end == frame_len || frame_len <= ETHERNET_LEN_LEAST ? end : 0;
}

/* 1 if the copied headers are those of the frame's GSO type. */
static int headers_match(struct segmenter *segmenter, uint32_t len)
{
    const struct frame_offload *offload = &segmenter->original.offload;
    unsigned type = offload->gso_type & ~FRAME_GSO_ECN;
    const struct packet *packet = &segmenter->packet;
    uint32_t transport_len = UDP_HEADER_LEN;

    if (packet_parse(segmenter->copy, len, &segmenter->packet) < 0 || packet->readdressed ||
        packet->transport != offload->csum_start)
        return 0;
    if (packet->protocol == IP_PROTOCOL_TCP) {
        if (type != (packet->ethertype == ETHERTYPE_IPV4 ? FRAME_GSO_TCPV4 : FRAME_GSO_TCPV6) ||
            !range_within(packet->transport, TCP_HEADER_MIN, len))
            return 0;
        transport_len = (segmenter->copy[packet->transport + 12] >> 4) * 4u;
        if (transport_len < TCP_HEADER_MIN)
            return 0;
    } else if (packet->protocol != IP_PROTOCOL_UDP ||
               (type != FRAME_GSO_UDP_L4 && type != FRAME_GSO_UDP)) {
        return 0;
    }
    segmenter->header_len = packet->transport + transport_len;
    return segmenter->header_len <= len;
}

/* Of the fragments of a datagram: the same when it is cut again, because not all of it could be
 * sent. Of what was copied of it, and of its checksum, which stands there (FNV-1a). */
static uint32_t identification(const struct segmenter *segmenter)
{
    uint32_t len = MIN(segmenter->original.len, SEGMENT_HEADER_MAX);
    uint32_t hash = 0x811c9dc5;

    for (uint32_t i = 0; i < len; i++)
        hash = (hash ^ segmenter->copy[i]) * 0x01000193;
    return hash;
}

/* Makes room for a fragment header behind the part that fragments may not cut. */
static void fragment_header_insert(struct segmenter *segmenter)
{
    struct packet *packet = &segmenter->packet;
    uint8_t *at = segmenter->copy + packet->fragmentable;
    uint32_t number = identification(segmenter);

    memmove(at + IPV6_FRAGMENT_LEN, at, segmenter->header_len - packet->fragmentable);
    memset(at, 0, IPV6_FRAGMENT_LEN);
    at[0] = segmenter->copy[packet->next_header];
    segmenter->copy[packet->next_header] = IPV6_FRAGMENT;
    be32_write(at + 4, number);
    packet->transport += IPV6_FRAGMENT_LEN;
    segmenter->header_len += IPV6_FRAGMENT_LEN;
    segmenter->split += IPV6_FRAGMENT_LEN;
}

/* The one checksum is over the whole datagram, and stands in the first fragment. */
static int begin_fragments(struct segmenter *segmenter)
{
    struct packet *packet = &segmenter->packet;
    uint8_t *udp = segmenter->copy + packet->transport;

    segmenter->kind = SEGMENTER_FRAGMENT;
    segmenter->size = segmenter->original.offload.gso_size & ~7u;
    segmenter->split = packet->fragmentable;
    if (segmenter->size < segmenter->header_len - segmenter->split ||
        segmenter->header_len + IPV6_FRAGMENT_LEN > SEGMENT_HEADER_MAX)
        return -EINVAL;
    be16_write(udp + 4, (uint16_t)(UDP_HEADER_LEN + segmenter->payload_len));
    spans_skip(segmenter, segmenter->payload_at);
    transport_sum(segmenter, segmenter->copy, segmenter->payload_len,
                  spans_sum(segmenter, segmenter->payload_len));
    if (packet->ethertype == ETHERTYPE_IPV6)
        fragment_header_insert(segmenter);
    return 0;
}

static int begin_segments(struct segmenter *segmenter)
{
    const struct frame *frame = &segmenter->original;
    struct packet *packet = &segmenter->packet;
    uint32_t len = packet_peek(frame->iov, frame->iov_count, segmenter->copy, SEGMENT_HEADER_MAX);
    uint32_t end, whole;

    if (frame->offload.gso_size == 0 || !headers_match(segmenter, len))
        return -EINVAL;
    end = packet_end(segmenter);
    if (end < segmenter->header_len)
        return -EINVAL;
    segmenter->kind = packet->protocol == IP_PROTOCOL_TCP ? SEGMENTER_TCP : SEGMENTER_UDP;
    segmenter->pseudo = pseudo_sum(segmenter);
    segmenter->payload_at = segmenter->header_len;
    segmenter->payload_len = end - segmenter->header_len;
    segmenter->size = frame->offload.gso_size;
    segmenter->split = segmenter->header_len;
    if (frame->offload.gso_type == FRAME_GSO_UDP) {
        segmenter->size = MAX(segmenter->payload_len, 1);
        if (end - packet->fragmentable > frame->offload.gso_size && begin_fragments(segmenter) < 0)
            return -EINVAL;
    }
    whole = segmenter->header_len - segmenter->split + segmenter->payload_len;
    segmenter->count = MAX(1, (whole + segmenter->size - 1) / segmenter->size);
    if (segmenter->count > GSO_SEGMENTS_MAX ||
        segmenter->split - packet->network + MIN(segmenter->size, whole) > IP_LEN_MAX)
        return -EINVAL;
    segmenter_skip(segmenter, 0);
    return 0;
}

int segmenter_begin(struct segmenter *segmenter, const struct frame *frame, uint32_t takes)
{
    const struct frame_offload *offload = &frame->offload;

    segmenter->original = *frame;
    segmenter->takes = takes;
    segmenter->count = 0; /* nothing comes after a refusal */
    segmenter->at = 0;
    spans_rewind(segmenter);
    if ((frame_needs(frame) & ~takes) == 0) {
        segmenter->kind = SEGMENTER_WHOLE;
        segmenter->count = 1;
        return 0;
    }
    if (offload->gso_type & FRAME_GSO_UDP_TUNNEL || spans_join(segmenter) < 0)
        return -EINVAL;
    if (offload->gso_type != FRAME_GSO_NONE) {
        int result = begin_segments(segmenter);

        if (result < 0)
            segmenter->count = 0;
        return result;
    }
    if (!range_within((uint64_t)offload->csum_start + offload->csum_offset, 2, frame->len))
        return -EINVAL;
    segmenter->kind = SEGMENTER_COMPLETE;
    segmenter->count = 1;
    return 0;
}

/* ---- next -------------------------------------------------------------------------------- */

/* virtio 1.4, 5.1.6.2: the sum is over what stands in the field too. The field becomes two bytes
 * of ours between the guest's. */
static void make_complete(struct segmenter *segmenter, struct frame *frame)
{
    const struct frame_offload *offload = &segmenter->original.offload;
    uint32_t field = (uint32_t)offload->csum_start + offload->csum_offset;
    uint8_t *own = segmenter->header[0];
    uint16_t before, behind;

    spans_skip(segmenter, offload->csum_start);
    before = spans_sum(segmenter, offload->csum_offset);
    spans_rewind(segmenter);
    frame_append_spans(segmenter, frame, field, NULL);
    spans_copy(segmenter, 2, own);
    frame_append(segmenter, frame, (struct iovec){own, 2});
    frame_append_spans(segmenter, frame, segmenter->original.len - field - 2, &behind);
    checksum_store(own, (uint64_t)before +
                            checksum_behind(offload->csum_offset,
                                            checksum_fold((uint64_t)be16_read(own) + behind)));
}

/* The IP header of a frame whose bytes behind split are `len`, `start` bytes into the whole. */
static void write_ip(const struct segmenter *segmenter, uint8_t *header, uint32_t start,
                     uint32_t len)
{
    const struct packet *packet = &segmenter->packet;
    uint32_t ip_len = segmenter->split - packet->network + len;
    uint32_t header_len = packet->fragmentable - packet->network;
    uint32_t more = segmenter->at + 1 != segmenter->count;
    uint8_t *ip = header + packet->network;

    if (packet->ethertype == ETHERTYPE_IPV6) {
        be16_write(ip + 4, (uint16_t)(ip_len - IPV6_HEADER_LEN));
        if (segmenter->kind == SEGMENTER_FRAGMENT)
            be16_write(header + packet->fragmentable + 2,
                       (uint16_t)(start | (more ? IPV6_MORE_FRAGMENTS : 0)));
        return;
    }
    be16_write(ip + 2, (uint16_t)ip_len);
    if (segmenter->kind == SEGMENTER_FRAGMENT)
        be16_write(ip + 6, (uint16_t)(start / 8 | (more ? IPV4_MORE_FRAGMENTS : 0)));
    else /* Linux counts on, with DF too (inet_gso_segment) */
        be16_write(ip + 4, (uint16_t)(be16_read(ip + 4) + segmenter->at));
    be16_write(ip + 10, 0);
    be16_write(ip + 10, (uint16_t)~checksum_bytes(ip, header_len));
}

static void write_tcp(const struct segmenter *segmenter, uint8_t *header, uint32_t start)
{
    uint8_t *tcp = header + segmenter->packet.transport;

    be32_write(tcp + 4, be32_read(tcp + 4) + start);
    if (segmenter->at != 0)
        tcp[13] &= (uint8_t)~TCP_CWR;
    if (segmenter->at + 1 != segmenter->count)
        tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
}

static void make_segment(struct segmenter *segmenter, uint8_t *header, struct frame *frame)
{
    const struct packet *packet = &segmenter->packet;
    enum segmenter_kind kind = segmenter->kind;
    uint32_t lead = segmenter->header_len - segmenter->split; /* of the first, behind split */
    uint32_t start = segmenter->at * segmenter->size;
    uint32_t len = MIN(segmenter->size, lead + segmenter->payload_len - start);
    uint32_t header_len = segmenter->at == 0 ? segmenter->header_len : segmenter->split;
    uint32_t payload_len = segmenter->split + len - header_len;
    int partial = kind != SEGMENTER_FRAGMENT && (segmenter->takes & ENDPOINT_CSUM) != 0;
    uint16_t sum = 0;

    memcpy(header, segmenter->copy, header_len);
    frame_append(segmenter, frame, (struct iovec){header, header_len});
    frame_append_spans(segmenter, frame, payload_len,
                       partial || kind == SEGMENTER_FRAGMENT ? NULL : &sum);
    write_ip(segmenter, header, start, len);
    if (kind == SEGMENTER_FRAGMENT)
        return;
    if (kind == SEGMENTER_TCP)
        write_tcp(segmenter, header, start);
    else
        be16_write(header + packet->transport + 4, (uint16_t)(UDP_HEADER_LEN + payload_len));
    transport_sum(segmenter, header, payload_len, sum);
    if (partial)
        frame->offload = (struct frame_offload){
            .flags = FRAME_NEEDS_CSUM,
            .csum_start = packet->transport,
            .csum_offset = kind == SEGMENTER_TCP ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET};
}

static void make_next(struct segmenter *segmenter, unsigned index)
{
    struct frame *frame = &segmenter->frame[index];

    if (segmenter->kind == SEGMENTER_WHOLE) {
        *frame = segmenter->original;
        if (!(segmenter->takes & ENDPOINT_CSUM))
            frame->offload.flags = 0;
        return;
    }
    *frame = (struct frame){.iov = &segmenter->iov[segmenter->iov_used],
                            .token = segmenter->original.token};
    if (segmenter->kind == SEGMENTER_COMPLETE)
        make_complete(segmenter, frame);
    else
        make_segment(segmenter, segmenter->header[index], frame);
}

unsigned segmenter_next(struct segmenter *segmenter)
{
    unsigned made = 0;

    segmenter->iov_used = 0;
    while (made < SEGMENT_BATCH && segmenter->at < segmenter->count) {
        make_next(segmenter, made++);
        segmenter->at++;
    }
    return made;
}

void segmenter_skip(struct segmenter *segmenter, unsigned count)
{
    uint32_t lead = segmenter->header_len - segmenter->split;
    uint32_t start;

    segmenter->at += MIN(count, segmenter->count - segmenter->at);
    if (segmenter->kind <= SEGMENTER_COMPLETE || segmenter->at == segmenter->count)
        return;
    start = segmenter->at * segmenter->size;
    spans_rewind(segmenter);
    spans_skip(segmenter, segmenter->payload_at + (start > lead ? start - lead : 0));
}
