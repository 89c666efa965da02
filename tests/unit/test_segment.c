/* SPDX-License-Identifier: MIT */
/* Software checksum and segmentation, against a reference that knows how the frames were made. */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "nic/offload.h"
#include "nic/segment.h"
#include "segment_sample.h"

enum {
    SAMPLES = 2000,
    ROUNDS_CUT = 20,
};

static struct segmenter segmenter;
static struct sample sample;

/* ---- frames in pieces of their own, so that a byte read behind one is seen ---- */

static struct frame scatter(const struct sample *from, struct iovec *iov, uint32_t most)
{
    struct frame frame = {.iov = iov, .len = from->len, .token = 7, .offload = from->offload};
    uint32_t done = 0;

    while (done < from->len) {
        uint32_t left = from->len - done;
        uint32_t part = frame.iov_count + 1 == most ? left : sample_between(1, MIN(left, 300));

        if (sample_between(0, 9) == 0)
            part = left / 2 + 1;
        if (frame.iov_count + 1 == most)
            part = left;
        iov[frame.iov_count].iov_base = test_malloc(part);
        iov[frame.iov_count].iov_len = part;
        memcpy(iov[frame.iov_count++].iov_base, from->bytes + done, part);
        done += part;
    }
    return frame;
}

static void check_untouched_and_free(const struct sample *from, const struct frame *frame)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < frame->iov_count; i++) {
        assert_memory_equal(frame->iov[i].iov_base, from->bytes + done, frame->iov[i].iov_len);
        done += (uint32_t)frame->iov[i].iov_len;
        test_free(frame->iov[i].iov_base);
    }
}

static uint32_t flatten(const struct frame *frame, uint8_t *bytes)
{
    uint32_t done = 0;

    assert_true(frame->iov_count >= 1 && frame->iov_count <= FRAME_SPANS_MAX);
    for (uint32_t i = 0; i < frame->iov_count; i++) {
        assert_true(done + frame->iov[i].iov_len <= FRAME_LEN_MAX);
        memcpy(bytes + done, frame->iov[i].iov_base, frame->iov[i].iov_len);
        done += (uint32_t)frame->iov[i].iov_len;
    }
    assert_int_equal(done, frame->len);
    return done;
}

/* An identification is any number, but one for all fragments of a datagram. */
static void take_identification(const struct sample *from, uint8_t *bytes, unsigned index,
                                uint8_t identification[4])
{
    if (from->version != 6 || bytes[from->next_header] != 44)
        return;
    if (index == 0)
        memcpy(identification, bytes + from->fragmentable + 4, 4);
    assert_memory_equal(identification, bytes + from->fragmentable + 4, 4);
    memset(bytes + from->fragmentable + 4, 0, 4);
}

static void check_frame(const struct sample *from, uint32_t csum, unsigned index,
                        const struct frame *frame)
{
    static uint8_t got[FRAME_LEN_MAX], expected[FRAME_LEN_MAX];
    static uint8_t identification[4];
    struct frame_offload offload;
    uint32_t len = reference_frame(from, csum, index, expected, &offload);

    assert_int_equal(flatten(frame, got), len);
    take_identification(from, got, index, identification);
    for (uint32_t i = 0; i < len; i++)
        check(got[i] == expected[i], "type 0x%x IPv%u: frame %u of %u: byte %u is %x, not %x",
              from->offload.gso_type, from->version, index, reference_count(from), i, got[i],
              expected[i]);
    assert_memory_equal(&frame->offload, &offload, sizeof(offload));
    assert_int_equal(frame->token, 7);
}

/* All frames from a place on. */
static void check_from(const struct sample *from, const struct frame *frame, uint32_t csum,
                       unsigned first)
{
    unsigned index = first;
    unsigned made;

    assert_int_equal(segmenter_begin(&segmenter, frame, csum), 0);
    segmenter_skip(&segmenter, first);
    while ((made = segmenter_next(&segmenter)) != 0) {
        assert_true(made <= SEGMENT_BATCH);
        for (unsigned i = 0; i < made; i++)
            check_frame(from, csum, index++, &segmenter.frame[i]);
    }
    assert_int_equal(index, reference_count(from));
}

static void check_sample(const struct sample *from, uint32_t most)
{
    struct iovec iov[FRAME_SPANS_MAX];
    struct frame frame = scatter(from, iov, most);

    check_from(from, &frame, 0, 0);
    check_from(from, &frame, ENDPOINT_CSUM, 0);
    check_from(from, &frame, 0, sample_between(0, reference_count(from)));
    check_untouched_and_free(from, &frame);
}

