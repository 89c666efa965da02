/* SPDX-License-Identifier: MIT */
#include "net_driver.h"

#include <string.h>

#include "check.h"
#include "clockwork.h"

enum {
    CANARY = 0xaa
};

void net_driver_init(struct net_driver *net, struct driver_ring *rx, struct driver_ring *tx,
                     const struct net_options *options)
{
    unsigned slots = options->rx_slots != 0 ? options->rx_slots : rx->size;

    memset(net, 0, sizeof(*net));
    net->rx = rx;
    net->tx = tx;
    net->options = *options;
    net->rx_slots = slots < NET_RX_SLOTS ? slots : NET_RX_SLOTS;
    for (unsigned i = 0; i < net->rx_slots; i++)
        net->rx_gpa[i] = guest_ram_alloc(rx->ram, options->region, options->rx_buffer_len, 64);
    for (unsigned i = 0; i < NET_TX_SLOTS; i++)
        net->tx_gpa[i] = guest_ram_alloc(tx->ram, options->region, NET_TX_SLOT_LEN, 64);
    net_driver_forget(net);
}

void net_driver_forget(struct net_driver *net)
{
    for (unsigned i = 0; i < net->rx_slots; i++)
        net->rx_free[i] = i;
    net->rx_free_count = net->rx_slots;
    for (unsigned i = 0; i < NET_TX_SLOTS; i++)
        net->tx_free[i] = i;
    net->tx_free_count = NET_TX_SLOTS;
}

static void post_one(struct net_driver *net)
{
    unsigned slot = net->rx_free[--net->rx_free_count];
    uint64_t gpa = net->rx_gpa[slot];
    uint32_t len = net->options.rx_buffer_len;
    struct driver_buffer buffer[2] = {
        {gpa, net->options.header_len, DEVICE_WRITES},
        {gpa + net->options.header_len, len - net->options.header_len, DEVICE_WRITES},
    };
    struct driver_buffer whole = {gpa, len, DEVICE_WRITES};
    int split = net->options.shape != CHAIN_DIRECT;
    struct driver_chain chain = {split ? buffer : &whole, split ? 2 : 1, net->options.shape};

    memset(guest_ram_at(net->rx->ram, gpa, len), CANARY, len);
    net->rx_slot_of[net->rx->ops->add(net->rx, &chain)] = slot;
}

unsigned net_driver_post(struct net_driver *net, unsigned count)
{
    unsigned posted = 0;

    while (posted < count && net->rx_free_count > 0) {
        post_one(net);
        posted++;
    }
    driver_ring_flush(net->rx);
    return posted;
}

void net_header_put(void *at, const struct net_header *header, unsigned header_len,
                    enum wire_order order)
{
    uint8_t *byte = at;

    byte[0] = header->flags;
    byte[1] = header->gso_type;
    wire_put16(byte + 2, header->hdr_len, order);
    wire_put16(byte + 4, header->gso_size, order);
    wire_put16(byte + 6, header->csum_start, order);
    wire_put16(byte + 8, header->csum_offset, order);
    if (header_len >= NET_HEADER_MODERN)
        wire_put16(byte + 10, header->num_buffers, order);
    if (header_len >= NET_HEADER_HASH) {
        wire_put32(byte + 12, header->hash_value, order);
        wire_put16(byte + 16, header->hash_report, order);
        wire_put16(byte + 18, 0, order);
    }
    if (header_len >= NET_HEADER_TUNNEL) {
        wire_put16(byte + 20, header->outer_th_offset, order);
        wire_put16(byte + 22, header->inner_nh_offset, order);
    }
}

static struct net_header header_get(const void *at, unsigned header_len, enum wire_order order)
{
    const uint8_t *byte = at;

    return (struct net_header){
        .flags = byte[0],
        .gso_type = byte[1],
        .hdr_len = wire_get16(byte + 2, order),
        .gso_size = wire_get16(byte + 4, order),
        .csum_start = wire_get16(byte + 6, order),
        .csum_offset = wire_get16(byte + 8, order),
        .num_buffers = header_len >= NET_HEADER_MODERN ? wire_get16(byte + 10, order) : 1,
        .hash_value = header_len >= NET_HEADER_HASH ? wire_get32(byte + 12, order) : 0,
        .hash_report = header_len >= NET_HEADER_HASH ? wire_get16(byte + 16, order) : 0,
        .outer_th_offset = header_len >= NET_HEADER_TUNNEL ? wire_get16(byte + 20, order) : 0,
        .inner_nh_offset = header_len >= NET_HEADER_TUNNEL ? wire_get16(byte + 22, order) : 0,
    };
}

