/* SPDX-License-Identifier: MIT */
#include "kill_bed.h"

#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "net_driver.h"

enum {
    REGION_GPA = 0x100000,
    REGION_SIZE = 16 << 20,
    RX_LEN = 600, /* smaller than most frames: they take several buffers */
    TX_LEN = 2048,
    FRAME_MIN = 60,
    FRAME_VARIETY = 1400,
    SEED_AT = 14, /* bytes into a frame */
    DRAIN_MS = 20000,
};

#define MRG_RXBUF (1ull << 15)

void card_init(struct card *card, struct daemon *daemon, const struct card_options *options)
{
    int packed = (options->features & VIRTIO_F_RING_PACKED) != 0;
    int in_order = (options->features & VIRTIO_F_IN_ORDER) != 0;
    unsigned index = daemon_add_nic(daemon, options->nic);

    memcpy(card->mac, "\x52\x54\0\0\0", 5);
    card->mac[5] = (uint8_t)(index + 1);
    card->options = *options;
    daemon_socket(daemon, index, card->socket);
    guest_ram_init(&card->ram);
    guest_ram_add(&card->ram, REGION_GPA, REGION_SIZE, 0);
    front_end_init(&card->fe);
    for (unsigned i = 0; i < CARD_RINGS; i++) {
        struct driver_split_options split = {.size = RING_SIZE, .in_order = in_order};
        struct driver_packed_options slots = {.size = RING_SIZE, .in_order = in_order};

        if (packed)
            driver_packed_init(&card->packed[i], &card->ram, &slots);
        else
            driver_split_init(&card->split[i], &card->ram, &split);
        card->ring[i] = packed ? &card->packed[i].ring : &card->split[i].ring;
    }
    card->area = (struct vu_inflight){.fd = -1};
    card->setup = (struct front_end_setup){
        .ram = &card->ram,
        .vring = card->ring,
        .vring_count = CARD_RINGS,
        .features = options->features | MRG_RXBUF,
        .pf = VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_INFLIGHT,
        .base = options->base,
        .inflight = options->has_area ? &card->area : NULL,
    };
    for (unsigned i = 0; i < CARD_PAIRS; i++) {
        struct flow *flow = &card->flow[i];

        flow->rx = card->ring[2 * i];
        flow->tx = card->ring[2 * i + 1];
        flow->shape = options->shape;
        flow->rx_slots = RING_SIZE;
        flow->tx_slots = options->shape == CHAIN_INDIRECT ? RING_SIZE : RING_SIZE / 2;
        for (unsigned s = 0; s < RING_SIZE; s++) {
            flow->rx_gpa[s] = guest_ram_alloc(&card->ram, 0, RX_LEN, 64);
            flow->tx_gpa[s] = guest_ram_alloc(&card->ram, 0, TX_LEN, 64);
        }
    }
}

void card_free(struct card *card)
{
    front_end_close(&card->fe);
    for (unsigned i = 0; i < CARD_RINGS; i++) {
        driver_split_free(&card->split[i]);
        driver_packed_free(&card->packed[i]);
    }
    if (card->area.fd > 0)
        close(card->area.fd);
    guest_ram_free(&card->ram);
}

void card_connect(struct card *card)
{
    front_end_close(&card->fe);
    front_end_connect(&card->fe, card->socket);
    card->options.start(&card->fe, &card->setup);
}

/* ---- buffers ---- */

static void give(struct given *given, uint32_t id, unsigned slot)
{
    unsigned at = (given->first + given->count++) % RING_SIZE;

    given->buffer[at].id = id;
    given->buffer[at].slot = slot;
}

/* The buffer that came back; it has to be the oldest. */
static unsigned take_back(struct given *given, uint32_t id)
{
    unsigned at = given->first;

    check(given->count > 0, "buffer %u came back, and none was given", id);
    check(given->buffer[at].id == id, "buffer %u came back, %u is due", id, given->buffer[at].id);
    given->first = (at + 1) % RING_SIZE;
    given->count--;
    return given->buffer[at].slot;
}

