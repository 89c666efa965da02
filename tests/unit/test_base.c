/* SPDX-License-Identifier: MIT */
/* base: byte order, checked arithmetic, errors, event bits, counters, the inspect visitor. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "base/checked.h"
#include "base/counter.h"
#include "base/error.h"
#include "base/event_bits.h"
#include "base/fd.h"
#include "base/fd_frames.h"
#include "base/inspect.h"
#include "base/mac_text.h"
#include "base/number_list.h"
#include "base/span_copy.h"
#include "check.h"
#include "clockwork.h"

static void byteorder_words_lie_in_memory_as_the_wire_has_them(void **state)
{
    le16 a = le16_make(0x0102);
    le32 b = le32_make(0x01020304);
    le64 c = le64_make(0x0102030405060708ull);

    (void)state;
    assert_memory_equal(&a, "\x02\x01", 2);
    assert_memory_equal(&b, "\x04\x03\x02\x01", 4);
    assert_memory_equal(&c, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_int_equal(le16_get(a), 0x0102);
    assert_int_equal(le32_get(b), 0x01020304);
    assert_true(le64_get(c) == 0x0102030405060708ull);
}

static void byteorder_follows_a_big_endian_guest(void **state)
{
    le16 a = word16_make(0x0102, BYTE_ORDER_BIG);
    le32 b = word32_make(0x01020304, BYTE_ORDER_BIG);
    le64 c;

    (void)state;
    memcpy(&c, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    assert_memory_equal(&a, "\x01\x02", 2);
    assert_memory_equal(&b, "\x01\x02\x03\x04", 4);
    assert_int_equal(word16_get(a, BYTE_ORDER_BIG), 0x0102);
    assert_int_equal(word32_get(b, BYTE_ORDER_BIG), 0x01020304);
    assert_true(word64_get(c, BYTE_ORDER_BIG) == 0x0102030405060708ull);
    assert_int_equal(word16_get(le16_make(0x0102), BYTE_ORDER_LITTLE), 0x0102);
}

static void checked_range_within_knows_every_border(void **state)
{
    (void)state;
    assert_true(range_within(0, 0, 0));
    assert_true(range_within(0, 10, 10));
    assert_true(range_within(10, 0, 10));
    assert_true(range_within(9, 1, 10));
    assert_false(range_within(9, 2, 10));
    assert_false(range_within(11, 0, 10));
    assert_false(range_within(UINT64_MAX, 2, 10));
    assert_false(range_within(2, UINT64_MAX, 10));
    assert_true(range_within(1, UINT64_MAX - 1, UINT64_MAX));
}

static void checked_range_wraps_at_the_top_of_the_address_space(void **state)
{
    (void)state;
    assert_false(range_wraps(UINT64_MAX, 0));
    assert_false(range_wraps(UINT64_MAX, 1));
    assert_true(range_wraps(UINT64_MAX, 2));
    assert_false(range_wraps(0, UINT64_MAX));
    assert_true(range_wraps(2, UINT64_MAX));
}

static void checked_range_overlaps_only_where_a_byte_is_shared(void **state)
{
    (void)state;
    assert_false(range_overlaps(0, 10, 10, 10));
    assert_true(range_overlaps(0, 11, 10, 10));
    assert_true(range_overlaps(12, 2, 10, 10));
    assert_true(range_overlaps(10, 10, 12, 2));
    assert_false(range_overlaps(5, 0, 0, 10));
    assert_true(range_overlaps(UINT64_MAX, 1, UINT64_MAX - 1, 2));
}

static void checked_power_of_two(void **state)
{
    (void)state;
    assert_false(is_power_of_two(0));
    assert_true(is_power_of_two(1));
    assert_false(is_power_of_two(3));
    assert_true(is_power_of_two(32768));
    assert_true(is_power_of_two(1ull << 63));
    assert_false(is_power_of_two(UINT64_MAX));
}

static void histogram_puts_values_into_powers_of_two(void **state)
{
    static const struct {
        uint64_t value;
        unsigned bucket;
    } table[] = {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {4, 3}, {1023, 10}, {1024, 11}, {UINT64_MAX, 11}};
    struct histogram histogram = {0};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(table); i++) {
        assert_int_equal(histogram_bucket_of(table[i].value), table[i].bucket);
        histogram_add(&histogram, table[i].value);
    }
    assert_int_equal(counter_get(&histogram.bucket[2]), 2);
    assert_int_equal(counter_get(&histogram.bucket[11]), 2);
}

static void error_carries_code_and_sentence(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(error_set(&err, EINVAL, "size %d is odd", 3), -EINVAL);
    assert_string_equal(err.text, "size 3 is odd");
    error_prefix(&err, "nic%d", 7);
    assert_string_equal(err.text, "nic7: size 3 is odd");
    assert_int_equal(error_set(NULL, ENOMEM, "nobody listens"), -ENOMEM);
    error_prefix(NULL, "nobody");
}

static void error_text_never_overflows(void **state)
{
    char big[2 * ERROR_TEXT_LEN];
    struct error err;

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    error_set(&err, EINVAL, "%s", big);
    assert_int_equal(strlen(err.text), ERROR_TEXT_LEN - 1);
    error_prefix(&err, "%s", "context");
    assert_true(strlen(err.text) < ERROR_TEXT_LEN);
    assert_memory_equal(err.text, "context: xxx", 12);
}

static void event_bits_are_taken_once(void **state)
{
    struct event_bits events;

    (void)state;
    assert_int_equal(event_bits_init(&events), 0);
    assert_int_equal(event_bits_take(&events), 0);
    assert_false(wait_readable(events.fd, 0));
    event_bits_raise(&events, 1);
    event_bits_raise(&events, 4);
    event_bits_raise(&events, 4);
    assert_true(wait_readable(events.fd, 0));
    assert_int_equal(event_bits_take(&events), 5);
    assert_false(wait_readable(events.fd, 0));
    assert_int_equal(event_bits_take(&events), 0);
    event_bits_free(&events);
    assert_int_equal(events.fd, -1);
}

static void fd_take_moves_ownership(void **state)
{
    int fd = 7;

    (void)state;
    assert_int_equal(fd_take(&fd), 7);
    assert_int_equal(fd, -1);
    fd_close(&fd); /* nothing to close */
    assert_int_equal(fd, -1);
}

