/* SPDX-License-Identifier: MIT */
/*
 * The configuration from the inside: the command line and the file make the same NIC, and ten
 * thousand damaged inputs end as a valid configuration or as one sentence.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "daemon/config.h"
#include "daemon/mac.h"
#include "daemon/nearest.h"
#include "daemon/nicspec.h"
#include "daemon/shown.h"

static const char nic_text[] =
    "socket=/tmp/a.sock,name=front,mac=52:54:00:aa:bb:01,mtu=9000,queues=2,queue-size=256,"
    "speed=10000,mode=client,endpoint=user:net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:2222-:22,"
    "hostfwd=udp:127.0.0.1:53-:53,restrict=on";

static const char file_text[] =
    "{\"workers\": 2, \"poll\": 50, \"control\": \"/tmp/c.sock\", \"nics\": [\n"
    "{\"socket\": \"/tmp/a.sock\", \"name\": \"front\", \"mac\": \"52:54:00:aa:bb:01\",\n"
    " \"mtu\": 9000, \"queues\": 2, \"queue-size\": 256, \"speed\": 10000, \"mode\": \"client\",\n"
    " \"endpoint\": {\"kind\": \"user\", \"net\": \"10.0.3.0/24\",\n"
    "  \"hostfwd\": [\"tcp:127.0.0.1:2222-:22\", \"udp:127.0.0.1:53-:53\"], \"restrict\": "
    "true}}]}\n";

/* Writes the text to a file of its own and loads that. */
static int load_text(struct config *config, const char *text, size_t len, struct error *err)
{
    char path[] = "/tmp/vionic-test-config-XXXXXX";
    int fd = mkstemp(path);
    int ret;

    check(fd >= 0 && write(fd, text, len) == (ssize_t)len, "can't write %s", path);
    close(fd);
    ret = config_load_file(config, path, err);
    unlink(path);
    return ret;
}

static const char *option_value(const struct vionic_nic_config *nic, const char *key, unsigned nth)
{
    for (size_t i = 0; i < nic->endpoint_option_count; i++) {
        if (strcmp(nic->endpoint_options[i].key, key) == 0 && nth-- == 0)
            return nic->endpoint_options[i].value;
    }
    return "(none)";
}

static void check_front(const struct config *config)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0xaa, 0xbb, 0x01};
    const struct vionic_nic_config *nic = &config->nics[0].nic;

    assert_int_equal(config->nic_count, 1);
    assert_int_equal(nic->size, sizeof(*nic));
    assert_string_equal(nic->name, "front");
    assert_string_equal(nic->socket_path, "/tmp/a.sock");
    assert_int_equal(nic->socket_mode, VIONIC_SOCKET_CLIENT);
    assert_memory_equal(nic->mac, mac, sizeof(mac));
    assert_int_equal(nic->mtu, 9000);
    assert_int_equal(nic->queue_pairs, 2);
    assert_int_equal(nic->queue_size, 256);
    assert_int_equal(nic->speed_mbps, 10000);
    assert_string_equal(nic->endpoint, "user");
    assert_int_equal(nic->endpoint_option_count, 4);
    assert_string_equal(option_value(nic, "net", 0), "10.0.3.0/24");
    assert_string_equal(option_value(nic, "hostfwd", 0), "tcp:127.0.0.1:2222-:22");
    assert_string_equal(option_value(nic, "hostfwd", 1), "udp:127.0.0.1:53-:53");
    assert_string_equal(option_value(nic, "restrict", 0), "on");
}

static void test_text_and_file_make_the_same_nic(void **state)
{
    struct config config;
    struct error err = {{0}};

    (void)state;
    assert_int_equal(config_init(&config, &err), 0);
    check(config_add_nic(&config, nic_text, &err) == 0, "--nic: %s", err.text);
    check(config_finish(&config, &err) == 0, "--nic: %s", err.text);
    check_front(&config);
    config_clear(&config);

    assert_int_equal(config_init(&config, &err), 0);
    check(load_text(&config, file_text, strlen(file_text), &err) == 0, "file: %s", err.text);
    check(config_finish(&config, &err) == 0, "file: %s", err.text);
    check_front(&config);
    assert_int_equal(config.workers, 2);
    assert_int_equal(config.poll_us, 50);
    assert_string_equal(config.control_path, "/tmp/c.sock");
    config_clear(&config);
}

/* An endpoint in the file may be the text form, and numbers are as good as their digits. */
static void test_endpoint_forms(void **state)
{
    static const char file[] = "{\"nics\": [{\"socket\": \"/a\", \"endpoint\": \"user:mtu=1400\"},"
                               "{\"socket\": \"/b\", \"endpoint\": {\"kind\": \"user\","
                               "\"mtu\": 1400, \"x\": [false, -1, \"a,b\"]}}]}";
    struct config config;
    struct error err = {{0}};

    (void)state;
    assert_int_equal(config_init(&config, &err), 0);
    check(load_text(&config, file, strlen(file), &err) == 0, "%s", err.text);
    check(config_finish(&config, &err) == 0, "%s", err.text);
    assert_string_equal(option_value(&config.nics[0].nic, "mtu", 0), "1400");
    assert_string_equal(option_value(&config.nics[1].nic, "mtu", 0), "1400");
    assert_string_equal(option_value(&config.nics[1].nic, "x", 0), "off");
    assert_string_equal(option_value(&config.nics[1].nic, "x", 1), "-1");
    assert_string_equal(option_value(&config.nics[1].nic, "x", 2), "a,b");
    assert_string_equal(config.nics[0].nic.name, "nic0");
    assert_string_equal(config.nics[1].nic.name, "nic1");
    config_clear(&config);
}

