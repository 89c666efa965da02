/* SPDX-License-Identifier: MIT */
#include "nic/stats.h"

#include "base/checked.h"

/* struct virtio_net_stats_reply_hdr; vq_index and size count in it. */
struct record_header {
    uint8_t type;
    uint8_t reserved;
    le16 queue;
    le16 reserved1;
    le16 size; /* of the record, this header included */
};

/* struct virtio_net_ctrl_queue_stats: one queue of a GET. */
struct wanted {
    unsigned queue;
    uint64_t types;
};

enum {
    VALUES_MAX = 6,
    WANTED_LEN = 16,
    WANTED_TYPES_AT = 8,
};

enum queue_kind {
    KIND_RX,
    KIND_TX,
    KIND_CONTROL,
    KIND_NONE,
};

/* Where a record's values come from. */
struct source {
    const struct nic_control *control;
    const struct pair *pair; /* of a receive or transmit queue */
};

typedef void values_read(const struct source *source, uint64_t ret_values[VALUES_MAX]);

/* ---- values, in the order of the records ------------------------------------------------- */

static uint64_t sum(const counter *counters, unsigned count)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < count; i++)
        total += counter_get(&counters[i]);
    return total;
}

/* The part that is not in `part`; both are read while they are counted up. */
static uint64_t rest(uint64_t all, uint64_t part)
{
    return all > part ? all - part : 0;
}

static void read_control(const struct source *source, uint64_t ret_values[VALUES_MAX])
{
    uint64_t commands = counter_get(&source->control->commands);

    ret_values[0] = commands;
    ret_values[1] = commands - counter_get(&source->control->failed);
}

/* What the driver's own filters keep away never was this queue's (virtio 1.4, 5.1.6.4: filters come
 * before steering). */
static void read_rx_basic(const struct source *source, uint64_t ret_values[VALUES_MAX])
{
    const struct pair_stats *stats = &source->pair->stats;

    ret_values[0] = counter_get(&source->pair->rx.kicks);
    ret_values[1] = counter_get(&stats->rx_packets);
    ret_values[2] = counter_get(&stats->rx_bytes);
    ret_values[3] = counter_get(&source->pair->rx.interrupts);
    ret_values[4] = rest(sum(stats->rx_drop, PAIR_RX_DROP_COUNT),
                         counter_get(&stats->rx_drop[PAIR_RX_DROP_FILTERED]));
    ret_values[5] = counter_get(&stats->rx_drop[PAIR_RX_DROP_TOO_BIG]);
}

/* A checksum that is not right is the driver's to find: no frame is counted as bad. */
static void read_rx_csum(const struct source *source, uint64_t ret_values[VALUES_MAX])
{
    const struct pair_stats *stats = &source->pair->stats;
    uint64_t packets = counter_get(&stats->rx_packets);
    uint64_t valid = counter_get(&stats->rx_data_valid);
    uint64_t needs = counter_get(&stats->rx_needs_csum);

    ret_values[0] = valid;
    ret_values[1] = needs;
    ret_values[2] = rest(packets, valid + needs);
    ret_values[3] = 0;
}

/* Coalesced: what was merged here; what the endpoint delivers large came so to it. */
static void read_rx_gso(const struct source *source, uint64_t ret_values[VALUES_MAX])
{
    ret_values[0] = counter_get(&source->pair->stats.rx_gso_packets);
    ret_values[1] = counter_get(&source->pair->stats.rx_gso_bytes);
    ret_values[2] = counter_get(&source->pair->stats.rx_merged);
    ret_values[3] = counter_get(&source->pair->stats.rx_merged_bytes);
}

static void read_tx_basic(const struct source *source, uint64_t ret_values[VALUES_MAX])
{
    const struct pair_stats *stats = &source->pair->stats;
    uint64_t drops = sum(stats->tx_drop, PAIR_TX_DROP_COUNT);

    ret_values[0] = counter_get(&source->pair->tx.kicks);
    ret_values[1] = counter_get(&stats->tx_packets);
    ret_values[2] = counter_get(&stats->tx_bytes);
    ret_values[3] = counter_get(&source->pair->tx.interrupts);
    ret_values[4] = drops;
    ret_values[5] = counter_get(&stats->tx_drop[PAIR_TX_DROP_BAD_CHAIN]) +
                    counter_get(&stats->tx_drop[PAIR_TX_DROP_SHORT]) +
                    counter_get(&stats->tx_drop[PAIR_TX_DROP_OVERSIZE]) +
                    counter_get(&stats->tx_drop[PAIR_TX_DROP_BAD_HEADER]);
}

static void read_tx_csum(const struct source *source, uint64_t ret_values[VALUES_MAX])
{
    uint64_t packets = counter_get(&source->pair->stats.tx_packets);
    uint64_t needs = counter_get(&source->pair->stats.tx_needs_csum);

    ret_values[0] = rest(packets, needs);
    ret_values[1] = needs;
}

