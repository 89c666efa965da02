/* SPDX-License-Identifier: MIT */
/* Software receive merging: what was cut comes together again, and nothing else does. */
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "nic/merge.h"
#include "nic/segment.h"
#include "segment_sample.h"

enum {
    ROUNDS = 600,
    SEGMENTS_MAX = 120,
    SEQUENCE = 4,
    FLAGS = 13,
    CHECKSUM = 16,
    FIN = 1,
    PSH = 8,
    ACK = 16,
    CWR = 128,
    TAKES = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6,
};

/* A train of segments, each in one or two pieces of its own. */
struct train {
    struct frame frame[SEGMENTS_MAX];
    struct iovec iov[SEGMENTS_MAX][2];
    unsigned count;
};

static struct sample sample;
static struct segmenter segmenter;
static struct merger merger;
static struct train train;

/* What may be merged again: TCP with ACK, payload, no IPv4 options. */
static void make_sample(unsigned version, uint8_t flags)
{
    struct sample_wish wish = {.gso_type = version == 4 ? FRAME_GSO_TCPV4 : FRAME_GSO_TCPV6,
                               .version = version,
                               .tags = sample_between(0, 2),
                               .extras = version == 6 ? sample_between(0, 2) : 0,
                               .payload_len = sample_between(2, 40000)};
    uint32_t most = MIN(wish.payload_len - 1, 9000);

    wish.gso_size =
        (uint16_t)sample_between(MIN(wish.payload_len / (SEGMENTS_MAX - 1) + 1, most), most);
    sample_make(&sample, &wish);
    sample.bytes[sample.transport + FLAGS] = (uint8_t)(flags | ACK);
}

static void put_piece(struct iovec *iov, const uint8_t *bytes, uint32_t len)
{
    iov->iov_base = test_malloc(len);
    iov->iov_len = len;
    memcpy(iov->iov_base, bytes, len);
}

static void train_add(const uint8_t *bytes, uint32_t len, const struct frame_offload *offload)
{
    struct frame *frame = &train.frame[train.count];
    uint32_t cut = sample_between(1, len);

    assert_true(train.count < SEGMENTS_MAX);
    frame->iov = train.iov[train.count];
    frame->iov_count = cut == len ? 1 : 2;
    frame->len = len;
    frame->token = train.count;
    frame->offload = *offload;
    put_piece(&train.iov[train.count][0], bytes, cut);
    if (cut != len)
        put_piece(&train.iov[train.count][1], bytes + cut, len - cut);
    train.count++;
}

static void train_free(void)
{
    for (unsigned i = 0; i < train.count; i++) {
        for (uint32_t part = 0; part < train.frame[i].iov_count; part++)
            test_free(train.iov[i][part].iov_base);
    }
    train.count = 0;
}

/* The sample's segments, from the reference, with partial checksums where asked for. */
static void train_make(uint32_t csum)
{
    static uint8_t bytes[FRAME_LEN_MAX];

    train_free();
    for (unsigned i = 0; i < reference_count(&sample); i++) {
        struct frame_offload offload;
        uint32_t len = reference_frame(&sample, csum, i, bytes, &offload);

        train_add(bytes, len, &offload);
    }
}

static uint8_t *byte_of(unsigned index, uint32_t at)
{
    struct iovec *iov = train.iov[index];

    return (uint8_t *)(at < iov[0].iov_len ? iov[0].iov_base : iov[1].iov_base) +
           (at < iov[0].iov_len ? at : at - iov[0].iov_len);
}

