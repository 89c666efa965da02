/* SPDX-License-Identifier: MIT */
#include "daemon/top_table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum {
    TOP_WORKERS_MAX = 64,
    BITS = 8,
};

struct nic_row {
    const char *name; /* borrowed from the tree */
    const char *state;
    uint64_t pairs, active;
    double tx_packets, tx_bytes, rx_packets, rx_bytes, drops; /* a second */
};

struct worker_row {
    unsigned pairs;
    int64_t cpu; /* -1: any */
    double load; /* of one CPU, 0 … 1 */
};

static const char *text_of(const json_t *node, const char *key)
{
    const char *text = json_string_value(json_object_get(node, key));

    return text == NULL ? "" : text;
}

static uint64_t number_of(const json_t *node, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(node, key));
}

static uint64_t sum_of(const json_t *nic, const char *key)
{
    json_t *queues = json_object_get(nic, "queues");
    const char *name;
    json_t *queue;
    uint64_t sum = 0;

    json_object_foreach(queues, name, queue) sum += number_of(queue, key);
    return sum;
}

/* A counter that is less than before belongs to another daemon at the same place. */
static double rate(uint64_t before, uint64_t after, double seconds)
{
    return after < before || seconds <= 0 ? 0 : (double)(after - before) / seconds;
}

static int any_ring_broken(const json_t *nic)
{
    json_t *queues = json_object_get(nic, "queues");
    const char *name;
    json_t *queue;

    json_object_foreach(queues, name, queue)
    {
        if (strcmp(text_of(json_object_get(queue, "rx_ring"), "state"), "broken") == 0 ||
            strcmp(text_of(json_object_get(queue, "tx_ring"), "state"), "broken") == 0)
            return 1;
    }
    return 0;
}

static const char *state_of(const json_t *nic)
{
    const json_t *vhost_user = json_object_get(nic, "vhost_user");

    if (any_ring_broken(nic))
        return "broken";
    if (strcmp(text_of(nic, "endpoint_state"), "gone") == 0)
        return "gone";
    if (json_is_false(json_object_get(vhost_user, "connected")))
        return "no guest";
    return strcmp(text_of(nic, "link"), "down") == 0 ? "down" : "up";
}

static struct nic_row nic_row(const char *name, const json_t *before, const json_t *after,
                              double seconds)
{
    static const char *const keys[] = {"tx_packets", "tx_bytes",   "rx_packets",
                                       "rx_bytes",   "tx_dropped", "rx_dropped"};
    double rates[ARRAY_COUNT(keys)] = {0};

    for (size_t i = 0; before != NULL && i < ARRAY_COUNT(keys); i++)
        rates[i] = rate(sum_of(before, keys[i]), sum_of(after, keys[i]), seconds);
    return (struct nic_row){
        .name = name,
        .state = state_of(after),
        .pairs = number_of(after, "max_queues"),
        .active = number_of(after, "active_queues"),
        .tx_packets = rates[0],
        .tx_bytes = rates[1],
        .rx_packets = rates[2],
        .rx_bytes = rates[3],
        .drops = rates[4] + rates[5],
    };
}

/* The busiest first, the others by name. */
static int by_packets(const void *a, const void *b)
{
    const struct nic_row *one = a, *other = b;
    double difference = other->tx_packets + other->rx_packets - (one->tx_packets + one->rx_packets);

    if (difference != 0)
        return difference < 0 ? -1 : 1;
    return strcmp(one->name, other->name);
}

static void print_nics(FILE *out, const struct top_span *span)
{
    size_t count = json_object_size(span->after), used = 0, shown;
    struct nic_row *rows = calloc(count + 1, sizeof(*rows));
    const char *name;
    json_t *nic;

    if (rows == NULL)
        return;
    json_object_foreach((json_t *)span->after, name, nic)
    {
        if (strchr(name, ':') == NULL) /* else a switch, or an uplink */
            rows[used++] = nic_row(name, json_object_get(span->before, name), nic, span->seconds);
    }
    qsort(rows, used, sizeof(*rows), by_packets);
    shown = span->rows == 0 ? used : MIN(used, span->rows);
    fprintf(out, "%-16s %-8s %7s %11s %10s %11s %10s %9s\n", "NIC", "STATE", "PAIRS", "TX pkt/s",
            "TX Mbit/s", "RX pkt/s", "RX Mbit/s", "drops/s");
    for (size_t i = 0; i < shown; i++) {
        const struct nic_row *row = &rows[i];

        fprintf(out, "%-16s %-8s %3llu/%-3llu %11.0f %10.1f %11.0f %10.1f %9.0f\n", row->name,
                row->state, (unsigned long long)row->active, (unsigned long long)row->pairs,
                row->tx_packets, row->tx_bytes * BITS / 1e6, row->rx_packets,
                row->rx_bytes * BITS / 1e6, row->drops);
    }
    if (shown < used)
        fprintf(out, "and %zu more that move less\n", used - shown);
    free(rows);
}

/* Workers are found at the pairs that they serve. */
static void workers_gather(const struct top_span *span, struct worker_row workers[TOP_WORKERS_MAX])
{
    const char *name, *index;
    json_t *nic, *queue;

    json_object_foreach((json_t *)span->after, name, nic)
    {
        json_t *queues_before = json_object_get(json_object_get(span->before, name), "queues");

        json_object_foreach(json_object_get(nic, "queues"), index, queue)
        {
            const json_t *after = json_object_get(queue, "worker");
            const json_t *before = json_object_get(json_object_get(queues_before, index), "worker");
            uint64_t at = number_of(after, "index");
            struct worker_row *row = &workers[at % TOP_WORKERS_MAX];

            row->pairs = (unsigned)number_of(after, "pairs");
            row->cpu =
                json_object_get(after, "cpu") == NULL ? -1 : (int64_t)number_of(after, "cpu");
            if (before != NULL)
                row->load = rate(number_of(before, "busy_ns"), number_of(after, "busy_ns"),
                                 span->seconds * 1e9);
        }
    }
}

static void print_workers(FILE *out, const struct top_span *span)
{
    struct worker_row workers[TOP_WORKERS_MAX] = {0};

    workers_gather(span, workers);
    fprintf(out, "\n%-16s %-8s %7s %11s\n", "WORKER", "CPU", "PAIRS", "load %");
    for (unsigned i = 0; i < TOP_WORKERS_MAX; i++) {
        char cpu[24] = "any";

        if (workers[i].pairs == 0)
            continue;
        if (workers[i].cpu >= 0)
            snprintf(cpu, sizeof(cpu), "%lld", (long long)workers[i].cpu);
        fprintf(out, "%-16u %-8s %7u %11.0f\n", i, cpu, workers[i].pairs,
                MIN(workers[i].load, 1.0) * 100);
    }
}

void top_table_print(FILE *out, const struct top_span *span)
{
    print_nics(out, span);
    print_workers(out, span);
}
