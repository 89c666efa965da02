/* SPDX-License-Identifier: MIT */
#include "pair_bed.h"

#include <endian.h>
#include <string.h>

#include "base/checked.h"

enum {
    DESC_LEN = 16,
    SPLIT_NEXT = 1,
    PACKED_AVAIL = 1 << 7,
    PACKED_USED = 1 << 15,

    SLEEP_BUDGET = 256,
    SLEEP_TURNS_MAX = 64, /* buffers that lie over the ring may feed it for ever */
    SPIN_TURNS = 4,
};

static const struct {
    uint64_t gpa;
    size_t len;
    uint32_t flags;
} layout[BED_REGIONS] = {
    {0, BED_MAIN_LEN, 0},
    {BED_NEXT_GPA, BED_NEXT_LEN, 0},
    {BED_ROM_GPA, BED_ROM_LEN, MEMORY_REGION_READ_ONLY},
    {UINT64_MAX - BED_LAST_LEN + 1, BED_LAST_LEN, 0},
};

/* One for all inputs: it is large, and a worker's scratch outlives its pairs too. */
static struct pair_scratch *scratch_get(void)
{
    static struct pair_scratch scratch;
    static int ready;

    if (!ready)
        FUZZ_CHECK(pair_scratch_init(&scratch, BED_RING_SIZE_MAX) == 0, "no memory");
    ready = 1;
    return &scratch;
}

static void fire(void *context)
{
    struct pair_bed *bed = context;

    bed->interrupts++;
}

static int owns_span(const void *context, const struct iovec *span, int writable)
{
    const struct pair_bed *bed = context;
    const uint8_t *first = span->iov_base;
    const struct pair_scratch *scratch = scratch_get();
    const uint8_t *segments = (const uint8_t *)&scratch->tx_segmenter;

    if (!writable && first == scratch->gathered && span->iov_len <= FRAME_LEN_MAX)
        return 1;
    if (!writable && first >= segments && first < segments + sizeof(scratch->tx_segmenter))
        return span->iov_len <= (size_t)(segments + sizeof(scratch->tx_segmenter) - first);
    for (unsigned i = 0; i < BED_REGIONS; i++) {
        if (first >= bed->bytes[i] && first < bed->bytes[i] + layout[i].len)
            return span->iov_len <= (size_t)(bed->bytes[i] + layout[i].len - first) &&
                   (!writable || layout[i].flags == 0);
    }
    return 0;
}

/* ---- memory --------------------------------------------------------------------------------- */

uint8_t *pair_bed_at(const struct pair_bed *bed, uint64_t gpa, size_t *len)
{
    for (unsigned i = 0; i < BED_REGIONS; i++) {
        uint64_t offset = gpa - layout[i].gpa;

        if (offset >= layout[i].len || layout[i].flags != 0)
            continue;
        *len = MIN(*len, layout[i].len - (size_t)offset);
        return bed->bytes[i] + offset;
    }
    return NULL;
}

void pair_bed_write(struct pair_bed *bed, uint64_t gpa, const void *bytes, size_t len)
{
    uint8_t *to = pair_bed_at(bed, gpa, &len);

    if (to != NULL && len != 0)
        memcpy(to, bytes, len);
}

static uint16_t read16(const struct pair_bed *bed, uint64_t gpa, enum byte_order order)
{
    size_t len = 2;
    const uint8_t *at = pair_bed_at(bed, gpa, &len);
    uint16_t raw = 0;

    if (at != NULL)
        memcpy(&raw, at, len);
    return order == BYTE_ORDER_BIG ? be16toh(raw) : le16toh(raw);
}

static void write16(struct pair_bed *bed, uint64_t gpa, uint16_t value, enum byte_order order)
{
    uint16_t raw = order == BYTE_ORDER_BIG ? htobe16(value) : htole16(value);

    pair_bed_write(bed, gpa, &raw, sizeof(raw));
}

static struct guest_memory *table_build(const struct pair_bed *bed, unsigned mask)
{
    struct guest_memory *memory;

    FUZZ_CHECK(guest_memory_create(&memory) == 0, "no memory");
    for (unsigned i = 0; i < BED_REGIONS; i++) {
        struct memory_region region = {.gpa = layout[i].gpa,
                                       .size = layout[i].len,
                                       .hva = bed->bytes[i],
                                       .flags = layout[i].flags};

        if (mask & 1u << i)
            FUZZ_CHECK(guest_memory_add(memory, &region, NULL) == 0, "region %u", i);
    }
    return memory;
}

