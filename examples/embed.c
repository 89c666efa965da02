/* SPDX-License-Identifier: MIT */
/*
 * A toy virtual machine monitor with a vionic card. There is no processor in it: a "guest" of a few
 * lines drives the card's virtio-mmio registers and two split rings, and pings the gateway of the
 * NAT network behind the endpoint `user`. All of it is one thread, in the monitor's own loop.
 *
 *     cc embed.c $(pkg-config --cflags --libs vionic) -o embed && ./embed
 */
#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <vionic.h>

enum {
    RAM_GPA = 0x40000000,
    RAM_LEN = 1 << 20,
    QUEUE_SIZE = 8,
    BUFFER_LEN = 2048,
    HEADER_LEN = 12, /* struct virtio_net_hdr */
};

struct desc {
    uint64_t address;
    uint32_t len;
    uint16_t flags, next;
};

struct ring { /* a split virtqueue and a buffer for each of its descriptors */
    struct desc desc[QUEUE_SIZE];
    struct {
        uint16_t flags, idx, ring[QUEUE_SIZE];
    } avail;
    struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } ring[QUEUE_SIZE];
    } used;
    uint16_t seen; /* used entries that the guest has looked at */
    uint8_t buffer[QUEUE_SIZE][BUFFER_LEN];
};

static struct vionic *vionic;
static struct vionic_nic *nic;
static uint8_t *ram;
static struct ring *rx, *tx; /* in ram */
static int interrupt_line, ping_answered;

static void reg(unsigned offset, uint32_t value)
{
    vionic_mmio_write(nic, offset, 4, value);
}

static void reg_address(unsigned offset, const void *at)
{
    reg(offset, RAM_GPA + (uint32_t)((const uint8_t *)at - ram)); /* its upper half is 0 */
}

/* ---- the guest's driver ----------------------------------------------------------------- */

static void offer(struct ring *ring, unsigned queue, uint16_t index, uint32_t len)
{
    uint16_t idx = le16toh(ring->avail.idx);

    ring->desc[index].address = htole64(RAM_GPA + (uint64_t)(ring->buffer[index] - ram));
    ring->desc[index].len = htole32(len);
    ring->desc[index].flags = htole16(ring == rx ? 2 : 0); /* the card writes there */
    ring->avail.ring[idx % QUEUE_SIZE] = htole16(index);
    __atomic_store_n(&ring->avail.idx, htole16((uint16_t)(idx + 1)), __ATOMIC_RELEASE);
    reg(VIONIC_MMIO_NOTIFY, queue);
}

static void queue_setup(unsigned queue, const struct ring *ring)
{
    reg(0x030, queue); /* QueueSel */
    reg(0x038, QUEUE_SIZE);
    reg_address(0x080, &ring->desc);
    reg_address(0x090, &ring->avail);
    reg_address(0x0a0, &ring->used);
    reg(0x044, 1); /* QueueReady */
}

static void driver_start(void)
{
    reg(0x070, 1 | 2);     /* Status: ACKNOWLEDGE, DRIVER */
    reg(0x024, 1);         /* DriverFeaturesSel: bits 32 … 63 */
    reg(0x020, 1);         /* DriverFeatures: VERSION_1 */
    reg(0x070, 1 | 2 | 8); /* FEATURES_OK */
    queue_setup(0, rx);
    queue_setup(1, tx);
    reg(0x070, 1 | 2 | 8 | 4); /* DRIVER_OK */
    for (uint16_t i = 0; i < QUEUE_SIZE; i++)
        offer(rx, 0, i, BUFFER_LEN);
}

static void frame_send(const uint8_t *frame, uint32_t len)
{
    uint16_t index = le16toh(tx->avail.idx) % QUEUE_SIZE; /* two frames in all: it is free */

    memcpy(tx->buffer[index] + HEADER_LEN, frame, len);
    offer(tx, 1, index, HEADER_LEN + len);
}

