/* SPDX-License-Identifier: MIT */
/*
 * Software checksum and segmentation of any frame that the check of the net header lets through:
 * nothing behind the frame is read, no byte of payload is lost or made up, every frame that comes
 * out is one that a receiver believes. Then once more while the guest writes its headers anew.
 *
 *     what is taken, cuts, 12 bytes of header, bytes of filler behind the frame, changes made
 *     between check and segmentation, the frame
 */
#include <string.h>

#include "base/checked.h"
#include "fuzz.h"
#include "inet_words.h"
#include "nic/offload.h"
#include "nic/segment.h"

enum {
    CUTS = 6,
    CHANGES = 4,
    BYTES_MAX = 2000,
    ALL = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6 | ENDPOINT_ECN | ENDPOINT_USO4 |
          ENDPOINT_USO6 | ENDPOINT_UFO,
    IPV6_FRAGMENT_LEN = 8,
};

struct segment_case {
    uint32_t takes;
    uint8_t cut[CUTS];
    struct net_header header;
    struct {
        uint8_t at, value;
    } change[CHANGES];
    uint8_t bytes[FRAME_LEN_MAX];
    uint32_t len;
};

static struct segment_case cut_case;
static struct segmenter segmenter;

static void case_read(struct fuzz_input *input, struct segment_case *ret)
{
    const uint8_t *at;
    uint32_t filler;
    size_t count;

    ret->takes = fuzz_u8(input);
    for (unsigned i = 0; i < CUTS; i++)
        ret->cut[i] = fuzz_u8(input);
    memset(&ret->header, 0, sizeof(ret->header));
    count = fuzz_bytes(input, NET_HEADER_LEN, &at);
    if (count != 0)
        memcpy(&ret->header, at, count);
    filler = fuzz_u16(input);
    for (unsigned i = 0; i < CHANGES; i++) {
        ret->change[i].at = fuzz_u8(input);
        ret->change[i].value = fuzz_u8(input);
    }
    ret->len = (uint32_t)fuzz_bytes(input, BYTES_MAX, &at);
    if (ret->len != 0)
        memcpy(ret->bytes, at, ret->len);
    for (filler = MIN(filler, FRAME_LEN_MAX - ret->len); filler != 0; filler--, ret->len++)
        ret->bytes[ret->len] = (uint8_t)(ret->len * 31 + ret->len / 256);
}

/* Blocks of exactly the cut's length, so that a byte too many is seen. */
static uint32_t scatter(const struct segment_case *from, struct iovec iov[CUTS + 1])
{
    uint32_t done = 0;
    uint32_t count = 0;

    for (unsigned i = 0; i <= CUTS && done < from->len; i++) {
        uint32_t left = from->len - done;
        uint32_t part = i == CUTS ? left : MIN(left, from->cut[i]);

        if (part == 0)
            continue;
        iov[count].iov_base = malloc(part);
        FUZZ_CHECK(iov[count].iov_base != NULL, "no memory");
        iov[count].iov_len = part;
        memcpy(iov[count++].iov_base, from->bytes + done, part);
        done += part;
    }
    return count;
}

static uint32_t flatten(const struct frame *frame, uint8_t *bytes)
{
    uint32_t done = 0;

    FUZZ_CHECK(frame->iov_count >= 1 && frame->iov_count <= FRAME_SPANS_MAX, "%u spans",
               frame->iov_count);
    for (uint32_t i = 0; i < frame->iov_count; i++) {
        FUZZ_CHECK(done + frame->iov[i].iov_len <= frame->len, "more bytes than it says");
        memcpy(bytes + done, frame->iov[i].iov_base, frame->iov[i].iov_len);
        done += (uint32_t)frame->iov[i].iov_len;
    }
    FUZZ_CHECK(done == frame->len && done >= FRAME_LEN_MIN && done <= FRAME_LEN_MAX,
               "%u bytes, says %u", done, frame->len);
    return done;
}

/* ---- what a receiver looks at ------------------------------------------------------------- */

static uint32_t network_of(const uint8_t *bytes)
{
    uint32_t at = 12;

    while (get_be16(bytes + at) == 0x8100 || get_be16(bytes + at) == 0x88a8)
        at += 4;
    return at + 2;
}

