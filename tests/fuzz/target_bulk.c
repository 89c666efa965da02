/* SPDX-License-Identifier: MIT */
/*
 * A TCP stream through a pair that has to segment, complete and merge on the way, with an endpoint
 * that takes as many frames as it likes and a guest that gives as much room as it likes: every byte
 * comes once, in order, with a right checksum, unless a drop was counted.
 *
 *     options, then steps: what to do, two bytes of how
 */
#include <endian.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "inet_words.h"
#include "nic/offload.h"
#include "pair_bed.h"

enum {
    TX_SLOTS = 2,
    TX_SLOT_LEN = 0x1000,
    TX_GPA = BED_DATA_GPA,
    RX_GPA = TX_GPA + TX_SLOTS * TX_SLOT_LEN,
    RX_END = BED_NEXT_GPA + BED_NEXT_LEN,
    RING_SIZE = 64,
    HEADERS_MAX = 14 + 40 + 20,
    CUTS_MAX = 6,
    STEPS_MAX = 200,
    DRAIN_TURNS = 4096,
    FRAMES_MAX = STEPS_MAX + 1,
    NET_LEN = 14,
};

/* A buffer that the guest gave for reception. */
struct buffer {
    uint32_t gpa, len;
};

struct stream {
    struct pair_bed bed;
    struct rx_rules rx_rules;
    int v6;

    /* Transmitted. */
    uint32_t sent;              /* bytes of the stream */
    uint32_t start[FRAMES_MAX]; /* of the frames */
    uint32_t frames;
    uint32_t offered, completed; /* chains */

    /* Received, by the endpoint or by the guest. */
    uint32_t expected;
    struct buffer buffer[RING_SIZE];
    uint32_t given, taken; /* free-running */
    uint32_t rx_next;      /* address of the next buffer */
    uint8_t frame[FRAME_LEN_MAX];
};

static uint8_t stream_byte(uint32_t at)
{
    return (uint8_t)(at * 7 + at / 256 * 3 + 1);
}

/* ---- what arrives -------------------------------------------------------------------------- */

static uint32_t pseudo_of(const struct stream *stream, const uint8_t *ip, uint32_t tcp_len)
{
    return stream->v6 ? inet_sum(ip + 8, 32, 6 + tcp_len) : inet_sum(ip + 12, 8, 6 + tcp_len);
}

/* Segments that did not fit into the guest's buffers by themselves may be missing anywhere. */
static void check_place(struct stream *stream, uint32_t at)
{
    uint64_t cut_short = counter_get(&stream->bed.pair.stats.rx_drop[PAIR_RX_DROP_TOO_BIG]);
    int starts = 0;

    if (at == stream->expected)
        return;
    FUZZ_CHECK(at > stream->expected && at < stream->sent, "byte %u came, not %u", at,
               stream->expected);
    for (uint32_t i = 0; i < stream->frames; i++)
        starts |= stream->start[i] == at;
    FUZZ_CHECK(starts || cut_short != 0, "byte %u came, not %u: the middle of a frame", at,
               stream->expected);
}

static void check_segment(struct stream *stream, const uint8_t *frame, uint32_t len,
                          const struct frame_offload *offload)
{
    uint32_t tcp_at = NET_LEN + (stream->v6 ? 40 : 20);
    const uint8_t *ip = frame + NET_LEN;
    const uint8_t *tcp = frame + tcp_at;
    uint32_t tcp_len = len - tcp_at;
    uint32_t at;

    FUZZ_CHECK(len > tcp_at + 20, "%u bytes are no segment", len);
    FUZZ_CHECK(stream->v6 ? get_be16(ip + 4) == tcp_len : get_be16(ip + 2) == tcp_len + 20,
               "the IP packet has another length than the frame");
    FUZZ_CHECK(stream->v6 || inet_sum(ip, 20, 0) == 0xffff, "IP checksum");
    at = get_be32(tcp + 4);
    check_place(stream, at);
    for (uint32_t i = 20; i < tcp_len; i++)
        FUZZ_CHECK(tcp[i] == stream_byte(at + i - 20), "byte %u arrived wrong", at + i - 20);
    stream->expected = at + tcp_len - 20;
    if (offload->flags & FRAME_NEEDS_CSUM)
        FUZZ_CHECK(offload->csum_start == tcp_at && offload->csum_offset == 16 &&
                       get_be16(tcp + 16) == pseudo_of(stream, ip, tcp_len),
                   "a checksum begun wrong");
    else
        FUZZ_CHECK(inet_sum(tcp, tcp_len, pseudo_of(stream, ip, tcp_len)) == 0xffff,
                   "a wrong checksum");
}

