/* SPDX-License-Identifier: MIT */
/* Which address is behind which port: learned, moved, forgotten, never more than there is room for;
 * and written by several threads at a time. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "endpoint/switch/mac_table.h"

enum {
    AGEING_S = 300,
    NOW_S = 1000,
    STORM = 100000,
    THREADS = 3,
    ROUNDS = 20000,
    SHARED = 64, /* addresses that all threads learn */
};

#define BASE_MAC 0x525400000000ull

static struct mac_table *make(uint32_t ageing_s)
{
    size_t size = (sizeof(struct mac_table) + 63) / 64 * 64;
    struct mac_table *table = aligned_alloc(64, size);

    assert_non_null(table);
    memset(table, 0, size);
    mac_table_init(table, 0x1234567890abcdefull, ageing_s);
    return table;
}

static int count_one(void *context, const struct mac_entry *entry)
{
    (void)entry;
    ++*(unsigned *)context;
    return 1;
}

static unsigned known(struct mac_table *table, uint32_t now_s)
{
    unsigned count = 0;

    mac_table_walk(table, now_s, count_one, &count);
    return count;
}

static void learns_and_moves(void **state)
{
    struct mac_table *table = make(AGEING_S);

    (void)state;
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S), MAC_TABLE_NONE);
    mac_table_learn(table, BASE_MAC, 0, NOW_S);
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S), 0);
    mac_table_learn(table, BASE_MAC, 2047, NOW_S);
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S), 2047);
    assert_int_equal(mac_table_find(table, BASE_MAC + 1, NOW_S), MAC_TABLE_NONE);
    assert_int_equal(mac_table_find(table, 0, NOW_S), MAC_TABLE_NONE);
    assert_int_equal(table->aged, 0);
    assert_int_equal(table->learned, 1);
    assert_int_equal(table->moved, 1);
    assert_int_equal(known(table, NOW_S), 1);
    free(table);
}

static void forgets_what_is_not_heard_of(void **state)
{
    struct mac_table *table = make(AGEING_S);
    struct mac_table *for_ever = make(0);

    (void)state;
    mac_table_learn(table, BASE_MAC, 1, NOW_S);
    mac_table_learn(table, BASE_MAC, 1, NOW_S + 200);
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S + 200 + AGEING_S), 1);
    assert_int_equal(known(table, NOW_S + 201 + AGEING_S), 0);
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S + 201 + AGEING_S), MAC_TABLE_NONE);
    assert_int_equal(table->aged, 1);
    mac_table_learn(table, BASE_MAC, 1, NOW_S + 1000);
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S + 999), 1); /* another worker's clock */
    mac_table_learn(for_ever, BASE_MAC, 1, NOW_S);
    assert_int_equal(mac_table_find(for_ever, BASE_MAC, NOW_S + 100000000), 1);
    free(table);
    free(for_ever);
}

static void pinned_addresses_stay(void **state)
{
    struct mac_table *table = make(AGEING_S);

    (void)state;
    mac_table_learn(table, BASE_MAC, 5, NOW_S);
    assert_int_equal(mac_table_pin(table, BASE_MAC, 7), 0);
    mac_table_learn(table, BASE_MAC, 5, NOW_S);
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S + 10 * AGEING_S), 7);
    assert_int_equal(table->refused, 1);
    assert_int_equal(mac_table_pin(table, BASE_MAC, 8), 0);
    mac_table_forget(table, 7);
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S), 8);
    mac_table_unpin(table, BASE_MAC, 8);
    assert_int_equal(mac_table_find(table, BASE_MAC, NOW_S), MAC_TABLE_NONE);
    free(table);
}

/* A guest that invents addresses pushes out what was learned, not what is pinned. */
static void a_storm_of_addresses_is_bounded(void **state)
{
    struct mac_table *table = make(AGEING_S);

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(mac_table_pin(table, BASE_MAC + i, i), 0);
    for (uint64_t i = 0; i < STORM; i++)
        mac_table_learn(table, BASE_MAC + (1 << 24) + i, 1500, NOW_S + (uint32_t)(i / 1000));
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(mac_table_find(table, BASE_MAC + i, NOW_S), i);
    assert_in_range(known(table, NOW_S), MAC_TABLE_SIZE / 2, MAC_TABLE_SIZE);
    assert_int_equal(table->learned - table->evicted, known(table, NOW_S) - 1000);
    assert_int_equal(mac_table_find(table, BASE_MAC + (1 << 24) + STORM - 1, NOW_S), 1500);
    mac_table_forget(table, 1500);
    assert_int_equal(known(table, NOW_S), 1000);
    free(table);
}

/* ---- several writers -------------------------------------------------------------------- */

struct writer {
    pthread_t thread;
    struct mac_table *table;
    unsigned port;
};

static void *write_much(void *argument)
{
    struct writer *writer = argument;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t shared = BASE_MAC + i % SHARED;
        int at;

        mac_table_learn(writer->table, shared, writer->port, NOW_S + i / 1000);
        at = mac_table_find(writer->table, shared, NOW_S + i / 1000);
        check(at >= MAC_TABLE_NONE && at < THREADS, "a shared address is behind port %d", at);
        mac_table_learn(writer->table, BASE_MAC + 1000000 * (writer->port + 1) + i, writer->port,
                        NOW_S);
        at = mac_table_find(writer->table, BASE_MAC + 1000000 * (writer->port + 1) + i, NOW_S);
        check(at == MAC_TABLE_NONE || at == (int)writer->port, "an own address is behind port %d",
              at);
    }
    return NULL;
}

static int seen_twice(void *context, const struct mac_entry *entry)
{
    uint8_t *seen = context;

    if (entry->mac - BASE_MAC < SHARED)
        assert_int_equal(seen[entry->mac - BASE_MAC]++, 0);
    return 1;
}

static void many_write_at_a_time(void **state)
{
    struct mac_table *table = make(AGEING_S);
    struct writer writer[THREADS];
    uint8_t seen[SHARED] = {0};

    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        writer[i] = (struct writer){.table = table, .port = i};
        assert_int_equal(pthread_create(&writer[i].thread, NULL, write_much, &writer[i]), 0);
    }
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(mac_table_pin(table, BASE_MAC + 5000000 + i, 100), 0);
        assert_int_equal(mac_table_find(table, BASE_MAC + 5000000 + i, NOW_S), 100);
        mac_table_forget(table, 100);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(writer[i].thread, NULL);
    for (unsigned i = 0; i < SHARED; i++) /* whatever was doubled heals with the next frame */
        mac_table_learn(table, BASE_MAC + i, 1, NOW_S + ROUNDS / 1000);
    mac_table_walk(table, NOW_S + ROUNDS / 1000, seen_twice, seen);
    for (unsigned i = 0; i < SHARED; i++)
        assert_int_equal(mac_table_find(table, BASE_MAC + i, NOW_S + ROUNDS / 1000), 1);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_and_moves),      cmocka_unit_test(forgets_what_is_not_heard_of),
        cmocka_unit_test(pinned_addresses_stay), cmocka_unit_test(a_storm_of_addresses_is_bounded),
        cmocka_unit_test(many_write_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
