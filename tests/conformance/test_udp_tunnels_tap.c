/* SPDX-License-Identifier: MIT */
/* Segmentation offload inside UDP tunnels against the real kernel: a tap with a VXLAN interface on
 * it, in a namespace of the test's own, and a TCP connection inside the tunnel between the driver
 * and a socket of the kernel. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "host.h"
#include "register_bed.h"
#include "tunnel_frame.h"

#define HOST_TUNNELS  0x18u /* from bit 64 on */
#define GUEST_TUNNELS 0x06u
#define FEATURES                                                                                   \
    (BED_USUAL | BED_MERGE | BED_BIT(0) | BED_BIT(1) | BED_BIT(7) | BED_BIT(8) | BED_BIT(9) |      \
     BED_BIT(11) | BED_BIT(12) | BED_BIT(13) | BED_BIT(54) | BED_BIT(55) | BED_BIT(56))

enum {
    NEEDS_CSUM = 1,
    TUNNEL_CSUM = 8,
    TCPV4 = 1,
    TCPV6 = 4,
    TUNNEL_IPV4 = 0x20,
    TUNNEL_IPV6 = 0x40,
    MSS_V4 = 536, /* of who says nothing */
    MSS_V6 = 1220,
    ANSWER_SEGMENTS = 9, /* not more than a connection begins with */
    TCP_SYN = 2,
    TCP_ACK = 16,
    SENT = 20480,
    FIRST_PORT = 2000,
    RETRY_MS = 200,
};

static const char *no_namespace; /* why there is none, or NULL */
static const uint8_t tap_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t vxlan_mac[6] = {2, 0, 0, 0, 0, 0x11};

/* How a test's tunnel is made. */
struct tunnel_kind {
    unsigned outer, inner; /* IP versions */
    const char *checksums; /* of the outer UDP header, as ip(8) has them */
    uint8_t flags;         /* of a segment in it */
};

struct tunnel_bed {
    struct register_bed *bed;
    struct tunnel_kind kind;
    int listener, connection;
    uint32_t sequence, acknowledged; /* of the driver's side */
    struct tunnel_frame frame;
    uint8_t got[NET_FRAME_MAX];
};

static struct tunnel_bed test;
static uint16_t port = FIRST_PORT; /* of both ends; the kernel remembers those that were */

/* ---- the kernel's side --------------------------------------------------------------------------
 */

static void make_interfaces(const struct tunnel_kind *kind)
{
    int v4 = kind->outer == 4;

    host_command("ip link set tunnel0 address 02:00:00:00:00:01");
    host_command("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    host_command("ip addr add %s dev tunnel0 %s", v4 ? "10.77.0.1/24" : "fd77::1/64",
                 v4 ? "" : "nodad");
    host_command("ip neigh replace %s lladdr 52:54:00:00:00:01 dev tunnel0",
                 v4 ? "10.77.0.2" : "fd77::2");
    host_command("ip link add inside0 address 02:00:00:00:00:11 type vxlan id 1 dstport 4789 "
                 "local %s remote %s dev tunnel0 %s",
                 v4 ? "10.77.0.1" : "fd77::1", v4 ? "10.77.0.2" : "fd77::2", kind->checksums);
    host_command("ip link set inside0 up");
    v4 = kind->inner == 4;
    host_command("ip addr add %s dev inside0 %s", v4 ? "10.78.0.1/24" : "fd78::1/64",
                 v4 ? "" : "nodad");
    host_command("ip neigh replace %s lladdr 52:54:00:00:00:11 dev inside0",
                 v4 ? "10.78.0.2" : "fd78::2");
}

static int make_listener(unsigned version)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(version == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (version == 4)
        assert_return_code(bind(fd, (struct sockaddr *)&v4, sizeof(v4)), errno);
    else
        assert_return_code(bind(fd, (struct sockaddr *)&v6, sizeof(v6)), errno);
    assert_return_code(listen(fd, 1), errno);
    return fd;
}

static void begin(void **state, enum device_transport transport, const struct tunnel_kind *kind,
                  uint32_t high)
{
    struct bed_options options = {.transport = transport, .endpoint = "tap:ifname=tunnel0"};

    if (no_namespace != NULL)
        skip();
    memset(&test, 0, sizeof(test));
    test.kind = *kind;
    port++;
    test.bed = register_bed_open(state, &options);
    if (test.bed->driver.ops->device_features(&test.bed->driver, 2) == 0) {
        print_message("skipping: taps of this kernel know no tunnels (Linux 6.17)\n");
        skip();
    }
    assert_int_equal(test.bed->driver.ops->device_features(&test.bed->driver, 2), BED_TUNNELS_HIGH);
    test.bed->driver.features_high = high;
    test.bed->ring_size = 256;
    register_bed_start(test.bed, FEATURES);
    make_interfaces(kind);
    test.listener = make_listener(kind->inner);
}