static void look(void *context, const struct frame *frame)
{
    struct stream *stream = context;
    uint32_t done = 0;

    for (uint32_t i = 0; i < frame->iov_count; i++) {
        memcpy(stream->frame + done, frame->iov[i].iov_base, frame->iov[i].iov_len);
        done += (uint32_t)frame->iov[i].iov_len;
    }
    check_segment(stream, stream->frame, done, &frame->offload);
}

/* ---- the driver ----------------------------------------------------------------------------- */

static void bed_read(const struct pair_bed *bed, uint64_t gpa, void *ret_bytes, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        size_t one = 1;

        ((uint8_t *)ret_bytes)[i] = *pair_bed_at(bed, gpa + i, &one);
    }
}

static uint16_t used_idx(const struct stream *stream, enum bed_queue queue)
{
    uint16_t idx;

    bed_read(&stream->bed, stream->bed.config[queue].device_gpa + 2, &idx, sizeof(idx));
    return le16toh(idx);
}

static uint32_t used_len(const struct stream *stream, uint32_t number)
{
    uint32_t word;

    bed_read(&stream->bed,
             stream->bed.config[BED_RX].device_gpa + 4 + 8ull * (number % RING_SIZE) + 4, &word,
             sizeof(word));
    return le32toh(word);
}

/* The next buffer's bytes, behind those of the frame so far. */
static uint32_t buffer_take(struct stream *stream, uint8_t *to, uint32_t room)
{
    const struct buffer *buffer = &stream->buffer[stream->taken % RING_SIZE];
    uint32_t len = used_len(stream, stream->taken);

    FUZZ_CHECK(len <= buffer->len && len <= room, "%u bytes in a buffer of %u", len, buffer->len);
    bed_read(&stream->bed, buffer->gpa, to, len);
    stream->taken++;
    return len;
}

static void receive(struct stream *stream)
{
    const struct pair_rules *rules = &stream->bed.pair.rules;
    static uint8_t bytes[FRAME_LEN_MAX + NET_HEADER_LEN_MAX];

    while ((uint16_t)stream->taken != used_idx(stream, BED_RX)) {
        struct net_header header = {0};
        struct frame_offload offload = {0};
        uint32_t len = buffer_take(stream, bytes, sizeof(bytes));

        if (len == 0) /* thrown away */
            continue;
        FUZZ_CHECK(len >= rules->header_len, "no whole header");
        memcpy(&header, bytes, rules->header_len);
        for (unsigned i = 1; rules->mergeable && i < le16toh(header.num_buffers.raw); i++)
            len += buffer_take(stream, bytes + len, (uint32_t)sizeof(bytes) - len);
        offload.flags = header.flags;
        offload.csum_start = word16_get(header.csum_start, BYTE_ORDER_LITTLE);
        offload.csum_offset = word16_get(header.csum_offset, BYTE_ORDER_LITTLE);
        FUZZ_CHECK(!(header.flags & FRAME_NEEDS_CSUM) || rules->rx_offloads & ENDPOINT_CSUM,
                   "a partial checksum that nobody takes");
        FUZZ_CHECK(header.gso_type == 0 ||
                       rules->rx_offloads & (stream->v6 ? ENDPOINT_TSO6 : ENDPOINT_TSO4),
                   "a large frame that nobody takes");
        check_segment(stream, bytes + rules->header_len, len - rules->header_len, &offload);
    }
}

