/* SPDX-License-Identifier: MIT */
#include "endpoint/switch/mac_table.h"

#include <errno.h>

enum {
    ENTRY_PORT = 0x7fff,
    ENTRY_PINNED = 0x8000,
    ENTRY_MAC_SHIFT = 16,
};

void mac_table_init(struct mac_table *table, uint64_t secret, uint32_t ageing_s)
{
    table->secret = secret;
    table->ageing_s = ageing_s;
}

static void count(_Atomic uint64_t *what)
{
    atomic_fetch_add_explicit(what, 1, memory_order_relaxed);
}

static unsigned set_of(const struct mac_table *table, uint64_t mac)
{
    uint64_t mixed = (mac ^ table->secret) * 0x9e3779b97f4a7c15ull;

    mixed = (mixed ^ table->secret ^ mixed >> 29) * 0xbf58476d1ce4e5b9ull;
    return (unsigned)(mixed >> 40) % MAC_TABLE_SETS;
}

static uint64_t entry_make(uint64_t mac, unsigned port)
{
    return mac << ENTRY_MAC_SHIFT | (port + 1);
}

static int entry_port(uint64_t entry)
{
    return (int)(entry & ENTRY_PORT) - 1;
}

static uint64_t entry_get(struct mac_table *table, unsigned set, unsigned way)
{
    return atomic_load_explicit(&table->entry[set][way], memory_order_relaxed);
}

static int entry_change(struct mac_table *table, unsigned set, unsigned way, uint64_t from,
                        uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(&table->entry[set][way], &from, to,
                                                   memory_order_relaxed, memory_order_relaxed);
}

/* Clocks of several workers may differ by a tick: what lies ahead is new. */
static uint32_t age_of(struct mac_table *table, unsigned set, unsigned way, uint32_t now_s)
{
    uint32_t seen_s = atomic_load_explicit(&table->seen_s[set][way], memory_order_relaxed);

    return (int32_t)(now_s - seen_s) < 0 ? 0 : now_s - seen_s;
}

static int expired(struct mac_table *table, unsigned set, unsigned way, uint64_t entry,
                   uint32_t now_s)
{
    return !(entry & ENTRY_PINNED) && table->ageing_s != 0 &&
           age_of(table, set, way, now_s) > table->ageing_s;
}

/* The way of an address; several workers may have put it in twice: the first one counts. */
static int way_of(struct mac_table *table, unsigned set, uint64_t mac)
{
    for (unsigned way = 0; way < MAC_TABLE_WAYS; way++) {
        if (entry_get(table, set, way) >> ENTRY_MAC_SHIFT == mac)
            return (int)way;
    }
    return MAC_TABLE_NONE;
}

int mac_table_find(struct mac_table *table, uint64_t mac, uint32_t now_s)
{
    unsigned set = set_of(table, mac);
    int way = way_of(table, set, mac);
    uint64_t entry;

    if (way == MAC_TABLE_NONE || mac == 0) /* a free place looks like 0's */
        return MAC_TABLE_NONE;
    entry = entry_get(table, set, (unsigned)way);
    if (entry >> ENTRY_MAC_SHIFT != mac)
        return MAC_TABLE_NONE; /* replaced just now */
    if (__builtin_expect(expired(table, set, (unsigned)way, entry, now_s), 0)) {
        if (entry_change(table, set, (unsigned)way, entry, 0))
            count(&table->aged);
        return MAC_TABLE_NONE;
    }
    return entry_port(entry);
}

/* ---- learning --------------------------------------------------------------------------- */

/* A line that every worker reads is written once a second at most. */
static void touch(struct mac_table *table, unsigned set, unsigned way, uint32_t now_s)
{
    if (atomic_load_explicit(&table->seen_s[set][way], memory_order_relaxed) != now_s)
        atomic_store_explicit(&table->seen_s[set][way], now_s, memory_order_relaxed);
}

/* A free one, else the one that was not heard of for the longest time. */
static int victim_of(struct mac_table *table, unsigned set, uint32_t now_s)
{
    int victim = MAC_TABLE_NONE;
    uint32_t oldest = 0;

    for (unsigned way = 0; way < MAC_TABLE_WAYS; way++) {
        uint64_t entry = entry_get(table, set, way);
        uint32_t age = age_of(table, set, way, now_s);

        if (entry == 0)
            return (int)way;
        if (!(entry & ENTRY_PINNED) && (victim == MAC_TABLE_NONE || age > oldest)) {
            victim = (int)way;
            oldest = age;
        }
    }
    return victim;
}

