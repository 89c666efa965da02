/* SPDX-License-Identifier: MIT */
/*
 * Software receive merging of trains of frames: what was merged is a frame that the check of our
 * own net headers lets through, and cut again it is the train; what was not merged is untouched.
 *
 *     what is taken, length and bytes of the first frame, then for each further one:
 *     how it differs from the one before (CAR_…), a new length, changes of single bytes
 */
#include <string.h>

#include "base/checked.h"
#include "fuzz.h"
#include "inet_words.h"
#include "nic/merge.h"
#include "nic/offload.h"
#include "nic/segment.h"

enum {
    CARS_MAX = 16,
    LEN_MAX = 600,
    CAR_MEND = 1,     /* its checksums are right */
    CAR_FOLLOWS = 2,  /* sequence and identification go on */
    CAR_SHORTER = 4,  /* a byte with the new length follows */
    CAR_PARTIAL = 8,  /* only a begun checksum */
    CAR_VERIFIED = 16 /* the endpoint looked already */
};

struct car {
    uint8_t bytes[LEN_MAX];
    uint32_t len;
    uint8_t how;
};

static struct car car[CARS_MAX];
static struct iovec iov[CARS_MAX];
static struct frame frame[CARS_MAX];
static struct merger merger;
static struct segmenter segmenter;
static uint8_t again[FRAME_LEN_MAX];

/* ---- a parser of its own, for frames without tags, options and extension headers --------------
 */

/* Where TCP begins; 0 in what is no such frame. */
static uint32_t tcp_at(const struct car *from)
{
    uint32_t at = 0;

    if (from->len >= 54 && get_be16(from->bytes + 12) == 0x0800 && from->bytes[14] == 0x45)
        at = 34;
    else if (from->len >= 74 && get_be16(from->bytes + 12) == 0x86dd && from->bytes[20] == 6)
        at = 54;
    return at;
}

static uint32_t payload_at(const struct car *from)
{
    uint32_t tcp = tcp_at(from);

    return tcp + (from->bytes[tcp + 12] >> 4) * 4u;
}

static void mend(struct car *of)
{
    uint32_t tcp = tcp_at(of);
    uint8_t *ip = of->bytes + 14;
    uint8_t *field = of->bytes + tcp + 16;
    uint32_t len = of->len - tcp;
    uint32_t sum;

    if (tcp == 0)
        return;
    if (tcp == 34) {
        put_be16(ip + 2, of->len - 14);
        put_be16(ip + 10, 0);
        put_be16(ip + 10, ~inet_sum(ip, 20, 0));
        sum = inet_sum(ip + 12, 8, 6);
    } else {
        put_be16(ip + 4, of->len - 54);
        sum = inet_sum(ip + 8, 32, 6);
    }
    sum += len;
    sum = (sum & 0xffff) + (sum >> 16);
    put_be16(field, 0);
    put_be16(field, of->how & CAR_PARTIAL ? sum : ~inet_sum(of->bytes + tcp, len, sum));
}

/* ---- the train ------------------------------------------------------------------------------- */

static void follow(struct car *next, const struct car *before)
{
    uint32_t tcp = tcp_at(before);
    uint32_t sequence;

    if (tcp == 0 || payload_at(before) > before->len)
        return;
    sequence = (get_be16(before->bytes + tcp + 4) << 16 | get_be16(before->bytes + tcp + 6)) +
               before->len - payload_at(before);
    put_be16(next->bytes + tcp + 4, sequence >> 16);
    put_be16(next->bytes + tcp + 6, sequence);
    if (tcp == 34)
        put_be16(next->bytes + 18, get_be16(next->bytes + 18) + 1);
}

static void car_read(struct fuzz_input *input, unsigned index)
{
    struct car *next = &car[index];

    *next = car[index - 1];
    next->how = fuzz_u8(input);
    if (next->how & CAR_FOLLOWS)
        follow(next, &car[index - 1]);
    if (next->how & CAR_SHORTER) {
        uint8_t len = fuzz_u8(input);

        next->len = MIN(next->len, MAX(len, FRAME_LEN_MIN));
    }
    for (unsigned i = next->how >> 6; i != 0; i--) {
        uint8_t at = fuzz_u8(input);

        next->bytes[at] ^= fuzz_u8(input);
    }
}