/* Command line settings win, and are kept alive as long as the configuration. */
static void test_settings_overrule(void **state)
{
    json_t *settings = json_pack("{s: s, s: i}", "control", "/tmp/d.sock", "workers", 3);
    struct config config;
    struct error err = {{0}};

    (void)state;
    assert_int_equal(config_init(&config, &err), 0);
    check(load_text(&config, file_text, strlen(file_text), &err) == 0, "%s", err.text);
    check(config_add_settings(&config, settings, &err) == 0, "%s", err.text);
    json_decref(settings);
    assert_string_equal(config.control_path, "/tmp/d.sock");
    assert_int_equal(config.workers, 3);
    assert_int_equal(config.poll_us, 50);
    config_clear(&config);
}

/* ---- damaged inputs ----------------------------------------------------------------------------
 */

static uint32_t dice_state = 1;

static uint32_t dice(uint32_t sides)
{
    dice_state = dice_state * 1664525u + 1013904223u;
    return (dice_state >> 8) % sides;
}

/* Changes, drops, doubles or inserts some bytes; room is for twice the length. */
static size_t damage(char *text, size_t len)
{
    static const char pieces[] = "{}[]\",:=0\xff\x80\\-e.un\n\x01";

    for (unsigned i = 1 + dice(4); i > 0 && len > 0; i--) {
        size_t at = dice((uint32_t)len);
        size_t some = 1 + dice(8);

        if (some > len - at)
            some = len - at;
        switch (dice(4)) {
        case 0:
            text[at] = pieces[dice(sizeof(pieces) - 1)];
            break;
        case 1:
            memmove(text + at, text + at + some, len - at - some);
            len -= some;
            break;
        case 2:
            memmove(text + at + some, text + at, len - at);
            len += some;
            break;
        default:
            text[at] ^= (char)(1u << dice(8));
            break;
        }
    }
    return len;
}

static void check_sentence(int ret, const struct error *err)
{
    char clean[ERROR_TEXT_LEN];

    check(ret == 0 || ret == -EINVAL, "ended with %d: %s", ret, err->text);
    if (ret == 0)
        return;
    check(strlen(err->text) > 10, "no sentence: \"%s\"", err->text);
    shown_clean(err->text, clean, sizeof(clean));
    check(strcmp(clean, err->text) == 0, "the sentence would garble a terminal: %s", clean);
}

static void test_damaged_files(void **state)
{
    char text[2 * sizeof(file_text) + 64];
    unsigned good = 0;

    (void)state;
    for (unsigned round = 0; round < 10000; round++) {
        struct config config;
        struct error err = {{0}};
        size_t len = strlen(file_text);
        int ret;

        memcpy(text, file_text, sizeof(file_text));
        len = damage(text, len);
        assert_int_equal(config_init(&config, &err), 0);
        ret = load_text(&config, text, len, &err);
        if (ret == 0)
            ret = config_finish(&config, &err);
        check_sentence(ret, &err);
        good += ret == 0;
        config_clear(&config);
    }
    check(good > 100 && good < 9000, "%u of 10000 damaged files are good: no fair test", good);
}

static void test_damaged_specs(void **state)
{
    char text[2 * sizeof(nic_text) + 64];
    unsigned good = 0;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct config config;
        struct error err = {{0}};
        int ret;

        memcpy(text, nic_text, sizeof(nic_text));
        text[damage(text, strlen(nic_text))] = '\0';
        assert_int_equal(config_init(&config, &err), 0);
        ret = config_add_nic(&config, text, &err);
        if (ret == 0)
            ret = config_finish(&config, &err);
        check_sentence(ret, &err);
        good += ret == 0;
        config_clear(&config);
    }
    check(good > 100 && good < 19000, "%u of 20000 damaged specs are good: no fair test", good);
}

static void test_nearest(void **state)
{
    static const char *const words[] = {"mtu", "queues", "queue-size", "mac", NULL};
    char long_word[5000];

    (void)state;
    assert_string_equal(nearest_word("mut", words), "mtu");
    assert_string_equal(nearest_word("qeues", words), "queues");
    assert_string_equal(nearest_word("queuesize", words), "queue-size");
    assert_null(nearest_word("endpoint", words));
    assert_null(nearest_word("", words));
    assert_null(nearest_word("x", words));
    memset(long_word, 'q', sizeof(long_word));
    long_word[sizeof(long_word) - 1] = '\0';
    assert_null(nearest_word(long_word, words));
}

static void test_shown_text_is_clean(void **state)
{
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"plain", "plain"},
        {"Zürich 東京 🙂", "Zürich 東京 🙂"},
        {"\x1b[31m\r\n\t\x7f", "?[31m????"},
        {"\xc2\x9b"
         "31m",
         "??31m"},
        {"\xff\xfe\x80", "???"},
        {"\xc0\xaf", "??"},           /* overlong */
        {"\xe0\x80\xaf", "???"},      /* overlong */
        {"\xed\xa0\x80", "???"},      /* a surrogate */
        {"\xf4\x90\x80\x80", "????"}, /* above U+10FFFF */
        {"cut \xe6\x9d", "cut ??"},
    };
    char shown[SHOWN_LEN], text[200] = "";

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        shown_text(rows[i].text, shown);
        assert_string_equal(shown, rows[i].shown);
    }
    for (unsigned i = 0; i < 50; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "東");
    shown_text(text, shown);
    check(strlen(shown) < SHOWN_LEN && strstr(shown, "東…") != NULL, "cut badly: %s", shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_file_make_the_same_nic),
        cmocka_unit_test(test_endpoint_forms),
        cmocka_unit_test(test_settings_overrule),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_damaged_specs),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_shown_text_is_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