void pair_bed_remap(struct pair_bed *bed, unsigned mask)
{
    struct guest_memory *before = bed->memory;

    pair_reap_all(&bed->pair, scratch_get());
    bed->memory = table_build(bed, mask);
    virtqueue_remap(&bed->pair.rx, bed->memory);
    virtqueue_remap(&bed->pair.tx, bed->memory);
    guest_memory_free(before);
}

/* ---- start and stop ------------------------------------------------------------------------- */

static struct virtqueue *queue_of(struct pair_bed *bed, enum bed_queue queue)
{
    return queue == BED_RX ? &bed->pair.rx : &bed->pair.tx;
}

/* Chains taken that the driver does not have back: what the endpoint holds, and what stands behind
 * it. */
static uint32_t tx_waiting(const struct pair_bed *bed)
{
    const struct tx_flight *flight = &bed->pair.flight;

    return flight->capacity != 0 ? flight->tail - flight->head : bed->endpoint.held_count;
}

static uint64_t tx_completed(const struct pair_bed *bed)
{
    uint64_t count = counter_get(&bed->pair.stats.tx_packets) - tx_waiting(bed);

    for (unsigned i = 0; i < PAIR_TX_DROP_COUNT; i++)
        count += counter_get(&bed->pair.stats.tx_drop[i]);
    return count;
}

uint32_t pair_bed_stop(struct pair_bed *bed, enum bed_queue queue)
{
    struct virtqueue *virtqueue = queue_of(bed, queue);
    uint16_t lost = virtqueue->in_flight;

    if (!virtqueue->running)
        return bed->config[queue].base;
    pair_reap_all(&bed->pair, scratch_get());
    FUZZ_CHECK(queue == BED_TX || lost == 0, "%u receive buffers are lost by a stop", lost);
    return virtqueue_stop(virtqueue);
}

static void driver_start(struct pair_bed *bed, enum bed_queue queue)
{
    const struct virtqueue *virtqueue = queue_of(bed, queue);
    struct bed_ring *ring = &bed->ring[queue];

    ring->next = (uint16_t)(virtqueue->next_avail % virtqueue->size);
    ring->wrap = virtqueue->avail_wrap;
}

void pair_bed_start(struct pair_bed *bed, enum bed_queue queue)
{
    struct virtqueue_config *config = &bed->config[queue];
    struct virtqueue *virtqueue = queue_of(bed, queue);
    struct error err = {{0}};

    if (virtqueue->running)
        pair_bed_stop(bed, queue);
    if (virtqueue_start(virtqueue, config, bed->memory, &err) < 0) {
        FUZZ_CHECK(err.text[0] != '\0' && !virtqueue->running, "a refusal without a word");
        return;
    }
    driver_start(bed, queue);
    if (queue == BED_TX) {
        bed->completed_before = tx_completed(bed);
        bed->used_before = virtqueue->next_used;
    }
}

static void rules_set(struct pair_bed *bed, const struct bed_options *options)
{
    uint8_t header_len =
        options->legacy && !options->mergeable ? NET_HEADER_LEN_LEGACY : NET_HEADER_LEN;

    if (options->tx_offloads & ENDPOINT_UDP_TUNNEL)
        header_len = NET_HEADER_LEN_TUNNEL;
    bed->pair.rules = (struct pair_rules){
        .order = options->order,
        .header_len = header_len,
        .mergeable = options->mergeable != 0,
        .link_up = 1,
        .tx_plain = options->tx_offloads == 0,
        .tx_offloads = options->tx_offloads,
        .tx_passed = options->tx_offloads,
        .rx_offloads = options->rx_offloads,
        .frame_max = options->frame_max,
    };
}