static void fd_frames_moves_spans_or_says_why_not(void **state)
{
    char header[3] = "ab", frame[8] = "cdefg", got_header[2], got_frame[8];
    struct iovec out[2] = {{header, 2}, {frame, 5}};
    struct iovec in[2] = {{got_header, sizeof(got_header)}, {got_frame, sizeof(got_frame)}};
    struct iovec nowhere = {.iov_base = NULL, .iov_len = 8};
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fd_set_nonblocking(ends[0]), 0);
    assert_int_equal(fd_frames_read(ends[0], in, 2), -EAGAIN);
    assert_int_equal(fd_frames_write(ends[1], out, 2), 7);
    assert_int_equal(fd_frames_read(ends[0], in, 2), 7);
    assert_memory_equal(got_header, "ab", 2);
    assert_memory_equal(got_frame, "cdefg", 5);
    assert_int_equal(fd_frames_write(ends[1], &nowhere, 1), -EFAULT);
    assert_int_equal(fd_frames_write(-1, out, 2), -EBADF);
    fd_close(&ends[0]);
    fd_close(&ends[1]);
}

enum {
    COPIED_MAX = 9100,
    ROOM_AROUND = 128,
};

static uint8_t copied_from[COPIED_MAX + 2 * ROOM_AROUND];
static uint8_t copied_to[COPIED_MAX + 2 * ROOM_AROUND];

static void copy_and_look(size_t to_at, size_t from_at, size_t len)
{
    uint8_t *to = copied_to + ROOM_AROUND + to_at;

    memset(copied_to, 0xee, sizeof(copied_to));
    copy_any(to, copied_from + from_at, len);
    check(memcmp(to, copied_from + from_at, len) == 0, "%zu bytes from %zu to %zu", len, from_at,
          to_at);
    check(to[-1] == 0xee && to[len] == 0xee, "%zu bytes to %zu: more was written", len, to_at);
}

static void copies_are_whole_at_every_offset_and_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(copied_from); i++)
        copied_from[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t len = COPY_LONG_MIN - 2; len < COPY_LONG_MIN + 260; len++)
        copy_and_look(len * 5 % 64, len * 3 % 67, len);
    for (size_t at = 0; at < 64; at++) {
        copy_and_look(at, 0, COPIED_MAX - at);
        copy_and_look(at, 12, COPY_LONG_MIN);
    }
}

/* A guest may name the same memory for what it sends and what it receives. */
static void copies_that_overlap_stay_in_their_bounds(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 200; shift += 13) {
        memset(copied_to, 0xee, sizeof(copied_to));
        memset(copied_to + ROOM_AROUND, 0x11, COPY_LONG_MIN + 200);
        copy_long(copied_to + ROOM_AROUND + shift, copied_to + ROOM_AROUND, COPY_LONG_MIN);
        copy_long(copied_to + ROOM_AROUND, copied_to + ROOM_AROUND + shift, COPY_LONG_MIN);
        for (size_t i = 0; i < COPY_LONG_MIN + 200; i++)
            assert_int_equal(copied_to[ROOM_AROUND + i], 0x11);
        assert_int_equal(copied_to[ROOM_AROUND - 1], 0xee);
        assert_int_equal(copied_to[ROOM_AROUND + COPY_LONG_MIN + 200], 0xee);
    }
}