static void finish(void)
{
    close(test.connection);
    close(test.listener);
}

/* ---- the driver's side --------------------------------------------------------------------------
 */

static void put32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint16_t mss(void)
{
    return test.kind.inner == 4 ? MSS_V4 : MSS_V6;
}

static uint8_t gso_type(void)
{
    return (uint8_t)((test.kind.inner == 4 ? TCPV4 : TCPV6) |
                     (test.kind.outer == 4 ? TUNNEL_IPV4 : TUNNEL_IPV6));
}

/* A segment of the connection, or many in one. */
static void send_segment(uint8_t tcp_flags, uint32_t payload_len)
{
    struct tunnel_shape shape = {.outer = test.kind.outer,
                                 .inner = test.kind.inner,
                                 .payload_len = payload_len,
                                 .to = tap_mac,
                                 .inner_to = vxlan_mac};
    struct net_header header = {.flags = NEEDS_CSUM, .csum_offset = 16};
    struct tunnel_frame *frame = &test.frame;

    tunnel_frame_make(&shape, frame);
    put32(frame->bytes + frame->inner_th, (uint32_t)port << 16 | port);
    put32(frame->bytes + frame->inner_th + 4, test.sequence);
    put32(frame->bytes + frame->inner_th + 8, test.acknowledged);
    frame->bytes[frame->inner_th + 13] = tcp_flags;
    header.csum_start = frame->inner_th;
    if (payload_len > mss()) {
        header.gso_type = gso_type();
        header.gso_size = mss();
        header.outer_th_offset = frame->outer_th;
        header.inner_nh_offset = frame->inner_nh;
        header.flags |= test.kind.flags;
        if (test.kind.flags & TUNNEL_CSUM)
            tunnel_frame_begin_outer_checksum(frame);
    }
    net_driver_queue_with(&test.bed->net[0], &header, frame->bytes, frame->len);
    driver_ring_flush(test.bed->ring[1]);
    net_driver_drain(&test.bed->net[0]);
    test.sequence += payload_len + (tcp_flags & TCP_SYN ? 1 : 0);
}

static uint32_t outer_th(void)
{
    return PACKET_ETHERNET_LEN + (test.kind.outer == 4 ? PACKET_IPV4_LEN : PACKET_IPV6_LEN);
}

/* Where the inner TCP header of a frame begins that is for the driver; 0: another frame. */
static uint32_t find_inner(uint32_t len)
{
    uint32_t inner_nh = outer_th() + 8 + TUNNEL_BETWEEN;
    uint32_t inner_th = inner_nh + (test.kind.inner == 4 ? PACKET_IPV4_LEN : PACKET_IPV6_LEN);
    uint8_t protocol = test.got[PACKET_ETHERNET_LEN + (test.kind.outer == 4 ? 9 : 6)];

    if (len < inner_th + 20 || protocol != PACKET_UDP)
        return 0;
    protocol = test.got[inner_nh + (test.kind.inner == 4 ? 9 : 6)];
    if (protocol != PACKET_TCP || get32(test.got + inner_th) != ((uint32_t)port << 16 | port))
        return 0; /* such as a segment of an earlier connection, again */
    return inner_th;
}

/* The next segment for the driver: where its TCP header is, 0 if none came in time, and the length
 * of its payload. */
static uint32_t await_segment(unsigned timeout_ms, uint32_t *ret_len)
{
    for (uint64_t end = now_ms() + timeout_ms; now_ms() < end;) {
        int len = net_driver_receive(&test.bed->net[0], test.got, sizeof(test.got), 10);
        uint32_t at = len < 0 ? 0 : find_inner((uint32_t)len);

        if (at == 0)
            continue;
        *ret_len = (uint32_t)len - at - (test.got[at + 12] >> 4) * 4u;
        return at;
    }
    return 0;
}

static uint32_t receive_segment(uint32_t *ret_len)
{
    uint32_t at = await_segment(WAIT_LONG_MS, ret_len);

    check(at != 0, "no segment came");
    return at;
}

static void connect_to_kernel(void)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;
    uint32_t len;
    uint32_t at;

    do { /* interfaces take a moment until they receive */
        check(now_ms() < end, "the kernel does not answer");
        test.sequence = 1000;
        send_segment(TCP_SYN, 0);
        at = await_segment(RETRY_MS, &len);
    } while (at == 0);
    assert_int_equal(test.got[at + 13], TCP_SYN | TCP_ACK);
    assert_int_equal(get32(test.got + at + 8), test.sequence);
    test.acknowledged = get32(test.got + at + 4) + 1;
    send_segment(TCP_ACK, 0);
    test.connection = accept(test.listener, NULL, NULL);
    assert_true(test.connection >= 0);
}

/* ---- both ways ----------------------------------------------------------------------------------
 */

