/* SPDX-License-Identifier: MIT */
/* What a pair shows. Counters are read while the worker runs; ring cursors only while it is paused.
 */
#include "nic/pair.h"

static const char *const tx_drop_names[PAIR_TX_DROP_COUNT] = {
    [PAIR_TX_DROP_BAD_CHAIN] = "bad_chain",         [PAIR_TX_DROP_SHORT] = "short",
    [PAIR_TX_DROP_OVERSIZE] = "oversize",           [PAIR_TX_DROP_BAD_HEADER] = "bad_header",
    [PAIR_TX_DROP_UNSEGMENTABLE] = "unsegmentable", [PAIR_TX_DROP_SCATTERED] = "scattered",
    [PAIR_TX_DROP_LINK_DOWN] = "link_down",
};

static const char *const rx_drop_names[PAIR_RX_DROP_COUNT] = {
    [PAIR_RX_DROP_TOO_BIG] = "too_big", [PAIR_RX_DROP_LINK_DOWN] = "link_down",
    [PAIR_RX_DROP_RUNT] = "runt",       [PAIR_RX_DROP_OVERSIZE] = "oversize",
    [PAIR_RX_DROP_OFFLOAD] = "offload", [PAIR_RX_DROP_FILTERED] = "filtered",
    [PAIR_RX_DROP_STEERED] = "steered",
};

const char *pair_tx_drop_name(enum pair_tx_drop reason)
{
    return tx_drop_names[reason];
}

const char *pair_rx_drop_name(enum pair_rx_drop reason)
{
    return rx_drop_names[reason];
}

static void inspect_drops(struct inspect *visitor, const char *name, const char *const *names,
                          const counter *drops, unsigned count)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < count; i++)
        total += counter_get(&drops[i]);
    visitor->ops->number(visitor->context, name, total, INSPECT_COUNTER);
    if (total == 0)
        return;
    inspect_enter(visitor, names == tx_drop_names ? "tx_drops" : "rx_drops");
    for (unsigned i = 0; i < count; i++) {
        if (counter_get(&drops[i]) != 0)
            inspect_counter(visitor, names[i], &drops[i]);
    }
    inspect_leave(visitor);
}

static void inspect_bad_chains(struct inspect *visitor, const counter *bad)
{
    inspect_enter(visitor, "bad_chains");
    for (unsigned i = CHAIN_FAULT_NONE + 1; i < CHAIN_FAULT_COUNT; i++) {
        if (counter_get(&bad[i]) != 0)
            inspect_counter(visitor, chain_fault_name(i), &bad[i]);
    }
    inspect_leave(visitor);
}

static void inspect_ring(struct inspect *visitor, const char *name, const struct virtqueue *queue,
                         const counter *bad)
{
    inspect_enter(visitor, name);
    inspect_text(visitor, "state", "%s",
                 queue->fault != QUEUE_FAULT_NONE      ? "broken"
                 : queue->resting & VIRTQUEUE_DISABLED ? "resting"
                 : queue->resting                      ? "waiting"
                 : queue->running                      ? "running"
                                                       : "stopped");
    if (queue->fault != QUEUE_FAULT_NONE)
        inspect_text(visitor, "fault", "%s", queue_fault_name(queue->fault));
    inspect_text(visitor, "format", "%s", queue->features & VIRTQUEUE_PACKED ? "packed" : "split");
    inspect_number(visitor, "size", queue->size);
    inspect_number(visitor, "next_avail", queue->next_avail);
    inspect_number(visitor, "next_used", queue->next_used);
    inspect_number(visitor, "in_flight", queue->in_flight);
    inspect_flag(visitor, "armed", queue->armed);
    inspect_counter(visitor, "kicks", &queue->kicks);
    inspect_counter(visitor, "interrupts", &queue->interrupts);
    inspect_counter(visitor, "interrupts_suppressed", &queue->interrupts_suppressed);
    inspect_counter(visitor, "taken_up", &queue->taken_up);
    inspect_counter(visitor, "completed_late", &queue->completed_late);
    inspect_counter(visitor, "records_refused", &queue->records_refused);
    inspect_bad_chains(visitor, bad);
    inspect_leave(visitor);
}

void pair_inspect(struct pair *pair, struct inspect *visitor)
{
    const struct pair_stats *stats = &pair->stats;

    inspect_number(visitor, "pending_tx_packets", pair->tx.in_flight);
    inspect_number(visitor, "pending_rx_packets", pair->rx.in_flight);
    inspect_counter(visitor, "tx_packets", &stats->tx_packets);
    inspect_counter(visitor, "tx_bytes", &stats->tx_bytes);
    inspect_counter(visitor, "tx_gso_packets", &stats->tx_gso_packets);
    inspect_counter(visitor, "tx_needs_csum", &stats->tx_needs_csum);
    inspect_counter(visitor, "tx_segmented", &stats->tx_segmented);
    inspect_counter(visitor, "tx_segments", &stats->tx_segments);
    inspect_number(visitor, "tx_largest_frame", counter_get(&stats->tx_largest));
    inspect_drops(visitor, "tx_dropped", tx_drop_names, stats->tx_drop, PAIR_TX_DROP_COUNT);
    inspect_counter(visitor, "tx_stalled", &stats->tx_stalled);
    inspect_counter(visitor, "rx_packets", &stats->rx_packets);
    inspect_counter(visitor, "rx_bytes", &stats->rx_bytes);
    inspect_counter(visitor, "rx_gso_packets", &stats->rx_gso_packets);
    inspect_counter(visitor, "rx_needs_csum", &stats->rx_needs_csum);
    inspect_counter(visitor, "rx_csum_completed", &stats->rx_csum_completed);
    inspect_counter(visitor, "rx_segmented", &stats->rx_segmented);
    inspect_counter(visitor, "rx_merged", &stats->rx_merged);
    inspect_counter(visitor, "rx_steered", &stats->rx_steered);
    inspect_number(visitor, "rx_largest_frame", counter_get(&stats->rx_largest));
    inspect_drops(visitor, "rx_dropped", rx_drop_names, stats->rx_drop, PAIR_RX_DROP_COUNT);
    inspect_counter(visitor, "rx_bad_buffers", &stats->rx_bad_buffer);
    inspect_counter(visitor, "rx_starved", &stats->rx_starved);
    inspect_counter(visitor, "spurious_wakes", &stats->spurious_wakes);
    inspect_counter(visitor, "looked_on_ns", &stats->looked_on_ns);
    inspect_histogram(visitor, "tx_packets_per_wake", &stats->tx_packets_per_wake);
    inspect_histogram(visitor, "rx_packets_per_wake", &stats->rx_packets_per_wake);
    inspect_ring(visitor, "rx_ring", &pair->rx, stats->rx_bad_chain);
    inspect_ring(visitor, "tx_ring", &pair->tx, stats->tx_bad_chain);
}