/* Writes a segment's checksums anew, after a change that is to be refused for itself. */
static void mend(unsigned index)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct frame *frame = &train.frame[index];
    uint32_t transport_len = frame->len - sample.transport;
    uint8_t *ip = bytes + sample.network;
    uint8_t *field = bytes + sample.transport + CHECKSUM;
    uint8_t words[4] = {0, 6, (uint8_t)(transport_len >> 8), (uint8_t)transport_len};
    uint16_t sum;

    for (uint32_t i = 0; i < frame->len; i++)
        bytes[i] = *byte_of(index, i);
    if (sample.version == 4) {
        memset(ip + 10, 0, 2);
        sum = (uint16_t)~reference_sum(ip, 20, 0);
        ip[10] = (uint8_t)(sum >> 8);
        ip[11] = (uint8_t)sum;
    }
    memset(field, 0, 2);
    sum = sample.version == 4 ? reference_sum(ip + 12, 8, 0) : reference_sum(ip + 8, 32, 0);
    sum = (uint16_t)~reference_sum(bytes + sample.transport, transport_len,
                                   reference_sum(words, 4, sum));
    field[0] = (uint8_t)(sum >> 8);
    field[1] = (uint8_t)sum;
    for (uint32_t i = 0; i < frame->len; i++)
        *byte_of(index, i) = bytes[i];
}

static unsigned merged(uint32_t takes)
{
    struct frame frame;

    return merge_frames(&merger, train.frame, train.count, takes, &frame);
}

/* ---- what comes together ---- */

static void check_is_sample(const struct frame *frame)
{
    static uint8_t expected[FRAME_LEN_MAX];
    struct sample whole = sample;
    struct frame_offload offload;
    uint32_t at = 0;

    whole.offload.gso_size = 65535; /* one segment of all: the checksums of the whole */
    assert_int_equal(reference_frame(&whole, ENDPOINT_CSUM, 0, expected, &offload), frame->len);
    assert_true(frame->iov_count <= FRAME_SPANS_MAX);
    for (uint32_t i = 0; i < frame->iov_count; i++) {
        assert_memory_equal(frame->iov[i].iov_base, expected + at, frame->iov[i].iov_len);
        at += (uint32_t)frame->iov[i].iov_len;
    }
    assert_int_equal(at, frame->len);
    sample.offload.hdr_len = (uint16_t)sample.header_len;
    assert_memory_equal(&frame->offload, &sample.offload, sizeof(sample.offload));
}

static void NET_RX_08_what_was_cut_is_merged(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        static const uint8_t flags[] = {0, PSH, FIN, PSH | FIN, CWR, 0x40};
        struct frame frame;

        make_sample(i % 2 ? 4 : 6, flags[i % ARRAY_COUNT(flags)]);
        if (sample.bytes[sample.transport + FLAGS] & CWR)
            sample.offload.gso_type |= FRAME_GSO_ECN;
        train_make(i % 3 == 0 ? ENDPOINT_CSUM : 0);
        assert_int_equal(
            merge_frames(&merger, train.frame, train.count, TAKES | ENDPOINT_ECN, &frame),
            train.count);
        check_is_sample(&frame);
    }
    train_free();
}

/* And what was merged is cut into the same again, by the real one. */
static void NET_RX_08_what_was_merged_is_cut_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        unsigned index = 0, count;
        struct frame frame;

        make_sample(i % 2 ? 4 : 6, 0);
        train_make(0);
        assert_int_equal(merge_frames(&merger, train.frame, train.count, TAKES, &frame),
                         train.count);
        assert_int_equal(segmenter_begin(&segmenter, &frame, 0), 0);
        while ((count = segmenter_next(&segmenter)) != 0) {
            for (unsigned k = 0; k < count; k++, index++) {
                uint32_t at = 0;

                assert_int_equal(segmenter.frame[k].len, train.frame[index].len);
                for (uint32_t s = 0; s < segmenter.frame[k].iov_count; s++) {
                    const uint8_t *base = segmenter.frame[k].iov[s].iov_base;

                    for (uint32_t b = 0; b < segmenter.frame[k].iov[s].iov_len; b++)
                        assert_int_equal(base[b], *byte_of(index, at++));
                }
            }
        }
        assert_int_equal(index, train.count);
    }
    train_free();
}