static void read_tx_gso(const struct source *source, uint64_t ret_values[VALUES_MAX])
{
    const struct pair_stats *stats = &source->pair->stats;

    ret_values[0] = counter_get(&stats->tx_gso_packets);
    ret_values[1] = counter_get(&stats->tx_gso_bytes);
    ret_values[2] = counter_get(&stats->tx_segments);
    ret_values[3] = counter_get(&stats->tx_segment_bytes);
    ret_values[4] = rest(ret_values[0], counter_get(&stats->tx_segmented));
    ret_values[5] = rest(ret_values[1], counter_get(&stats->tx_segmented_bytes));
}

/* ---- types ------------------------------------------------------------------------------- */

struct stats_type {
    uint8_t type; /* its number in a record, and its bit in a mask */
    uint8_t kind; /* enum queue_kind */
    uint8_t value_count;
    uint64_t any; /* agreed: one of these features; 0: always there */
    values_read *read;
};

#define BIT(n) (1ull << (n))

/* The SPEED types are left out: nothing here limits a rate. */
static const struct stats_type types[] = {
    {0, KIND_RX, 6, 0, read_rx_basic},
    {1, KIND_RX, 4, BIT(NET_F_GUEST_CSUM), read_rx_csum},
    {2, KIND_RX, 4, BIT(NET_F_GUEST_TSO4) | BIT(NET_F_GUEST_TSO6), read_rx_gso},
    {16, KIND_TX, 6, 0, read_tx_basic},
    {17, KIND_TX, 2, BIT(NET_F_CSUM), read_tx_csum},
    {18, KIND_TX, 6, BIT(NET_F_HOST_TSO4) | BIT(NET_F_HOST_TSO6) | BIT(NET_F_HOST_USO),
     read_tx_gso},
    {32, KIND_CONTROL, 2, 0, read_control},
};

/* Bits of the types that queues of this kind have; KIND_NONE: of any kind. */
static uint64_t types_supported(const struct nic *nic, enum queue_kind kind)
{
    uint64_t supported = 0;

    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        if ((kind == KIND_NONE || types[i].kind == kind) &&
            (types[i].any == 0 || (types[i].any & nic->agreed.word[0]) != 0))
            supported |= BIT(types[i].type);
    }
    return supported;
}

static enum queue_kind kind_of(const struct nic *nic, unsigned queue)
{
    if (queue == nic_control_queue(nic))
        return KIND_CONTROL;
    if (!control_queue_exists(nic, queue))
        return KIND_NONE;
    return queue % 2 == 0 ? KIND_RX : KIND_TX;
}

/* ---- the commands ------------------------------------------------------------------------ */

static le64 word_of(const struct control_request *request, uint64_t value)
{
    return word64_make(value, request->order);
}

enum control_ack control_stats_query(struct control_request *request)
{
    le64 supported = word_of(request, types_supported(request->nic, KIND_NONE));

    control_answer_put(&request->answer, &supported, sizeof(supported));
    return CONTROL_OK;
}

static struct wanted wanted_read(const struct control_request *request, uint32_t offset)
{
    return (struct wanted){.queue = request_u16(request, offset),
                           .types = request_u64(request, offset + WANTED_TYPES_AT)};
}

static void put_record(struct control_request *request, const struct stats_type *type,
                       unsigned queue)
{
    struct source source = {.control = request->control};
    struct record_header header = {.type = type->type};
    uint64_t values[VALUES_MAX] = {0};
    le64 words[VALUES_MAX];
    uint32_t values_len = type->value_count * (uint32_t)sizeof(words[0]);

    if (type->kind != KIND_CONTROL)
        source.pair = request->control->ops->pair(request->control->context, queue / 2);
    type->read(&source, values);
    for (unsigned i = 0; i < type->value_count; i++)
        words[i] = word_of(request, values[i]);
    header.queue = word16_make((uint16_t)queue, request->order);
    header.size = word16_make((uint16_t)(sizeof(header) + values_len), request->order);
    control_answer_put(&request->answer, &header, sizeof(header));
    control_answer_put(&request->answer, words, values_len);
}

static void put_queue(struct control_request *request, const struct wanted *wanted)
{
    for (size_t i = 0; i < ARRAY_COUNT(types) && request->answer.count != 0; i++) {
        if (wanted->types & BIT(types[i].type))
            put_record(request, &types[i], wanted->queue);
    }
}

/* Everything that is asked for is there, or the whole command fails (virtio 1.4, 5.1.6.5.8.2). */
enum control_ack control_stats_get(struct control_request *request)
{
    uint32_t end = request->len - request->len % WANTED_LEN;
    struct wanted wanted;

    if (end == 0)
        return CONTROL_ERR;
    for (uint32_t offset = 0; offset < end; offset += WANTED_LEN) {
        enum queue_kind kind;

        wanted = wanted_read(request, offset);
        kind = kind_of(request->nic, wanted.queue);
        if (kind == KIND_NONE || (wanted.types & ~types_supported(request->nic, kind)) != 0)
            return CONTROL_ERR;
    }
    for (uint32_t offset = 0; offset < end; offset += WANTED_LEN) {
        wanted = wanted_read(request, offset);
        put_queue(request, &wanted);
    }
    return CONTROL_OK;
}