/* Another worker may have put the address in at the same time: the first one stays. */
static void twins_remove(struct mac_table *table, unsigned set, uint64_t mac)
{
    int seen = 0;

    for (unsigned way = 0; way < MAC_TABLE_WAYS; way++) {
        uint64_t entry = entry_get(table, set, way);

        if (entry >> ENTRY_MAC_SHIFT != mac)
            continue;
        if (seen && !(entry & ENTRY_PINNED))
            entry_change(table, set, way, entry, 0);
        seen = 1;
    }
}

static void insert(struct mac_table *table, unsigned set, uint64_t entry, uint32_t now_s)
{
    int way = victim_of(table, set, now_s);
    uint64_t before;
    int was_old;

    if (way == MAC_TABLE_NONE) {
        count(&table->refused);
        return;
    }
    before = entry_get(table, set, (unsigned)way);
    if (before & ENTRY_PINNED)
        return;
    was_old = expired(table, set, (unsigned)way, before, now_s);
    touch(table, set, (unsigned)way, now_s); /* first, or it would be found to be old */
    if (!entry_change(table, set, (unsigned)way, before, entry))
        return;
    count(&table->learned);
    if (before != 0)
        count(was_old ? &table->aged : &table->evicted);
    twins_remove(table, set, entry >> ENTRY_MAC_SHIFT);
}

void mac_table_learn(struct mac_table *table, uint64_t mac, unsigned port, uint32_t now_s)
{
    unsigned set = set_of(table, mac);
    int way = way_of(table, set, mac);
    uint64_t before;

    if (__builtin_expect(way == MAC_TABLE_NONE, 0)) {
        insert(table, set, entry_make(mac, port), now_s);
        return;
    }
    before = entry_get(table, set, (unsigned)way);
    if (__builtin_expect(entry_port(before) == (int)port, 1)) {
        touch(table, set, (unsigned)way, now_s);
        return;
    }
    if (before & ENTRY_PINNED) {
        count(&table->refused);
        return;
    }
    if (before >> ENTRY_MAC_SHIFT == mac &&
        entry_change(table, set, (unsigned)way, before, entry_make(mac, port))) {
        touch(table, set, (unsigned)way, now_s);
        count(&table->moved);
    }
}

/* ---- the control thread ----------------------------------------------------------------- */

int mac_table_pin(struct mac_table *table, uint64_t mac, unsigned port)
{
    unsigned set = set_of(table, mac);

    for (;;) {
        int way = way_of(table, set, mac);
        uint64_t before;

        if (way == MAC_TABLE_NONE)
            way = victim_of(table, set, UINT32_MAX);
        if (way == MAC_TABLE_NONE)
            return -ENOSPC;
        before = entry_get(table, set, (unsigned)way);
        if (entry_change(table, set, (unsigned)way, before, entry_make(mac, port) | ENTRY_PINNED))
            break;
    }
    twins_remove(table, set, mac);
    return 0;
}

void mac_table_unpin(struct mac_table *table, uint64_t mac, unsigned port)
{
    unsigned set = set_of(table, mac);
    uint64_t entry = entry_make(mac, port) | ENTRY_PINNED;

    for (unsigned way = 0; way < MAC_TABLE_WAYS; way++)
        entry_change(table, set, way, entry, 0);
}

void mac_table_forget(struct mac_table *table, unsigned port)
{
    for (unsigned set = 0; set < MAC_TABLE_SETS; set++) {
        for (unsigned way = 0; way < MAC_TABLE_WAYS; way++) {
            uint64_t entry = entry_get(table, set, way);

            if (entry != 0 && entry_port(entry) == (int)port)
                entry_change(table, set, way, entry, 0);
        }
    }
}

void mac_table_walk(struct mac_table *table, uint32_t now_s,
                    int (*each)(void *context, const struct mac_entry *entry), void *context)
{
    for (unsigned i = 0; i < MAC_TABLE_SIZE; i++) {
        unsigned set = i / MAC_TABLE_WAYS, way = i % MAC_TABLE_WAYS;
        uint64_t entry = entry_get(table, set, way);
        struct mac_entry shown = {
            .mac = entry >> ENTRY_MAC_SHIFT,
            .port = (unsigned)entry_port(entry),
            .pinned = (entry & ENTRY_PINNED) != 0,
            .age_s = entry & ENTRY_PINNED ? 0 : age_of(table, set, way, now_s),
        };

        if (entry != 0 && !expired(table, set, way, entry, now_s) && !each(context, &shown))
            return;
    }
}
