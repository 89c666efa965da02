/* SPDX-License-Identifier: MIT */
/* What a switch and its ports show. May run beside the workers: counters, and what open() fixed. */
#include <stdio.h>
#include <time.h>

#include "base/checked.h"
#include "endpoint/switch/lan.h"

enum {
    SHOWN_ADDRESSES = 64, /* of a table that may hold thousands */
    MAC_TEXT_LEN = 18,
};

static const char *const drop_names[LAN_DROP_COUNT] = {
    [LAN_DROP_SPOOFED] = "dropped_spoofed",    [LAN_DROP_BAD_SOURCE] = "dropped_bad_source",
    [LAN_DROP_RESERVED] = "dropped_reserved",  [LAN_DROP_SAME_PORT] = "dropped_same_port",
    [LAN_DROP_ISOLATED] = "dropped_isolated",  [LAN_DROP_FULL] = "dropped_receiver_full",
    [LAN_DROP_DOWN] = "dropped_receiver_down",
};

static void mac_show(uint64_t mac, char ret_text[MAC_TEXT_LEN])
{
    snprintf(ret_text, MAC_TEXT_LEN, "%02x:%02x:%02x:%02x:%02x:%02x", (unsigned)(mac >> 40 & 0xff),
             (unsigned)(mac >> 32 & 0xff), (unsigned)(mac >> 24 & 0xff),
             (unsigned)(mac >> 16 & 0xff), (unsigned)(mac >> 8 & 0xff), (unsigned)(mac & 0xff));
}

static void add(counter *to, const counter *from)
{
    counter_add(to, counter_get(from));
}

void lan_stats_add(struct lan_stats *to, const struct lan_stats *stats)
{
    add(&to->forwarded, &stats->forwarded);
    add(&to->flooded, &stats->flooded);
    add(&to->flood_copies, &stats->flood_copies);
    add(&to->direct, &stats->direct);
    add(&to->waited, &stats->waited);
    add(&to->taken, &stats->taken);
    add(&to->late, &stats->late);
    for (unsigned i = 0; i < LAN_DROP_COUNT; i++)
        add(&to->drop[i], &stats->drop[i]);
}

/* The sum over a port's queues, and what it lost as a receiver. */
static uint64_t port_add(struct lan_port *port, struct lan_stats *to)
{
    uint64_t lost = 0;

    for (unsigned i = 0; i < LAN_PAIRS_MAX; i++) {
        struct lan_queue *queue = atomic_load_explicit(&port->queue[i], memory_order_acquire);

        if (queue == NULL)
            continue;
        lan_stats_add(to, &queue->stats);
        lost += atomic_load_explicit(&queue->lost, memory_order_relaxed);
    }
    return lost;
}

static void count_show(struct inspect *visitor, const char *name, uint64_t value)
{
    visitor->ops->number(visitor->context, name, value, INSPECT_COUNTER);
}

static void stats_show(struct inspect *visitor, const struct lan_stats *stats, uint64_t lost)
{
    inspect_counter(visitor, "forwarded", &stats->forwarded);
    inspect_counter(visitor, "flooded", &stats->flooded);
    inspect_counter(visitor, "flood_copies", &stats->flood_copies);
    inspect_counter(visitor, "direct", &stats->direct);
    inspect_counter(visitor, "from_inbox", &stats->taken);
    inspect_counter(visitor, "late", &stats->late);
    inspect_counter(visitor, "waited", &stats->waited);
    for (unsigned i = 0; i < LAN_DROP_COUNT; i++)
        inspect_counter(visitor, drop_names[i], &stats->drop[i]);
    count_show(visitor, "lost_while_full", lost);
}

/* Under the NIC. */
void lan_port_inspect(struct endpoint *endpoint, struct inspect *visitor)
{
    struct lan_port *port = (struct lan_port *)endpoint;
    uint32_t flags = atomic_load_explicit(&port->flags, memory_order_relaxed);
    struct lan_stats stats = {0};
    uint64_t lost = port_add(port, &stats);

    inspect_text(visitor, "switch", "%s", port->lan->name);
    inspect_number(visitor, "port", port->index);
    inspect_flag(visitor, "isolated", (flags & LAN_PORT_ISOLATED) != 0);
    inspect_flag(visitor, "anti_spoof", (flags & LAN_PORT_GUARDED) != 0);
    inspect_text(visitor, "full", "%s", flags & LAN_PORT_WAIT ? "wait" : "drop");
    stats_show(visitor, &stats, lost);
}

/* ---- the switch ------------------------------------------------------------------------- */

struct table_show {
    struct lan *lan;
    struct inspect *visitor;
    unsigned shown; /* entries; also the name of the next */
};

static int address_show(void *context, const struct mac_entry *entry)
{
    struct table_show *show = context;
    struct lan_port *port =
        atomic_load_explicit(&show->lan->port[entry->port], memory_order_acquire);
    char text[MAC_TEXT_LEN];

    if (show->shown == SHOWN_ADDRESSES)
        return 0;
    mac_show(entry->mac, text);
    inspect_enter_index(show->visitor, show->shown++);
    inspect_text(show->visitor, "mac", "%s", text);
    inspect_text(show->visitor, "port", "%s", port->nic_name);
    if (entry->pinned)
        inspect_flag(show->visitor, "pinned", 1);
    else
        inspect_number(show->visitor, "age_s", entry->age_s);
    inspect_leave(show->visitor);
    return 1;
}

static int address_count(void *context, const struct mac_entry *entry)
{
    (void)entry;
    ++*(unsigned *)context;
    return 1;
}

static void table_inspect(struct lan *lan, struct inspect *visitor)
{
    struct table_show show = {.lan = lan, .visitor = visitor};
    struct mac_table *table = &lan->table;
    unsigned entries = 0;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    mac_table_walk(table, (uint32_t)now.tv_sec, address_count, &entries);
    inspect_number(visitor, "ageing_s", table->ageing_s);
    inspect_number(visitor, "addresses_max", MAC_TABLE_SIZE);
    inspect_number(visitor, "addresses_known", entries);
    count_show(visitor, "learned", atomic_load_explicit(&table->learned, memory_order_relaxed));
    count_show(visitor, "moved", atomic_load_explicit(&table->moved, memory_order_relaxed));
    count_show(visitor, "aged", atomic_load_explicit(&table->aged, memory_order_relaxed));
    count_show(visitor, "evicted", atomic_load_explicit(&table->evicted, memory_order_relaxed));
    count_show(visitor, "refused", atomic_load_explicit(&table->refused, memory_order_relaxed));
    inspect_enter(visitor, "addresses"); /* the first ones */
    mac_table_walk(table, (uint32_t)now.tv_sec, address_show, &show);
    inspect_leave(visitor);
}

void lan_inspect(struct lan *lan, struct inspect *visitor)
{
    struct lan_stats stats = {0};
    uint64_t lost = lan->past_lost;

    lan_stats_add(&stats, &lan->past);
    inspect_number(visitor, "ports_used", lan->ports_used);
    inspect_enter(visitor, "ports");
    for (unsigned i = 0; i < LAN_PORTS_MAX; i++) {
        struct lan_port *port = atomic_load_explicit(&lan->port[i], memory_order_relaxed);

        if (port == NULL || !port->used)
            continue;
        lost += port_add(port, &stats);
        inspect_enter_index(visitor, i);
        inspect_text(visitor, "nic", "%s", port->nic_name);
        inspect_leave(visitor);
    }
    inspect_leave(visitor);
    stats_show(visitor, &stats, lost);
    table_inspect(lan, visitor);
}