static int give_buffer(struct stream *stream, uint32_t len)
{
    uint32_t oldest = stream->buffer[stream->taken % RING_SIZE].gpa;
    int empty = stream->given == stream->taken;
    struct bed_desc desc = {.len = len, .flags = 2};

    if (stream->given - stream->taken == RING_SIZE)
        return 0;
    if (empty)
        stream->rx_next = RX_GPA;
    else if (stream->rx_next <= oldest && stream->rx_next + len > oldest)
        return 0;
    if (stream->rx_next + len > RX_END) {
        if (!empty && RX_GPA + len > oldest)
            return 0;
        if (!empty && stream->rx_next <= oldest)
            return 0;
        stream->rx_next = RX_GPA;
    }
    stream->buffer[stream->given++ % RING_SIZE] = (struct buffer){stream->rx_next, len};
    desc.addr = stream->rx_next;
    stream->rx_next += len;
    pair_bed_offer(&stream->bed, BED_RX, &desc, 1);
    return 1;
}

/* Ethernet, IP and TCP in front of the next bytes of the stream. */
static uint32_t frame_write(struct stream *stream, uint8_t *frame, uint32_t payload)
{
    uint32_t ip_len = stream->v6 ? 40 : 20;
    uint8_t *ip = frame + NET_LEN;
    uint8_t *tcp = ip + ip_len;

    memset(frame, 0, NET_LEN + ip_len + 20);
    frame[0] = 2;
    put_be16(frame + 12, stream->v6 ? 0x86dd : 0x0800);
    ip[0] = stream->v6 ? 0x60 : 0x45;
    if (stream->v6) {
        put_be16(ip + 4, 20 + payload);
        ip[6] = 6;
        ip[39] = 9;
    } else {
        put_be16(ip + 2, 40 + payload);
        put_be16(ip + 4, stream->frames);
        ip[6] = 0x40;
        ip[9] = 6;
        ip[19] = 9;
        put_be16(ip + 10, ~inet_sum(ip, 20, 0));
    }
    put_be16(tcp, 1000);
    put_be16(tcp + 2, 2000);
    put_be16(tcp + 4, stream->sent >> 16);
    put_be16(tcp + 6, stream->sent);
    tcp[12] = 0x50;
    tcp[13] = 0x10;
    for (uint32_t i = 0; i < payload; i++)
        tcp[20 + i] = stream_byte(stream->sent + i);
    put_be16(tcp + 16, pseudo_of(stream, ip, 20 + payload));
    return NET_LEN + ip_len + 20 + payload;
}

static void offer_cut(struct stream *stream, uint64_t gpa, uint32_t len, unsigned cuts)
{
    struct bed_desc desc[CUTS_MAX + 1];
    unsigned count = 0;
    uint32_t done = 0;

    for (unsigned i = 0; i < cuts && done + 13 * (i + 1) < len; i++) {
        desc[count++] = (struct bed_desc){.addr = gpa + done, .len = 13 * (i + 1)};
        done += 13 * (i + 1);
    }
    desc[count++] = (struct bed_desc){.addr = gpa + done, .len = len - done};
    pair_bed_offer(&stream->bed, BED_TX, desc, count);
    stream->offered++;
}