static unsigned train_read(struct fuzz_input *input)
{
    unsigned count = 1;
    const uint8_t *at;

    memset(car, 0, sizeof(car));
    car[0].how = fuzz_u8(input);
    car[0].len = fuzz_u16(input) % LEN_MAX;
    car[0].len = MAX(car[0].len, FRAME_LEN_MIN);
    if (fuzz_bytes(input, MIN(car[0].len, 120), &at) == MIN(car[0].len, 120))
        memcpy(car[0].bytes, at, MIN(car[0].len, 120));
    for (; count < CARS_MAX && input->left != 0; count++)
        car_read(input, count);
    for (unsigned i = 0; i < count; i++) {
        if (car[i].how & CAR_MEND)
            mend(&car[i]);
        iov[i] = (struct iovec){malloc(car[i].len), car[i].len};
        FUZZ_CHECK(iov[i].iov_base != NULL, "no memory");
        memcpy(iov[i].iov_base, car[i].bytes, car[i].len);
        frame[i] = (struct frame){.iov = &iov[i], .iov_count = 1, .len = car[i].len, .token = i};
        if (car[i].how & CAR_PARTIAL)
            frame[i].offload = (struct frame_offload){.flags = FRAME_NEEDS_CSUM,
                                                      .csum_start = (uint16_t)tcp_at(&car[i]),
                                                      .csum_offset = 16};
        else if (car[i].how & CAR_VERIFIED)
            frame[i].offload.flags = FRAME_DATA_VALID;
    }
    return count;
}

/* ---- promises -------------------------------------------------------------------------------- */

static void flatten(const struct frame *from)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < from->iov_count; i++) {
        memcpy(again + done, from->iov[i].iov_base, from->iov[i].iov_len);
        done += (uint32_t)from->iov[i].iov_len;
    }
    FUZZ_CHECK(done == from->len, "length");
}

/* Identifications that stood still count now, and begun checksums are whole. */
static void check_segment(const struct frame *made, unsigned index)
{
    const struct car *from = &car[index];
    uint32_t tcp = merger.first.packet.transport;
    uint32_t ip = merger.first.packet.network;

    flatten(made);
    FUZZ_CHECK(made->len == from->len || (made->len < from->len && from->len <= 60),
               "segment %u has %u bytes, not %u", index, made->len, from->len);
    if (merger.first.packet.ethertype == ETHERTYPE_IPV4) {
        memcpy(again + ip + 4, from->bytes + ip + 4, 2);
        memcpy(again + ip + 10, from->bytes + ip + 10, 2);
    }
    /* 0 and 0xffff are the same sum. */
    if (from->how & (CAR_PARTIAL | CAR_VERIFIED) ||
        get_be16(again + tcp + 16) % 0xffff == get_be16(from->bytes + tcp + 16) % 0xffff)
        memcpy(again + tcp + 16, from->bytes + tcp + 16, 2);
    FUZZ_CHECK(memcmp(again, from->bytes, made->len) == 0, "segment %u has other bytes", index);
}

static void check_merged(const struct frame *merged, unsigned count, uint32_t takes)
{
    struct net_header header = {0};
    struct frame_offload offload;
    unsigned index = 0;
    unsigned made;

    offload_to_header(&merged->offload, BYTE_ORDER_LITTLE, &header);
    FUZZ_CHECK(offload_from_header(&header, BYTE_ORDER_LITTLE, takes, merged, &offload) == 0,
               "an offload that we would not let through");
    FUZZ_CHECK(memcmp(&offload, &merged->offload, sizeof(offload)) == 0, "another offload");
    FUZZ_CHECK(segmenter_begin(&segmenter, merged, 0) == 0, "can't be cut");
    while ((made = segmenter_next(&segmenter)) != 0) {
        FUZZ_CHECK(index + made <= count, "more segments than there were");
        for (unsigned i = 0; i < made; i++)
            check_segment(&segmenter.frame[i], index++);
    }
    FUZZ_CHECK(index == count, "%u segments of %u", index, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint32_t takes = fuzz_u8(&input);
    unsigned count = train_read(&input);
    struct frame merged;
    unsigned done;

    done = merge_frames(&merger, frame, count, takes, &merged);
    FUZZ_CHECK(done >= 1 && done <= count, "%u of %u", done, count);
    if (done == 1)
        FUZZ_CHECK(memcmp(&merged, &frame[0], sizeof(merged)) == 0, "a frame alone was changed");
    else
        check_merged(&merged, done, takes);
    for (unsigned i = 0; i < count; i++) {
        FUZZ_CHECK(memcmp(iov[i].iov_base, car[i].bytes, car[i].len) == 0, "frame %u changed", i);
        free(iov[i].iov_base);
    }
    return 0;
}
