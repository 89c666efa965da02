/* SPDX-License-Identifier: MIT */
/*
 * Instructions a packet, for callgrind: a driver and a pair with a real endpoint in one process and
 * one thread. Only the pair's turns are counted, and each path gets a dump with its name. Beside
 * that it writes a line `path: packets ns` for each, of the packets in all turns and of the time of
 * a packet in the median turn.
 *
 * The driver is that of the tests (tests/lib).
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "check.h"

#include "base/clock.h"
#include "driver_packed.h"
#include "driver_split.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "nic/pair.h"

enum {
    RING_SIZE = 256,
    HEADER_LEN = 12,
    BUFFER_LEN = 2048,
    BURST = 32, /* what DPDK's drivers send at once */
    ROUNDS_WARM = 24,
    ROUNDS = 64,
    ROUNDS_TIMED = 2048, /* when it runs by itself */
    BUDGET = 256,        /* the worker's */
    RING_GPA = 0x100000,
    DATA_GPA = 0x10000000,
};

enum direction {
    TX = 1,
    RX = 2,
    ECHO = TX | RX,
};

struct path {
    const char *name;
    const char *endpoint;
    enum direction direction;
    unsigned burst;
    uint32_t len; /* of a frame */
};

static const struct path paths[] = {
    {"tx 64", "null", TX, BURST, 64},
    {"tx 1518", "null", TX, BURST, 1518},
    {"rx 64", "null:generate=64", RX, BURST, 64},
    {"rx 1518", "null:generate=1518", RX, BURST, 1518},
    {"echo 64", "loopback", ECHO, BURST, 64},
    {"echo 1518", "loopback", ECHO, BURST, 1518},
    {"alone tx 64", "null", TX, 1, 64},
    {"alone echo 64", "loopback", ECHO, 1, 64},
    {"tap tx 1518", "tap:ifname=count0", TX, BURST, 1514},
};

static const struct {
    const char *name;
    uint32_t features;
} rings[] = {
    {"split", 0},
    {"packed", VIRTQUEUE_PACKED},
    {"split in-order", VIRTQUEUE_BATCH_USED},
    {"packed in-order", VIRTQUEUE_PACKED | VIRTQUEUE_BATCH_USED},
};

/* One direction of the driver. */
struct side {
    struct driver_split split;
    struct driver_packed packed;
    struct driver_ring *ring; /* the one in use */
    uint64_t buffers_gpa;     /* RING_SIZE of BUFFER_LEN */
    unsigned next;            /* buffer */
};

static uint64_t turn_ns[ROUNDS_TIMED];

struct bed {
    struct guest_ram ram;
    struct guest_memory *memory;
    struct side rx, tx;
    struct endpoint *endpoint;
    struct pair pair;
    struct pair_scratch scratch;
};

static void fire(void *context)
{
    (void)context;
}

/* ---- set-up ----------------------------------------------------------------------------- */

static void side_start(struct bed *bed, struct side *side, struct virtqueue *queue,
                       uint32_t features)
{
    struct driver_split_options split = {.size = RING_SIZE,
                                         .in_order = (features & VIRTQUEUE_BATCH_USED) != 0};
    struct driver_packed_options packed = {.size = RING_SIZE,
                                           .in_order = (features & VIRTQUEUE_BATCH_USED) != 0};
    struct virtqueue_config config = {
        .size = RING_SIZE, .features = features, .notifier.fire = fire};

    if (features & VIRTQUEUE_PACKED) {
        driver_packed_init(&side->packed, &bed->ram, &packed);
        side->ring = &side->packed.ring;
    } else {
        driver_split_init(&side->split, &bed->ram, &split);
        side->ring = &side->split.ring;
    }
    side->buffers_gpa = guest_ram_alloc(&bed->ram, 1, RING_SIZE * BUFFER_LEN, 4096);
    side->ring->ops->interrupts(side->ring, INTERRUPTS_OFF); /* as drivers that poll */
    config.base = side->ring->ops->base(side->ring);
    config.desc_gpa = side->ring->desc_area;
    config.driver_gpa = side->ring->driver_area;
    config.device_gpa = side->ring->device_area;
    check(virtqueue_start(queue, &config, bed->memory, NULL) == 0, "the queue does not start");
}

static void side_finish(struct side *side, uint32_t features)
{
    if (features & VIRTQUEUE_PACKED)
        driver_packed_free(&side->packed);
    else
        driver_split_free(&side->split);
}

static void memory_make(struct bed *bed)
{
    guest_ram_init(&bed->ram);
    guest_ram_add(&bed->ram, RING_GPA, 0x100000, 0);
    guest_ram_add(&bed->ram, DATA_GPA, 0x400000, 0);
    check(guest_memory_create(&bed->memory) == 0, "out of memory");
    for (unsigned i = 0; i < bed->ram.region_count; i++) {
        struct memory_region region = {.gpa = bed->ram.region[i].gpa,
                                       .size = bed->ram.region[i].size,
                                       .hva = bed->ram.region[i].map};

        check(guest_memory_add(bed->memory, &region, NULL) == 0, "a region is refused");
    }
}

/* 0: the endpoint can't be opened here. */
static int endpoint_make(struct bed *bed, const char *text)
{
    struct endpoint_spec spec;
    struct error err = {0};

    check(endpoint_spec_parse(&spec, text, &err) == 0, "%s: %s", text, err.text);
    spec.queue_pairs = 1;
    if (endpoint_open(&spec, &bed->endpoint, &err) < 0) {
        fprintf(stderr, "count: %s\n", err.text);
        endpoint_spec_clear(&spec);
        return 0;
    }
    endpoint_spec_clear(&spec);
    bed->pair.ops = bed->endpoint->ops;
    bed->pair.ops->set_offloads(bed->endpoint, 0);
    check(bed->pair.ops->queue_open(bed->endpoint, 0, &bed->pair.endpoint_rx,
                                    &bed->pair.endpoint_queue, &err) == 0,
          "%s", err.text);
    return 1;
}