static void driver_to_kernel(void)
{
    static uint8_t bytes[SENT];
    uint32_t done = 0;

    send_segment(TCP_ACK, SENT);
    while (done < SENT) {
        struct pollfd wait = {.fd = test.connection, .events = POLLIN};
        ssize_t n;

        check(poll(&wait, 1, WAIT_LONG_MS) == 1, "%u bytes came of %u", done, SENT);
        n = recv(test.connection, bytes + done, SENT - done, 0);
        assert_true(n > 0);
        done += (uint32_t)n;
    }
    for (uint32_t i = 0; i < SENT; i++)
        assert_int_equal(bytes[i], tunnel_frame_payload_byte(i));
}

/* A frame of the answer, and what its header says of it. */
static void check_answer(uint32_t at, uint32_t len, uint32_t high)
{
    const struct net_header *header = &test.bed->net[0].last_header;
    uint32_t from = get32(test.got + at + 4) - test.acknowledged;
    const uint8_t *payload = test.got + at + (test.got[at + 12] >> 4) * 4;

    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(payload[i], tunnel_frame_payload_byte(from + i));
    if (len <= mss()) {
        assert_int_equal(header->gso_type, 0);
        return;
    }
    check((high & GUEST_TUNNELS) != 0, "%u bytes for a driver that takes no tunnels", len);
    assert_int_equal(header->gso_type, gso_type());
    assert_int_equal(header->gso_size, mss());
    assert_int_equal(header->flags, NEEDS_CSUM | test.kind.flags);
    assert_int_equal(header->csum_start, at);
    assert_int_equal(header->csum_offset, 16);
    assert_int_equal(header->outer_th_offset, outer_th());
    assert_int_equal(header->inner_nh_offset, outer_th() + 8 + TUNNEL_BETWEEN);
}

static void kernel_to_driver(uint32_t high)
{
    static uint8_t bytes[ANSWER_SEGMENTS * MSS_V6];
    uint32_t total = ANSWER_SEGMENTS * mss();
    uint32_t done = 0, frames = 0;

    for (uint32_t i = 0; i < total; i++)
        bytes[i] = tunnel_frame_payload_byte(i);
    assert_int_equal(send(test.connection, bytes, total, 0), total);
    while (done < total) {
        uint32_t len;
        uint32_t at = receive_segment(&len);

        if (len == 0) /* an acknowledgement */
            continue;
        check_answer(at, len, high);
        done += len;
        frames++;
    }
    if (high & GUEST_TUNNELS)
        check(frames < ANSWER_SEGMENTS, "%u frames of %u bytes", frames, total);
    else
        assert_int_equal(frames, ANSWER_SEGMENTS);
}

static void both_ways(void **state, const struct tunnel_kind *kind, uint32_t high)
{
    static const enum device_transport transports[] = {DEVICE_MMIO, DEVICE_PCI};

    for (unsigned i = 0; i < 2; i++) {
        begin(state, transports[i], kind, high);
        connect_to_kernel();
        driver_to_kernel();
        kernel_to_driver(high);
        finish();
        register_bed_teardown(state);
        register_bed_setup(state);
    }
}

static void NET_TX_10_NET_RX_11_vxlan(void **state)
{
    both_ways(state, &(struct tunnel_kind){4, 4, "noudpcsum", 0}, BED_TUNNELS_HIGH);
}

static void NET_TX_10_NET_RX_11_vxlan_with_outer_checksums(void **state)
{
    both_ways(state, &(struct tunnel_kind){4, 4, "udpcsum", TUNNEL_CSUM}, BED_TUNNELS_HIGH);
}

static void NET_TX_13_NET_RX_11_vxlan_over_the_other_family(void **state)
{
    both_ways(state, &(struct tunnel_kind){6, 4, "udp6zerocsumtx udp6zerocsumrx", 0},
              BED_TUNNELS_HIGH);
    both_ways(state, &(struct tunnel_kind){4, 6, "noudpcsum", 0}, BED_TUNNELS_HIGH);
    both_ways(state, &(struct tunnel_kind){6, 6, "udp6zerocsumrx", TUNNEL_CSUM}, BED_TUNNELS_HIGH);
}

/* The kernel cuts what goes to a driver that can't take it. */
static void NET_RX_11_vxlan_to_a_driver_without_tunnels(void **state)
{
    both_ways(state, &(struct tunnel_kind){4, 4, "noudpcsum", 0}, HOST_TUNNELS);
    both_ways(state, &(struct tunnel_kind){4, 4, "udpcsum", TUNNEL_CSUM}, HOST_TUNNELS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(NET_TX_10_NET_RX_11_vxlan),
        BED_TEST(NET_TX_10_NET_RX_11_vxlan_with_outer_checksums),
        BED_TEST(NET_TX_13_NET_RX_11_vxlan_over_the_other_family),
        BED_TEST(NET_RX_11_vxlan_to_a_driver_without_tunnels),
    };

    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("skipping: %s\n", no_namespace);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
