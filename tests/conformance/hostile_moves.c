/* SPDX-License-Identifier: MIT */
#include "hostile_moves.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "odd_fd.h"

enum {
    RX = 0,
    TX = 1,
    FLOOD = 300, /* messages */
    MOMENT_MS = 20,
};

static void bring_up(struct testbed_nic *nic)
{
    testbed_disconnect(nic);
    testbed_connect(nic);
}

/* Sends and does not look whether anybody takes it. */
static void throw(struct testbed_nic * nic, struct vu_message *message)
{
    uint8_t answers[4096];

    message->flags = VU_VERSION;
    if (front_end_send(&nic->fe, message) == 0)
        while (recv(nic->fe.fd, answers, sizeof(answers), MSG_DONTWAIT) > 0)
            continue;
}

static void throw_u64(struct testbed_nic *nic, uint32_t request, uint64_t value)
{
    struct vu_message message = vu_message_u64(request, value);

    throw(nic, &message);
}

static void throw_state(struct testbed_nic *nic, uint32_t request, uint32_t index, uint32_t num)
{
    struct vu_message message = vu_message_state(request, index, num);

    throw(nic, &message);
}

static void queue_frames(struct testbed_nic *nic, unsigned count)
{
    uint8_t frame[600];

    net_frame_make(frame, sizeof(frame), nic->mac, count);
    for (unsigned i = 0; i < count && nic->net[0].tx_free_count > 0; i++)
        net_driver_queue(&nic->net[0], frame, sizeof(frame));
    testbed_publish(testbed_tx(nic, 0));
}

/* ---- floods of messages that are right ---- */

static struct vu_message memory_table(const struct testbed_nic *nic)
{
    const struct guest_ram *ram = &nic->ram;
    uint64_t table[1 + 4 * GUEST_RAM_REGIONS_MAX] = {ram->region_count};
    struct vu_message message;

    for (unsigned i = 0; i < ram->region_count; i++) {
        const struct guest_ram_region *region = &ram->region[i];

        memcpy(&table[1 + 4 * i],
               (uint64_t[]){region->gpa, region->size, region->uva, region->offset}, 32);
    }
    message = vu_message(VU_SET_MEM_TABLE, table, 8 + 32 * ram->region_count);
    for (unsigned i = 0; i < ram->region_count; i++)
        vu_message_add_fd(&message, ram->region[i].fd);
    return message;
}

static void tables(struct testbed_nic *nic, uint32_t seed)
{
    struct vu_message message;

    (void)seed;
    bring_up(nic);
    message = memory_table(nic);
    for (unsigned i = 0; i < FLOOD; i++) {
        throw(nic, &message);
        if (i % 10 == 0)
            queue_frames(nic, 1);
    }
}

static void ring_files(struct testbed_nic *nic, uint32_t seed)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    bring_up(nic);
    for (unsigned i = 0; i < FLOOD; i++) {
        struct vu_message message = vu_message_u64(VU_SET_VRING_KICK + (i + seed) % 3, i % 2);

        vu_message_add_fd(&message, fd);
        throw(nic, &message);
    }
    close(fd);
}

static void toggles(struct testbed_nic *nic, uint32_t seed)
{
    bring_up(nic);
    queue_frames(nic, 20);
    for (unsigned i = 0; i < FLOOD; i++)
        throw_state(nic, VU_SET_VRING_ENABLE, (i + seed) / 2 % 2, i % 2);
}

static void resets(struct testbed_nic *nic, uint32_t seed)
{
    struct vu_message reset = vu_message(VU_RESET_DEVICE, NULL, 0);

    bring_up(nic);
    queue_frames(nic, 20);
    for (unsigned i = 0; i < FLOOD; i++) {
        if ((i + seed) % 3 == 0)
            throw(nic, &reset);
        else
            throw_u64(nic, i % 3 == 1 ? VU_SET_STATUS : VU_SET_FEATURES,
                      i % 3 == 1 ? 0 : nic->fe.offered);
    }
}