/* Any bit of any segment: those in front of it come together, it does not. */
static void NET_RX_06_a_damaged_segment_stays_alone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned index;

        make_sample(i % 2 ? 4 : 6, 0);
        train_make(0);
        index = sample_between(0, train.count - 1);
        *byte_of(index, sample_between(0, train.frame[index].len - 1)) ^=
            (uint8_t)(1u << sample_between(0, 7));
        assert_true(merged(TAKES) <= MAX(index, 1));
        train.frame[index].offload.flags = FRAME_NEEDS_CSUM; /* neither is it a begun one */
        train.frame[index].offload.csum_start = (uint16_t)sample.transport;
        train.frame[index].offload.csum_offset = CHECKSUM;
        assert_true(merged(TAKES) <= MAX(index, 1));
    }
    train_free();
}

static void NET_RX_06_verified_segments_are_not_summed_again(void **state)
{
    (void)state;
    make_sample(4, 0);
    train_make(0);
    for (unsigned i = 0; i < train.count; i++) {
        *byte_of(i, train.frame[i].len - 1) ^= 1;
        train.frame[i].offload.flags = FRAME_DATA_VALID;
    }
    assert_int_equal(merged(TAKES), train.count);
    train_free();
}

static void NET_RX_07_only_what_is_taken_is_made(void **state)
{
    (void)state;
    for (unsigned version = 4; version <= 6; version += 2) {
        uint32_t own = version == 4 ? ENDPOINT_TSO4 : ENDPOINT_TSO6;

        make_sample(version, 0);
        train_make(0);
        assert_int_equal(merged(ENDPOINT_CSUM | own), train.count);
        assert_int_equal(merged(TAKES & ~own), 1);
        assert_int_equal(merged(TAKES & ~(uint32_t)ENDPOINT_CSUM), 1);
        make_sample(version, CWR);
        train_make(0);
        assert_int_equal(merged(TAKES), 1);
        assert_int_equal(merged(TAKES | ENDPOINT_ECN), train.count);
    }
    train_free();
}

/* ---- what does not ---- */

/* Three segments or more; changes a byte of one and mends its checksums. */
static unsigned merged_with(unsigned version, unsigned index, uint32_t at, uint8_t change)
{
    do
        make_sample(version, 0);
    while (reference_count(&sample) < 4);
    train_make(0);
    *byte_of(index, at) ^= change;
    mend(index);
    return merged(TAKES);
}

static uint32_t in_tcp(uint32_t at)
{
    return sample.transport + at;
}

/* `at` counts from the IP header or the TCP header of a frame without tags and extras. */
static void check_each_bit(unsigned version, uint32_t from, uint32_t to)
{
    for (uint32_t bit = 0; bit < 8 * (to - from); bit++) {
        struct sample_wish wish = {.gso_type = version == 4 ? FRAME_GSO_TCPV4 : FRAME_GSO_TCPV6,
                                   .version = version,
                                   .payload_len = 1000,
                                   .gso_size = 300};

        sample_make(&sample, &wish);
        sample.bytes[sample.transport + FLAGS] = ACK;
        train_make(0);
        *byte_of(2, from + bit / 8) ^= (uint8_t)(1u << bit % 8);
        mend(2);
        check(merged(TAKES) == 2, "IPv%u: bit %u behind byte %u was not seen", version, bit, from);
    }
}

static void NET_RX_08_headers_that_differ_are_not_merged(void **state)
{
    (void)state;
    check_each_bit(4, 0, 14 + 10);       /* Ethernet, TOS, length, identification, DF, TTL, TCP */
    check_each_bit(4, 14 + 12, 34 + 13); /* addresses, ports, sequence, acknowledged, offset */
    check_each_bit(4, 34 + 14, 34 + 16); /* window */
    check_each_bit(4, 34 + 18, 34 + 20);
    check_each_bit(6, 0, 54 + 13);
    check_each_bit(6, 54 + 14, 54 + 16);
    train_free();
}

static void NET_RX_08_options_that_differ_are_not_merged(void **state)
{
    unsigned seen = 0;

    (void)state;
    while (seen < 20) {
        make_sample(4, 0);
        if (reference_count(&sample) < 3 || sample.header_len == in_tcp(20))
            continue;
        train_make(0);
        *byte_of(1, sample_between(in_tcp(20), sample.header_len - 1)) ^= 1; /* a timestamp */
        mend(1);
        assert_int_equal(merged(TAKES), 1);
        seen++;
    }
    train_free();
}

