/* SPDX-License-Identifier: MIT */
#include "segment_sample.h"

#include <string.h>

#include "base/checked.h"
#include "inet_words.h"

static uint64_t seed = 20260917;

uint32_t sample_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

uint32_t sample_between(uint32_t low, uint32_t high)
{
    return low + sample_random() % (high - low + 1);
}

static uint8_t *put(struct sample *sample, uint32_t len)
{
    uint8_t *at = sample->bytes + sample->len;

    for (uint32_t i = 0; i < len; i++)
        at[i] = (uint8_t)sample_random();
    sample->len += len;
    return at;
}

static void put16(struct sample *sample, unsigned value)
{
    uint8_t *at = put(sample, 2);

    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* One of hop-by-hop (only the first), destination options, routing: random inside. */
static void put_extension(struct sample *sample, uint32_t *next_header, unsigned place)
{
    static const uint8_t type[] = {60, 43, 0};
    uint8_t which = type[sample_between(0, place == 0 ? 2 : 1)];
    uint32_t words = sample_between(0, 2);
    uint32_t at = sample->len;
    uint8_t *extension = put(sample, 8 + 8 * words);

    sample->bytes[*next_header] = which;
    extension[1] = (uint8_t)words;
    if (which == 43)
        extension[3] = 0; /* no hops left */
    else
        memset(extension + 2, 0, 6 + 8 * words); /* padding */
    *next_header = at;
    if (which == 60)
        return;
    sample->next_header = at;
    sample->fragmentable = sample->len;
}

static void put_ipv6(struct sample *sample, const struct sample_wish *wish)
{
    uint32_t next_header = sample->network + 6;

    put(sample, 40)[0] = 0x60;
    sample->next_header = next_header;
    sample->fragmentable = sample->len;
    for (unsigned i = 0; i < wish->extras; i++)
        put_extension(sample, &next_header, i);
    sample->bytes[next_header] = (uint8_t)sample->protocol;
}

static void put_ipv4(struct sample *sample, const struct sample_wish *wish)
{
    uint8_t *ip = put(sample, 20 + 4 * wish->extras);

    ip[0] = (uint8_t)(0x45 + wish->extras);
    ip[6] &= 0xc0;
    ip[7] = 0;
    ip[9] = (uint8_t)sample->protocol;
    sample->fragmentable = sample->len;
}

static void put_transport(struct sample *sample)
{
    sample->transport = sample->len;
    if (sample->protocol == 6) {
        uint32_t words = sample_between(5, 15);

        put(sample, 4 * words)[12] = (uint8_t)(words << 4 | (sample_random() & 15));
    } else {
        put(sample, 8);
    }
    sample->header_len = sample->len;
}

void sample_make(struct sample *sample, const struct sample_wish *wish)
{
    unsigned type = wish->gso_type & ~FRAME_GSO_ECN;
    uint8_t *ip;

    memset(sample, 0, sizeof(*sample));
    sample->version = wish->version;
    sample->protocol = type == FRAME_GSO_TCPV4 || type == FRAME_GSO_TCPV6 ? 6 : 17;
    put(sample, 12);
    for (unsigned i = 0; i < wish->tags; i++) {
        put16(sample, i == 0 && wish->tags == 2 ? 0x88a8 : 0x8100);
        put16(sample, sample_random());
    }
    put16(sample, wish->version == 4 ? 0x0800 : 0x86dd);
    sample->network = sample->len;
    if (wish->version == 4)
        put_ipv4(sample, wish);
    else
        put_ipv6(sample, wish);
    put_transport(sample);
    put(sample, MIN(wish->payload_len, sample->network + 65535 - sample->len));
    ip = sample->bytes + sample->network;
    put_be16(ip + (wish->version == 4 ? 2 : 4),
             sample->len - sample->network - (wish->version == 4 ? 0 : 40));
    sample->offload = (struct frame_offload){.flags = FRAME_NEEDS_CSUM,
                                             .gso_type = wish->gso_type,
                                             .hdr_len = (uint16_t)sample_random(),
                                             .gso_size = wish->gso_size,
                                             .csum_start = (uint16_t)sample->transport,
                                             .csum_offset = sample->protocol == 6 ? 16 : 6};
}

void sample_make_any(struct sample *sample)
{
    static const uint8_t type[] = {FRAME_GSO_TCPV4,
                                   FRAME_GSO_TCPV6,
                                   FRAME_GSO_TCPV4 | FRAME_GSO_ECN,
                                   FRAME_GSO_TCPV6 | FRAME_GSO_ECN,
                                   FRAME_GSO_UDP_L4,
                                   FRAME_GSO_UDP};
    static const uint32_t longest[] = {20, 3000, 20000, 65535};
    struct sample_wish wish = {.gso_type = type[sample_between(0, 5)],
                               .tags = sample_between(0, 2),
                               .extras = sample_between(0, 3)};

    wish.version = sample_between(0, 1) ? 4 : 6;
    if ((wish.gso_type & 0x7f) == FRAME_GSO_TCPV4)
        wish.version = 4;
    if ((wish.gso_type & 0x7f) == FRAME_GSO_TCPV6)
        wish.version = 6;
    wish.payload_len = sample_between(0, longest[sample_between(0, 3)]);
    wish.gso_size =
        (uint16_t)sample_between(wish.payload_len / 1000 + 1, sample_between(0, 1) ? 1500 : 65535);
    /* A first fragment holds all that stands in front of the payload. */
    if (wish.gso_type == FRAME_GSO_UDP)
        wish.gso_size = MAX(wish.gso_size, 120);
    sample_make(sample, &wish);
}

/* ---- the reference ---- */

uint16_t reference_sum(const uint8_t *bytes, uint32_t len, uint32_t before)
{
    for (uint32_t i = 0; i < len; i++) {
        before += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
        before = (before & 0xffff) + (before >> 16);
    }
    return (uint16_t)before;
}

static uint16_t reference_pseudo(const struct sample *sample, const uint8_t *ip, uint32_t len)
{
    uint16_t sum =
        sample->version == 4 ? reference_sum(ip + 12, 8, 0) : reference_sum(ip + 8, 32, 0);
    uint8_t words[4] = {0, (uint8_t)sample->protocol, (uint8_t)(len >> 8), (uint8_t)len};

    return reference_sum(words, 4, sum);
}

/* The checksum of the transport header of a whole packet. */
static void reference_checksum(const struct sample *sample, uint32_t csum, uint8_t *bytes,
                               uint32_t len)
{
    uint8_t *transport = bytes + sample->transport;
    uint8_t *field = transport + sample->offload.csum_offset;
    uint32_t transport_len = len - sample->transport;
    uint16_t sum = reference_pseudo(sample, bytes + sample->network, transport_len);

    if (csum != 0) {
        put_be16(field, sum);
        return;
    }
    put_be16(field, 0);
    sum = (uint16_t)~reference_sum(transport, transport_len, sum);
    put_be16(field, sum == 0 ? 0xffff : sum);
}

static void reference_ip(const struct sample *sample, uint8_t *bytes, uint32_t len)
{
    uint8_t *ip = bytes + sample->network;

    if (sample->version == 6) {
        put_be16(ip + 4, len - sample->network - 40);
        return;
    }
    put_be16(ip + 2, len - sample->network);
    put_be16(ip + 10, 0);
    put_be16(ip + 10, (uint16_t)~reference_sum(ip, (ip[0] & 15u) * 4, 0));
}

static int is_fragmented(const struct sample *sample)
{
    return sample->offload.gso_type == FRAME_GSO_UDP &&
           sample->len - sample->fragmentable > sample->offload.gso_size;
}

static uint32_t rounded_up(uint32_t len, uint32_t size)
{
    return len / size + (len % size != 0);
}

unsigned reference_count(const struct sample *sample)
{
    uint32_t size = sample->offload.gso_size;

    if (is_fragmented(sample))
        return rounded_up(sample->len - sample->fragmentable, size / 8 * 8);
    if (sample->offload.gso_type == FRAME_GSO_UDP)
        return 1;
    return MAX(1, rounded_up(sample->len - sample->header_len, size));
}

static uint32_t reference_fragment(const struct sample *sample, unsigned index, uint8_t *bytes)
{
    static uint8_t whole[FRAME_LEN_MAX];
    uint32_t size = sample->offload.gso_size / 8 * 8u;
    uint32_t start = sample->fragmentable + index * size;
    uint32_t part = MIN(size, sample->len - start);
    uint32_t last = start + part == sample->len;
    uint32_t len = sample->fragmentable;

    memcpy(whole, sample->bytes, sample->len);
    put_be16(whole + sample->transport + 4, sample->len - sample->transport);
    reference_checksum(sample, 0, whole, sample->len);
    memcpy(bytes, whole, len);
    if (sample->version == 6) {
        memset(bytes + len, 0, 8);
        bytes[len] = whole[sample->next_header];
        bytes[sample->next_header] = 44;
        put_be16(bytes + len + 2, index * size | (last ? 0 : 1));
        len += 8;
    } else {
        put_be16(bytes + sample->network + 6, index * size / 8 | (last ? 0 : 0x2000));
    }
    memcpy(bytes + len, whole + start, part);
    reference_ip(sample, bytes, len + part);
    return len + part;
}

uint32_t reference_frame(const struct sample *sample, uint32_t csum, unsigned index,
                         uint8_t *ret_bytes, struct frame_offload *ret_offload)
{
    uint32_t size =
        sample->offload.gso_type == FRAME_GSO_UDP ? sample->len : sample->offload.gso_size;
    uint32_t start = sample->header_len + index * size;
    uint32_t part = MIN(size, sample->len - start);
    uint32_t len = sample->header_len + part;
    uint8_t *transport = ret_bytes + sample->transport;

    memset(ret_offload, 0, sizeof(*ret_offload));
    if (is_fragmented(sample))
        return reference_fragment(sample, index, ret_bytes);
    memcpy(ret_bytes, sample->bytes, sample->header_len);
    memcpy(ret_bytes + sample->header_len, sample->bytes + start, part);
    if (sample->version == 4)
        put_be16(ret_bytes + sample->network + 4,
                 get_be16(ret_bytes + sample->network + 4) + index);
    reference_ip(sample, ret_bytes, len);
    if (sample->protocol == 17) {
        put_be16(transport + 4, 8 + part);
    } else {
        uint32_t seq = (get_be16(transport + 4) << 16 | get_be16(transport + 6)) + index * size;

        put_be16(transport + 4, seq >> 16);
        put_be16(transport + 6, seq);
        if (index != 0)
            transport[13] &= 0x7f;
        if (index + 1 != reference_count(sample))
            transport[13] &= 0xf6;
    }
    reference_checksum(sample, csum, ret_bytes, len);
    if (csum != 0)
        *ret_offload = (struct frame_offload){.flags = FRAME_NEEDS_CSUM,
                                              .csum_start = (uint16_t)sample->transport,
                                              .csum_offset = sample->offload.csum_offset};
    return len;
}
