/* SPDX-License-Identifier: MIT */
/*
 * The net header on its way from the guest and back: the parser alone over scattered bytes, the
 * checksum against a plain one, and both on the whole path, transmit to receive, byte for byte.
 *
 *     options, cuts of the transmit list, cuts of the receive buffers, 12 or 24 bytes of header,
 * the frame
 */
#include <endian.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "inet_words.h"
#include "nic/offload.h"
#include "pair_bed.h"

enum {
    CUTS = 6,
    LEN_MAX = 3000,
    TX_GPA = BED_DATA_GPA,
    RX_GPA = 0x6000,
    RX_LEN = BED_MAIN_LEN + BED_NEXT_LEN - RX_GPA,
};

struct net_case {
    struct bed_options options;
    uint8_t cut[BED_QUEUES][CUTS];
    struct net_header header;
    const uint8_t *bytes; /* borrowed: the frame */
    uint32_t len;
};

static void case_read(struct fuzz_input *input, struct net_case *ret)
{
    uint8_t what = fuzz_u8(input);
    uint8_t offloads = fuzz_u8(input);
    int tunnels = what & 64;
    const uint8_t *at;
    size_t count;

    ret->options = (struct bed_options){
        .size = {64, 64},
        .features = what & 1 ? VIRTQUEUE_EVENT_IDX : 0,
        .order = what & 2 ? BYTE_ORDER_BIG : BYTE_ORDER_LITTLE,
        .mergeable = what & 4,
        .legacy = what & 8,
        .tx_offloads = (offloads & 0x7f) | (tunnels ? ENDPOINT_UDP_TUNNELS : 0),
        .rx_offloads = what & 16 ? 0x7f | (tunnels ? ENDPOINT_UDP_TUNNELS : 0) : 0,
        .frame_max = what & 32 ? 1514 : FRAME_LEN_MAX,
    };
    for (enum bed_queue queue = BED_RX; queue < BED_QUEUES; queue++) {
        for (unsigned i = 0; i < CUTS; i++)
            ret->cut[queue][i] = fuzz_u8(input);
    }
    memset(&ret->header, 0, sizeof(ret->header));
    count = fuzz_bytes(input, tunnels ? NET_HEADER_LEN_TUNNEL : NET_HEADER_LEN, &at);
    if (count != 0)
        memcpy(&ret->header, at, count);
    ret->len = (uint32_t)fuzz_bytes(input, LEN_MAX, &ret->bytes);
}

/* ---- in pieces ------------------------------------------------------------------------------ */

/* The frame in blocks of exactly the cut's length, so that a byte too many is seen. */
static uint32_t scatter(const struct net_case *net, struct iovec iov[CUTS + 1])
{
    uint32_t done = 0;
    uint32_t count = 0;

    for (unsigned i = 0; i <= CUTS && (done < net->len || count == 0); i++) {
        uint32_t left = net->len - done;
        uint32_t part = i == CUTS ? left : MIN(left, net->cut[BED_TX][i]);

        if (part == 0 && i != CUTS)
            continue;
        iov[count].iov_base = malloc(part == 0 ? 1 : part);
        FUZZ_CHECK(iov[count].iov_base != NULL, "no memory");
        iov[count].iov_len = part;
        memcpy(iov[count].iov_base, net->bytes + done, part);
        done += part;
        count++;
    }
    return count;
}

static void scatter_free(struct iovec *iov, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(iov[i].iov_base);
}

/* ---- plain references ----------------------------------------------------------------------- */

/* Returns whether the field lies inside; completes it in place then. */
static int plain_complete(uint8_t *bytes, uint32_t len, uint32_t start, uint32_t offset)
{
    uint32_t sum;

    if (start >= len || (uint64_t)start + offset + 2 > len)
        return 0;
    sum = ~inet_sum(bytes + start, len - start, 0) & 0xffff;
    if (sum == 0)
        sum = 0xffff;
    bytes[start + offset] = (uint8_t)(sum >> 8);
    bytes[start + offset + 1] = (uint8_t)sum;
    return 1;
}

static uint32_t plain_vlan_len(const uint8_t *bytes, uint32_t len)
{
    uint32_t tags = 0;

    while (tags < 3 && 12 + 4 * tags + 2 <= len) {
        uint32_t type = (uint32_t)bytes[12 + 4 * tags] << 8 | bytes[13 + 4 * tags];

        if (type != 0x8100 && type != 0x88a8)
            return 4 * tags;
        tags++;
    }
    return 0; /* cut short, or one tag too many */
}

/* ---- the parts alone ------------------------------------------------------------------------ */

static void check_checksum(const struct net_case *net, const struct iovec *iov, uint32_t count)
{
    uint32_t start = word16_get(net->header.csum_start, net->options.order);
    uint32_t offset = word16_get(net->header.csum_offset, net->options.order);
    uint8_t *flat = malloc(net->len + 1);
    uint32_t done = 0;
    int inside, result;

    FUZZ_CHECK(flat != NULL, "no memory");
    memcpy(flat, net->bytes, net->len);
    inside = plain_complete(flat, net->len, start, offset);
    result = checksum_complete(iov, count, net->len, start, offset);
    FUZZ_CHECK((result == 0) == inside, "checksum at %u + %u of %u: %d", start, offset, net->len,
               result);
    for (uint32_t i = 0; i < count; i++) {
        FUZZ_CHECK(memcmp(iov[i].iov_base, flat + done, iov[i].iov_len) == 0,
                   "another checksum in pieces");
        done += (uint32_t)iov[i].iov_len;
    }
    free(flat);
}