static void transmit(struct stream *stream, uint8_t how, uint8_t more)
{
    uint8_t frame[TX_SLOT_LEN];
    uint32_t header_len = stream->bed.pair.rules.header_len;
    uint32_t csum_start = NET_LEN + (stream->v6 ? 40 : 20);
    uint32_t gso_size = 16 + more % 64 * 8;
    uint32_t payload = how & 1 ? 1 + (uint32_t)how * 13 % 3700 : 1u + more;
    uint32_t segments = (payload + gso_size - 1) / gso_size;
    uint64_t gpa = TX_GPA + stream->offered % TX_SLOTS * (uint64_t)TX_SLOT_LEN;
    struct net_header header = {0};
    uint32_t len;

    stream->completed += (uint16_t)(used_idx(stream, BED_TX) - stream->completed);
    if (stream->offered - stream->completed >= TX_SLOTS)
        return;
    len = frame_write(stream, frame, payload);
    header.flags = FRAME_NEEDS_CSUM;
    header.csum_start = word16_make((uint16_t)csum_start, BYTE_ORDER_LITTLE);
    header.csum_offset = word16_make(16, BYTE_ORDER_LITTLE);
    if (how & 1 && segments > 1) {
        header.gso_type = stream->v6 ? FRAME_GSO_TCPV6 : FRAME_GSO_TCPV4;
        header.gso_size = word16_make((uint16_t)gso_size, BYTE_ORDER_LITTLE);
    }
    stream->start[stream->frames++] = stream->sent;
    stream->sent += payload;
    pair_bed_write(&stream->bed, gpa, &header, header_len);
    pair_bed_write(&stream->bed, gpa + header_len, frame, len);
    offer_cut(stream, gpa, header_len + len, (how >> 1) % (CUTS_MAX + 1));
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void turn(struct stream *stream, unsigned budget)
{
    pair_bed_turn(&stream->bed, budget);
    receive(stream);
}

static void step(struct stream *stream, struct fuzz_input *input)
{
    uint8_t what = fuzz_u8(input), how = fuzz_u8(input), more = fuzz_u8(input);
    uint32_t offloads = stream->bed.pair.rules.rx_offloads;

    switch (what % 8) {
    case 0:
    case 1:
        transmit(stream, how, more);
        break;
    case 2:
        for (unsigned i = 0; i <= more % 16; i++)
            give_buffer(stream, 16 + (uint32_t)how * 4);
        break;
    case 3:
        stream->bed.endpoint.accept = how;
        turn(stream, 1 + more % 4);
        break;
    case 4:
        stream->bed.endpoint.accept = UINT32_MAX;
        turn(stream, 64);
        break;
    case 5: /* as the coordinator does it */
        stream->bed.pair.rules.link_up = how & 1;
        break;
    case 6:
        offloads = more & 1 ? ENDPOINT_OFFLOADS_ALL : more & 2 ? ENDPOINT_CSUM : 0;
        stream->bed.pair.rules.rx_offloads = offloads;
        break;
    default:
        pair_bed_sleep(&stream->bed);
        receive(stream);
        break;
    }
}

/* With room for everything and an endpoint that takes everything, all gets done. */
static void drain(struct stream *stream)
{
    const struct pair *pair = &stream->bed.pair;

    stream->bed.pair.rules.link_up = 1;
    stream->bed.endpoint.accept = UINT32_MAX;
    for (unsigned i = 0; i < DRAIN_TURNS && used_idx(stream, BED_TX) != (uint16_t)stream->offered;
         i++) {
        while (give_buffer(stream, 600))
            continue;
        turn(stream, 64);
    }
    FUZZ_CHECK(used_idx(stream, BED_TX) == (uint16_t)stream->offered, "%u of %u chains are done",
               used_idx(stream, BED_TX), stream->offered);
    FUZZ_CHECK(pair->tx_resume == 0 && pair->endpoint_rx.resume == 0,
               "nothing left, and yet to resume");
}

static void stream_init(struct stream *stream, struct fuzz_input *input)
{
    uint8_t what = fuzz_u8(input), passed = fuzz_u8(input);
    struct bed_options options = {.size = {RING_SIZE, RING_SIZE},
                                  .features = what & 1 ? VIRTQUEUE_EVENT_IDX : 0,
                                  .mergeable = what & 2,
                                  .tx_offloads = ENDPOINT_OFFLOADS_ALL,
                                  .rx_offloads = what & 4 ? ENDPOINT_OFFLOADS_ALL : 0,
                                  .frame_max = FRAME_LEN_MAX};
    struct pair_rules *rules = &stream->bed.pair.rules;

    memset(stream, 0, sizeof(*stream));
    stream->v6 = (what & 8) != 0;
    pair_bed_init(&stream->bed, &options);
    rules->tx_passed = passed & ENDPOINT_CSUM ? passed & ENDPOINT_OFFLOADS_ALL : 0;
    stream->bed.endpoint.tx_offloads = rules->tx_passed;
    if (what & 16) {
        rules->hash_report = 1;
        rules->header_len = NET_HEADER_LEN_HASH;
        stream->rx_rules.hash.types = HASH_TYPES_ALL;
        rules->rx = &stream->rx_rules;
    }
    stream->bed.endpoint.delivers = (what & 32) != 0;
    stream->bed.endpoint.look = look;
    stream->bed.endpoint.look_context = stream;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stream stream;
    struct fuzz_input input = {data, size};

    stream_init(&stream, &input);
    for (unsigned i = 0; i < STEPS_MAX && input.left != 0; i++)
        step(&stream, &input);
    drain(&stream);
    pair_bed_free(&stream.bed);
    return 0;
}