static void NET_RX_08_flags_that_say_something_end_it(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 8; bit++) {
        int ends = 1u << bit == PSH || 1u << bit == FIN; /* it is the last, and comes with */

        do
            make_sample(6, 0);
        while (reference_count(&sample) < 4);
        train_make(0);
        *byte_of(1, in_tcp(FLAGS)) ^= (uint8_t)(1u << bit);
        mend(1);
        assert_int_equal(merged(TAKES), ends ? 2 : 1);
        train_make(0);
        *byte_of(0, in_tcp(FLAGS)) ^= (uint8_t)(1u << bit);
        mend(0);
        assert_int_equal(merged(TAKES), 1);
    }
    train_free();
}

static void NET_RX_08_identifications_count_or_stand_still(void **state)
{
    (void)state;
    for (unsigned step = 0; step < 3; step++) {
        for (unsigned df = 0; df < 2; df++) {
            do
                make_sample(4, 0);
            while (reference_count(&sample) < 4);
            train_make(0);
            for (unsigned i = 0; i < train.count; i++) {
                uint8_t *flags = byte_of(i, sample.network + 6);

                *flags = (uint8_t)((*flags & 0x80) | (df ? 0x40 : 0));
                *byte_of(i, sample.network + 4) = 5;
                *byte_of(i, sample.network + 5) = (uint8_t)(step * i);
                mend(i);
            }
            assert_int_equal(merged(TAKES), step <= 1 ? train.count : 1);
        }
    }
    assert_int_equal(merged_with(4, 2, sample.network + 5, 0), train.count);
    train_free();
}

static void NET_RX_08_gaps_and_sizes(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct sample_wish wish = {.gso_type = FRAME_GSO_TCPV4, .version = 4, .payload_len = 1000};
    static const struct {
        uint32_t len[4];
        unsigned merged;
    } cars[] = {{{100, 100, 100, 100}, 4}, {{100, 100, 50, 100}, 3}, {{100, 50, 100, 100}, 2},
                {{100, 101, 100, 100}, 1}, {{100, 100, 101, 1}, 2},  {{100, 100, 100, 1}, 4}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cars); i++) {
        uint32_t done = 0;

        wish.gso_size = 1000;
        sample_make(&sample, &wish);
        sample.bytes[sample.transport + FLAGS] = ACK;
        train_free();
        for (unsigned k = 0; k < 4; k++) {
            struct sample car = sample;
            struct frame_offload offload;
            uint32_t sequence;
            uint8_t *at = car.bytes + car.transport + SEQUENCE;

            sequence =
                ((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]) +
                done;
            for (unsigned b = 0; b < 4; b++)
                at[b] = (uint8_t)(sequence >> (24 - 8 * b));
            car.bytes[car.network + 5] = (uint8_t)(car.bytes[car.network + 5] + k);
            if (car.bytes[car.network + 5] < k)
                car.bytes[car.network + 4]++;
            car.len = car.header_len + cars[i].len[k];
            done += cars[i].len[k];
            train_add(bytes, reference_frame(&car, 0, 0, bytes, &offload), &offload);
        }
        assert_int_equal(merged(TAKES), cars[i].merged);
        train.frame[1] = train.frame[2]; /* one is missing */
        assert_int_equal(merged(TAKES), 1);
        train.frame[1] = train.frame[0]; /* one comes twice */
        assert_int_equal(merged(TAKES), 1);
        train.frame[1].iov = train.iov[1]; /* as it was, for whoever frees it */
        train.frame[1].iov_count = train.iov[1][0].iov_len == train.frame[1].len ? 1 : 2;
        train_free();
    }
}

