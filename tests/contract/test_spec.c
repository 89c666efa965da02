/* SPDX-License-Identifier: MIT */
/* What an operator writes and what he is told when it is wrong. */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"

static void options_keep_their_colons_and_repeat(void **state)
{
    struct endpoint_spec spec, copy;
    struct error err;

    (void)state;
    assert_int_equal(endpoint_spec_parse(&spec,
                                         "user:hostfwd=tcp:127.0.0.1:2222-:22,mtu=9000,"
                                         "hostfwd=udp:[::1]:53-[fec0::15]:53",
                                         &err),
                     0);
    assert_string_equal(spec.kind, "user");
    assert_int_equal(spec.option_count, 3);
    assert_int_equal(spec.queue_pairs, 1);
    assert_string_equal(spec.option[0].value, "tcp:127.0.0.1:2222-:22");
    assert_string_equal(endpoint_spec_get(&spec, "hostfwd"), "udp:[::1]:53-[fec0::15]:53");
    assert_null(endpoint_spec_get(&spec, "net"));
    spec.queue_pairs = 3;
    assert_int_equal(endpoint_spec_copy(&spec, &copy), 0);
    endpoint_spec_clear(&spec);
    assert_int_equal(spec.option_count, 0);
    assert_int_equal(copy.queue_pairs, 3);
    assert_string_equal(endpoint_spec_get(&copy, "mtu"), "9000");
    endpoint_spec_clear(&copy);
    endpoint_spec_clear(&copy);
}

static void numbers_and_switches(void **state)
{
    static const char *const wrong[] = {"",    "-1", " 5",  "5x",
                                        "0x5", "4",  "101", "99999999999999999999999"};
    struct endpoint_spec spec;
    struct error err;
    uint64_t number = 7;
    int flag = 5;

    (void)state;
    assert_int_equal(endpoint_spec_parse(&spec, "x:n=100,s=on,t=maybe", &err), 0);
    assert_int_equal(endpoint_spec_number(&spec, "absent", 5, 100, &number, &err), 0);
    assert_int_equal(number, 7);
    assert_int_equal(endpoint_spec_number(&spec, "n", 5, 100, &number, &err), 0);
    assert_int_equal(number, 100);
    assert_int_equal(endpoint_spec_switch(&spec, "absent", &flag, &err), 0);
    assert_int_equal(flag, 5);
    assert_int_equal(endpoint_spec_switch(&spec, "s", &flag, &err), 0);
    assert_int_equal(flag, 1);
    assert_int_equal(endpoint_spec_switch(&spec, "t", &flag, &err), -EINVAL);
    assert_non_null(strstr(err.text, "t=maybe"));
    for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_int_equal(endpoint_spec_add(&spec, "n", wrong[i], &err), 0);
        assert_int_equal(endpoint_spec_number(&spec, "n", 5, 100, &number, &err), -EINVAL);
        assert_non_null(strstr(err.text, "n="));
        assert_int_equal(number, 100);
    }
    endpoint_spec_clear(&spec);
}

static void too_many_options(void **state)
{
    struct endpoint_spec spec;
    struct error err;

    (void)state;
    assert_int_equal(endpoint_spec_parse(&spec, "user", &err), 0);
    for (unsigned i = 0; i < ENDPOINT_OPTIONS_MAX; i++)
        assert_int_equal(endpoint_spec_add(&spec, "key", "value", &err), 0);
    assert_int_equal(endpoint_spec_add(&spec, "key", "value", &err), -E2BIG);
    endpoint_spec_clear(&spec);
}

/* Opens `text`, which must fail with a sentence that has both words in it. */
static void check_refused(const char *text, const char *word, const char *mend)
{
    struct endpoint_spec spec;
    struct endpoint *endpoint = NULL;
    struct error err = {""};
    int rc = endpoint_spec_parse(&spec, text, &err);

    if (rc == 0) {
        rc = endpoint_open(&spec, &endpoint, &err);
        endpoint_spec_clear(&spec);
    }
    check(rc < 0, "%s was taken", text);
    check(strstr(err.text, word) != NULL && strstr(err.text, mend) != NULL &&
              strchr(err.text, '\n') == NULL,
          "%s: '%s' says neither '%s' nor '%s'", text, err.text, word, mend);
}