/* ---- what comes out ---- */

static void NET_TX_09_segments_are_those_of_the_reference(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SAMPLES; i++) {
        sample_make_any(&sample);
        check_sample(&sample, i % 3 == 0 ? 1 : FRAME_SPANS_MAX);
    }
}

/* Each kind, with all that may stand in front of its transport header, cut into two at each byte.
 */
static void NET_TX_09_frames_cut_at_every_byte(void **state)
{
    static const struct sample_wish wish[] = {
        {FRAME_GSO_TCPV4, 4, 2, 3, 100, 33}, {FRAME_GSO_TCPV6, 6, 1, 3, 100, 33},
        {FRAME_GSO_UDP_L4, 4, 1, 1, 90, 31}, {FRAME_GSO_UDP_L4, 6, 2, 2, 90, 31},
        {FRAME_GSO_UDP, 4, 0, 2, 400, 50},   {FRAME_GSO_UDP, 6, 1, 1, 400, 60},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(wish); i++) {
        sample_make(&sample, &wish[i]);
        for (uint32_t cut = 1; cut < sample.len; cut++) {
            struct iovec iov[2] = {{sample.bytes, cut}, {sample.bytes + cut, sample.len - cut}};
            struct frame frame = {iov, 2, sample.len, 7, sample.offload};

            check_from(&sample, &frame, 0, 0);
            check_from(&sample, &frame, ENDPOINT_CSUM, 0);
        }
    }
}

/* As many spans as a frame may have, all over it: headers of ours still fit in. */
static void NET_TX_09_frames_of_the_most_spans(void **state)
{
    static const uint32_t count[] = {FRAME_SPANS_MAX - 2, FRAME_SPANS_MAX - 1, FRAME_SPANS_MAX};

    (void)state;
    for (unsigned round = 0; round < ROUNDS_CUT; round++) {
        uint32_t spans = count[round % ARRAY_COUNT(count)];
        struct sample_wish wish = {FRAME_GSO_TCPV4, 4, 0, 0, 65400, (uint16_t)(1448 << round % 6)};
        struct iovec iov[FRAME_SPANS_MAX];
        struct frame frame;
        uint32_t done = 0;

        sample_make(&sample, &wish);
        for (uint32_t i = 0; i < spans; i++) {
            uint32_t part = i + 1 == spans
                                ? sample.len - done
                                : sample_between(1, 2 * (sample.len - done) / (spans - i) - 1);

            iov[i] = (struct iovec){sample.bytes + done, part};
            done += part;
        }
        frame = (struct frame){iov, spans, sample.len, 7, sample.offload};
        check_from(&sample, &frame, 0, 0);
        check_from(&sample, &frame, ENDPOINT_CSUM, 0);
    }
}

static void NET_TX_09_frames_that_can_be_taken_stay_whole(void **state)
{
    struct frame frame;
    struct iovec iov;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        sample_make_any(&sample);
        iov = (struct iovec){sample.bytes, sample.len};
        frame = (struct frame){&iov, 1, sample.len, 7, sample.offload};
        assert_int_equal(segmenter_begin(&segmenter, &frame, frame_needs(&frame)), 0);
        assert_int_equal(segmenter_next(&segmenter), 1);
        assert_memory_equal(&segmenter.frame[0], &frame, sizeof(frame));
        assert_int_equal(segmenter_next(&segmenter), 0);
        if (frame.offload.gso_type & FRAME_GSO_ECN) /* the bit alone is enough */
            check_from(&sample, &frame, frame_needs(&frame) & ~(uint32_t)ENDPOINT_ECN, 0);
    }
}

/* The guest writes its headers anew after they were looked at. */
static void NET_TX_09_headers_are_read_once(void **state)
{
    static struct sample changing;

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        unsigned index = 0, made;
        struct frame frame;
        struct iovec iov;

        sample_make_any(&sample);
        changing = sample;
        iov = (struct iovec){changing.bytes, changing.len};
        frame = (struct frame){&iov, 1, changing.len, 7, changing.offload};
        assert_int_equal(segmenter_begin(&segmenter, &frame, 0), 0);
        for (uint32_t i = 0; i < changing.header_len; i++)
            changing.bytes[i] = (uint8_t)sample_random();
        while ((made = segmenter_next(&segmenter)) != 0) {
            for (unsigned i = 0; i < made; i++)
                check_frame(&sample, 0, index++, &segmenter.frame[i]);
        }
        assert_int_equal(index, reference_count(&sample));
    }
}