/* Writes what it visits into a text. */
static void record(void *context, const char *format, ...)
{
    char *text = context;
    va_list args;

    va_start(args, format);
    vsnprintf(text + strlen(text), 512 - strlen(text), format, args);
    va_end(args);
}
static void record_enter(void *context, const char *name)
{
    record(context, "%s{", name);
}
static void record_leave(void *context)
{
    record(context, "}");
}
static void record_text(void *context, const char *name, const char *value)
{
    record(context, "%s=%s;", name, value);
}
static void record_number(void *context, const char *name, uint64_t value, enum inspect_style style)
{
    record(context, "%s=%llu/%d;", name, (unsigned long long)value, (int)style);
}
static void record_flag(void *context, const char *name, int value)
{
    record(context, "%s=%s;", name, value ? "yes" : "no");
}

static void inspect_walks_in_order(void **state)
{
    static const struct inspect_ops ops = {record_enter, record_leave, record_text, record_number,
                                           record_flag};
    struct histogram histogram = {0};
    char text[512] = "";
    struct inspect visitor = {&ops, text};
    counter packets = {0};

    (void)state;
    counter_add(&packets, 3);
    histogram_add(&histogram, 3);
    inspect_enter_index(&visitor, 4);
    inspect_text(&visitor, "kind", "%s", "tap");
    inspect_number(&visitor, "size", 256);
    inspect_hex(&visitor, "mask", 16);
    inspect_counter(&visitor, "packets", &packets);
    inspect_flag(&visitor, "up", 1);
    inspect_leave(&visitor);
    assert_string_equal(text, "4{kind=tap;size=256/0;mask=16/1;packets=3/2;up=yes;}");
    text[0] = '\0';
    inspect_histogram(&visitor, "wakes", &histogram);
    assert_memory_equal(text, "wakes{0=0/2;1=0/2;2-3=1/2;4-7=0/2;", 34);
}

static void number_list_keeps_the_order(void **state)
{
    static const unsigned expected[] = {7, 0, 1, 2, 7, 3};
    unsigned numbers[6];

    (void)state;
    assert_int_equal(number_list_parse("7,0-2+7,3-3", 7, numbers, 6), 6);
    assert_memory_equal(numbers, expected, sizeof(expected));
    assert_int_equal(number_list_parse("7,0-2+7,3-3", 7, numbers, 5), -E2BIG);
    assert_int_equal(number_list_parse("7,0-2+7,3-3", 6, numbers, 6), -ERANGE);
    assert_int_equal(number_list_parse("0-4294967295", 4294967295u, numbers, 6), -E2BIG);
    assert_int_equal(number_list_parse("18446744073709551616", 9, numbers, 6), -ERANGE);
}

static void number_list_and_mac_refuse_other_text(void **state)
{
    static const char *const lists[] = {"",     " 1",   "1 ",    "-1", "1-", "2-1", "1,", ",1",
                                        "1,,2", "1--2", "1-2-3", "x",  "1x", "+",   "1.5"};
    static const char *const macs[] = {"",
                                       "52:54:00:12:34:5",
                                       "52:54:00:12:34:567",
                                       "52:54:00-12:34:56",
                                       "52.54.00.12.34.56",
                                       "52:54:00:12:34:5g",
                                       "525400123456xxxxx"};
    unsigned numbers[8];
    uint8_t mac[6];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        check(number_list_parse(lists[i], 100, numbers, 8) == -EINVAL, "\"%s\"", lists[i]);
    for (size_t i = 0; i < ARRAY_COUNT(macs); i++)
        check(mac_text_parse(macs[i], mac) == -EINVAL, "\"%s\"", macs[i]);
    assert_int_equal(mac_text_parse("0a-Bb-cC-00-fF-10", mac), 0);
    assert_memory_equal(mac, "\x0a\xbb\xcc\x00\xff\x10", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byteorder_words_lie_in_memory_as_the_wire_has_them),
        cmocka_unit_test(byteorder_follows_a_big_endian_guest),
        cmocka_unit_test(checked_range_within_knows_every_border),
        cmocka_unit_test(checked_range_wraps_at_the_top_of_the_address_space),
        cmocka_unit_test(checked_range_overlaps_only_where_a_byte_is_shared),
        cmocka_unit_test(checked_power_of_two),
        cmocka_unit_test(histogram_puts_values_into_powers_of_two),
        cmocka_unit_test(error_carries_code_and_sentence),
        cmocka_unit_test(error_text_never_overflows),
        cmocka_unit_test(event_bits_are_taken_once),
        cmocka_unit_test(fd_take_moves_ownership),
        cmocka_unit_test(fd_frames_moves_spans_or_says_why_not),
        cmocka_unit_test(copies_are_whole_at_every_offset_and_length),
        cmocka_unit_test(copies_that_overlap_stay_in_their_bounds),
        cmocka_unit_test(inspect_walks_in_order),
        cmocka_unit_test(number_list_keeps_the_order),
        cmocka_unit_test(number_list_and_mac_refuse_other_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