void pair_bed_init(struct pair_bed *bed, const struct bed_options *options)
{
    *bed = (struct pair_bed){0};
    for (unsigned i = 0; i < BED_REGIONS; i++) {
        bed->bytes[i] = calloc(1, layout[i].len);
        FUZZ_CHECK(bed->bytes[i] != NULL, "no memory");
    }
    bed->memory = table_build(bed, (1u << BED_REGIONS) - 1);
    pair_init(&bed->pair, 0);
    fuzz_endpoint_init(&bed->endpoint, options->completion);
    bed->endpoint.rx = &bed->pair.endpoint_rx;
    bed->endpoint.tx_offloads = options->tx_offloads;
    bed->endpoint.owns_span = owns_span;
    bed->endpoint.owns_context = bed;
    bed->pair.ops = bed->endpoint.base.ops;
    bed->pair.endpoint_queue = &bed->endpoint.queue;
    bed->pair.rx_ready = 1;
    rules_set(bed, options);
    if (options->completion != FUZZ_SYNCHRONOUS)
        FUZZ_CHECK(tx_flight_init(&bed->pair.flight, options->size[BED_TX]) == 0, "no memory");
    for (enum bed_queue queue = BED_RX; queue < BED_QUEUES; queue++) {
        uint64_t at = (uint64_t)queue * BED_RING_STRIDE;
        uint32_t refused = queue == BED_RX ? VIRTQUEUE_BATCH_USED : 0;

        bed->size_max[queue] = options->size[queue];
        bed->config[queue] = (struct virtqueue_config){
            .size = options->size[queue],
            .base = options->base[queue],
            .features = options->features & ~refused,
            .order = options->order,
            .desc_gpa = at,
            .driver_gpa = at + BED_DRIVER_OFFSET,
            .device_gpa = at + BED_DEVICE_OFFSET,
            .notifier = {.fire = fire, .context = bed},
        };
        pair_bed_start(bed, queue);
    }
}

void pair_bed_free(struct pair_bed *bed)
{
    pair_bed_stop(bed, BED_RX);
    pair_bed_stop(bed, BED_TX);
    for (unsigned i = 0; i < BED_ROM_LEN; i++)
        FUZZ_CHECK(bed->bytes[2][i] == 0, "read-only memory was written");
    tx_flight_free(&bed->pair.flight);
    guest_memory_free(bed->memory);
    for (unsigned i = 0; i < BED_REGIONS; i++)
        free(bed->bytes[i]);
}

/* ---- the driver's half ---------------------------------------------------------------------- */

static void desc_write(struct pair_bed *bed, uint64_t at, const struct bed_desc *desc,
                       const uint16_t word[2], enum byte_order order)
{
    uint64_t addr = order == BYTE_ORDER_BIG ? htobe64(desc->addr) : htole64(desc->addr);
    uint32_t len = order == BYTE_ORDER_BIG ? htobe32(desc->len) : htole32(desc->len);

    pair_bed_write(bed, at, &addr, sizeof(addr));
    pair_bed_write(bed, at + 8, &len, sizeof(len));
    write16(bed, at + 12, word[0], order);
    write16(bed, at + 14, word[1], order);
}

static void offer_split(struct pair_bed *bed, enum bed_queue queue, const struct bed_desc *desc,
                        unsigned count)
{
    const struct virtqueue_config *config = &bed->config[queue];
    struct bed_ring *ring = &bed->ring[queue];
    uint16_t idx = read16(bed, config->driver_gpa + 2, config->order);
    uint16_t head = ring->next;

    for (unsigned i = 0; i < count; i++) {
        uint16_t next = (uint16_t)((ring->next + 1) % config->size);
        uint16_t more = i + 1 < count ? SPLIT_NEXT : 0;
        uint16_t word[2] = {(uint16_t)((desc[i].flags & ~SPLIT_NEXT) | more), next};

        desc_write(bed, config->desc_gpa + DESC_LEN * ring->next, &desc[i], word, config->order);
        ring->next = next;
    }
    write16(bed, config->driver_gpa + 4 + 2ull * (idx % config->size), head, config->order);
    write16(bed, config->driver_gpa + 2, (uint16_t)(idx + 1), config->order);
}

/* The first slot's flags come last. */
static void offer_packed(struct pair_bed *bed, enum bed_queue queue, const struct bed_desc *desc,
                         unsigned count)
{
    const struct virtqueue_config *config = &bed->config[queue];
    struct bed_ring *ring = &bed->ring[queue];
    uint64_t first_at = config->desc_gpa + DESC_LEN * ring->next + 14;
    uint16_t first_flags = 0;

    ring->id++;
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags =
            (uint16_t)((desc[i].flags & ~SPLIT_NEXT) | (i + 1 < count ? SPLIT_NEXT : 0) |
                       (ring->wrap ? PACKED_AVAIL : PACKED_USED));
        uint16_t word[2] = {ring->id, i == 0 ? read16(bed, first_at, config->order) : flags};

        if (i == 0)
            first_flags = flags;
        desc_write(bed, config->desc_gpa + DESC_LEN * ring->next, &desc[i], word, config->order);
        if (++ring->next == config->size) {
            ring->next = 0;
            ring->wrap = !ring->wrap;
        }
    }
    write16(bed, first_at, first_flags, config->order);
}

