/* SPDX-License-Identifier: MIT */
/* Frames through the endpoint `tap` and the real kernel, in a network namespace of the test's own.
 */
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "check.h"
#include "host.h"
#include "tap_guest.h"

/* ---- frames -------------------------------------------------------------------------------------
 */

static void frames_keep_their_content_both_ways(void **state)
{
    static const uint32_t lens[] = {14, 60, 61, 300, 1513, 1514};
    static const unsigned spans[] = {1, 2, 7, FRAME_SPANS_MAX};
    struct test_frame frame;
    struct guest guest;
    uint8_t bytes[2048];
    int host;

    (void)state;
    tap_begin(&guest, "tap:ifname=content0");
    host = host_socket("content0", TEST_ETHERTYPE, HOST_PLAIN);
    for (unsigned i = 0; i < ARRAY_COUNT(lens) * ARRAY_COUNT(spans); i++) {
        uint32_t len = lens[i % ARRAY_COUNT(lens)];

        test_frame_make(&frame, len, spans[i / ARRAY_COUNT(lens)], i);
        tap_send(&guest, &frame);
        test_frame_free(&frame);
        assert_int_equal(host_receive(host, bytes, sizeof(bytes)), len);
        test_frame_check(bytes, len, i);

        guest_forget_frames(&guest);
        guest.buffer_len = 64 + 100 * i;
        test_frame_fill(bytes, len, i + 1);
        host_send(host, bytes, len);
        assert_int_equal(guest_receive_until(&guest, 1, 1000), 1);
        assert_int_equal(guest.frame[0].len, len);
        test_frame_check(guest.frame[0].bytes, len, i + 1);
    }
    close(host);
    guest_close(&guest);
}

static void jumbo_frames_cross_whole(void **state)
{
    struct endpoint_caps caps;
    struct test_frame frame;
    struct guest guest;
    uint8_t bytes[10000];
    int host;

    (void)state;
    tap_begin(&guest, "tap:ifname=jumbo0,mtu=9000");
    guest.endpoint->ops->capabilities(guest.endpoint, &caps);
    assert_int_equal(caps.mtu, 9000);
    host = host_socket("jumbo0", TEST_ETHERTYPE, HOST_PLAIN);
    test_frame_make(&frame, 9014, 3, 1);
    tap_send(&guest, &frame);
    test_frame_free(&frame);
    assert_int_equal(host_receive(host, bytes, sizeof(bytes)), 9014);
    test_frame_check(bytes, 9014, 1);
    test_frame_fill(bytes, 9014, 2);
    host_send(host, bytes, 9014);
    assert_int_equal(guest_receive_until(&guest, 1, 1000), 1);
    assert_int_equal(guest.frame[0].len, 9014);
    test_frame_check(guest.frame[0].bytes, 9014, 2);
    close(host);
    guest_close(&guest);
}

static void tso_frame_of_the_guest_crosses_as_one(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX], got[FRAME_LEN_MAX + 100];
    struct host_vnet_hdr hdr;
    struct test_frame frame;
    struct guest guest;
    uint32_t len;
    int host;

    (void)state;
    tap_begin(&guest, "tap:ifname=tsotx0");
    host = host_socket("tsotx0", 0x0800, HOST_WITH_VNET_HDR);
    len = make_tso_frame(bytes);
    test_frame_from(&frame, bytes, len, 40);
    frame.frame.offload =
        (struct frame_offload){FRAME_NEEDS_CSUM, FRAME_GSO_TCPV4, 54, MSS, 34, 16};
    tap_send(&guest, &frame);
    test_frame_free(&frame);
    assert_int_equal(host_receive(host, got, sizeof(got)), sizeof(hdr) + len);
    memcpy(&hdr, got, sizeof(hdr));
    assert_int_equal(hdr.gso_type, FRAME_GSO_TCPV4);
    assert_int_equal(hdr.gso_size, MSS);
    assert_int_equal(hdr.csum_start, 34);
    assert_int_equal(hdr.csum_offset, 16);
    assert_memory_equal(got + sizeof(hdr), bytes, len);
    close(host);
    guest_close(&guest);
}

static void send_tso_from_host(int host, const uint8_t *bytes, uint32_t len)
{
    static uint8_t packet[sizeof(struct host_vnet_hdr) + FRAME_LEN_MAX];
    struct host_vnet_hdr hdr = {FRAME_NEEDS_CSUM, FRAME_GSO_TCPV4, TCP_HEADERS, MSS, 34, 16};

    memcpy(packet, &hdr, sizeof(hdr));
    memcpy(packet + sizeof(hdr), bytes, len);
    host_send(host, packet, sizeof(hdr) + len);
}

