/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <string.h>

#include "check.h"

enum {
    RAM_LEN = 64 << 20,
    ETHERNET_LEN_MAX = 1518,
    ETHERNET_HEADER = 14,
    IPV4_HEADER = 20,
    TCP_HEADER = 20,
    TCP_PORT = 5001, /* of the first flow */
    SEGMENT_LEN = 1448,
    NEEDS_CSUM = 1, /* struct virtio_net_hdr: flags and gso_type */
    GSO_TCPV4 = 1,
};

/* F_CSUM, F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6, F_HOST_TSO4, F_HOST_TSO6, F_MRG_RXBUF */
#define NET_FEATURES                                                                               \
    (1ull << 0 | 1ull << 1 | 1ull << 7 | 1ull << 8 | 1ull << 11 | 1ull << 12 | 1ull << 15)
/* F_CTRL_VQ, F_MQ */
#define NET_FEATURES_PAIRS (1ull << 17 | 1ull << 22)

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static unsigned sum16(const uint8_t *bytes, unsigned len)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < len; i += 2)
        sum += (unsigned)(bytes[i] << 8 | bytes[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static void ipv4_put(uint8_t *ip, uint32_t len)
{
    static const uint8_t start[IPV4_HEADER] = {0x45, 0, 0,  0, 0, 0, 0x40, 0, 64, 6,
                                               0,    0, 10, 9, 9, 1, 10,   9, 9,  2};

    memcpy(ip, start, sizeof(start));
    put16(ip + 2, len);
    put16(ip + 10, ~sum16(ip, IPV4_HEADER) & 0xffff);
}

/* RFC 9293: the checksum begins with the pseudo header's sum; whoever finishes it adds the rest. */
static void tcp_put(uint8_t *tcp, const uint8_t *ip, uint32_t len)
{
    memset(tcp, 0, TCP_HEADER);
    put16(tcp, TCP_PORT);
    put16(tcp + 2, TCP_PORT + 1);
    tcp[12] = TCP_HEADER / 4 << 4;
    tcp[13] = 0x10; /* ACK */
    put16(tcp + 14, 0xffff);
    put16(tcp + 16, (sum16(ip + 12, 8) + 6 + len) % 0xffff);
}

/* The destination is nobody's, so that a kernel drops the frame at its door. */
void load_frame_make(uint8_t header[LOAD_HEADER_LEN], uint8_t *frame, uint32_t len)
{
    static const uint8_t ethernet[ETHERNET_HEADER] = {0x52, 0x54, 0, 0xff, 0xff, 0xff, 0x52,
                                                      0x54, 0,    0, 0,    0x99, 8,    0};
    unsigned headers = ETHERNET_HEADER + IPV4_HEADER + TCP_HEADER;

    memset(header, 0, LOAD_HEADER_LEN);
    memset(frame, 0x5a, len);
    memcpy(frame, ethernet, sizeof(ethernet));
    ipv4_put(frame + ETHERNET_HEADER, len - ETHERNET_HEADER);
    tcp_put(frame + ETHERNET_HEADER + IPV4_HEADER, frame + ETHERNET_HEADER,
            len - ETHERNET_HEADER - IPV4_HEADER);
    if (len <= ETHERNET_LEN_MAX)
        return;
    header[0] = NEEDS_CSUM;
    header[1] = GSO_TCPV4;
    wire_put16(header + 2, (uint16_t)headers, WIRE_LITTLE);
    wire_put16(header + 4, SEGMENT_LEN, WIRE_LITTLE);
    wire_put16(header + 6, ETHERNET_HEADER + IPV4_HEADER, WIRE_LITTLE);
    wire_put16(header + 8, 16, WIRE_LITTLE);
}

/* The checksum is as wrong or right as before for kernels that drop the frame unread. */
void load_frame_set_flow(uint8_t *frame, unsigned flow)
{
    put16(frame + ETHERNET_HEADER + IPV4_HEADER, TCP_PORT + 2 * flow);
}

static void post(struct load_pair *pair, unsigned slot)
{
    struct driver_buffer buffer = {pair->rx_gpa[slot], LOAD_BUFFER_LEN, DEVICE_WRITES};
    struct driver_chain chain = {&buffer, 1, CHAIN_DIRECT};

    pair->rx_slot_of[pair->ring[LOAD_RX]->ops->add(pair->ring[LOAD_RX], &chain)] = slot;
}

static void buffers_make(struct load_pair *pair, unsigned flow)
{
    uint32_t len = LOAD_HEADER_LEN + pair->frame_len;

    for (unsigned i = 0; i < LOAD_TX_SLOTS; i++) {
        uint8_t *at;

        pair->tx_gpa[i] = guest_ram_alloc(pair->ram, 0, len, 64);
        at = guest_ram_at(pair->ram, pair->tx_gpa[i], len);
        load_frame_make(at, at + LOAD_HEADER_LEN, pair->frame_len);
        load_frame_set_flow(at + LOAD_HEADER_LEN, flow);
    }
    for (unsigned i = 0; i < LOAD_RING_SIZE; i++) {
        pair->rx_gpa[i] = guest_ram_alloc(pair->ram, 0, LOAD_BUFFER_LEN, 64);
        post(pair, i);
    }
}

void load_guest_attach(struct load_guest *guest, const char *socket, uint32_t frame_len,
                       unsigned pairs)
{
    struct driver_split_options options = {.size = LOAD_RING_SIZE};
    struct driver_ring *ring[2 * LOAD_PAIRS_MAX];
    struct front_end_setup setup = {.ram = &guest->ram,
                                    .vring = ring,
                                    .vring_count = 2 * pairs,
                                    .features = NET_FEATURES | VIRTIO_F_VERSION_1 |
                                                VIRTIO_F_EVENT_IDX |
                                                (pairs > 1 ? NET_FEATURES_PAIRS : 0),
                                    .pf = VU_PF_REPLY_ACK | (pairs > 1 ? VU_PF_MQ : 0)};

    check(pairs >= 1 && pairs <= LOAD_PAIRS_MAX, "%u pairs", pairs);
    memset(guest, 0, sizeof(*guest));
    guest->pair_count = pairs;
    guest_ram_init(&guest->ram);
    guest_ram_add(&guest->ram, 0x100000, RAM_LEN, 0);
    for (unsigned i = 0; i < 2 * pairs; i++) {
        struct load_pair *pair = &guest->pair[i / 2];

        pair->ram = &guest->ram;
        pair->frame_len = frame_len;
        driver_split_init(&pair->split[i % 2], &guest->ram, &options);
        ring[i] = pair->ring[i % 2] = &pair->split[i % 2].ring;
    }
    front_end_init(&guest->fe);
    front_end_connect(&guest->fe, socket);
    front_end_start_qemu(&guest->fe, &setup);
    for (unsigned i = 0; i < pairs; i++) {
        buffers_make(&guest->pair[i], i);
        driver_ring_flush(guest->pair[i].ring[LOAD_RX]);
    }
}

void load_guest_detach(struct load_guest *guest)
{
    front_end_close(&guest->fe);
    for (unsigned i = 0; i < 2 * guest->pair_count; i++)
        driver_split_free(&guest->pair[i / 2].split[i % 2]);
    guest_ram_free(&guest->ram);
}

unsigned load_pair_reap(struct load_pair *pair)
{
    struct driver_used used;
    unsigned count = 0;

    while (pair->ring[LOAD_TX]->ops->take(pair->ring[LOAD_TX], &used))
        count++;
    pair->tx_in_flight -= count;
    return count;
}

void load_pair_add(struct load_pair *pair, uint32_t len)
{
    struct driver_buffer buffer = {pair->tx_gpa[pair->tx_next], len, DEVICE_READS};
    struct driver_chain chain = {&buffer, 1, CHAIN_DIRECT};

    pair->ring[LOAD_TX]->ops->add(pair->ring[LOAD_TX], &chain);
    pair->tx_next = (pair->tx_next + 1) % LOAD_TX_SLOTS;
    pair->tx_in_flight++;
}

unsigned load_pair_send(struct load_pair *pair, unsigned most_in_flight)
{
    unsigned done = load_pair_reap(pair);
    unsigned before = pair->tx_in_flight;

    while (pair->tx_in_flight < most_in_flight)
        load_pair_add(pair, LOAD_HEADER_LEN + pair->frame_len);
    if (pair->tx_in_flight != before)
        driver_ring_flush(pair->ring[LOAD_TX]);
    return done;
}

/* virtio 1.4, 5.1.6.4: the first buffer of a frame begins with the header, whose num_buffers says
 * how many there are; they are published together. */
unsigned load_pair_take_frame(struct load_pair *pair, struct iovec *ret_iov)
{
    struct driver_ring *ring = pair->ring[LOAD_RX];
    struct driver_used used;
    unsigned spans = 0, wanted = 1;

    if (!ring->ops->take(ring, &used))
        return 0;
    for (;;) {
        unsigned slot = pair->rx_slot_of[used.id];
        uint8_t *at = guest_ram_at(pair->ram, pair->rx_gpa[slot], LOAD_BUFFER_LEN);

        if (spans == 0)
            wanted = wire_get16(at + 10, WIRE_LITTLE);
        check(wanted >= 1 && wanted <= LOAD_RING_SIZE, "a frame of %u buffers", wanted);
        pair->rx_taken[spans] = slot;
        ret_iov[spans++] = (struct iovec){at, used.len};
        if (spans == wanted)
            return spans;
        while (!ring->ops->take(ring, &used))
            ;
    }
}

void load_pair_give_back(struct load_pair *pair, unsigned spans)
{
    for (unsigned i = 0; i < spans; i++)
        post(pair, pair->rx_taken[i]);
}

unsigned load_pair_receive(struct load_pair *pair, uint64_t *bytes)
{
    struct iovec iov[LOAD_RING_SIZE];
    unsigned frames = 0, spans;

    while (frames < LOAD_RING_SIZE && (spans = load_pair_take_frame(pair, iov)) != 0) {
        for (unsigned i = 0; i < spans; i++)
            *bytes += iov[i].iov_len;
        *bytes -= LOAD_HEADER_LEN;
        load_pair_give_back(pair, spans);
        frames++;
    }
    if (frames != 0)
        driver_ring_flush(pair->ring[LOAD_RX]);
    return frames;
}

/* ---- all pairs --------------------------------------------------------------------------- */

unsigned load_guest_reap(struct load_guest *guest)
{
    unsigned done = 0;

    for (unsigned i = 0; i < guest->pair_count; i++)
        done += load_pair_reap(&guest->pair[i]);
    return done;
}

unsigned load_guest_send(struct load_guest *guest, unsigned most_in_flight)
{
    unsigned done = 0;

    for (unsigned i = 0; i < guest->pair_count; i++)
        done += load_pair_send(&guest->pair[i], most_in_flight);
    return done;
}

unsigned load_guest_receive(struct load_guest *guest, uint64_t *bytes)
{
    unsigned done = 0;

    for (unsigned i = 0; i < guest->pair_count; i++)
        done += load_pair_receive(&guest->pair[i], bytes);
    return done;
}

void load_guest_drain(struct load_guest *guest)
{
    for (unsigned i = 0; i < guest->pair_count; i++) {
        while (guest->pair[i].tx_in_flight != 0)
            load_pair_reap(&guest->pair[i]);
    }
}