static void every_mistake_gets_a_sentence(void **state)
{
    static const char *const cases[][3] = {
        {"", "kind is missing", "KIND:key=value"},
        {":a=b", "kind is missing", "KIND:key=value"},
        {"tun", "'tun'", "user, tap, stream, switch, loopback, null"},
        {"null:generate", "'generate'", "key=value"},
        {"null:=5", "'=5'", "key=value"},
        {"null:generate=64,,rate=5", "empty", "comma"},
        {"null:generate=13", "generate=13", "from 14 to"},
        {"null:rate=5", "rate=", "generate=LEN"},
        {"loopback:mtu=5", "'mtu'", "no options"},
        {"tap:ifname=", "ifname=", "characters"},
        {"tap:ifname=a-name-that-is-too-long", "ifname=a-name", "15"},
        {"tap:ifname=a/b", "a/b", "without '/'"},
        {"tap:mtu=10", "mtu=10", "68"},
        {"tap:up=yes", "up=yes", "up=on"},
        {"tap:fd=x", "fd=x", "open tap"},
        {"tap:fd=0", "fd=0", "TUNSETIFF"},
        {"tap:fd=999", "fd=999", "TUNSETIFF"},
        {"tap:fd=0,fd=1", "2 times fd=", "one fd= for each pair"},
        {"tap:fd=0,ifname=a", "fd=", "leave ifname= out"},
        {"tap:netns=no-such-namespace", "/run/netns/no-such-namespace", "ip netns list"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
        check_refused(cases[i][0], cases[i][1], cases[i][2]);
}

#ifdef TEST_HAVE_USER
static void every_mistake_about_user_gets_a_sentence(void **state)
{
    static const char *const cases[][3] = {
        {"user:net=10.0.2.0", "net=10.0.2.0", "10.0.2.0/24"},
        {"user:net=10.0.2.0/31", "net=10.0.2.0/31", "/29"},
        {"user:net=banana/24", "banana", "10.0.2.0/24"},
        {"user:host=10.0.3.2", "host=10.0.3.2", "10.0.2.0/24"},
        {"user:host=10.0.2.0", "host=10.0.2.0", "10.0.2.0/24"},
        {"user:dns=10.0.2.255", "dns=10.0.2.255", "10.0.2.0/24"},
        {"user:dns=10.0.2.2", "host=, dns= and dhcpstart=", "different"},
        {"user:dhcpstart=x", "dhcpstart=x", "10.0.2.0/24"},
        {"user:ipv6=maybe", "ipv6=maybe", "ipv6=on"},
        {"user:net6=fec0::/129", "net6=fec0::/129", "fec0::/64"},
        {"user:net6=10.0.2.0/24", "net6=10.0.2.0/24", "fec0::/64"},
        {"user:ipv6=off,net6=fec0::/64", "net6=fec0::/64", "leave one"},
        {"user:mtu=100", "mtu=100", "576"},
        {"user:mtu=600", "mtu=600", "ipv6=off"},
        {"user:mtu=70000", "mtu=70000", "65521"},
        {"user:restrict=1", "restrict=1", "restrict=on"},
        {"user:hostname=a b", "hostname=a b", "letters"},
        {"user:hostname=", "hostname=", "1 to 32"},
        {"user:hostfwd=2222", "hostfwd=2222", "tcp:HOSTADDR:PORT-GUESTADDR:PORT"},
        {"user:hostfwd=", "hostfwd=", "tcp:HOSTADDR:PORT-GUESTADDR:PORT"},
        {"user:hostfwd=sctp::1-:2", "sctp", "tcp:HOSTADDR"},
        {"user:hostfwd=tcp::2222-:0", "tcp::2222-:0", "tcp:HOSTADDR"},
        {"user:hostfwd=tcp::99999-:1", "99999", "tcp:HOSTADDR"},
        {"user:hostfwd=tcp:1.2.3:2222-:22", "1.2.3", "tcp:HOSTADDR"},
        {"user:hostfwd=tcp:[::1:2222-:22", "[::1", "tcp:HOSTADDR"},
        {"user:hostfwd=tcp::2222-:22x", "22x", "tcp:HOSTADDR"},
        {"user:hostfwd=tcp:[::1]:2222-:22", "mixes", "both sides"},
        {"user:hostfwd=tcp:[::1]:2222-[::]:22", "[::]:22", "name the guest's IPv6 address"},
        {"user:ipv6=off,hostfwd=tcp:[::1]:2222-[fec0::15]:22", "[::1]:2222", "ipv6=on"},
        {"user:hostfwd=tcp::2222-192.168.1.1:22", "192.168.1.1", "inside net="},
        {"user:hostfwd=tcp:203.0.113.77:2222-:22", "203.0.113.77", "no such address"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++)
        check_refused(cases[i][0], cases[i][1], cases[i][2]);
}
#else
static void every_mistake_about_user_gets_a_sentence(void **state)
{
    (void)state;
    check_refused("user", "libslirp-dev", "-Duser=enabled");
}
#endif

static void each_kind_tells_its_options(void **state)
{
    (void)state;
    for (unsigned i = 0; endpoint_catalog[i] != NULL; i++) {
        assert_non_null(endpoint_catalog[i]->kind);
        assert_non_null(endpoint_catalog[i]->summary);
        assert_non_null(endpoint_catalog[i]->options_help);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_keep_their_colons_and_repeat),
        cmocka_unit_test(numbers_and_switches),
        cmocka_unit_test(too_many_options),
        cmocka_unit_test(every_mistake_gets_a_sentence),
        cmocka_unit_test(every_mistake_about_user_gets_a_sentence),
        cmocka_unit_test(each_kind_tells_its_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