/* 65535 bytes of IP packet, FRAME_SPANS_MAX spans: what is too much begins the next one. */
static void NET_RX_08_longest_frames(void **state)
{
    static struct frame frame[300];
    static struct iovec iov[300][2];
    static uint8_t bytes[300][2000];
    struct sample_wish wish = {.gso_type = FRAME_GSO_TCPV6, .version = 6};

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        uint16_t size = round == 0 ? 1400 : 100;
        struct frame_offload offload;
        struct frame made;
        unsigned count;

        wish.gso_size = size;
        wish.payload_len = size * 46u;
        sample_make(&sample, &wish);
        sample.bytes[sample.transport + FLAGS] = ACK;
        for (unsigned i = 0; i < 300; i++) {
            struct sample car = sample;
            uint8_t *at = car.bytes + car.transport + SEQUENCE;

            car.len = car.header_len + size;
            for (unsigned b = 0; b < 4; b++)
                at[b] = (uint8_t)(i * size >> (24 - 8 * b));
            frame[i] = (struct frame){.iov = iov[i], .iov_count = 2};
            frame[i].len = reference_frame(&car, 0, 0, bytes[i], &offload);
            iov[i][0] = (struct iovec){bytes[i], sample.header_len + 7};
            iov[i][1] = (struct iovec){bytes[i] + sample.header_len + 7, size - 7u};
        }
        count = merge_frames(&merger, frame, 300, TAKES, &made);
        assert_int_equal(count, round == 0 ? (65535 - (sample.header_len - 14)) / 1400
                                           : (FRAME_SPANS_MAX - 1) / 2);
        assert_int_equal(made.len, sample.header_len + count * size);
        assert_true(made.iov_count <= FRAME_SPANS_MAX);
    }
}

/* Padding of short frames is no payload. */
static void NET_RX_08_padding_is_left_out(void **state)
{
    struct sample_wish wish = {
        .gso_type = FRAME_GSO_TCPV4, .version = 4, .payload_len = 10, .gso_size = 7};
    static uint8_t bytes[FRAME_LEN_MAX];
    struct frame_offload offload;
    struct frame frame;

    (void)state;
    do
        sample_make(&sample, &wish);
    while (sample.header_len != 54);
    sample.bytes[sample.transport + FLAGS] = ACK;
    train_free();
    for (unsigned i = 0; i < 2; i++) {
        uint32_t len = reference_frame(&sample, 0, i, bytes, &offload);

        memset(bytes + len, 0xee, 10);
        train_add(bytes, MAX(len, 60), &offload);
    }
    assert_int_equal(merge_frames(&merger, train.frame, 2, TAKES, &frame), 2);
    assert_int_equal(frame.len, 64);
    check_is_sample(&frame);
    train_free();
}

static void NET_RX_08_other_frames_stay_alone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) { /* datagrams, GSO frames, fragments, noise */
        struct iovec iov;
        struct frame frames[2], frame;

        sample_make_any(&sample);
        iov = (struct iovec){sample.bytes, sample.len};
        frames[0] = frames[1] = (struct frame){&iov, 1, sample.len, 0, sample.offload};
        if (sample.protocol == 17 || i % 2)
            memset(&frames[0].offload, 0, sizeof(frames[0].offload));
        sample.len = sample_between(14, sample.len);
        assert_int_equal(merge_frames(&merger, frames, 2, TAKES, &frame), 1);
        assert_memory_equal(&frame, &frames[0], sizeof(frame));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NET_RX_06_a_damaged_segment_stays_alone),
        cmocka_unit_test(NET_RX_06_verified_segments_are_not_summed_again),
        cmocka_unit_test(NET_RX_07_only_what_is_taken_is_made),
        cmocka_unit_test(NET_RX_08_what_was_cut_is_merged),
        cmocka_unit_test(NET_RX_08_what_was_merged_is_cut_again),
        cmocka_unit_test(NET_RX_08_headers_that_differ_are_not_merged),
        cmocka_unit_test(NET_RX_08_options_that_differ_are_not_merged),
        cmocka_unit_test(NET_RX_08_flags_that_say_something_end_it),
        cmocka_unit_test(NET_RX_08_identifications_count_or_stand_still),
        cmocka_unit_test(NET_RX_08_gaps_and_sizes),
        cmocka_unit_test(NET_RX_08_longest_frames),
        cmocka_unit_test(NET_RX_08_padding_is_left_out),
        cmocka_unit_test(NET_RX_08_other_frames_stay_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