static void set16(uint32_t at, uint32_t value)
{
    sample.bytes[at] = (uint8_t)(value >> 8);
    sample.bytes[at + 1] = (uint8_t)value;
}

static int begin(void)
{
    static struct iovec iov;
    struct frame frame = {&iov, 1, sample.len, 7, sample.offload};

    iov = (struct iovec){sample.bytes, sample.len};
    return segmenter_begin(&segmenter, &frame, 0);
}

static uint32_t length_field(void)
{
    return sample.network + (sample.version == 4 ? 2 : 4);
}

/* Drivers that let the device segment leave the length out. */
static void NET_TX_09_ip_length_of_zero_is_the_frames(void **state)
{
    struct frame frame;
    struct iovec iov;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        sample_make_any(&sample);
        set16(length_field(), 0);
        iov = (struct iovec){sample.bytes, sample.len};
        frame = (struct frame){&iov, 1, sample.len, 7, sample.offload};
        check_from(&sample, &frame, 0, 0);
    }
}

static void NET_TX_09_ethernet_padding_is_left_out(void **state)
{
    static const struct sample_wish wish = {FRAME_GSO_UDP_L4, 4, 0, 0, 5, 2};
    struct frame frame;
    struct iovec iov;

    (void)state;
    sample_make(&sample, &wish);
    iov = (struct iovec){sample.bytes, 60};
    frame = (struct frame){&iov, 1, 60, 7, sample.offload};
    check_from(&sample, &frame, 0, 0);
    iov.iov_len = frame.len = 61; /* no padding: what is it? */
    assert_int_equal(segmenter_begin(&segmenter, &frame, 0), -EINVAL);
}

/* ---- checksums of frames that stay one ---- */

static void NET_TX_03_checksum_is_finished_beside_the_frame(void **state)
{
    static uint8_t got[FRAME_LEN_MAX];

    (void)state;
    for (unsigned round = 0; round < SAMPLES; round++) {
        struct iovec iov[FRAME_SPANS_MAX];
        struct frame frame;
        uint32_t start, field;
        uint16_t sum;

        sample_make_any(&sample);
        sample.len = MIN(sample.len, sample_between(60, 3000));
        start = sample_between(14, sample.len - 2);
        field = sample_between(start, sample.len - 2);
        sample.offload = (struct frame_offload){.flags = FRAME_NEEDS_CSUM,
                                                .csum_start = (uint16_t)start,
                                                .csum_offset = (uint16_t)(field - start)};
        frame = scatter(&sample, iov, FRAME_SPANS_MAX);
        assert_int_equal(segmenter_begin(&segmenter, &frame, 0), 0);
        assert_int_equal(segmenter_next(&segmenter), 1);
        assert_int_equal(flatten(&segmenter.frame[0], got), sample.len);
        assert_int_equal(segmenter.frame[0].offload.flags, 0);
        sum = (uint16_t)~reference_sum(sample.bytes + start, sample.len - start, 0);
        sum = sum == 0 ? 0xffff : sum;
        assert_int_equal(got[field] << 8 | got[field + 1], sum);
        memcpy(got + field, sample.bytes + field, 2);
        assert_memory_equal(got, sample.bytes, sample.len);
        assert_int_equal(segmenter_next(&segmenter), 0);
        check_untouched_and_free(&sample, &frame);
    }
}