void net_driver_queue_with(struct net_driver *net, const struct net_header *header,
                           const void *frame, uint32_t len)
{
    unsigned header_len = net->options.header_len;
    unsigned slot;
    uint64_t gpa;
    uint8_t *at;

    check(net->tx_free_count > 0, "too many frames in flight");
    check(len + header_len <= NET_TX_SLOT_LEN, "frame of %u bytes", len);
    slot = net->tx_free[--net->tx_free_count];
    gpa = net->tx_gpa[slot];
    at = guest_ram_at(net->tx->ram, gpa, len + header_len);
    net_header_put(at, header, header_len, net->tx->order);
    memcpy(at + header_len, frame, len);
    {
        struct driver_buffer buffer[2] = {
            {gpa, header_len, DEVICE_READS},
            {gpa + header_len, len, DEVICE_READS},
        };
        struct driver_chain chain = {buffer, 2, net->options.shape};

        net->tx_slot_of[net->tx->ops->add(net->tx, &chain)] = slot;
    }
}

void net_driver_queue(struct net_driver *net, const void *frame, uint32_t len)
{
    struct net_header header = {0};

    net_driver_queue_with(net, &header, frame, len);
}

void net_driver_send(struct net_driver *net, const void *frame, uint32_t len)
{
    net_driver_queue(net, frame, len);
    driver_ring_flush(net->tx);
}

static void sent_back(struct net_driver *net, const struct driver_used *used)
{
    check(used->len == 0, "a sent frame came back with length %u", used->len);
    net->tx_free[net->tx_free_count++] = (unsigned)net->tx_slot_of[used->id];
}

unsigned net_driver_reap(struct net_driver *net)
{
    struct driver_used used;
    unsigned count = 0;

    while (net->tx->ops->take(net->tx, &used)) {
        sent_back(net, &used);
        count++;
    }
    return count;
}

void net_driver_drain(struct net_driver *net)
{
    struct driver_used used;

    while (net->tx_free_count < NET_TX_SLOTS) {
        check(driver_ring_wait(net->tx, WAIT_LONG_MS, &used), "%u sent frames never came back",
              NET_TX_SLOTS - net->tx_free_count);
        sent_back(net, &used);
    }
}

/* Copies what the device wrote, and checks that it wrote nothing behind that (SPL-05). */
static uint32_t buffer_take(struct net_driver *net, const struct driver_used *used, uint32_t skip,
                            uint8_t *frame, uint32_t room)
{
    unsigned slot = net->rx_slot_of[used->id];
    uint32_t total = net->options.rx_buffer_len;
    const uint8_t *at = guest_ram_at(net->rx->ram, net->rx_gpa[slot], total);

    check(used->len <= total, "used length %u of a buffer of %u", used->len, total);
    check(used->len >= skip && used->len - skip <= room, "used length %u", used->len);
    memcpy(frame, at + skip, used->len - skip);
    for (uint32_t i = used->len; i < total; i++)
        check(at[i] == CANARY, "byte %u of a buffer was written, used length %u", i, used->len);
    net->rx_free[net->rx_free_count++] = slot;
    return used->len - skip;
}

int net_driver_receive(struct net_driver *net, void *ret_frame, uint32_t room, int timeout_ms)
{
    unsigned header_len = net->options.header_len;
    struct driver_used used;
    uint8_t *frame = ret_frame;
    const uint8_t *header;
    uint32_t len;

    if (!driver_ring_wait(net->rx, timeout_ms, &used))
        return -1;
    check(used.len >= header_len + (net->options.mergeable ? 0 : 14), "received %u bytes",
          used.len);
    header = guest_ram_at(net->rx->ram, net->rx_gpa[net->rx_slot_of[used.id]], header_len);
    net->last_header = header_get(header, header_len, net->rx->order);
    check(header_len < NET_HEADER_HASH || (header[18] == 0 && header[19] == 0),
          "reserved bytes of the header: %02x %02x", header[18], header[19]);
    len = buffer_take(net, &used, header_len, frame, room);
    net->last_buffers = 1;
    check(net->last_header.num_buffers >= 1, "num_buffers 0");
    check(net->options.mergeable || net->last_header.num_buffers == 1, "num_buffers %u",
          net->last_header.num_buffers);
    while (net->last_buffers < net->last_header.num_buffers) {
        check(used.len == net->options.rx_buffer_len, "a buffer that is not the last has %u bytes",
              used.len);
        check(net->rx->ops->take(net->rx, &used), "buffer %u of %u was not used with the first",
              net->last_buffers, net->last_header.num_buffers);
        len += buffer_take(net, &used, 0, frame + len, room - len);
        net->last_buffers++;
    }
    net_driver_post(net, net->last_buffers);
    return (int)len;
}

void net_frame_make(void *ret_frame, uint32_t len, const uint8_t mac[6], uint32_t seed)
{
    static const uint8_t tail[] = {0x02, 0, 0, 0, 0, 0x99, 0x88, 0xb5}; /* source, ethertype */
    uint8_t *frame = ret_frame;
    uint32_t state = seed * 2654435761u + 1;

    for (uint32_t i = 0; i < len; i++) {
        state = state * 1664525u + 1013904223u;
        frame[i] = (uint8_t)(state >> 24);
    }
    if (len >= 14) {
        memcpy(frame, mac, 6);
        memcpy(frame + 6, tail, sizeof(tail));
    }
}
