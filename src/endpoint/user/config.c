/* SPDX-License-Identifier: MIT */
#include "endpoint/user/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/checked.h"
#include "endpoint/spec.h"

enum {
    NET_LEN_MIN = 8,
    NET_LEN_MAX = 29, /* room for the gateway, DNS and one guest */
    NET6_LEN_MAX = 126,
    /* Where things are in the network unless said otherwise; libslirp's users know them. */
    HOST_NUMBER = 2,
    DNS_NUMBER = 3,
    DHCP_NUMBER = 15,
    DHCP_NUMBER_SMALL_NET = 4,
};

/* Splits `ADDRESS/LEN`. */
static int config_parse_prefix(const char *text, int family, void *ret_address, unsigned *ret_len)
{
    const char *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN];
    unsigned long len;
    char *end;

    if (slash == NULL || slash - text >= (ptrdiff_t)sizeof(address) || !isdigit(slash[1]))
        return -EINVAL;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    len = strtoul(slash + 1, &end, 10);
    if (*end != '\0' || len > 128 || inet_pton(family, address, ret_address) != 1)
        return -EINVAL;
    *ret_len = (unsigned)len;
    return 0;
}

static struct in_addr config_member(const struct user_config *config, uint32_t number)
{
    return (struct in_addr){config->net.s_addr | htonl(number)};
}

static int config_read_net(const struct endpoint_spec *spec, struct user_config *config,
                           struct error *err)
{
    const char *text = endpoint_spec_get(spec, "net");
    uint32_t mask;

    if (text == NULL)
        text = "10.0.2.0/24";
    if (config_parse_prefix(text, AF_INET, &config->net, &config->net_len) < 0 ||
        config->net_len < NET_LEN_MIN || config->net_len > NET_LEN_MAX)
        return error_set(err, EINVAL,
                         "endpoint user: net=%s must be an IPv4 network with a length from /%d to "
                         "/%d, such as net=10.0.2.0/24",
                         text, NET_LEN_MIN, NET_LEN_MAX);
    mask = ~0u << (32 - config->net_len);
    config->mask.s_addr = htonl(mask);
    config->net.s_addr &= config->mask.s_addr;
    config->host = config_member(config, HOST_NUMBER);
    config->dns = config_member(config, DNS_NUMBER);
    config->dhcp_start =
        config_member(config, ~mask > 2 * DHCP_NUMBER ? DHCP_NUMBER : DHCP_NUMBER_SMALL_NET);
    return 0;
}

/* An address that must be one of a host inside net=. */
static int config_read_member(const struct endpoint_spec *spec, const struct user_config *config,
                              const char *key, struct in_addr *ret_address, struct error *err)
{
    const char *text = endpoint_spec_get(spec, key);
    char net[INET_ADDRSTRLEN];
    uint32_t number;

    if (text == NULL)
        return 0;
    inet_ntop(AF_INET, &config->net, net, sizeof(net));
    if (inet_pton(AF_INET, text, ret_address) == 1) {
        number = ntohl(ret_address->s_addr & ~config->mask.s_addr);
        if ((ret_address->s_addr & config->mask.s_addr) == config->net.s_addr && number != 0 &&
            number != ntohl(~config->mask.s_addr))
            return 0;
    }
    return error_set(err, EINVAL, "endpoint user: %s=%s must be an address of a host in %s/%u", key,
                     text, net, config->net_len);
}

static int config_read_members(const struct endpoint_spec *spec, struct user_config *config,
                               struct error *err)
{
    int rc = config_read_member(spec, config, "host", &config->host, err);

    if (rc == 0)
        rc = config_read_member(spec, config, "dns", &config->dns, err);
    if (rc == 0)
        rc = config_read_member(spec, config, "dhcpstart", &config->dhcp_start, err);
    if (rc < 0)
        return rc;
    if (config->host.s_addr == config->dns.s_addr ||
        config->host.s_addr == config->dhcp_start.s_addr ||
        config->dns.s_addr == config->dhcp_start.s_addr)
        return error_set(err, EINVAL,
                         "endpoint user: host=, dns= and dhcpstart= must be three different "
                         "addresses");
    return 0;
}

static int config_read_net6(const struct endpoint_spec *spec, struct user_config *config,
                            struct error *err)
{
    const char *text = endpoint_spec_get(spec, "net6");
    int rc;