static void check_tso_frame(const struct guest_frame *frame, const uint8_t *bytes, uint32_t len)
{
    assert_int_equal(frame->len, len);
    assert_int_equal(frame->offload.flags & FRAME_NEEDS_CSUM, FRAME_NEEDS_CSUM);
    assert_int_equal(frame->offload.gso_type, FRAME_GSO_TCPV4);
    assert_int_equal(frame->offload.gso_size, MSS);
    assert_int_equal(frame->offload.csum_start, 34);
    assert_int_equal(frame->offload.csum_offset, 16);
    assert_memory_equal(frame->bytes, bytes, len);
}

/* The first large frame overruns the room and goes through `held`, the next ones go straight. */
static void tso_frames_of_the_host_come_as_one(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct endpoint_caps caps;
    struct guest guest;
    uint32_t len;
    int host;

    (void)state;
    tap_begin(&guest, "tap:ifname=tsorx0");
    guest.endpoint->ops->capabilities(guest.endpoint, &caps);
    assert_int_equal(guest.endpoint->ops->set_offloads(guest.endpoint, caps.rx_offloads), 0);
    host = host_socket("tsorx0", 0x0800, HOST_WITH_VNET_HDR);
    len = make_tso_frame(bytes);
    for (unsigned i = 0; i < 5; i++) {
        guest_forget_frames(&guest);
        guest.buffer_len = i < 3 ? 1526 : 70000;
        send_tso_from_host(host, bytes, len);
        assert_int_equal(guest_receive_until(&guest, 1, 1000), 1);
        check_tso_frame(&guest.frame[0], bytes, len);
    }
    close(host);
    guest_close(&guest);
}

static void frame_larger_than_the_room_waits_whole(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct guest guest;
    uint32_t len;
    int host;

    (void)state;
    tap_begin(&guest, "tap:ifname=held0");
    guest.endpoint->ops->set_offloads(guest.endpoint, ENDPOINT_CSUM | ENDPOINT_TSO4);
    host = host_socket("held0", 0x0800, HOST_WITH_VNET_HDR);
    len = make_tso_frame(bytes);
    guest.buffer_count = 4;
    send_tso_from_host(host, bytes, len);
    send_tso_from_host(host, bytes, len);
    assert_true(guest_wait(&guest, 1000));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(guest_receive(&guest, 64), 0);
    assert_int_equal(guest.frame_count, 0);
    guest.buffer_count = GUEST_NO_LIMIT;
    assert_int_equal(guest_receive(&guest, 1), 1);
    check_tso_frame(&guest.frame[0], bytes, len);
    assert_int_equal(guest_receive_until(&guest, 2, 1000), 2);
    check_tso_frame(&guest.frame[1], bytes, len);
    assert_int_equal(guest.drop_count, 0);

    /* Buffers that can never hold it: it is dropped, and the next frame comes. */
    guest.kind = GUEST_SINGLE;
    send_tso_from_host(host, bytes, len);
    assert_true(guest_wait(&guest, 1000));
    assert_int_equal(guest_receive(&guest, 64), 1);
    assert_int_equal(guest.drop_count, 1);
    close(host);
    guest_close(&guest);
}

/* Without the guest's consent the kernel cuts the frame before it comes. */
static void nothing_is_offloaded_unasked(void **state)
{
    static uint8_t bytes[FRAME_LEN_MAX];
    struct guest guest;
    unsigned count = (BIG_LEN + MSS - 1) / MSS;
    int host;

    (void)state;
    tap_begin(&guest, "tap:ifname=plain0");
    host = host_socket("plain0", 0x0800, HOST_WITH_VNET_HDR);
    send_tso_from_host(host, bytes, make_tso_frame(bytes));
    assert_int_equal(guest_receive_until(&guest, count, 1000), count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(guest.frame[i].offload.gso_type, FRAME_GSO_NONE);
        assert_int_equal(guest.frame[i].offload.flags & FRAME_NEEDS_CSUM, 0);
        assert_true(guest.frame[i].len <= TCP_HEADERS + MSS);
    }
    close(host);
    guest_close(&guest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_keep_their_content_both_ways),
        cmocka_unit_test(jumbo_frames_cross_whole),
        cmocka_unit_test(tso_frame_of_the_guest_crosses_as_one),
        cmocka_unit_test(tso_frames_of_the_host_come_as_one),
        cmocka_unit_test(frame_larger_than_the_room_waits_whole),
        cmocka_unit_test(nothing_is_offloaded_unasked),
    };

    tap_enter_namespace();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