static void NET_TX_03_checksum_of_zero_is_stored_as_ffff(void **state)
{
    (void)state;
    memset(sample.bytes, 0, 60);
    sample.len = 60;
    sample.offload =
        (struct frame_offload){.flags = FRAME_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
    set16(34, 0xffff);
    assert_int_equal(begin(), 0);
    assert_int_equal(segmenter_next(&segmenter), 1);
    assert_memory_equal(segmenter.header[0], "\xff\xff", 2);
}

/* A datagram whose sum is ffff: its checksum would be 0, which says that there is none. */
static void NET_TX_03_segments_with_a_checksum_of_zero(void **state)
{
    static const struct sample_wish wish = {FRAME_GSO_UDP_L4, 4, 0, 0, 40, 20};

    (void)state;
    sample_make(&sample, &wish);
    for (unsigned i = 0; i < 2; i++) {
        static uint8_t bytes[FRAME_LEN_MAX];
        struct frame_offload offload;
        uint32_t at = sample.header_len + 20 * i;

        set16(at, 0);
        reference_frame(&sample, 0, i, bytes, &offload);
        set16(at, (uint32_t)bytes[sample.transport + 6] << 8 | bytes[sample.transport + 7]);
        reference_frame(&sample, 0, i, bytes, &offload);
        assert_memory_equal(bytes + sample.transport + 6, "\xff\xff", 2);
    }
    check_sample(&sample, 1);
}

/* ---- refusals ---- */

static void make(uint8_t gso_type, unsigned version, uint32_t payload_len, uint16_t gso_size)
{
    struct sample_wish wish = {gso_type, version, sample_between(0, 2), 0, payload_len, gso_size};

    sample_make(&sample, &wish);
    assert_int_equal(begin(), 0);
}

static void check_refused(void)
{
    assert_int_equal(begin(), -EINVAL);
    assert_int_equal(segmenter_next(&segmenter), 0);
}

static void NET_TX_09_ip_lengths_that_lie_are_refused(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        uint32_t right, wrong = sample_between(1, 65535);

        sample_make_any(&sample);
        right = (uint32_t)sample.bytes[length_field()] << 8 | sample.bytes[length_field() + 1];
        set16(length_field(), wrong);
        if (wrong != right && sample.len > 60)
            check_refused();
    }
}

static void NET_TX_09_tcp_headers_beyond_the_frame_are_refused(void **state)
{
    (void)state;
    make(FRAME_GSO_TCPV4, 4, 100, 10);
    for (unsigned words = 0; words < 16; words++) {
        uint32_t left = (sample.len - sample.transport) / 4;

        sample.bytes[sample.transport + 12] = (uint8_t)(words << 4);
        assert_int_equal(begin(), words < 5 || words > left ? -EINVAL : 0);
    }
    make(FRAME_GSO_TCPV4, 4, 0, 10);
    sample.len = sample.transport + 20;
    set16(length_field(), sample.len - sample.network);
    sample.bytes[sample.transport + 12] = 0x60;
    check_refused();
}

static void NET_TX_09_fragments_are_refused(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 14; bit++) {
        make(FRAME_GSO_TCPV4, 4, 100, 10);
        set16(sample.network + 6, 1u << bit);
        check_refused();
    }
    make(FRAME_GSO_TCPV4, 4, 100, 10);
    set16(sample.network + 6, 0x4000); /* DF is no fragment */
    assert_int_equal(begin(), 0);
    make(FRAME_GSO_UDP_L4, 6, 100, 10);
    sample.bytes[sample.network + 6] = 44;
    check_refused();
}

static void NET_TX_08_headers_elsewhere_than_said_are_refused(void **state)
{
    (void)state;
    make(FRAME_GSO_TCPV6, 6, 100, 10);
    for (uint32_t start = 0; start < 300; start++) {
        sample.offload.csum_start = (uint16_t)start;
        assert_int_equal(begin(), start == sample.transport ? 0 : -EINVAL);
    }
    for (unsigned hint = 0; hint < 70000; hint += 111) { /* a hint is a hint */
        make(FRAME_GSO_TCPV6, 6, 100, 10);
        sample.offload.hdr_len = (uint16_t)hint;
        assert_int_equal(begin(), 0);
    }
}

static void NET_TX_07_types_that_the_headers_are_not(void **state)
{
    static const struct {
        uint8_t type;
        unsigned version;
        unsigned protocol;
    } right[] = {{1, 4, 6}, {4, 6, 6}, {5, 4, 17}, {5, 6, 17}, {3, 4, 17}, {3, 6, 17}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(right); i++) {
        make(right[i].type, right[i].version, 3000, 1000);
        for (unsigned protocol = 0; protocol < 256; protocol++) {
            sample.bytes[right[i].version == 4 ? sample.network + 9 : sample.network + 6] =
                (uint8_t)protocol;
            assert_int_equal(begin(), protocol == right[i].protocol ? 0 : -EINVAL);
        }
    }
}

/* Options to any length fit; a chain of extension headers longer than what is copied does not. */
static void NET_TX_09_long_headers_are_refused(void **state)
{
    (void)state;
    for (unsigned extras = 0; extras < 40; extras++) {
        struct sample_wish wish = {FRAME_GSO_TCPV6, 6, 2, extras, 500, 100};

        sample_make(&sample, &wish);
        assert_int_equal(begin(), sample.header_len > SEGMENT_HEADER_MAX ? -EINVAL : 0);
        wish.gso_type = FRAME_GSO_UDP; /* a fragment header has to fit in too */
        wish.gso_size = 480;
        sample_make(&sample, &wish);
        assert_int_equal(begin(), sample.header_len + 8 > SEGMENT_HEADER_MAX ? -EINVAL : 0);
    }
}

