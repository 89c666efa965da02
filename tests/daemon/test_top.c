/* SPDX-License-Identifier: MIT */
/* The table of `vionic top`, from trees that are written as JSON. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "daemon/top_table.h"

static json_t *tree_of(const char *text)
{
    json_error_t where;
    json_t *tree = json_loads(text, JSON_DECODE_ANY, &where);

    check(tree != NULL, "the test's JSON: %s", where.text);
    return tree;
}

static void check_table(const char *before, const char *after, unsigned rows, const char *expected)
{
    json_t *trees[2] = {tree_of(before), tree_of(after)};
    struct top_span span = {trees[0], trees[1], 2.0, rows};
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    top_table_print(out, &span);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
    json_decref(trees[0]);
    json_decref(trees[1]);
}

#define HEADING                                                                                    \
    "NIC              STATE      PAIRS    TX pkt/s  TX Mbit/s    RX pkt/s  RX Mbit/s   drops/s\n"
#define WORKERS "\nWORKER           CPU        PAIRS      load %\n"

static void rates_are_sums_over_pairs_by_the_second(void **state)
{
    (void)state;
    check_table(
        "{\"nic0\": {\"queues\": {"
        " \"0\": {\"tx_packets\": 100, \"tx_bytes\": 1000, \"rx_packets\": 7, \"tx_dropped\": 1,"
        "  \"worker\": {\"index\": 0, \"pairs\": 1, \"busy_ns\": 1000}},"
        " \"1\": {\"tx_packets\": 5, \"rx_bytes\": 3, \"rx_dropped\": 2,"
        "  \"worker\": {\"index\": 3, \"pairs\": 1, \"busy_ns\": 0}}}}}",
        "{\"nic0\": {\"link\": \"up\", \"max_queues\": 4, \"active_queues\": 2, \"queues\": {"
        " \"0\": {\"tx_packets\": 300, \"tx_bytes\": 2501000, \"rx_packets\": 7,"
        "  \"tx_dropped\": 3, \"worker\": {\"index\": 0, \"pairs\": 1, \"busy_ns\": 500001000}},"
        " \"1\": {\"tx_packets\": 25, \"rx_bytes\": 500003, \"rx_dropped\": 6,"
        "  \"worker\": {\"index\": 3, \"pairs\": 1, \"cpu\": 12, \"busy_ns\": 9000000000}}}}}",
        0,
        HEADING "nic0             up         2/4           110       10.0           0"
                "        2.0         3\n" WORKERS "0                any            1          25\n"
                "3                12             1         100\n");
}

static void the_busiest_come_first_and_the_rest_is_counted(void **state)
{
    static const char before[] =
        "{\"a\": {\"queues\": {\"0\": {}}}, \"b\": {\"queues\": {\"0\": {}}},"
        " \"c\": {\"queues\": {\"0\": {}}}, \"d\": {\"queues\": {}}}";
    static const char after[] =
        "{\"d\": {\"link\": \"down\", \"queues\": {}},"
        " \"a\": {\"endpoint_state\": \"gone\", \"queues\": {\"0\": {\"rx_packets\": 20}}},"
        " \"b\": {\"link\": \"up\", \"vhost_user\": {\"connected\": true},"
        "  \"queues\": {\"0\": {\"tx_packets\": 8, \"rx_ring\": {\"state\": \"broken\"}}}},"
        " \"c\": {\"link\": \"up\", \"vhost_user\": {\"connected\": false}, \"queues\": {\"0\": "
        "{}}}}";

    (void)state;
    check_table(before, after, 0,
                HEADING "a                gone       0/0             0        0.0          10      "
                        "  0.0         0\n"
                        "b                broken     0/0             4        0.0           0      "
                        "  0.0         0\n"
                        "c                no guest   0/0             0        0.0           0      "
                        "  0.0         0\n"
                        "d                down       0/0             0        0.0           0      "
                        "  0.0         0\n" WORKERS);
    check_table(before, after, 1,
                HEADING "a                gone       0/0             0        0.0          10      "
                        "  0.0         0\n"
                        "and 3 more that move less\n" WORKERS);
}

/* A daemon that was restarted in between, a NIC that is new, and trees that are none. */
static void what_can_not_be_compared_counts_nothing(void **state)
{
    (void)state;
    check_table("{\"nic0\": {\"queues\": {\"0\": {\"tx_packets\": 100}}}}",
                "{\"nic0\": {\"link\": \"up\", \"queues\": {\"0\": {\"tx_packets\": 99}}},"
                " \"nic1\": {\"link\": \"up\", \"queues\": {\"0\": {\"tx_packets\": 99}}}}",
                0,
                HEADING "nic0             up         0/0             0        0.0           0      "
                        "  0.0         0\n"
                        "nic1             up         0/0             0        0.0           0      "
                        "  0.0         0\n" WORKERS);
    check_table("[]", "[]", 0, HEADING WORKERS);
    check_table("{}", "{\"x\": 7}", 0,
                HEADING "x                up         0/0             0        0.0           0      "
                        "  0.0         0\n" WORKERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_sums_over_pairs_by_the_second),
        cmocka_unit_test(the_busiest_come_first_and_the_rest_is_counted),
        cmocka_unit_test(what_can_not_be_compared_counts_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