static void rx_fill(struct flow *flow)
{
    while (flow->rx_given.count < flow->rx_slots) {
        struct driver_buffer buffer = {flow->rx_gpa[flow->rx_next], RX_LEN, DEVICE_WRITES};
        struct driver_chain chain = {&buffer, 1, flow->shape};

        give(&flow->rx_given, flow->rx->ops->add(flow->rx, &chain), flow->rx_next);
        flow->rx_next = (flow->rx_next + 1) % flow->rx_slots;
    }
    driver_ring_flush(flow->rx);
}

static uint32_t frame_make(uint8_t *frame, const uint8_t mac[6], uint32_t seed)
{
    uint32_t len = FRAME_MIN + seed * 37 % FRAME_VARIETY;

    net_frame_make(frame, len, mac, seed);
    memcpy(frame + SEED_AT, &seed, sizeof(seed));
    return len;
}

static void tx_send(struct flow *flow, const struct card *card)
{
    uint64_t gpa = flow->tx_gpa[flow->tx_next];
    uint8_t *at = guest_ram_at(&card->ram, gpa, TX_LEN);
    uint32_t len = frame_make(at + NET_HEADER_MODERN, card->mac, flow->seed++);
    struct driver_buffer buffer[2] = {
        {gpa, NET_HEADER_MODERN, DEVICE_READS},
        {gpa + NET_HEADER_MODERN, len, DEVICE_READS},
    };
    struct driver_chain chain = {buffer, 2, flow->shape};

    memset(at, 0, NET_HEADER_MODERN);
    give(&flow->tx_given, flow->tx->ops->add(flow->tx, &chain), flow->tx_next);
    flow->tx_next = (flow->tx_next + 1) % flow->tx_slots;
}

/* ---- traffic ---- */

static uint32_t buffer_copy(struct flow *flow, const struct card *card,
                            const struct driver_used *used, uint8_t *to)
{
    unsigned slot = take_back(&flow->rx_given, used->id);

    check(used->len >= 1 && used->len <= RX_LEN, "a receive buffer came back with %u bytes",
          used->len);
    memcpy(to, guest_ram_at(&card->ram, flow->rx_gpa[slot], used->len), used->len);
    return used->len;
}

static void frame_check(struct flow *flow, const struct card *card, const struct driver_used *first)
{
    uint8_t got[TX_LEN + RX_LEN], expected[TX_LEN];
    struct driver_used used;
    uint32_t len = buffer_copy(flow, card, first, got);
    uint32_t seed, expected_len;
    uint16_t buffers;

    check(len > NET_HEADER_MODERN, "a frame begins with %u bytes", len);
    buffers = wire_get16(got + 10, WIRE_LITTLE);
    check(buffers >= 1 && buffers <= 4, "a frame in %u buffers", buffers);
    for (unsigned i = 1; i < buffers; i++) { /* they are shown together, or not at all */
        check(flow->rx->ops->take(flow->rx, &used), "buffer %u of %u is missing", i, buffers);
        len += buffer_copy(flow, card, &used, got + len);
    }
    memcpy(&seed, got + NET_HEADER_MODERN + SEED_AT, sizeof(seed));
    check(seed < flow->seed, "frame %u was never sent", seed);
    expected_len = frame_make(expected, card->mac, seed);
    assert_int_equal(len - NET_HEADER_MODERN, expected_len);
    assert_memory_equal(got + NET_HEADER_MODERN, expected, expected_len);
    flow->received++;
}

void flow_pump(struct flow *flow, const struct card *card, unsigned most)
{
    struct driver_used used;

    rx_fill(flow);
    while (flow->tx->ops->take(flow->tx, &used)) {
        assert_int_equal(used.len, 0);
        take_back(&flow->tx_given, used.id);
        flow->sent++;
    }
    while (flow->rx->ops->take(flow->rx, &used))
        frame_check(flow, card, &used);
    rx_fill(flow);
    while (most-- > 0 && flow->tx_given.count < flow->tx_slots)
        tx_send(flow, card);
    driver_ring_flush(flow->tx);
}

void flow_drain(struct flow *flow, const struct card *card)
{
    uint64_t end = now_ms() + DRAIN_MS;

    while (flow->tx_given.count != 0) {
        check(now_ms() < end, "%u sent buffers never came back", flow->tx_given.count);
        flow_pump(flow, card, 0);
        sleep_ms(1);
    }
}