static void slots(struct testbed_nic *nic, uint32_t seed)
{
    bring_up(nic);
    for (unsigned i = 0; i < FLOOD; i++) {
        uint64_t region[5] = {0, (1ull << 40) + i / 2 * 8192, 4096, (1ull << 41) + i / 2 * 8192,
                              seed % 2 * 1024};
        struct vu_message message =
            vu_message(i % 4 == 3 ? VU_REM_MEM_REG : VU_ADD_MEM_REG, region, sizeof(region));

        vu_message_add_fd(&message, nic->ram.region[0].fd);
        throw(nic, &message);
    }
}

static void channels(struct testbed_nic *nic, uint32_t seed)
{
    bring_up(nic);
    for (unsigned i = 0; i < FLOOD; i++) {
        struct vu_message message = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);
        int pair[2];

        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no sockets");
        vu_message_add_fd(&message, pair[1]);
        throw(nic, &message);
        if (send(pair[0], &seed, sizeof(seed), MSG_NOSIGNAL) < 0)
            continue;
        close(pair[0]);
        close(pair[1]);
    }
}

/* ---- bytes that mean nothing ---- */

static void noise(struct testbed_nic *nic, uint32_t seed)
{
    uint32_t words[256];

    for (unsigned round = 0; round < 20; round++) {
        testbed_reconnect(nic);
        for (unsigned i = 0; i < 256; i++) {
            seed = seed * 1664525u + 1013904223u;
            words[i] = seed >> 7;
        }
        if (round % 2 == 0)
            memcpy(words, (uint32_t[]){seed % 45, VU_VERSION, seed % 300}, 12);
        front_end_send_bytes(&nic->fe, words, sizeof(words));
    }
}

static void half_a_header(struct testbed_nic *nic, uint32_t seed)
{
    uint32_t header[3] = {VU_SET_VRING_ADDR, VU_VERSION, 40};

    testbed_reconnect(nic);
    front_end_send_bytes(&nic->fe, header, 1 + seed % 11);
    sleep_ms(MOMENT_MS);
}

