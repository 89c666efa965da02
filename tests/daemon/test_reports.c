/* SPDX-License-Identifier: MIT */
/* Reports: a tree as text for people, and the paths into it. The trees are written as JSON. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "daemon/reports.h"

static json_t *tree_of(const char *text)
{
    json_error_t where;
    json_t *tree = json_loads(text, JSON_DECODE_ANY, &where);

    check(tree != NULL, "the test's JSON: %s", where.text);
    return tree;
}

static void check_text(const char *json, const char *expected)
{
    json_t *tree = tree_of(json);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    reports_print_tree(out, tree);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
    json_decref(tree);
}

static void test_text_of_a_tree(void **state)
{
    (void)state;
    check_text("{\"nic0\": {\"mac_address\": \"52:54:00:00:00:01\", \"features\": \"0x130000000\","
               " \"link_up\": true, \"broken\": false, \"endpoint\": {},"
               " \"queues\": {\"0\": {\"tx_packets\": 9007199254740993}}}}",
               "nic0:\n"
               "  mac_address: 52:54:00:00:00:01\n"
               "  features: 0x130000000\n"
               "  link_up: yes\n"
               "  broken: no\n"
               "  endpoint: -\n"
               "  queues:\n"
               "    0:\n"
               "      tx_packets: 9007199254740993\n");
}

/* Visit order is key order, not the alphabet's. */
static void test_order_is_kept(void **state)
{
    (void)state;
    check_text("{\"z\": 1, \"a\": 2, \"m\": 3}", "z: 1\na: 2\nm: 3\n");
}

static void test_histograms_are_one_line(void **state)
{
    (void)state;
    check_text("{\"batch\": {\"0\": 0, \"1\": 71, \"2-3\": 5, \"4-7\": 0, \"1024-\": 3}}",
               "batch: [1] 71  [2-3] 5  [1024+] 3\n");
    check_text("{\"batch\": {\"0\": 0, \"1\": 0, \"1024-\": 0}}", "batch: -\n");
    check_text("{\"0\": 4, \"1024-\": 0}", "[0] 4\n");
    /* Things numbered from 0 are no histogram: nothing of theirs is left out. */
    check_text("{\"workers\": {\"0\": 0, \"1\": 7}}", "workers:\n  0: 0\n  1: 7\n");
    check_text("{\"queues\": {\"0\": {\"x\": 0}}}", "queues:\n  0:\n    x: 0\n");
}

static void test_lone_values(void **state)
{
    (void)state;
    check_text("7", "7\n");
    check_text("\"tap\"", "tap\n");
    check_text("true", "yes\n");
    check_text("{}", "-\n");
    check_text("{\"agreed_features\": \"\"}", "agreed_features: -\n");
}

static void test_paths(void **state)
{
    json_t *tree = tree_of("{\"nic0\": {\"queues\": {\"0\": {\"tx\": 5}, \"10\": {\"tx\": 6}}}}");
    json_t *node = NULL;
    struct error err;

    (void)state;
    assert_int_equal(reports_find(tree, "nic0/queues/10/tx", &node, &err), 0);
    assert_int_equal(json_integer_value(node), 6);
    assert_int_equal(reports_find(tree, "//nic0///queues/0/", &node, &err), 0);
    assert_int_equal(json_object_size(node), 1);
    assert_int_equal(reports_find(tree, "", &node, &err), 0);
    assert_ptr_equal(node, tree);
    assert_int_equal(reports_find(tree, "nic0/queues/1", &node, &err), -ENOENT);
    assert_string_equal(err.text, "\"1\" is not in nic0/queues; there is 0, 10");
    assert_int_equal(reports_find(tree, "nic", &node, &err), -ENOENT);
    assert_string_equal(err.text, "\"nic\" is not in the tree; there is nic0");
    assert_int_equal(reports_find(tree, "nic0/queues/0/tx/x", &node, &err), -ENOENT);
    assert_string_equal(err.text, "\"x\" is not in nic0/queues/0/tx; it is a value, not a group");
    json_decref(tree);
}

/* A thousand siblings don't make a sentence of a thousand names. */
static void test_long_lists_are_cut(void **state)
{
    json_t *tree = json_object();
    json_t *node;
    struct error err;
    char name[16];

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "nic%u", i);
        json_object_set_new(tree, name, json_integer(i));
    }
    assert_int_equal(reports_find(tree, "x", &node, &err), -ENOENT);
    check(strlen(err.text) < 450 && strstr(err.text, "nic0, nic1") != NULL, "%s", err.text);
    check(strcmp(err.text + strlen(err.text) - strlen("…"), "…") == 0, "%s", err.text);
    json_decref(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_of_a_tree),
        cmocka_unit_test(test_order_is_kept),
        cmocka_unit_test(test_histograms_are_one_line),
        cmocka_unit_test(test_lone_values),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_long_lists_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