void pair_bed_offer(struct pair_bed *bed, enum bed_queue queue, const struct bed_desc *desc,
                    unsigned count)
{
    if (bed->config[queue].size == 0 || bed->ring[queue].next >= bed->config[queue].size)
        return;
    if (bed->config[queue].features & VIRTQUEUE_PACKED)
        offer_packed(bed, queue, desc, count);
    else
        offer_split(bed, queue, desc, count);
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void check_queue(const struct virtqueue *queue, uint16_t held)
{
    int packed = (queue->features & VIRTQUEUE_PACKED) != 0;

    if (!queue->running || queue->fault == QUEUE_FAULT_MEMORY)
        return;
    FUZZ_CHECK(queue->in_flight <= queue->size, "%u of %u entries in flight", queue->in_flight,
               queue->size);
    FUZZ_CHECK(packed ? queue->in_flight >= held : queue->in_flight == held,
               "%u entries in flight, %u wait", queue->in_flight, held);
    FUZZ_CHECK(held != 0 || queue->in_flight == 0, "%u entries are lost", queue->in_flight);
    FUZZ_CHECK(packed ? queue->unshown_slots == 0 : queue->next_used == queue->used_shown,
               "completions were not published");
}

/* Every buffer taken is completed exactly once. */
static void check_split_completions(const struct pair_bed *bed)
{
    const struct virtqueue *tx = &bed->pair.tx;
    uint16_t used = (uint16_t)(tx->next_used - bed->used_before);
    uint16_t done = (uint16_t)(tx_completed(bed) - bed->completed_before);

    if (!tx->running || tx->features & VIRTQUEUE_PACKED || tx->fault == QUEUE_FAULT_MEMORY)
        return;
    FUZZ_CHECK(used == done, "%u used entries for %u completions", used, done);
}

unsigned pair_bed_turn(struct pair_bed *bed, unsigned budget)
{
    unsigned moved = pair_turn(&bed->pair, scratch_get(), budget);

    FUZZ_CHECK(bed->pair.scratch == NULL, "the scratch is kept");
    check_queue(&bed->pair.rx, 0);
    check_queue(&bed->pair.tx, (uint16_t)tx_waiting(bed));
    check_split_completions(bed);
    return moved;
}

/* Rings or buffers that lie over a ring make words change under the armed one: nobody promises
 * anything then. */
static int rings_stand_apart(const struct pair_bed *bed)
{
    for (enum bed_queue queue = BED_RX; queue < BED_QUEUES; queue++) {
        const struct virtqueue_config *config = &bed->config[queue];
        uint64_t at = (uint64_t)queue * BED_RING_STRIDE;

        if (config->desc_gpa != at || config->driver_gpa != at + BED_DRIVER_OFFSET ||
            config->device_gpa != at + BED_DEVICE_OFFSET)
            return 0;
    }
    return 1;
}

/* As a worker does it before it sleeps. 1: it does not get to sleep. */
static int fall_asleep(struct pair_bed *bed)
{
    unsigned idle = 0;

    for (unsigned i = 0; i < SLEEP_TURNS_MAX; i++) {
        idle = pair_bed_turn(bed, SLEEP_BUDGET) == 0 ? idle + 1 : 0;
        if (idle == 0)
            continue;
        if (pair_arm(&bed->pair) == 0)
            return 0;
        FUZZ_CHECK(idle < SPIN_TURNS || !rings_stand_apart(bed),
                   "neither moves anything nor sleeps: a spin");
    }
    return 1;
}

void pair_bed_sleep(struct pair_bed *bed)
{
    int awake = fall_asleep(bed);
    int starved = bed->pair.rx_starved;
    uint64_t before = tx_completed(bed) + tx_waiting(bed);
    uint32_t pending = bed->endpoint.pending;

    if (awake || bed->pair.tx_blocked || !rings_stand_apart(bed))
        return;
    pair_bed_turn(bed, 1);
    FUZZ_CHECK(tx_completed(bed) + tx_waiting(bed) == before,
               "armed with a buffer waiting: a lost kick");
    FUZZ_CHECK(!starved || bed->pair.rx.fault != QUEUE_FAULT_NONE ||
                   bed->endpoint.pending == pending,
               "armed for receive buffers that were there: a lost kick");
}