    config->ipv6 = 1;
    rc = endpoint_spec_switch(spec, "ipv6", &config->ipv6, err);
    if (rc < 0)
        return rc;
    if (text != NULL && !config->ipv6)
        return error_set(err, EINVAL,
                         "endpoint user: net6=%s contradicts ipv6=off; leave one of them out",
                         text);
    if (text == NULL)
        text = "fec0::/64";
    if (config_parse_prefix(text, AF_INET6, &config->net6, &config->net6_len) < 0 ||
        config->net6_len > NET6_LEN_MAX)
        return error_set(err, EINVAL,
                         "endpoint user: net6=%s must be an IPv6 network with a length of at most "
                         "/%d, such as net6=fec0::/64",
                         text, NET6_LEN_MAX);
    for (unsigned bit = config->net6_len; bit < 128; bit++)
        config->net6.s6_addr[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    config->host6 = config->net6;
    config->host6.s6_addr[15] |= HOST_NUMBER;
    config->dns6 = config->net6;
    config->dns6.s6_addr[15] |= DNS_NUMBER;
    return 0;
}

static int config_read_hostname(const struct endpoint_spec *spec, struct user_config *config,
                                struct error *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    const char *text = endpoint_spec_get(spec, "hostname");

    if (text == NULL)
        return 0;
    if (*text == '\0' || strlen(text) > USER_HOSTNAME_MAX || text[strspn(text, allowed)] != '\0')
        return error_set(err, EINVAL,
                         "endpoint user: hostname=%s must be 1 to %d letters, digits, '-' and '.'",
                         text, USER_HOSTNAME_MAX);
    snprintf(config->hostname, sizeof(config->hostname), "%s", text);
    return 0;
}

static int config_read_mtu(const struct endpoint_spec *spec, struct user_config *config,
                           struct error *err)
{
    int rc;

    config->mtu = USER_MTU_DEFAULT;
    rc = endpoint_spec_number(spec, "mtu", USER_MTU_MIN, USER_MTU_MAX, &config->mtu, err);
    if (rc == 0 && config->ipv6 && config->mtu < USER_MTU_MIN_IPV6)
        return error_set(
            err, EINVAL,
            "endpoint user: mtu=%u is too small for IPv6, which needs %d; say ipv6=off "
            "or raise it",
            (unsigned)config->mtu, USER_MTU_MIN_IPV6);
    return rc;
}

static int config_read_sockets_max(const struct endpoint_spec *spec, struct user_config *config,
                                   struct error *err)
{
    struct rlimit files;

    config->sockets_max = USER_SOCKETS_DEFAULT;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        config->sockets_max = MIN(config->sockets_max, files.rlim_cur / 2);
    return endpoint_spec_number(spec, "sockets-max", 1, USER_SOCKETS_MAX, &config->sockets_max,
                                err);
}

static int config_read_forwards(const struct endpoint_spec *spec, struct user_config *config,
                                struct error *err)
{
    for (unsigned i = 0; i < spec->option_count; i++) {
        int rc;

        if (strcmp(spec->option[i].key, "hostfwd") != 0)
            continue;
        rc = user_forward_parse(config, spec->option[i].value,
                                &config->forward[config->forward_count], err);
        if (rc < 0)
            return rc;
        config->forward_count++;
    }
    return 0;
}

int user_config_read(const struct endpoint_spec *spec, struct user_config *ret_config,
                     struct error *err)
{
    static const char *const keys[] = {"net",     "net6",      "ipv6",        "host",
                                       "dns",     "mtu",       "restrict",    "hostname",
                                       "hostfwd", "dhcpstart", "sockets-max", NULL};
    int rc = endpoint_spec_allow(spec, keys, err);

    if (rc == 0)
        rc = config_read_net(spec, ret_config, err);
    if (rc == 0)
        rc = config_read_members(spec, ret_config, err);
    if (rc == 0)
        rc = config_read_net6(spec, ret_config, err);
    if (rc == 0)
        rc = config_read_mtu(spec, ret_config, err);
    if (rc == 0)
        rc = config_read_sockets_max(spec, ret_config, err);
    if (rc == 0)
        rc = endpoint_spec_switch(spec, "restrict", &ret_config->restricted, err);
    if (rc == 0)
        rc = config_read_hostname(spec, ret_config, err);
    if (rc == 0)
        rc = config_read_forwards(spec, ret_config, err);
    return rc;
}