/* 10.0.2.15 asks who has 10.0.2.2. */
static const uint8_t arp_request[42] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0,    1, 8, 6, 0, 1, 8, 0,    6, 4, 0,
    1,    0x52, 0x54, 0,    0,    0,    1,    0x0a, 0, 2, 0x0f, 0, 0, 0, 0, 0, 0, 0x0a, 0, 2, 2};

/* The headers of an echo request from the ethertype on, checksums included. */
static const uint8_t echo_request[30] = {8,    0, 0x45, 0,    0,    0x30, 0,    1,    0,    0,
                                         0x40, 1, 0x62, 0xbc, 0x0a, 0,    2,    0x0f, 0x0a, 0,
                                         2,    2, 8,    0,    0x58, 0xf0, 0x12, 0x34, 0,    1};

static void ping(const uint8_t gateway_mac[6])
{
    uint8_t frame[62];

    memcpy(frame, gateway_mac, 6);
    memcpy(frame + 6, arp_request + 6, 6);
    memcpy(frame + 12, echo_request, sizeof(echo_request));
    memcpy(frame + 42, "is anybody in there?", 20);
    frame_send(frame, sizeof(frame));
}

static void frame_received(const uint8_t *frame, uint32_t len)
{
    if (len >= 42 && frame[12] == 0x08 && frame[13] == 0x06 && frame[21] == 2) {
        printf("10.0.2.2 has a card\n");
        ping(frame + 22);
    } else if (len >= 62 && frame[23] == 1 && frame[34] == 0) { /* ICMP, echo reply */
        printf("10.0.2.2 answers: %.20s\n", (const char *)frame + 42);
        ping_answered = 1;
    }
}

static void interrupt_handler(void)
{
    reg(0x064, (uint32_t)vionic_mmio_read(nic, 0x060, 4)); /* InterruptACK: InterruptStatus */
    while (rx->seen != le16toh(__atomic_load_n(&rx->used.idx, __ATOMIC_ACQUIRE))) {
        uint32_t index = le32toh(rx->used.ring[rx->seen % QUEUE_SIZE].id);
        uint32_t len = le32toh(rx->used.ring[rx->seen++ % QUEUE_SIZE].len);

        frame_received(rx->buffer[index] + HEADER_LEN, len - HEADER_LEN);
        offer(rx, 0, (uint16_t)index, BUFFER_LEN);
    }
}

/* ---- the monitor ------------------------------------------------------------------------ */

static void line_changed(void *context, int level)
{
    *(int *)context = level;
}

static void card_create(void)
{
    const struct vionic_config config = {.size = sizeof(config), .threads = VIONIC_THREADS_NONE};
    const struct vionic_interrupts interrupts = {
        .size = sizeof(interrupts), .context = &interrupt_line, .set_line = line_changed};
    const struct vionic_memory memory = {.gpa = RAM_GPA, .size = RAM_LEN, .address = ram};
    const struct vionic_nic_config card = {.size = sizeof(card),
                                           .mac = {0x52, 0x54, 0, 0, 0, 1},
                                           .transport = VIONIC_TRANSPORT_MMIO,
                                           .interrupts = &interrupts,
                                           .endpoint = "user"};
    struct vionic_error err;

    if (vionic_create(&config, &vionic, &err) == 0 &&
        vionic_add_nic(vionic, &card, &nic, &err) == 0 &&
        vionic_nic_set_memory(nic, &memory, 1, &err) == 0)
        return;
    fprintf(stderr, "embed: %s\n", err.text);
    exit(1);
}

int main(void)
{
    struct pollfd work = {.events = POLLIN};

    ram = mmap(NULL, RAM_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED)
        return 1;
    rx = (struct ring *)ram;
    tx = (struct ring *)(ram + RAM_LEN / 2);
    card_create();
    driver_start();
    frame_send(arp_request, sizeof(arp_request));
    work.fd = vionic_fd(vionic);
    while (!ping_answered && poll(&work, 1, 5000) > 0) {
        vionic_poll(vionic, 16);
        if (interrupt_line)
            interrupt_handler();
    }
    vionic_free(vionic);
    return ping_answered ? 0 : 1;
}