static uint32_t pseudo(const uint8_t *ip, uint32_t protocol, uint32_t len)
{
    uint32_t sum = ip[0] >> 4 == 4 ? inet_sum(ip + 12, 8, 0) : inet_sum(ip + 8, 32, 0);

    sum += protocol + len;
    return (sum & 0xffff) + (sum >> 16);
}

static void check_ip(const uint8_t *bytes, uint32_t len)
{
    const uint8_t *ip = bytes + network_of(bytes);
    uint32_t ip_len = (uint32_t)(bytes + len - ip);

    if (ip[0] >> 4 == 4) {
        FUZZ_CHECK(get_be16(ip + 2) == ip_len, "total length");
        FUZZ_CHECK(inet_sum(ip, (ip[0] & 15u) * 4, 0) == 0xffff, "IPv4 checksum");
    } else {
        FUZZ_CHECK(get_be16(ip + 4) == ip_len - 40, "payload length");
    }
}

static void check_transport(const uint8_t *bytes, uint32_t len, const struct frame_offload *asked,
                            const struct frame_offload *offload)
{
    const uint8_t *ip = bytes + network_of(bytes);
    const uint8_t *transport = bytes + asked->csum_start;
    uint32_t transport_len = len - asked->csum_start;
    uint32_t protocol = asked->csum_offset == 16 ? 6 : 17;
    uint32_t sum = pseudo(ip, protocol, transport_len);

    if (protocol == 17)
        FUZZ_CHECK(get_be16(transport + 4) == transport_len, "UDP length");
    if (offload->flags == 0) {
        FUZZ_CHECK(inet_sum(transport, transport_len, sum) == 0xffff, "checksum");
        return;
    }
    FUZZ_CHECK(offload->flags == FRAME_NEEDS_CSUM && offload->gso_type == FRAME_GSO_NONE &&
                   offload->csum_start == asked->csum_start &&
                   offload->csum_offset == asked->csum_offset,
               "offload of a segment");
    FUZZ_CHECK(get_be16(transport + asked->csum_offset) % 0xffff == sum % 0xffff, "pseudo header");
}

/* ---- all that comes out ------------------------------------------------------------------- */

static uint8_t made[FRAME_LEN_MAX];
static uint8_t datagram[2 * FRAME_LEN_MAX];

static void check_complete(const struct frame *frame)
{
    const struct frame_offload *offload = &frame->offload;
    uint32_t field = (uint32_t)offload->csum_start + offload->csum_offset;
    uint32_t sum =
        ~inet_sum(cut_case.bytes + offload->csum_start, cut_case.len - offload->csum_start, 0) &
        0xffff;

    FUZZ_CHECK(segmenter_next(&segmenter) == 1, "one frame");
    FUZZ_CHECK(flatten(&segmenter.frame[0], made) == cut_case.len, "its length");
    FUZZ_CHECK(get_be16(made + field) == (sum == 0 ? 0xffff : sum), "its checksum");
    memcpy(made + field, cut_case.bytes + field, 2);
    FUZZ_CHECK(memcmp(made, cut_case.bytes, cut_case.len) == 0, "its bytes");
    FUZZ_CHECK(segmenter_next(&segmenter) == 0, "one frame");
}

/* Payload comes in order, and all of it but padding of the shortest frames. */
static void check_segments(const struct frame *frame)
{
    uint32_t header_len = frame->offload.hdr_len;
    uint32_t done = header_len;
    unsigned count, total = 0;

    while ((count = segmenter_next(&segmenter)) != 0) {
        for (unsigned i = 0; i < count; i++, total++) {
            uint32_t len = flatten(&segmenter.frame[i], made);

            FUZZ_CHECK(len >= header_len && (len > header_len || total == 0), "empty segment");
            FUZZ_CHECK(memcmp(made + header_len, cut_case.bytes + done, len - header_len) == 0,
                       "payload of segment %u", total);
            FUZZ_CHECK(len - header_len <= frame->offload.gso_size ||
                           frame->offload.gso_type == FRAME_GSO_UDP,
                       "too long");
            done += len - header_len;
            check_ip(made, len);
            check_transport(made, len, &frame->offload, &segmenter.frame[i].offload);
        }
    }
    FUZZ_CHECK(total >= 1 && total <= GSO_SEGMENTS_MAX, "%u segments", total);
    FUZZ_CHECK(done == cut_case.len || (done < cut_case.len && cut_case.len <= 60),
               "payload is missing");
}