static void NET_TX_09_amplifiers_are_refused(void **state)
{
    (void)state;
    make(FRAME_GSO_TCPV4, 4, 1024, 1);
    sample.offload.gso_size = 0;
    check_refused();
    make(FRAME_GSO_TCPV4, 4, 60000, 59);
    sample.offload.gso_size = 58; /* 1035 segments */
    check_refused();
    make(FRAME_GSO_UDP, 4, 2000, 100);
    for (uint16_t size = 0; size < 8; size++) { /* fragments are multiples of 8 */
        sample.offload.gso_size = size;
        check_refused();
    }
    make(FRAME_GSO_UDP, 4, 20000, 24);
    sample.offload.gso_size = 23; /* 1251 fragments of 16 */
    check_refused();
}

/* Sums over addresses that stand elsewhere can't be made. */
static void NET_TX_09_other_addresses_are_refused(void **state)
{
    (void)state;
    make(FRAME_GSO_TCPV6, 6, 100, 10);
    memmove(sample.bytes + sample.transport + 24, sample.bytes + sample.transport,
            sample.len - sample.transport);
    memset(sample.bytes + sample.transport, 0, 24);
    sample.bytes[sample.transport] = 6;
    sample.bytes[sample.transport + 1] = 2;
    sample.bytes[sample.network + 6] = 43; /* routing: no hop left, one left */
    sample.offload.csum_start += 24;
    sample.len += 24;
    set16(length_field(), sample.len - sample.network - 40);
    assert_int_equal(begin(), 0);
    sample.bytes[sample.transport + 3] = 1;
    check_refused();
    sample.bytes[sample.network + 6] = 60; /* destination options: padding, the home address */
    assert_int_equal(begin(), 0);
    sample.bytes[sample.transport + 3] = 0;
    sample.bytes[sample.transport + 4] = 201;
    sample.bytes[sample.transport + 5] = 16;
    check_refused();
}

/* Frames cut off anywhere, bytes turned anywhere: nothing is read behind them (ASan). */
static void NET_TX_09_damaged_frames(void **state)
{
    (void)state;
    for (unsigned round = 0; round < SAMPLES; round++) {
        struct iovec iov[FRAME_SPANS_MAX];
        struct frame frame;

        sample_make_any(&sample);
        sample.len = MIN(sample.len, sample_between(14, 400));
        for (unsigned i = sample_between(0, 3); i != 0; i--)
            sample.bytes[sample_between(12, MIN(sample.len, 100) - 1)] = (uint8_t)sample_random();
        frame = scatter(&sample, iov, FRAME_SPANS_MAX);
        if (segmenter_begin(&segmenter, &frame, 0) == 0) {
            while (segmenter_next(&segmenter) != 0) {
            }
        }
        check_untouched_and_free(&sample, &frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NET_TX_03_checksum_is_finished_beside_the_frame),
        cmocka_unit_test(NET_TX_03_checksum_of_zero_is_stored_as_ffff),
        cmocka_unit_test(NET_TX_03_segments_with_a_checksum_of_zero),
        cmocka_unit_test(NET_TX_07_types_that_the_headers_are_not),
        cmocka_unit_test(NET_TX_08_headers_elsewhere_than_said_are_refused),
        cmocka_unit_test(NET_TX_09_segments_are_those_of_the_reference),
        cmocka_unit_test(NET_TX_09_frames_cut_at_every_byte),
        cmocka_unit_test(NET_TX_09_frames_of_the_most_spans),
        cmocka_unit_test(NET_TX_09_frames_that_can_be_taken_stay_whole),
        cmocka_unit_test(NET_TX_09_headers_are_read_once),
        cmocka_unit_test(NET_TX_09_ip_length_of_zero_is_the_frames),
        cmocka_unit_test(NET_TX_09_ethernet_padding_is_left_out),
        cmocka_unit_test(NET_TX_09_ip_lengths_that_lie_are_refused),
        cmocka_unit_test(NET_TX_09_tcp_headers_beyond_the_frame_are_refused),
        cmocka_unit_test(NET_TX_09_fragments_are_refused),
        cmocka_unit_test(NET_TX_09_long_headers_are_refused),
        cmocka_unit_test(NET_TX_09_amplifiers_are_refused),
        cmocka_unit_test(NET_TX_09_other_addresses_are_refused),
        cmocka_unit_test(NET_TX_09_damaged_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