static struct net_header header_of(const struct frame_offload *offload, enum byte_order order)
{
    return (struct net_header){.flags = offload->flags,
                               .gso_type = offload->gso_type,
                               .hdr_len = word16_make(offload->hdr_len, order),
                               .gso_size = word16_make(offload->gso_size, order),
                               .csum_start = word16_make(offload->csum_start, order),
                               .csum_offset = word16_make(offload->csum_offset, order),
                               .outer_th_offset = word16_make(offload->outer_th_offset, order),
                               .inner_nh_offset = word16_make(offload->inner_nh_offset, order)};
}

static void check_parts(const struct net_case *net)
{
    struct iovec iov[CUTS + 1];
    uint32_t count = scatter(net, iov);
    struct frame frame = {.iov = iov, .iov_count = count, .len = net->len};
    struct frame_offload offload = {0}, again = {0};
    struct net_header header;

    FUZZ_CHECK(frame_vlan_len(iov, count) == plain_vlan_len(net->bytes, net->len), "VLAN tags");
    if (offload_from_header(&net->header, net->options.order, net->options.tx_offloads, &frame,
                            &offload) == 0) {
        header = header_of(&offload, net->options.order);
        FUZZ_CHECK(offload_from_header(&header, net->options.order, net->options.tx_offloads,
                                       &frame, &again) == 0 &&
                       memcmp(&offload, &again, sizeof(offload)) == 0,
                   "a header that was good is not good again");
    }
    check_checksum(net, iov, count);
    scatter_free(iov, count);
}

/* ---- the whole path ------------------------------------------------------------------------- */

static void offer_transmit(struct pair_bed *bed, const struct net_case *net)
{
    uint32_t header_len = bed->pair.rules.header_len;
    uint32_t total = header_len + net->len;
    struct bed_desc desc[CUTS + 1];
    uint32_t done = 0;
    unsigned count = 0;

    pair_bed_write(bed, TX_GPA, &net->header, header_len);
    pair_bed_write(bed, TX_GPA + header_len, net->bytes, net->len);
    for (unsigned i = 0; i <= CUTS && done < total; i++) {
        uint32_t part = i == CUTS ? total - done : MIN(total - done, net->cut[BED_TX][i]);

        desc[count++] = (struct bed_desc){.addr = TX_GPA + done, .len = part};
        done += part;
    }
    pair_bed_offer(bed, BED_TX, desc, count);
}

/* Buffers side by side: header and frame lie in a row, however they are cut. */
static void offer_receive(struct pair_bed *bed, const struct net_case *net)
{
    uint32_t done = 0;

    for (unsigned i = 0; i < CUTS + 1; i++) {
        uint32_t part = i == CUTS ? RX_LEN - done : net->cut[BED_RX][i];
        uint32_t first = part < 8 ? part : part / 2;
        struct bed_desc desc[2] = {{RX_GPA + done, first, 2},
                                   {RX_GPA + done + first, part - first, 2}};

        if (part <= bed->pair.rules.header_len) /* may be thrown away, and would leave a gap */
            continue;
        pair_bed_offer(bed, BED_RX, desc, 2);
        done += part;
    }
}

static uint8_t guest_byte(const struct pair_bed *bed, uint64_t gpa)
{
    size_t len = 1;

    return *pair_bed_at(bed, gpa, &len);
}

static void check_received(const struct pair_bed *bed, const struct net_case *net)
{
    const struct fuzz_endpoint *endpoint = &bed->endpoint;
    uint32_t header_len = bed->pair.rules.header_len;
    uint8_t expected[LEN_MAX];
    uint8_t flags = guest_byte(bed, RX_GPA);

    memcpy(expected, net->bytes, net->len);
    if (net->options.rx_offloads == 0) {
        FUZZ_CHECK(flags == 0 && guest_byte(bed, RX_GPA + 1) == 0, "an offload nobody takes");
        if (endpoint->copy_offload.flags & FRAME_NEEDS_CSUM)
            plain_complete(expected, net->len, endpoint->copy_offload.csum_start,
                           endpoint->copy_offload.csum_offset);
    } else {
        FUZZ_CHECK(flags == endpoint->copy_offload.flags, "flags are 0x%x, not 0x%x", flags,
                   endpoint->copy_offload.flags);
    }
    for (uint32_t i = 0; i < net->len; i++)
        FUZZ_CHECK(guest_byte(bed, RX_GPA + header_len + i) == expected[i], "byte %u arrived wrong",
                   i);
}

static void check_path(const struct net_case *net)
{
    static uint8_t copy[FRAME_LEN_MAX];
    struct pair_bed bed;

    pair_bed_init(&bed, &net->options);
    bed.endpoint.copy = copy;
    bed.endpoint.loops = 1;
    offer_receive(&bed, net);
    offer_transmit(&bed, net);
    pair_bed_turn(&bed, 1);
    if (bed.endpoint.copy_len != 0)
        FUZZ_CHECK(bed.endpoint.copy_len == net->len && memcmp(copy, net->bytes, net->len) == 0,
                   "%u bytes were sent, %u came", net->len, bed.endpoint.copy_len);
    if (counter_get(&bed.pair.stats.rx_packets) != 0)
        check_received(&bed, net);
    pair_bed_sleep(&bed);
    pair_bed_free(&bed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct net_case net;

    case_read(&input, &net);
    check_parts(&net);
    check_path(&net);
    return 0;
}