/* Put together again, fragments are one good datagram. */
static void check_fragments(const struct frame *frame, uint32_t split)
{
    uint32_t size = frame->offload.gso_size & ~7u;
    uint32_t done = 0;
    unsigned count, total = 0;
    uint32_t network, transport;

    while ((count = segmenter_next(&segmenter)) != 0) {
        for (unsigned i = 0; i < count; i++, total++) {
            uint32_t len = flatten(&segmenter.frame[i], made);

            network = network_of(made);
            check_ip(made, len);
            FUZZ_CHECK(segmenter.frame[i].offload.flags == 0, "a fragment with an offload");
            FUZZ_CHECK(len > split && len - split <= size && done == total * size, "its size");
            if (made[network] >> 4 == 4)
                FUZZ_CHECK((get_be16(made + network + 6) & 0x1fff) * 8 == done, "its place");
            else
                FUZZ_CHECK((get_be16(made + split - 6) & ~7u) == done, "its place");
            memcpy(datagram + done, made + split, len - split);
            done += len - split;
        }
    }
    FUZZ_CHECK(total > 1 && total <= GSO_SEGMENTS_MAX, "%u fragments", total);
    if (made[network_of(made)] >> 4 == 6)
        split -= IPV6_FRAGMENT_LEN;
    transport = frame->offload.csum_start - split;
    FUZZ_CHECK(done == cut_case.len - split, "payload is missing");
    FUZZ_CHECK(memcmp(datagram + transport + 8, cut_case.bytes + frame->offload.csum_start + 8,
                      done - transport - 8) == 0,
               "payload");
    FUZZ_CHECK(inet_sum(datagram + transport, done - transport,
                        pseudo(made + network_of(made), 17, done - transport)) == 0xffff,
               "checksum of the datagram");
}

static void check_made(const struct frame *frame)
{
    switch (segmenter.kind) {
    case SEGMENTER_WHOLE:
        FUZZ_CHECK(segmenter_next(&segmenter) == 1 && segmenter_next(&segmenter) == 0, "whole");
        return;
    case SEGMENTER_COMPLETE:
        check_complete(frame);
        return;
    case SEGMENTER_FRAGMENT:
        check_fragments(frame, segmenter.split);
        return;
    case SEGMENTER_TCP:
    case SEGMENTER_UDP:
        check_segments(frame);
        return;
    }
}

/* The guest writes where we may be about to read: no promise but that nothing else is touched. */
static void check_changed(const struct frame *frame, unsigned skip)
{
    for (unsigned i = 0; i < CHANGES; i++) {
        if (cut_case.change[i].at < frame->iov[0].iov_len)
            ((uint8_t *)frame->iov[0].iov_base)[cut_case.change[i].at] = cut_case.change[i].value;
    }
    if (segmenter_begin(&segmenter, frame, cut_case.takes) == 0) {
        unsigned count;

        segmenter_skip(&segmenter, skip);
        while ((count = segmenter_next(&segmenter)) != 0) {
            for (unsigned i = 0; i < count; i++)
                flatten(&segmenter.frame[i], made);
        }
    }
    FUZZ_CHECK(segmenter_next(&segmenter) == 0, "something after the end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct iovec iov[CUTS + 1];
    struct frame frame = {.iov = iov};

    case_read(&input, &cut_case);
    if (cut_case.len < FRAME_LEN_MIN)
        return 0;
    frame.len = cut_case.len;
    frame.iov_count = scatter(&cut_case, iov);
    if (offload_from_header(&cut_case.header, BYTE_ORDER_LITTLE, ALL, &frame, &frame.offload) ==
        0) {
        if (segmenter_begin(&segmenter, &frame, cut_case.takes) == 0)
            check_made(&frame);
        check_changed(&frame, cut_case.change[0].at);
    }
    for (uint32_t i = 0; i < frame.iov_count; i++)
        free(iov[i].iov_base);
    return 0;
}