static void answers_unread(struct testbed_nic *nic, uint32_t seed)
{
    uint32_t header[3] = {seed % 2 == 0 ? VU_GET_FEATURES : VU_GET_QUEUE_NUM, VU_VERSION, 0};

    testbed_reconnect(nic);
    for (unsigned i = 0; i < 3000; i++) {
        if (send(nic->fe.fd, header, sizeof(header), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
    }
}

static void comings_and_goings(struct testbed_nic *nic, uint32_t seed)
{
    for (unsigned i = 0; i < 40; i++) {
        testbed_reconnect(nic);
        if ((i + seed) % 2 == 0)
            front_end_send_bytes(&nic->fe, (uint32_t[]){VU_SET_OWNER, VU_VERSION, 0}, 12);
    }
}

/* ---- files of the wrong kind ---- */

static void odd_files(struct testbed_nic *nic, uint32_t seed)
{
    static const uint32_t request[] = {VU_SET_VRING_KICK,     VU_SET_VRING_CALL, VU_SET_VRING_ERR,
                                       VU_SET_BACKEND_REQ_FD, VU_SET_MEM_TABLE,  VU_SET_LOG_BASE};
    struct vu_message table;

    bring_up(nic);
    table = memory_table(nic);
    for (unsigned kind = 0; kind < ODD_FD_KINDS; kind++) {
        struct vu_message message = table;
        int fd = odd_fd(kind);

        message.request = request[(kind + seed) % 6];
        if (message.request != VU_SET_MEM_TABLE)
            message.size = 16;
        if (message.request < VU_SET_VRING_ENABLE && message.request > VU_SET_LOG_FD)
            memcpy(message.payload, (uint64_t[]){kind % 2}, 8);
        message.fd_count = 1 + (message.request == VU_SET_MEM_TABLE);
        message.fd[0] = message.fd[1] = fd;
        throw(nic, &message);
        queue_frames(nic, 4);
        close(fd);
    }
}

struct filler {
    int fd;
    _Atomic int ends;
};

/* Keeps a blocking eventfd full, but for the moment in which somebody finds it writable. */
static void *filler_run(void *context)
{
    struct filler *filler = context;
    uint64_t most = 0xfffffffffffffffeull;
    uint64_t count;

    while (!filler->ends) {
        fcntl(filler->fd, F_SETFL, O_NONBLOCK);
        if (read(filler->fd, &count, sizeof(count)) < 0)
            count = 0;
        if (write(filler->fd, &most, sizeof(most)) < 0)
            count = 0;
        fcntl(filler->fd, F_SETFL, 0);
    }
    return NULL;
}

static void full_call_fd(struct testbed_nic *nic, uint32_t seed)
{
    struct filler filler = {.fd = -1};
    pthread_t thread;
    uint64_t end;

    (void)seed;
    bring_up(nic);
    filler.fd = nic->fe.vring[RX].call_fd;
    check(pthread_create(&thread, NULL, filler_run, &filler) == 0, "no thread");
    for (end = now_ms() + 10 * MOMENT_MS; now_ms() < end;) {
        uint8_t frame[700];

        queue_frames(nic, 1);
        while (net_driver_receive(&nic->net[0], frame, sizeof(frame), 2) >= 0)
            continue;
        net_driver_reap(&nic->net[0]);
        for (unsigned i = 0; i < 2; i++)
            nic->ring[i]->ops->interrupts(nic->ring[i], INTERRUPTS_ON);
    }
    filler.ends = 1;
    pthread_join(thread, NULL);
}

/* ---- rings and memory ---- */

static void polled(struct testbed_nic *nic, uint32_t seed)
{
    bring_up(nic);
    throw_u64(nic, VU_SET_VRING_KICK, TX | VU_NO_FD);
    throw_u64(nic, VU_SET_VRING_KICK, RX | VU_NO_FD);
    queue_frames(nic, 1 + seed % 20);
    sleep_ms(MOMENT_MS);
}

/* Rings and tables are written over while they run, and kicked without end. */
static void scribbled_rings(struct testbed_nic *nic, uint32_t seed)
{
    uint64_t end = now_ms() + MOMENT_MS;
    uint64_t one = 1;

    bring_up(nic);
    while (now_ms() < end) {
        struct driver_ring *ring = nic->ring[seed >> 8 & 1];
        uint64_t at = (seed >> 9) % 3 == 0   ? ring->desc_area
                      : (seed >> 9) % 3 == 1 ? ring->driver_area
                                             : ring->device_area;

        seed = seed * 1664525u + 1013904223u;
        memcpy(guest_ram_at(&nic->ram, at + (seed >> 16) % 256, 4), &seed, 4);
        if (write(nic->fe.vring[seed >> 30 & 1].kick_fd, &one, sizeof(one)) < 0)
            return;
    }
}

/* The file ends under the mapping while frames move; later it is as long as before, and empty. */
static void truncated_memory(struct testbed_nic *nic, uint32_t seed)
{
    uint64_t size[2] = {nic->ram.region[0].size, nic->ram.region[1].size};
    uint64_t offset = nic->ram.region[1].offset;
    uint64_t one = 1;

    bring_up(nic);
    queue_frames(nic, 20);
    check(ftruncate(nic->ram.region[0].fd, seed % 2 * 4096) == 0, "no truncation");
    check(ftruncate(nic->ram.region[1].fd, 0) == 0, "no truncation");
    for (unsigned i = 0; i < 5; i++) {
        if (write(nic->fe.vring[i % 2].kick_fd, &one, sizeof(one)) < 0)
            break;
        sleep_ms(1);
    }
    check(ftruncate(nic->ram.region[0].fd, (off_t)size[0]) == 0 &&
              ftruncate(nic->ram.region[1].fd, (off_t)(size[1] + offset)) == 0,
          "no truncation");
}

const struct hostile_move_entry hostile_moves[] = {
    {"a flood of memory tables", tables},
    {"a flood of kick, call and err fds", ring_files},
    {"rings enabled and disabled without end", toggles},
    {"resets without end", resets},
    {"slots added and removed without end", slots},
    {"channels that are closed at once", channels},
    {"noise", noise},
    {"half a header", half_a_header},
    {"answers that nobody reads", answers_unread},
    {"connections without end", comings_and_goings},
    {"files of every wrong kind", odd_files},
    {"a call fd that is full and blocking", full_call_fd},
    {"rings without a kick", polled},
    {"rings written over while they run", scribbled_rings},
    {"a memory file that ends early", truncated_memory},
    {NULL, NULL},
};