/* NULL: the endpoint can't be opened here. */
static struct bed *bed_start(const struct path *path, uint32_t features)
{
    struct endpoint_caps caps;
    struct bed *bed = aligned_alloc(64, sizeof(*bed) / 64 * 64 + 64);

    check(bed != NULL, "out of memory");
    memset(bed, 0, sizeof(*bed));
    pair_init(&bed->pair, 0);
    if (!endpoint_make(bed, path->endpoint)) {
        free(bed);
        return NULL;
    }
    bed->endpoint->ops->capabilities(bed->endpoint, &caps);
    memory_make(bed);
    check(pair_scratch_init(&bed->scratch, RING_SIZE) == 0, "out of memory");
    /* Receive completions carry lengths: they are never batched, with IN_ORDER or not. */
    side_start(bed, &bed->rx, &bed->pair.rx, features & VIRTQUEUE_PACKED);
    side_start(bed, &bed->tx, &bed->pair.tx, features);
    bed->pair.rules = (struct pair_rules){.header_len = HEADER_LEN,
                                          .mergeable = 1,
                                          .link_up = 1,
                                          .frame_max = 1514 + 4,
                                          .tx_plain = 1,
                                          .tx_unread = caps.tx_unread};
    return bed;
}

static void bed_finish(struct bed *bed, uint32_t features)
{
    virtqueue_stop(&bed->pair.tx);
    virtqueue_stop(&bed->pair.rx);
    bed->pair.ops->queue_close(bed->pair.endpoint_queue);
    endpoint_close(bed->endpoint);
    pair_scratch_free(&bed->scratch);
    guest_memory_free(bed->memory);
    side_finish(&bed->rx, features);
    side_finish(&bed->tx, features);
    guest_ram_free(&bed->ram);
    free(bed);
}

/* ---- traffic ---------------------------------------------------------------------------- */

/* Headers stay as they are: after the first round they are all zero, or what the card wrote. */
static void side_fill(struct side *side, unsigned count, uint32_t len, enum driver_access access)
{
    for (unsigned i = 0; i < count; i++) {
        struct driver_buffer buffer = {
            side->buffers_gpa + (uint64_t)(side->next++ % RING_SIZE) * BUFFER_LEN, len, access};
        struct driver_chain chain = {.buffer = &buffer, .count = 1, .shape = CHAIN_DIRECT};

        side->ring->ops->add(side->ring, &chain);
    }
    side->ring->ops->publish(side->ring);
}

static unsigned side_take(struct side *side)
{
    struct driver_used used;
    unsigned count = 0;

    while (side->ring->ops->take(side->ring, &used))
        count++;
    return count;
}

/* Returns the packets. */
static unsigned round_run(struct bed *bed, const struct path *path, uint64_t *ret_ns)
{
    unsigned moved = 0;
    uint64_t begun_ns;

    if (path->direction & RX)
        side_fill(&bed->rx, path->burst, BUFFER_LEN, DEVICE_WRITES);
    if (path->direction & TX)
        side_fill(&bed->tx, path->burst, HEADER_LEN + path->len, DEVICE_READS);
    bed->pair.rx_ready = path->direction == RX;
    begun_ns = clock_now_ns();
    CALLGRIND_TOGGLE_COLLECT;
    pair_turn(&bed->pair, &bed->scratch, BUDGET);
    CALLGRIND_TOGGLE_COLLECT;
    *ret_ns = clock_now_ns() - begun_ns;
    if (path->direction & TX)
        moved = side_take(&bed->tx);
    if (path->direction & RX)
        moved = side_take(&bed->rx);
    check(moved == path->burst, "%s: %u of %u packets moved in a turn", path->name, moved,
          path->burst);
    return moved;
}

static int earlier(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

static void path_run(const struct path *path, unsigned ring)
{
    struct bed *bed = bed_start(path, rings[ring].features);
    unsigned rounds = RUNNING_ON_VALGRIND ? ROUNDS : ROUNDS_TIMED;
    unsigned packets = 0;
    char name[64];

    if (bed == NULL)
        return;
    for (unsigned i = 0; i < ROUNDS_WARM; i++)
        round_run(bed, path, &turn_ns[0]);
    CALLGRIND_ZERO_STATS;
    for (unsigned i = 0; i < rounds; i++)
        packets += round_run(bed, path, &turn_ns[i]);
    qsort(turn_ns, rounds, sizeof(turn_ns[0]), earlier);
    snprintf(name, sizeof(name), "%s %s", path->name, rings[ring].name);
    CALLGRIND_DUMP_STATS_AT(name);
    printf("%s: %u %.1f\n", name, packets, (double)turn_ns[rounds / 2] / path->burst);
    bed_finish(bed, rings[ring].features);
}

static void all_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        for (unsigned ring = 0; ring < sizeof(rings) / sizeof(rings[0]); ring++) {
            if (paths[i].direction & TX || !(rings[ring].features & VIRTQUEUE_BATCH_USED))
                path_run(&paths[i], ring);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(all_paths)};

    unshare(CLONE_NEWUSER | CLONE_NEWNET); /* a place for taps; without it they are left out */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
